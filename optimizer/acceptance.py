"""Which harness becomes a parent, when a mutant is kept, and what the winner is worth: strictly
better on held-out documents, noise in mind.

Every draw follows from (seed, iteration, purpose) alone, so a resumed run continues the sequence
of an uninterrupted one and nothing about chance has to be remembered.

A strict comparison of two single evaluations keeps a no-op edit two times out of five (paper,
section 4). So the parent's score is pooled over several evaluations, and the mutant's evaluation
stops as soon as it can no longer win. Stopping changes no decision, only the bill.

A score counts accepted documents, each in full or for its certainty (`certainties`). Both
lie between 0 and 1, and a mean of such shares varies no more than a share of documents does, so
that the score interval (Wilson) stays on the safe side.

The best of many flatters itself even so: what the winner is worth is said by documents that chose
nothing, by an exact test on the documents that changed, or not at all.
"""

import math
import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Literal

from autodata.ledger.iterations import EditDecision, Final
from autodata.tasks.acceptance import exact, scores
from autodata.tasks.measured import MeasuredPolicy
from autodata.tasks.measurement import (
    LEVEL,
    MIN_PAIRS,
    Interval,
    Pairs,
    Sides,
    exact_paired,
    fit,
    newcombe,
    newcombe_paired,
    wilson,
)
from autodata.tasks.types import Frozen, Round, digest

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


AcceptanceRule = Literal["strict", "paper", "confirm"]
Scoring = Literal["certainty", "accepted"]
EvaluationOutcome = Literal["accepted", "failed", "missing"]
Finding = Literal["no winner", "untested", "too few", "better", "open", "worse"]

POOLED = 3  # evaluations over which a parent's score is pooled
COVERAGE = Fraction(4, 5)  # share of the documents below which a comparison says nothing


class PassCount(Frozen):
    """What one or more evaluations of a harness came to, in documents.

    `missing` counts those without an outcome for reasons of infrastructure: no evidence either way.
    `confirmed` is what the accepted ones count for together, at most their number; None where each
    counts in full.
    """

    accepted: int = 0
    failed: int = 0
    missing: int = 0
    confirmed: float | None = None

    @classmethod
    def of(
        cls,
        outcomes: Iterable[EvaluationOutcome],
        certainties: Iterable[float] | None = None,
    ) -> "PassCount":
        """The outcomes, counted; `certainties` are what the accepted ones count for."""
        seen = list(outcomes)
        return cls(
            accepted=seen.count("accepted"),
            failed=seen.count("failed"),
            missing=seen.count("missing"),
            confirmed=None if certainties is None else _four_digits(sum(certainties)),
        )

    def __add__(self, other: "PassCount") -> "PassCount":
        return PassCount(
            accepted=self.accepted + other.accepted,
            failed=self.failed + other.failed,
            missing=self.missing + other.missing,
            confirmed=self._with(other),
        )

    def _with(self, other: "PassCount") -> float | None:
        if self.confirmed is None and other.confirmed is None:
            return None
        return _four_digits(float(self.counting + other.counting))

    @property
    def counting(self) -> Fraction:
        """How many documents the accepted ones count for: exact, 0 … `accepted`."""
        return Fraction(self.accepted) if self.confirmed is None else exact(self.confirmed)

    @property
    def tried(self) -> int:
        """Documents that were tried, with or without an outcome."""
        return self.accepted + self.failed + self.missing

    @property
    def score(self) -> Fraction:
        """What the documents with an outcome count for on average, 0 … 1; 0 when there is none.

        The pass rate, where each accepted one counts in full.
        """
        decided = self.accepted + self.failed
        return self.counting / decided if decided else Fraction(0)

    def interval(self, documents: int) -> Interval | None:
        """Of the score, for so many documents at most: one tried again is no new document. None
        below two documents or without an outcome."""
        documents = min(documents, self.accepted + self.failed)
        if documents < 2:
            return None
        return wilson(float(self.score) * documents, documents)

    @property
    def covered(self) -> bool:
        """Whether enough of the documents tried have an outcome."""
        return self.tried > 0 and self.accepted + self.failed >= COVERAGE * self.tried


def _four_digits(value: float) -> float:
    """As certainties are kept, so that sums of them in any order are the same."""
    return round(value, 4)


def evaluations_wanted(rule: AcceptanceRule, made: int) -> int:
    """How many evaluations stand behind the score of a parent that has been evaluated `made` times.

    The first one let it win and flatters it, so each time it is chosen a fresh one is added:
    `strict` and `confirm` pool up to three, `paper` compares the newest alone.
    """
    return made + 1 if rule == "paper" else max(made, min(made + 1, POOLED))


def more_documents(
    rule: AcceptanceRule, parent: PassCount, mutant: PassCount, documents: int, at_least: int = 1
) -> int:
    """How many more documents to try before looking again; 0 when the decision is settled.

    The smallest number of failures that would rule a win out, so that no try is wasted, or
    `at_least` (so that endpoints have work), while that many are left. A winner is tried on all.
    An accepted document is hoped to count in full: its certainty still moves with the others'.
    """
    left = documents - mutant.tried
    if left <= 0 or not parent.covered:
        return 0
    if rule == "paper":
        return left
    hopeful = documents - mutant.failed
    if Fraction(hopeful, documents) <= parent.score:
        return 0
    spare = hopeful - math.floor(parent.score * documents)
    return min(max(spare, at_least), left)


def decide(parent: PassCount, mutant: PassCount, documents: int) -> EditDecision:
    """What becomes of a mutant that was tried on some or all of the documents.

    Rejected when it cannot beat the parent strictly even if every document without an outcome were
    accepted for sure; else indecisive when too many are missing on either side.
    """
    hopeful = documents - mutant.failed - mutant.accepted + mutant.counting
    if parent.covered and Fraction(hopeful, documents) <= parent.score:
        return "rejected"
    if not (parent.covered and mutant.covered):
        return "indecisive"
    return "kept" if mutant.score > parent.score else "rejected"


def placed(counts: Mapping[int, PassCount]) -> list[int]:
    """The harnesses of a final, best first, by number; the start is 0 and takes part like any.

    Among equals the oldest comes first, so that the start wins ties. A harness with too few
    outcomes cannot win; without enough for the start nothing is shown to beat it.
    """
    if not counts[0].covered:
        return sorted(counts)
    return sorted(counts, key=lambda n: (not counts[n].covered, -counts[n].score, n))


class FinalVerdict(Frozen):
    """What a final says about its winner. Gains are differences, −1 … 1.

    `validation_gain` is one of scores, and flatters: those documents chose the winner. On the
    sealed test each document counts or does not. `before` is the start's pass rate there, 0 … 1;
    `gain`, its 95 % `interval` and `chance` (how likely so uneven a change is without any real one,
    0 … 1; None where documents were not paired) are about the `documents` of the sealed test.
    """

    finding: Finding
    validation_gain: float = 0.0
    documents: int = 0
    before: float = 0.0
    gain: float = 0.0
    interval: Interval = Interval(-1.0, 1.0)
    chance: float | None = None

    @property
    def offers(self) -> bool:
        """Whether there is something to adopt: a winner that the sealed test does not refute."""
        return self.finding not in ("no winner", "worse")


def verdict(final: Sequence[Final]) -> FinalVerdict:
    """What the final evaluation (winner and start among it) says; `no winner` for none."""
    start = next((f for f in final if f.number == 0), None)
    winner = next((f for f in final if f.place == 1), start)
    if start is None or winner is None or winner.number == 0:
        return FinalVerdict(finding="no winner")
    shown = winner.score - start.score
    if shown <= 0:
        return FinalVerdict(finding="no winner", validation_gain=shown)
    before, after = ((f.test_accepted or 0, f.test_decided or 0) for f in (start, winner))
    if not (before[1] and after[1]):
        return FinalVerdict(finding="untested", validation_gain=shown)
    pairs = _pairs(winner)
    found = FinalVerdict(
        finding="open",
        validation_gain=shown,
        documents=min(before[1], after[1]),
        before=before[0] / before[1],
        gain=after[0] / after[1] - before[0] / before[1],
        interval=newcombe_paired(pairs) if pairs else newcombe(before, after),
        chance=exact_paired(pairs) if pairs else None,
    )
    return found.model_copy(update={"finding": _finding(found)})


def _finding(found: FinalVerdict) -> Finding:
    """Interval and exact test must both say it, on enough documents."""
    if found.documents < MIN_PAIRS:
        return "too few"
    if found.chance is not None and found.chance >= LEVEL:
        return "open"
    if found.interval.low > 0:
        return "better"
    return "worse" if found.interval.high < 0 else "open"


def _pairs(winner: Final) -> Pairs | None:
    """The test documents by what became of each under start and winner; None where not recorded."""
    gained, lost = winner.test_gained, winner.test_lost
    if gained is None or lost is None:
        return None
    accepted, decided = winner.test_accepted or 0, winner.test_decided or 0
    both = accepted - gained
    return Pairs(both=both, lost=lost, gained=gained, neither=decided - both - lost - gained)


CONFIRMED = 0.5
"""Certainty below which an accepted document counts for nothing. Where attempts say little, what is
left is what one supposed before, and a gate that accepts everything would be paid for that."""


def certainties(
    gate: MeasuredPolicy,
    seen: Iterable[Sides],
    accepted: Mapping[str, Round],
    least: float = CONFIRMED,
    beside: Iterable[Sides] = (),
) -> dict[str, float]:
    """What each accepted document counts for: its certainty from `least` on, else 0; four digits.

    A gate that reads a few noisy attempts round after round accepts luck, and the noisier it is the
    more (paper, section 7: rubrics of one criterion let identical solvers pass nearly all
    documents). So an edit is credited not with what the gate let pass, but with how likely the
    thresholds hold on the true scores.

    The prior is fitted to `seen`, the attempts of all rounds of the evaluation: accepted or not,
    each question was drawn from it, so that being the best of many rounds raises nothing, and
    attempts that scatter more are believed less. A sceptical reader must be as certain.

    A prior moves many documents at once, and a test on pairs takes them for independent. So two
    evaluations that are compared share it: `beside` are the rounds of the other one. How much
    attempts scatter stays each one's own, or a noisier gate would borrow the other's good name.
    """
    own = sorted(seen)  # rounds end in any order
    spread = fit(own, gate.noise, gate.prior).model_dump(include={"spread", "attempts"})
    prior = fit(sorted([*own, *beside]), gate.noise, gate.prior).model_copy(update=spread)
    measures = gate.model_copy(update={"prior": prior})
    return {name: _counted(measures, round, least) for name, round in accepted.items()}


def _counted(measures: MeasuredPolicy, round: Round, least: float) -> float:
    sides = ([a for a in round.attempts if a.solver == side] for side in ("weak", "strong"))
    certainty = measures.known(*map(scores, sides)).holds
    return float(f"{certainty:.4f}") if certainty >= least else 0.0
