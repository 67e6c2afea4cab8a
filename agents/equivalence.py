"""Symbolic comparison in a process of its own, so that no answer can hang the run."""

import asyncio
import multiprocessing
from concurrent.futures import TimeoutError as ComparisonTimeout

from pebble import ProcessExpired, ProcessPool

from autodata.tasks.equivalence import equivalent

SECONDS = 5.0  # simplification that takes longer is left to the judge
WARM_UP = ("x + x", "2 x")  # a comparison that needs all that comparisons need


class Equivalence:
    """Compares formulas in one worker process, started when it is first needed."""

    def __init__(self, seconds: float = SECONDS) -> None:
        self.seconds = seconds
        self._pool: ProcessPool | None = None

    async def settle(self, answer: str, reference: str) -> bool | None:
        """True or False when mathematics settles it in time, None when a judge has to be asked."""
        return await asyncio.to_thread(self._compare, answer, reference)

    def _compare(self, answer: str, reference: str) -> bool | None:
        if self._pool is None:
            context = multiprocessing.get_context("spawn")
            # Warmed up first: its imports take longer than most comparisons, and do not count.
            self._pool = ProcessPool(
                max_workers=1,
                max_tasks=0,
                initializer=equivalent,
                initargs=WARM_UP,
                context=context,
            )
        future = self._pool.schedule(equivalent, args=(answer, reference), timeout=self.seconds)
        try:
            found: bool | None = future.result()
        except (ComparisonTimeout, ProcessExpired, RecursionError, MemoryError):
            return None
        return found

    def close(self) -> None:
        """Ends the worker process."""
        if self._pool is not None:
            self._pool.stop()  # type: ignore[no-untyped-call]
            self._pool.join()
            self._pool = None
