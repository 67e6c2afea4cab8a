"""A run in numbers, on screen: what `status` shows, and what the end of a run shows."""

from collections.abc import Iterator

from rich.console import Console
from rich.text import Text

from autodata.ledger.summary import Summary
from autodata.screen import SIMULATED, STYLES, cost, number


def print_summary(console: Console, summary: Summary, status: str) -> None:
    """The run on screen; `status` is how it stands, as far as the caller can tell."""
    console.print(Text(f"{summary.run.task} run {summary.run.id}: {status}", style="bold"))
    for name, said in _rows(summary):
        console.print(Text.assemble((f"{name:<12}", "dim"), said), soft_wrap=True)
    if summary.run.simulated:
        console.print(SIMULATED, style="yellow", soft_wrap=True)


def _rows(summary: Summary) -> Iterator[tuple[str, Text]]:
    yield "documents", _documents(summary)
    if summary.rounds_mean is not None:
        yield "rounds", Text(f"{summary.rounds_mean:.1f} per document on average")
    if summary.objections:
        said = ", ".join(f"{code} {n}" for code, n in summary.objections.items())
        yield "objections", Text(f"{said} (rounds, by their first objection)")
    if summary.documents["accepted"]:
        weak, strong, gap = map(number, (summary.weak_mean, summary.strong_mean, summary.gap_mean))
        yield "examples", Text(f"mean scores: weak {weak}, strong {strong}, gap {gap}")
    spent = cost(summary.usd, summary.run.models.values())
    yield "calls", Text(f"{summary.calls:,} with {summary.tokens:,} tokens, {spent}")
    yield "prompts", Text(summary.run.prompts_revision)


def _documents(summary: Summary) -> Text:
    counts = [
        Text(f"{n} {name}", style=STYLES[name])
        for name, n in summary.documents.items()
        if name in STYLES and (n or name == "accepted")
    ]
    return Text(f"{summary.documents['total']}: ") + Text(", ").join(counts)
