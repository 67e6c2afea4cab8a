"""The console that every command prints to."""

import re
from collections.abc import Collection, Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from autodata.ledger.summary import (
    NOTICE,
    Summary,
    example_rows,
    harmless,
    pass_rate_row,
    summary_rows,
)

DECISION_STYLES = {
    "accepted": "green",
    "revise": "yellow",
    "rejected": "red",
    "skipped": "yellow",
    "undecided": "dim",
}
PIPED_WIDTH = 100  # characters per line where there is no terminal to ask
NARROW = 16  # characters, the least that a column of names keeps


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

    On a narrow terminal lines run on rather than that columns vanish. Piped lines end with words.
    """
    needed = console.measure(made, options=console.options.update(width=1000))
    width = max(console.width, needed.minimum) if console.is_terminal else needed.maximum
    wide = Screen(file=console.file, width=width)
    if console.is_terminal:
        wide.print(made)
        return
    with wide.capture() as captured:
        wide.print(made)
    lines = captured.get().splitlines()
    console.print("\n".join(line.rstrip() for line in lines), soft_wrap=True)


def print_summary(console: Console, summary: Summary, status: str) -> None:
    """The run on screen; `status` is how it stands, as far as the caller can tell."""
    console.print(Text(f"{summary.run.task} run {summary.run.id}: {status}", style="bold"))
    documents = ("documents", counted(summary))
    print_rows(console, [documents, *summary_rows(summary)])
    if summary.run.simulated:
        console.print(NOTICE, style="yellow", soft_wrap=True)


def print_figures(console: Console, summary: Summary) -> None:
    """What the examples of a run measure, and how many there are of those tried."""
    print_rows(console, [*pass_rate_row(summary), *example_rows(summary)])


def print_rows(console: Console, rows: Iterable[tuple[str, Text | str]]) -> None:
    """Names, and what is said of each, beside them."""
    for name, said in rows:
        console.print(Text.assemble((f"{name:<12}", "dim"), said), soft_wrap=True)


def counted(summary: Summary) -> Text:
    """The documents of a run by their outcome."""
    counts = [
        Text(f"{n} {name}", style=DECISION_STYLES[name])
        for name, n in summary.documents.items()
        if name in DECISION_STYLES and (n or name == "accepted")
    ]
    return Text(f"{summary.documents['total']}: ") + Text(", ").join(counts)
