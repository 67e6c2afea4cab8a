"""The graphs that LangGraph's server serves, what it tells of their folders, and whom it lets in;
`langgraph.json` names all of it in module form.

Importing opens nothing. The first document opens the run folder that AUTODATA_RUN names
(runs/studio unless it is set), the first iteration that of AUTODATA_OPTIMIZATION
(runs/studio-optimizer), with the settings of ./autodata.yaml if there is one. Where no optimization
was begun, one begins over the demo documents, with a prompt store inside the folder. Each key has a
run folder of its own, beside that of AUTODATA_RUN; all of them call models within the same limits.
"""

import asyncio
import atexit
import os
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

from langgraph_sdk.runtime import ServerRuntime
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool

from autodata.assembly import documents_in_flight, open_context_of_all, resolve
from autodata.board.access import SERVED_RUN, AccessError, BearerKey, hook, key_file
from autodata.board.api import served
from autodata.commands.board import door, other_hosts
from autodata.documents.corpus import Ingest, ingest
from autodata.graph.batch import AgentTools, Submissions, build_batch, build_example
from autodata.graph.build import build
from autodata.graph.context import RunContext
from autodata.graph.state import RunChoices, nearest
from autodata.ledger.ledger import Ledger
from autodata.ledger.rows import RunRow
from autodata.models.budget import Budget
from autodata.models.client import Models
from autodata.models.config import endpoint
from autodata.models.errors import Interrupted
from autodata.models.registry import ModelRegistry
from autodata.optimization import (
    open_context,
    optimization_row,
    plan_of,
    planned,
    reviewed,
)
from autodata.optimizer import loop
from autodata.optimizer.population import OptimizationContext
from autodata.optimizer.state import OptimizerState, SearchChoices
from autodata.prompt_store.store import Store
from autodata.run_folder import RunFolder
from autodata.settings import Settings, SettingsError, faults, load
from autodata.studio import with_assistants
from autodata.tasks import TASKS
from autodata.tasks.types import Document, digest

OF_A_PLAN = "studio-"  # how optimizations begin to be called that were begun for a stated plan
TRAINING = 4  # of the demo documents; the others are for validation

OPTIMIZATION = ("AUTODATA_OPTIMIZATION", "runs/studio-optimizer")

T = TypeVar("T")
_opener = ThreadPoolExecutor(max_workers=1)
_registry: list[ModelRegistry] = []  # the one through which all callers' calls go


def _place(variable: str, default: str) -> Path:
    return Path(os.environ.get(variable, default))


def _place_of(owner: str) -> Path:
    """The run folder of a key."""
    open_to_all = _place(*SERVED_RUN)
    return open_to_all.parent / f"{open_to_all.name}-keys" / owner


keys = key_file()


def once(place: Callable[[], Path], open_in: Callable[[RunFolder], T]) -> Callable[[], T]:
    """Opens the folder at this place when first called; keeps it until the process ends.

    One thread opens: no two documents do it at once, and a forked run may begin in an async node,
    where the server forbids touching files. Raises what `open_in` raises, and RunFolderError.
    """
    opened = list[T]()

    def open_it() -> T:
        if not opened:
            folder = RunFolder(place()).fresh()
            with ExitStack() as undo:
                undo.enter_context(folder.locked())
                opened.append(open_in(folder))
                atexit.register(undo.pop_all().close)
        return opened[0]

    return lambda: opened[0] if opened else _opener.submit(open_it).result()


def _run_context(folder: RunFolder) -> RunContext:
    context = open_context_of_all(folder, _settings())
    _registry.append(context.models.registry)
    context.models.registry = _registry[0]
    return context


@cache
def _settings() -> Settings:
    """Read once: whoever comes later calls the same models."""
    return load()


@cache
def _context_of(owner: str) -> Callable[[], RunContext]:
    return once(lambda: _place_of(owner), _run_context)


def context_of(key: BearerKey) -> RunContext:
    """What documents of this caller are worked on with: a run folder and a budget of its own, the
    models and their limits in common. Blocks when first called.

    Raises as `open_run_context`, UnknownPrice for a budget in USD that cannot be kept.
    """
    context = _context_of(key.name)()
    _limit(context.models, key)
    return replace(context, tasks=key.tasks)


def _limit(models: Models, key: BearerKey) -> None:
    """Keeps to the budget of the key."""
    budget = _budget(key)
    for config in models.registry.models.values() if budget.usd is not None else ():
        models.prices.check(config, endpoint(config.endpoint, models.registry.configs))
    models.budget_tracker.budget = budget
    models.budget_tracker.permitted = lambda: asyncio.to_thread(_go_on, key.name)


def _opening(name: str) -> BearerKey:
    """The key of this name. Raises AccessError for its holder, who is told of no other key."""
    try:
        return keys.named(name)
    except AccessError as error:
        raise AccessError(f"the key {name} opens nothing here any more") from error


def _go_on(name: str) -> None:
    """Raises Interrupted where the key was removed: nothing is spent for it from then on."""
    try:
        _opening(name)
    except AccessError as error:
        raise Interrupted(str(error), "What was answered is on record") from error


class Optimizations:
    """The optimizations of a folder, each opened when it is first asked for."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._open: dict[str, OptimizationContext] = {}

    def __call__(self, state: OptimizerState) -> OptimizationContext:
        """The one that a state names; without a name that of its plan, begun where there is none.

        Raises ValueError for documents that a caller may not name, SettingsError for a plan that
        cannot be.
        """
        known = self._open.get(state.optimization)
        return known or _opener.submit(self._opened, state).result()

    def _opened(self, state: OptimizerState) -> OptimizationContext:
        with Ledger.open(self._folder.path) as ledger:
            run = self._run(ledger, state)
        settings = load(self._folder.config)
        ours = settings.run.model_copy(update={"task": run.task})
        at = settings.prompts.model_copy(update={"revision": run.prompts_revision})
        settings = settings.model_copy(update={"run": ours, "prompts": at})
        if run.id not in self._open:
            opened = open_context(self._folder.path, run, settings, plan_of(run))
            self._open[run.id] = opened
        return self._open[run.id]

    def _run(self, ledger: Ledger, state: OptimizerState) -> RunRow:
        if state.optimization:
            return ledger.run(state.optimization)
        begun = ledger.runs()
        unstated = [run for run in begun if not run.id.startswith(OF_A_PLAN)]
        if unstated and not state.stated:
            return unstated[0]
        sides = _sides(ledger, state)
        search = {name: getattr(state, name) for name in SearchChoices.model_fields}
        if not state.stated:
            search["minibatch"] = TRAINING
        search["review"] = search["review"] or reviewed(_settings())[1]
        plan = planned(sides, search)
        own = f"{OF_A_PLAN}{state.task}-{digest(state.task, plan.model_dump(mode='json'))[:8]}"
        if known := [run for run in begun if run.id == own]:
            return known[0]
        ledger.add_documents(document for found in sides.values() for document in found)
        settings = self._settings(state.task)
        if not self._folder.config.exists():
            self._folder.keep(settings)
        run = optimization_row(settings, plan)
        run = run.model_copy(update={"id": own}) if state.stated else run
        ledger.start_run(run)
        return run

    def _settings(self, task: str) -> Settings:
        """The settings of an optimization that begins now, with a prompt store in the folder unless
        the folder has another one."""
        kept = self._folder.config
        settings, path = load(kept) if kept.exists() else _settings(), self._folder.path / "prompts"
        settings, _ = reviewed(settings)
        if not kept.exists():
            Store.init(path)
            at = settings.prompts.model_copy(update={"path": str(path)})
            settings = settings.model_copy(update={"prompts": at})
        at = settings.prompts.model_copy(update={"revision": None})
        rounds = settings.run.rounds or 4
        ours = settings.run.model_copy(update={"task": task, "rounds": rounds})
        return resolve(settings.model_copy(update={"run": ours, "prompts": at}), task)[0]


def _sides(ledger: Ledger, state: OptimizerState) -> dict[str, list[Document]]:
    """The documents for each purpose; the demo documents where none are stated."""
    if TASKS[state.task].procedure:
        raise ValueError(f"{state.task} has no prompt to improve: code writes its questions")
    if not (state.training or state.validation or state.test):
        demo = list(ingest([str(files("autodata").joinpath("demo", state.task))]))
        return {"training": demo[:TRAINING], "validation": demo[TRAINING:]}
    if not (state.training and state.validation):
        raise ValueError("state both training and validation documents; those for test are free")
    return {
        side: [document for name in getattr(state, side) for document in _named(ledger, name)]
        for side in ("training", "validation", "test")
    }


def _named(ledger: Ledger, name: str) -> list[Document]:
    """The document with this id, or those of a folder that callers may name."""
    if name in ledger.document_ids():
        return [ledger.document(name)]
    return list(_folder(name)[1])


def _folder(named: str) -> tuple[Path, Ingest]:
    """Where a folder is below the one that AUTODATA_DOCUMENTS names, and its documents, cut as the
    configuration has it. Raises ValueError for any other, CorpusError where there are none."""
    root = os.environ.get(DOCUMENTS)
    if not root:
        raise ValueError(
            f"this server reads no folders; {DOCUMENTS} names the one that it may, or send texts"
        )
    top = os.path.realpath(root)
    place = "" if "\0" in named else os.path.realpath(os.path.join(top, named))
    if not Path(place).is_relative_to(top):
        raise ValueError(f"{named!r} is not below the folder of documents of this server")
    if not os.path.isdir(place):
        raise ValueError(f"there is no folder {named!r} among the documents of this server")
    run = _settings().run
    read = ingest([place], per_document=run.per_document, budget=run.passage_tokens)
    return Path(place), read


DOCUMENTS = "AUTODATA_DOCUMENTS"

run_context = once(lambda: _place(*SERVED_RUN), _run_context)


@cache
def _graphs(key: BearerKey | None) -> Mapping[str, Any]:
    """The graphs of one caller, or of everybody where there are no keys."""
    context = run_context if key is None else lambda: context_of(key)
    submissions = Submissions(context, lambda: documents_in_flight(_settings()), _folder)
    return {
        "autodata": build(context),
        "batch": build_batch(submissions),
        "example": build_example(submissions),
    }


autodata, batch, example = _graphs(None).values()
_optimizations = once(lambda: _place(*OPTIMIZATION), Optimizations)
optimizer = loop.build(lambda state: _optimizations()(state))
auth = hook(keys)


async def key_of(runtime: ServerRuntime[Any]) -> BearerKey | None:
    """The caller's key; None where the server has none. Raises AccessError where it was removed."""
    name = runtime.user.identity if runtime.user else ""
    return await run_in_threadpool(_opening, name) if name else None


def checked(name: str) -> Callable[[ServerRuntime[Any]], Awaitable[Any]]:
    """Serves a graph to one request. What it makes raises ValueError at a choice that there is not,
    or cannot be, AccessError for a caller whose key was removed.

    LangGraph's server drops keys of the context that the form does not have, without a word.
    """

    async def serve(runtime: ServerRuntime[Any]) -> Any:
        execution = runtime.execution_runtime
        context = (execution and execution.context) or {}
        for key in context:
            if key not in RunChoices.model_fields:
                known = nearest(key, RunChoices.model_fields, "the choices")
                raise ValueError(f"there is no choice {key!r}{known}")
        try:
            RunChoices.model_validate(context)
        except ValidationError as error:
            raise ValueError("; ".join(said for _, said in faults(error, context))) from error
        return _graphs(await key_of(runtime))[name]

    return serve


serve_autodata, serve_batch, serve_example = map(checked, ("autodata", "batch", "example"))


async def serve_optimizer(runtime: ServerRuntime[Any]) -> Any:
    """The optimizer, for a server without keys: what it spends is nobody's budget. Raises
    ValueError."""
    if runtime.execution_runtime and await key_of(runtime):
        raise ValueError(
            "the optimizer is not open to keys: `autodata optimize`, or a server without keys on "
            "this machine"
        )
    return optimizer


def _shown_to(owner: str) -> list[Path]:
    """The folders of which a caller is told."""
    return [_place_of(owner)] if owner else [_place(*SERVED_RUN), _place(*OPTIMIZATION)]


def _budget(key: BearerKey | None) -> Budget:
    """That of the key, and where it states none that of the configuration."""
    return _settings().budget.model_copy(update=key.budget.stated if key else {})


def _known(owner: str) -> Mapping[str, Any]:
    """What the routes say of this server; a configuration that cannot be read is a problem."""
    said = {
        "version": version("autodata-loop"),
        "needed": keys.needed,
        "folder": _place(*SERVED_RUN),
    }
    try:
        budget = _budget(keys.named(owner) if owner else None)
    except SettingsError as error:
        return {**said, "simulated": None, "budget": None, "problem": str(error)}
    return {
        **said,
        "simulated": _settings().simulated,
        "budget": budget.model_dump(),
        "problem": "",
    }


app = served(_shown_to, door(), other_hosts(), _known, keys, with_assistants, [AgentTools])
