"""The lab's arms and figures: one size, nothing in train and test, the student as the unit."""

from dataclasses import replace
from random import Random

import pytest

from autodata.lab.experiment import (
    FIRST_LEVELS,
    LAB_ARMS,
    ONE_SHOT,
    QUICK_LAB,
    ArmResult,
    LabSettings,
    Looped,
    StudentResult,
    arms_of,
    difference,
    distinct,
    length_matched,
    mean_of,
)
from autodata.lab.page import sizes
from autodata.lab.training import drawn


def looped(count: int, level: int, seed: int) -> Looped:
    draw = Random(seed)
    items = [drawn(draw, level)[0] for _ in range(count)]
    return Looped(items, seconds=1, calls=1, rounds=1, documents=count, objections={})


def scored(student: int, **scores: float) -> StudentResult:
    arms = {
        arm.replace("_", "-"): ArmResult({"agentic": [score]}, {}, 0, 0, 0)
        for arm, score in scores.items()
    }
    return StudentResult(student, arms, {})


def test_arms_are_of_one_size_and_no_test_question_is_in_any() -> None:
    first = distinct(Random(3), FIRST_LEVELS, 48, set())
    # Some first questions are accepted at once.
    paper = replace(looped(20, 4, 1), accepted=[*first[:20], *looped(20, 4, 1).accepted])
    loops = {"paper": paper, "measured": looped(40, 5, 2)}
    how = LabSettings(rows=24, held_out=12, asked=30)
    arms, tests = arms_of(how, first, loops, Random(0))
    assert arms.keys() == LAB_ARMS.keys()
    asked = {item.question for items in tests.values() for item in items}
    for name, items in arms.items():
        trained = [item.question for item in items]
        assert len(set(trained)) == len(trained)
        assert not asked & set(trained)
        assert len(items) == how.rows or name == "equal time"
    assert [len(items) for items in tests.values()] == [30, 12, 30]


def test_arms_are_as_small_as_the_smallest() -> None:
    loops = {"paper": looped(40, 4, 1), "measured": looped(11, 5, 2)}
    how = LabSettings(rows=24, held_out=12, asked=30)
    arms, _ = arms_of(how, distinct(Random(3), FIRST_LEVELS, 40, set()), loops, Random(0))
    assert {len(items) for name, items in arms.items() if name != "equal time"} == {11}


def test_too_few_accepted_questions_are_said_and_not_made_up() -> None:
    loops = {"paper": looped(10, 4, 1), "measured": looped(40, 5, 2)}
    with pytest.raises(ValueError, match="too few questions to train on: paper 10, measured 40"):
        arms_of(QUICK_LAB, distinct(Random(3), FIRST_LEVELS, 40, set()), loops, Random(0))


def test_matched_questions_are_as_long_and_each_is_used_once() -> None:
    wanted = looped(20, 5, 1).accepted
    matched = length_matched(distinct(Random(1), FIRST_LEVELS, 600, set()), wanted)
    assert sorted(len(item.question) for item in matched) == sorted(
        len(item.question) for item in wanted
    )
    assert len(set(matched)) == len(matched)
    assert max(item.level for item in matched) <= 3


def test_the_student_is_the_unit() -> None:
    results = [
        scored(n, one_shot=0.5, paper=0.5 + gain) for n, gain in enumerate((0.02, 0.06, 0.10))
    ]
    found = difference(results, "paper", "agentic")
    assert found.mean == pytest.approx(0.06)
    assert found.above == found.students == 3
    # Student's t for two degrees of freedom: 4.303 · .04 / √3
    assert found.high == pytest.approx(0.06 + 4.303 * 0.04 / 3**0.5, abs=1e-4)
    assert mean_of([0.3]).low is None
    assert mean_of([0.1 + 0.2, 0.3]).low is None  # alike: of others it says nothing
    assert difference(results, ONE_SHOT, "agentic").mean == 0


def test_arms_that_are_smaller_than_wanted_are_said_to_be() -> None:
    full, small, old = (StudentResult(0, {}, {}, rows=rows) for rows in (48, 41, 0))
    how = LabSettings()
    assert sizes(how, [full, full]) == "48"
    assert sizes(how, [full, small]) == "41 to 48"
    assert sizes(how, [full, old]) == "at most 48"
