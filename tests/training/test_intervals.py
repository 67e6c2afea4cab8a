"""What k attempts are worth, held against counting all draws, and intervals against those of the
product and against worlds whose truth is known."""

import random
from itertools import combinations
from statistics import fmean

import pytest

from autodata.tasks import measurement
from tests.training.scripts import script

intervals = script("intervals")


@pytest.mark.parametrize("attempts", range(1, 8))
def test_pass_and_best_at_k_are_the_mean_over_all_draws_of_k(attempts: int) -> None:
    draw = random.Random(attempts)
    for k in range(1, attempts + 1):
        scores = [draw.choice((0.0, 0.25, 0.7, 1.0)) for _ in range(attempts)]
        draws = list(combinations(scores, k))
        assert intervals.best_at(k, scores) == pytest.approx(fmean(map(max, draws)))
        right = [float(score == 1.0) for score in scores]
        solved = fmean(max(each) for each in combinations(right, k))
        assert intervals.pass_at(k, sum(map(int, right)), attempts) == pytest.approx(solved)
        assert intervals.best_at(k, right) == pytest.approx(solved)


def test_more_draws_than_attempts_are_refused() -> None:
    for k in (0, 4):
        with pytest.raises(ValueError, match="of 3 attempts cannot be drawn"):
            intervals.pass_at(k, 1, 3)
        with pytest.raises(ValueError, match="of 3 attempts cannot be drawn"):
            intervals.best_at(k, [0.1, 0.2, 0.3])


def documents(seed: int, count: int, least: float = 0.0) -> list[list[float]]:
    """Values of questions, those of one document alike."""
    draw = random.Random(seed)
    found = []
    for _ in range(count):
        middle = draw.uniform(0.2, 0.8)
        values = [draw.gauss(middle, 0.1) for _ in range(draw.randint(1, 4))]
        found.append([least + (1 - least) * min(max(value, 0.0), 1.0) for value in values])
    return found


@pytest.mark.parametrize("least", [0.0, -1.0])
@pytest.mark.parametrize("count", [1, 2, 5, 30])
def test_intervals_are_those_of_the_product(count: int, least: float) -> None:
    by_document = documents(count, count, least)
    mean, low, high = intervals.mean_of(by_document, least)
    assert (low, high) == pytest.approx(tuple(measurement.mean_interval(by_document, least)))
    assert mean == pytest.approx(fmean(value for values in by_document for value in values))


def test_intervals_of_differences_cover_the_truth() -> None:
    """Twelve documents of one to four questions each; the second model is .1 better, on some
    documents more than on others. 95 of 100 are to cover it; of 40, 33 or fewer come by chance in
    one of 300 such tests."""
    covered = 0
    for seed in range(40):
        draw = random.Random(f"difference {seed}")
        by_document = []
        for _ in range(12):
            gain = draw.gauss(0.1, 0.15)
            by_document.append([gain + draw.gauss(0, 0.1) for _ in range(draw.randint(1, 4))])
        found = intervals.difference_of(by_document)
        covered += found.low <= 0.1 <= found.high
    assert covered > 33


def test_a_difference_of_the_detectable_size_shows_in_four_of_five_comparisons() -> None:
    seen = 0
    for seed in range(40):
        draw = random.Random(f"power {seed}")
        spread = [[draw.gauss(0, 0.2)] for _ in range(20)]
        least = intervals.detectable(spread)
        found = intervals.difference_of([[value + least for value in each] for each in spread])
        seen += found.verdict == "higher"
    assert 0.65 < seen / 40 < 0.95


def test_few_documents_get_no_verdict_and_agreeing_ones_no_certainty() -> None:
    assert intervals.difference_of([[0.5]] * 9).verdict == "too few documents (9 of 10)"
    alike = intervals.difference_of([[0.02]] * 12)
    assert alike.low < 0 < alike.high
    assert alike.verdict == "cannot be told"
    assert intervals.difference_of([[-0.4]] * 12).verdict == "lower"
    assert intervals.detectable([[0.1]]) is None


def test_intervals_of_amounts_hold_the_truth_where_documents_differ() -> None:
    """In 60 drawn files, 20 documents each, whose answers resemble one another."""
    draw, held = random.Random(0), 0
    for _ in range(60):
        losses = []
        for document in range(20):
            own = draw.gauss(2.5, 0.2)
            losses += [(str(document), own + draw.gauss(0, 0.05)) for _ in range(4)]
        _, low, high = intervals.amount_of(intervals.grouped(losses))
        held += low <= 2.5 <= high
    assert held >= 52  # 57 are meant; fewer than 53 come by chance in one of 50 such tests


def test_an_amount_of_one_document_has_no_interval() -> None:
    assert intervals.amount_of([[100, 200]]) == (150, None, None)
    mean, low, high = intervals.amount_of([[100], [300], [200, 400]])
    assert low < mean == 250 < high
