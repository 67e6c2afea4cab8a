"""The console that every command prints to, and how values are worded everywhere."""

import re
from collections.abc import Collection, Iterable, Iterator
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from autodata.ledger.summary import Summary
from autodata.tasks.measurement import Interval

DECISION_STYLES = {
    "accepted": "green",
    "revise": "yellow",
    "rejected": "red",
    "skipped": "yellow",
    "undecided": "dim",
}
NOTICE = "Simulated models: these numbers show that the loop works, not how good a model is."
PIPED_WIDTH = 100  # characters per line where there is no terminal to ask
NARROW = 16  # characters, the least that a column of names keeps


# What moves a cursor, clears a screen or sets a title; what turns the direction of writing round.
_COMMANDS = (*range(0x20), 0x7F, *range(0x80, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A))
_HARMLESS = {
    code: 0x2400 + code if code < 0x20 else 0xFFFD for code in _COMMANDS if chr(code) not in "\n\t"
}
_COLOUR = re.compile(r"(\x1b\[[\d;]*m)")


class Screen(Console):
    """A terminal, or plain text of a fixed width where output is piped.

    Words of models, servers and file names are printed as they are, `[/INST]` is no markup, and
    none of them reaches the terminal as a command to it. With `soft_wrap` a piped line stays one
    line, and a terminal breaks it between words, unless one of them is longer than a line: a path
    that is to be copied stays whole.
    """

    def __init__(self, *, width: int | None = None, **kwargs: Any) -> None:
        super().__init__(width=width, highlight=False, markup=False, emoji=False, **kwargs)
        if width is None and not self.is_terminal:
            self.width = PIPED_WIDTH

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else harmless(text), style, control)

    def print(self, *objects: Any, soft_wrap: bool | None = None, **kwargs: Any) -> None:
        if soft_wrap and self.is_terminal:
            words = " ".join(map(str, objects)).split()
            soft_wrap = max(map(len, words), default=0) > self.width
        super().print(*objects, soft_wrap=soft_wrap, **kwargs)


def screen() -> Screen:
    """Where commands print to."""
    return Screen()


def harmless(text: str) -> str:
    """The text with control characters made visible; line breaks and tabs stay."""
    return text if text.isprintable() else text.translate(_HARMLESS)


def harmless_but_colours(text: str) -> str:
    """As `harmless`, for what a program has coloured: its colours stay."""
    pieces = _COLOUR.split(text)
    return "".join(piece if at % 2 else harmless(piece) for at, piece in enumerate(pieces))


def table(*names: str, numbers: Collection[str] = (), wrapped: Collection[str] = ()) -> Table:
    """A table of these columns; only the `wrapped` ones give way where space is short."""
    made = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name in names:
        made.add_column(
            name,
            justify="right" if name in numbers else "left",
            no_wrap=name not in wrapped,
            min_width=NARROW if name in wrapped else None,
            overflow="fold",
        )
    return made


def print_table(console: Console, made: Table) -> None:
    """The table, as wide as the terminal; as wide as it needs to be where output is piped.

    On a narrow terminal lines run on rather than that columns vanish.
    """
    needed = console.measure(made, options=console.options.update(width=1000))
    width = max(console.width, needed.minimum) if console.is_terminal else needed.maximum
    Screen(file=console.file, width=width).print(made)


def number(value: float | None) -> str:
    """A score, mean or gap."""
    return "–" if value is None else f"{value:.2f}"


def tokens(count: int, estimated: int) -> str:
    """A number of tokens; an upper bound when some calls are `estimated`."""
    return f"{'at most ' if estimated else ''}{count:,} tokens"


def cost(usd: float | None, models: Iterable[str], estimated: int = 0) -> str:
    """What calls of these models (`endpoint/model`) cost; an unknown price stays unknown.

    An upper bound when some calls are `estimated`, since the endpoint did not count their tokens.
    """
    if not usd and all(name.rpartition("/")[2].startswith("simulated") for name in models):
        return "no cost (simulated)"
    if usd is None:
        return "cost unknown (state the missing price under `prices`)"
    return f"{'at most ' if estimated else ''}${usd:.4f}"


def rounds(count: int | None) -> str:
    """A number of rounds."""
    return f"{count or 0} round{'' if count == 1 else 's'}"


def one_line(text: str) -> str:
    """Text with its line breaks and repeated spaces made single spaces."""
    return " ".join(text.split())


def print_summary(console: Console, summary: Summary, status: str) -> None:
    """The run on screen; `status` is how it stands, as far as the caller can tell."""
    console.print(Text(f"{summary.run.task} run {summary.run.id}: {status}", style="bold"))
    for name, said in _rows(summary):
        console.print(Text.assemble((f"{name:<12}", "dim"), said), soft_wrap=True)
    if summary.run.simulated:
        console.print(NOTICE, style="yellow", soft_wrap=True)


def _rows(summary: Summary) -> Iterator[tuple[str, Text]]:
    yield "documents", _documents(summary)
    if summary.rounds_mean is not None:
        on_average = f"{summary.rounds_mean:.1f} per document on average"
        none = summary.documents["total"] - summary.documents["undecided"] - summary.with_rounds
        apart = f", {none} without a round apart" if none else ""
        yield "rounds", Text(on_average + apart)
    if summary.objections:
        said = ", ".join(f"{code} {n}" for code, n in summary.objections.items())
        yield "objections", Text(f"{said} (rounds, by their first objection)")
    if summary.documents["accepted"]:
        weak, strong, gap = map(number, (summary.weak_mean, summary.strong_mean, summary.gap_mean))
        low, high = summary.gap_interval or (None, None)
        within = f" ({number(low)}–{number(high)})" if summary.gap_interval else ""
        yield "examples", Text(f"as shown: weak {weak}, strong {strong}, gap {gap}{within}")
        if not summary.confirmed:
            yield "", Text("by the attempts that let them in; `autodata remeasure` measures afresh")
    if any(count.format_errors for count in summary.attempts.values()):
        said = ", ".join(
            f"{side} {count.format_errors + count.cut_off} of {count.made}"
            for side, count in sorted(summary.attempts.items(), reverse=True)
        )
        yield "form", Text(f"{said} attempts failed without a final answer that could be read")
    spent = cost(summary.usd, summary.run.models.values(), summary.estimated)
    used = tokens(summary.tokens, summary.estimated)
    yield "calls", Text(f"{summary.calls:,} with {used}, {spent}")
    each, within_calls = summary.per_example(float(summary.calls))
    if each is not None and within_calls:
        low, high = within_calls
        usd, _ = summary.per_example(summary.usd)
        price = f", ${usd:.4f}" if usd else ""
        yield "", Text(f"{each:,.0f} an example ({low:,.0f}–{high:,.0f}){price}")
    if summary.estimated:
        calls = "1 call" if summary.estimated == 1 else f"{summary.estimated:,} calls"
        said = f"the tokens of {calls} are not known and taken at their most"
        yield "estimates", Text(said)
    yield "prompts", Text(summary.run.prompts_revision)


def _documents(summary: Summary) -> Text:
    counts = [
        Text(f"{n} {name}", style=DECISION_STYLES[name])
        for name, n in summary.documents.items()
        if name in DECISION_STYLES and (n or name == "accepted")
    ]
    if within := summary.pass_rate_interval:
        counts[0].append(f" ({100 * (summary.pass_rate or 0):.0f} %, {between(within)})")
    return Text(f"{summary.documents['total']}: ") + Text(", ").join(counts)


def between(within: Interval) -> str:
    """The 95 % interval of a share, in whole per cent."""
    return f"{100 * within.low:.0f}–{100 * within.high:.0f}"
