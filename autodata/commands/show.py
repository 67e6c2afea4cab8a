"""autodata status and show: how a run stands, and what happened."""

import json
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from autodata.ledger.ledger import Ledger
from autodata.ledger.rows import RunRow
from autodata.ledger.summary import Outcome, outcomes, summarize
from autodata.optimization_screen import print_result
from autodata.run_folder import RunFolder, RunFolderError
from autodata.screen import (
    SIMULATED,
    STYLES,
    harmless,
    number,
    print_summary,
    print_table,
    screen,
    table,
)
from autodata.storyboard import tell

COLUMNS = ("document", "name", "outcome", "rounds", "weak", "strong", "gap", "objection")


def status(run: Path, as_json: bool, run_id: str | None) -> None:
    """Prints how a run stands; works while it runs, too."""
    folder = RunFolder(run).existing()
    with Ledger.open(folder.path, create=False) as ledger:
        summary = summarize(ledger, run_id)
        stands = folder.status(summary.run)
        if as_json:
            print(json.dumps(summary.plain() | {"status": stands}, indent=2))
        elif summary.run.kind == "optimization":
            print_result(screen(), ledger, summary.run, stands)
        else:
            print_summary(screen(), summary, stands)
            if others := [run.id for run in ledger.runs() if run.id != summary.run.id]:
                screen().print(f"Other runs here, for --run: {', '.join(others)}", soft_wrap=True)


def show(run: Path, document: str | None, full: bool, run_id: str | None) -> None:
    """Prints all documents of a run as a table, or the story of one."""
    folder = RunFolder(run).existing()
    with Ledger.open(folder.path, create=False) as ledger:
        row = ledger.run(run_id)
        found = outcomes(ledger, row.id)
        if document is None:
            _table(screen(), row, found)
            return
        chosen = _choose(found, document)
        story = ledger.rounds(row.id, chosen.document_id)
        if not story:
            raise RunFolderError(f"{chosen.name} has no recorded round yet")
        tell(screen(), row, ledger.document(chosen.document_id), story, full=full)


def _choose(found: Sequence[Outcome], wanted: str) -> Outcome:
    """The one document that is meant. Raises RunFolderError."""
    exact = [o for o in found if o.name == wanted]
    by_id = [o for o in found if o.document_id.startswith(wanted.partition("-r")[0])]
    by_name = [o for o in found if wanted.casefold() in o.name.casefold()]
    meant = exact or by_id or by_name
    if len(meant) == 1:
        return meant[0]
    if not meant:
        raise RunFolderError(f"no document of this run is called {wanted!r}, by id or by name")
    several = "".join(f"\n  {o.document_id}  {o.name}" for o in meant)
    raise RunFolderError(f"{wanted!r} may be any of these:{several}")


def _table(console: Console, run: RunRow, found: Sequence[Outcome]) -> None:
    made = table(*COLUMNS, numbers=COLUMNS[3:7], wrapped=("name",))
    for outcome in found:
        decision = outcome.decision or "undecided"
        scores = (outcome.weak_mean, outcome.strong_mean, outcome.gap)
        made.add_row(
            outcome.document_id[:8],
            harmless(outcome.name),
            Text(decision, style=STYLES[decision]),
            "" if outcome.rounds is None else str(outcome.rounds),
            *(number(score) if outcome.decision else "" for score in scores),
            outcome.code or "",
        )
    print_table(console, made)
    if run.simulated:
        console.print(SIMULATED, style="yellow", soft_wrap=True)
