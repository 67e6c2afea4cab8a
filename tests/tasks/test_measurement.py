"""Intervals and the exact test give the figures that their authors published."""

import random
from itertools import starmap
from math import asin, sqrt
from statistics import fmean, median

import pytest

from autodata.tasks.measurement import (
    DEFAULT,
    Bounds,
    Interval,
    Pairs,
    Prior,
    bootstrap,
    detectable,
    exact_paired,
    fit,
    mean_interval,
    newcombe,
    newcombe_paired,
    posterior,
    wilson,
)

BOUNDS = Bounds(weak_max=0.5, strong_min=0.65, strong_max=1.0, gap_min=0.2)


def near(low: float, high: float) -> object:
    return pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [  # Newcombe, Statistics in Medicine 17 (1998) 857–872, table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_a_share_has_wilsons_interval(successes: int, trials: int, low: float, high: float) -> None:
    assert wilson(successes, trials) == near(low, high)


@pytest.mark.parametrize(
    ("second", "first", "low", "high"),
    [  # Newcombe, Statistics in Medicine 17 (1998) 873–890, table II, method 10
        ((56, 70), (48, 80), 0.0524, 0.3339),
        ((9, 10), (3, 10), 0.1705, 0.8090),
        ((6, 7), (2, 7), 0.0582, 0.8062),
        ((5, 56), (0, 29), -0.0381, 0.1926),
        ((0, 10), (0, 20), -0.1611, 0.2775),
        ((0, 10), (0, 10), -0.2775, 0.2775),
        ((10, 10), (0, 20), 0.6791, 1.0000),
        ((10, 10), (0, 10), 0.6075, 1.0000),
    ],
)
def test_a_difference_of_shares_has_newcombes_interval(
    second: tuple[int, int], first: tuple[int, int], low: float, high: float
) -> None:
    assert newcombe(first, second) == near(low, high)


@pytest.mark.parametrize(
    ("pairs", "low", "high"),
    [
        # Newcombe, Statistics in Medicine 17 (1998) 2635–2650, method 10
        (Pairs(both=36, gained=12, lost=2, neither=0), 0.0569, 0.3404),
        (Pairs(both=20, gained=12, lost=2, neither=16), 0.0562, 0.3292),
        # Altman et al., Statistics with Confidence (2000), table 6.2: 0.011 to 0.226
        (Pairs(both=14, gained=5, lost=0, neither=22), 0.0115, 0.2265),
        # Bentur et al. 2009 in Fagerland et al., Statistics in Medicine 33 (2014): −0.507, −0.026
        (Pairs(both=1, gained=1, lost=7, neither=12), -0.5069, -0.0256),
    ],
)
def test_the_same_documents_twice_have_newcombes_paired_interval(
    pairs: Pairs, low: float, high: float
) -> None:
    assert newcombe_paired(pairs) == near(low, high)


@pytest.mark.parametrize(
    ("pairs", "chance"),
    [
        # Cavo et al. 2012 and Bentur et al. 2009, as above: 0.0525 and 0.0703
        (Pairs(both=59, gained=16, lost=6, neither=80), 0.0525),
        (Pairs(both=1, gained=1, lost=7, neither=12), 0.0703),
        (Pairs(gained=6), 0.03125),
        (Pairs(gained=5), 0.0625),  # five documents can never say it
        (Pairs(both=7, neither=9), 1.0),
        (Pairs(gained=1), 1.0),
    ],
)
def test_uneven_change_is_judged_by_the_exact_sign_test(pairs: Pairs, chance: float) -> None:
    assert exact_paired(pairs) == pytest.approx(chance, abs=5e-5)
    swapped = pairs._replace(lost=pairs.gained, gained=pairs.lost)
    assert exact_paired(swapped) == exact_paired(pairs)


def test_one_document_makes_nobody_sure() -> None:
    low, high = newcombe_paired(Pairs(gained=1))
    assert low < 0.3
    assert high == 1.0
    assert wilson(1, 1).low < 0.3


def test_what_was_never_tried_may_be_anything() -> None:
    assert wilson(0, 0) == Interval(0.0, 1.0)
    assert newcombe((0, 0), (3, 4)) == newcombe_paired(Pairs()) == Interval(-1.0, 1.0)
    with pytest.raises(ValueError, match="5 of 4 is no share"):
        wilson(5, 4)


def test_a_mean_has_the_quantiles_of_documents_drawn_again() -> None:
    """Half of 20 documents at 1: draws are binomial. With 20 documents the tails are .016 (Φ of
    −2.093 √(20/19)); P(X ≤ 4) is .0059 and P(X ≤ 5) .0207, so that the ends are 5 and 15 of 20."""
    assert bootstrap([0.0, 1.0] * 10, fmean) == (0.25, 0.75)
    assert bootstrap([0.0, 1.0], fmean) == (0.0, 1.0)
    with pytest.raises(ValueError, match="at least two documents"):
        bootstrap([0.4], fmean)


def test_an_interval_is_the_same_each_time_and_fits_every_statistic() -> None:
    rng = random.Random(1)
    values = [rng.gauss(0, 1) for _ in range(30)]
    low, high = bootstrap(values, median)
    assert low < median(values) < high
    assert bootstrap(values, median) == (low, high) != bootstrap(values, median, seed=1)


@pytest.mark.parametrize(("documents", "effect"), [(392, 0.20), (98, 0.40), (25, 0.80)])
@pytest.mark.parametrize("share", [0.05, 0.4])
def test_the_difference_that_would_show_is_cohens(
    share: float, documents: int, effect: float
) -> None:
    """Cohen 1988, table 6.4.1: a two-sided test at .05 with a power of .80; h of 1570 / (100 n)."""
    gain = detectable(share, documents)
    assert gain is not None
    assert 2 * (asin(sqrt(share + gain)) - asin(sqrt(share))) == pytest.approx(effect, abs=0.008)


def test_few_documents_show_no_difference_at_all() -> None:
    assert detectable(0.9, 12) is detectable(0.5, 0) is None
    assert detectable(0.4, 100) == pytest.approx(0.2, abs=0.005)
    with pytest.raises(ValueError, match="is no share"):
        detectable(1.2, 12)


def drawn(prior: Prior, rng: random.Random) -> tuple[float, float]:
    """A question's true scores."""
    while True:
        weak = rng.gauss(prior.weak, prior.weak_sd)
        strong = rng.gauss(prior.strong + prior.slope * (weak - prior.weak), prior.strong_sd)
        if 0 < weak < 1 and 0 < strong < 1:
            return weak, strong


def test_a_posterior_agrees_with_drawing_questions_until_their_attempts_fit() -> None:
    """Importance sampling from the prior alone, its wide part included."""
    rng, weak, strong = random.Random(1), (0.42, 0.5), (0.71, 0.8, 0.76)
    prior = DEFAULT.model_copy(update={"attempts": 10**6})  # the spread is known for sure
    wide = prior.model_copy(update={"weak_sd": 2 * prior.weak_sd, "strong_sd": 2 * prior.strong_sd})

    def likely(true: float, score: float) -> float:
        return float(2.718281828 ** (-(((true - score) / prior.spread) ** 2) / 2))

    total = holds = mean = 0.0
    for _ in range(60_000):
        w, s = drawn(wide if rng.random() < 0.1 else prior, rng)
        weight = 1.0
        for true, score in [*((w, x) for x in weak), *((s, x) for x in strong)]:
            weight *= likely(true, score)
        total += weight
        holds += weight * (w < 0.5 and s >= 0.65 and s - w >= 0.2)
        mean += weight * (s - w)
    found = posterior(prior, BOUNDS, weak, strong)
    assert found.holds == pytest.approx(holds / total, abs=0.02)
    assert found.gap.mean == pytest.approx(mean / total, abs=0.01)


@pytest.mark.parametrize("spread", [0.1, 0.2])
def test_what_is_held_for_likely_is_as_often_true(spread: float) -> None:
    """Calibration: of the questions of one stated probability, about that share truly passes."""
    rng, prior = random.Random(2), DEFAULT.model_copy(update={"spread": spread})
    stated, true = [0.0] * 5, [0] * 5
    counted = [0] * 5
    for _ in range(1500):
        weak, strong = drawn(prior, rng)
        sides = [tuple(rng.gauss(t, spread) for _ in range(3)) for t in (weak, strong)]
        holds = posterior(prior, BOUNDS, *sides).holds
        place = min(int(5 * holds), 4)
        counted[place] += 1
        stated[place] += holds
        true[place] += weak < 0.5 and strong >= 0.65 and strong - weak >= 0.2
    for n, said, was in zip(counted, stated, true, strict=True):
        low, high = wilson(was, n)
        assert low - 0.05 <= said / max(n, 1) <= high + 0.05


def test_intervals_cover_what_they_should() -> None:
    rng, inside, tries = random.Random(3), 0, 400
    for _ in range(tries):
        weak, strong = drawn(DEFAULT, rng)
        sides = [tuple(rng.gauss(t, DEFAULT.spread) for _ in range(3)) for t in (weak, strong)]
        low, high = posterior(DEFAULT, BOUNDS, *sides).gap.interval
        inside += low <= strong - weak <= high
    assert inside / tries == pytest.approx(0.95, abs=0.03)


def test_counts_are_read_as_counts() -> None:
    flat = Prior(weak=0.5, weak_sd=50.0, strong=0.5, strong_sd=50.0, slope=0.0)
    found = posterior(flat, BOUNDS, (0, 0, 1, 0), (1, 1, 1, 1), "counts")
    assert found.weak.mean == pytest.approx(2 / 6, abs=0.01)  # Laplace's rule of succession
    assert found.strong.mean == pytest.approx(5 / 6, abs=0.01)


def test_the_prior_finds_what_questions_look_like_though_the_strong_side_was_rarely_asked() -> None:
    """Only questions on which the weak side failed were given to the strong one."""
    rng = random.Random(4)
    truth = Prior(weak=0.55, weak_sd=0.18, strong=0.6, strong_sd=0.12, slope=0.9, spread=0.1)

    def attempted(weak: float, strong: float) -> tuple[list[float], list[float]]:
        made = [[rng.gauss(true, truth.spread) for _ in range(3)] for true in (weak, strong)]
        return made[0], made[1] if sum(made[0]) < 1.5 else []

    found = fit(starmap(attempted, [drawn(truth, rng) for _ in range(500)]))
    assert found.rounds == 500
    for name in ("weak", "weak_sd", "strong", "strong_sd", "spread"):
        assert getattr(found, name) == pytest.approx(getattr(truth, name), abs=0.03), name
    assert found.slope == pytest.approx(truth.slope, abs=0.2)


def test_without_rounds_the_stated_prior_holds_and_with_few_it_moves_a_little() -> None:
    assert fit([]) == DEFAULT
    moved = fit([([0.9, 0.9], []), ([0.8, 0.9], [])])
    assert DEFAULT.weak < moved.weak < 0.6


def test_the_interval_of_a_mean_covers_it_however_few_documents_there_are() -> None:
    """Nineteen times in twenty, as far as 300 experiments can tell; skewed scores are harder."""
    for documents in (5, 12, 40):
        rng = random.Random(documents)
        covered = 0
        for _ in range(300):
            values = [[rng.betavariate(2, 4)] for _ in range(documents)]
            low, high = mean_interval(values)
            covered += low <= 1 / 3 <= high
        assert covered / 300 > 0.91, documents


def test_what_comes_from_one_document_counts_once() -> None:
    values = [0.1, 0.2, 0.35, 0.4, 0.6, 0.7, 0.9]
    single = mean_interval([[v] for v in values])
    assert mean_interval([[v] * 5 for v in values]) == pytest.approx(single)
    apart = mean_interval([[v] for v in values for _ in range(5)])
    assert apart.high - apart.low < 0.6 * (single.high - single.low)
    assert mean_interval([[v] for v in values]) == single


def test_documents_that_agree_do_not_make_certain() -> None:
    assert mean_interval([[0.0]] * 20) == wilson(0, 20)
    assert mean_interval([[1.0], [1.0], [1.0]]) == wilson(3, 3)
    low, high = mean_interval([[0.5], [0.5]], least=-1.0)
    assert low < 0 < 0.5 < high
    assert mean_interval([]) == (0.0, 1.0)
    assert mean_interval([[]], least=-1.0) == (-1.0, 1.0)


@pytest.mark.parametrize("spread", [0.1, 0.2])
def test_few_documents_make_no_mean_certain(spread: float) -> None:
    """The interval covers, and narrows with every document more."""
    widths = list[float]()
    for documents in (1, 2, 3, 4, 6, 8):
        rng, covered, width = random.Random(documents), 0, 0.0
        for _ in range(60):
            values = [[min(max(rng.gauss(0.4, spread), -1.0), 1.0)] for _ in range(documents)]
            low, high = mean_interval(values, least=-1.0)
            covered, width = covered + (low <= 0.4 <= high), width + high - low
        assert covered >= 54, documents
        widths.append(width)
    assert widths == sorted(widths, reverse=True)


def test_documents_that_nearly_agree_are_as_uncertain_as_those_that_agree() -> None:
    for documents in range(2, 9):
        alike = mean_interval([[0.43]] * documents, least=-1.0)
        nearly = mean_interval([[0.43]] * (documents - 1) + [[0.431]], least=-1.0)
        assert nearly == pytest.approx(alike, abs=0.01), documents
        assert nearly.low < 0.37 < 0.49 < nearly.high
