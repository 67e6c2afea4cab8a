"""Runs beside each other: the figures of the paper's Table 1, and what may be said of differences.

Every figure is made of parts, one for each source document, so that passages of one text count as
one. Where two runs worked on the same documents, their difference is taken document by document.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from math import hypot, inf, isfinite
from pathlib import Path
from statistics import NormalDist, fmean, stdev
from typing import Any, Literal, NamedTuple

from autodata.ledger.ledger import OWN_MEASUREMENT, Ledger
from autodata.ledger.rows import Outcome, Row, RunRow, from_text
from autodata.ledger.summary import (
    COSTS,
    SOURCE,
    USAGE,
    Figure,
    cost_interval,
    cost_per_example,
    outcomes,
    within,
)
from autodata.tasks.measurement import (
    LEVEL,
    MIN_PAIRS,
    POWER,
    Interval,
    Pairs,
    bootstrap,
    mean_interval,
    newcombe_paired,
    wilson,
)

Unit = Literal["share", "score", "gap", "number", "cost"]
FreshFrom = Literal["remeasured", "gate", "no gate", "nothing"]
Direction = Literal["higher", "lower", "alike", "may be chance", "cannot be told"]


class Measure(NamedTuple):
    """One line of the table. Shares and scores lie in 0 … 1, gaps in −1 … 1; numbers are means, and
    a cost is what all documents took for each example that they gave."""

    name: str
    said: str
    group: str
    unit: Unit


_SIDES: tuple[tuple[str, Unit], ...] = (("weak", "score"), ("strong", "score"), ("gap", "gap"))
MEASURES = (
    Measure("yield", "accepted", "documents", "share"),
    Measure("rounds", "rounds", "documents", "number"),
    *(Measure(side, side, "as shown", unit) for side, unit in _SIDES),
    Measure("weak_spread", "spread of weak", "as shown", "score"),
    *(Measure(f"fresh_{side}", side, "afresh", unit) for side, unit in _SIDES),
    *(Measure(f"true_{side}", side, "as estimated", unit) for side, unit in _SIDES),
    *(Measure(f"last_{side}", side, "in last rounds", unit) for side, unit in _SIDES),
    Measure("question_words", "question, words", "examples", "number"),
    Measure("context_words", "context, words", "examples", "number"),
    Measure("rubric_items", "rubric items", "examples", "number"),
    Measure("suitability_high", "suitability high", "examples", "share"),
    Measure("calls", "calls", "per example", "cost"),
    Measure("tokens", "tokens", "per example", "cost"),
    Measure("usd", "US dollars", "per example", "cost"),
)

EXAMPLES_MEASURED = f"""
select {SOURCE} as source, e.weak_mean, e.strong_mean, e.gap, e.question, e.context,
  json_array_length(e.rubric) as rubric_items,
  json_extract(rounds.judgement, '$.grpo_suitability') as suitability,
  (select json_group_array(score) from attempts where round_id = e.round_id
    and solver = 'weak' and not fresh and score is not null) as weak_scores,
  own.holds is not null as remeasured, e.confirmed is not null as confirmed,
  e.confirmed_weak, e.confirmed_strong, e.confirmed_gap,
  e.weak_estimate, e.strong_estimate, e.gap_estimate
from examples as e
join documents on documents.id = e.document_id
join rounds on rounds.id = e.round_id
left join {OWN_MEASUREMENT}
where e.run_id = ? order by documents.rowid
"""

# By what a document is known in another run: its text, or the file or row that it was cut from.
KNOWN_BY = f"""
select documents.id, {SOURCE} as source, json_extract(meta, '$.source_sha256') || ':'
  || ifnull(json_extract(meta, '$.row'), '') as file
from documents
"""

# The reach of an interval grows to this where a difference is to show in so many cases (POWER).
_REACH = 1 + NormalDist().inv_cdf(POWER) / NormalDist().inv_cdf(1 - LEVEL / 2)


class Part(NamedTuple):
    """What one source document adds to a figure: values, and over how many things they are spread:
    themselves, or, of a cost, the examples that the document gave."""

    values: tuple[float, ...]
    over: int

    @property
    def total(self) -> float:
        """The sum of the values."""
        return sum(self.values)


Parts = Mapping[str, Part]  # by source document


@dataclass(frozen=True)
class RunFigures:
    """A run as one column of the table: its parts by measure and source.

    `documents` counts accepted, rejected, skipped and undecided ones. `fresh_from` says what
    attempts the `fresh_` figures come from: a remeasurement, those by which the gate confirmed
    (these decided, too), or all of a baseline, where no gate chose by them. `other_runs` share the
    folder, and with it the costs; `estimated` calls count as the most that they can have used.
    `known_by` holds what each source is known by elsewhere.
    """

    run: RunRow
    documents: Mapping[str, int]
    parts: Mapping[str, Parts]
    fresh_from: FreshFrom
    other_runs: int
    estimated: int
    known_by: Mapping[str, frozenset[str]]

    @property
    def method(self) -> str:
        """`agentic`, or the name of the one-shot baseline."""
        return self.run.baseline or "agentic"

    def figure(self, measure: Measure) -> Figure:
        """The figure of the whole run with its interval."""
        return figure(measure.unit, self.parts[measure.name])

    def named_as(self, first: "RunFigures") -> "RunFigures":
        """These figures with the sources that `first` knows, too, under the names they have there.

        The same text has the same name, and so have passages of the same file, whatever it is
        called and wherever it lies.
        """
        there = {mark: source for source, marks in first.known_by.items() for mark in marks}
        names = {
            source: next((there[m] for m in sorted(marks) if m in there), f"not there: {source}")
            for source, marks in self.known_by.items()
        }
        renamed = {name: _renamed(parts, names) for name, parts in self.parts.items()}
        return replace(self, parts=renamed)


class RunDifference(NamedTuple):
    """A run's figure less the first run's, and its 95 % interval, None where there is none.

    `paired`: taken on the `documents` that both have it of; otherwise of all, of which the run with
    fewer has `documents`. `detectable` is the least difference that so many documents would show in
    four of five comparisons (POWER). Of fewer than MIN_PAIRS documents nothing is told.
    """

    value: float
    interval: Interval | None
    paired: bool
    documents: int

    @property
    def detectable(self) -> float | None:
        """None where there is no interval, or one without an end."""
        if self.interval is None or not all(map(isfinite, self.interval)):
            return None
        return _REACH * (self.interval.high - self.interval.low) / 2

    @property
    def direction(self) -> Direction:
        """Whether it may be chance."""
        if self.interval is None and not self.value:
            return "alike"
        if self.documents < MIN_PAIRS or self.interval is None:
            return "cannot be told"
        if self.interval.low > 0:
            return "higher"
        return "lower" if self.interval.high < 0 else "may be chance"


def run_figures(ledger: Ledger, run: RunRow) -> RunFigures:
    """The figures of one run of a folder."""
    found = outcomes(ledger, run.id)
    examples = ledger.query(EXAMPLES_MEASURED, [run.id])
    fresh_from = _fresh_from(run, examples)
    counted = [o.decision or "undecided" for o in found]
    return RunFigures(
        run=run,
        documents={
            name: counted.count(name) for name in ("accepted", "rejected", "skipped", "undecided")
        },
        parts=_of_documents(found) | _of_examples(examples, fresh_from) | _costs(ledger, found),
        fresh_from=fresh_from,
        other_runs=len(ledger.runs()) - 1,
        estimated=sum(row["estimated"] for row in ledger.query(USAGE)),
        known_by=_known_by(ledger),
    )


def _fresh_from(run: RunRow, examples: Sequence[Row]) -> FreshFrom:
    if any(row["remeasured"] for row in examples):
        return "remeasured"
    if any(row["confirmed"] for row in examples):
        return "gate"
    return "no gate" if run.baseline and examples else "nothing"


def _of_documents(found: Sequence[Outcome]) -> dict[str, Parts]:
    """What is measured of every decided document."""
    decided = [o for o in found if o.decision in ("accepted", "rejected")]
    return {
        "yield": _parts((o.source, float(o.decision == "accepted")) for o in decided),
        "rounds": _parts((o.source, o.rounds) for o in found if o.rounds),
        "last_weak": _parts((o.source, o.weak_mean) for o in decided),
        "last_strong": _parts((o.source, o.strong_mean) for o in decided),
        "last_gap": _parts((o.source, o.gap) for o in decided),
    }


def _of_examples(examples: Sequence[Row], fresh_from: FreshFrom) -> dict[str, Parts]:
    """What is measured of the accepted ones."""

    def parts(value: Callable[[Row], float | None]) -> Parts:
        return _parts((row["source"], value(row)) for row in examples)

    shown = {"weak": "weak_mean", "strong": "strong_mean", "gap": "gap"}
    fresh = {side: f"confirmed_{side}" for side in shown} if fresh_from != "no gate" else shown
    seen = [row for row in examples if row["remeasured"] or fresh_from != "remeasured"]
    made = {
        "weak_spread": parts(lambda row: _spread(json.loads(row["weak_scores"]))),
        "question_words": parts(lambda row: len(from_text(row["question"]).split())),
        "context_words": parts(lambda row: len(from_text(row["context"]).split())),
        "rubric_items": parts(lambda row: row["rubric_items"]),
        "suitability_high": parts(lambda row: row["suitability"] and row["suitability"] == "high"),
    }
    for side, column in shown.items():
        made[side] = _parts((row["source"], row[column]) for row in examples)
        made[f"true_{side}"] = _parts((row["source"], row[f"{side}_estimate"]) for row in examples)
        made[f"fresh_{side}"] = _parts((row["source"], row[fresh[side]]) for row in seen)
    return made


def _spread(scores: Sequence[float]) -> float | None:
    """The standard deviation of the attempts at one question."""
    return stdev(scores) if len(scores) > 1 else None


def _costs(ledger: Ledger, found: Sequence[Outcome]) -> dict[str, Parts]:
    """What every document took that is decided in any way; nothing where a price is unknown."""
    spent = {row["document_id"]: row for row in ledger.query(COSTS)}
    nothing = {"calls": 0, "tokens": 0, "usd": 0.0}
    decided = [o for o in found if o.decision]
    made: dict[str, Parts] = {}
    for kind in nothing:
        costs = [(o, spent.get(o.document_id, nothing)[kind]) for o in decided]
        known = all(cost is not None for _, cost in costs)
        by_source: dict[str, Part] = {}
        for outcome, cost in costs if known else ():
            one = Part((float(cost),), int(outcome.decision == "accepted"))
            by_source[outcome.source] = _joined(by_source.get(outcome.source), one)
        made[kind] = by_source
    return made


def _parts(values: Iterable[tuple[str, float | None]]) -> Parts:
    """Values by the source of their document; None is none."""
    by_source: dict[str, Part] = {}
    for source, value in values:
        if value is not None:
            one = Part((float(value),), 1)
            by_source[source] = _joined(by_source.get(source), one)
    return by_source


def _joined(before: Part | None, one: Part) -> Part:
    return Part(before.values + one.values, before.over + one.over) if before else one


def _renamed(parts: Parts, names: Mapping[str, str]) -> Parts:
    by_name: dict[str, Part] = {}
    for source, part in parts.items():
        by_name[names[source]] = _joined(by_name.get(names[source]), part)
    return by_name


def _known_by(ledger: Ledger) -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for row in ledger.query(KNOWN_BY):
        marks = {mark for mark in (row["id"], row["file"]) if mark}
        found.setdefault(row["source"], set()).update(marks)
    return {source: frozenset(marks) for source, marks in found.items()}


# Figures and their intervals.


def figure(unit: Unit, parts: Parts) -> Figure:
    """The mean, share or cost, and its interval by document; nothing where there is nothing to
    divide by, no interval of one document, and none of numbers that are all alike."""
    drawn = list(parts.values())
    over = sum(part.over for part in drawn)
    if not over:
        return Figure()
    value = sum(part.total for part in drawn) / over
    return Figure(value=value, interval=_interval(unit, drawn) if len(drawn) > 1 else None)


def _interval(unit: Unit, drawn: Sequence[Part]) -> Interval | None:
    pairs = [(part.total, part.over) for part in drawn]
    if unit == "cost":
        return cost_interval(pairs) if any(total for total, _ in pairs) else None
    if unit == "number":
        alike = len({total / over for total, over in pairs}) == 1
        return None if alike else bootstrap(pairs, cost_per_example)
    if unit == "share" and all(part.over == 1 for part in drawn):
        return wilson(sum(part.total for part in drawn), len(drawn))
    return mean_interval([part.values for part in drawn], -1.0 if unit == "gap" else 0.0)


def difference(measure: Measure, first: RunFigures, other: RunFigures) -> RunDifference | None:
    """The other run's figure less the first one's; None where one of them has none.

    Document by document where both have it of the same ones, or of enough (`_tell_more`); else from
    the two intervals, as if no document were shared. `other` is `named_as(first)`.
    """
    one, two = first.parts[measure.name], other.parts[measure.name]
    unit, shared = measure.unit, [source for source in one if source in two]
    if _tell_more(len(shared), len(one), len(two)):
        pairs = [(one[source], two[source]) for source in shared]
        if found := _paired(unit, pairs):
            return RunDifference(*found, True, len(shared))
    before, after = figure(unit, one), figure(unit, two)
    if before.value is None or after.value is None:
        return None
    within = _apart(before, after)
    return RunDifference(after.value - before.value, within, False, min(len(one), len(two)))


def _tell_more(shared: int, one: int, two: int) -> bool:
    """Whether a difference is taken on the shared documents alone: all, or MIN_PAIRS at least that
    are not few beside those left out. Of pairs that correlate by ½ it varies as much as unpaired
    means do where 1 / shared = 1 / one + 1 / two: of runs of one size, where they share half."""
    many = shared >= MIN_PAIRS and shared * (one + two) >= one * two
    return many or shared == one == two


PartPairs = Sequence[tuple[Part, Part]]  # the same document in the first and the other run


def _paired(unit: Unit, pairs: PartPairs) -> tuple[float, Interval | None] | None:
    """The mean difference by document and its interval; None where there is none."""
    if unit == "cost":
        return _paired_cost(pairs)
    if not pairs:
        return None
    single = all(part.over == 1 for pair in pairs for part in pair)
    if unit == "share" and single:
        seen = [(one.total > 0, two.total > 0) for one, two in pairs]
        kinds = ((True, True), (True, False), (False, True), (False, False))
        counts = Pairs(*map(seen.count, kinds))
        value = (counts.gained - counts.lost) / len(pairs)
        return value, newcombe_paired(counts) if len(pairs) > 1 else None
    differences = [two.total / two.over - one.total / one.over for one, two in pairs]
    value = fmean(differences)
    if len(pairs) < 2:
        return value, None
    if unit == "number":
        return value, bootstrap(differences, fmean) if len({*differences}) > 1 else None
    reach = max(1.0, *map(abs, differences))  # those of gaps may be larger than 1
    low, high = mean_interval([[found / reach] for found in differences], -1.0)
    return value, Interval(low * reach, high * reach)


def _paired_cost(pairs: PartPairs) -> tuple[float, Interval | None] | None:
    """What an example costs more in the other run, of the same documents."""
    value = _dearer(pairs)
    if not pairs or not isfinite(value):
        return None
    within = bootstrap(pairs, _dearer) if len(pairs) > 1 else None
    alike = within is not None and within.low == within.high
    return value, None if alike else within


def _dearer(pairs: PartPairs) -> float:
    """Infinite where one of the runs gave no example; nothing is known where neither did."""
    before, after = (
        cost_per_example([(pair[at].total, pair[at].over) for pair in pairs]) for at in (0, 1)
    )
    return 0.0 if before == after == inf else after - before


def _apart(first: Figure, other: Figure) -> Interval | None:
    """The interval of a difference of independent figures, recovered from those of both.

    G. Y. Zou and A. Donner, Statistics in Medicine 27 (2008) 1693–1702; of shares it is method 10
    of R. G. Newcombe, ibid. 17 (1998) 873–890. None where one of them has none.
    """
    if first.value is None or other.value is None or not (first.interval and other.interval):
        return None
    value = other.value - first.value
    down = (other.value - other.interval.low, first.interval.high - first.value)
    up = (other.interval.high - other.value, first.value - first.interval.low)
    return Interval(value - hypot(*down), value + hypot(*up))


# Several runs: what is shown of them, in words and as JSON.


@dataclass(frozen=True)
class Column:
    """One run as it is shown: `place` is its folder, `stands` how it stands."""

    letter: str
    place: Path
    stands: str
    figures: RunFigures

    @property
    def said(self) -> str:
        """What it is and what became of its documents."""
        run, counts = self.figures.run, self.figures.documents
        found = ", ".join(f"{n} {name}" for name, n in counts.items() if n or name == "accepted")
        marked = ", simulated" if run.simulated else ""
        return f"{self.figures.method}, {run.id} ({self.stands}{marked}): {found}"


class Line(NamedTuple):
    """One measure: the figure of each run, and each other run's difference to the first,
    None where there is none."""

    measure: Measure
    figures: Sequence[Figure]
    differences: Sequence[RunDifference | None]


@dataclass(frozen=True)
class SideBySide:
    """Runs of one task; the others are compared with the first."""

    columns: Sequence[Column]
    lines: Sequence[Line]
    notes: Sequence[str]

    @property
    def simulated(self) -> bool:
        """Whether any of them asked a simulated model."""
        return any(column.figures.run.simulated for column in self.columns)

    def groups(self) -> Iterator[tuple[str, list[Line]]]:
        """The lines under the names of their groups."""
        for name, lines in groupby(self.lines, lambda line: line.measure.group):
            yield name, list(lines)

    def plain(self) -> dict[str, Any]:
        """All of it as JSON values."""
        return {
            "task": self.columns[0].figures.run.task,
            "simulated": self.simulated,
            "least_documents": MIN_PAIRS,
            "runs": [_plain_run(column) for column in self.columns],
            "differences": [
                {
                    "run": other.letter,
                    "less": self.columns[0].letter,
                    "figures": {
                        line.measure.name: _plain_difference(line.differences[at])
                        for line in self.lines
                    },
                }
                for at, other in enumerate(self.columns[1:])
            ],
            "notes": list(self.notes),
        }


def side_by_side(columns: Sequence[Column], notes: Sequence[str]) -> SideBySide:
    """The table of these runs, the first of which the others are compared with."""
    first, *others = columns
    lines = [
        Line(
            measure,
            [column.figures.figure(measure) for column in columns],
            [difference(measure, first.figures, other.figures) for other in others],
        )
        for measure in MEASURES
        if any(column.figures.parts[measure.name] for column in columns)
    ]
    return SideBySide(columns, lines, notes)


def figure_in_words(measure: Measure, found: Figure) -> str:
    """`0.37 (0.26–0.48)`, or a dash."""
    if found.value is None:
        return "–"
    return f"{_worded(measure)(found.value)}{within(found.interval, _worded(measure, bare=True))}"


def _worded(measure: Measure, *, bare: bool = False, sign: str = "") -> Callable[[float], str]:
    """How a value of this measure is written; `bare` without its unit, with a `sign` if `+`."""
    if measure.unit == "share":
        unit = " points" if sign and not bare else "" if bare else " %"
        return lambda value: f"{100 * value:{sign}z.0f}{unit}"
    if measure.unit in ("score", "gap"):
        return lambda value: f"{value:{sign}z.2f}"
    if measure.name == "usd":
        return lambda value: f"{value:{sign}z.4f}"
    if measure.unit == "cost":
        return lambda value: _short(value, sign)
    return lambda value: f"{value:{sign}z.{0 if abs(value) >= 100 else 1}f}"


def _short(value: float, sign: str) -> str:
    """`86`, `1,204`, `57.6k`, `207k`, `2.89M`."""
    for size, unit in ((1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            part = value / (1e6 if unit == "M" else 1e3)
            return f"{part:{sign}.{0 if abs(part) >= 100 else 1 if abs(part) >= 10 else 2}f}{unit}"
    return f"{value:{sign}z,.0f}"


def difference_in_words(measure: Measure, found: RunDifference) -> str:
    """`+0.24 (-0.01 to +0.51)`."""
    worded, bare = (_worded(measure, bare=b, sign="+") for b in (False, True))
    said = worded(found.value)
    if found.interval is None:
        return said
    low, high = (bare(end) if isfinite(end) else "no end" for end in found.interval)
    return f"{said} ({low} to {high})"


def of_documents(found: RunDifference) -> str:
    """`19 paired`."""
    return f"{found.documents}{' paired' if found.paired else ''}"


def direction_in_words(found: RunDifference) -> str:
    """`higher`, `may be chance`, or `cannot be told from 9`."""
    told = found.direction != "cannot be told" or found.documents >= MIN_PAIRS
    return found.direction if told else f"{found.direction} from {found.documents}"


def shows_from(measure: Measure, found: RunDifference) -> str:
    """The least difference that would show."""
    if not found.detectable:
        return "–"
    points = " points" if measure.unit == "share" else ""
    return f"{_worded(measure, bare=True)(found.detectable)}{points}"


def _plain_run(column: Column) -> dict[str, Any]:
    run, figures = column.figures.run, column.figures
    measured = {}
    for measure in MEASURES:
        found, parts = figures.figure(measure), figures.parts[measure.name]
        measured[measure.name] = {
            "value": found.value,
            "interval": _ends(found.interval),
            "documents": len(parts),
        }
    return {
        "letter": column.letter,
        "folder": str(column.place),
        "run": run.id,
        "method": figures.method,
        "status": column.stands,
        "simulated": run.simulated,
        "models": dict(run.models),
        "prompts_revision": run.prompts_revision,
        "documents": dict(figures.documents),
        "fresh_from": figures.fresh_from,
        "figures": measured,
    }


def _plain_difference(found: RunDifference | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "difference": found.value,
        "interval": _ends(found.interval),
        "paired": found.paired,
        "documents": found.documents,
        "detectable": found.detectable,
        "direction": found.direction,
    }


def _ends(interval: Sequence[float] | None) -> list[float | None] | None:
    """Both ends as JSON has them: null for one that is not there."""
    return [end if isfinite(end) else None for end in interval] if interval else None
