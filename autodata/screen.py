"""The console that every command prints to, and how values are worded everywhere."""

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from math import isfinite
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from autodata.ledger.summary import Figure, Summary
from autodata.tasks.judge_noise import JudgeNoise
from autodata.tasks.measurement import Interval, detectable, in_percent, wilson

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


def within(interval: Interval | None, worded: Callable[[float], str] = number) -> str:
    """` (0.33–0.51)`: the 95 % interval of a figure in brackets; nothing where there is none."""
    if interval is None:
        return ""
    low, high = interval
    return f" ({worded(low)}–{worded(high)})" if isfinite(high) else f" ({worded(low)} or more)"


def share(successes: int, trials: int, what: str = "accepted") -> str:
    """`12 of 31 accepted (39 %, 24–57)`; of a single trial nothing can be said."""
    counted = f"{successes} of {trials} {what}"
    if trials < 2:
        return counted
    return f"{counted} ({100 * successes / trials:.0f} %, {in_percent(wilson(successes, trials))})"


def would_show(rate: float, documents: int) -> str:
    """Which difference from this rate so many documents would show."""
    gain = detectable(rate, documents)
    least = f"only a difference of {100 * gain:.0f} points" if gain else "no difference"
    return f"with {documents} document{'' if documents == 1 else 's'} {least} would show"


def print_summary(console: Console, summary: Summary, status: str) -> None:
    """The run on screen; `status` is how it stands, as far as the caller can tell."""
    console.print(Text(f"{summary.run.task} run {summary.run.id}: {status}", style="bold"))
    _print_rows(console, _rows(summary))
    if summary.run.simulated:
        console.print(NOTICE, style="yellow", soft_wrap=True)


def print_figures(console: Console, summary: Summary) -> None:
    """What the examples of a run measure, and how many there are of those tried."""
    _print_rows(console, [*_pass_rate(summary), *_examples(summary)])


def _print_rows(console: Console, rows: Iterable[tuple[str, Text | str]]) -> None:
    for name, said in rows:
        console.print(Text.assemble((f"{name:<12}", "dim"), said), soft_wrap=True)


def _rows(summary: Summary) -> Iterator[tuple[str, Text | str]]:
    yield "documents", _documents(summary)
    yield from _pass_rate(summary)
    if summary.rounds.value is not None:
        each = f"{summary.rounds.value:.1f}{within(summary.rounds.interval, '{:.1f}'.format)}"
        none = summary.documents["total"] - summary.documents["undecided"] - summary.with_rounds
        apart = f", {none} without a round apart" if none else ""
        yield "rounds", f"{each} per document on average{apart}"
    if summary.objections:
        said = ", ".join(f"{code} {n}" for code, n in summary.objections.items())
        yield "objections", f"{said} (rounds, by their first objection)"
    yield from _examples(summary)
    if any(count.format_errors for count in summary.attempts.values()):
        said = ", ".join(
            f"{side} {count.format_errors + count.cut_off} of {count.made}"
            for side, count in sorted(summary.attempts.items(), reverse=True)
        )
        yield "form", f"{said} attempts failed without a final answer that could be read"
    if summary.judge:
        yield "judge", _judge(summary.judge, summary.judge_priced)
    spent = cost(summary.usd, summary.run.models.values(), summary.estimated)
    used = tokens(summary.tokens, summary.estimated)
    yield "calls", f"{summary.calls:,} with {used}, {spent}"
    if said := ", ".join(_per_example(summary)):
        yield "per example", said
    if summary.estimated:
        calls = "1 call" if summary.estimated == 1 else f"{summary.estimated:,} calls"
        yield "estimates", f"the tokens of {calls} are not known and taken at their most"
    yield "prompts", summary.run.prompts_revision


def _judge(noise: JudgeNoise, priced: bool) -> str:
    """How much of the noise is the judge's, and how often it is best asked."""
    share = f"{100 * noise.share:.0f} % ({in_percent(noise.interval)})"
    times = "once" if noise.repeats == 1 else f"{noise.repeats} times"
    by = "at these prices" if priced else "counted in calls"
    return (
        f"makes {share} of the attempts' variance; asking it {times} ({noise.least}–{noise.most}) "
        f"per answer is cheapest, {by} (models.judge.repeats)"
    )


def _documents(summary: Summary) -> Text:
    counts = [
        Text(f"{n} {name}", style=DECISION_STYLES[name])
        for name, n in summary.documents.items()
        if name in DECISION_STYLES and (n or name == "accepted")
    ]
    return Text(f"{summary.documents['total']}: ") + Text(", ").join(counts)


def _pass_rate(summary: Summary) -> Iterator[tuple[str, str]]:
    accepted, rejected = summary.documents["accepted"], summary.documents["rejected"]
    if accepted + rejected > 1:
        yield "pass rate", share(accepted, accepted + rejected)


def _examples(summary: Summary) -> Iterator[tuple[str, str]]:
    """What the gate saw of the examples, and what fresh attempts show."""
    if not summary.documents["accepted"]:
        return
    sides = {"weak": summary.weak, "strong": summary.strong, "gap": summary.gap}
    yield "shown", ", ".join(f"{name} {_score(figure)}" for name, figure in sides.items())
    if summary.confirmed < summary.documents["accepted"]:
        yield "", "as the gate saw them; `autodata remeasure` measures afresh"
    if summary.confirmed:
        passed = round(summary.confirmed * (summary.passed_again.value or 0.0))
        again = share(passed, summary.confirmed, "passed again")
        yield "afresh", f"{again}, gap {_score(summary.fresh_gap)}"


def _score(figure: Figure) -> str:
    return f"{number(figure.value)}{within(figure.interval)}"


def _per_example(summary: Summary) -> Iterator[str]:
    """What an example took in calls, and in money or, where there is no price, tokens."""
    calls, used, usd = (summary.per_example[f"{k}_per_example"] for k in ("calls", "tokens", "usd"))
    if calls.value is None or used.value is None:
        return
    whole = "{:,.0f}".format
    yield f"{whole(calls.value)} calls{within(calls.interval, whole)}"
    if usd.value:
        yield f"${usd.value:.4f}{within(usd.interval, '{:.4f}'.format)}"
    else:
        yield f"{whole(used.value)} tokens{within(used.interval, whole)}"
