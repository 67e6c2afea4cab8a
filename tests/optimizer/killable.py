"""An optimization in a process of its own that may be killed at any moment."""

import asyncio
from multiprocessing.process import BaseProcess
from pathlib import Path

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


def started(folder: Path) -> BaseProcess:
    """The process, which has only just begun."""
    return forked(_run, folder)


def _run(folder: Path) -> None:
    with optimization_context(folder, **CHOICES) as context:
        asyncio.run(optimize(context))
