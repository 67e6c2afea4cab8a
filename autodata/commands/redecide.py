"""autodata redecide: recorded scores under other thresholds."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from autodata import options
from autodata.exits import exits
from autodata.graph.state import State, policy_of
from autodata.ledger.ledger import Ledger
from autodata.ledger.rows import RunRow
from autodata.ledger.summary import Outcome, outcomes
from autodata.run_folder import RunFolder
from autodata.screen import SIMULATED, print_table, screen, table
from autodata.settings import load
from autodata.tasks.acceptance import Policy
from autodata.tasks.redecide import Redecision, redecide


@click.command("redecide")
@options.run_folder
@options.preset
@options.settings
@exits
def command(run: Path, sets: tuple[str, ...], **flags: Any) -> None:
    """Decide a run's recorded scores by other thresholds. Asks no model and changes nothing.

    A document is open where the record does not say: it would take attempts, or the final check,
    that were not needed at the time.

    \b
    Examples:
      autodata redecide runs/cs --preset deployed
      autodata redecide runs/cs --set acceptance.weak_max=0.45
    """
    folder = RunFolder(run).existing()
    settings = load(folder.config, options.overrides(flags, sets))
    with Ledger.open(folder.path, create=False) as ledger:
        row = ledger.run()
        policy = policy_of(State(task=row.task, choices=settings.choices))
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
