"""The outer loop as LangGraph's server serves it; `langgraph.json` names it in module form.

Importing opens nothing. The first iteration opens the run folder that AUTODATA_OPTIMIZATION names
(runs/studio-optimizer unless it is set). Where no optimization was begun there, one begins over the
demo documents, with the settings of ./autodata.yaml if there is one and a prompt store inside the
folder.
"""

import atexit
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import cache
from importlib.resources import files
from pathlib import Path

from autodata.assembly import resolve
from autodata.documents.corpus import ingest
from autodata.ledger.ledger import Ledger
from autodata.ledger.rows import RunRow
from autodata.optimization import open_context, optimization_row, plan_of, planned
from autodata.optimizer.context import OptimizationContext
from autodata.optimizer.loop import build
from autodata.prompt_store.store import Store
from autodata.run_folder import RunFolder
from autodata.settings import Settings, load
from autodata.tasks import TASKS

TASK = next(iter(TASKS))
TRAINING = 4  # of the demo documents; the others are for validation

_opener = ThreadPoolExecutor(1, "optimizer")  # opening blocks, and happens once


def context() -> OptimizationContext:
    """The context of this server, opened when it is first needed."""
    return _opener.submit(_opened).result()


@cache
def _opened() -> OptimizationContext:
    """Keeps the run folder to this process until it ends."""
    place = Path(os.environ.get("AUTODATA_OPTIMIZATION", "runs/studio-optimizer"))
    folder, until_exit = RunFolder(place).fresh(), ExitStack()
    until_exit.enter_context(folder.locked())
    atexit.register(until_exit.close)
    settings = load(folder.config if folder.config.exists() else None, [])
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
    task = settings.run.model_copy(update={"task": TASK, "rounds": settings.run.rounds or 4})
    store = settings.prompts.model_copy(update={"path": str(path), "revision": None})
    return resolve(settings.model_copy(update={"run": task, "prompts": store}), TASK)[0]


def _begun(ledger: Ledger, settings: Settings) -> RunRow:
    """An optimization over the demo documents."""
    documents = list(ingest([str(files("autodata").joinpath("demo", TASK))]))
    ledger.add_documents(documents)
    sides = {"training": documents[:TRAINING], "validation": documents[TRAINING:]}
    run = optimization_row(settings, planned(sides, {"minibatch": TRAINING}))
    ledger.start_run(run)
    return run


optimizer = build(context)
