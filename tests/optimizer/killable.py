"""An optimization in a process of its own that may be killed at any moment."""

import asyncio
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path

from autodata.optimizer.loop import optimize
from tests.optimizer.context import optimization_context

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
    """The process, forked from one that has imported everything: imports cost three seconds."""
    forks = get_context("forkserver")
    forks.set_forkserver_preload([__name__])
    process = forks.Process(target=_run, args=(folder,))
    process.start()
    return process


def _run(folder: Path) -> None:
    with optimization_context(folder, **CHOICES) as context:
        asyncio.run(optimize(context))
