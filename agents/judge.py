"""The judge: an answer in, one mark per criterion out; the score is computed from the marks."""

from autodata.agents.comparison import ComparisonPool
from autodata.agents.replies import MarksReply, marks_reply
from autodata.models.client import Models, StructuredReply, TextReply
from autodata.prompt_store.prompt import Prompt, locked
from autodata.tasks import Task, rubric
from autodata.tasks.task import Comparison, Unreadable
from autodata.tasks.types import FORMAT_NOTE, Attempt, Candidate, Mark, Side

CUT = "the answer was cut off"


async def score(
    models: Models,
    task: Task,
    candidate: Candidate,
    said: TextReply,
    side: Side,
    number: int,
    *,
    scope: str,
    comparisons: ComparisonPool,
) -> Attempt:
    """The attempt with its marks and score.

    A truncated answer scores 0 unread, and one without a final answer to compare scores 0 with the
    reason in `note`. What the task's comparison settles needs no judge. Marks that stay malformed
    leave the score None, with the reason in `note`.
    """
    attempt = Attempt(
        solver=side, number=number, answer=said.text, score=None, call_id=said.call_id
    )
    if said.truncated:
        marks = alike(candidate, False, said.problem or CUT)
        return scored(attempt, marks, truncated=True)
    right = task.compare(said.text, candidate)
    if isinstance(right, Unreadable):
        attempt = attempt.model_copy(update={"note": FORMAT_NOTE + right.why})
        return scored(attempt, alike(candidate, False, right.why))
    if isinstance(right, Comparison):
        right = await comparisons.settle(right)
    if right is not None:
        return scored(attempt, alike(candidate, right, f"{_last_line(said.text)} was compared"))
    prompt = locked(task.name, "judge")
    reply = await judge(models, prompt, candidate, said.text, scope=scope, sample=number)
    if reply.value is None:
        return attempt.model_copy(update={"note": reply.problem})
    return scored(attempt, marked(candidate, reply.value))


async def judge(
    models: Models,
    prompt: Prompt,
    candidate: Candidate,
    answer: str,
    *,
    scope: str,
    sample: int = 1,
    role: str = "judge",
) -> StructuredReply[MarksReply]:
    """What a role replies when it is asked as the judge: every criterion is marked once."""
    criteria = "\n".join(f"{i}. {c.criterion}" for i, c in enumerate(candidate.rubric, 1))
    messages = prompt.render(
        context=candidate.context, question=candidate.question, rubric=criteria, answer=answer
    )
    shape = marks_reply(len(candidate.rubric))
    return await models.complete_as(role, messages, shape, scope=scope, sample=sample)


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


def alike(candidate: Candidate, met: bool, evidence: str) -> tuple[Mark, ...]:
    """Every criterion met, or none, all for one reason."""
    return tuple(
        Mark(criterion=c.criterion, weight=c.weight, met=met, evidence=evidence)
        for c in candidate.rubric
    )


def _last_line(answer: str) -> str:
    return answer.strip().rpartition("\n")[2][:200]


def scored(attempt: Attempt, marks: tuple[Mark, ...], truncated: bool = False) -> Attempt:
    """The attempt with its marks and the score that they come to."""
    return attempt.model_copy(
        update={"marks": marks, "score": float(rubric.score(marks)), "truncated": truncated}
    )
