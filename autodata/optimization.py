"""An optimization: its plan, its row, what it works with, its session, and what it shows:
a line per iteration while it works, and what it found."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from rich.console import Console
from rich.text import Text

from autodata.assembly import (
    DEFAULT_STORE,
    documents_in_flight,
    open_log,
    open_models,
    resolve,
    run_row,
)
from autodata.ledger.iterations import Iteration, finals, iterations
from autodata.ledger.ledger import Ledger
from autodata.ledger.reviews import waiting_edits
from autodata.ledger.rows import RunRow, RunStatus
from autodata.ledger.summary import NOTICE, waiting_line
from autodata.models.client import Models
from autodata.models.errors import ReviewsWait
from autodata.optimizer.acceptance import verdict
from autodata.optimizer.evaluator import Evaluator
from autodata.optimizer.finals import findings, parent_score_of, score_of, seen_by
from autodata.optimizer.guard import Sources
from autodata.optimizer.loop import optimize
from autodata.optimizer.population import OptimizationContext, Population
from autodata.optimizer.state import Plan, repeated
from autodata.options import DONE
from autodata.progress import spent, tell_now_and_then
from autodata.prompt_store.store import Store, champion_ref
from autodata.session import Session
from autodata.settings import Settings, SettingsError, without_baseline
from autodata.tasks.types import Document

PLAN = "optimize"  # where a run's configuration keeps the plan
OPTIMIZATION_MAY_CHANGE = (
    f"{PLAN}.iterations",
)  # a longer run of the same kind goes on from a shorter one


@dataclass(frozen=True)
class OptimizationSession(Session):
    """A session of an optimization; `plan` is None to go on with the one that is there."""

    kind = "optimization"
    may_change = OPTIMIZATION_MAY_CHANGE

    plan: Plan | None = None

    def resolved(self, task: str) -> Settings:
        """With a prompt store; a new one where there is none yet."""
        path = Path(self.settings.prompts.path or DEFAULT_STORE)
        if not path.exists():
            Store.init(path)
            self.console.print(f"A prompt store was created at {path}, from the packaged prompts.")
        store = self.settings.prompts.model_copy(update={"path": str(path)})
        return resolve(self.settings.model_copy(update={"prompts": store}), task)[0]

    def row(self, settings: Settings) -> RunRow:
        assert self.plan is not None
        return optimization_row(settings, self.plan)

    def config(self, run: RunRow, settings: Settings) -> dict[str, Any]:
        return _config(settings, self._plan(run))

    def opened(self, run: RunRow, settings: Settings) -> "OptimizationWork":
        """The iterations that are not made yet."""
        plan = self._plan(run)
        context = open_context(self.folder.path, run, settings, plan, wait=self.wait)
        return OptimizationWork(self.console, context, run)

    def _plan(self, run: RunRow) -> Plan:
        """The plan to work by: as asked for, and scored as the run was begun unless said."""
        begun = plan_of(run)
        if self.plan is None or "score" in self.plan.model_fields_set:
            return self.plan or begun
        return self.plan.model_copy(update={"score": begun.score})

    def worded(self, change: str) -> str:
        """A change of documents without their ids."""
        key, _, values = change.partition(": ")
        return f"{key}: other documents" if "['" in values else change


@dataclass(frozen=True)
class OptimizationWork:
    """The iterations of an optimization, and the final evaluation."""

    console: Console
    context: OptimizationContext
    run: RunRow

    @property
    def models(self) -> Models:
        return self.context.evaluator.models

    @property
    def stop(self) -> asyncio.Event:
        return self.context.evaluator.stop

    async def to_the_end(self) -> None:
        """All iterations and the final evaluation. Raises Paused."""
        documents = len(self.context.plan.validation)
        self.context.on_record = lambda iteration: self.console.print(
            iteration_line(iteration, documents), soft_wrap=True
        )
        try:
            if seen := await asyncio.to_thread(seen_by, self.context):
                self.console.print(
                    f"Test documents that were used before, by {', '.join(seen)}: they are not "
                    "sealed any more, and a gain on them is less sure. Name new ones if you can.",
                    style="yellow",
                    soft_wrap=True,
                )
            async with watched(self.console, self.context):
                await optimize(self.context)
                while await self._answered_meanwhile():
                    await optimize(self.context)
        finally:
            await close(self.context)
        if waiting := self.context.waiting:
            raise ReviewsWait(
                f"paused: {waiting_line(len(waiting))}",
                f"`autodata review {self.context.folder}` asks you about each",
            )

    async def _answered_meanwhile(self) -> bool:
        """Whether a person has reviewed an edit since it was put down."""
        found = await asyncio.to_thread(waiting_edits, self.context.ledger, self.run.id)
        left = self.context.waiting & {edit.number for edit in found}
        return left < self.context.waiting and not self.stop.is_set()

    def tell(self, ledger: Ledger, status: RunStatus) -> int:
        """What the optimization found so far, and what to do with it."""
        print_result(self.console, ledger, self.run, status)
        return DONE


def planned(sides: Mapping[str, Sequence[Document]], choices: Mapping[str, Any]) -> Plan:
    """The plan for the documents of each purpose, each once. Raises SettingsError, among it for
    documents that serve two purposes."""
    if shared := repeated(sides):
        raise SettingsError("; ".join(shared))
    ids = {name: list(dict.fromkeys(d.id for d in found)) for name, found in sides.items()}
    said = {name: value for name, value in choices.items() if value is not None}
    try:
        return Plan.model_validate({**ids, **said})
    except ValidationError as error:
        faults = [
            ": ".join([*map(str, e["loc"]), e["msg"].removeprefix("Value error, ")])
            for e in error.errors()
        ]
        raise SettingsError("; ".join(faults)) from error


def reviewed(settings: Settings) -> tuple[Settings, str | None]:
    """The settings, and what they say of reviews that an optimization has; its plan keeps that.
    Raises SettingsError where they name a baseline."""
    without_baseline(settings, "an optimization")
    if settings.run.review != "before_keep":
        return settings, None
    run = settings.run.model_copy(update={"review": None})
    return settings.model_copy(update={"run": run}), "before_keep"


def plan_of(run: RunRow) -> Plan:
    """The plan that an optimization was begun with."""
    return Plan.model_validate(run.config[PLAN])


def optimization_row(settings: Settings, plan: Plan) -> RunRow:
    """The row of an optimization that begins now."""
    row = run_row(settings)
    agents = {
        role: f"{settings.model(role).endpoint}/{settings.model(role).model}"
        for role in ("analyst", "editor")
    }
    update = {
        "kind": "optimization",
        "config": _config(settings, plan),
        "models": {**row.models, **agents},
    }
    return row.model_copy(update=update)


def open_context(
    folder: Path, run: RunRow, settings: Settings, plan: Plan, *, wait: bool = False
) -> OptimizationContext:
    """The context of an optimization, to be closed by `close`."""
    ledger, log = Ledger.open(folder), open_log(folder, run.id, settings)
    models = open_models(settings, log, run.id, wait=wait)
    evaluator = Evaluator(
        run=run,
        task=run.task,
        # It asks no person, and judges each document for itself.
        choices=settings.choices.model_copy(update={"review": None, "diversity": False}),
        models=models,
        ledger=ledger,
        log=log,
        in_flight=documents_in_flight(settings),
        score=plan.score,
    )
    documents = (*plan.training, *plan.validation, *plan.test)
    return OptimizationContext(
        plan=plan,
        evaluator=evaluator,
        population=Population(
            plan, evaluator, Store.open(Path(settings.prompts.path or DEFAULT_STORE))
        ),
        folder=folder,
        sources=Sources.of(ledger.document(d).text for d in documents),
    )


async def close(context: OptimizationContext) -> None:
    """Closes connections, worker process and files; the models first."""
    await context.evaluator.models.aclose()
    for closing in (context.evaluator.comparisons, context.evaluator.log, context.ledger):
        await asyncio.to_thread(closing.close)


def _config(settings: Settings, plan: Plan) -> dict[str, Any]:
    return settings.plain() | {PLAN: plan.model_dump(mode="json")}


EVERY = 10.0  # seconds between two lines about calls
ITERATION_STYLES = {
    "start": "bold",
    "kept": "green",
    "rejected": "dim",
    "invalid": "red",
    "indecisive": "yellow",
}


@asynccontextmanager
async def watched(console: Console, context: OptimizationContext) -> AsyncIterator[None]:
    """Tells now and then how many calls were made, until the block ends."""
    models = context.evaluator.models

    def line() -> Text:
        used = models.budget_tracker.spent
        worded = spent(used.calls, used.usd, context.evaluator.run.models.values())
        return Text(f"… {worded}, {used.tokens:,} tokens", style="dim")

    ticker = asyncio.create_task(tell_now_and_then(console, models, EVERY, line))
    try:
        yield
    finally:
        ticker.cancel()
        with suppress(asyncio.CancelledError):
            await ticker


def iteration_line(i: Iteration, documents: int) -> Text:
    """One iteration over so many documents: decision, score against the parent's, what the edit
    says or why not."""
    line = Text(f"{i.number:>4}  ", style="bold").append(
        f"{i.decision:<10} ", ITERATION_STYLES[i.decision]
    )
    own = score_of(i, documents)
    against = f"{own} against {parent_score_of(i, documents)}" if i.parent_score else ""
    line.append(f"{against or own:<34} ")
    said = i.subject or i.reason
    why = f" ({i.reason})" if i.decision in ("invalid", "indecisive") else ""
    if i.review:
        why = f" ({': '.join(filter(None, (i.review.said, i.review.reason)))})"
    return line.append(f"{said}{why}")


def print_result(console: Console, ledger: Ledger, run: RunRow, status: str) -> None:
    """What the optimization found so far, and what to do with it."""
    made, final = iterations(ledger, run.id), finals(ledger, run.id)
    console.print()
    console.print(Text(f"{run.task} optimization {run.id}: {status}", style="bold"))
    for line in findings(made, final):
        console.print(line, soft_wrap=True)
    if waiting := len(waiting_edits(ledger, run.id)):
        asks = f"{waiting_line(waiting)}; `autodata review` asks you about each"
        console.print(asks, soft_wrap=True)
    if run.simulated:
        console.print(NOTICE, style="yellow", soft_wrap=True)
    if verdict(final).offers:
        store = run.config["prompts"]["path"]
        branch = champion_ref(run.id).removeprefix("refs/heads/")
        console.print(
            f"Review it with: autodata prompts log --store {store}\n"
            f"                autodata prompts diff main {branch} --store {store}\n"
            f"Adopt it with:  autodata prompts adopt {branch} --store {store}",
            soft_wrap=True,
        )
