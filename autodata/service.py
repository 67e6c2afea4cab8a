"""The graphs that LangGraph's server serves; `langgraph.json` names them in module form.

Importing opens nothing. The first document opens the run context: settings from ./autodata.yaml if
there is one, and the run folder that AUTODATA_RUN names (runs/studio unless it is set).
"""

import atexit
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import cache
from pathlib import Path

from autodata.assembly import open_run_context, resolve, run_row
from autodata.graph.build import build
from autodata.graph.context import RunContext
from autodata.ledger.ledger import Ledger
from autodata.run_folder import RunFolder
from autodata.settings import Settings, load
from autodata.tasks import TASKS
from autodata.tasks.types import digest

# One thread: no two documents open the run context at once, and a forked run may begin in an async
# node, where the server forbids touching files.
_opener = ThreadPoolExecutor(max_workers=1)


def context() -> RunContext:
    """The context of this server, opened when it is first needed."""
    return _opener.submit(_opened).result()


@cache
def _opened() -> RunContext:
    """Keeps the run folder to this process until it ends."""
    folder = RunFolder(Path(os.environ.get("AUTODATA_RUN", "runs/studio"))).fresh()
    until_exit = ExitStack()
    until_exit.enter_context(folder.locked())
    atexit.register(until_exit.close)
    settings, runs = load(), dict[str, str]()
    with Ledger.open(folder.path) as ledger:
        for task in TASKS:
            resolved, prompts = resolve(settings, task)
            runs[task] = _run(ledger, resolved)
    return open_run_context(folder, runs[task], resolved, prompts, run_by_task=runs)


def _run(ledger: Ledger, settings: Settings) -> str:
    """The id of the run with these settings: that of an earlier server, or a new one."""
    run_id = f"studio-{settings.run.task}-{digest(settings.plain())[:8]}"
    if all(run.id != run_id for run in ledger.runs()):
        ledger.start_run(run_row(settings, run_id))
    return run_id


autodata = build(context)
