"""The loop where code writes and checks the items, over real HTTP to a scripted endpoint."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from autodata.graph.context import RunContext
from autodata.graph.run import Batch, run_documents
from autodata.graph.state import RunChoices
from autodata.ledger.calls import CallLog
from autodata.ledger.ledger import Ledger
from autodata.ledger.rows import AttemptCount, RunRow
from autodata.ledger.summary import summarize
from autodata.models.client import Models
from autodata.models.config import EndpointConfig, ModelConfig
from autodata.prompt_store.prompt import packaged
from autodata.simulation.messages import read
from autodata.simulation.procedural import recognise
from autodata.tasks.types import Document, Round
from tests.graph.scripted import CS
from tests.graph.scripted import play as scripted_play
from tests.models.scripted_server import Reply, ScriptedServer, says, scripted

CHOICES = RunChoices(strong_examples=2, rounds=6)
LETTERS = Document.of("letters.txt", "about: rows of letters\nfamily: letters\nsetting: 1\nseed: 4")


def solution(payload: dict[str, Any]) -> str:
    brief = read(payload["messages"], payload["model"])
    return recognise(brief.section("context"), brief.section("question"))[1]


def strong_alone(payload: dict[str, Any]) -> Reply:
    """The strong side is right, the weak side wrong."""
    return says(f"Answer: {solution(payload) if payload['model'] == 'strong' else -1}")


async def play(
    folder: Path, server: ScriptedServer, document: Document = LETTERS
) -> tuple[tuple[Round, ...], Ledger]:
    """One document through the real graph, ledger, call log and wire."""
    ledger = Ledger.open(folder)
    log = CallLog(ledger.path)
    here = {"here": EndpointConfig(base_url=server.url)}
    sides = {
        f"{side}_solver": ModelConfig(endpoint="here", model=side) for side in ("weak", "strong")
    }
    models = Models(log=log, endpoints=here, models=sides)
    ledger.add_documents([document])
    if not ledger.runs():
        ledger.start_run(RunRow(id="run", task="procedural", prompts_revision=packaged().revision))
    context = RunContext(models, packaged(), ledger, log, "run")
    try:
        await run_documents(context, Batch("procedural", CHOICES, [document.id], in_flight=1))
    finally:
        await context.aclose()
    kept = Ledger.open(folder)
    return kept.rounds("run", document.id), kept


async def test_only_solvers_are_asked_and_the_item_is_verified_by_code(tmp_path: Path) -> None:
    async with scripted(otherwise=strong_alone) as server:
        rounds, ledger = await play(tmp_path, server)
        [only] = rounds
        assert only.decision == "accepted"
        assert only.verdict
        assert only.final_verdict == only.verdict
        assert Counter(asked["model"] for asked in server.requests) == {"weak": 4, "strong": 3}
        roles = {row["role"] for row in ledger.query("select distinct role from calls")}
        assert roles == {"weak_solver", "strong_solver"}


async def test_both_sides_are_asked_alike_and_one_is_shown_worked_examples_first(
    tmp_path: Path,
) -> None:
    async with scripted(otherwise=strong_alone) as server:
        await play(tmp_path, server)
    by_side = {asked["model"]: asked["messages"] for asked in server.requests}
    weak, strong = by_side["weak"], by_side["strong"]
    assert [m["role"] for m in weak] == ["system", "user"]
    assert [m["role"] for m in strong] == ["system", *["user", "assistant"] * 2, "user"]
    assert [strong[0], strong[-1]] == weak
    assert all("Answer: " in m["content"] for m in strong if m["role"] == "assistant")


@pytest.mark.parametrize(
    ("weak", "strong", "first", "dial"),
    [
        ("right", "right", "TOO_EASY", "from 1 to 2"),
        ("wrong", "wrong", "STRONG_FAILED", "from 1 to 0"),
        ("formless", "right", "FORMAT", "stays at 1"),
        ("wrong", "formless", "FORMAT", "stays at 1"),
    ],
)
async def test_the_dial_turns_by_what_was_objected_to(
    tmp_path: Path, weak: str, strong: str, first: str, dial: str
) -> None:
    def script(payload: dict[str, Any]) -> Reply:
        how = {"weak": weak, "strong": strong}[payload["model"]]
        said = {"right": solution(payload), "wrong": "-1", "formless": "hard to say"}[how]
        return says(said)

    async with scripted(otherwise=script) as server:
        rounds, ledger = await play(tmp_path, server)
    assert [round.objections[0].code for round in rounds] == [first] * 6
    assert dial in rounds[1].instruction
    assert rounds[-1].decision == "rejected"
    assert len({round.candidate.question for round in rounds if round.candidate}) > 1
    formless = {"weak": weak == "formless", "strong": strong == "formless"}
    for side, counted in summarize(ledger, "run").attempts.items():
        assert isinstance(counted, AttemptCount)
        assert counted.format_errors == (counted.made if formless[side] else 0)


async def test_a_killed_run_makes_the_same_items_and_pays_for_no_call_twice(tmp_path: Path) -> None:
    def easy(payload: dict[str, Any]) -> Reply:
        return says(solution(payload))

    async with scripted(otherwise=easy) as server:
        whole, _ = await play(tmp_path / "whole", server)
        needed = len(server.requests)
    folder = tmp_path / "killed"
    async with scripted(otherwise=easy) as server:
        first, ledger = await play(folder, server)
        with ledger.writing() as database:  # as if it had been killed before it was decided
            for table in ("attempts", "examples", "rounds"):
                database.table(table).delete_where()
        again, _ = await play(folder, server)
        assert len(server.requests) == needed
    assert [r.candidate for r in whole] == [r.candidate for r in first]
    assert again == first


async def test_a_document_that_names_no_generator_is_skipped_and_nobody_is_asked(
    tmp_path: Path,
) -> None:
    async with scripted() as server:
        rounds, _ = await play(tmp_path, server, Document.of("a.md", "An essay about dice. " * 9))
        assert server.requests == []
    assert [(r.decision, r.objections[0].code) for r in rounds] == [("skipped", "UNSUITABLE")]


async def test_worked_examples_are_refused_where_a_task_has_none(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cs has no worked examples"):
        await scripted_play(tmp_path, CS, choices=CHOICES)
