"""Evaluations with nothing real in them: questions with declared true scores, attempts drawn."""

import random
from collections.abc import Mapping, Sequence, Set
from fractions import Fraction
from functools import cache
from statistics import fmean
from typing import NamedTuple

from autodata.optimizer.acceptance import CONFIRMED, certainties
from autodata.tasks.acceptance import Acceptance, ThresholdPolicy, exact, thresholds
from autodata.tasks.measured import measured
from autodata.tasks.measurement import Pairs, Sides
from autodata.tasks.types import Attempt, Round, Side
from tests.tasks.rounds import attempts

GATE = thresholds(Acceptance())
PAPER = ThresholdPolicy(gate=GATE, weak_planned=3, strong_planned=3)
MEASURES = measured(GATE, Acceptance())
DOCUMENTS = 25


class World(NamedTuple):
    """What a harness makes the agents do.

    True weak scores lie around .5 (SD `weak_sd`), true strong ones `gap` above. In an attempt each
    criterion is met with the true score as its chance; the judge is lenient or strict by
    `leniency` (SD) in all of an attempt.
    """

    gap: float = 0.15
    gap_sd: float = 0.20
    weak_sd: float = 0.15
    weights: tuple[float, ...] = (5,) * 12
    leniency: float = 0.0

    def question(self, chance: random.Random) -> dict[Side, float]:
        weak = _share(chance.gauss(0.5, self.weak_sd))
        return {"weak": weak, "strong": _share(weak + chance.gauss(self.gap, self.gap_sd))}

    def attempt(self, true: float, chance: random.Random) -> Fraction:
        met = sum(w for w in self.weights if chance.random() < true)
        score = met / sum(self.weights) + chance.gauss(0.0, self.leniency)
        return exact(round(_share(score), 3))


class Evaluation(NamedTuple):
    """What the gate saw and let through, and the true scores of that."""

    seen: list[Sides]
    accepted: dict[str, Round]
    true: dict[str, dict[Side, float]]

    def counting(self, least: float = CONFIRMED) -> float:
        """What the accepted documents count for together."""
        return sum(certainties(MEASURES, self.seen, self.accepted, least).values())

    def confirmed(self, other: "Evaluation | None" = None) -> set[str]:
        """The documents that count, alone or where both are compared."""
        beside = other.seen if other else ()
        found = certainties(MEASURES, self.seen, self.accepted, beside=beside)
        return {document for document, certainty in found.items() if certainty}


def paired(one: Set[str], other: Set[str], documents: int) -> Pairs:
    """Documents by whether they count before and after."""
    both = len(one & other)
    lost, gained = len(one) - both, len(other) - both
    return Pairs(both, lost, gained, documents - both - lost - gained)


class Scored(NamedTuple):
    """An evaluation's documents: share accepted, share that truly passes, what they count for."""

    accepted: float
    truly: float
    score: float


@cache
def evaluated(world: World, times: int, rounds: int = 4) -> Scored:
    """The mean over so many evaluations under the paper's gate; the same at each call."""
    chance = random.Random(f"{world} {rounds}")
    found = [evaluation(world, chance, rounds) for _ in range(times)]
    each = ((len(e.accepted), sum(map(passes, e.true.values())), e.counting()) for e in found)
    return Scored(*(fmean(values) / DOCUMENTS for values in zip(*each, strict=True)))


def evaluation(
    world: World, chance: random.Random, rounds: int, documents: int = DOCUMENTS
) -> Evaluation:
    """So many documents, each with new questions until one is accepted or rounds are used up."""
    found = Evaluation([], {}, {})
    for document in map(str, range(documents)):
        for _ in range(rounds):
            true = world.question(chance)
            round = _played(world, true, chance)
            weak, strong = ([a.score or 0.0 for a in side] for side in (round.weak, round.strong))
            found.seen.append((weak, strong))
            if strong and not PAPER.objections(round):
                found.accepted[document], found.true[document] = round, true
                break
    return found


def _played(world: World, true: dict[Side, float], chance: random.Random) -> Round:
    """One round, with the attempts that the gate asks for."""
    made: dict[Side, list[Fraction]] = {"weak": [], "strong": []}
    sides: Sequence[Side] = ("weak", "strong")
    for side in sides:
        if side == "strong" and PAPER.weak_objections(_attempts("weak", made["weak"])):
            break
        while wanted := PAPER.batch(side, made["weak"], made["strong"]):
            made[side] += [world.attempt(true[side], chance) for _ in range(wanted)]
    weak, strong = (_attempts(side, made[side]) for side in sides)
    return Round(number=1, weak=weak, strong=strong)


def _attempts(side: Side, scores: Sequence[Fraction]) -> tuple[Attempt, ...]:
    return attempts(side, [float(score) for score in scores])


def passes(true: Mapping[Side, float]) -> bool:
    """Whether scores keep the paper's thresholds."""
    weak, strong = true["weak"], true["strong"]
    return weak < GATE.weak_max and strong >= GATE.strong_min and strong - weak >= GATE.gap_min


def _share(value: float) -> float:
    return min(max(value, 0.0), 1.0)
