"""What llama.cpp and a model of 135 million parameters do to us, as far as it is theirs to decide.

Nothing is asserted about what the model says, only about form, limits, counts and the log.
"""

import asyncio
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
from pydantic import Field

from autodata.agents.replies import Reply
from autodata.models.client import Models
from autodata.models.errors import CallRefused
from autodata.prompt_store.prompt import Message
from tests.models.calling import calling, rows
from tests.outside import DEMO, Folder
from tests.real.conftest import CONTEXT

pytestmark = pytest.mark.real

NAME = "smollm2-135m"
PATIENCE = 300.0  # seconds: two thousand tokens of a prompt are read before the first word comes
PATIENT: dict[str, Any] = {"timeout": PATIENCE, "give_up_after": PATIENCE}
TOOL = {
    "type": "function",
    "function": {
        "name": "look",
        "description": "Look at a file",
        "parameters": {"type": "object", "properties": {"path": {"type": "string"}}},
    },
}


def asked(text: str) -> tuple[Message, ...]:
    return (Message(role="system", content="Be brief."), Message(role="user", content=text))


def at(
    real: str, folder: Path, *, stream: str = "auto", patience: float = PATIENCE, **model: Any
) -> AbstractAsyncContextManager[Models]:
    endpoint = PATIENT | {"stream": stream, "timeout": patience}
    return calling(folder, real, endpoint=endpoint, model={"model": NAME} | model)


class Animals(Reply):
    """A reply with bounds that only a grammar keeps."""

    names: list[str] = Field(json_schema_extra={"minItems": 2, "maxItems": 3})
    kind: str = Field(json_schema_extra={"maxLength": 12})
    level: int = Field(json_schema_extra={"minimum": 1, "maximum": 5})


async def test_a_grammar_keeps_a_structured_reply_within_its_bounds(
    real: str, tmp_path: Path
) -> None:
    async with at(real, tmp_path, max_tokens=300) as models:
        answered = await models.complete_as(
            "challenger", asked("List as many animals as you can, as JSON."), Animals, scope="d"
        )
        dialect = models.registry.role_model("challenger").dialect
    assert (dialect.format, dialect.unbounded) == ("json_schema", set())
    assert answered.value is not None, answered.problem
    assert 2 <= len(answered.value.names) <= 3
    assert len(answered.value.kind) <= 12
    assert 1 <= answered.value.level <= 5


async def test_a_prompt_beyond_the_context_is_refused_by_us_or_by_the_server(
    real: str, tmp_path: Path
) -> None:
    async with at(real, tmp_path) as models:
        with pytest.raises(CallRefused, match="context") as far:
            await models.complete("weak_solver", asked("word " * 9_000), scope="far beyond")
        with pytest.raises(CallRefused, match=f"context {CONTEXT:,}") as near:
            await models.complete("weak_solver", asked("word " * (CONTEXT + 50)), scope="beyond")
        assert models.registry.role_model("weak_solver").window.tokens == CONTEXT
    assert "Lower run.passage_tokens" in far.value.remedy == near.value.remedy
    assert rows(tmp_path) == ["failed"]  # the first one was not sent


async def test_the_token_limit_and_the_context_cut_off_and_are_told_apart(
    real: str, tmp_path: Path
) -> None:
    endless = {"ignore_eos": True}
    async with at(real, tmp_path, max_tokens=8, extra=endless) as models:
        said = await models.complete("weak_solver", asked("Count to a hundred."), scope="limit")
    assert (said.truncated, "token limit" in said.problem) == (True, True)
    async with at(real, tmp_path, extra=endless) as models:
        long = asked("word " * (CONTEXT - 150))
        said = await models.complete("weak_solver", long, scope="context")
    assert (said.truncated, "full context window" in said.problem) == (True, True)


async def test_a_repeated_prompt_is_counted_as_cached(real: str, tmp_path: Path) -> None:
    async with at(real, tmp_path, max_tokens=4) as models:
        for sample in (1, 2, 3):
            prompt = asked("Say what this is about: " + "a lease of a leader, " * 60)
            await models.complete("weak_solver", prompt, scope="d", sample=sample)
    assert max(rows(tmp_path, "cached_tokens")) > 100


async def test_both_slots_work_at_the_same_time_and_a_third_waits(
    real: str, tmp_path: Path
) -> None:
    async with at(real, tmp_path, max_tokens=24) as models:
        said = await asyncio.gather(
            *(models.complete("weak_solver", asked(f"Say {n}."), scope=f"d{n}") for n in range(3))
        )
    assert all(reply.text for reply in said)
    assert rows(tmp_path, "failures") == [0, 0, 0]


async def test_a_reply_that_takes_longer_than_the_time_out_is_heard_out(
    real: str, tmp_path: Path
) -> None:
    slow = {"max_tokens": 500, "extra": {"ignore_eos": True}}
    async with at(real, tmp_path, stream="always", patience=3.0, **slow) as models:
        said = await models.complete("weak_solver", asked("Tell a story."), scope="d")
    assert said.truncated
    [(seconds, tokens, cost)] = rows(tmp_path, "seconds, output_tokens, estimated")
    assert seconds > 3.0
    assert (tokens, cost) == (500, 0)


async def test_tools_that_a_model_cannot_use_do_no_harm(real: str, tmp_path: Path) -> None:
    from langchain_core.messages import HumanMessage

    async with at(real, tmp_path, max_tokens=32) as models:
        message = HumanMessage("Look at the file notes.md.")
        said = await models.chat("challenger", [message], [TOOL], scope="d")
    assert said.text or said.tool_calls


CONFIG = """
endpoints: {{real: {{base_url: '{url}', max_concurrency: 2}}}}
models:
  challenger: {{endpoint: simulated, model: simulated}}
  weak_solver: {{endpoint: real, model: {name}, attempts: 2, max_tokens: 60}}
  strong_solver: {{endpoint: real, model: {name}, attempts: 3, max_tokens: 60}}
run: {{rounds: 2, documents_in_flight: 1, attempts: all}}
"""


@pytest.mark.parametrize("task", ["cs", "legal", "science"])
def test_a_killed_run_goes_on_without_asking_again(real: str, tmp_path: Path, task: str) -> None:
    folder = Folder(tmp_path)
    (tmp_path / "autodata.yaml").write_text(CONFIG.format(url=real, name=NAME))
    document = str(sorted((DEMO / task).iterdir())[0])
    solved = "select count(*) from calls where role like '%_solver' and status != 'failed'"
    with folder.started("run", document, "--task", task, "--out", "run") as process:
        while process.process.is_alive() and not _asked(folder, solved):
            process.process.join(0.05)
        process.process.kill()
    before = _asked(folder, solved)
    folder("resume", "run")
    keys = "select count(*), count(distinct request_key) from calls where status != 'failed'"
    [(calls, different)] = folder.query(keys)
    assert calls == different
    assert _asked(folder, solved) >= before > 0
    assert folder.query("select decision from rounds order by number desc limit 1")[0][0] in (
        "accepted",
        "rejected",
    )


def _asked(folder: Folder, query: str) -> int:
    """Calls of solvers on record, 0 before there is a log."""
    import sqlite3

    try:
        return int(folder.query(query)[0][0])
    except sqlite3.OperationalError:
        return 0
