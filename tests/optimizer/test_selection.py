"""A parent is drawn as the paper says, and the draw can be repeated."""

import math
from collections import Counter
from collections.abc import Mapping
from fractions import Fraction

import pytest

from autodata.optimizer.acceptance import (
    Harness,
    Select,
    best,
    boltzmann,
    chance,
    draw,
    pareto,
    probabilities,
)


def harness(number: int, score: float, **by_document: int) -> Harness:
    rates: Mapping[str, Fraction] = {name: Fraction(rate) for name, rate in by_document.items()}
    return Harness(number=number, score=Fraction(str(score)), by_document=rates)


@pytest.mark.parametrize(
    ("scores", "temperature"),
    [
        ([0.5], 0.1),
        ([0.5, 0.5], 0.1),
        ([0.32, 0.48], 0.1),
        ([0.621, 0.796, 0.7], 0.1),  # the paper's first and last pass rate, and one between
        ([0.0, 1.0, 0.2, 0.2], 0.1),
        ([0.1, 0.2, 0.3], 1.0),
        ([0.1, 0.2, 0.3], 0.02),
    ],
)
def test_better_harnesses_are_chosen_more_often_by_exp_of_score_over_t(
    scores: list[float], temperature: float
) -> None:
    weights = [math.exp(score / temperature) for score in scores]
    expected = [weight / sum(weights) for weight in weights]
    population = [harness(n, score) for n, score in enumerate(scores)]
    assert boltzmann(population, temperature) == pytest.approx(expected, rel=1e-12)


def test_a_temperature_near_zero_overflows_nowhere() -> None:
    population = [harness(0, 0.2), harness(1, 0.9), harness(2, 0.9)]
    assert boltzmann(population, 1e-6) == (0.0, 0.5, 0.5)


def test_a_hundred_thousand_draws_match_the_probabilities_within_sampling_error() -> None:
    population = [harness(n, score) for n, score in enumerate([0.30, 0.36, 0.44, 0.44, 0.52])]
    shares = probabilities("boltzmann", population)
    draws, source = 100_000, chance(7, 1, "parent")
    seen = Counter(draw(population, shares, source).number for _ in range(draws))
    for number, share in enumerate(shares):
        error = math.sqrt(draws * share * (1 - share))
        assert abs(seen[number] - draws * share) < 4 * error


def test_a_draw_follows_from_seed_iteration_and_purpose_alone() -> None:
    first = [chance(7, 3, "parent").random() for _ in range(2)]
    assert first[0] == first[1]
    others = [chance(8, 3, "parent"), chance(7, 4, "parent"), chance(7, 3, "documents")]
    assert len({first[0], *(other.random() for other in others)}) == 4


def test_best_takes_the_highest_score_and_among_equals_the_oldest() -> None:
    assert best([harness(0, 0.3), harness(4, 0.6), harness(2, 0.6)]) == (0.0, 0.0, 1.0)


def test_pareto_keeps_a_specialist_that_the_average_hides() -> None:
    generalist = harness(0, 0.75, a=1, b=1, c=1, d=0)
    specialist = harness(1, 0.25, a=0, b=0, c=0, d=1)
    assert pareto([generalist, specialist]) == (0.75, 0.25)


def test_pareto_leaves_out_whoever_leads_only_where_others_lead_too() -> None:
    shadow = harness(1, 0.5, a=1, b=0)
    assert pareto([harness(0, 1.0, a=1, b=1), shadow]) == (1.0, 0.0)
    twin = harness(2, 1.0, a=1, b=1)
    assert sum(pareto([harness(0, 1.0, a=1, b=1), shadow, twin])) == 1.0


@pytest.mark.parametrize("how", ["boltzmann", "best", "pareto"])
def test_an_empty_population_is_an_error(how: Select) -> None:
    with pytest.raises(ValueError, match="no harness"):
        probabilities(how, [])
