"""What a simulated challenger does by itself, and what becomes of it under the rules it is given.

The rates are declarations, tuned so that the seed prompts show every outcome and leave an optimizer
room.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from autodata.simulation.rules import FEEDBACK, rules_in

# How often each thing happens when nothing is said about it: shares of candidates, 0 … 1, except
# "padding" (share of criteria that repeat the context), "special" (share of questions about special
# matters) and "kind …" (weights of question types).
UNTAUGHT: Mapping[str, float] = {
    "kind recall": 3.0,
    "kind explanation": 3.5,
    "kind prediction": 1.5,
    "kind decision": 1.0,
    "kind interaction": 0.6,
    "kind contradiction": 0.4,
    "generic": 0.9,
    "special": 0.15,
    "leak": 0.4,
    "padding": 0.4,
    "miscount": 0.08,
    "bad_json": 0.10,
    "unfocused": 0.08,
    "misworded": 0.3,
    "names_source": 0.10,
    "overload": 0.12,
    "case_speak": 0.3,
    "rambling": 0.3,
    "routine": 0.0,
    "wrong": 0.0,
    "integer": 0.0,
}
# Clients ask about their case by themselves, and seldom for a definition.
UNTAUGHT_LEGAL: Mapping[str, float] = {
    "kind recall": 0.6,
    "kind explanation": 0.8,
    "kind prediction": 2.5,
    "kind decision": 1.0,
    "kind interaction": 0.8,
    "kind contradiction": 0.5,
    "generic": 0.6,
}
UNTAUGHT_SCIENCE: Mapping[str, float] = {
    "routine": 0.95,
    "wrong": 0.25,
    "integer": 0.25,
    "leak": 0.15,
}
_OWN: Mapping[str, Mapping[str, float]] = {"legal": UNTAUGHT_LEGAL, "science": UNTAUGHT_SCIENCE}
CONDITIONS = 2  # circumstances that a context changes, unless told otherwise
CONDITIONS_MAX = 5
RATE_MAX = 0.95


@dataclass(frozen=True)
class Habits:
    """How a challenger works under the rules it was given."""

    rates: Mapping[str, float]
    conditions: int
    rules: tuple[str, ...]

    def rate(self, name: str) -> float:
        """How often something happens, 0 … 0.95."""
        return min(self.rates[name], RATE_MAX)

    @property
    def kinds(self) -> dict[str, float]:
        """Weights of the question types."""
        return {
            name.removeprefix("kind "): weight
            for name, weight in self.rates.items()
            if name.startswith("kind ")
        }


def habits(
    guidance: str,
    instruction: str = "",
    domain: str = "cs",
    policy: Mapping[str, int] | None = None,
) -> Habits:
    """The habits under a prompt (its own words), this round's instruction, and a rubric policy."""
    rates = {**UNTAUGHT, **_OWN.get(domain, {})}
    conditions = CONDITIONS
    told = " ".join(instruction.split())
    found = dict.fromkeys((*rules_in(guidance), *rules_in(told)))
    if policy and policy.get("negatives_max") == 0:
        found |= dict.fromkeys(rules_in("positive-only"))
    found |= dict.fromkeys(rule for rule in FEEDBACK if rule.pattern.search(told))
    for rule in found:
        conditions += rule.conditions
        for name, factor in rule.factors.items():
            rates[name] *= factor
    names = tuple(rule.name for rule in found)
    return Habits(rates, min(max(conditions, 1), CONDITIONS_MAX), names)
