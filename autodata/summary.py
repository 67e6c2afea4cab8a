"""A run in numbers, on screen: what `status` shows, and what the end of a run shows."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ledger.summary import Summary

STYLES = {"accepted": "green", "rejected": "red", "skipped": "yellow", "undecided": "dim"}
SIMULATED = "Simulated models: these numbers show that the loop works, not how good a model is."


def number(value: float | None) -> str:
    """A score, mean or gap."""
    return "–" if value is None else f"{value:.2f}"


def cost(usd: float | None, simulated: bool) -> str:
    """What was spent; a price that nobody stated stays unknown."""
    if usd is None:
        return "cost unknown (state the missing price under `prices`)"
    return "no cost (simulated)" if simulated and not usd else f"${usd:.4f}"


def print_summary(console: Console, summary: Summary, status: str) -> None:
    """The run on screen; `status` is how it stands, as far as the caller can tell."""
    console.print(Text(f"{summary.run.task} run: {status}", style="bold"))
    console.print(_table(summary))
    if summary.run.simulated:
        console.print(SIMULATED, style="yellow")


def _table(summary: Summary) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column()
    table.add_row("documents", _documents(summary))
    if summary.rounds_mean is not None:
        table.add_row("rounds", f"{summary.rounds_mean:.1f} per document on average")
    if summary.objections:
        said = ", ".join(f"{code} {n}" for code, n in summary.objections.items())
        table.add_row("objections", f"{said} (rounds, by their first objection)")
    if summary.documents["accepted"]:
        weak, strong, gap = map(number, (summary.weak_mean, summary.strong_mean, summary.gap_mean))
        table.add_row("examples", f"mean scores: weak {weak}, strong {strong}, gap {gap}")
    spent = cost(summary.usd, summary.run.simulated)
    table.add_row("calls", f"{summary.calls:,} with {summary.tokens:,} tokens, {spent}")
    return table


def _documents(summary: Summary) -> Text:
    counts = [
        Text(f"{n} {name}", style=STYLES[name])
        for name, n in summary.documents.items()
        if name in STYLES and (n or name == "accepted")
    ]
    return Text(f"{summary.documents['total']}: ") + Text(", ").join(counts)
