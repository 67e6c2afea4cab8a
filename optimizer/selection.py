"""Which harness becomes a parent: a probability for each of the population, then one draw.

Every draw follows from (seed, iteration, purpose) alone, so a resumed run continues the sequence
of an uninterrupted one and nothing about chance has to be remembered.
"""

import math
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Literal

from autodata.tasks.types import Frozen, digest

TEMPERATURE = 0.1  # of the Boltzmann distribution (paper, section 4)

Select = Literal["boltzmann", "best", "pareto"]


class Harness(Frozen):
    """One set of editable prompts in the population.

    `number` is the iteration that made it, 0 for the prompts that the run started from; `score` is
    its pooled pass rate on the validation documents and `by_document` that of each, all 0 … 1.
    """

    number: int
    score: Fraction
    by_document: Mapping[str, Fraction]


def chance(seed: int, iteration: int, purpose: str) -> random.Random:
    """The stream of draws that an iteration makes for one purpose."""
    return random.Random(digest("optimizer", seed, iteration, purpose))


def probabilities(
    how: Select, population: Sequence[Harness], temperature: float = TEMPERATURE
) -> tuple[float, ...]:
    """How likely each harness is to become the parent; they add up to 1.

    Raises ValueError for an empty population.
    """
    if not population:
        raise ValueError("there is no harness to choose from")
    if how == "best":
        return best(population)
    return pareto(population) if how == "pareto" else boltzmann(population, temperature)


def draw(population: Sequence[Harness], shares: Sequence[float], chance: random.Random) -> Harness:
    """One harness, drawn with these probabilities."""
    return chance.choices(population, weights=shares)[0]


def boltzmann(population: Sequence[Harness], temperature: float) -> tuple[float, ...]:
    """P ∝ exp(score / T) (paper, section 4).

    Taken relative to the best score, so that no exponent overflows however small T (> 0) is.
    """
    highest = max(harness.score for harness in population)
    weights = [math.exp(float(h.score - highest) / temperature) for h in population]
    total = math.fsum(weights)
    return tuple(weight / total for weight in weights)


def best(population: Sequence[Harness]) -> tuple[float, ...]:
    """The highest score alone; among equals the oldest, which has survived longest."""
    winner = max(population, key=lambda harness: (harness.score, -harness.number))
    return tuple(float(harness is winner) for harness in population)


def pareto(population: Sequence[Harness]) -> tuple[float, ...]:
    """As likely as the number of validation documents on which a harness is among the best.

    Keeps specialists that an average hides. A harness that another one equals or beats on every
    document where it leads is left out.
    """
    documents = sorted({d for harness in population for d in harness.by_document})
    leaders = [_leaders(population, document) for document in documents]
    kept = set(range(len(population)))
    for i in sorted(kept, key=lambda i: (population[i].score, -population[i].number)):
        led = [who for who in leaders if i in who]
        if len(kept) > 1 and all((who & kept) - {i} for who in led):
            kept.remove(i)
    wins = Counter(i for who in leaders for i in who & kept)
    if not wins:
        return best(population)
    return tuple(wins[i] / wins.total() for i in range(len(population)))


def _leaders(population: Sequence[Harness], document: str) -> set[int]:
    """Places of the harnesses with the highest pass rate on one document."""
    rates = [harness.by_document.get(document, Fraction(-1)) for harness in population]
    return {i for i, rate in enumerate(rates) if rate == max(rates)}
