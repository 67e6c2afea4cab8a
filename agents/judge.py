"""The judge: an answer in, one mark per criterion out; the score is computed from the marks."""

import asyncio
from collections.abc import Sequence

from autodata.agents.comparison import ComparisonPool
from autodata.agents.replies import MarkReply, MarksReply, marks_reply
from autodata.models.client import Models
from autodata.models.errors import CutOff
from autodata.models.replies import StructuredReply, TextReply
from autodata.prompt_store.prompt import Prompt, locked
from autodata.tasks import Task, rubric
from autodata.tasks.task import Comparison, Unreadable
from autodata.tasks.types import FORMAT_NOTE, Attempt, Candidate, Criterion, Mark, Side

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
    repeats: int = 1,
) -> Attempt:
    """The attempt with its marks and score.

    A truncated answer scores 0 unread, and one without a final answer to compare scores 0 with the
    reason in `note`. What the task's comparison settles needs no judge, who otherwise is asked
    `repeats` times (1 … 9). Marks that stay malformed every time leave the score None, with the
    reason in `note`; else those count that were read.
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
    samples = [sample_of(number, judgement) for judgement in range(1, repeats + 1)]
    given = await _judgements(models, prompt, candidate, said.text, samples, scope=scope)
    read = [reply for reply in given if isinstance(reply, MarksReply)]
    unread = [problem for problem in given if isinstance(problem, str)]
    if not read:
        return attempt.model_copy(update={"note": unread[0]})
    if unread:
        note = f"{len(unread)} of {repeats} judgements could not be read: {unread[0]}"
        attempt = attempt.model_copy(update={"note": note})
    return scored(attempt, marked(candidate, *read))


async def mark_again(
    models: Models,
    task: Task,
    candidate: Candidate,
    attempt: Attempt,
    *,
    scope: str,
    comparisons: ComparisonPool,
) -> Attempt | None:
    """The attempt as the second judge marks it, under the judge's own locked prompt; None where the
    judge had no say, since it was cut off, had no answer to compare, or was compared by code.

    Marks that stay malformed leave the score None, with the reason in `note`.
    """
    if attempt.score is None or attempt.truncated or attempt.format_error:
        return None
    right = task.compare(attempt.answer, candidate)
    if isinstance(right, Comparison):
        right = await comparisons.settle(right)
    if right is not None:
        return None
    asked = (models, locked(task.name, "judge"), candidate, attempt.answer)
    reply = await judge(*asked, scope=scope, sample=attempt.number, role="second_judge")
    again = attempt.model_copy(
        update={"score": None, "marks": (), "call_id": reply.call_id, "note": reply.problem}
    )
    return again if reply.value is None else scored(again, marked(candidate, reply.value))


def sample_of(attempt: int, judgement: int) -> int:
    """The sample by which the log tells judgements apart, each counted from 1.

    The first has the number of its attempt, as when the judge is asked once. Others, 2 … 9, are
    below zero, where no attempt of any side has a number: attempt and judgement in decimal.
    """
    return attempt if judgement == 1 else -(10 * attempt + judgement)


async def _judgements(
    models: Models,
    prompt: Prompt,
    candidate: Candidate,
    answer: str,
    samples: Sequence[int],
    *,
    scope: str,
) -> list[MarksReply | str]:
    """Each judgement, or what is wrong with it. All end before an error is raised, since calls in
    flight are paid for; a reply that never came to its end is one only where none was read."""
    asked = (judge(models, prompt, candidate, answer, scope=scope, sample=n) for n in samples)
    replies = await asyncio.gather(*asked, return_exceptions=True)
    found = list[MarksReply | str]()
    for reply in replies:
        if isinstance(reply, BaseException) and not isinstance(reply, CutOff):
            raise reply
        found.append(str(reply) if isinstance(reply, CutOff) else reply.value or reply.problem)
    cut = [reply for reply in replies if isinstance(reply, CutOff)]
    if cut and all(isinstance(one, str) for one in found):
        raise cut[0]
    return found


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


def marked(candidate: Candidate, *replies: MarksReply) -> tuple[Mark, ...]:
    """The marks in rubric order, each carrying its criterion and weight, by all judgements."""
    by_number = [{m.number: m for m in reply.marks} for reply in replies]
    return tuple(
        _mark(c, [marks[i] for marks in by_number]) for i, c in enumerate(candidate.rubric, 1)
    )


def _mark(criterion: Criterion, given: Sequence[MarkReply]) -> Mark:
    """What most judgements found, with the evidence of the first that found so."""
    votes = tuple(found.met for found in given)
    met = rubric.majority(votes)
    return Mark(
        criterion=criterion.criterion,
        weight=criterion.weight,
        met=met,
        evidence=next(found.evidence for found in given if found.met == met),
        votes=votes if len(votes) > 1 else (),
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
