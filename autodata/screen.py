"""The console that every command prints to."""

import re
from collections.abc import Collection, Iterable, Sequence
from typing import Any, NoReturn

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from autodata.ledger.comparing import (
    SideBySide,
    difference_in_words,
    direction_in_words,
    figure_in_words,
    of_documents,
    shows_from,
)
from autodata.ledger.quality import Grid
from autodata.ledger.summary import (
    NOTICE,
    Summary,
    example_rows,
    harmless,
    pass_rate_row,
    summary_rows,
)
from autodata.options import unread

DECISION_STYLES = {
    "accepted": "green",
    "revise": "yellow",
    "rejected": "red",
    "skipped": "yellow",
    "undecided": "dim",
}
HEAT = ("", "black on #dbe9f6", "black on #9ecae1", "black on #6baed6", "white on #2171b5")
DIRECTION_STYLES = {"higher": "bold", "lower": "bold", "cannot be told": "dim", "alike": "dim"}
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

    def on_broken_pipe(self) -> NoReturn:
        unread()


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


# Runs beside each other, and thresholds.


def print_side_by_side(console: Console, found: SideBySide) -> None:
    """Several runs: their figures, and how the others differ from the first."""
    first, *others = found.columns
    for column in found.columns:
        said = Text.assemble((column.letter, "bold"), f"  {column.place}  ", (column.said, "dim"))
        console.print(said, soft_wrap=True)
    for made in _figures_tables(console, found):
        console.print()
        print_table(console, made)
    for at, other in enumerate(others):
        console.print()
        print_table(console, _differences_table(found, at, f"{other.letter} less {first.letter}"))
    console.print()
    for note in found.notes:
        console.print(note, style="dim", soft_wrap=True)
    if found.simulated:
        console.print(NOTICE, style="yellow", soft_wrap=True)


def _figures_tables(console: Console, found: SideBySide) -> list[Table]:
    """As many runs beside each other as the screen has room for, the others below them."""
    for across in range(len(found.columns), 0, -1):
        starts = range(0, len(found.columns), across)
        made = [_figures_table(found, slice(start, start + across)) for start in starts]
        options = console.options.update(width=1000)
        if max(console.measure(one, options=options).maximum for one in made) <= console.width:
            break
    return made


def _figures_table(found: SideBySide, shown: slice) -> Table:
    made = table("", *(column.letter for column in found.columns[shown]))
    for group, lines in found.groups():
        made.add_row(Text(group, style="dim"))
        for line in lines:
            made.add_row(
                f"  {line.measure.said}",
                *(figure_in_words(line.measure, one) for one in line.figures[shown]),
            )
    return made


def _differences_table(found: SideBySide, at: int, title: str) -> Table:
    made = table(title, "difference", "documents", "would show", "")
    for group, lines in found.groups():
        told = [(line.measure, line.differences[at]) for line in lines]
        if any(one for _, one in told):
            made.add_row(Text(group, style="dim"))
        for measure, one in told:
            if one:
                made.add_row(
                    f"  {measure.said}",
                    difference_in_words(measure, one),
                    of_documents(one),
                    shows_from(measure, one),
                    Text(direction_in_words(one), style=DIRECTION_STYLES.get(one.direction, "")),
                )
    return made


def print_grids(console: Console, grids: Sequence[Grid]) -> None:
    """What other thresholds would let in, and with what gap."""
    cells = [cell for made in grids for cell in made.cells]
    documents = cells[0].count.documents
    if not documents:
        console.print("no document is decided yet")
        return
    if not grids[0].axes:
        print_table(console, _rows_of_presets(grids))
    for made in grids if grids[0].axes else ():
        _print_grid(console, made)
    for note in dict.fromkeys(note for made in grids for note in made.notes()):
        console.print(note, style="dim", soft_wrap=True)


def _print_grid(console: Console, made: Grid) -> None:
    across = made.axes[0]
    sides = ", ".join(
        f"{axis.key} {way}" for axis, way in zip(made.axes, ("across", "down"), strict=False)
    )
    console.print(Text.assemble((f"preset {made.preset}", "bold"), f": {sides}; * is in force"))
    shares, gaps = (table(name, *map(across.said, across.values)) for name in ("accepted", "gap"))
    for name, cells in made.rows():
        gap = [(cell.gap(cell.kind).value or 0.0, cell.gap_said(cell.kind)) for cell in cells]
        shares.add_row(name, *(_warm(5 * cell.count.least, cell.share_said) for cell in cells))
        gaps.add_row(name, *(_warm(10 * value, said) for value, said in gap))
    for shown in (shares, gaps):
        print_table(console, shown)
        console.print()


def _warm(heat: float, said: str) -> Text:
    """A cell in the colour of its heat, 0 or less to 5 or more."""
    return Text(said, style=HEAT[min(max(int(heat), 0), len(HEAT) - 1)])


def _rows_of_presets(grids: Sequence[Grid]) -> Table:
    made = table("preset", "accepted", "rejected", "open", "share accepted", "gap", "as shown")
    for grid in grids:
        [cell] = grid.cells
        said = (cell.share_said, cell.gap_said(cell.kind), cell.gap_said("shown"))
        made.add_row(grid.preset, *map(str, cell.count), *said)
    return made
