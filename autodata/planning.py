"""A pilot: a few documents of many, run as any others, and what they say of the rest."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from heapq import nsmallest
from math import isfinite
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from autodata.assembly import documents_in_flight
from autodata.ledger.ledger import Ledger
from autodata.ledger.listing import pilot_documents
from autodata.ledger.rows import RunRow, RunStatus
from autodata.ledger.summary import NOTICE, cost, number, within
from autodata.options import DONE, FAILED
from autodata.run_folder import RunFolder, RunFolderError
from autodata.screen import print_table, table
from autodata.session import RunSession, RunWork, Work
from autodata.settings import Settings
from autodata.tasks import TASKS
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
from autodata.tasks.measurement import Interval, in_percent, wilson
from autodata.tasks.types import Document, digest

PILOT = 8  # documents, where nobody says how many
MINUTE, HOUR, DAY = 60, 3_600, 86_400  # seconds


@dataclass
class Sample:
    """A random sample of documents, and of how many: the same of the same, in whatever order."""

    size: int
    seed: int
    total: int = 0

    def of(self, documents: Iterable[Document]) -> list[Document]:
        """The sample; reads all documents and keeps no more texts than it needs."""

        def counted() -> Iterable[Document]:
            for document in documents:
                self.total += 1
                yield document

        return nsmallest(self.size, counted(), key=lambda d: digest(self.seed, d.id))


@dataclass(frozen=True, kw_only=True)
class PilotSession(RunSession):
    """A session of a run that works on the `sample` alone, whatever else the folder holds."""

    sample: frozenset[str]

    def opened(self, run: RunRow, settings: Settings) -> RunWork:
        """What of the sample is undecided yet."""
        work = super().opened(run, settings)
        ours = [id for id in work.batch.document_ids if id in self.sample]
        return replace(work, batch=replace(work.batch, document_ids=ours))

    def again(self) -> str:
        """The command that goes on after a pause."""
        return f"autodata plan, with the same options (its pilot is in {self.folder.path})"

    def told(self, work: Work, ledger: Ledger, status: RunStatus) -> int:
        """Says what stayed undecided; the forecast says the rest."""
        refused = work.batch.refused if isinstance(work, RunWork) else {}
        for document_id, reason in refused.items():
            self.console.print(f"undecided  {document_id}  {reason}", style="red", soft_wrap=True)
        return FAILED if refused else DONE


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
                **{kind: _total(self.pilot, kind) for kind in ("rounds", "calls", "tokens", "usd")},
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


def _total(pilot: Sequence[PilotDocument], kind: str) -> float | None:
    values = [getattr(one, kind) for one in pilot]
    return None if None in values else sum(values)


def pilot_report(
    folder: RunFolder,
    settings: Settings,
    *,
    run_id: str | None = None,
    documents: int | None = None,
    examples: int | None = None,
) -> PilotReport:
    """What the decided documents of a run say of the others, `documents` in all, those of the
    folder unless stated. Raises RunFolderError where too few are decided."""
    with Ledger.open(folder.path, create=False) as ledger:
        run = ledger.run(run_id)
        if run.kind != "documents":
            raise RunFolderError(f"{run.id} is no run over documents: it can be no pilot")
        found = list(pilot_documents(ledger, run.id).values())
        total = documents or len(ledger.document_ids())
    if len(found) < LEAST_PILOT:
        raise RunFolderError(
            f"run {run.id} has {len(found)} decided documents; a forecast takes at least "
            f"{LEAST_PILOT}: go on with `autodata resume {folder.path}`"
        )
    left = max(total - len(found), 0)
    rounds = settings.run.rounds or TASKS[run.task].rounds
    in_flight = documents_in_flight(settings)
    outset = Outset(left or len(found), None, rounds, in_flight)
    lacking = (examples or 0) - sum(one.accepted for one in found)
    return PilotReport(
        run=run,
        place=folder.path,
        pilot=found,
        left=left,
        rest=forecast(found, outset),
        examples=examples,
        wanted=forecast(found, outset._replace(examples=lacking)) if lacking > 0 else None,
        in_flight=in_flight,
        curve=yield_curve(found),
        headroom=headroom(found),
    )


def tell_report(console: Console, report: PilotReport, as_json: bool) -> None:
    """The report as one page, or as one JSON object on standard output."""
    if as_json:
        print(json.dumps(report.plain(), indent=2))
        return
    n, run = len(report.pilot), report.run
    title = f"{run.task} run {run.id}, {n} decided documents as a pilot"
    console.print(Text(title, style="bold"), soft_wrap=True)
    print_table(console, _forecasts(report))
    console.print(
        "in brackets: where 95 of 100 such forecasts find it, if the pilot is a random sample",
        style="dim",
        soft_wrap=True,
    )
    for name, said in _rows(report):
        console.print(Text.assemble((f"{name:<12}", "dim"), said), soft_wrap=True)
    if run.simulated:
        console.print(NOTICE, style="yellow", soft_wrap=True)
    if report.left:
        more = f"autodata run DOCS --task {run.task} --out {report.place}"
        console.print(
            f"Go on with all documents, none of these paid for again: {more}", soft_wrap=True
        )


def _forecasts(report: PilotReport) -> Table:
    """The pilot beside what is to come, a column each."""
    n = len(report.pilot)
    rest = f"the other {report.left:,}" if report.left else f"{n:,} more"
    columns = {"": "", "pilot": f"{n:,}", rest: _whole(report.rest.documents)}
    if report.wanted:
        columns[f"for {report.examples:,} examples"] = f"{_whole(report.wanted.documents)} more"
    made = table(*columns, numbers=list(columns)[1:])
    made.add_row("documents", *list(columns.values())[1:])
    forecasts = [report.rest, *([report.wanted] if report.wanted else [])]
    made.add_row("examples", f"{report.accepted:,}", *(_whole(f.examples) for f in forecasts))
    for kind in ("rounds", "calls", "tokens"):
        spent = _total(report.pilot, kind) or 0
        made.add_row(kind, f"{spent:,}", *(_whole(f.costs[kind]) for f in forecasts))
    if usd := _total(report.pilot, "usd"):
        made.add_row("cost", f"${usd:.4f}", *(_said(f.costs["usd"], _usd) for f in forecasts))
    made.add_row("time", "", *(_said(f.costs["seconds"], duration) for f in forecasts))
    return made


def _rows(report: PilotReport) -> Iterable[tuple[str, str]]:
    n, accepted = len(report.pilot), report.accepted
    rest = report.rest.examples
    low, high = (end / report.rest.documents.value for end in rest[1:])
    shares = f"{100 * accepted / n:.0f} % of the pilot, {in_percent(Interval(low, high))} %"
    yield "yield", f"{shares} of {'the others' if report.left else 'as many more'}"
    if not _total(report.pilot, "usd"):
        usd = _total(report.pilot, "usd")
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


def _curve_rows(curve: YieldCurve) -> Iterable[tuple[str, str]]:
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


def _whole(found: Predicted) -> str:
    return _said(found, "{:,.0f}".format)


def _usd(value: float) -> str:
    return f"${value:,.2f}"


def _said(found: Predicted, worded: Any) -> str:
    """`33 (17–51)`; a single number where nothing is open."""
    if found.low == found.high:
        return str(worded(found.value))
    return f"{worded(found.value)}{within(Interval(found.low, found.high), worded)}"


def duration(seconds: float) -> str:
    """`40 s`, `12 min`, `3.5 h` or `2.1 days`."""
    for unit, name in ((DAY, "days"), (HOUR, "h")):
        if seconds >= unit:
            return f"{seconds / unit:.1f} {name}"
    return f"{seconds / MINUTE:.0f} min" if seconds >= 2 * MINUTE else f"{seconds:.0f} s"
