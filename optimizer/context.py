"""What the nodes of the optimizer work with. Nothing is remembered here that git, run.db and the
call log do not hold."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from autodata.ledger.iterations import Iteration, record_iteration
from autodata.ledger.ledger import Ledger
from autodata.models.errors import ReviewsWait
from autodata.optimizer.evaluator import OPTIMIZATION_STOPPED, Evaluator
from autodata.optimizer.guard import Sources
from autodata.optimizer.population import Population
from autodata.optimizer.selection import chance
from autodata.optimizer.state import Plan


@dataclass
class OptimizationContext:
    """One optimization: its plan, and where everything is.

    `sources` are all its documents; `on_record` is told of every iteration once it is on record.
    So many `lanes` walk side by side; the iterations `waiting` are put down until a person has
    reviewed their edits.
    """

    plan: Plan
    evaluator: Evaluator
    population: Population
    folder: Path
    sources: Sources
    on_record: Callable[[Iteration], None] = lambda iteration: None
    lanes: int = 1
    waiting: set[int] = field(default_factory=set)
    recording: asyncio.Lock = field(default_factory=asyncio.Lock)
    _turns: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def run_id(self) -> str:
        """Name of the optimization, in the ledger and in refs."""
        return self.evaluator.run.id

    @property
    def task(self) -> str:
        """The task whose prompts are improved."""
        return self.evaluator.task

    @property
    def ledger(self) -> Ledger:
        """The ledger of the run folder."""
        return self.evaluator.ledger

    # Turns: an iteration sees exactly those that lie `parallel` or more before it, however long
    # they take, so that the sequence does not depend on timing.

    async def turn(self, number: int) -> None:
        """Wait until every iteration that this one builds on is recorded. Raises Interrupted, and
        ReviewsWait where one of them waits for a person."""
        async with self._turns:
            while len(await asyncio.to_thread(self.visible, number)) < self._seen_by(number):
                if self.evaluator.stop.is_set():
                    raise OPTIMIZATION_STOPPED
                if any(n < self._seen_by(number) for n in self.waiting):
                    raise ReviewsWait("an earlier edit waits for review", "Review it first")
                await self._turns.wait()

    async def next_turn(self) -> None:
        """Wake whoever waits for a turn."""
        async with self._turns:
            self._turns.notify_all()

    def _seen_by(self, number: int) -> int:
        return max(number - self.plan.parallel, 0) + 1

    def visible(self, number: int) -> list[Iteration]:
        """The iterations that an iteration builds on, by number; the start is always one."""
        seen = self._seen_by(number)
        return [i for i in self.iterations() if i.number < seen]

    def iterations(self) -> list[Iteration]:
        """All iterations on record."""
        return self.population.iterations()

    def validation_order(self) -> list[str]:
        """The validation documents in the one order in which mutants are tried on them."""
        documents = list(self.plan.validation)
        chance(self.plan.seed, 0, "validation").shuffle(documents)
        return documents

    # Records

    def record(self, iteration: Iteration) -> None:
        """Put an iteration on record: its row, then its refs. Blocks on SQLite and git."""
        record_iteration(self.ledger, self.run_id, iteration)
        self.population.point(iteration)
        self.on_record(iteration)
