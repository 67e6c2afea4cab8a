"""The context window: read from the server that says it, learned from one that refuses by it."""

import json
from pathlib import Path
from typing import Any

import pytest

from autodata.agents.replies import InstructionReply
from autodata.models.errors import CallRefused, CutOff
from autodata.prompt_store.prompt import Message
from tests.models.calling import ASKED, calling, rows
from tests.models.scripted_server import Reply, refuses, says, scripted

PROPS = {"default_generation_settings": {"n_ctx": 500}, "total_slots": 1}


def long(size: int) -> tuple[Message, ...]:
    return (Message(role="user", content="word " * (size // 5)),)


@pytest.mark.parametrize(
    ("models", "props"),
    [
        ({"max_model_len": 500}, None),
        ({"context_length": 500}, None),
        ({"meta": {"n_ctx": 500, "n_ctx_train": 8192}}, None),
        ({"meta": {"n_ctx_train": 8192}}, PROPS),
        ({}, PROPS),
    ],
)
async def test_a_prompt_that_cannot_fit_is_known_before_it_is_sent(
    tmp_path: Path, models: dict[str, Any], props: dict[str, Any] | None
) -> None:
    async with scripted() as server, calling(tmp_path, server.url) as asked:
        server.says_of_models, server.props = models, props
        with pytest.raises(CallRefused, match=r"more than 833 tokens, .* local/m 500") as refused:
            await asked.complete("weak_solver", long(5_000), scope="d1")
        assert (await asked.complete("weak_solver", long(500), scope="d2")).text == "fine"
    assert refused.value.remedy.startswith("Lower run.passage_tokens")
    assert len(server.requests) == 1
    assert rows(tmp_path) == ["ok"]


@pytest.mark.parametrize("props", [None, {"default_generation_settings": {"n_ctx": "many"}}])
async def test_a_server_that_does_not_say_is_asked_all_the_same(
    tmp_path: Path, props: dict[str, Any] | None
) -> None:
    async with scripted() as server, calling(tmp_path, server.url) as models:
        server.props = props
        assert (await models.complete("weak_solver", long(50_000), scope="d1")).text == "fine"


LLAMA = {
    "error": {
        "code": 400,
        "message": "the request exceeds the available context size, try increasing it",
        "type": "exceed_context_size_error",
        "n_prompt_tokens": 900,
        "n_ctx": 512,
    }
}
VLLM = "This model's maximum context length is 512 tokens. However, you requested 900 tokens"


@pytest.mark.parametrize(
    "refusal", [Reply(json.dumps(LLAMA).encode(), 400), refuses(400, VLLM, "context_length")]
)
async def test_a_refusal_by_the_context_is_understood_and_remembered(
    tmp_path: Path, refusal: Reply
) -> None:
    async with scripted(refusal) as server, calling(tmp_path, server.url) as models:
        with pytest.raises(CallRefused, match="context") as refused:
            await models.complete("weak_solver", long(2_000), scope="d1")
        assert "900" in refused.value.reason
        assert "512" in refused.value.reason
        assert refused.value.remedy.startswith("Lower run.passage_tokens")
        with pytest.raises(CallRefused, match="more than 833 tokens"):
            await models.complete("weak_solver", long(5_000), scope="d2")
    assert len(server.requests) == 1


async def test_another_refusal_is_not_taken_for_one(tmp_path: Path) -> None:
    async with (
        scripted(refuses(400, "this picture is not allowed")) as server,
        calling(tmp_path, server.url) as models,
    ):
        with pytest.raises(CallRefused, match="not allowed") as refused:
            await models.complete("weak_solver", ASKED, scope="d1")
    assert "passage_tokens" not in refused.value.remedy


async def test_the_token_limit_and_a_full_context_are_told_apart(tmp_path: Path) -> None:
    full = {"prompt_tokens": 400, "completion_tokens": 100}
    cut = {"prompt_tokens": 300, "completion_tokens": 100}
    async with (
        scripted(
            says("So", finish_reason="length", usage=full),
            says("So", finish_reason="length", usage=cut),
            otherwise=says('{"instruction": "a', finish_reason="length", usage=full),
        ) as server,
        calling(tmp_path, server.url) as models,
    ):
        server.props = PROPS
        for scope in ("d1", "d2"):
            assert (await models.complete("weak_solver", ASKED, scope=scope)).truncated
        with pytest.raises(CutOff, match="full context window") as never:
            await models.complete_as("challenger", ASKED, InstructionReply, scope="d3")
    assert never.value.remedy.startswith("Lower run.passage_tokens")
    assert rows(tmp_path, "error")[:2] == [
        "the reply was cut off by the full context window (500 tokens)",
        "the reply was cut off by the token limit",
    ]
