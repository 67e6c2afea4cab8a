"""The judge: an answer in, one mark per criterion out; the score is computed from the marks."""

from autodata.agents.equivalence import Equivalence
from autodata.agents.replies import MarksReply, marks_reply
from autodata.models.client import Models, TextReply
from autodata.prompt_store.prompt import Prompt
from autodata.tasks import Task, rubric
from autodata.tasks.equivalence import final_answer
from autodata.tasks.science import formula
from autodata.tasks.types import Attempt, Candidate, Mark, Side


async def score(
    models: Models,
    prompt: Prompt,
    task: Task,
    candidate: Candidate,
    said: TextReply,
    side: Side,
    number: int,
    *,
    scope: str,
    equivalence: Equivalence,
) -> Attempt:
    """The attempt with its marks and score.

    A truncated answer scores 0 unread. Where answers are formulas, mathematics is asked before
    the judge. Marks that stay malformed leave the score None, with the reason in `note`.
    """
    attempt = Attempt(
        solver=side, number=number, answer=said.text, score=None, call_id=said.call_id
    )
    if said.truncated:
        return scored(attempt, unmet(candidate, "cut off by the token limit"), truncated=True)
    if not task.has_rubric and (given := final_answer(said.text)):
        same = await equivalence.settle(given, formula(candidate.reference_answer))
        if same is not None:
            return scored(attempt, compared(candidate, same, given))
    marks = await _marks(models, prompt, candidate, said.text, number, scope)
    return (
        attempt.model_copy(update={"note": marks})
        if isinstance(marks, str)
        else scored(attempt, marks)
    )


async def _marks(
    models: Models, prompt: Prompt, candidate: Candidate, answer: str, number: int, scope: str
) -> tuple[Mark, ...] | str:
    """The judge's marks, or what is wrong with them."""
    criteria = "\n".join(f"{i}. {c.criterion}" for i, c in enumerate(candidate.rubric, 1))
    messages = prompt.render(
        context=candidate.context, question=candidate.question, rubric=criteria, answer=answer
    )
    reply = await models.complete_as(
        "judge", messages, marks_reply(len(candidate.rubric)), scope=scope, sample=number
    )
    return reply.problem if reply.value is None else marked(candidate, reply.value)


def marked(candidate: Candidate, reply: MarksReply) -> tuple[Mark, ...]:
    """The marks in rubric order, each carrying its criterion and weight."""
    by_number = {m.number: m for m in reply.marks}
    return tuple(
        Mark(
            criterion=c.criterion,
            weight=c.weight,
            met=by_number[i].met,
            evidence=by_number[i].evidence,
        )
        for i, c in enumerate(candidate.rubric, 1)
    )


def unmet(candidate: Candidate, evidence: str) -> tuple[Mark, ...]:
    """No criterion met, all for one reason."""
    return tuple(
        Mark(criterion=c.criterion, weight=c.weight, met=False, evidence=evidence)
        for c in candidate.rubric
    )


def compared(candidate: Candidate, same: bool, given: str) -> tuple[Mark, ...]:
    """The one mark of a formula that was compared symbolically."""
    (criterion,) = candidate.rubric
    evidence = f"{given} was compared symbolically"
    return (Mark(criterion=criterion.criterion, weight=1, met=same, evidence=evidence),)


def scored(attempt: Attempt, marks: tuple[Mark, ...], truncated: bool = False) -> Attempt:
    """The attempt with its marks and the score that they come to."""
    return attempt.model_copy(
        update={"marks": marks, "score": float(rubric.score(marks)), "truncated": truncated}
    )
