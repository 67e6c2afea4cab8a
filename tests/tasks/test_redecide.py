"""What other thresholds would have made of recorded rounds."""

import pytest

from autodata.tasks.acceptance import PRESETS, Acceptance, ThresholdPolicy, thresholds, unscored
from autodata.tasks.measured import (
    VALUES_AT_MOST,
    Confirm,
    RedecisionCount,
    accepted_gap,
    around,
    measured,
    redecide,
    several,
)
from autodata.tasks.measurement import Bounds, wilson
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


def confirmed(round: Round, weak: float | None, number: int = 3) -> Round:
    """The round with so many fresh attempts a side, and this score of the first weak one."""
    made = (*attempts("weak", *[0.3] * number), *attempts("strong", *[0.8] * number))
    first = made[0].model_copy(update={"score": weak})
    found = unscored([first])
    if not found and weak == 0.99:
        found = (Objection(code="NOT_CONFIRMED", message="on 3 fresh attempts a side: …"),)
    changes = {"fresh": (first, *made[1:]), "objections": found, "decision": "accepted"}
    if found:
        changes |= {"decision": "rejected", "final_verdict": None}
    return round.model_copy(update=changes)


@pytest.mark.parametrize(
    ("round", "number", "decision", "reason"),
    [
        (confirmed(GOOD, 0.3), 3, "accepted", ""),
        (confirmed(GOOD, 0.99), 3, "rejected", "on 3 fresh attempts a side: weak mean 0.53"),
        (confirmed(GOOD, None), 3, "rejected", "the judge's marks of weak attempt 1 stayed"),
        (confirmed(GOOD, 0.99), 2, "rejected", "on 2 fresh attempts a side: weak mean 0.65"),
        (confirmed(GOOD, 0.3), 5, "open", "it was not confirmed"),
        (GOOD, 5, "open", "it was not confirmed"),
        (FAILED, 5, "rejected", "strong mean 0.57"),
        (confirmed(GOOD, 0.3), None, "accepted", ""),
        (confirmed(GOOD, 0.99), None, "open", "the final check was not made"),
        (confirmed(GOOD, None), None, "open", "the final check was not made"),
    ],
)
def test_fresh_attempts_count_where_they_are_asked_for(
    round: Round, number: int | None, decision: str, reason: str
) -> None:
    confirm = Confirm(number, Bounds(0.5, 0.65, 1.0, 0.2)) if number else None
    found = redecide(policy(), [round], confirm)
    assert found.decision == decision
    assert found.reason.startswith(reason)


@pytest.mark.parametrize(
    ("before", "decision"), [([0.7] * 8, "accepted"), ([0.4, 1.0] * 4, "rejected")]
)
def test_a_round_is_decided_by_what_the_rounds_before_it_told(
    before: list[float], decision: str
) -> None:
    """Under `measured` the scatter of a document's first round bears on its second."""
    choices = Acceptance(preset="measured", attempts_max=3)
    passed = Verdict(passed=True, fingerprint="f")
    rounds = [
        Round(number=1, weak=attempts("weak", *before)),
        Round(
            number=2,
            weak=attempts("weak", 0.2, 0.2, 0.2),
            strong=attempts("strong", 0.9, 0.9, 0.9),
            final_verdict=passed,
        ),
    ]
    assert redecide(measured(thresholds(choices), choices), rounds).decision == decision


def test_open_documents_widen_the_share_of_the_accepted_to_both_sides() -> None:
    count = RedecisionCount(accepted=3, rejected=4, open=5)
    assert (count.documents, count.least, count.most) == (12, 0.25, 8 / 12)
    assert count.interval == (wilson(3, 12).low, wilson(8, 12).high)


def test_the_gap_of_an_accepted_round_is_estimated_below_what_was_shown() -> None:
    """For a round was let in because its attempts, with their noise, were such."""
    reader = measured(PRESETS["paper"], Acceptance())
    found = accepted_gap(GOOD, reader, 0.25)
    assert (found.shown, found.fresh) == (pytest.approx(0.5), 0.25)
    assert 0.2 < found.estimated < found.shown
    more = GOOD.model_copy(update={"fresh": confirmed(GOOD, 0.3, number=8).fresh})
    assert accepted_gap(more, reader, None).estimated > found.estimated  # they count, too
    with pytest.raises(ValueError, match="not attempted by both sides"):
        accepted_gap(EASY, reader, None)


@pytest.mark.parametrize(
    ("given", "values"),
    [
        ([0.3, 0.4, 0.3], (0.3, 0.4)),
        ("0.3..0.5/0.1", (0.3, 0.4, 0.5)),
        ("0.5..0.6", (0.5, 0.55, 0.6)),
        ("0..2/1", (0, 1, 2)),
        (0.3, None),
        ("any", None),
        (True, None),
    ],
)
def test_a_threshold_may_have_several_values(
    given: object, values: tuple[float, ...] | None
) -> None:
    found = several(given)
    assert found == values
    assert [type(value) for value in found or ()] == [type(value) for value in values or ()]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "1 to"),
        (["low"], "a list of numbers"),
        ([True], "a list of numbers"),
        ("0.5..0.3", "from the least to the largest"),
        ("0..1/0", "above 0"),
        ("0..1/0.00001", f"1 to {VALUES_AT_MOST} numbers"),
    ],
)
def test_what_is_no_list_of_values_is_refused_in_words(given: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        several(given)


def test_a_threshold_is_surrounded_within_its_bounds() -> None:
    assert around(0.65) == (0.45, 0.55, 0.65, 0.75, 0.85)
    assert around(0.95) == (0.75, 0.85, 0.95)
    assert around(1.0) == (0.8, 0.9, 1)
