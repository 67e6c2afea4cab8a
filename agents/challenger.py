"""The challenger: document and instruction in, candidate out."""

from autodata.agents.replies import (
    CandidateReply,
    ProblemReply,
    ReasonedCandidateReply,
    ReasonedProblemReply,
)
from autodata.models.client import Models
from autodata.prompt_store.prompt import Prompt
from autodata.tasks import Task
from autodata.tasks.types import Candidate, Criterion, Document, Objection


async def challenge(
    models: Models,
    prompt: Prompt,
    task: Task,
    document: Document,
    reasoned: bool = False,
    /,
    *,
    sample: int = 1,
    **values: str,
) -> Candidate | Objection:
    """One new candidate, or MALFORMED when the reply could not be read after re-asking.

    `values` are the prompt's placeholders besides the document; `sample` tells parallel
    challengers of one round apart. A `reasoned` reply begins with the writer's reasoning.
    """
    messages = prompt.render(document=document.text, **values)
    shape: type[ProblemReply] = ProblemReply if task.make_criteria else CandidateReply
    if reasoned:
        shape = ReasonedProblemReply if task.make_criteria else ReasonedCandidateReply
    answer = await models.complete_as(
        "challenger", messages, shape, scope=document.id, sample=sample
    )
    if answer.value is None:
        message = f"the challenger's reply could not be read: {answer.problem}"
        return Objection(code="MALFORMED", message=message)
    return candidate(task, answer.value, angle=values.get("angle", ""))


def candidate(task: Task, reply: ProblemReply, angle: str = "") -> Candidate:
    """The reply as a candidate; its criteria are the task's own where the task makes them."""
    written = tuple(
        Criterion(
            criterion=c.criterion, weight=c.weight, category=c.category, capability=c.capability
        )
        for c in (reply.rubric if isinstance(reply, CandidateReply) else ())
    )
    made = task.make_criteria and task.make_criteria(reply.reference_answer)
    return Candidate(
        context=reply.context,
        question=reply.question,
        reference_answer=reply.reference_answer,
        rubric=written if made is None else made,
        question_type=reply.question_type,
        skills=tuple(reply.skills),
        angle=angle,
    )
