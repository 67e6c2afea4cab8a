"""Marks become scores as the paper says, and a rubric policy names what it refuses."""

from fractions import Fraction

import pytest

from autodata.tasks.rubric import RubricPolicy, score
from autodata.tasks.types import Criterion, Mark


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
