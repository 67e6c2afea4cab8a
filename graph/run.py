"""Many documents at once: depth first, as many in flight as the endpoints can use."""

import asyncio
import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from autodata.graph.build import build
from autodata.graph.context import RunContext
from autodata.graph.nodes import all_done
from autodata.graph.state import Input, RunChoices, TaskName
from autodata.models.errors import CallRefused
from autodata.tasks import TASKS
from autodata.tasks.types import Decision

FEW = 3  # decided documents whose mean cost says something
RECHECK = 0.1  # seconds between two looks at what is left of a budget

COLLECT_AFTER = 50_000  # more objects made than freed, until the garbage collector looks at them


@dataclass
class Batch:
    """What is to be run, and where it stands; `decided` and `refused` grow while it runs.

    `refused` holds documents that an endpoint would not answer for, with the reason: they stay
    undecided, since infrastructure never rejects.
    """

    task: TaskName
    choices: RunChoices
    document_ids: Sequence[str]
    in_flight: int
    target: int | None = None  # accepted documents after which no new one is taken up
    decided: dict[str, Decision] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    started: int = 0
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def accepted(self) -> int:
        """Documents that yielded an example so far."""
        return sum(d == "accepted" for d in self.decided.values())

    @property
    def enough(self) -> bool:
        """True when the target is reached."""
        return self.target is not None and self.accepted >= self.target


async def run_documents(
    context: RunContext,
    batch: Batch,
    on_document: Callable[[str, Decision], None] = lambda document_id, decision: None,
) -> None:
    """Runs every document of the batch that has no decision yet.

    Returns when all are decided, the target is reached, or `stop` was set and the documents in
    flight have ended. Raises Paused when an endpoint is down or a budget is reached: calls in
    flight are finished and recorded first. A bug raises as it is.
    """
    loop = build(lambda: context)
    admission = Admission(context, batch)
    waiting = iter([d for d in batch.document_ids if d not in batch.decided])

    async def work() -> None:
        while True:
            await admission.wait()
            document_id = next(waiting, None)
            if document_id is None or batch.stop.is_set() or batch.enough:
                return
            batch.started += 1
            given = Input(document_id=document_id, task=batch.task)
            try:
                with admission.one_more():
                    ended = await loop.ainvoke(
                        given, context=batch.choices, output_keys=["decision"]
                    )
            except CallRefused as refusal:
                batch.refused[document_id] = str(refusal)
                context.put_down(document_id)
                continue
            except BaseException:
                batch.stop.set()
                raise
            batch.decided[document_id] = ended["decision"]
            on_document(document_id, ended["decision"])

    with _rare_collections():
        try:
            await all_done([work() for _ in range(batch.in_flight)])
        except asyncio.CancelledError:
            await context.loose_ends(drop=True)
            raise
        finally:
            await context.loose_ends()


@dataclass
class Admission:
    """Who may begin under a budget or a target: a document that it can carry besides those begun.

    A budget is to end with finished documents. Twice the mean cost of a document is kept for each
    one in flight, so that few are left undecided when the money is gone.
    """

    context: RunContext
    batch: Batch
    begun: int = 0

    async def wait(self) -> None:
        """Returns when another document may begin; at once without a budget or a target."""
        while self.begun and not self.batch.stop.is_set() and not self.batch.enough:
            carries = self.context.models.budget_tracker.carries(self._calls_per_document())
            if carries >= 2 * (self.begun + 1) and self._still_wanted():
                return
            await asyncio.sleep(RECHECK)

    def _still_wanted(self) -> bool:
        """True unless those begun may reach the target: every second one does at the least."""
        target = self.batch.target
        return target is None or self.begun < 2 * (target - self.batch.accepted)

    @contextmanager
    def one_more(self) -> Iterator[None]:
        """Counts a document as begun and not ended."""
        self.begun += 1
        try:
            yield
        finally:
            self.begun -= 1

    def _calls_per_document(self) -> float:
        """What a document takes: the mean so far, or a guess until a few are decided."""
        decided = len(self.batch.decided)
        if decided >= FEW:
            return self.context.models.budget_tracker.spent.calls / (decided + self.begun / 2)
        task = TASKS[self.batch.task]
        return task.rounds / 2 * (3 + task.weak_attempts + task.strong_attempts)


@contextmanager
def _rare_collections() -> Iterator[None]:
    """Keeps the garbage collector from walking what many documents hold, again and again: as
    often as by default, that takes a seventh of the CPU time."""
    usual = gc.get_threshold()
    gc.set_threshold(COLLECT_AFTER, *usual[1:])
    try:
        yield
    finally:
        gc.set_threshold(*usual)
