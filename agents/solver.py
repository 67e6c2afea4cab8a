"""The solvers: context and question in, answer out. Both sides get byte-identical input."""

from autodata.models.client import Models, TextReply
from autodata.prompt_store.prompt import Prompt
from autodata.tasks.types import Candidate, Side


async def solve(
    models: Models, prompt: Prompt, candidate: Candidate, side: Side, number: int, *, scope: str
) -> TextReply:
    """Attempt `number` of one side; the solver sees neither document, reference nor rubric."""
    messages = prompt.render(context=candidate.context, question=candidate.question)
    return await models.complete(f"{side}_solver", messages, scope=scope, sample=number)
