"""Autodata all-in: complete rounds through graph, prompts, chat model, call log and ledger."""

import asyncio
from pathlib import Path

from stopwatch import measure
from workload import document

from autodata.graph.context import RunContext
from autodata.graph.run import Batch, run_documents
from autodata.graph.state import RunChoices
from autodata.ledger.calls import CallLog
from autodata.ledger.ledger import Ledger
from autodata.ledger.rows import RunRow
from autodata.models.client import Models
from autodata.models.config import EndpointConfig, ModelConfig
from autodata.prompt_store.prompt import packaged
from autodata.tasks.types import Document

CALLS_PER_DOCUMENT = 22  # two rounds with early stopping


def run(url: str, calls: int, concurrency: int, folder: Path) -> None:
    asyncio.run(work(url, calls, concurrency, folder))


async def work(url: str, calls: int, concurrency: int, folder: Path) -> None:
    ledger, log = Ledger.open(folder), CallLog(folder / "run.db")
    names = range(calls // CALLS_PER_DOCUMENT)
    ledger.add_documents(Document.of(f"{n}.md", document(n)) for n in names)
    ledger.start_run(RunRow(id="run", task="cs", prompts_revision=packaged().revision))
    config = {role: ModelConfig(endpoint="local", model=model) for role, model in ROLES.items()}
    endpoint = EndpointConfig(base_url=f"{url}/v1", max_concurrency=concurrency)
    models = Models(log=log, endpoints={"local": endpoint}, models=config)
    context = RunContext(models, packaged(), ledger, log, "run")
    batch = Batch("cs", RunChoices(), ledger.document_ids(), in_flight=concurrency)
    await run_documents(context, batch)
    await context.aclose()
    assert set(batch.decided.values()) == {"accepted"}, batch.decided


ROLES = {"challenger": "careful", "weak_solver": "weak", "strong_solver": "strong"}

if __name__ == "__main__":
    measure(run)
