"""Rubrics of the simulated challenger: sentences that a judge can check in an answer's text."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from autodata.simulation.chance import Chance
from autodata.simulation.habits import Habits
from autodata.simulation.world import Case, Fact
from autodata.simulation.writing import sentence

# Counts that the challenger aims at where the policy leaves room (paper, section 2).
AIMS = {"cs": ((7, 10), (3, 5)), "legal": ((12, 17), (2, 4))}
# Weight of a positive criterion as a share of the policy's largest weight, by facet: the bands of
# the prompts. A criterion without a facet repeats the context.
BANDS = {"conclusion": (0.8, 1.0), "driver": (0.5, 0.7), "extent": (0.2, 0.4), "": (0.2, 0.3)}
# Category and capability by domain and facet, in the words of the prompts.
KINDS = {
    "cs": {
        "conclusion": ("insight", "prediction"),
        "driver": ("step", "causal reasoning"),
        "extent": ("condition", "scope of a claim"),
        "": ("step", "use of the setup"),
        "error": ("error", "causal reasoning"),
    },
    "legal": {
        "conclusion": ("application", "legal reasoning"),
        "driver": ("rule", "rule knowledge"),
        "extent": ("consequence", "risk assessment"),
        "": ("issue", "issue spotting"),
        "error": ("error", "practical advice"),
    },
}
SURPLUS = 4  # how far a miscounted rubric lies outside the policy


@dataclass(frozen=True)
class Line:
    """One possible criterion; `facet` names its row in `BANDS` and `KINDS`."""

    text: str
    facet: str

    def weighed(self, domain: str, weight: int) -> dict[str, Any]:
        """The criterion as the challenger replies it."""
        category, capability = KINDS[domain][self.facet]
        return {
            "criterion": sentence(self.text),
            "weight": weight,
            "category": category,
            "capability": capability,
        }


def rubric(
    case: Case, facts: Mapping[str, Fact], policy: Mapping[str, int], ways: Habits, chance: Chance
) -> list[dict[str, Any]]:
    """Criteria within the policy, but for the mistakes that the habits leave in."""
    positives, negatives = _counts(case.domain, policy, chance)
    if chance.happens(ways.rate("miscount")):
        positives += chance.choice((-SURPLUS, policy.get("items_max", 20) - positives + 2))
    most = policy.get("weight_max", 10)
    lines = _positive_lines(case, facts, ways.rate("padding"), positives, chance)
    chosen = [line.weighed(case.domain, _weight(line, most, chance)) for line in lines]
    least = policy.get("negative_weight_min", -10)
    misworded = chance.happens(ways.rate("misworded"))
    for line in _negative_lines(facts, negatives, misworded, chance):
        weight = -chance.randint(max(-least // 3, 1), max(-least * 4 // 5, 1))
        chosen.append(line.weighed(case.domain, weight))
    return chosen


def _counts(domain: str, policy: Mapping[str, int], chance: Chance) -> tuple[int, int]:
    """How many positive and negative criteria to write, inside the policy where it says so."""
    (low, high), (few, many) = AIMS[domain]
    negatives = chance.randint(few, many)
    negatives = max(negatives, policy.get("negatives_min", 3))
    negatives = min(negatives, policy.get("negatives_max", 10))
    least, most = policy.get("items_min", 10), policy.get("items_max", 20)
    positives = max(chance.randint(low, high), policy.get("positives_min", 4), least - negatives)
    return max(min(positives, most - negatives), 1), negatives


def _weight(line: Line, most: int, chance: Chance) -> int:
    low, high = BANDS[line.facet]
    return chance.randint(max(round(most * low), 1), max(round(most * high), 1))


def _positive_lines(
    case: Case, facts: Mapping[str, Fact], padding: float, count: int, chance: Chance
) -> list[Line]:
    """What a good answer says; a share of the lines only repeats what the context states."""
    real = [line for aspect, fact in facts.items() for line in _facet_lines(aspect, fact)]
    idle = [
        Line(text.format(term=term), "")
        for text in (
            "takes into account that «{term}» has changed",
            "mentions «{term}»",
            "starts from the change to «{term}»",
            "keeps «{term}» in view",
        )
        for term in case.conditions
    ]
    idle = idle[: max(round(count * padding), count - len(real), 0)]
    kept = chance.sample(real, min(max(count - len(idle), 1), len(real)))
    return [line for line in real if line in kept] + idle


def _facet_lines(aspect: str, fact: Fact) -> list[Line]:
    return [
        Line(f"states that «{aspect}» {fact.conclusion}", "conclusion"),
        Line(f"names «{fact.driver}» as what decides «{aspect}»", "driver"),
        Line(f"says for «{aspect}» that this is so {fact.extent}", "extent"),
    ]


def _negative_lines(
    facts: Mapping[str, Fact], count: int, misworded: bool, chance: Chance
) -> list[Line]:
    """Errors named; misworded ones say that the error was avoided, which punishes good answers."""
    errors = [("claim", f"«{aspect}» {fact.tempting_conclusion}") for aspect, fact in facts.items()]
    errors += [
        ("blame", f"«{fact.tempting_driver}» for «{aspect}»")
        for aspect, fact in facts.items()
        if fact.tempting_driver != fact.driver
    ]
    wordings = {
        "claim": "avoids claiming that {}" if misworded else "claims that {}",
        "blame": "avoids blaming {}" if misworded else "blames {}",
    }
    chosen = chance.sample(errors, min(count, len(errors)))
    return [Line(wordings[error].format(what), "error") for error, what in chosen]
