"""Is an accepted example what it claims to be? Checked at run time, whatever the prompts say.

The guard reads the edit; this reads what the edit made the agents do. Acceptance is computed again
from the marks, the solvers must have been sent the locked prompt byte by byte, and an example that
directs solver or judge, or pays for length, does not count.
"""

import re
from collections.abc import Iterable, Mapping, Sequence

from autodata.graph.state import RunChoices
from autodata.optimizer.directives import directives
from autodata.prompt_store.prompt import locked
from autodata.tasks import TASKS, Task, rubric
from autodata.tasks.task import final_filters
from autodata.tasks.types import Attempt, Candidate, Document, Round

SentTo = Mapping[int, Sequence[Mapping[str, str]]]
"""Call id → the messages that were sent."""

_LENGTH = re.compile(
    r"\b(?:words?|characters?|lines?|pages?|paragraphs?) (?:long|short|or (?:more|fewer|less))\b"
    r"|\b(?:at (?:least|most)|more than|fewer than|under|over|within) (?:\w+ )?"
    r"(?:words|characters|sentences|lines|paragraphs|pages)\b"
    r"|\b(?:the )?(?:answer|response|reply)s? (?:is|are|be|stays?|remains?) (?:\w+ )?"
    r"(?:long|short|brief|concise|detailed|lengthy|verbose)\b"
    r"|\bin one (?:word|sentence)\b",
    re.IGNORECASE,
)


def doubts(
    task: str, choices: RunChoices, document: Document, round: Round, sent: SentTo
) -> list[str]:
    """Why an accepted round does not count, each as a sentence; empty when it stands.

    `sent` holds what each attempt's solver was sent.
    """
    if round.candidate is None or round.decision != "accepted":
        return ["the round has no accepted candidate"]
    return [
        *_recomputed(TASKS[task], choices, round),
        *_unverified(TASKS[task], round),
        *_misdirected(round.candidate),
        *_tampered(task, round.candidate, (*round.weak, *round.strong), sent),
        *(str(o.message) for o in final_filters(TASKS[task], round.candidate, document)),
    ]


def _recomputed(task: Task, choices: RunChoices, round: Round) -> Iterable[str]:
    """Scores from marks, and the policy's decision from scores."""
    for attempt in (*round.weak, *round.strong):
        name = f"{attempt.solver} attempt {attempt.number}"
        if attempt.score is None or not attempt.marks:
            yield f"{name} has no marks"
        elif attempt.score != float(rubric.score(attempt.marks)):
            yield f"{name} scored {attempt.score}, its marks come to another score"
        elif task.has_rubric and _weights(attempt) != _agreed(round.candidate):
            yield f"{name} was marked by another rubric"
    policy = task.policy(
        choices,
        choices.weak_attempts or task.weak_attempts,
        choices.strong_attempts or task.strong_attempts,
    )
    yield from (f"the gate objects: {o.message}" for o in policy.objections(round))


def _weights(attempt: Attempt) -> list[tuple[str, int]]:
    return [(mark.criterion, mark.weight) for mark in attempt.marks]


def _agreed(candidate: Candidate | None) -> list[tuple[str, int]]:
    return [(c.criterion, c.weight) for c in candidate.rubric] if candidate else []


def _unverified(task: Task, round: Round) -> Iterable[str]:
    """Both verdicts must be there, passed, and about this very candidate."""
    assert round.candidate is not None
    for who, verdict in (("verifier", round.verdict), ("final verifier", round.final_verdict)):
        if verdict is None or not verdict.passed:
            yield f"the {who} did not pass it"
        elif verdict.fingerprint != round.candidate.fingerprint:
            yield f"the {who} passed another candidate"


def _misdirected(candidate: Candidate) -> Iterable[str]:
    """Directives to solver or judge in what they read, and criteria that pay for length."""
    for directive in directives(f"{candidate.context}\n\n{candidate.question}"):
        yield f"the question gives a directive to the {directive.addressee}: “{directive.words}”"
    for criterion in candidate.rubric:
        if any(directive.addressee == "judge" for directive in directives(criterion.criterion)):
            yield f"a criterion gives a directive to the judge: “{criterion.criterion[:60]}”"
        if _LENGTH.search(criterion.criterion):
            yield f"a criterion pays for length: “{criterion.criterion[:60]}”"


def _tampered(
    task: str, candidate: Candidate, attempts: Sequence[Attempt], sent: SentTo
) -> Iterable[str]:
    """Every solver must have been sent the locked prompt with this question, and nothing else."""
    messages = locked(task, "solver").render(context=candidate.context, question=candidate.question)
    expected = [{"role": m.role, "content": m.content} for m in messages]
    for attempt in attempts:
        if attempt.call_id is not None and list(sent.get(attempt.call_id, ())) != expected:
            yield f"{attempt.solver} attempt {attempt.number} was sent something else"
