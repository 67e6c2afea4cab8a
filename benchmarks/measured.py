"""What a gate lets through: how many of the accepted truly pass, and what each of those costs.

    python benchmarks/measured.py                  # 1,000 documents per world and policy
    python benchmarks/measured.py --documents 200
    python benchmarks/measured.py --picture docs/measurement.svg

Questions with declared true scores, attempts scattered around them, and the policies as they run:
every call is counted (a round 3, an attempt 2 with its judge, the final check 1). A question truly
passes when its true scores keep the paper's thresholds. Figures come with 95 % intervals: Wilson
for shares, the percentile bootstrap by document for the rest.
"""

import argparse
import random
import sys
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))

from results import report

from autodata.graph.context import REFITTED, ROUNDS_FITTED
from autodata.graph.run import FIRST_DOCUMENTS
from autodata.tasks.acceptance import Acceptance, Policy, ThresholdPolicy, exact, mean, thresholds
from autodata.tasks.measured import MeasuredPolicy, measured
from autodata.tasks.measurement import Prior, fit, wilson
from autodata.tasks.types import Attempt, Round, Side

ROUNDS = 12
ROUND, FINAL = 3, 1  # calls: challenger, verifier, orchestrator; the final check
JUDGED = 0.5  # share of the attempts' variance that the judge makes, for those judged twice
RESAMPLES = 400
CONFIRM = 5
IN_FLIGHT = 64  # documents at once, the default

Seen = tuple[list[float], list[float]]  # the scores of a round, by side


class World(NamedTuple):
    """True weak scores around .5 with SD .15; gaps and the spread of attempts as stated."""

    gap: float
    gap_sd: float
    spread: float

    def question(self, rng: random.Random) -> tuple[float, float]:
        weak = _share(rng.gauss(0.5, 0.15))
        return weak, _share(weak + rng.gauss(self.gap, self.gap_sd))


class Tried(NamedTuple):
    """One document: its calls, whether a question was accepted, whether that truly passes, with
    what certainty, and its gap as shown by the attempts and in truth."""

    calls: int
    accepted: bool
    passes: bool
    certainty: float
    shown: float = 0.0
    true: float = 0.0


def _share(value: float) -> float:
    return min(max(value, 0.0), 1.0)


def passes(weak: float, strong: float) -> bool:
    gate = thresholds(Acceptance())
    return weak < gate.weak_max and strong >= gate.strong_min and strong - weak >= gate.gap_min


class Attempts:
    """The attempts at one question as a policy asks for them."""

    def __init__(self, world: World, truth: tuple[float, float], rng: random.Random) -> None:
        self.world, self.rng = world, rng
        self.truth: dict[Side, float] = {"weak": truth[0], "strong": truth[1]}
        self.made: dict[Side, list[Fraction]] = {"weak": [], "strong": []}

    def ask(self, side: Side, number: int) -> list[Fraction]:
        drawn = (self.rng.gauss(self.truth[side], self.world.spread) for _ in range(number))
        return [exact(round(_share(score), 3)) for score in drawn]

    def settle(self, policy: Policy) -> bool:
        """Whether the policy accepts, all that it wanted being made."""
        weak, strong = self.made["weak"], self.made["strong"]
        while True:
            side: Side = "weak" if policy.batch("weak", weak, strong) else "strong"
            if side == "strong" and policy.weak_objections(self.of("weak")):
                return False
            wanted = policy.batch(side, weak, strong)
            if not wanted:
                break
            self.made[side] += self.ask(side, wanted)
        round = Round(number=1, weak=self.of("weak"), strong=self.of("strong"))
        return not policy.objections(round)

    def of(self, side: Side) -> tuple[Attempt, ...]:
        return tuple(
            Attempt(solver=side, number=number, answer="", score=float(score))
            for number, score in enumerate(self.made[side], 1)
        )

    @property
    def number(self) -> int:
        return len(self.made["weak"]) + len(self.made["strong"])


def paper(prior: Prior) -> Policy:
    return ThresholdPolicy(gate=thresholds(Acceptance()), weak_planned=3, strong_planned=3)


def deployed(prior: Prior) -> Policy:
    gate = thresholds(Acceptance(preset="deployed"))
    return ThresholdPolicy(gate=gate, weak_planned=3, strong_planned=3)


def by_measure(prior: Prior) -> Policy:
    choices = Acceptance(preset="measured")
    return measured(thresholds(choices), choices).model_copy(update={"prior": prior})


class Contestant(NamedTuple):
    """A policy; `confirm` fresh attempts decide once more, `prior` is given instead of found."""

    name: str
    policy: Callable[[Prior], Policy]
    confirm: int = 0
    prior: Prior | None = None
    judges: int = 1

    @property
    def attempt(self) -> int:
        """Calls of an attempt: the answer, and its marks by each judge."""
        return 1 + self.judges

    def seen(self, spread: float) -> float:
        """The spread of attempts whose marks are means over the judges."""
        return float(spread * (1 - JUDGED + JUDGED / self.judges) ** 0.5)


# An optimist's, sure of little noise.
WRONG = Prior(weak=0.30, weak_sd=0.1, strong=0.75, strong_sd=0.1, spread=0.12, attempts=20)
CONTESTANTS = (
    Contestant("paper", paper),
    Contestant("deployed", deployed),
    Contestant("paper + confirm", paper, CONFIRM),
    Contestant("measured", by_measure),
    Contestant("measured, wrong prior", by_measure, prior=WRONG),
    Contestant("measured, judged twice", by_measure, judges=2),
)


def tried(contestant: Contestant, world: World, documents: int, seed: int) -> list[Tried]:
    """So many documents, as many at once as a run begins; those seen are the prior of the next."""
    world = world._replace(spread=contestant.seen(world.spread))
    rng, seen, found = random.Random(seed), list[Seen](), list[Tried]()
    prior, fitted = contestant.prior or Prior(), 0
    while len(found) < documents:
        learns = contestant.policy is by_measure and not contestant.prior
        if learns and len(seen) > fitted * REFITTED:
            prior, fitted = fit(seen[-ROUNDS_FITTED:]), len(seen)
        policy, begun = contestant.policy(prior), min(max(FIRST_DOCUMENTS, len(found)), IN_FLIGHT)
        for _ in range(min(begun, documents - len(found))):
            found.append(_document(contestant, policy, world, rng, seen))
    return found


def _document(
    contestant: Contestant, policy: Policy, world: World, rng: random.Random, seen: list[Seen]
) -> Tried:
    calls, own = 0, list[Seen]()
    for _ in range(ROUNDS):
        truth = world.question(rng)
        attempts = Attempts(world, truth, rng)
        gate = policy.after(own) if isinstance(policy, MeasuredPolicy) else policy
        accepted = attempts.settle(gate)
        calls += ROUND + contestant.attempt * attempts.number
        weak, strong = ([float(score) for score in side] for side in attempts.made.values())
        own.append((weak, strong))
        seen.append((weak, strong))
        if accepted and contestant.confirm:
            calls += 2 * contestant.attempt * contestant.confirm
            fresh = (mean(attempts.ask(side, contestant.confirm)) for side in ("weak", "strong"))
            low, high = (float(value or 0) for value in fresh)
            accepted = passes(low, high)
        if accepted:
            certainty = 0.0
            if isinstance(gate, MeasuredPolicy):
                certainty = gate.known(attempts.made["weak"], attempts.made["strong"]).holds
            weak_seen, strong_seen = (float(mean(side) or 0) for side in attempts.made.values())
            gaps = (strong_seen - weak_seen, truth[1] - truth[0])
            return Tried(calls + FINAL, True, passes(*truth), certainty, *gaps)
    return Tried(calls, False, False, 0.0)


def row(contestant: Contestant, world: World, documents: int, seed: int) -> dict[str, object]:
    found = tried(contestant, world, documents, seed)
    accepted = [one for one in found if one.accepted]
    good = sum(one.passes for one in accepted)
    low, high = wilson(good, len(accepted))
    price = _price(found)
    lowest, highest = _bootstrap(found, seed)
    stated = sum(one.certainty for one in accepted) / len(accepted) if accepted else 0.0
    return {
        "policy": contestant.name,
        "gap": f"{world.gap:.2f} ± {world.gap_sd:.2f}",
        "spread": world.spread,
        "accepted": f"{len(accepted)} of {documents}",
        "truly pass": f"{good / max(len(accepted), 1):.2f} ({low:.2f}–{high:.2f})",
        "stated": f"{stated:.2f}" if stated else "",
        "calls each": f"{price:.0f} ({lowest:.0f}–{highest:.0f})",
    }


def _price(found: Sequence[Tried]) -> float:
    """Calls per accepted question that truly passes."""
    return sum(one.calls for one in found) / max(sum(one.passes for one in found), 1)


def _bootstrap(found: Sequence[Tried], seed: int) -> tuple[float, float]:
    rng = random.Random(seed)
    prices = sorted(_price(rng.choices(found, k=len(found))) for _ in range(RESAMPLES))
    return prices[int(0.025 * RESAMPLES)], prices[int(0.975 * RESAMPLES)]


SIDE, EDGE = 420, 40  # pixels
SPAN = 0.7  # of gaps that are shown


def picture(found: Sequence[Tried]) -> str:
    """Every accepted question by its gap, as shown and in truth, as SVG."""

    def place(gap: float) -> float:
        return EDGE + gap / SPAN * (SIDE - 2 * EDGE)

    dots = "".join(
        f'<circle cx="{place(one.shown):.1f}" cy="{SIDE - place(one.true):.1f}" r="2.5" '
        f'fill="{"#2a7" if one.passes else "#d55"}" fill-opacity="0.7"/>'
        for one in found
        if one.accepted and 0 <= one.true <= SPAN and 0 <= one.shown <= SPAN
    )
    gate, low, high = thresholds(Acceptance()).gap_min, place(0), place(SPAN)
    line = 'stroke="#888" stroke-width="1"'
    words = 'font-family="sans-serif" font-size="12" fill="#888"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {SIDE} {SIDE}">'
        f'<rect x="{low}" y="{low}" width="{high - low}" height="{high - low}" fill="none" {line}/>'
        f'<path d="M{low} {high} L{high} {low}" {line} stroke-dasharray="4 4"/>'
        f'<path d="M{low} {SIDE - place(gate)} H{high} M{place(gate)} {low} V{high}" {line}/>'
        f"{dots}"
        f'<text x="{place(gate)}" y="{SIDE - 26}" text-anchor="middle" {words}>{gate:.2f}</text>'
        f'<text x="{low - 4}" y="{SIDE - place(gate) + 4}" text-anchor="end" {words}>{gate:.2f}'
        "</text>"
        f'<text x="{high - 8}" y="{high - 8}" text-anchor="end" {words}>green: truly passes</text>'
        f'<text x="{SIDE / 2}" y="{SIDE - 10}" text-anchor="middle" {words}>gap as shown</text>'
        f'<text x="14" y="{SIDE / 2}" text-anchor="middle" {words} '
        f'transform="rotate(-90 14 {SIDE / 2})">true gap</text></svg>\n'
    )


WORLDS = (
    World(0.10, 0.15, 0.10),
    World(0.20, 0.20, 0.10),
    World(0.35, 0.15, 0.10),
    World(0.10, 0.15, 0.20),
    World(0.20, 0.20, 0.20),
    World(0.35, 0.15, 0.20),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--documents", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--worlds", type=int, nargs="*", default=list(range(len(WORLDS))))
    parser.add_argument("--picture", type=Path, help="draw what the paper's gate accepts, instead")
    asked = parser.parse_args()
    if asked.picture:
        found = tried(CONTESTANTS[0], WORLDS[0], asked.documents, asked.seed)
        asked.picture.write_text(picture(found))
        return
    rows = [
        row(contestant, WORLDS[number], asked.documents, asked.seed)
        for number in asked.worlds
        for contestant in CONTESTANTS
    ]
    report("measured", "What the gates let through", rows)


if __name__ == "__main__":
    main()
