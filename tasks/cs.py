"""Computer science: rubric thresholds on the means of both solvers (paper, section 2)."""

from autodata.tasks.acceptance import Acceptance, Policy, ThresholdPolicy, keepable, thresholds
from autodata.tasks.measured import measured
from autodata.tasks.task import Task


def policy(acceptance: Acceptance, weak_attempts: int, strong_attempts: int) -> Policy:
    """The preset's thresholds over the given numbers of attempts. Raises ValueError where nobody
    can keep them."""
    measures = acceptance.preset == "measured"
    gate = keepable(thresholds(acceptance), truly=measures)
    if measures:
        return measured(gate, acceptance)
    return ThresholdPolicy(gate=gate, weak_planned=weak_attempts, strong_planned=strong_attempts)


# 3 attempts per solver; 6.59 rounds were used on average, so 12 leave room (paper, section 2).
TASK = Task(
    name="cs",
    title="computer science",
    weak_attempts=3,
    strong_attempts=3,
    rounds=12,
    policy=policy,
)
