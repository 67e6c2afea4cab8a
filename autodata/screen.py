"""The console that every command prints to, and how values are worded everywhere."""

from collections.abc import Collection, Iterable
from typing import IO

from rich.console import Console
from rich.table import Table

STYLES = {
    "accepted": "green",
    "revise": "yellow",
    "rejected": "red",
    "skipped": "yellow",
    "undecided": "dim",
}
SIMULATED = "Simulated models: these numbers show that the loop works, not how good a model is."
PIPED_WIDTH = 100  # characters per line where there is no terminal to ask
NARROW = 16  # characters, the least that a column of names keeps


def screen() -> Console:
    """The terminal, or plain text of a fixed width where output is piped.

    Words of models, servers and file names are printed as they are: `[/INST]` is no markup.
    """
    console = _plain()
    return console if console.is_terminal else _plain(width=PIPED_WIDTH)


def _plain(file: IO[str] | None = None, width: int | None = None) -> Console:
    return Console(file=file, width=width, highlight=False, markup=False, emoji=False)


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
    _plain(console.file, width).print(made)


def number(value: float | None) -> str:
    """A score, mean or gap."""
    return "–" if value is None else f"{value:.2f}"


def cost(usd: float | None, models: Iterable[str]) -> str:
    """What calls of these models (`endpoint/model`) cost; an unknown price stays unknown."""
    if not usd and all(name.rpartition("/")[2].startswith("simulated") for name in models):
        return "no cost (simulated)"
    if usd is None:
        return "cost unknown (state the missing price under `prices`)"
    return f"${usd:.4f}"


def rounds(count: int | None) -> str:
    """A number of rounds."""
    return f"{count or 0} round{'' if count == 1 else 's'}"


def one_line(text: str) -> str:
    """Text with its line breaks and repeated spaces made single spaces."""
    return " ".join(text.split())
