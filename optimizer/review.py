"""Two harnesses side by side: which failures became rarer, on the documents both were tried on."""

from collections.abc import Mapping

from autodata.ledger.iterations import Iteration, iterations
from autodata.ledger.ledger import Ledger
from autodata.optimizer.failures import moved, rates
from autodata.optimizer.plan import Plan

Rates = Mapping[str, float]


def compared(ledger: Ledger, old: str, new: str) -> tuple[Rates, Rates, int]:
    """Objections per document of two revisions in their first evaluation, and on how many
    validation documents; nothing for a revision that the run did not evaluate."""
    run = ledger.run()
    by_revision = {i.revision: i for i in iterations(ledger, run.id)}
    if old not in by_revision or new not in by_revision:
        return {}, {}, 0
    validation = set(Plan.model_validate(run.config["optimize"]).validation)
    one, other = by_revision[old], by_revision[new]
    common = _tried(ledger, one) & _tried(ledger, other) & validation
    before, after = (_rates(ledger, i, common) for i in (one, other))
    return before, after, len(common)


def moved_lines(before: Rates, after: Rates, documents: int) -> list[str]:
    """What moved, for people."""
    if not documents:
        return ["The run did not evaluate both revisions, so nothing is known of their failures."]
    lines = [f"Per document, on the {documents} validation documents that both were tried on:"]
    lines += [
        f"  {name:<18} {before.get(name, 0.0):.2f} → {after.get(name, 0.0):.2f}  ({by:+.2f})"
        for name, by in moved(before, after).items()
    ]
    return lines if len(lines) > 1 else [*lines, "  nothing moved"]


def _tried(ledger: Ledger, iteration: Iteration) -> set[str]:
    return set(ledger.outcomes(f"{iteration.prompts}-1"))


def _rates(ledger: Ledger, iteration: Iteration, documents: set[str]) -> Rates:
    name = f"{iteration.prompts}-1"
    return rates([ledger.rounds(name, document) for document in sorted(documents)])
