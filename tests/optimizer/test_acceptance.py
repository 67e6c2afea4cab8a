"""A mutant is kept only when it wins, and stopping early never changes who wins."""

import math
import random
from fractions import Fraction
from itertools import chain
from statistics import mean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autodata.ledger.iterations import EditDecision
from autodata.optimizer.acceptance import (
    AcceptanceRule,
    EvaluationOutcome,
    PassCount,
    decide,
    evaluations_wanted,
    more_documents,
)

DOCUMENTS = 25
OUTCOMES = st.sampled_from(["accepted", "failed", "missing"])


def count(accepted: int, failed: int, missing: int = 0) -> PassCount:
    return PassCount(accepted=accepted, failed=failed, missing=missing)


def sure(accepted: int, failed: int, confirmed: float, missing: int = 0) -> PassCount:
    return count(accepted, failed, missing).model_copy(update={"confirmed": confirmed})


def played(
    rule: AcceptanceRule,
    parent: PassCount,
    outcomes: list[EvaluationOutcome],
    at_least: int = 1,
    sure: list[float] | None = None,
) -> PassCount:
    """The mutant's count when documents are tried in this order, as far as the rule wants.

    `sure` is what an accepted one counts for; it moves as others are tried, so the latest holds.
    """
    mutant = PassCount()
    while batch := more_documents(rule, parent, mutant, len(outcomes), at_least):
        mutant = counted(outcomes[: mutant.tried + batch], sure)
    return mutant


def counted(outcomes: list[EvaluationOutcome], sure: list[float] | None) -> PassCount:
    if sure is None:
        return PassCount.of(outcomes)
    return PassCount.of(outcomes, [sure[len(outcomes) - 1]] * outcomes.count("accepted"))


@pytest.mark.parametrize(
    ("parent", "mutant", "expected"),
    [
        (count(8, 17), count(9, 16), "kept"),
        (count(8, 17), count(8, 17), "rejected"),  # equal is not better
        (count(8, 17), count(7, 18), "rejected"),
        (count(25, 50), count(9, 16), "kept"),  # 9/25 against a third, pooled
        (count(25, 50), count(8, 17), "rejected"),
        (count(8, 17), count(8, 12, 5), "kept"),  # 20 of 25 have an outcome: 80 %
        (count(8, 17), count(9, 10, 6), "indecisive"),  # 19 of 25 have one
        (count(8, 11, 6), count(20, 5), "indecisive"),  # too little is known of the parent
        (count(20, 5), count(3, 12, 10), "rejected"),  # 13 at best: nothing missing could help
        (sure(8, 17, 5.2), sure(8, 17, 5.3), "kept"),
        (sure(8, 17, 5.2), sure(12, 13, 5.2), "rejected"),  # more accepted, and none of it sure
        (sure(16, 34, 10.4), sure(6, 14, 4.3, 5), "kept"),  # 4.3 of 20 against 10.4 of 50
        (sure(20, 5, 15.0), sure(8, 7, 4.9, 10), "rejected"),  # 14.9 at best
    ],
)
def test_an_edit_is_kept_only_when_it_helps(
    parent: PassCount, mutant: PassCount, expected: EditDecision
) -> None:
    assert decide(parent, mutant, DOCUMENTS) == expected


def test_what_accepted_documents_count_for_adds_up_over_evaluations() -> None:
    pooled = sure(8, 17, 5.1234) + sure(6, 19, 4.0001)
    assert pooled == sure(14, 36, 9.1235)
    assert pooled.score == Fraction(91235, 500_000)
    assert sum([pooled], PassCount()) == pooled


def test_what_infrastructure_lost_is_missing_and_not_a_failure() -> None:
    assert PassCount.of(["accepted", "missing", "failed", "missing"]).score == Fraction(1, 2)


@given(
    outcomes=st.lists(OUTCOMES, min_size=1, max_size=40),
    parent=st.builds(count, st.integers(0, 75), st.integers(0, 75), st.integers(0, 20)),
    share=st.floats(0, 1),
    at_least=st.integers(1, 8),
    certainties=st.none() | st.lists(st.floats(0, 1), min_size=40, max_size=40),
)
def test_stopping_early_decides_as_a_full_evaluation_does(
    outcomes: list[EvaluationOutcome],
    parent: PassCount,
    share: float,
    at_least: int,
    certainties: list[float] | None,
) -> None:
    if certainties is not None:
        parent = parent.model_copy(update={"confirmed": round(share * parent.accepted, 4)})
    full = decide(parent, counted(outcomes, certainties), len(outcomes))
    stopped = played("strict", parent, outcomes, at_least, certainties)
    assert decide(parent, stopped, len(outcomes)) == full
    if full == "kept":
        assert stopped.tried == len(outcomes)


def test_a_hopeless_mutant_is_tried_on_no_more_documents_than_needed() -> None:
    parent = count(15, 10)
    assert played("strict", parent, ["failed"] * 25).tried == 10
    assert played("paper", parent, ["failed"] * 25).tried == 25
    assert played("strict", parent, ["failed"] * 25, at_least=4).tried == 10


def test_a_parent_of_which_too_little_is_known_costs_no_evaluation() -> None:
    assert played("strict", count(1, 1, 5), ["accepted"] * 25).tried == 0


def test_a_parent_is_pooled_over_three_evaluations_and_then_left_alone() -> None:
    assert [evaluations_wanted("strict", made) for made in (1, 2, 3, 4)] == [2, 3, 3, 4]
    assert [evaluations_wanted("paper", made) for made in (1, 2, 3)] == [2, 3, 4]


def test_an_iteration_costs_at_most_forty_validation_runs_on_average() -> None:
    costs = [cost for seed in range(20) for cost in simulated("strict", seed, iterations=60)]
    assert mean(costs) <= 40
    assert mean(simulated("paper", 0, iterations=60)) == 2 * DOCUMENTS


def test_a_pooled_parent_keeps_fewer_edits_that_do_nothing() -> None:
    kept = {
        rule: mean(len(survivors(rule, seed, iterations=60, gain=0.0)) for seed in range(20))
        for rule in ("strict", "paper")
    }
    assert kept["strict"] < 0.75 * kept["paper"]


def survivors(rule: AcceptanceRule, seed: int, iterations: int, gain: float) -> list[float]:
    return Climb(rule, seed, gain).run(iterations).rates[1:]


def simulated(rule: AcceptanceRule, seed: int, iterations: int) -> list[int]:
    return Climb(rule, seed, gain=0.06).run(iterations).costs


class Climb:
    """An optimizer with nothing real in it: harnesses are true pass rates, documents are coins."""

    def __init__(self, rule: AcceptanceRule, seed: int, gain: float) -> None:
        self.rule = rule
        self.gain = gain
        self.source = random.Random(seed)
        self.rates = [0.3]
        self.evaluations = [[self.flips(0.3)]]
        self.costs: list[int] = []

    def flips(self, rate: float) -> list[EvaluationOutcome]:
        return ["accepted" if self.source.random() < rate else "failed" for _ in range(DOCUMENTS)]

    def run(self, iterations: int) -> "Climb":
        for _ in range(iterations):
            means = [float(PassCount.of(chain(*e)).score) for e in self.evaluations]
            best = max(means)
            weights = [math.exp((m - best) / 0.1) for m in means]
            [at] = self.source.choices(range(len(means)), weights=weights)
            self.costs.append(self.iterate(at))
        return self

    def iterate(self, at: int) -> int:
        """One mutant of the harness at this place; returns what it cost in validation runs."""
        made = self.evaluations[at]
        wanted = evaluations_wanted(self.rule, len(made))
        cost = DOCUMENTS * (wanted - len(made))
        made += [self.flips(self.rates[at]) for _ in range(wanted - len(made))]
        parent = PassCount.of(made[-1] if self.rule == "paper" else chain(*made))
        rate = self.rates[at] + self.gain * self.source.choice((-1, 0, 0, 0, 1, 1))
        outcomes = self.flips(min(max(rate, 0.0), 1.0))
        mutant = played(self.rule, parent, outcomes)
        if decide(parent, mutant, DOCUMENTS) == "kept":
            self.rates.append(rate)
            self.evaluations.append([outcomes])
        return cost + mutant.tried
