"""Slow is not dead: an answer may take as long as it likes, a silence only as long as a time-out.

Here seconds stand for minutes: a word comes every 2 ms, and the time-out is half a second.
"""

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any, TypedDict

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk
from langgraph.graph import START, StateGraph

from autodata.models.chat import labelled
from autodata.models.client import Models
from autodata.models.errors import EndpointDown, WireError
from autodata.models.replies import read
from autodata.models.transport import AnswerStream, encode
from tests.models.calling import ASKED, calling, rows
from tests.models.scripted_server import Reply, refuses, says, scripted, streams

IMPATIENT = {"timeout": 0.5, "give_up_after": 0.3}
WORDS = tuple(f"word {number} " for number in range(600))  # for longer than two time-outs
USED = {"prompt_tokens": 7, "completion_tokens": 600, "prompt_tokens_details": {"cached_tokens": 3}}


def slow(payload: dict[str, Any]) -> Reply:
    """A model that is asked for one answer in one piece and never gets done in time."""
    if payload.get("stream"):
        return streams(*WORDS, seconds=0.002, usage=USED)
    return Reply(hang=True)


async def test_an_answer_that_takes_twice_the_time_out_is_waited_for(tmp_path: Path) -> None:
    async with (
        scripted(otherwise=slow) as server,
        calling(tmp_path, server.url, endpoint=IMPATIENT) as models,
    ):
        said = await models.complete("weak_solver", ASKED, scope="d1")
    assert said.text == "".join(WORDS)
    used = "status, failures, input_tokens, cached_tokens, output_tokens, estimated"
    assert rows(tmp_path, used) == [("ok", 0, 7, 3, 600, 0)]
    assert rows(tmp_path, "seconds")[0] > 2 * IMPATIENT["timeout"]


async def test_silence_in_the_midst_of_an_answer_pauses_the_run_in_the_configured_time(
    tmp_path: Path,
) -> None:
    async with (
        scripted(otherwise=streams("Well", ",", finish_reason=None, hang=True)) as server,
        calling(tmp_path, server.url, endpoint=IMPATIENT) as models,
    ):
        with pytest.raises(EndpointDown, match=r"silent for 0.5 s in the midst of an answer"):
            await models.complete("weak_solver", ASKED, scope="d1")
        assert models.usage()["weak_solver"].failed == 1
    assert len(server.requests) == 1
    assert rows(tmp_path) == ["failed"]


async def test_an_endpoint_that_becomes_slow_is_not_taken_for_dead(tmp_path: Path) -> None:
    """It answers at once, and so in one piece; then it takes long, and is heard out."""
    async with (
        scripted(says("quick"), otherwise=slow) as server,
        calling(tmp_path, server.url, endpoint=IMPATIENT) as models,
    ):
        assert (await models.complete("weak_solver", ASKED, scope="d1")).text == "quick"
        said = await models.complete("weak_solver", ASKED, scope="d2")
    assert said.text.endswith("word 599 ")
    assert ["stream" in request for request in server.requests] == [True, False, True]
    assert rows(tmp_path, "status, failures") == [("ok", 0), ("ok", 1)]


async def test_a_request_that_queues_behind_a_slow_answer_is_no_outage(tmp_path: Path) -> None:
    """A server with one place: who is not served hears nothing, and the other one's words count."""

    def one_place(payload: dict[str, Any]) -> Reply:
        return slow(payload) if server.in_flight == 1 else Reply(hang=True)

    patience = {"timeout": 0.5, "give_up_after": 0.8, "stream": "always"}
    async with (
        scripted(otherwise=one_place) as server,
        calling(tmp_path, server.url, endpoint=patience) as models,
    ):
        models.registry.endpoint("local").limiter.prove()
        said = await both(models)
    assert [text.endswith("word 599 ") for text in said] == [True, True]


async def both(models: Models) -> list[str]:
    asked = [models.complete("weak_solver", ASKED, scope=scope) for scope in ("d1", "d2")]
    return [said.text for said in await asyncio.gather(*asked)]


@pytest.mark.parametrize(
    ("refused", "message", "streamed"),
    [
        ("stream_options", "Unrecognized request argument supplied: stream_options", True),
        ("stream", "Streaming is not supported by this deployment", False),
    ],
)
async def test_an_endpoint_that_refuses_to_stream_is_asked_without(
    tmp_path: Path, refused: str, message: str, streamed: bool
) -> None:
    def answer(payload: dict[str, Any]) -> Reply:
        return refuses(400, message) if refused in payload else says("fine")

    async with (
        scripted(otherwise=answer) as server,
        calling(tmp_path, server.url, endpoint={"stream": "always"}) as models,
    ):
        for scope in ("d1", "d2"):
            assert (await models.complete("weak_solver", ASKED, scope=scope)).text == "fine"
    assert [refused in request for request in server.requests] == [True, False, False]
    assert ("stream" in server.requests[-1]) is streamed


async def test_a_stream_that_breaks_off_is_asked_for_again(tmp_path: Path) -> None:
    broken = streams("Half an", finish_reason=None)
    async with (
        scripted(broken, streams("whole")) as server,
        calling(tmp_path, server.url) as models,
    ):
        assert (await models.complete("weak_solver", ASKED, scope="d1")).text == "whole"
    assert rows(tmp_path, "failures, error")[0] == (1, "")


async def test_never_means_never(tmp_path: Path) -> None:
    async with (
        scripted() as server,
        calling(tmp_path, server.url, endpoint={"stream": "never"}) as models,
    ):
        await models.complete("weak_solver", ASKED, scope="d1")
    assert "stream" not in server.requests[0]


CHUNKS = b"""\
: a comment keeps the line open

data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}

data: {"choices":[{"index":0,"delta":{"reasoning_content":"Let me"}}]}\r
\r
data: {"choices":[{"index":0,"delta":{"content":"Three "}},{"index":1,"delta":{"content":"x"}}]}

data:{"choices":[{"index":0,"delta":{"content":"of them","tool_calls":[{"index":0,"id":"c",\
"function":{"name":"look","arguments":"{\\"at\\""}}]}}]}

data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":":1}"}}]},\
"finish_reason":"tool_calls"}],"usage":null}

data: {"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":4}}

data: [DONE]
"""


@pytest.mark.parametrize("size", [1, 7, 10_000])
async def test_a_stream_reads_the_same_however_it_is_cut(size: int) -> None:
    answer = AnswerStream()
    for at in range(0, len(CHUNKS), size):
        answer.feed(CHUNKS[at : at + size])
    reading = await read(encode(answer.body()))
    assert reading.text.startswith('{"content": "Three of them", "tool_calls": [{"name": "look"')
    assert '"args": {"at": 1}' in reading.text
    assert (reading.reasoning, reading.finish_reason) == ("Let me", "tool_calls")
    assert (reading.input_tokens, reading.output_tokens) == (5, 4)


@pytest.mark.parametrize(
    ("chunks", "problem"),
    [
        (b'data: {"choices":[{"delta":{"content":"a"}}]}\n', "broke off"),
        (b'data: {"error":{"message":"out of memory"}}\n\ndata: [DONE]\n', "out of memory"),
        (b"data: <html>\n", "not JSON"),
        (b"", "broke off"),
    ],
)
async def test_a_stream_that_is_no_answer_says_why(chunks: bytes, problem: str) -> None:
    with pytest.raises(WireError, match=problem):
        await read(encode(put_together(chunks)))


def put_together(chunks: bytes) -> dict[str, Any]:
    answer = AnswerStream()
    answer.feed(chunks)
    return answer.body()


async def test_comments_are_no_sign_of_life() -> None:
    answer = AnswerStream()
    assert not answer.feed(b": ping\n\n")
    assert answer.feed(b'data: {"choices":[]}\n\n')


SECRET = "sk-planted-0123456789"


async def heard(models: Models, scope: str) -> list[tuple[AIMessage, dict[str, Any]]]:
    """What LangGraph's `messages` stream says of a node that asks once, with its metadata."""

    async def ask(state: State) -> State:
        with labelled(side="weak", attempt=2):
            await models.complete("weak_solver", ASKED, scope=scope)
        return state

    graph = StateGraph(State).add_node("ask", ask).add_edge(START, "ask").compile()
    return [part async for part in graph.astream({"asked": ""}, stream_mode="messages")]


class State(TypedDict):
    asked: str


async def test_who_listens_hears_each_word_as_it_comes(tmp_path: Path) -> None:
    """Even where answers come so soon that nobody else asks for a stream."""

    def answer(payload: dict[str, Any]) -> Reply:
        return streams("Three ", "of ", "them", usage=USED) if "stream" in payload else says("3")

    async with (
        scripted(says("3"), otherwise=answer) as server,
        calling(tmp_path, server.url) as models,
    ):
        await models.complete("weak_solver", ASKED, scope="d1")
        await models.complete("weak_solver", ASKED, scope="d2")
        parts = await heard(models, "d3")
        assert await heard(models, "d3") == []  # from the log: nobody was asked
        await models.complete("weak_solver", ASKED, scope="d4")
    assert all(isinstance(message, AIMessageChunk) for message, _ in parts)
    assert "".join(str(message.content) for message, _ in parts) == "Three of them"
    assert len({message.id for message, _ in parts}) == 1
    assert parts[-1][0].usage_metadata == {
        "input_tokens": 7,
        "output_tokens": 600,
        "total_tokens": 607,
    }
    for _, about in parts:
        assert about["tags"] == ["weak_solver", "weak", "attempt 2"]
        assert (about["role"], about["side"], about["attempt"]) == ("weak_solver", "weak", 2)
    assert ["stream" in request for request in server.requests] == [True, False, True, False]
    assert rows(tmp_path, "response") == ["3", "3", "Three of them", "3"]


async def test_an_answer_in_one_piece_is_heard_once(tmp_path: Path) -> None:
    async with (
        scripted() as server,
        calling(tmp_path, server.url, endpoint={"stream": "never"}) as models,
    ):
        [(message, about)] = await heard(models, "d1")
    assert message.content == "fine"
    assert message.response_metadata == {"finish_reason": "stop"}
    assert about["role"] == "weak_solver"
    assert "stream" not in server.requests[0]


async def test_reasoning_is_heard_apart_from_the_answer(tmp_path: Path) -> None:
    thought = {"choices": [{"index": 0, "delta": {"reasoning_content": "Let me see"}}]}
    answer = streams("Three")
    answer = replace(answer, pieces=[f"data: {json.dumps(thought)}\n\n".encode(), *answer.pieces])
    async with scripted(answer) as server, calling(tmp_path, server.url) as models:
        parts = [message for message, _ in await heard(models, "d1")]
    assert parts[0].additional_kwargs == {"reasoning_content": "Let me see"}
    assert "".join(str(message.content) for message in parts) == "Three"


async def test_a_key_that_an_answer_repeats_is_told_to_nobody_who_listens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLANTED", SECRET)
    pieces = ("My key is ", "sk-pla", "nted-", "0123456789", ", or sk-plain")
    async with (
        scripted(otherwise=streams(*pieces)) as server,
        calling(tmp_path, server.url, endpoint={"api_key_env": "PLANTED"}) as models,
    ):
        parts = [message.content for message, _ in await heard(models, "d1")]
    assert "".join(map(str, parts)) == "My key is [hidden], or sk-plain"
    assert "sk-pla" not in parts  # which may have been the beginning of the key
