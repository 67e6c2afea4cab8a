"""One page for a run, to be read offline: the same templates, nothing loaded from elsewhere."""

from collections.abc import Sequence
from typing import Any

from autodata.board.pages import Html, Links, gate_of, story
from autodata.board.render import page
from autodata.ledger.ledger import Ledger
from autodata.ledger.listing import count_outcomes, list_outcomes
from autodata.ledger.rows import RunRow
from autodata.ledger.summary import summarize

LISTED, TOLD = 2_000, 200  # documents in the table, and documents whose story is told


def report(ledger: Ledger, run: RunRow, stands: str, parts: Sequence[Html] = ()) -> bytes:
    """The page of a run over documents, or of an optimization with the `parts` of its findings."""
    values: dict[str, Any] = {
        "root": "",
        "here": "",
        "offline": True,
        "events": "",
        "run": run,
        "stands": stands,
        "links": Links("", offline=True),
        "parts": parts,
    }
    if run.kind != "optimization":
        found, _ = list_outcomes(ledger, run, limit=LISTED)
        told = [outcome.document_id for outcome in found if outcome.decision][:TOLD]
        values |= {
            "summary": summarize(ledger, run.id),
            "counts": count_outcomes(ledger, run),
            "gate": gate_of(run.task, run.config),
            "found": found,
            "told": frozenset(told),
            "stories": [story(ledger, run, id) for id in told],
        }
    return page("report.html", values)
