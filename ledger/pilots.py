"""What a pilot took, what follows for the documents to come, and how that is worded."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from autodata.ledger.database import LedgerError
from autodata.ledger.ledger import Ledger
from autodata.ledger.rows import RunRow
from autodata.ledger.summary import COSTS, SOURCE, cost, number, within
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
from autodata.tasks.measurement import Estimate, Interval, in_percent, wilson
from autodata.tasks.types import Round, digest

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
    """

    run: RunRow
    place: Path
    pilot: Sequence[PilotDocument]
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
                **{kind: spent(self.pilot, kind) for kind in ("rounds", "calls", "tokens", "usd")},
            },
            "documents_left": self.left,
            "documents_in_flight": self.in_flight,
            "rest": _plain(self.rest),
            "examples_wanted": self.examples,
            "wanted": self.wanted and _plain(self.wanted),
            "yield_by_round": [point._asdict() for point in self.curve.points],
            "plateau": {"round": self.curve.plateau, "later_interval": self.curve.later},
            "headroom": self.headroom and self.headroom._asdict(),
        }


def _plain(found: Forecast) -> dict[str, Any]:
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
        raise LedgerError(
            f"run {run.id} has {len(found)} decided documents; a forecast takes at least "
            f"{LEAST_PILOT}: go on with `autodata resume {folder}`"
        )
    left = max((documents or len(ledger.document_ids())) - len(found), 0)
    outset = Outset(left or len(found), None, rounds or TASKS[run.task].rounds, in_flight)
    lacking = (examples or 0) - sum(one.accepted for one in found)
    return PilotReport(
        run=run,
        place=folder,
        pilot=found,
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
    rest = report.rest.examples
    low, high = (end / report.rest.documents.value for end in rest[1:])
    shares = f"{100 * accepted / n:.0f} % of the pilot, {in_percent(Interval(low, high))} %"
    yield "yield", f"{shares} of {'the others' if report.left else 'as many more'}"
    if not spent(report.pilot, "usd"):
        usd = spent(report.pilot, "usd")
        yield "cost", cost(usd, report.run.models.values())
    together = f"{report.in_flight} documents in flight"
    yield "time", f"with {together}, if endpoints answer as they answered the pilot"
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
        yield "plateau", f"from round {curve.plateau} on: {later}, distinguishably less than before"


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
    "room": "of the strong mean, gained with more tokens",
    "best_of": "of the strong mean, gained by the best of its attempts",
    "disagreement": "of criteria are marked otherwise by a second judgement of the same answer",
    "challenger": "more rounds give an example with the other challenger",
    "documents": "more rounds give an example on the demo documents",
}
IN_PERCENT = ("disagreement", "challenger", "documents")


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
            yield "", f"{figure} {words}"


def plain_ceiling(found: Ceiling) -> dict[str, Any]:
    """What limits the yield as JSON values; null what was not tried."""
    figures = {name: getattr(found, name) for name in CEILING_FIGURES}
    return {
        "limit": found.limit,
        "because": found.because,
        "questions": found.questions,
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
