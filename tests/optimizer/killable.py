"""An optimization in a process of its own that may be killed at any moment."""

import asyncio
import os
import signal
import sqlite3
import threading
import time
from contextlib import closing
from multiprocessing.process import BaseProcess
from pathlib import Path

from autodata.ledger.ledger import FILE
from autodata.optimizer.loop import optimize
from tests.optimizer.context import optimization_context
from tests.processes import forked

CHOICES = {
    "iterations": 3,
    "parallel": 2,
    "training": 3,
    "validation": 2,
    "test": 1,
    "crossover": 0.0,
    "seed": 5,
}


def started(folder: Path, after: int) -> BaseProcess:
    """The process, which has only just begun and is killed after so many more calls.

    One of its own threads does that, so that it gets its turn wherever the others get theirs.
    """
    return forked(_run, folder, calls(folder) + after)


def calls(folder: Path, what: str = "count(*)") -> int:
    """Calls on record so far."""
    if not (folder / FILE).exists():
        return 0
    with closing(sqlite3.connect(folder / FILE)) as database:
        try:
            return int(database.execute(f"select {what} from calls").fetchone()[0])
        except sqlite3.OperationalError:  # killed before the table was made
            return 0


def _kill(folder: Path, goal: int) -> None:
    while calls(folder) < goal:
        time.sleep(0.005)
    os.kill(os.getpid(), signal.SIGKILL)


def _run(folder: Path, goal: int) -> None:
    threading.Thread(target=_kill, args=(folder, goal), daemon=True).start()
    with optimization_context(folder, **CHOICES) as context:
        asyncio.run(optimize(context))
