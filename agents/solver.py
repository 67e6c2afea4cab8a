"""The solvers: context and question in, answer out. Both sides are asked byte-identically.

A model that is configured to be shown worked examples sees these first, as earlier turns.
"""

from collections.abc import Sequence

from autodata.models.client import Models
from autodata.models.replies import TextReply
from autodata.prompt_store.prompt import Message, Prompt
from autodata.tasks.task import Worked
from autodata.tasks.types import Candidate, Side


async def solve(
    models: Models,
    prompt: Prompt,
    candidate: Candidate,
    side: Side,
    number: int,
    *,
    scope: str,
    worked: Sequence[Worked] = (),
) -> TextReply:
    """Attempt `number` of one side; the solver sees neither document, reference nor rubric."""
    system, asked = prompt.render(context=candidate.context, question=candidate.question)
    shown = [
        turn
        for context, question, answer in worked
        for turn in (
            prompt.render(context=context, question=question)[1],
            Message(role="assistant", content=answer),
        )
    ]
    messages = (system, *shown, asked)
    return await models.complete(f"{side}_solver", messages, scope=scope, sample=number)
