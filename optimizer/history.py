"""What earlier iterations tried and what became of it, for those who try next.

Scores and counts of the held-out documents appear here, their texts never do.
"""

from collections.abc import Mapping, Sequence

from autodata.ledger.iterations import Iteration
from autodata.optimizer.failures import moved

HISTORY = "history.md"
PAGES = "history/"
SHOWN = 30  # iterations in the overview, the newest ones

_HEAD = (
    "| iteration | parent | decision | score | parent's | edit | predicted | outcome |",
    "|---:|---:|---|---:|---:|---|---|---|",
)


def history(iterations: Sequence[Iteration], diffs: Mapping[int, str]) -> dict[str, str]:
    """`history.md`, an overview, and `history/<number>.md` with each edit in full.

    `diffs` maps the number of an iteration to what it changed.
    """
    tried = [i for i in iterations if i.decision != "start"]
    if not tried:
        return {HISTORY: "# History\n\nNothing was tried yet.\n"}
    rows = [_row(iteration) for iteration in tried[-SHOWN:]]
    older = len(tried) - len(rows)
    note = [f"{older} older iterations are left out here; they have files too.", ""]
    pages = {f"{PAGES}{i.number:03}.md": _page(i, diffs.get(i.number, "")) for i in tried}
    overview = ["# History", "", *(note if older else []), *_HEAD, *rows, ""]
    return {HISTORY: "\n".join(overview), **pages}


def _row(i: Iteration) -> str:
    cells = (
        f"{i.number}",
        f"{i.parent}" if i.other_parent is None else f"{i.parent} and {i.other_parent}",
        i.decision,
        percent(i.score),
        percent(i.parent_score),
        i.subject.replace("|", "/") or i.reason.replace("|", "/"),
        i.predicts,
        i.outcome,
    )
    return f"| {' | '.join(cells)} |"


def _page(i: Iteration, diff: str) -> str:
    """One iteration: why, what for, what came of it, and the edit itself."""
    change = moved(i.rates_before, i.rates_after)
    parts = [
        f"# Iteration {i.number}: {i.decision}",
        i.reason,
        *(["## Cause", i.cause] if i.cause else []),
        *(["## Intent", i.intent] if i.intent else []),
    ]
    if i.predicts:
        parts += ["## Prediction", f"{i.predicts}: {i.outcome or 'not measured'}"]
    if change:
        lines = [f"- {name}: {by:+.2f} per document" for name, by in change.items()]
        parts += ["## What moved", "\n".join(lines)]
    if diff:
        parts += ["## Edit", f"```diff\n{diff.strip()}\n```"]
    return "\n\n".join(parts) + "\n"


def percent(score: float | None) -> str:
    """A score of 0 … 1 in percent, or nothing."""
    return "" if score is None else f"{score:.1%}"
