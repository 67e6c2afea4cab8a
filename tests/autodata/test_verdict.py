"""A gain on validation documents is called real only when the sealed ones show it, too."""

import pytest

from autodata.ledger.iterations import Final, Iteration
from autodata.optimization import iteration_line
from autodata.optimizer.acceptance import PassCount, placed, verdict
from autodata.optimizer.finals import findings, sentence
from autodata.optimizer.report import curve
from autodata.tasks.measurement import Pairs

START = Final(number=0, place=0, evaluations=5, accepted=40, decided=125)


def final(pairs: Pairs | None, accepted: int = 75, number: int = 7) -> list[Final]:
    """The start and a winner, with what became of each sealed document under both."""
    winner = Final(number=number, place=1, evaluations=5, accepted=accepted, decided=125)
    if pairs is None:
        return [START, winner]
    before = {"test_accepted": pairs.both + pairs.lost, "test_decided": pairs.documents}
    after = {
        "test_accepted": pairs.both + pairs.gained,
        "test_decided": pairs.documents,
        "test_gained": pairs.gained,
        "test_lost": pairs.lost,
    }
    return [START.model_copy(update=before), winner.model_copy(update=after)]


@pytest.mark.parametrize(
    ("pairs", "expected", "offered"),
    [
        (
            Pairs(both=25, gained=35, lost=7, neither=33),
            "The gain is real: +28.0% on the sealed test (100 documents, 95 % interval +15.9% to "
            "+38.8%, exact paired test p < 0.001); the validation documents showed +28.0%.",
            True,
        ),
        (
            Pairs(both=20, gained=13, lost=12, neither=55),
            "+28.0% is not shown to be real: +1",
            True,
        ),
        (Pairs(both=10, gained=5, lost=9, neither=56), "not shown to be real: -5.0%", True),
        # The interval excludes zero, the exact test does not: both must say it.
        (Pairs(both=20, gained=5, lost=0, neither=20), "not shown to be real: +11.1%", True),
        (Pairs(both=5, gained=2, lost=20, neither=33), "worse than the start: -30.0%", False),
        (Pairs(gained=1), "No verdict: 1 test document is too few", True),
        (Pairs(gained=9), "No verdict: 9 test documents are too few to say whether the", True),
        (Pairs(gained=10), "The gain is real: +100.0%", True),
        (None, "No test documents were given, so nothing says whether the validation gain", True),
    ],
)
def test_the_verdict_trusts_sealed_documents_only(
    pairs: Pairs | None, expected: str, offered: bool
) -> None:
    said = verdict(final(pairs))
    assert expected in sentence(said)
    assert said.offers == offered
    assert findings([], final(pairs))[-1] == sentence(said)


@pytest.mark.parametrize(
    "held",
    [
        [START.model_copy(update={"place": 1})],
        final(None, accepted=40),  # a tie
        final(Pairs(gained=40), accepted=39),  # recorded by a version that let such a winner win
    ],
)
def test_a_winner_that_does_not_beat_the_start_is_not_offered(held: list[Final]) -> None:
    assert not verdict(held).offers
    assert sentence(verdict(held)).endswith("so there is nothing to adopt.")


def test_a_winner_is_one_by_what_its_documents_count_for() -> None:
    """More accepted and less of it certain: the start wins."""
    start, winner = final(Pairs(gained=40))
    sure = [start.model_copy(update={"confirmed": 30.0}), winner]
    sure[1] = winner.model_copy(update={"confirmed": 29.5})
    assert verdict(sure).finding == "no winner"
    sure[1] = winner.model_copy(update={"confirmed": 42.5})
    assert verdict(sure).validation_gain == pytest.approx(0.1)
    # 25 documents, five times each: 8.5 of 25 by Wilson
    said = "validation, 5 times: winner 75 of 125, counting for 42.5 (34 %, 19–54), iteration 7"
    assert findings([], sure)[2] == said


@pytest.mark.parametrize(
    ("pairs", "shown"),
    [  # Cohen's h of 2.80 √(2 / n) from the start's pass rate: 2 of 12, 50 of 100
        (Pairs(both=1, gained=4, lost=1, neither=6), "with 12 documents only a difference of 53"),
        (
            Pairs(both=40, gained=12, lost=10, neither=38),
            "with 100 documents only a difference of 19",
        ),
        (Pairs(both=8, lost=1), "with 9 documents no difference would show"),
    ],
)
def test_a_withheld_verdict_says_which_difference_would_show(pairs: Pairs, shown: str) -> None:
    assert shown in sentence(verdict(final(pairs)))


def test_an_iteration_is_told_with_the_intervals_of_its_documents() -> None:
    """Ten of 20, against 30 of 80 in four evaluations of the same 20: 7.5 of 20."""
    i = Iteration(
        number=3, decision="kept", revision="r", prompts="p", subject="Ask why",
        score=0.5, pass_count={"accepted": 10, "failed": 10, "missing": 0},
        parent_score=0.375, parent_evaluations=4,
        parent_pass_count={"accepted": 30, "failed": 50, "missing": 0},
    )  # fmt: skip
    assert "kept       50 % (30–70) against 38 % (20–59)  Ask why" in iteration_line(i, 20).plain
    stopped = i.model_copy(update={"score": 0.25, "pass_count": {"accepted": 1, "failed": 3}})
    assert "25 % (5–70) against" in iteration_line(stopped, 20).plain
    newest = {"accepted": 8, "failed": 12}  # the rule `paper` compares one evaluation of several
    alone = i.model_copy(update={"parent_score": 0.4, "parent_pass_count": newest})
    assert "against 40 % (22–61)" in iteration_line(alone, 20).plain


def test_results_from_before_documents_were_paired_keep_an_interval() -> None:
    unpaired = {"test_gained": None, "test_lost": None}
    held = [f.model_copy(update=unpaired) for f in final(Pairs(gained=35, lost=7, neither=58))]
    said = verdict(held)
    assert said.finding == "better"
    assert said.chance is None
    assert "exact" not in sentence(said)


def test_a_used_test_set_is_named_beside_the_verdict() -> None:
    start, winner = final(Pairs(gained=20, neither=20))
    said = findings([], [start, winner.model_copy(update={"test_seen": "cs-1 (12 of 40)"})])
    assert "used before, by cs-1 (12 of 40)" in said[-2]


@pytest.mark.parametrize(
    ("counts", "order"),
    [
        ({0: (8, 17), 3: (9, 16), 5: (8, 17)}, [3, 0, 5]),
        ({0: (9, 16), 3: (9, 16), 5: (9, 16)}, [0, 3, 5]),  # ties are the start's
        ({0: (10, 15), 3: (9, 16)}, [0, 3]),
        ({0: (8, 17), 3: (3, 0)}, [0, 3]),  # three of 25 documents say nothing
        ({0: (0, 3), 3: (9, 16)}, [0, 3]),  # nothing is shown to beat what was hardly tried
    ],
)
def test_the_start_takes_part_in_the_final_and_wins_ties(
    counts: dict[int, tuple[int, int]], order: list[int]
) -> None:
    passed = {
        n: PassCount(accepted=a, failed=f, missing=25 - a - f) for n, (a, f) in counts.items()
    }
    assert placed(passed) == order


def test_what_an_edit_says_cannot_break_out_of_the_page() -> None:
    attack = "</title><script>alert(1)</script>"
    i = Iteration(number=0, decision="start", revision="a", prompts="p", score=0.5, subject=attack)
    drawn = curve([i], {0: PassCount(accepted=1, failed=1)}, 2)
    assert "<script>" not in drawn
    assert "&lt;script&gt;" in drawn
