"""With `diversity`, what was asked before is objected to before anybody is paid for an answer."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from autodata.graph.context import RunContext
from autodata.graph.run import Batch, run_documents
from autodata.graph.state import RunChoices, in_force
from autodata.models.errors import EndpointDown
from autodata.tasks.types import Document, Round
from tests.graph.scripted import CS, GOOD, TEXT, ByText, marks, play, scripted_context

DIVERSE = RunChoices(diversity=True, rounds=3)
AGAIN = {**GOOD, "context": GOOD["context"].replace("Five", "Seven").replace("an hour", "2 hours")}
OTHER = {
    **GOOD,
    "context": "A leader is slow to write to its disk this morning; followers are as fast as ever.",
    "question": "What do clients that read from followers see in the meantime?",
}
A, B = (Document.of(f"{name}.md", f"{name}. {TEXT}") for name in ("Elections", "Snapshots"))
JUDGED = ByText({"a guess": marks(1), "an argument": marks(8)})
TOLD = "Asked of this document before"


def codes(rounds: tuple[Round, ...]) -> list[str]:
    return [round.objections[0].code if round.objections else "" for round in rounds]


async def both(context: RunContext, at_once: bool = False) -> list[tuple[Round, ...]]:
    """The rounds of two documents, run one after the other or side by side."""
    context.ledger.add_documents([A, B])
    batches = [Batch("cs", DIVERSE, [A.id], 1), Batch("cs", DIVERSE, [B.id], 1)]
    if at_once:
        await asyncio.gather(*(run_documents(context, batch) for batch in batches))
    else:
        for batch in batches:
            await run_documents(context, batch)
    return [context.ledger.rounds("run", document.id) for document in (A, B)]


async def test_a_question_asked_again_with_other_numbers_is_not_attempted(tmp_path: Path) -> None:
    script = {
        **CS,
        "challenger": [GOOD, AGAIN, OTHER],
        "weak_solver": ["an argument", "an argument", "a guess"],  # early enough too easy
        "judge": JUDGED,
    }
    rounds, models = await play(tmp_path, script, choices=DIVERSE)
    assert codes(rounds) == ["TOO_EASY", "DUPLICATE", ""]
    assert "nearly repeats that of round 1" in rounds[1].objections[0].message
    assert rounds[1].attempts == ()
    assert models.asked["verifier"] == 2
    first, second, third = (m[-1].content for role, m in models.messages if role == "challenger")
    assert TOLD not in first
    assert f"{TOLD}; ask about something else:\n- {GOOD['question']}" in second
    assert third.count(f"- {GOOD['question']}") == 1
    feedback = [m[-1].content for role, m in models.messages if role == "orchestrator"][-1]
    assert "## Asked before" in feedback


async def test_without_it_nothing_is_objected_to_and_nothing_told(tmp_path: Path) -> None:
    script = {**CS, "challenger": GOOD, "judge": marks(8)}
    rounds, models = await play(tmp_path, script, choices=RunChoices(rounds=2))
    assert codes(rounds) == ["TOO_EASY", "TOO_EASY"]
    assert not any(TOLD in messages[-1].content for _, messages in models.messages)


async def test_what_another_document_gave_is_not_asked_again(tmp_path: Path) -> None:
    challenger = ByText({"Elections.": GOOD, "Snapshots.": AGAIN})
    async with scripted_context(tmp_path, {**CS, "challenger": challenger}) as (context, models):
        first, second = await both(context)
    assert codes(first) == [""]
    assert codes(second) == ["DUPLICATE"] * 3
    assert GOOD["question"] in second[0].objections[0].message
    assert models.asked["verifier"] == 1


async def test_of_two_that_end_at_once_one_is_accepted(tmp_path: Path) -> None:
    """Both passed all checks when nothing was accepted yet."""
    arrived = asyncio.Barrier(2)

    async def together() -> Mapping[str, Any]:
        await arrived.wait()
        return CS["final_verifier"]

    script = {
        **CS,
        "final_verifier": together,
        "judge": JUDGED,
    }
    async with scripted_context(tmp_path, script) as (context, _):
        found = await both(context, at_once=True)
        assert sorted(map(codes, found)) == [[""], ["DUPLICATE"]]
        assert sorted(rounds[-1].decision or "" for rounds in found) == ["accepted", "rejected"]
        assert len(list(context.ledger.examples("run"))) == 1


async def test_a_replay_finds_what_was_found_at_first(tmp_path: Path) -> None:
    """A document that was under way when another one was accepted, and is gone on with later."""
    down = {**CS, "weak_solver": EndpointDown("down", "wait")}
    async with scripted_context(tmp_path, down) as (context, _):
        context.ledger.add_documents([A, B])
        with pytest.raises(EndpointDown):
            await run_documents(context, Batch("cs", DIVERSE, [A.id], 1))
    async with scripted_context(tmp_path, {**CS, "judge": JUDGED}) as (context, _):
        await run_documents(context, Batch("cs", DIVERSE, [B.id], 1))
        assert codes(context.ledger.rounds("run", B.id)) == [""]
    script = {**CS, "judge": JUDGED, "challenger": [GOOD, OTHER]}
    async with scripted_context(tmp_path, script) as (context, models):
        await run_documents(context, Batch("cs", DIVERSE, [A.id], 1))
        rounds = context.ledger.rounds("run", A.id)
    assert codes(rounds) == ["DUPLICATE", ""]
    assert len(rounds[0].weak) > 0  # the check before was passed once, and is passed for good
    assert models.asked["final_verifier"] == 1  # and the one before the final check was not


def test_items_of_one_template_cannot_be_diverse() -> None:
    with pytest.raises(ValueError, match="leave out diversity"):
        in_force("procedural", DIVERSE, None)
