"""Calling a model: asked once, written down first, never asked again."""

import asyncio
from contextvars import ContextVar
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from blockbuster import blockbuster_ctx
from langchain_core.callbacks import AsyncCallbackHandler
from langchain_core.tracers.context import register_configure_hook

from autodata.ledger.calls import CallLog
from autodata.models.client import Models
from autodata.models.config import SIMULATED, EndpointConfig, ModelConfig, Price
from autodata.models.errors import EndpointDown, UnknownRole
from autodata.prompt_store.prompt import Message
from autodata.simulation.transport import SimulatedTransport
from tests.models.calling import ASKED, calling, rows
from tests.models.scripted_server import Reply, says, scripted


async def test_an_answer_is_asked_for_once_in_the_life_of_a_run(tmp_path: Path) -> None:
    async with (
        scripted(says("because"), otherwise=says("something else")) as server,
        calling(tmp_path, server.url) as models,
    ):
        first = await models.complete("weak_solver", ASKED, scope="d1")
        async with calling(tmp_path, server.url) as models:
            again = await models.complete("weak_solver", ASKED, scope="d1")
            assert models.usage()["weak_solver"].replayed == 1
    assert first == again
    assert first.text == "because"
    assert len(server.requests) == 1


async def test_what_is_asked_several_times_at_once_is_asked_once(tmp_path: Path) -> None:
    async with (
        scripted(says("because"), otherwise=says("something else")) as server,
        calling(tmp_path, server.url) as models,
    ):
        same = [models.complete("weak_solver", ASKED, scope="d1") for _ in range(3)]
        assert {reply.text for reply in await asyncio.gather(*same)} == {"because"}
        assert (len(server.requests), models.usage()["weak_solver"].replayed) == (1, 2)


async def test_what_one_who_gives_up_has_asked_is_answered_and_nobody_asks_it_again(
    tmp_path: Path,
) -> None:
    """Whether another waits already or comes when nobody does, and its place is kept meanwhile."""
    asked = asyncio.Event()

    def slowly(_: dict[str, Any]) -> Reply:
        asked.set()
        return replace(says("because"), seconds=0.2)

    async with (
        scripted(otherwise=slowly) as server,
        calling(tmp_path, server.url, endpoint={"max_concurrency": 1}) as models,
    ):
        for waits in (True, False):
            asked.clear()
            again = partial(models.complete, "weak_solver", ASKED, scope=f"waits {waits}")
            first, second = asyncio.create_task(again()), None
            await asked.wait()
            if waits:
                second = asyncio.create_task(again())
                for _ in range(100):  # until it waits
                    await asyncio.sleep(0)
            first.cancel()
            await asyncio.wait([first])
            [state] = models.endpoints_state()
            assert state.in_flight == 1
            assert (await (second or again())).text == "because"
            assert first.cancelled()
    assert len(server.requests) == 2
    assert rows(tmp_path, "status") == ["ok", "ok"]


async def test_what_one_who_gives_up_has_asked_in_vain_is_asked_anew(tmp_path: Path) -> None:
    asked = asyncio.Event()

    def fails(_: dict[str, Any]) -> Reply:
        asked.set()
        return Reply(status=500, seconds=0.2)

    async with (
        scripted(fails, otherwise=says("because")) as server,
        calling(tmp_path, server.url) as models,
    ):
        first = asyncio.create_task(models.complete("weak_solver", ASKED, scope="d1"))
        await asked.wait()
        first.cancel()
        assert (await models.complete("weak_solver", ASKED, scope="d1")).text == "because"
    assert len(server.requests) == 2
    assert rows(tmp_path, "status") == ["ok"]


async def test_each_attempt_is_a_call_of_its_own(tmp_path: Path) -> None:
    async with scripted() as server, calling(tmp_path, server.url) as models:
        for sample in (1, 2, 3):
            await models.complete("weak_solver", ASKED, scope="d1", sample=sample)
    assert len(server.requests) == 3
    assert rows(tmp_path, "sample") == [1, 2, 3]


@pytest.mark.parametrize(
    "change",
    [
        {"model": {"temperature": 0.5}},
        {"model": {"max_tokens": 9}},
        {"model": {"extra": {"top_p": 0.9}}},
        {"seed": 1},
    ],
)
async def test_whatever_shapes_an_answer_makes_it_another_call(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    async with scripted() as server:
        for settings in ({}, change):
            async with calling(tmp_path, server.url, **settings) as models:
                await models.complete("weak_solver", ASKED, scope="d1")
    assert len(server.requests) == 2


async def test_another_address_of_the_same_endpoint_changes_nothing(tmp_path: Path) -> None:
    async with scripted() as before, scripted() as after:
        for server in (before, after):
            async with calling(tmp_path, server.url) as models:
                await models.complete("weak_solver", ASKED, scope="d1")
    assert (len(before.requests), len(after.requests)) == (1, 0)


async def test_attempts_of_one_question_never_share_a_seed(tmp_path: Path) -> None:
    async with scripted() as server:
        async with calling(tmp_path, server.url, seed=7) as models:
            for role in ("weak_solver", "strong_solver"):
                for sample in (1, 2, 3):
                    await models.complete(role, ASKED, scope="d1", sample=sample)
        seeds = [request["seed"] for request in server.requests]
        (tmp_path / "again").mkdir()
        async with calling(tmp_path / "again", server.url, seed=7) as models:
            await models.complete("weak_solver", ASKED, scope="d1", sample=1)
    assert len(set(seeds)) == 6
    assert server.requests[-1]["seed"] == seeds[0]


async def test_without_a_seed_none_is_sent(tmp_path: Path) -> None:
    async with scripted() as server, calling(tmp_path, server.url) as models:
        await models.complete("weak_solver", ASKED, scope="d1")
    assert "seed" not in server.requests[0]


async def test_the_configured_parameters_reach_the_server(tmp_path: Path) -> None:
    model = {"temperature": 1.0, "max_tokens": 99, "extra": {"chat_template_kwargs": {"a": False}}}
    whole = {"stream": "never"}
    async with (
        scripted() as server,
        calling(tmp_path, server.url, model=model, endpoint=whole) as models,
    ):
        await models.complete("weak_solver", ASKED, scope="d1")
    assert server.requests == [
        {
            "model": "m",
            "messages": [
                {"role": "system", "content": "You solve."},
                {"role": "user", "content": "Why?"},
            ],
            "temperature": 1.0,
            "max_tokens": 99,
            "chat_template_kwargs": {"a": False},
        }
    ]


@pytest.mark.parametrize(
    ("reply", "reasoning"),
    [
        (says("42", reasoning_content="six by seven"), "six by seven"),
        (says("42", reasoning="six by seven"), "six by seven"),
        (says("<think>six by seven</think>\n42"), "six by seven"),
        (says("six by seven</think>\n42"), "six by seven"),
    ],
)
async def test_hidden_reasoning_is_kept_apart_from_the_answer(
    tmp_path: Path, reply: Any, reasoning: str
) -> None:
    async with scripted(reply) as server, calling(tmp_path, server.url) as models:
        said = await models.complete("weak_solver", ASKED, scope="d1")
    assert (said.text, said.truncated) == ("42", False)
    assert rows(tmp_path, "reasoning") == [reasoning]


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        (says("half an ans", finish_reason="length"), "half an ans"),
        (says("", finish_reason="length"), ""),
        (says(None, finish_reason="length", reasoning_content="hm"), ""),
        (says(None, reasoning_content="hm, hm"), ""),
        (says("<think>and then", finish_reason="length"), ""),
    ],
)
async def test_an_answer_cut_off_by_the_limit_is_marked_and_not_repeated(
    tmp_path: Path, reply: Any, text: str
) -> None:
    async with scripted(reply) as server, calling(tmp_path, server.url) as models:
        said = await models.complete("weak_solver", ASKED, scope="d1")
    assert (said.text, said.truncated) == (text, True)
    assert rows(tmp_path) == ["truncated"]
    assert len(server.requests) == 1


async def test_silence_is_not_an_answer(tmp_path: Path) -> None:
    async with scripted(says(""), says(None)) as server, calling(tmp_path, server.url) as models:
        said = await models.complete("weak_solver", ASKED, scope="d1")
    assert said.text == "fine"
    assert rows(tmp_path, "status, failures, lost_tokens") == [("ok", 2, 30)]


async def test_lone_surrogates_neither_leave_nor_enter(tmp_path: Path) -> None:
    asked = (Message(role="user", content="broken \ud800 text"),)
    async with (
        scripted(says("half a \udc00 pair")) as server,
        calling(tmp_path, server.url) as models,
    ):
        said = await models.complete("weak_solver", asked, scope="d1")
    assert said.text == "half a \ufffd pair"
    assert server.requests[0]["messages"][0]["content"] == "broken ? text"
    assert rows(tmp_path, "response") == ["half a \ufffd pair"]


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": "ten", "completion_tokens": None},
        {"prompt_tokens": 10, "prompt_tokens_details": [], "completion_tokens": 1},
        ["no", "object"],
        "none",
    ],
)
async def test_odd_token_counts_do_not_cost_an_answer(tmp_path: Path, usage: Any) -> None:
    async with (
        scripted(says("fine", usage=usage)) as server,
        calling(tmp_path, server.url) as models,
    ):
        assert (await models.complete("weak_solver", ASKED, scope="d1")).text == "fine"
    assert rows(tmp_path) == ["ok"]


async def test_what_a_call_used_is_on_record(tmp_path: Path) -> None:
    usage = {
        "prompt_tokens": 100,
        "completion_tokens": 7,
        "prompt_tokens_details": {"cached_tokens": 60},
    }
    async with (
        scripted(says("fine", usage=usage)) as server,
        calling(tmp_path, server.url) as models,
    ):
        await models.complete("weak_solver", ASKED, scope="d1")
        usage = models.usage()["weak_solver"]
    recorded = rows(tmp_path, "role, endpoint, model, input_tokens, cached_tokens, output_tokens")
    assert recorded == [("weak_solver", "local", "m", 100, 60, 7)]
    counted = (usage.calls, usage.input_tokens, usage.cached_tokens, usage.output_tokens)
    assert counted == (1, 100, 60, 7)


@pytest.mark.parametrize(
    ("prices", "unpriced", "usd"),
    [({}, 1, None), ({"local/m": Price(input=0, output=0)}, 0, 0.0)],
)
async def test_a_lost_request_of_unknown_price_is_not_free(
    tmp_path: Path, prices: dict[str, Price], unpriced: int, usd: float | None
) -> None:
    endpoint = {"give_up_after": 0.0}
    async with (
        scripted(otherwise=Reply(b"<html>")) as server,
        calling(tmp_path, server.url, endpoint=endpoint, prices=prices) as models,
    ):
        with pytest.raises(EndpointDown):
            await models.complete("weak_solver", ASKED, scope="d1")
        used = models.usage()["weak_solver"]
    assert (used.unpriced, used.lost_tokens > 0) == (unpriced, True)
    assert rows(tmp_path, "status, usd") == [("failed", usd)]


async def test_a_role_without_a_model_takes_its_neighbours(tmp_path: Path) -> None:
    log = CallLog(tmp_path / "run.db")
    models = Models(
        log=log,
        models={
            "challenger": ModelConfig(endpoint="simulated", model="writer"),
            "judge": ModelConfig(endpoint="simulated", model="judge"),
        },
        transports={SIMULATED: SimulatedTransport()},
    )
    played = {
        role: models.registry.role_model(role).config.model
        for role in ("orchestrator", "verifier", "final_verifier", "loop_judge", "editor")
    }
    assert played == {
        "orchestrator": "writer",
        "verifier": "writer",
        "final_verifier": "writer",
        "loop_judge": "judge",
        "editor": "writer",
    }
    with pytest.raises(UnknownRole, match=r"add models\.weak_solver"):
        models.registry.role_model("weak_solver")
    with pytest.raises(UnknownRole, match="no role 'painter'"):
        models.registry.role_model("painter")
    log.close()


async def test_an_unknown_endpoint_is_named_with_its_nearest_before_any_call(
    tmp_path: Path,
) -> None:
    log = CallLog(tmp_path / "run.db")
    with pytest.raises(UnknownRole, match="did you mean 'simulated'"):
        Models(log=log, models={"judge": ModelConfig(endpoint="simulatd", model="m")})
    log.close()


async def test_with_nothing_configured_every_role_is_simulated(tmp_path: Path) -> None:
    log = CallLog(tmp_path / "run.db")
    models = Models(log=log, seed=1, transports={SIMULATED: SimulatedTransport()})
    said = await models.complete("weak_solver", ASKED, scope="d1")
    assert said.text
    assert rows(tmp_path, "endpoint, model, usd") == [("simulated", "simulated-weak", 0.0)]
    assert models.registry.role_model("strong_solver").config.model == "simulated-strong"
    assert models.registry.role_model("judge").config.model == "simulated"
    log.close()


class Listener(AsyncCallbackHandler):
    """Keeps what LangChain reports of each call."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []

    async def on_chat_model_start(self, serialized: Any, messages: Any, **kwargs: Any) -> None:
        self.seen.append(("asked", messages[0][-1].content))

    async def on_llm_end(self, response: Any, **kwargs: Any) -> None:
        self.seen.append(("answered", response.generations[0][0].text))


listening: ContextVar[Listener | None] = ContextVar("listening", default=None)
register_configure_hook(listening, inheritable=True)


async def test_langchain_tracing_sees_every_call(tmp_path: Path) -> None:
    listener = Listener()
    token = listening.set(listener)
    async with scripted(says("because")) as server, calling(tmp_path, server.url) as models:
        await models.complete("weak_solver", ASKED, scope="d1")
    listening.reset(token)
    assert listener.seen == [("asked", "Why?"), ("answered", "because")]


async def test_a_call_is_the_same_whether_or_not_somebody_listens(tmp_path: Path) -> None:
    reply = says("becau", finish_reason="length", reasoning_content="hm")
    written, asked = [], []
    for listener in (None, Listener()):
        token = listening.set(listener)
        folder = tmp_path / str(listener is None)
        folder.mkdir()
        async with (
            scripted(otherwise=reply) as server,
            calling(folder, server.url, model={"temperature": 0.5, "max_tokens": 9}) as models,
        ):
            await models.complete("weak_solver", ASKED, scope="d1")
        listening.reset(token)
        columns = "status, response, reasoning, finish_reason, input_tokens, output_tokens"
        written.append(rows(folder, columns))
        asked.append(server.requests)
    assert written[0] == written[1] == [("truncated", "becau", "hm", "length", 10, 5)]
    assert asked[0] == asked[1]


def test_models_live_on_from_one_event_loop_to_the_next(tmp_path: Path) -> None:
    async def ask(sample: int) -> str:
        async with scripted() as server:
            at = models.registry.endpoint("local").transport
            at.base_url = server.url
            said = await models.complete("weak_solver", ASKED, scope="d1", sample=sample)
            await models.aclose()
            return said.text

    log = CallLog(tmp_path / "run.db")
    models = Models(
        log=log,
        endpoints={"local": EndpointConfig(base_url="http://127.0.0.1:1/v1")},
        models={"weak_solver": ModelConfig(endpoint="local", model="m")},
    )
    assert [asyncio.run(ask(1)), asyncio.run(ask(2))] == ["fine", "fine"]
    log.close()


async def test_nothing_holds_up_the_event_loop(tmp_path: Path) -> None:
    """LangGraph's server refuses blocking calls in async code; this is what it refuses them by."""
    async with scripted() as server, calling(tmp_path, server.url) as models:
        with blockbuster_ctx(["agents", "ledger"]):
            await models.complete("weak_solver", ASKED, scope="d1")
            models.forget("d1")
            await models.complete("weak_solver", ASKED, scope="d1")
            await models.aclose()
    assert len(server.requests) == 1
