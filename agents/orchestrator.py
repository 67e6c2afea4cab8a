"""The orchestrator: grouped objections in, the next challenger instruction out.

It never sees the document.
"""

from collections.abc import Sequence

from autodata.agents.replies import InstructionReply
from autodata.models.client import Models
from autodata.models.errors import CutOff
from autodata.prompt_store.prompt import Prompt
from autodata.tasks.acceptance import feedback
from autodata.tasks.types import Round


async def instruct(models: Models, prompt: Prompt, rounds: Sequence[Round], *, scope: str) -> str:
    """The next instruction.

    A loop judge's suggestion goes to the writer unchanged and no model is asked. When the
    orchestrator's reply cannot be read or never ends, the grouped objections themselves are the
    instruction.
    """
    last = rounds[-1]
    if last.judgement and last.judgement.suggestion_for_writer and last.final_verdict is None:
        return last.judgement.suggestion_for_writer
    grouped = feedback(rounds)
    try:
        answer = await models.complete_as(
            "orchestrator", prompt.render(feedback=grouped), InstructionReply, scope=scope
        )
    except CutOff:
        return grouped
    return answer.value.instruction if answer.value else grouped
