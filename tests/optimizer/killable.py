"""`python -m tests.optimizer.killable FOLDER`: an optimization that may be killed at any moment."""

import asyncio
import sys
from pathlib import Path

from autodata.optimizer.loop import optimize
from tests.optimizer.context import optimization_context

CHOICES = {
    "iterations": 3,
    "parallel": 2,
    "training": 4,
    "validation": 3,
    "test": 2,
    "crossover": 0.0,
    "seed": 5,
}

if __name__ == "__main__":
    with optimization_context(Path(sys.argv[1]), **CHOICES) as context:
        asyncio.run(optimize(context))
