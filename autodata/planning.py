"""A pilot: a few documents of many, run as any others, and what they say of the rest."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from heapq import nsmallest

from rich.console import Console
from rich.table import Table
from rich.text import Text

from autodata.assembly import documents_in_flight
from autodata.ledger.ledger import Ledger
from autodata.ledger.pilots import (
    PilotReport,
    duration,
    in_dollars,
    in_whole,
    pilot_documents,
    pilot_rows,
    predicted,
    spent,
)
from autodata.ledger.rows import RunRow, RunStatus
from autodata.ledger.summary import NOTICE
from autodata.options import DONE, FAILED
from autodata.run_folder import RunFolder, RunFolderError
from autodata.screen import print_table, table
from autodata.session import RunSession, RunWork, Work
from autodata.settings import Settings
from autodata.tasks import TASKS
from autodata.tasks.forecast import (
    LEAST_PILOT,
    Outset,
    forecast,
    headroom,
    yield_curve,
)
from autodata.tasks.types import Document, digest


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
    rounds = settings.choices.rounds or TASKS[run.task].rounds
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
    for name, said in pilot_rows(report):
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
    columns = {"": "", "pilot": f"{n:,}", rest: in_whole(report.rest.documents)}
    if report.wanted:
        columns[f"for {report.examples:,} examples"] = f"{in_whole(report.wanted.documents)} more"
    made = table(*columns, numbers=list(columns)[1:])
    made.add_row("documents", *list(columns.values())[1:])
    forecasts = [report.rest, *([report.wanted] if report.wanted else [])]
    made.add_row("examples", f"{report.accepted:,}", *(in_whole(f.examples) for f in forecasts))
    for kind in ("rounds", "calls", "tokens"):
        took = spent(report.pilot, kind) or 0
        made.add_row(kind, f"{took:,}", *(in_whole(f.costs[kind]) for f in forecasts))
    if usd := spent(report.pilot, "usd"):
        made.add_row(
            "cost", f"${usd:.4f}", *(predicted(f.costs["usd"], in_dollars) for f in forecasts)
        )
    made.add_row("time", "", *(predicted(f.costs["seconds"], duration) for f in forecasts))
    return made
