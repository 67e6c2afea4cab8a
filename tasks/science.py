"""Science: mathematical objects with one right answer, accepted by exact counts."""

from autodata.tasks.acceptance import Acceptance, CountPolicy, Policy
from autodata.tasks.equivalence import final_answer
from autodata.tasks.task import Task
from autodata.tasks.types import Candidate, Criterion, Objection


def criterion(reference_answer: str) -> Criterion:
    """The one criterion of a science answer; a judge who reads it needs nothing else."""
    return Criterion(
        criterion=f"The final answer is equivalent to: {reference_answer}",
        weight=1,
        category="correctness",
    )


def formula(reference_answer: str) -> str:
    """The formula of a reference answer: after "Final answer:" if it says so, else all of it."""
    return final_answer(reference_answer) or reference_answer


def screen(candidate: Candidate) -> tuple[Objection, ...]:
    """A bare integer can be guessed; an answer that stands in the question needs no solving."""
    answer = formula(candidate.reference_answer).strip().strip("$").strip()
    if answer.lstrip("+-").isdecimal():
        message = f"the answer is the bare integer {answer}; ask for an object instead"
        return (Objection(code="QUALITY", message=message),)
    asked = "".join(f"{candidate.context} {candidate.question}".split())
    if len(answer) >= 6 and "".join(answer.split()) in asked:
        message = f"the answer {answer} stands in the question or its context"
        return (Objection(code="LEAK", message=message),)
    return ()


def policy(acceptance: Acceptance, weak_attempts: int, strong_attempts: int) -> Policy:
    """Exact counts: by default weak ≤ 1 and strong ≥ 3 of 4 (paper, section 2)."""
    return CountPolicy(
        weak_correct_max=acceptance.weak_correct_max,
        strong_correct_min=acceptance.strong_correct_min,
        weak_planned=weak_attempts,
        strong_planned=strong_attempts,
    )


# 4 attempts each; 3 to 5 challengers in parallel from different angles (paper, section 2).
TASK = Task(
    name="science",
    title="science",
    weak_attempts=4,
    strong_attempts=4,
    rounds=12,
    policy=policy,
    challengers=3,
    has_rubric=False,
    screen=screen,
)
