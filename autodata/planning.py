"""A pilot: a few documents of many, run as any others, and what they say of the rest."""

import asyncio
import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from heapq import nsmallest
from importlib.resources import as_file, files

from rich.console import Console
from rich.table import Table
from rich.text import Text

from autodata.assembly import documents_in_flight, open_run_context, run_row
from autodata.documents.corpus import ingest, other_passages
from autodata.graph.context import RunContext
from autodata.graph.run import Probing, probe
from autodata.graph.state import State, judgements, measuring, planned
from autodata.ledger.calls import CallLog
from autodata.ledger.ledger import FILE, Ledger
from autodata.ledger.measurements import (
    PilotReport,
    attempted_questions,
    ceiling_rows,
    duration,
    in_dollars,
    in_whole,
    pilot_documents,
    pilot_report,
    pilot_rows,
    plain_ceiling,
    predicted,
    spent,
)
from autodata.ledger.rows import RunRow, RunStatus
from autodata.ledger.summary import NOTICE
from autodata.models.client import Models
from autodata.models.config import ModelConfig, endpoint
from autodata.options import DONE, FAILED
from autodata.prompt_store.prompt import packaged
from autodata.run_folder import RunFolder
from autodata.screen import print_table, table
from autodata.session import STOPPED, RunSession, RunWork, Session, Work
from autodata.settings import Settings, SettingsError
from autodata.tasks import TASKS
from autodata.tasks.ceiling import (
    TRIED_ROUNDS,
    Ceiling,
    ProbedQuestion,
    asked_beforehand,
    cut_off,
    find_ceiling,
    first_rounds,
    probed_question,
    rounds_by_source,
)
from autodata.tasks.forecast import PilotDocument
from autodata.tasks.types import Attempt, Document, digest


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


def tell_plan(
    folder: RunFolder,
    settings: Settings,
    console: Console,
    code: int,
    *,
    run_id: str | None = None,
    documents: int | None,
    examples: int | None,
    ceiling: bool,
    challenger: str | None,
    wait: bool,
    as_json: bool,
) -> int:
    """Tells the forecast and, where asked for, what limits the yield. Returns the exit code."""
    other = _other_challenger(challenger, settings)
    if other and not ceiling:
        raise SettingsError("--challenger: another challenger is tried with --ceiling alone")
    with Ledger.open(folder.path, create=False) as ledger:
        report = pilot_report(
            ledger,
            run_id,
            documents=documents,
            examples=examples,
            rounds=settings.choices.rounds,
            in_flight=documents_in_flight(settings),
        )
    found: Ceiling | None = None
    if ceiling:
        control = demo_documents(report.run.task)
        search = CeilingSearch(folder, settings, console, wait, other, control)
        code, found = search.search(report.run)
    if code in (DONE, FAILED):
        tell_report(console, report, as_json, found)
    return code


def _other_challenger(named: str | None, settings: Settings) -> ModelConfig | None:
    """The model that `ENDPOINT/MODEL` names, asked as the challenger is. Raises SettingsError."""
    if named is None:
        return None
    place, slash, model = named.partition("/")
    if not slash or not model:
        raise SettingsError(f"--challenger {named}: write ENDPOINT/MODEL, such as local/my-model")
    endpoint(place, settings.endpoints)  # raises where it is not configured
    return settings.model("challenger").model_copy(update={"endpoint": place, "model": model})


def demo_documents(task: str) -> list[Document]:
    """The demo documents of a task; none where it has none."""
    place = files("autodata") / "demo" / task
    if not place.is_dir():
        return []
    with as_file(place) as folder:
        return list(ingest([folder]))


def tell_report(
    console: Console, report: PilotReport, as_json: bool, found: Ceiling | None = None
) -> None:
    """The report, and what limits the yield where that was searched for, as one page, or as one
    JSON object on standard output."""
    if as_json:
        searched = {"ceiling": plain_ceiling(found)} if found else {}
        print(json.dumps(report.plain() | searched, indent=2))
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
    for name, said in (*pilot_rows(report), *(ceiling_rows(found) if found else ())):
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


# What limits the yield.

JUDGEMENTS = 2  # of each of these answers, so that they can be compared
MORE_TOKENS = 4  # times as many as the strong side had where it was cut off
# What is raised by a run of its own, and what its rounds are.
WAYS = {
    "challenger": "with the other challenger",
    "passages": "on another passage of each document that gave no example",
    "documents": "on demo documents",
}


@dataclass(frozen=True, kw_only=True)
class ProbeSession(Session):
    """A session of fresh attempts by both sides at questions of a `run`, with more tokens where
    the strong side was cut off. What it finds is `probed`."""

    run: RunRow
    probed: list[ProbedQuestion] = field(default_factory=list)

    kind = "remeasurement"

    def measure(self) -> int:
        """Asks for what is lacking. Returns the exit code."""
        with self.folder.existing().locked():
            return self._work(self.row(self.settings), self.settings)

    def row(self, settings: Settings) -> RunRow:
        """The row under which the folder has it: no run of its own."""
        update = {"kind": self.kind, "prompts_revision": self.run.prompts_revision}
        return run_row(settings, f"{self.run.id}-probe").model_copy(update=update)

    def keep(self, settings: Settings) -> None:
        """Nothing: the folder stays that of its run."""

    def again(self) -> str:
        """The command that goes on after a pause."""
        return f"autodata plan {self.folder.path} --ceiling, with the same options"

    def opened(self, run: RunRow, settings: Settings) -> "ProbeWork":
        """The questions, a few of each document, drawn at random."""
        context = open_run_context(self.folder, run.id, settings, packaged(), wait=self.wait)
        choices = settings.choices
        repeats = max(judgements(choices), JUDGEMENTS)
        plan = Probing(
            task=self.run.task,
            choices=choices.model_copy(update={"judge_repeats": repeats}),
            questions=attempted_questions(context.ledger, self.run.id),
            attempts=max(planned(State(task=self.run.task, choices=choices))),
            in_flight=documents_in_flight(settings),
        )
        return ProbeWork(self, run, context, plan)

    def told(self, work: Work, ledger: Ledger, status: RunStatus) -> int:
        """Says what was refused; the page says the rest."""
        refused = work.plan.refused if isinstance(work, ProbeWork) else {}
        for document_id, reason in refused.items():
            self.console.print(f"not attempted  {document_id}  {reason}", style="red")
        return FAILED if refused else DONE


@dataclass(frozen=True)
class ProbeWork:
    """The questions of a run that both sides attempt afresh."""

    session: ProbeSession
    run: RunRow
    context: RunContext
    plan: Probing

    @property
    def models(self) -> Models:
        return self.context.models

    @property
    def stop(self) -> asyncio.Event:
        return self.plan.stop

    async def to_the_end(self) -> None:
        """All of them. Raises Paused."""
        try:
            await probe(self.context, self.plan)
            ledger = self.context.ledger
            pilot = await asyncio.to_thread(pilot_documents, ledger, self.session.run.id)
        finally:
            await self.context.aclose()
        roomier = await self._roomier()
        for (id, number), made in self.plan.done.items():
            again = roomier.get((id, number), ())
            self.session.probed.append(probed_question(pilot[id].source, made, again))
        if self.stop.is_set() and len(self.plan.done) < len(self.plan.questions):
            raise STOPPED

    async def _roomier(self) -> dict[tuple[str, int], tuple[Attempt, ...]]:
        """The strong side again, with more tokens, at questions where it was cut off."""
        own, plan = self.session.settings.model("strong_solver"), self.plan
        cut = {key for key, made in plan.done.items() if cut_off(made)}
        if not cut or own.max_tokens is None or self.stop.is_set():
            return {}
        wider = own.model_copy(update={"max_tokens": MORE_TOKENS * own.max_tokens})
        settings = with_model(self.session.settings, "strong_solver", wider)
        context = await asyncio.to_thread(
            open_run_context, self.session.folder, self.run.id, settings, packaged(),
            wait=self.session.wait,
        )  # fmt: skip
        asked = [q for q in plan.questions if (q[0], q[1].number) in cut]
        more = replace(plan, questions=asked, sides=("strong",), done={})
        try:
            await probe(context, more)
        finally:
            await context.aclose()
        return more.done

    def tell(self, ledger: Ledger, status: RunStatus) -> int:
        """Nothing more than the session says."""
        return DONE


def with_model(settings: Settings, role: str, model: ModelConfig) -> Settings:
    """The settings with another model in one role, and every other role as it is."""
    models = {name: settings.model(name) for name in settings.roles}
    return settings.model_copy(update={"models": {**models, role: model}})


@dataclass(frozen=True)
class CeilingSearch:
    """The search for what limits the yield of a pilot in a folder: each thing raised by itself.

    `challenger` is another one to try, if any; `control` are documents that suffice for good
    questions. Each of these, and another passage of what gave no example, is a run in a folder of
    its own inside the pilot's. One budget bounds all of it.
    """

    folder: RunFolder
    settings: Settings
    console: Console
    wait: bool
    challenger: ModelConfig | None
    control: Sequence[Document]

    def search(self, run: RunRow) -> tuple[int, Ceiling | None]:
        """The exit code and, where it is not one of a pause, what was found."""
        with Ledger.open(self.folder.path, create=False) as ledger:
            pilot = pilot_documents(ledger, run.id)
            own = [ledger.document(id) for id in pilot]
            questions = len(attempted_questions(ledger, run.id))
        failed = [document for document in own if not pilot[document.id].accepted]
        budget = self.settings.run.passage_tokens
        others, lacking = other_passages(failed, list(pilot), budget=budget)
        ways = {
            "challenger": own if self.challenger else [],
            "passages": others,
            "documents": self.control,
        }
        self._say_beforehand(run, list(pilot.values()), questions, ways, lacking)
        settings = self._within_budget(self.folder)
        session = ProbeSession(self.folder, settings, self.console, self.wait, run=run)
        if (code := session.measure()) not in (DONE, FAILED):
            return code, None
        state = State(task=run.task, choices=self.settings.choices)
        bounds, tried = measuring(state).bounds, first_rounds(pilot.values())
        found = find_ceiling(session.probed, bounds, tried)
        if found.limit in ("elicitation", "judge noise") or found.gap is None:
            return code, found
        made = dict[str, list[PilotDocument]]()
        for name, documents in ways.items():
            if not documents or (name == "documents" and found.limit == name):
                continue
            code, made[name] = self._tried_with(name, documents)
            if code not in (DONE, FAILED):
                return code, None
            found = find_ceiling(
                session.probed, bounds, tried,
                challenger=first_rounds(made.get("challenger", ())),
                passages=rounds_by_source(made.get("passages", ())),
                documents=first_rounds(made.get("documents", ())),
            )  # fmt: skip
        return code, found._replace(without_passage=len(lacking))

    def _say_beforehand(
        self,
        run: RunRow,
        pilot: Sequence[PilotDocument],
        questions: int,
        ways: Mapping[str, Sequence[Document]],
        lacking: Mapping[str, str],
    ) -> None:
        """What the search asks for at the most, before it asks for anything."""
        choices = self.settings.choices
        attempts = max(planned(State(task=run.task, choices=choices)))
        fresh = questions * 2 * attempts * (1 + max(judgements(choices), JUDGEMENTS))
        told = {WAYS[name]: len(documents) for name, documents in ways.items() if documents}
        self.console.print("To find what limits the yield, at the most:", style="bold")
        for line in asked_beforehand(pilot, fresh, told, self._rounds(run.task)):
            self.console.print(f"  {line}", soft_wrap=True)
        for name, reason in lacking.items():
            self.console.print(f"  {name}: {reason}", style="dim", soft_wrap=True)

    def _rounds(self, task: str) -> int:
        return min(TRIED_ROUNDS, self.settings.choices.rounds or TASKS[task].rounds)

    def _arm(self, name: str) -> RunFolder:
        return RunFolder(self.folder.path / f"ceiling-{name}")

    def _within_budget(self, folder: RunFolder) -> Settings:
        """The settings with what the other folders of this search leave of the budget."""
        spent = []
        for other in (self.folder, *map(self._arm, WAYS)):
            if other != folder and other.holds_run:
                with closing(CallLog(other.path / FILE)) as log:
                    spent.append(log.spent())
        return self.settings.model_copy(update={"budget": self.settings.budget.less(spent)})

    def _tried_with(
        self, name: str, documents: Sequence[Document]
    ) -> tuple[int, list[PilotDocument]]:
        """A run over these documents, with the other challenger where that is what is tried."""
        folder = self._arm(name)
        settings = self._within_budget(folder)
        if name == "challenger" and self.challenger:
            settings = with_model(settings, name, self.challenger)
        limits = {"rounds": self._rounds(settings.run.task or ""), "target": None}
        run = settings.run.model_copy(update=limits)
        session = PilotSession(
            folder, settings.model_copy(update={"run": run}), self.console, self.wait,
            sample=frozenset(document.id for document in documents),
        )  # fmt: skip
        code = session.begin(documents)
        with Ledger.open(folder.path, create=False) as ledger:
            return code, list(pilot_documents(ledger, ledger.run().id).values())
