"""The loop judge: all attempts of a round in, a judgement out."""

from collections.abc import Sequence

from autodata.agents.replies import JudgementReply
from autodata.agents.verifier import numbered
from autodata.models.client import Models
from autodata.prompt_store.prompt import Prompt
from autodata.tasks.measurement import Estimate, Posterior
from autodata.tasks.types import Attempt, Candidate, Judgement, Objection


async def judge_round(
    models: Models,
    prompt: Prompt,
    candidate: Candidate,
    weak: Sequence[Attempt],
    strong: Sequence[Attempt],
    *,
    scope: str,
    known: Posterior | None = None,
) -> Judgement | Objection:
    """The judgement, or MALFORMED when the reply could not be read after re-asking.

    What is `known` of the true scores is told beside the attempts.
    """
    messages = prompt.render(
        context=candidate.context,
        question=candidate.question,
        rubric=numbered(candidate),
        weak_attempts=_told(known.weak if known else None) + described(weak),
        strong_attempts=_told(known.strong if known else None) + described(strong),
    )
    answer = await models.complete_as("loop_judge", messages, JudgementReply, scope=scope)
    if answer.value is None:
        message = f"the loop judge's reply could not be read: {answer.problem}"
        return Objection(code="MALFORMED", message=message)
    return Judgement(**{k: tuple(v) if isinstance(v, list) else v for k, v in answer.value})


def _told(score: Estimate | None) -> str:
    """What is known of a side's true mean score, before its attempts."""
    if score is None:
        return ""
    low, high = score.interval
    return f"True mean score, as far as attempts can tell: {low:.2f} to {high:.2f} (95 %)\n\n"


def described(attempts: Sequence[Attempt]) -> str:
    """Each attempt with its answer, its score and which criteria it met, by number."""
    return "\n\n".join(
        f"Attempt {a.number}: score {a.score if a.score is None else round(a.score, 2)}, "
        f"criteria met: {[i for i, m in enumerate(a.marks, 1) if m.met]}\n{a.answer}"
        for a in attempts
    )
