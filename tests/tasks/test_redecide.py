"""What other thresholds would have made of recorded rounds."""

import pytest

from autodata.tasks.acceptance import PRESETS, ThresholdPolicy
from autodata.tasks.redecide import redecide
from autodata.tasks.types import Attempt, Objection, Round, Side, Verdict

PASSED = Verdict(passed=True, fingerprint="f")


def attempts(side: Side, *scores: float) -> tuple[Attempt, ...]:
    return tuple(
        Attempt(solver=side, number=number, answer="a", score=score)
        for number, score in enumerate(scores, 1)
    )


def policy(**changes: float) -> ThresholdPolicy:
    gate = PRESETS["paper"].model_copy(update=changes)
    return ThresholdPolicy(gate=gate, weak_planned=3, strong_planned=3)


EASY = Round(
    number=1,
    verdict=PASSED,
    weak=attempts("weak", 0.5, 0.6, 0.5),
    objections=(Objection(code="TOO_EASY", message="weak mean 0.53"),),
    decision="revise",
)
LEAKED = Round(
    number=2,
    objections=(Objection(code="LEAK", message="the context gives it away"),),
    decision="revise",
)
GOOD = Round(
    number=3,
    verdict=PASSED,
    weak=attempts("weak", 0.3, 0.4, 0.2),
    strong=attempts("strong", 0.8, 0.9, 0.7),
    final_verdict=PASSED,
    decision="accepted",
)
FAILED = GOOD.model_copy(
    update={
        "strong": attempts("strong", 0.5, 0.6, 0.6),
        "objections": (Objection(code="STRONG_FAILED", message="strong mean 0.57"),),
        "final_verdict": None,
        "decision": "rejected",
    }
)


@pytest.mark.parametrize(
    ("changes", "rounds", "decision", "number", "reason"),
    [
        ({}, (EASY, LEAKED, GOOD), "accepted", 3, ""),
        ({}, (EASY, LEAKED, FAILED), "rejected", 3, "strong mean 0.57, wanted at least 0.65"),
        ({"weak_max": 0.2}, (EASY, LEAKED, GOOD), "rejected", 3, "weak mean 0.30"),
        ({"weak_max": 0.6}, (EASY, GOOD), "open", 1, "more strong attempts"),
        ({"strong_min": 0.5}, (FAILED,), "open", 3, "the final check was not made"),
        ({"gap_min": 0.8}, (GOOD,), "rejected", 3, "weak mean 0.30, wanted at most 0.20"),
        ({"weak_max": 0.0}, (LEAKED,), "rejected", 2, "the context gives it away"),
        ({}, (GOOD.model_copy(update={"weak": attempts("weak", 0.3)}),), "open", 3, "more weak"),
    ],
)
def test_the_first_round_not_sent_back_decides(
    changes: dict[str, float], rounds: tuple[Round, ...], decision: str, number: int, reason: str
) -> None:
    found = redecide(policy(**changes), rounds)
    assert (found.decision, found.round) == (decision, number)
    assert found.reason.startswith(reason)
