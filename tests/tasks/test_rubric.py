"""Marks become scores as the paper says, and a rubric policy names what it refuses."""

from fractions import Fraction
from math import comb

import pytest

from autodata.tasks import TASKS
from autodata.tasks.acceptance import Acceptance
from autodata.tasks.rubric import RubricPolicy, by_judgement, consistent, score
from autodata.tasks.task import unscored_by_us
from autodata.tasks.types import Attempt, Candidate, Criterion, Mark, Round
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


def test_an_answer_that_was_judged_twice_scores_the_mean_of_both_not_of_what_they_found() -> None:
    """The second judgement comes to less than nothing, which must not cost what the first gave."""
    twice = [
        Mark(criterion="derives it", weight=4, met=False, votes=(True, False)),
        Mark(criterion="claims the contrary", weight=-8, met=False, votes=(False, True)),
    ]
    assert by_judgement(twice) == (Fraction(1), Fraction(0))
    assert score(twice) == Fraction(1, 2)
    assert consistent(twice)


def test_marks_that_their_judgements_do_not_bear_out_are_found() -> None:
    mark = Mark(criterion="derives it", weight=4, met=True, votes=(True, True, False))
    assert consistent([mark, mark])
    assert not consistent([mark, mark.model_copy(update={"met": False})])
    assert not consistent([mark, mark.model_copy(update={"votes": (True, True)})])
    candidate = Candidate(
        context="", question="", reference_answer="",
        rubric=(Criterion(criterion="derives it", weight=4),),
    )  # fmt: skip

    def said(mark: Mark, score: float) -> list[str]:
        attempt = Attempt(solver="weak", number=1, answer="", score=score, marks=(mark,))
        strong = attempt.model_copy(update={"solver": "strong"})
        return list(
            unscored_by_us(Round(number=1, candidate=candidate, weak=(attempt,), strong=(strong,)))
        )

    assert said(mark, 2 / 3) == []
    assert "its marks come to another score" in said(mark, 1.0)[0]
    assert "do not bear out" in said(mark.model_copy(update={"met": False}), 2 / 3)[0]


def test_a_mark_of_one_judgement_is_written_as_ever() -> None:
    [mark] = marks((5, True))
    assert mark.model_dump() == {
        "criterion": "criterion 0", "weight": 5, "met": True, "evidence": ""
    }  # fmt: skip
    twice = mark.model_copy(update={"votes": (True, True)})
    assert Mark.model_validate_json(twice.model_dump_json()) == twice


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
