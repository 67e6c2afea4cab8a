"""Vectors of texts: over HTTP like any call, in few requests, and each text once in its folder."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from autodata.ledger.calls import CallLog
from autodata.models.budget import Budget
from autodata.models.client import TEXTS, Models
from autodata.models.config import EndpointConfig, ModelConfig, Price
from autodata.models.errors import BudgetReached, CallRefused, EndpointDown, UnknownRole
from autodata.models.replies import text_key
from tests.models.calling import rows
from tests.models.scripted_server import Reply, Script, embeds, refuses, scripted


@asynccontextmanager
async def embedding(
    folder: Path, url: str, *, model: str = "m", give_up_after: float = 30.0, **settings: Any
) -> AsyncIterator[Models]:
    """Models of which one, at `url`, makes vectors; they log to `folder`/run.db."""
    log = CallLog(folder / "run.db")
    at = EndpointConfig(base_url=url, backoff=0.001, give_up_after=give_up_after)
    models = Models(
        log=log,
        endpoints={"local": at},
        models={"embeddings": ModelConfig(endpoint="local", model=model)},
        **settings,
    )
    try:
        yield models
    finally:
        await models.aclose()
        log.close()


async def test_a_text_is_asked_for_once_whatever_comes_beside_it(tmp_path: Path) -> None:
    texts = [f"question {n} {'x' * n}" for n in range(2 * TEXTS)]
    price = {"local/m": Price(input=2.0, output=0.0)}
    async with scripted(otherwise=embeds) as server:
        async with embedding(tmp_path, server.url, prices=price) as models:
            found = await models.embed([*texts, texts[0]], scope="s")
        assert {len(request["input"]) for request in server.requests} == {1, TEXTS, TEXTS - 1}
        assert [list(found[text_key(text)]) for text in texts] == [
            [len(text.split()), len(text), 1.0] for text in texts
        ]
        tokens = sum(len(text) // 4 for text in texts)
        assert sum(rows(tmp_path, "input_tokens")) == tokens
        assert sum(rows(tmp_path, "usd")) == pytest.approx(2.0 * tokens / 1e6)
        async with embedding(tmp_path, server.url) as models:  # another process, another day
            again = await models.embed([*texts, "one more"], scope="s")
            assert {key: list(vector) for key, vector in found.items()}.items() <= {
                key: list(vector) for key, vector in again.items()
            }.items()
            assert [request["input"] for request in server.requests[3:]] == [["one more"]]
        async with embedding(tmp_path, server.url, model="other") as models:
            await models.embed(["one more"], scope="s")
            assert server.requests[-1] == {"model": "other", "input": ["one more"]}


@pytest.mark.parametrize(
    "row",
    [
        {"index": 0, "embedding": [1.0, float("nan")]},
        {"index": 0, "embedding": [True, 1.0]},
        {"index": 0, "embedding": []},
        {"index": 0, "embedding": "AAAA"},
        {"index": 1, "embedding": [1.0]},
    ],
)
async def test_what_is_no_vector_is_asked_for_again_and_never_kept(
    tmp_path: Path, row: dict[str, Any]
) -> None:
    bad = Reply(json.dumps({"data": [row]}).encode())
    async with (
        scripted(refuses(503), bad, otherwise=embeds) as server,
        embedding(tmp_path, server.url) as models,
    ):
        found = await models.embed(["two words"], scope="s")
    assert list(found[text_key("two words")]) == [2, 9, 1]
    assert rows(tmp_path, "status, failures") == [("ok", 2)]


def within(words: int) -> Script:
    """Refuses a request for one text that is longer, as llama.cpp does."""

    def answer(request: dict[str, Any]) -> Reply:
        if max(len(text.split()) for text in request["input"]) > words:
            return refuses(400, "input is larger than the max context size (512 tokens)")
        return embeds(request)

    return answer


async def test_a_text_that_is_too_long_leaves_the_others_their_vectors(tmp_path: Path) -> None:
    texts = [f"question {n}" for n in range(20)]
    async with scripted(otherwise=within(5)) as server, embedding(tmp_path, server.url) as models:
        found = await models.embed([*texts, "far " * 6], scope="s")
        assert set(found) == set(map(text_key, texts))
        with pytest.raises(CallRefused, match="larger than the max context size"):
            await models.embed(["too " * 6], scope="s")
        long = [f"{'x' * 200} {n}" for n in range(20)]  # more than the window in all, not in each
        before = len(server.requests)
        assert len(await models.embed(long, scope="s")) == len(texts) + len(long)
        assert len(server.requests) == before + 2


async def test_a_budget_and_a_dead_endpoint_end_it_before_more_is_paid(tmp_path: Path) -> None:
    texts = [f"question {n}" for n in range(3 * TEXTS)]
    async with scripted(otherwise=embeds) as server:
        async with embedding(tmp_path, server.url, budget=Budget(calls=2)) as models:
            with pytest.raises(BudgetReached):
                await models.embed(texts, scope="s")
        assert len(server.requests) == 2
        async with embedding(tmp_path, server.url, budget=Budget(tokens=6_000)) as models:
            await models.embed(["new", "newer"], scope="s")  # a vector takes no 16,384 tokens
    async with embedding(tmp_path, server.url, give_up_after=0.0) as models:
        with pytest.raises(EndpointDown):
            await models.embed(["newest"], scope="s")


def test_simulated_models_make_no_vectors(tmp_path: Path) -> None:
    log = CallLog(tmp_path / "run.db")
    config = ModelConfig(endpoint="local", model="m")
    models = Models(
        log=log,
        endpoints={"local": EndpointConfig(base_url="http://127.0.0.1:9")},
        models={"embeddings": config},
        batch="run",
    )
    with pytest.raises(UnknownRole, match=r"models\.embeddings: local makes no embeddings"):
        asyncio.run(models.embed(["a"], scope="s"))
    log.close()
