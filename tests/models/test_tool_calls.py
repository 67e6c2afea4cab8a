"""A model works with tools: over real HTTP, on record, and never asked twice."""

import json
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.tools import tool

from autodata.models.client import Models
from autodata.models.errors import Interrupted
from autodata.optimizer.agent import RoleChat
from tests.models.calling import ASKED, calling, rows
from tests.models.scripted_server import Reply, says, scripted


@tool
def look_up(word: str) -> str:
    """What a word means."""
    return f"{word} means {word[::-1]}"


def calls_tool(arguments: str) -> Reply:
    function = {"name": "look_up", "arguments": arguments}
    call = {"id": "call-1", "type": "function", "function": function}
    return says(None, finish_reason="tool_calls", tool_calls=[call])


async def answer_of(models: Models) -> str:
    chat = RoleChat(models=models, role="editor", scope="iteration-1")
    agent = create_agent(chat, [look_up], system_prompt="You look words up.")
    ended: dict[str, Any] = await agent.ainvoke({"messages": [("user", "What is a log?")]})
    return str(ended["messages"][-1].text)


async def test_a_conversation_with_tools_is_replayed_from_the_log(tmp_path: Path) -> None:
    async with scripted(calls_tool('{"word": "log"}'), says("It means gol.")) as server:
        for _ in range(2):
            async with calling(tmp_path, server.url) as models:
                assert await answer_of(models) == "It means gol."
    assert len(server.requests) == 2
    first, second = server.requests
    assert first["tools"][0]["function"]["name"] == "look_up"
    assert second["messages"][-1]["role"] == "tool"
    assert second["messages"][-1]["content"] == "log means gol"
    assert second["messages"][-2]["tool_calls"][0]["id"] == "call-1"
    assert json.loads(rows(tmp_path, "response")[0])["tool_calls"][0]["args"] == {"word": "log"}


async def test_arguments_that_are_no_json_come_back_to_the_model_as_a_complaint(
    tmp_path: Path,
) -> None:
    async with (
        scripted(calls_tool("{word: log"), says("I give up.")) as server,
        calling(tmp_path, server.url) as models,
    ):
        assert await answer_of(models) == "I give up."
    complaint = server.requests[1]["messages"][-1]
    assert complaint["role"] == "tool"
    assert "word" in complaint["content"]


async def test_work_that_is_apart_shares_budget_and_stop_but_no_replies(tmp_path: Path) -> None:
    async with scripted() as server, calling(tmp_path, server.url, seed=7) as models:
        for name, replicate in (("first", 1), ("first", 2), ("second", 1), ("first", 1)):
            await models.apart(name, replicate).complete("weak_solver", ASKED, scope="d1")
        assert models.budget_tracker.spent.calls == 3
        models.stop(Interrupted("stopped", "Resume"))
        with pytest.raises(Interrupted):
            await models.apart("third").complete("weak_solver", ASKED, scope="d1")
    seeds = [request["seed"] for request in server.requests]
    assert seeds[0] == seeds[2] != seeds[1]
    assert rows(tmp_path, "scope") == ["first/d1", "first/d1", "second/d1"]
