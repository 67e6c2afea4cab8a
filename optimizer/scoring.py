"""What an accepted document counts for: only as much as is true of it.

A gate that reads a few noisy attempts round after round accepts luck, and the noisier it is the
more (paper, section 7: rubrics of one criterion let identical solvers pass nearly all documents).
So what an edit is credited with is not that the gate let a question pass, but how likely the
thresholds hold on its true scores.
"""

from collections.abc import Iterable, Mapping

from autodata.tasks.acceptance import scores
from autodata.tasks.measured import MeasuredPolicy
from autodata.tasks.measurement import Sides, fit
from autodata.tasks.types import Round

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
