"""The graphs that LangGraph's server serves, and the board over their folders; `langgraph.json`
names them in module form.

Importing opens nothing. The first document opens the run folder that AUTODATA_RUN names
(runs/studio unless it is set), the first iteration that of AUTODATA_OPTIMIZATION
(runs/studio-optimizer), with the settings of ./autodata.yaml if there is one. Where no optimization
was begun, one begins over the demo documents, with a prompt store inside the folder.
"""

import atexit
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

from langgraph_sdk.runtime import ServerRuntime
from pydantic import ValidationError

from autodata.assembly import documents_in_flight, open_context_of_all, resolve
from autodata.commands.board import made
from autodata.documents.corpus import Ingest, ingest
from autodata.graph.batch import (
    AgentTools,
    Submissions,
    build_batch,
    build_example,
)
from autodata.graph.build import build
from autodata.graph.context import RunContext
from autodata.graph.state import RunChoices, nearest
from autodata.ledger.ledger import Ledger
from autodata.ledger.rows import RunRow
from autodata.optimization import open_context, optimization_row, plan_of, planned
from autodata.optimizer import loop
from autodata.optimizer.context import OptimizationContext
from autodata.prompt_store.store import Store
from autodata.run_folder import RunFolder
from autodata.settings import Settings, faults, load
from autodata.studio import with_assistants
from autodata.tasks import TASKS

OPTIMIZED = next(iter(TASKS))  # the task whose prompts the served optimizer edits
TRAINING = 4  # of the demo documents; the others are for validation

T = TypeVar("T")


def once(variable: str, default: str, open_in: Callable[[RunFolder], T]) -> Callable[[], T]:
    """Opens the folder that the variable names when first called; keeps it until the process ends.

    One thread opens: no two documents do it at once, and a forked run may begin in an async node,
    where the server forbids touching files. Raises what `open_in` raises, and RunFolderError.
    """
    opener, opened = ThreadPoolExecutor(max_workers=1), list[T]()

    def open_it() -> T:
        if not opened:
            folder = RunFolder(Path(os.environ.get(variable, default))).fresh()
            with ExitStack() as undo:
                undo.enter_context(folder.locked())
                opened.append(open_in(folder))
                atexit.register(undo.pop_all().close)
        return opened[0]

    return lambda: opened[0] if opened else opener.submit(open_it).result()


def _run_context(folder: RunFolder) -> RunContext:
    return open_context_of_all(folder, load())


def _optimization(folder: RunFolder) -> OptimizationContext:
    """Goes on with the optimization of the folder, or begins one."""
    settings = load(folder.config if folder.config.exists() else None)
    with Ledger.open(folder.path) as ledger:
        run = next(reversed(ledger.runs()), None)
        if run is None:
            settings = _with_store(settings, folder.path / "prompts")
            run = _begun(ledger, settings)
            folder.keep(settings)
    return open_context(folder.path, run, settings, plan_of(run))


def _with_store(settings: Settings, path: Path) -> Settings:
    """The settings, resolved, with a new prompt store."""
    Store.init(path)
    task = settings.run.model_copy(update={"task": OPTIMIZED, "rounds": settings.run.rounds or 4})
    store = settings.prompts.model_copy(update={"path": str(path), "revision": None})
    return resolve(settings.model_copy(update={"run": task, "prompts": store}), OPTIMIZED)[0]


def _begun(ledger: Ledger, settings: Settings) -> RunRow:
    """An optimization over the demo documents."""
    documents = list(ingest([str(files("autodata").joinpath("demo", OPTIMIZED))]))
    ledger.add_documents(documents)
    sides = {"training": documents[:TRAINING], "validation": documents[TRAINING:]}
    run = optimization_row(settings, planned(sides, {"minibatch": TRAINING}))
    ledger.start_run(run)
    return run


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
    run = load().run
    read = ingest([place], per_document=run.per_document, budget=run.passage_tokens)
    return Path(place), read


DOCUMENTS = "AUTODATA_DOCUMENTS"
RUN, OPTIMIZATION = (
    ("AUTODATA_RUN", "runs/studio"),
    ("AUTODATA_OPTIMIZATION", "runs/studio-optimizer"),
)

run_context = once(*RUN, _run_context)
submissions = Submissions(run_context, lambda: documents_in_flight(load()), _folder)

autodata = build(run_context)
batch = build_batch(submissions)
example = build_example(submissions)
optimizer = loop.build(once(*OPTIMIZATION, _optimization))
board = made([Path(os.environ.get(*named)) for named in (RUN, OPTIMIZATION)])
board.router.lifespan_context = with_assistants
board.add_middleware(AgentTools)


def checked(graph: T) -> Callable[[ServerRuntime[Any]], T]:
    """Serves a graph to one request. What it makes raises ValueError at a choice that there is not,
    or cannot be.

    LangGraph's server drops keys of the context that the form does not have, without a word.
    """

    def serve(runtime: ServerRuntime[Any]) -> T:
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
        return graph

    return serve


serve_autodata, serve_batch, serve_example = checked(autodata), checked(batch), checked(example)
