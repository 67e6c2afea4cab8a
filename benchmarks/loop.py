"""One run of the real loop, for measurements: a folder, documents, models, figures."""

import asyncio
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from workload import document, reply_to

from autodata.documents.corpus import ingest
from autodata.graph.context import RunContext
from autodata.graph.run import Batch, run_documents
from autodata.graph.state import RunChoices
from autodata.ledger.calls import CallLog
from autodata.ledger.ledger import FILE, Ledger
from autodata.ledger.rows import RunRow
from autodata.models.client import Models
from autodata.models.config import SIMULATED
from autodata.prompt_store.prompt import locked_revision, packaged
from autodata.simulation.transport import SimulatedTransport
from autodata.tasks.types import Document

RUN = "run"
DEMO = Path(__file__).parents[1] / "autodata" / "demo"


PLAYS = {"simulated-weak": "weak", "simulated-strong": "strong"}  # anyone else is careful


class Fixed:
    """Stands in for every model: replies at once and always the same, as the server of these
    benchmarks does; all the rest stays real."""

    base_url = "in this process"

    async def complete(self, payload: Mapping[str, Any], request_id: str) -> bytes:
        """The body of a chat completion."""
        await asyncio.sleep(0)
        asked = "".join(str(message["content"]) for message in payload["messages"])
        said = reply_to(PLAYS.get(payload["model"], "careful"), asked)
        message = {"role": "assistant", "content": said}
        usage = {"prompt_tokens": 1000, "completion_tokens": 100}
        choice = {"message": message, "finish_reason": "stop"}
        return json.dumps({"choices": [choice], "usage": usage}).encode()

    async def aclose(self) -> None:
        """Nothing is open."""


def made_up(count: int) -> Iterator[Document]:
    """So many documents of 12,000 characters."""
    return (Document.of(f"{n}.md", document(n)) for n in range(count))


def demo_documents(task: str) -> list[Document]:
    """The demo's documents of one task."""
    return list(ingest([DEMO / task]))


@asynccontextmanager
async def run_context(folder: Path, documents: Iterable[Document], task: str = "cs", **models: Any):
    """A context over a run folder, begun there if there is no run yet."""
    ledger = Ledger.open(folder)
    ledger.add_documents(documents)
    if not ledger.runs():
        revision = packaged().revision
        ledger.start_run(
            RunRow(
                id=RUN, task=task, prompts_revision=revision, locked_revision=locked_revision(task)
            )
        )
    log = CallLog(folder / FILE)
    simulated = {SIMULATED: SimulatedTransport()}
    asked = Models(log=log, **{"transports": simulated, **models})
    context = RunContext(asked, packaged(), ledger, log, RUN)
    try:
        yield context
    finally:
        await context.aclose()


async def play(
    context: RunContext, task: str = "cs", choices: RunChoices | None = None, in_flight: int = 8
) -> Batch:
    """Runs what is undecided; the batch says how it went."""
    batch = Batch(
        task=task,
        choices=choices or RunChoices(),
        document_ids=context.ledger.document_ids(),
        in_flight=in_flight,
        decided=context.ledger.outcomes(RUN),
    )
    await run_documents(context, batch)
    return batch


def run(
    folder: Path,
    documents: Iterable[Document],
    task: str = "cs",
    choices: RunChoices | None = None,
    in_flight: int = 8,
    **models: Any,
) -> tuple[Batch, Mapping[str, Any]]:
    """A whole run from outside an event loop: the batch, and the usage of each role."""

    async def work() -> tuple[Batch, Mapping[str, Any]]:
        async with run_context(folder, documents, task, **models) as context:
            return await play(context, task, choices, in_flight), context.models.usage()

    return asyncio.run(work())
