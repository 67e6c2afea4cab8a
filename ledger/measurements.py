"""What was measured of a run: examples afresh, by attempts that no gate has seen, and its documents
as a pilot of those to come.

A remeasurement is a run of kind `remeasurement`. What the run's own models show fills the
`confirmed` columns of its examples, in place of what the gate's own fresh attempts came to, which
stay on record with the round; what other models show is kept beside it.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

from autodata.ledger.database import LedgerError
from autodata.ledger.ledger import OWN_MEASUREMENT, Ledger
from autodata.ledger.rows import Row, RunRow, attempt_row, from_text, read_attempt, read_run
from autodata.ledger.summary import COSTS, SOURCE, Figure, cost, mean_by_source, number, within
from autodata.tasks import TASKS
from autodata.tasks.ceiling import Ceiling
from autodata.tasks.forecast import (
    LEAST_PILOT,
    Forecast,
    Headroom,
    Outset,
    PilotDocument,
    Predicted,
    YieldCurve,
    forecast,
    headroom,
    yield_curve,
)
from autodata.tasks.judge_noise import sampled
from autodata.tasks.measured import Measurement
from autodata.tasks.measurement import Bounds, Estimate, Interval, in_percent, wilson
from autodata.tasks.types import Attempt, Frozen, Round, Side, digest

SCORES = ("weak", "strong", "gap")
MEASURED = f"""
select e.id as example_id, e.document_id, documents.name, {SOURCE} as source,
  e.weak_mean, e.strong_mean, e.gap as gap_mean,
  m.weak_attempts, m.strong_attempts, m.weak, m.strong, m.gap, m.holds
from examples as e
join documents on documents.id = e.document_id
join measurements as m on m.example_id = e.id and m.run_id = ?1
where ?2 is null or e.document_id = ?2
order by documents.rowid
"""


class Confirmed(NamedTuple):
    """What fresh attempts of the run's own models show of an example: whether the thresholds hold,
    and scores, 0 … 1; None where there are none. `by_gate`: by these it was accepted, too."""

    holds: bool | None
    weak: float | None
    strong: float | None
    gap: float | None
    by_gate: bool = False


class MeasuredExample(Frozen):
    """One example as the gate saw it (`shown`) and as fresh attempts show it; scores are 0 … 1.

    `source` is the same for passages of one text.
    """

    example_id: str
    document_id: str
    name: str
    source: str
    shown: Measurement
    fresh: Measurement


def accepted(ledger: Ledger, run_id: str) -> list[tuple[str, str]]:
    """The examples of a run, each with its document, in the order of the documents."""
    rows = ledger.query(
        "select examples.id, document_id from examples join documents on documents.id = document_id"
        " where run_id = ? order by documents.rowid",
        [run_id],
    )
    return [(row["id"], row["document_id"]) for row in rows]


def confirmed(ledger: Ledger, run_id: str) -> dict[str, Confirmed]:
    """How the examples of a run stand afresh, by document."""
    rows = ledger.query(
        "select document_id, confirmed, confirmed_weak, confirmed_strong, confirmed_gap,"
        " confirmed is not null and own.holds is null as by_gate"
        f" from examples as e left join {OWN_MEASUREMENT} where e.run_id = ?",
        [run_id],
    )
    found = (list(row.values()) for row in rows)
    return {id: Confirmed(None if holds is None else bool(holds), *at) for id, holds, *at in found}


def measured(
    ledger: Ledger, remeasurement: str, document_id: str | None = None
) -> list[MeasuredExample]:
    """What a remeasurement found so far, of all documents in their order or of one."""
    return [_measured(row) for row in ledger.query(MEASURED, [remeasurement, document_id])]


def remeasurements(ledger: Ledger, run_id: str) -> list[RunRow]:
    """The remeasurements of a run that found something, oldest first."""
    rows = ledger.query(
        "select * from runs where kind = 'remeasurement' and id in"
        " (select m.run_id from measurements as m join examples as e on e.id = m.example_id"
        " where e.run_id = ?) order by rowid",
        [run_id],
    )
    return [read_run(row) for row in rows]


def measured_run(ledger: Ledger, remeasurement: RunRow) -> RunRow:
    """The run whose examples a remeasurement measures; itself while it has found nothing."""
    rows = ledger.query(
        "select e.run_id from measurements as m join examples as e on e.id = m.example_id"
        " where m.run_id = ? limit 1",
        [remeasurement.id],
    )
    return ledger.run(rows[0]["run_id"]) if rows else remeasurement


def unaudited(ledger: Ledger, audit_id: str, run_id: str, share: float) -> list[tuple[str, str]]:
    """The examples of a run, each with its document, that lie in a sample of this share and that an
    audit has not marked."""
    rows = ledger.query("select example_id from measurements where run_id = ?", [audit_id])
    done = {row["example_id"] for row in rows}
    return [
        (example, document)
        for example, document in accepted(ledger, run_id)
        if example not in done and sampled(example, share)
    ]


def last_numbers(ledger: Ledger, document_id: str) -> dict[Side, int]:
    """The highest number of an attempt that any gate of the folder saw of this document, by side,
    0 for none."""
    rows = ledger.query(
        "select solver, max(attempts.number) as last from attempts join rounds"
        " on rounds.id = round_id where document_id = ? group by solver",
        [document_id],
    )
    last: dict[Side, int] = {"weak": 0, "strong": 0}
    last.update((row["solver"], row["last"]) for row in rows)
    return last


def fresh_attempts(ledger: Ledger, remeasurement: str, example_id: str) -> tuple[Attempt, ...]:
    """The fresh attempts at one example, by side and number."""
    rows = ledger.query(
        "select *, 1 as fresh from fresh_attempts where run_id = ? and example_id = ?"
        " order by solver desc, number",
        [remeasurement, example_id],
    )
    return tuple(map(read_attempt, rows))


def count_fresh(ledger: Ledger, remeasurement: str) -> dict[str, int]:
    """How many fresh attempts each example has on the side that has fewer, by example."""
    rows = ledger.query(
        "select example_id, min(sum(solver = 'weak'), sum(solver = 'strong')) as made"
        " from fresh_attempts where run_id = ? group by example_id",
        [remeasurement],
    )
    return {row["example_id"]: row["made"] for row in rows}


def record_measurement(
    ledger: Ledger,
    remeasurement: str,
    example_id: str,
    fresh: Sequence[Attempt],
    found: Measurement,
    *,
    confirms: bool,
) -> None:
    """Store all fresh attempts at an example and what they come to, in one transaction.

    With `confirms` it is the run's own measurement, and fills the example's `confirmed` columns.
    """
    where: Row = {"run_id": remeasurement, "example_id": example_id}
    with ledger.writing() as database:
        database.table("fresh_attempts").insert_all(
            [where | attempt_row(attempt) for attempt in fresh], ignore=True
        )
        database.table("measurements").upsert(where | found._asdict(), pk=("run_id", "example_id"))
        if confirms and found.holds is not None:
            columns = {f"confirmed_{score}": getattr(found, score) for score in SCORES}
            columns["confirmed"] = found.holds
            database.table("examples").update(example_id, columns)


def _measured(row: Row) -> MeasuredExample:
    shown = Measurement(0, 0, row["weak_mean"], row["strong_mean"], row["gap_mean"], True)
    fresh = Measurement(**{name: row[name] for name in Measurement._fields})
    return MeasuredExample(
        example_id=row["example_id"],
        document_id=row["document_id"],
        name=from_text(row["name"]),
        source=row["source"],
        shown=shown,
        fresh=fresh,
    )


@dataclass(frozen=True)
class Result:
    """What the fresh attempts of a remeasurement show of the `found` examples of a `run`.

    `attempts` are asked for on each side, and `made` are those of each example that has some;
    `examples` counts all that the run accepted. With `confirms` it is the run's own measurement.
    """

    run: RunRow
    remeasurement: RunRow
    confirms: bool
    attempts: int
    examples: int
    made: Sequence[int]
    found: Sequence[MeasuredExample]
    bounds: Bounds

    @property
    def fewer(self) -> int:
        """How many examples have some fresh attempts, but fewer than are asked for."""
        return sum(made < self.attempts for made in self.made)

    @property
    def decided(self) -> list[MeasuredExample]:
        """Those with a score on both sides."""
        return [one for one in self.found if one.fresh.holds is not None]

    @property
    def passed(self) -> int:
        """How many passed again: the thresholds hold on their fresh means."""
        return sum(one.fresh.holds is True for one in self.found)

    def shown(self, score: str) -> float | None:
        """The mean that the gate saw, of the examples with a fresh one."""
        values = [value for _, value in self._values(score, lambda one: one.shown)]
        return sum(values) / len(values) if values else None

    def fresh(self, score: str) -> Figure:
        """The fresh mean and its interval, by document."""
        least = -1.0 if score == "gap" else 0.0
        return mean_by_source(self._values(score, lambda one: one.fresh), least)

    def _values(
        self, score: str, of: Callable[[MeasuredExample], Measurement]
    ) -> Iterator[tuple[str, float]]:
        for one in self.decided:
            value = getattr(of(one), score)
            if value is not None:
                yield one.source, value

    def plain(self) -> dict[str, Any]:
        """All of it as JSON values."""
        decided, passed = len(self.decided), self.passed
        low, high = wilson(passed, decided)
        return {
            "run": self.run.id,
            "remeasurement": self.remeasurement.id,
            "task": self.run.task,
            "status": self.remeasurement.status,
            "own_models": self.confirms,
            "models": dict(self.remeasurement.models),
            "simulated": self.remeasurement.simulated,
            "attempts": self.attempts,
            "attempts_made": {
                "least": min(self.made, default=0),
                "most": max(self.made, default=0),
                "fewer": self.fewer,
            },
            "examples": self.examples,
            "measured": decided,
            "shown": {score: self.shown(score) for score in SCORES},
            "fresh": {score: _plain(self.fresh(score)) for score in SCORES},
            "passed_again": {
                "examples": passed,
                "share": passed / decided if decided else None,
                "low": low,
                "high": high,
            },
            "each": [_each(one) for one in self.found],
        }


def _plain(found: Figure) -> dict[str, float | None] | None:
    if found.value is None:
        return None
    low, high = found.interval or (None, None)
    return {"mean": found.value, "low": low, "high": high}


def _each(one: MeasuredExample) -> dict[str, Any]:
    """One example as JSON values."""
    return {
        "example": one.example_id,
        "document": one.name,
        "shown": {score: getattr(one.shown, score) for score in SCORES},
        "fresh": {score: getattr(one.fresh, score) for score in SCORES},
        "attempts": {"weak": one.fresh.weak_attempts, "strong": one.fresh.strong_attempts},
        "passed_again": one.fresh.holds,
    }


# A pilot: the decided documents of a run, and what they say of those to come.

MINUTE, HOUR, DAY = 60, 3_600, 86_400  # seconds

# What a forecast reads of the documents that are decided.
_DECIDED_DOCUMENTS = f"""
with spent as ({COSTS})
select documents.id, {SOURCE} as source, last.decision = 'accepted' as accepted,
  last.number as rounds, ifnull(spent.calls, 0) as calls, ifnull(tokens, 0) as tokens,
  case when spent.document_id is null then 0.0 else usd end as usd,
  (select json_group_array(json_array(86400 * julianday(started_at), seconds))
    from calls where scope = documents.id) as times,
  (select json_group_array(score) from attempts where round_id = last.id and solver = 'weak'
    and not fresh and score is not null and last.decision = 'accepted') as weak
from rounds as last join documents on documents.id = last.document_id
left join spent on spent.document_id = documents.id
where last.run_id = ? and last.decision in ('accepted', 'rejected', 'skipped')
order by documents.rowid
"""
PUT_DOWN = 60.0  # seconds without a call of a document, after which it was put down meanwhile


def pilot_documents(ledger: Ledger, run_id: str) -> dict[str, PilotDocument]:
    """The decided documents of a run by their ids, with what each of them took."""
    found = {}
    for row in ledger.query(_DECIDED_DOCUMENTS, [run_id]):
        document, times = row.pop("id"), json.loads(row.pop("times"))
        weak = tuple(json.loads(row.pop("weak")))
        row |= {"accepted": bool(row["accepted"]), "tokens": int(row["tokens"])}
        found[document] = PilotDocument(**row, seconds=_worked(times), weak=weak)
    return found


def _worked(times: Sequence[tuple[float, float]]) -> float:
    """Seconds of work in which these calls were made, each with its start and its seconds."""
    worked, until = 0.0, 0.0
    for start, seconds in sorted(map(tuple, times)):
        end = start + seconds
        begun = start if start - until > PUT_DOWN else until
        worked += max(end - begun, 0.0)
        until = max(until, end)
    return worked


@dataclass(frozen=True)
class PilotReport:
    """What a pilot found: the decided documents of a run, and what they say of those to come.

    `rest` is of the documents that are left, or of as many again where none are; `wanted` of what
    the `examples` that are asked for in all still take, None where they are there or not asked for.
    `unfinished` documents were begun and are undecided.
    """

    run: RunRow
    place: Path
    pilot: Sequence[PilotDocument]
    unfinished: int
    left: int
    rest: Forecast
    examples: int | None
    wanted: Forecast | None
    in_flight: int
    curve: YieldCurve
    headroom: Headroom | None

    @property
    def accepted(self) -> int:
        """Documents of the pilot that gave an example."""
        return sum(one.accepted for one in self.pilot)

    def plain(self) -> dict[str, Any]:
        """All of it as JSON values; null for no upper end."""
        n = len(self.pilot)
        return {
            "run": self.run.id,
            "folder": str(self.place),
            "task": self.run.task,
            "simulated": self.run.simulated,
            "pilot": {
                "documents": n,
                "accepted": self.accepted,
                "share": self.accepted / n,
                "share_interval": wilson(self.accepted, n),
                "undecided": self.unfinished,
                **{kind: spent(self.pilot, kind) for kind in ("rounds", "calls", "tokens", "usd")},
            },
            "documents_left": self.left,
            "documents_in_flight": self.in_flight,
            "rest": _plain_forecast(self.rest),
            "examples_wanted": self.examples,
            "wanted": self.wanted and _plain_forecast(self.wanted),
            "yield_by_round": [point._asdict() for point in self.curve.points],
            "plateau": {"round": self.curve.plateau, "later_interval": self.curve.later},
            "headroom": self.headroom and self.headroom._asdict(),
        }


def _plain_forecast(found: Forecast) -> dict[str, Any]:
    def value(at: Predicted) -> dict[str, float | None]:
        return {name: end if isfinite(end) else None for name, end in at._asdict().items()}

    return {
        "documents": value(found.documents),
        "examples": value(found.examples),
        **{kind: value(at) for kind, at in found.costs.items()},
        "enough_documents": found.enough,
    }


def spent(pilot: Sequence[PilotDocument], kind: str) -> float | None:
    """What a pilot took of one kind; None where a price is unknown."""
    values = [getattr(one, kind) for one in pilot]
    return None if None in values else sum(values)


def pilot_report(
    ledger: Ledger,
    run_id: str | None,
    *,
    documents: int | None,
    examples: int | None,
    rounds: int | None,
    in_flight: int,
) -> PilotReport:
    """What the decided documents of a run say of the others, `documents` in all, those of the
    folder unless stated; `rounds` are the task's unless stated. Raises LedgerError where too few
    are decided, or where it is no run over documents."""
    run, folder = ledger.run(run_id), ledger.path.parent
    if run.kind != "documents":
        raise LedgerError(f"{run.id} is no run over documents: it can be no pilot")
    found = list(pilot_documents(ledger, run.id).values())
    if len(found) < LEAST_PILOT:
        more = f"run MORE_DOCS --task {run.task} --out {folder}"
        if len(ledger.document_ids()) > len(found):
            more = f"resume {folder}"
        raise LedgerError(
            f"decided documents of run {run.id}: {len(found)}; a forecast takes at least "
            f"{LEAST_PILOT}: go on with `autodata {more}`"
        )
    left = max((documents or len(ledger.document_ids())) - len(found), 0)
    outset = Outset(left or len(found), None, rounds or TASKS[run.task].rounds, in_flight)
    lacking = (examples or 0) - sum(one.accepted for one in found)
    return PilotReport(
        run=run,
        place=folder,
        pilot=found,
        unfinished=ledger.unfinished(run.id),
        left=left,
        rest=forecast(found, outset),
        examples=examples,
        wanted=forecast(found, outset._replace(examples=lacking)) if lacking > 0 else None,
        in_flight=in_flight,
        curve=yield_curve(found),
        headroom=headroom(found),
    )


def pilot_rows(report: PilotReport) -> Iterator[tuple[str, str]]:
    """What is said below the table: a name and what is said of it."""
    n, accepted = len(report.pilot), report.accepted
    low, high = (end / report.rest.documents.value for end in report.rest.examples[1:])
    shares = f"{100 * accepted / n:.0f} % of the pilot, {in_percent(Interval(low, high))} %"
    yield "yield", f"{shares} of {'the others' if report.left else 'as many more'}"
    if report.unfinished:
        said = f"documents begun, which count nowhere: {report.unfinished}. Those of few rounds "
        said += f"are decided first: this may flatter; `autodata resume {report.place}` goes on"
        yield "undecided", said
    if not (usd := spent(report.pilot, "usd")):
        yield "cost", cost(usd, report.run.models.values())
    together = f"with {report.in_flight} documents in flight"
    yield "time", f"{together}, if endpoints answer as they answered the pilot"
    if report.wanted and report.wanted.enough is not None and report.left:
        chance = 100 * report.wanted.enough
        yield "enough", f"the documents at hand give that many examples with {chance:.0f} % chance"
    yield from _curve_rows(report.curve)
    if found := report.headroom:
        yield "headroom", headroom_line(found)


def headroom_line(found: Headroom) -> str:
    """What the student can learn from the accepted questions."""
    between = f"{100 * found.open:.0f} % ({in_percent(found.open_interval)}) of "
    return (
        f"{between}{found.questions} accepted questions lie within the student's reach, neither "
        f"always failed nor always solved; mean 4p(1 − p) {number(found.variance)}"
        f"{within(found.variance_interval)}, as the gate saw them"
    )


def _curve_rows(curve: YieldCurve) -> Iterator[tuple[str, str]]:
    """The yield by round, a point for each round that added something, and its plateau."""
    shown = [
        f"{point.round}: {100 * point.share:.0f} % ({in_percent(point.interval)})"
        for point in curve.points
        if point.gave
    ]
    if not shown:
        return
    yield "by round", ", ".join(shown)
    if curve.plateau is None or curve.later is None:
        yield "plateau", "none to be told: no later round gives distinguishably less than others do"
    else:
        later = f"a round beyond gives an example in {in_percent(curve.later)} % of cases"
        less = "distinguishably less than rounds do on average"
        yield "plateau", f"from round {curve.plateau} on: {later}, {less}"


def in_whole(found: Predicted) -> str:
    """`33 (17–51)`, in whole numbers."""
    return predicted(found, "{:,.0f}".format)


def in_dollars(value: float) -> str:
    """`$12.40`."""
    return f"${value:,.2f}"


def predicted(found: Predicted, worded: Callable[[float], str]) -> str:
    """`33 (17–51)`; a single number where nothing is open."""
    if found.low == found.high:
        return worded(found.value)
    return f"{worded(found.value)}{within(Interval(found.low, found.high), worded)}"


def duration(seconds: float) -> str:
    """`40 s`, `12 min`, `3.5 h` or `2.1 days`."""
    for unit, name in ((DAY, "days"), (HOUR, "h")):
        if seconds >= unit:
            return f"{seconds / unit:.1f} {name}"
    return f"{seconds / MINUTE:.0f} min" if seconds >= 2 * MINUTE else f"{seconds:.0f} s"


# What each figure of a ceiling is, in words, with what it is a share or a difference of.
CEILING_FIGURES = {
    "gap": "strong − weak, on attempts that no gate has seen",
    "reachable": "the widest gap that these two can show, at any difficulty",
    "reachable_best": "that of the best strong attempt at each question",
    "best_adds": "added to it by the best attempts, beyond what they add to the weak side",
    "room": "of the strong mean, gained with more tokens",
    "best_of": "of the strong mean, gained by the best of its attempts",
    "disagreement": "of criteria are marked otherwise by a second judgement of the same answer",
    "challenger": "more rounds give an example with the other challenger",
    "passages": "more on another passage of sources that gave none, than of all",
    "documents": "more rounds give an example on the demo documents",
}
IN_PERCENT = ("disagreement", "challenger", "passages", "documents")


def ceiling_rows(found: Ceiling) -> Iterator[tuple[str, str]]:
    """What limits the yield, and the figures that say so: a name and what is said of it."""
    yield "limit", f"{found.limit}: {found.because}"
    yield "", f"by {found.questions} questions that both sides attempted afresh:"
    for name, words in CEILING_FIGURES.items():
        at: Estimate | None = getattr(found, name)
        if at is not None:
            low, high = at.interval
            figure = f"{at.mean:z.2f} ({low:z.2f} to {high:z.2f})"
            if name in IN_PERCENT:
                figure = f"{100 * at.mean:z.0f} % ({100 * low:z.0f} to {100 * high:z.0f})"
            rounds = f", in {found.tried_rounds[name]} rounds" if name in found.tried_rounds else ""
            yield "", f"{figure} {words}{rounds}"
    if found.without_passage:
        yield "", f"no other passage of {found.without_passage} documents that gave no example"


def plain_ceiling(found: Ceiling) -> dict[str, Any]:
    """What limits the yield as JSON values; null what was not tried."""
    said = ("limit", "because", "questions", "tried_rounds", "without_passage")
    figures = {name: getattr(found, name) for name in CEILING_FIGURES}
    return {
        **{name: getattr(found, name) for name in said},
        **{
            name: at and {"value": at.mean, "low": at.interval.low, "high": at.interval.high}
            for name, at in figures.items()
        },
    }


QUESTIONS, PER_DOCUMENT = 24, 2  # that are attempted afresh, at the most


def attempted_questions(ledger: Ledger, run_id: str) -> list[tuple[str, Round]]:
    """Attempted questions of a run, drawn at random, as many of each document as of any other."""
    found = list[tuple[int, str, str, Round]]()
    for id in pilot_documents(ledger, run_id):
        tried = [round for round in ledger.rounds(run_id, id) if round.weak and round.candidate]
        drawn = sorted((digest(id, round.number), round) for round in tried)
        found += [(at, key, id, round) for at, (key, round) in enumerate(drawn[:PER_DOCUMENT])]
    return [(id, round) for _, _, id, round in sorted(found, key=lambda q: q[:3])[:QUESTIONS]]
