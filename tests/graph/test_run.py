"""Many documents under one budget, on the simulated models."""

from pathlib import Path

import pytest

from agents.budget import Budget, Purse
from agents.errors import BudgetReached
from agents.models import Models
from graph.run import Batch, run_documents
from graph.state import RunChoices
from graph.workshop import Workshop
from ledger.calls import CallLog, Spent
from ledger.ledger import Ledger
from ledger.rows import RunRow
from prompt_store.prompt import packaged
from tasks.types import Document

DEMO = Path(__file__).parents[2] / "autodata" / "demo" / "cs"
CALLS = 60


async def test_a_budget_ends_with_finished_documents(tmp_path: Path) -> None:
    """Eight documents could be in flight; the budget carries few, so few are left half done."""
    ledger = Ledger.open(tmp_path)
    ledger.add_documents(Document.of(f.name, f.read_text()) for f in sorted(DEMO.iterdir()))
    ledger.start_run(RunRow(id="run", task="cs", prompts_revision=packaged().revision))
    log = CallLog(ledger.path)
    models = Models(log=log, budget=Budget(calls=CALLS), seed=0)
    shop = Workshop(models, packaged(), ledger, log, "run")
    batch = Batch("cs", RunChoices(rounds=2), ledger.document_ids(), in_flight=8)
    with pytest.raises(BudgetReached):
        await run_documents(shop, batch)
    begun = {row["scope"] for row in ledger.query("select distinct scope from calls")}
    [made] = ledger.query("select count(*) as calls from calls")
    await shop.aclose()
    assert made["calls"] == CALLS
    assert len(batch.decided) >= 3
    assert len(begun - set(batch.decided)) == 1


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
    assert Purse(budget, spent).carries(10) == pytest.approx(fits)
