"""An agent works as long as its limits allow, is told when to finish, and never ends a run."""

import json
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from autodata.optimizer.agent import AgentLimits, Diagnosis, analyse
from autodata.optimizer.loop import optimize
from tests.models.calling import calling
from tests.models.scripted_server import Reply, Script, says, scripted
from tests.optimizer.context import optimization_context

FILES = {
    "index.md": "Most rounds were too easy. " * 9,
    "history.md": "Nothing was tried yet.",
    "prompts/cs/challenger.md": "Ask one thing.",
}
QUOTES = [
    {"path": "index.md", "words": "too easy"},
    {"path": "prompts/cs/challenger.md", "words": "Ask one thing"},
]
REPORT = {"analysis": "The questions are too easy.", "quotes": QUOTES}


def uses(name: str, **arguments: Any) -> Script:
    """A call of one tool, each time under a new id."""
    numbers = count(1)

    def reply(request: dict[str, Any]) -> Reply:
        function = {"name": name, "arguments": json.dumps(arguments)}
        call = {"id": f"call-{next(numbers)}", "type": "function", "function": function}
        return says(None, finish_reason="tool_calls", tool_calls=[call])

    return reply


async def analysed(folder: Path, url: str, **limits: int) -> Diagnosis | str:
    async with calling(folder, url) as models:
        return await analyse(models, FILES, scope="iteration-1", limits=AgentLimits(**limits))


def told(request: dict[str, Any]) -> list[str]:
    """What the agent was told after its task."""
    return [m["content"] for m in request["messages"][2:] if m["role"] == "user"]


async def test_an_agent_may_use_every_one_of_its_calls(tmp_path: Path) -> None:
    """Counted in calls: LangGraph's own limit of steps must never come first."""
    steps = [*[uses("list_files")] * 39, uses("report", **REPORT)]
    async with scripted(*steps) as server:
        found = await analysed(tmp_path, server.url)
    assert isinstance(found, Diagnosis)
    assert len(server.requests) == 40


async def test_an_agent_that_never_ends_is_told_to_and_then_stopped(tmp_path: Path) -> None:
    async with scripted(otherwise=uses("list_files")) as server:
        found = await analysed(tmp_path, server.url, calls=12)
    assert found == "it was still at work after 12 calls"
    assert [len(told(request)) for request in server.requests] == [0] * 7 + [1] * 5
    assert "`report`" in told(server.requests[-1])[0]


async def test_an_agent_that_reads_too_much_is_told_to_end_and_then_stopped(tmp_path: Path) -> None:
    async with scripted(otherwise=uses("read", path="index.md")) as server:
        found = await analysed(tmp_path, server.url, calls=200, tokens=900)
    assert found == "its conversation grew past 900 tokens"
    assert not told(server.requests[0])
    assert told(server.requests[-1])


@pytest.mark.parametrize("again", [uses("report", **REPORT), says("As I said: too easy.")])
async def test_words_instead_of_a_tool_are_answered_once(
    tmp_path: Path, again: Reply | Callable[[dict[str, Any]], Reply]
) -> None:
    async with scripted(says("The questions are too easy."), again) as server:
        found = await analysed(tmp_path, server.url)
    assert len(server.requests) == 2
    [nudge] = told(server.requests[1])
    assert "`report`" in nudge
    if callable(again):
        assert isinstance(found, Diagnosis)
    else:
        assert found == "it answered in words instead of using its tools, even when told so"


async def test_an_analyst_without_end_costs_its_iteration_and_not_the_run(tmp_path: Path) -> None:
    async with scripted(otherwise=uses("list_files")) as server:
        for _ in range(2):
            with optimization_context(
                tmp_path, iterations=1, validation=1, training=1, analyst_url=server.url
            ) as context:
                await optimize(context)
                [_, lost] = context.iterations()
                await context.evaluator.models.aclose()
    assert lost.decision == "invalid"
    assert "still at work after 40 calls" in lost.reason
    assert len(server.requests) == 40
