"""Whatever an endpoint sends ends in an answer or in a named trouble, and shows no key."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autodata.models.client import Models
from autodata.models.errors import CallRefused, Paused, WireError
from autodata.models.replies import Reading, read
from autodata.optimizer.agent import RoleChat
from tests.models.calling import ASKED, calling, rows
from tests.models.scripted_server import Reply, refuses, says, scripted

TOOL = {"name": "f", "description": "Does it.", "parameters": {"type": "object"}}
KEY = "sk-very-secret-0123456789"


def completes(message: Any, *more: Any, **body: Any) -> Reply:
    """A completion with this message, and with `more` choices after it."""
    choices = [{"index": 0, "finish_reason": "stop", "message": message}, *more]
    return Reply(json.dumps({"choices": choices, **body}).encode())


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        (completes({"content": "fine"}), "fine"),
        (completes({"role": "oracle", "content": "fine"}), "fine"),
        (completes({"role": None, "content": "fine"}), "fine"),
        (completes({"content": "fine"}, {"message": None}, None), "fine"),
        (completes({"content": [{"type": "text", "text": "fi"}, {"text": "ne"}]}), "fine"),
        (completes({"content": ["fi", {"type": "image_url", "image_url": 1}, "ne"]}), "fine"),
        (completes({"content": "fine", "tool_calls": None}), "fine"),
        (completes({"content": "fine", "tool_calls": []}), "fine"),
        (completes({"content": "fine", "reasoning": {"odd": 1}}), "fine"),
        (completes({"content": "fine"}, usage={"prompt_tokens": -1}, id=7, model=None), "fine"),
    ],
)
async def test_what_an_answer_does_not_need_may_be_odd(
    tmp_path: Path, reply: Reply, text: str
) -> None:
    async with scripted(reply) as server, calling(tmp_path, server.url) as models:
        assert (await models.complete("weak_solver", ASKED, scope="d1")).text == text
    assert rows(tmp_path) == ["ok"]


@pytest.mark.parametrize(
    "reply",
    [
        completes(None),
        completes("fine"),
        completes({"content": {"text": "fine"}}),
        completes({"content": 7}),
        completes({"content": "fine", "tool_calls": "look_up"}),
        completes({"content": "fine", "tool_calls": [None]}),
        completes({"content": "fine", "tool_calls": [{"function": {"arguments": "{}"}}]}),
        Reply(b'{"choices": {"0": 1}}'),
        Reply(b'{"choices": [[]]}'),
        Reply(b"[" * 200_000),
        Reply(b'{"choices": ' * 200_000),
        Reply(b'{"choices": [{"message": ' + b"[" * 900 + b"]" * 900 + b"}]}"),
        Reply(b'{"error": ' + b"[" * 900 + b"]" * 900 + b"}"),
        Reply(b"[" * 200_000, status=500),
        Reply(b"<html>" + b"\xff" * 100, status=502),
        Reply(b""),
    ],
)
async def test_a_200_that_is_no_answer_is_asked_for_again(tmp_path: Path, reply: Reply) -> None:
    async with scripted(reply) as server, calling(tmp_path, server.url) as models:
        assert (await models.complete("weak_solver", ASKED, scope="d1")).text == "fine"
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    "arguments",
    ["[1]", "7", '{"a": ' * 5000, '{"a": ' * 900 + "1" + "}" * 900, {"a": [[]]}, None, 7],
)
async def test_tool_calls_with_odd_arguments_are_calls_all_the_same(
    tmp_path: Path, arguments: Any
) -> None:
    call = {"id": None, "type": "function", "function": {"name": "f", "arguments": arguments}}
    async with (
        scripted(says(None, tool_calls=[call])) as server,
        calling(tmp_path, server.url) as models,
    ):
        chat = RoleChat(models=models, role="editor", scope="d1").bind_tools([TOOL])
        said = await chat.ainvoke("Go on")
        assert [(made["name"], made["id"]) for made in said.tool_calls] == [("f", "call-1")]
        await chat.ainvoke(["Go on", said])
    assert server.requests[1]["messages"][1]["tool_calls"][0]["function"]["name"] == "f"


@pytest.mark.parametrize(
    "text",
    [
        '{"content": 1, "tool_calls": [5]}',
        '{"content": "", "tool_calls": {}}',
        '{"content": "", "tool_calls": [{"name": [], "args": 1, "id": 2}]}',
        '{"content": ' * 100_000,
    ],
)
async def test_words_that_look_like_tool_calls_are_words(tmp_path: Path, text: str) -> None:
    async with scripted(says(text)) as server, calling(tmp_path, server.url) as models:
        chat = RoleChat(models=models, role="editor", scope="d1")
        assert (await chat.ainvoke("Go on")).text == text
    assert len(server.requests) == 1


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3)
    ),
    max_leaves=8,
)
NAMES = ("role", "content", "tool_calls", "function", "name", "arguments", "id", "text", "type")
NAMES += ("reasoning", "reasoning_content", "refusal", "usage", "prompt_tokens", "finish_reason")
odd = st.recursive(
    values,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=5)
    ),
    max_leaves=20,
)
choices = st.fixed_dictionaries({"message": odd}, optional={"finish_reason": odd}) | odd
bodies = st.fixed_dictionaries(
    {"choices": st.lists(choices, max_size=2) | odd}, optional={"usage": odd, "error": odd}
)
raws = st.binary(max_size=200) | st.builds(lambda body: json.dumps(body).encode(), bodies | odd)


@settings(max_examples=150, deadline=None)
@given(raw=raws)
async def test_any_body_is_an_answer_or_a_wire_error(raw: bytes) -> None:
    try:
        reading = await read(raw)
    except WireError:
        return
    assert isinstance(reading, Reading)
    (reading.text + reading.reasoning + reading.finish_reason).encode()  # no half characters


async def test_a_reply_that_is_too_large_costs_one_document_and_no_memory(tmp_path: Path) -> None:
    """Reading stops at the cap; the next request is answered over a new connection."""
    endpoint = {"max_reply_mb": 0.1}
    async with (
        scripted(says("a" * 20_000_000), says("a" * 90_000)) as server,
        calling(tmp_path, server.url, endpoint=endpoint) as models,
    ):
        with pytest.raises(
            CallRefused, match=r"larger than 0\.1 MiB \(endpoints\.local"
        ) as refused:
            await models.complete("weak_solver", ASKED, scope="d1")
        assert "raise that limit" in str(refused.value)
        assert len((await models.complete("weak_solver", ASKED, scope="d2")).text) == 90_000
    assert rows(tmp_path, "status, length(response)") == [("failed", 0), ("ok", 90_000)]


async def test_a_huge_complaint_is_not_read_to_its_end(tmp_path: Path) -> None:
    huge = refuses(400, "no " * 10_000_000)
    async with scripted(huge) as server, calling(tmp_path, server.url) as models:
        with pytest.raises(CallRefused, match="no no no") as refused:
            await models.complete("weak_solver", ASKED, scope="d1")
    assert len(str(refused.value)) < 1000


async def ask_everything(models: Models) -> list[str]:
    """What three calls say, whether they answer or complain."""
    said = []
    for scope in ("d1", "d2", "d3"):
        try:
            said.append((await models.complete("weak_solver", ASKED, scope=scope)).text)
        except (CallRefused, Paused) as error:
            said.append(str(error))
    return said


@pytest.mark.parametrize("escaped", [False, True])
async def test_a_key_that_a_server_repeats_is_seen_by_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, escaped: bool
) -> None:
    monkeypatch.setenv("ECHOED_KEY", KEY)
    words = f"you sent {KEY} and that is all"

    def echoing(reply: Reply) -> Reply:
        shown = "".join(f"\\u{ord(c):04x}" for c in KEY) if escaped else KEY
        return Reply(reply.body.replace(KEY.encode(), shown.encode()), reply.status)

    async with (
        scripted(
            echoing(says(words, reasoning_content=words, finish_reason=words)),
            echoing(refuses(400, words)),
            otherwise=echoing(refuses(401, words)),
        ) as server,
        calling(tmp_path, server.url, endpoint={"api_key_env": "ECHOED_KEY"}) as models,
    ):
        said = await ask_everything(models)
    assert server.keys[0] == f"Bearer {KEY}"
    assert all("you sent [hidden] and" in text for text in said)
    with sqlite3.connect(tmp_path / "run.db") as database:
        stored = "\n".join(database.iterdump())
    database.close()
    assert "[hidden]" in stored
    assert KEY not in stored


async def test_a_key_is_not_shown_in_part_where_an_error_is_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ECHOED_KEY", KEY)
    words = "x" * 490 + KEY
    async with (
        scripted(refuses(400, words)) as server,
        calling(tmp_path, server.url, endpoint={"api_key_env": "ECHOED_KEY"}) as models,
    ):
        with pytest.raises(CallRefused) as refused:
            await models.complete("weak_solver", ASKED, scope="d1")
    assert "sk-very" not in str(refused.value)
