"""Legal, as the simulated models practise it: a client tells what happened, and asks."""

from collections.abc import Sequence

from autodata.simulation.behaviour import Behaviour
from autodata.simulation.messages import Rng, quoted
from autodata.simulation.roles import roles
from autodata.simulation.scenario import ReadText, Scenario, words


def _stage(
    kind: str, conditions: Sequence[str], aspects: Sequence[str], reading: ReadText, rng: Rng
) -> tuple[str, str]:
    """The client's message: the situation, and the one thing that the person wants to know."""
    words = SCENARIO.words
    claims = rng.sample(words["claims"], min(len(conditions), len(words["claims"])))
    told = [claim.format(term=term) for claim, term in zip(claims, conditions, strict=False)]
    start = [rng.choice(words["people"]), rng.choice(words["events"])]
    parts = [*start, *told, rng.choice(words["worries"])]
    question = rng.choice(SCENARIO.asks[kind]).format(
        aspects=quoted(aspects), first=f"«{aspects[0]}»"
    )
    return " ".join(parts), question


def _finish(context: str, behaviour: Behaviour, rng: Rng) -> str:
    """Clients that speak like case reports, or ramble."""
    if rng.happens(behaviour.rate("case_speak")):
        context += " " + rng.choice(SCENARIO.words["case_speak"])
    if rng.happens(behaviour.rate("rambling")):
        context = SCENARIO.words["rambling"][0] + context
    return context


SCENARIO = Scenario(
    **words("legal"),
    stage=_stage,
    aspects=(5, 6),
    aims=((12, 17), (2, 4)),
    difficulty=1.7,
    # Clients ask about their case by themselves, and seldom for a definition.
    rates={
        "kind_recall": 0.6, "kind_explanation": 0.8, "kind_prediction": 2.5, "kind_decision": 1.0,
        "kind_interaction": 0.8, "kind_contradiction": 0.5, "generic": 0.6,
    },
    finish=_finish,
)  # fmt: skip

RESPONDERS = roles(SCENARIO)
