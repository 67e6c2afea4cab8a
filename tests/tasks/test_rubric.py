"""Marks become scores as the paper says, and a rubric policy names what it refuses."""

from fractions import Fraction
from math import comb

import pytest

from autodata.tasks import TASKS
from autodata.tasks.acceptance import Acceptance
from autodata.tasks.rubric import RubricPolicy, score
from autodata.tasks.types import Criterion, Mark
from tests.tasks.rounds import played


def marks(*given: tuple[int, bool]) -> list[Mark]:
    return [Mark(criterion=f"criterion {i}", weight=w, met=m) for i, (w, m) in enumerate(given)]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([(5, True), (5, False)], Fraction(1, 2)),
        ([(10, True), (5, True), (-10, False)], Fraction(1)),
        ([(10, True), (5, True), (-10, True)], Fraction(1, 3)),
        ([(4, False), (-8, True)], Fraction(0)),  # clipped below
        ([(7, True), (7, True), (7, False)], Fraction(2, 3)),
    ],
)
def test_a_score_is_the_weights_reached_over_the_positive_weights(
    given: list[tuple[int, bool]], expected: Fraction
) -> None:
    assert score(marks(*given)) == expected


def test_a_rubric_without_positive_weights_cannot_be_scored() -> None:
    with pytest.raises(ValueError, match="positive"):
        score(marks((-3, True)))


def rubric(positives: int, negatives: int, weight: int = 5) -> list[Criterion]:
    good = [Criterion(criterion=f"states step {i}", weight=weight) for i in range(positives)]
    return good + [Criterion(criterion=f"claims error {i}", weight=-3) for i in range(negatives)]


def test_the_default_policy_is_the_verifier_of_the_paper() -> None:
    policy = RubricPolicy()
    assert policy.problems(rubric(7, 3)) == []
    assert policy.problems(rubric(17, 3)) == []
    assert "9 criteria" in policy.problems(rubric(6, 3))[0]
    assert "2 negative criteria" in policy.problems(rubric(9, 2))[0]


@pytest.mark.parametrize(("field", "least"), [("items_min", 10), ("positives_min", 4)])
def test_no_policy_asks_for_so_few_criteria_that_luck_passes_the_gate(
    field: str, least: int
) -> None:
    assert getattr(RubricPolicy.model_validate({field: least}), field) == least
    for value in (least - 1, 1, 0):
        with pytest.raises(ValueError, match=f"{value} is less than {least}: .* chance passes"):
            RubricPolicy.model_validate({field: value})


@pytest.mark.parametrize(
    ("criteria", "a_round", "in_twelve"), [(1, 0.25, 0.97), (10, 0.03, 0.32), (20, 0.01, 0.11)]
)
def test_equal_solvers_pass_the_gate_by_luck_the_more_the_fewer_criteria_there_are(
    criteria: int, a_round: float, in_twelve: float
) -> None:
    """The figures that the refusal states: three attempts a side, each criterion met at .55."""
    n, p = 3 * criteria, 0.55
    met = [comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)]
    gate = TASKS["cs"].policy(Acceptance(), 3, 3)
    passes = sum(
        met[weak] * met[strong]
        for weak in range(n + 1)
        for strong in range(weak, n + 1)
        if not gate.objections(played([weak / n] * 3, [strong / n] * 3))
    )
    assert passes == pytest.approx(a_round, abs=0.01)
    assert 1 - (1 - passes) ** 12 == pytest.approx(in_twelve, abs=0.01)


def test_a_positive_only_policy_refuses_negatives_and_heavy_weights() -> None:
    """What the paper's optimizer found is a change of data, not of code."""
    policy = RubricPolicy(negatives_min=0, negatives_max=0, weight_max=7)
    assert policy.problems(rubric(10, 0, weight=7)) == []
    problems = policy.problems(rubric(10, 1, weight=8))
    assert any("1 negative criteria" in p for p in problems)
    assert any("weight 8" in p for p in problems)


def test_empty_double_and_weightless_criteria_are_named() -> None:
    lines = [*rubric(10, 3), *rubric(1, 0), Criterion(criterion=" ", weight=0)]
    problems = RubricPolicy().problems(lines)
    assert any("say the same" in p for p in problems)
    assert any("is empty" in p for p in problems)
    assert any("weight 0" in p for p in problems)
