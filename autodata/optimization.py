"""One sitting of an optimization: from the lock on its folder to what it found, however it ends."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from rich.console import Console

from autodata.assembly import DEFAULT_STORE, documents_in_flight, open_models, resolve, run_row
from autodata.ending import stop_on_signals, to_its_end
from autodata.ledger.calls import CallLog
from autodata.ledger.ledger import FILE, Ledger
from autodata.ledger.rows import RunRow
from autodata.optimization_screen import iteration_line, print_result, watched
from autodata.optimizer.context import OptimizationContext
from autodata.optimizer.evaluator import Evaluator
from autodata.optimizer.guard import Sources
from autodata.optimizer.loop import optimize
from autodata.optimizer.population import Population
from autodata.optimizer.state import Plan
from autodata.prompt_store.store import Store
from autodata.run_folder import RunFolder, RunFolderError
from autodata.settings import Settings, SettingsError, changes
from autodata.tasks.types import Document

PLAN = "optimize"  # where a run's configuration keeps the plan
MAY_CHANGE = (f"{PLAN}.iterations",)  # a longer run of the same kind goes on from a shorter one


@dataclass(frozen=True)
class Optimization:
    """A run folder, the settings to optimize with, and where to tell about it."""

    folder: RunFolder
    settings: Settings
    console: Console
    wait: bool = False

    def begin(
        self,
        training: Sequence[Document],
        validation: Sequence[Document],
        test: Sequence[Document],
        choices: Mapping[str, Any],
    ) -> int:
        """Begins an optimization, or goes on with the one that is there. Returns the exit code.

        Raises RunFolderError, LedgerError, SettingsError, StoreError before a model is asked.
        """
        sides = {"training": training, "validation": validation, "test": test}
        plan = planned({n: [d.id for d in docs] for n, docs in sides.items()}, choices)
        with self.folder.fresh().locked():
            settings = self._with_store()
            with Ledger.open(self.folder.path) as ledger:
                run = next(reversed(ledger.runs()), None)
                if run is None:
                    ledger.add_documents([*training, *validation, *test])
                    run = optimization_row(settings, plan)
                    ledger.start_run(run)
                self._check_unchanged(run, settings, plan)
            return self._sit(run, settings, plan)

    def go_on(self) -> int:
        """Goes on with the optimization that is there. Returns the exit code; raises as `begin`."""
        with self.folder.existing().locked():
            with Ledger.open(self.folder.path, create=False) as ledger:
                run = ledger.run()
            plan, settings = plan_of(run), self._with_store()
            self._check_unchanged(run, settings, plan)
            return self._sit(run, settings, plan)

    def _with_store(self) -> Settings:
        """The settings, resolved, with a prompt store; a new one where there is none yet."""
        path = Path(self.settings.prompts.path or DEFAULT_STORE)
        if not path.exists():
            Store.init(path)
            self.console.print(f"A prompt store was created at {path}, from the packaged prompts.")
        store = self.settings.prompts.model_copy(update={"path": str(path)})
        settings = self.settings.model_copy(update={"prompts": store})
        return resolve(settings, settings.run.task or "")[0]

    def _check_unchanged(self, run: RunRow, settings: Settings, plan: Plan) -> None:
        if run.kind != "optimization":
            raise RunFolderError(f"{self.folder.path} holds a run of another kind; name a new one")
        found = changes(run.config, _config(settings, plan))
        self.folder.refuse([_readable(c) for c in found if not c.startswith(MAY_CHANGE)])

    def _sit(self, run: RunRow, settings: Settings, plan: Plan) -> int:
        self.folder.keep(settings)
        context = open_context(self.folder.path, run, settings, plan, wait=self.wait)
        context.ledger.set_status("running", run.id)
        ending = to_its_end(self._work(context), self.folder, run.id)
        with Ledger.open(self.folder.path) as ledger:
            print_result(self.console, ledger, run, ending.status)
        return ending.tell(self.console, self.folder)

    async def _work(self, context: OptimizationContext) -> None:
        """All iterations and the final evaluation. Raises Paused."""
        context.on_record = lambda iteration: self.console.print(
            iteration_line(iteration), soft_wrap=True
        )
        stop_on_signals(self.console, context.evaluator.stop, context.evaluator.models)
        try:
            async with watched(self.console, context):
                await optimize(context)
        finally:
            await close(context)


def planned(documents: Mapping[str, Sequence[str]], choices: Mapping[str, Any]) -> Plan:
    """The plan for these documents. Raises SettingsError."""
    said = {name: value for name, value in choices.items() if value is not None}
    try:
        return Plan.model_validate({**documents, **said})
    except ValidationError as error:
        faults = [
            ": ".join([*map(str, e["loc"]), e["msg"].removeprefix("Value error, ")])
            for e in error.errors()
        ]
        raise SettingsError("; ".join(faults)) from error


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
    ledger, log = Ledger.open(folder), CallLog(folder / FILE)
    models = open_models(settings, log, run.id, wait=wait)
    evaluator = Evaluator(
        run=run,
        task=settings.run.task or "cs",
        choices=settings.choices,
        models=models,
        ledger=ledger,
        log=log,
        in_flight=documents_in_flight(settings),
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
    for closing in (context.evaluator.equivalence, context.evaluator.log, context.ledger):
        await asyncio.to_thread(closing.close)


def _readable(change: str) -> str:
    """A change of documents without their ids."""
    key, _, values = change.partition(": ")
    return f"{key}: other documents" if "['" in values else change


def _config(settings: Settings, plan: Plan) -> dict[str, Any]:
    return settings.plain() | {PLAN: plan.model_dump(mode="json")}
