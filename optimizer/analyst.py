"""The analyst: a folder of evidence in, a root-cause analysis with quotes out."""

from collections.abc import Mapping

from langchain_core.tools import BaseTool
from pydantic import BaseModel, Field

from autodata.models.client import Models
from autodata.optimizer.agent import AgentLimits, FileTools, tool, work
from autodata.optimizer.evidence import HISTORY, INDEX
from autodata.prompt_store.prompt import locked
from autodata.tasks.types import Frozen

ANALYST_LIMITS = AgentLimits(calls=40, tokens=150_000)


class Quote(BaseModel):
    """Words that stand in a file of the evidence."""

    path: str = Field(description="the file")
    words: str = Field(description="the words, exactly as they stand there; a line or two")


class Diagnosis(Frozen):
    """What goes wrong again and again, and why; every quote stands in the evidence."""

    text: str
    quotes: tuple[tuple[str, str], ...]


class EvidenceTools(FileTools):
    """The evidence that the analyst may look at, and the diagnosis once it is reported."""

    diagnosis: Diagnosis | None = None

    def tools(self) -> list[BaseTool]:
        return [*super().tools(), tool(self.report)]

    async def report(self, analysis: str, quotes: list[Quote]) -> str:
        """End the work with the root-cause analysis (Markdown) and the quotes that bear it out,
        from at least two files."""
        wrong = [quote for quote in quotes if not self.holds(quote.path, quote.words)]
        if wrong:
            listed = "; ".join(f"{quote.path}: “{quote.words[:80]}”" for quote in wrong)
            return f"not reported: these quotes do not stand where you say: {listed}"
        if not analysis.strip() or len({quote.path for quote in quotes}) < 2:
            return "not reported: an analysis and quotes from at least two files are needed"
        self.diagnosis = Diagnosis(
            text=analysis.strip(), quotes=tuple((quote.path, quote.words) for quote in quotes)
        )
        return "reported"


async def analyse(
    models: Models, files: Mapping[str, str], *, scope: str, limits: AgentLimits = ANALYST_LIMITS
) -> Diagnosis | str:
    """The diagnosis, or why the analyst came to none.

    `files` are those of `evidence.evidence`. Raises Paused and CallRefused.
    """
    tools = EvidenceTools(files)
    prompt = locked("optimizer", "analyst").render(index=files[INDEX], history=files[HISTORY])
    reason = await work(
        models,
        "analyst",
        scope,
        prompt,
        tools.tools(),
        done=lambda: bool(tools.diagnosis),
        ends="report",
        limits=limits,
    )
    return tools.diagnosis or reason
