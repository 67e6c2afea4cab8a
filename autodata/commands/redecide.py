"""autodata redecide: recorded scores under other thresholds."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.table import Table

from autodata.graph.state import State, policy_of
from autodata.ledger.ledger import Ledger
from autodata.ledger.rows import RunRow
from autodata.ledger.summary import Outcome, outcomes
from autodata.run_folder import RunFolder
from autodata.screen import SIMULATED, print_table, screen, table
from autodata.settings import Override, with_attempts
from autodata.tasks.acceptance import Policy
from autodata.tasks.redecide import Redecision, redecide


def redecide_run(run: Path, overrides: Sequence[Override], run_id: str | None) -> None:
    """Prints what would be decided otherwise, and the counts."""
    folder = RunFolder(run).existing()
    with Ledger.open(folder.path, create=False) as ledger:
        row = ledger.run(run_id)
        settings = folder.settings(row, overrides)
        choices = with_attempts(settings.choices, row.config)
        policy = policy_of(State(task=row.task, choices=choices))
        found = list(_redecided(ledger, row, policy))
    console = screen()
    flipped = [(outcome, new) for outcome, new in found if outcome.decision != new.decision]
    if flipped:
        print_table(console, _flips(flipped))
    before = Counter(outcome.decision for outcome, _ in found)
    after = Counter(new.decision for _, new in found)
    console.print(
        f"{len(found)} decided documents: {before['accepted']} accepted as recorded; by these "
        f"thresholds {after['accepted']} accepted, {after['rejected']} rejected, "
        f"{after['open']} open",
        soft_wrap=True,
    )
    if row.simulated:
        console.print(SIMULATED, style="yellow", soft_wrap=True)


def _redecided(ledger: Ledger, run: RunRow, policy: Policy) -> Iterator[tuple[Outcome, Redecision]]:
    for outcome in outcomes(ledger, run.id):
        if outcome.decision in ("accepted", "rejected"):
            yield outcome, redecide(policy, ledger.rounds(run.id, outcome.document_id))


def _flips(flipped: list[tuple[Outcome, Redecision]]) -> Table:
    columns = ("document", "name", "was", "would be", "round", "because")
    made = table(*columns, numbers=("round",), wrapped=("name", "because"))
    for outcome, new in flipped:
        was = outcome.decision or ""
        made.add_row(
            outcome.document_id[:8], outcome.name, was, new.decision, str(new.round), new.reason
        )
    return made
