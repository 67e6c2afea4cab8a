"""Many documents at once: depth first, as many in flight as the endpoints can use."""

import asyncio
import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from agents.errors import CallRefused
from graph.build import build
from graph.nodes import all_done
from graph.state import Input, RunChoices, TaskName
from graph.workshop import Workshop
from tasks.types import Decision

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
    workshop: Workshop,
    batch: Batch,
    on_document: Callable[[str, Decision], None] = lambda document_id, decision: None,
) -> None:
    """Runs every document of the batch that has no decision yet.

    Returns when all are decided, the target is reached, or `stop` was set and the documents in
    flight have ended. Raises Paused when an endpoint is down or a budget is reached: calls in
    flight are finished and recorded first. A bug raises as it is.
    """
    loop = build(lambda: workshop)
    waiting = iter([d for d in batch.document_ids if d not in batch.decided])

    async def work() -> None:
        for document_id in waiting:
            if batch.stop.is_set() or batch.enough:
                return
            batch.started += 1
            given = Input(document_id=document_id, task=batch.task)
            try:
                ended = await loop.ainvoke(given, context=batch.choices, output_keys=["decision"])
            except CallRefused as refusal:
                batch.refused[document_id] = str(refusal)
                workshop.put_down(document_id)
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
            await workshop.loose_ends(drop=True)
            raise
        finally:
            await workshop.loose_ends()


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
