"""Models that reply from a script, for stories about the loop; all other parts are real.

A script says, per role, what to reply: one value for always, or a list for one reply after the
other, the last one repeated. What was asked is kept for the test to look at.
"""

import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from autodata.agents.replies import Reply
from autodata.graph.build import build
from autodata.graph.context import RunContext
from autodata.graph.run import Batch, run_documents
from autodata.graph.state import Input, RunChoices, TaskName
from autodata.ledger.calls import Call, CallLog
from autodata.ledger.ledger import Ledger
from autodata.ledger.rows import RunRow
from autodata.models.client import Models
from autodata.models.replies import StructuredReply, TextReply
from autodata.prompt_store.prompt import Message, packaged
from autodata.tasks.types import Document, Round

TEXT = "Leaders append entries; a majority decides. Terms order the leaders in time. " * 40
DOCUMENT = Document.of("log.md", TEXT)

GOOD_RUBRIC = [
    *({"criterion": f"derives step {i}", "weight": 5} for i in range(8)),
    *({"criterion": f"claims error {i}", "weight": -4} for i in range(3)),
]
GOOD = {
    "question_type": "prediction",
    "skills": ["replication"],
    "context": "Five servers keep a replicated log. One was cut off for an hour and has come back.",
    "question": "Which of its entries does the cluster keep once it rejoins?",
    "reference_answer": "Only entries of the last term that a majority of servers had stored.",
    "rubric": GOOD_RUBRIC,
}
PASS = {
    "answer_from_context": "cannot be told",
    "leak": False,
    "question": "good",
    "single_focus": True,
    "grounded": True,
    "rubric_specific": True,
    "type_consistent": True,
    "verdict": "PASS",
}
FAIL = {**PASS, "single_focus": False, "problems": ["it asks two things"], "verdict": "FAIL"}


def marks(met: int, of: int = len(GOOD_RUBRIC)) -> dict[str, Any]:
    """Marks that meet the first `met` criteria."""
    given = [{"number": i, "met": i <= met, "evidence": "…"} for i in range(1, of + 1)]
    return {"marks": given}


class ByText(dict[str, Any]):
    """Replies by a text that the request contains."""

    def to(self, messages: Sequence[Message]) -> Any:
        said = messages[-1].content
        return next(reply for text, reply in self.items() if text in said)


@dataclass
class ScriptedModels:
    """Says and answers what the script holds: a string where a value is due is a malformed reply,
    None an answer cut off, an exception an endpoint in trouble, a function is awaited first.
    Calls go on record."""

    script: Mapping[str, Any]
    log: CallLog
    asked: Counter[str] = field(default_factory=Counter)
    messages: list[tuple[str, tuple[Message, ...]]] = field(default_factory=list)
    shapes: dict[str, type[Reply]] = field(default_factory=dict)

    async def _next(self, role: str, messages: Sequence[Message], scope: str) -> tuple[Any, int]:
        reply = self.script[role]
        if isinstance(reply, ByText):
            reply = reply.to(messages)
        if isinstance(reply, list):
            reply = reply[min(self.asked[role], len(reply) - 1)]
        self.asked[role] += 1
        self.messages.append((role, tuple(messages)))
        if callable(reply):
            reply = await reply()
        if isinstance(reply, Exception):
            raise reply
        key = f"{role}-{self.asked[role]}"
        call = Call(
            scope, role, "scripted", "scripted", key, 1, "ok",
            response=reply if isinstance(reply, str) else "", started_at="2026-11-22",
        )  # fmt: skip
        return reply, await self.log.record(call)

    async def complete(
        self, role: str, messages: Sequence[Message], *, scope: str, **_: Any
    ) -> TextReply:
        reply, call_id = await self._next(role, messages, scope)
        return TextReply(text=reply or "", truncated=reply is None, call_id=call_id)

    async def complete_as(
        self,
        role: str,
        messages: Sequence[Message],
        reply: type[Reply],
        *,
        scope: str,
        **_: Any,
    ) -> StructuredReply[Any]:
        self.shapes[role] = reply
        given, call_id = await self._next(role, messages, scope)
        malformed = isinstance(given, str)
        value = None if malformed else reply.model_validate_json(json.dumps(given))
        problem = given if malformed else ""
        return StructuredReply(value=value, problem=problem, call_id=call_id)

    def forget(self, scope: str) -> None:
        """Nothing is remembered."""

    async def aclose(self) -> None:
        """Nothing is open."""


CS = {
    "challenger": GOOD,
    "verifier": PASS,
    "weak_solver": "a guess",
    "strong_solver": "an argument",
    "judge": [marks(1), marks(1), marks(7)],
    "final_verifier": PASS,
    "orchestrator": {"instruction": "ask from another angle"},
}


@asynccontextmanager
async def scripted_context(
    folder: Path, script: Mapping[str, Any], task: TaskName = "cs", document: Document = DOCUMENT
) -> AsyncIterator[tuple[RunContext, ScriptedModels]]:
    """The real ledger and prompts with scripted models, and a document taken in."""
    ledger = Ledger.open(folder)
    log = CallLog(ledger.path)
    models = ScriptedModels(script, log)
    ledger.add_documents([document])
    ledger.run_like(RunRow(id="run", task=task, prompts_revision=packaged().revision))
    context = RunContext(cast(Models, models), packaged(), ledger, log, "run")
    try:
        yield context, models
    finally:
        await context.aclose()


async def play(
    folder: Path,
    script: Mapping[str, Any],
    task: TaskName = "cs",
    choices: RunChoices | None = None,
    document: Document = DOCUMENT,
) -> tuple[tuple[Round, ...], ScriptedModels]:
    """Runs one document through the real graph and ledger; returns the rounds on record."""
    async with scripted_context(folder, script, task, document) as (context, models):
        batch = Batch(task, choices or RunChoices(), [document.id], in_flight=1)
        await run_documents(context, batch)
        return context.ledger.rounds("run", document.id), models


async def streamed(
    folder: Path, script: Mapping[str, Any], task: TaskName = "cs", **choices: Any
) -> tuple[list[str], str]:
    """The lines that a document streams while it is worked on, and the story that its state has."""
    async with scripted_context(folder, script, task) as (context, _):
        said, summary = list[str](), ""
        async for mode, part in build(lambda: context).astream(
            Input(document_id=DOCUMENT.id, task=task),
            context=RunChoices(**choices),
            stream_mode=["custom", "values"],
        ):
            if mode == "custom":
                said.append(part)
            else:
                summary = part.get("summary", "")
        return said, summary
