"""One run of the real loop, for measurements: a folder, documents, models, figures."""

import asyncio
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatResult
from workload import document, reply_to

from autodata.documents.corpus import ingest
from autodata.graph.context import RunContext
from autodata.graph.run import Batch, run_documents
from autodata.graph.state import RunChoices
from autodata.ledger.calls import CallLog
from autodata.ledger.ledger import FILE, Ledger
from autodata.ledger.rows import RunRow
from autodata.models.client import Models
from autodata.prompt_store.prompt import locked_revision, packaged
from autodata.tasks.types import Document

RUN = "run"
DEMO = Path(__file__).parents[1] / "autodata" / "demo"


class Fixed(BaseChatModel):
    """Replies at once and always the same, as the server of these benchmarks does."""

    plays: str

    @property
    def _llm_type(self) -> str:
        return "fixed"

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        said = reply_to(self.plays, "".join(str(m.content) for m in messages))
        usage = UsageMetadata(input_tokens=1000, output_tokens=100, total_tokens=1100)
        message = AIMessage(said, usage_metadata=usage, response_metadata={"finish_reason": "stop"})
        return ChatResult(generations=[ChatGeneration(message=message)])

    async def _agenerate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        await asyncio.sleep(0)
        return self._generate(messages)


def fix(models: Models) -> None:
    """Lets fixed replies stand in for every role's model; all the rest stays real."""
    for role in ("challenger", "verifier", "final_verifier", "orchestrator", "judge"):
        _fix(models, role, "careful")
    _fix(models, "weak_solver", "weak")
    _fix(models, "strong_solver", "strong")


def _fix(models: Models, role: str, plays: str) -> None:
    models.registry.role_models[role] = replace(
        models.registry.role_model(role), chat=Fixed(plays=plays)
    )


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
            RunRow(id=RUN, task=task, prompts_revision=revision, locked_revision=locked_revision())
        )
    log = CallLog(folder / FILE)
    context = RunContext(Models(log=log, **models), packaged(), ledger, log, RUN)
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
