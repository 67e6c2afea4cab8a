"""Many documents under one budget, on the simulated models."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from autodata.graph.context import RunContext
from autodata.graph.run import FIRST_DOCUMENTS, Admission, Batch, expected_calls, run_documents
from autodata.graph.state import RunChoices
from autodata.ledger.calls import CallLog, Spent
from autodata.ledger.ledger import Ledger
from autodata.ledger.rows import RunRow
from autodata.models.budget import Budget, BudgetTracker
from autodata.models.client import Models
from autodata.models.config import SIMULATED
from autodata.models.errors import BudgetReached
from autodata.prompt_store.prompt import packaged
from autodata.simulation.transport import SimulatedTransport
from autodata.tasks.types import Document

DEMO = Path(__file__).parents[2] / "autodata" / "demo" / "cs"
CALLS = 60
CHOICES = RunChoices(preset="deployed", rounds=3)
KNOWN = "select document_id, certainty, weak_estimate, gap_low from examples order by document_id"


@asynccontextmanager
async def demo(folder: Path, **models: Any) -> AsyncIterator[RunContext]:
    """A context over the demo's documents."""
    ledger = Ledger.open(folder)
    ledger.add_documents(Document.of(f.name, f.read_text()) for f in sorted(DEMO.iterdir()))
    ledger.run_like(RunRow(id="run", task="cs", prompts_revision=packaged().revision))
    log = CallLog(ledger.path)
    simulated = {SIMULATED: SimulatedTransport()}
    asked = Models(log=log, seed=0, transports=simulated, **models)
    context = RunContext(asked, packaged(), ledger, log, "run")
    try:
        yield context
    finally:
        await context.aclose()


async def test_a_budget_ends_with_finished_documents(tmp_path: Path) -> None:
    """Eight documents could be in flight; the budget carries few, so few are left half done."""
    async with demo(tmp_path, budget=Budget(calls=CALLS)) as context:
        batch = Batch("cs", RunChoices(rounds=2), context.ledger.document_ids(), in_flight=8)
        with pytest.raises(BudgetReached):
            await run_documents(context, batch)
        begun = {row["scope"] for row in context.ledger.query("select distinct scope from calls")}
        [made] = context.ledger.query("select count(*) as calls from calls")
    assert made["calls"] == CALLS
    assert len(batch.decided) >= 3
    assert len(begun - set(batch.decided)) == 1


async def test_what_is_known_of_examples_depends_on_no_order_of_documents(tmp_path: Path) -> None:
    """Which of the documents in flight ends first is the machine's affair. Here the first one is
    last; and one run is paused on its way."""
    known = list[list[dict[str, Any]]]()
    for name, backwards in (("forth", False), ("back", True)):
        (tmp_path / name).mkdir()
        async with demo(tmp_path / name) as context:
            ids = context.ledger.document_ids()
            ordered = ids[::-1] if backwards else ids
            await run_documents(context, Batch("cs", CHOICES, ordered, in_flight=1))
            known.append(context.ledger.query(KNOWN))
    assert len(known[0]) >= 2
    assert known[0] == known[1]
    (tmp_path / "paused").mkdir()
    async with demo(tmp_path / "paused", budget=Budget(calls=110)) as context:
        with pytest.raises(BudgetReached):
            await run_documents(context, Batch("cs", CHOICES, ids, in_flight=1))
        early = context.ledger.query(KNOWN)
    async with demo(tmp_path / "paused") as context:
        decided = context.ledger.outcomes("run")
        await run_documents(context, Batch("cs", CHOICES, ids, in_flight=1, decided=decided))
        assert context.ledger.query(KNOWN) == known[0]
    assert early[0] not in known[0]  # more is known at the end


async def test_a_judge_asked_thrice_is_counted_before_documents_are_begun(tmp_path: Path) -> None:
    async with demo(tmp_path, budget=Budget(calls=2 * CALLS)) as context:
        choices = RunChoices(rounds=2, judge_repeats=3)
        batch = Batch("cs", choices, context.ledger.document_ids(), in_flight=8)
        assert expected_calls(batch) == 3 + 6 / 2 * 4
        with pytest.raises(BudgetReached):
            await run_documents(context, batch)
        begun = {row["scope"] for row in context.ledger.query("select distinct scope from calls")}
    assert len(batch.decided) >= 3
    assert len(begun - set(batch.decided)) == 1


@pytest.mark.parametrize("calls", [97, 200, 300])
async def test_a_small_budget_is_spent_on_few_documents_that_are_finished(
    tmp_path: Path, calls: int
) -> None:
    """Eight could be in flight; what they took before they ended says nothing about their cost."""
    async with demo(tmp_path, budget=Budget(calls=calls)) as context:
        batch = Batch("cs", RunChoices(), context.ledger.document_ids(), in_flight=8)
        outlook = Admission(context, batch).outlook()
        with pytest.raises(BudgetReached):
            await run_documents(context, batch)
        taken = context.log.answered(batch.document_ids)
    assert outlook is not None
    assert not outlook.enough
    assert len(batch.decided) >= calls // 97  # the dearest takes twelve rounds, 103 calls
    assert outlook.low <= len(batch.decided) <= outlook.high
    assert len(taken.keys() - batch.decided.keys()) <= 1


async def test_a_resumed_run_ends_what_it_began_and_knows_what_documents_take(
    tmp_path: Path,
) -> None:
    async with demo(tmp_path, budget=Budget(calls=97)) as context:
        batch = Batch("cs", RunChoices(rounds=3), context.ledger.document_ids(), in_flight=8)
        with pytest.raises(BudgetReached):
            await run_documents(context, batch)
        taken = context.log.answered(batch.document_ids)
        again = Batch("cs", RunChoices(rounds=3), context.ledger.document_ids(), in_flight=8)
        again.decided = dict(batch.decided)
        admission = Admission(context, again)
        [half_done] = taken.keys() - batch.decided.keys()
        assert admission.queue()[0] == half_done
        outlook = admission.outlook()
    mean = sum(n for d, n in taken.items() if d in batch.decided) / len(batch.decided)
    assert outlook is not None
    assert outlook.known
    assert outlook.calls == pytest.approx(mean, rel=0.3)
    assert outlook.high == 1  # the one that is begun


async def test_a_target_begins_few_documents_more_than_it_needs(tmp_path: Path) -> None:
    async with demo(tmp_path) as context:
        batch = Batch("cs", RunChoices(), context.ledger.document_ids(), in_flight=8, target=1)
        await run_documents(context, batch)
    assert batch.accepted >= 1
    assert batch.started < len(batch.document_ids)


@pytest.mark.parametrize(
    ("budget", "spent", "fits"),
    [
        (Budget(), Spent(calls=7), float("inf")),
        (Budget(calls=100), Spent(calls=40), 6.0),
        (Budget(usd=3), Spent(), 1.0),  # nobody knows yet what a call costs
        (Budget(usd=3), Spent(usd=1, calls=20), 4.0),
        (Budget(usd=3, calls=30), Spent(usd=1, calls=20), 1.0),  # the tighter one counts
        (Budget(tokens=900), Spent(calls=10, tokens=300), 2.0),
        (Budget(usd=3), Spent(calls=10), float("inf")),  # calls that cost nothing
    ],
)
def test_what_is_left_carries_so_many_documents_of_ten_calls(
    budget: Budget, spent: Spent, fits: float
) -> None:
    assert BudgetTracker(budget, spent).carries(10) == pytest.approx(fits)


async def test_a_gate_that_learns_begins_with_few_documents(tmp_path: Path) -> None:
    """What is begun after the first eight knows what these have shown, however many may run."""
    async with demo(tmp_path) as context:
        more = [Document.of(f"{n}.md", f"{f.read_text()}\n\nNo {n}.") for n, f in twice()]
        context.ledger.add_documents(more)
        ids = context.ledger.document_ids()
        batch = Batch("cs", RunChoices(preset="measured", rounds=1), ids, in_flight=len(ids))
        await run_documents(context, batch)
        known = [prior.rounds for prior in context.ledger.priors("run").values()]
    assert len(known) == len(ids) == 16
    assert known.count(0) < FIRST_DOCUMENTS + 4  # some of the first are decided without an attempt


def twice() -> list[tuple[int, Path]]:
    return list(enumerate(sorted(DEMO.iterdir())))
