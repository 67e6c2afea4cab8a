"""Procedural, as the simulated models practise it: items solved by item response on the dial."""

import math
import re
from collections.abc import Mapping
from functools import lru_cache
from statistics import fmean

from autodata.simulation.messages import Brief, Rng, noise
from autodata.simulation.roles import Role, form
from autodata.simulation.scenario import QUESTION_SIGMA, chance_of_success
from autodata.tasks.item_families import ITEM_FAMILIES, ItemFamily

EASIEST, STEP = -3.0, 1.1  # logits of the first position of a dial, and from one to the next
DRAWS = 20  # items by which a position's usual size is known
FORMLESS = {"simulated-weak": 0.12}  # share of answers that end without one, by model
FORMLESS_ELSE = 0.02
_SIZED = re.compile(r"\d+|\b\w\b|\w+(?=[,?])|has")


def solve(brief: Brief, rng: Rng) -> str:
    """The answer on a line of its own, right or wrong; now and then none at all."""
    context, question = brief.section("context"), brief.section("question")
    family, right = recognise(context, question)
    if family is None:
        return "I cannot tell what is asked for here."
    if rng.happens(FORMLESS.get(brief.model, FORMLESS_ELSE)):
        return "Let me go through it once more before I commit myself."
    hardness = EASIEST + STEP * position(family, context, question)
    hardness += noise(QUESTION_SIGMA, context, question)
    knows = rng.happens(chance_of_success(form(brief, rng), hardness))
    return f"Answer: {right if knows else _slip(family, question, right, rng)}"


def recognise(context: str, question: str) -> tuple[ItemFamily | None, str]:
    """The family that an item belongs to and its answer; None and nothing for any other text."""
    for family in ITEM_FAMILIES.values():
        try:
            return family, family.solve(context, question)
        except ValueError:
            continue
    return None, ""


def position(family: ItemFamily, context: str, question: str) -> int:
    """The position of the dial whose items are nearest in size to this one."""
    size = _size(context, question)
    return min(range(family.hardest + 1), key=lambda at: abs(_usual(family.name, at) - size))


@lru_cache
def _usual(name: str, at: int) -> float:
    family = ITEM_FAMILIES[name]
    drawn = (family.pose(Rng("usual", name, at, i), family.settings[at]) for i in range(DRAWS))
    return fmean(_size(item[0], item[1]) for item in drawn)


def _size(context: str, question: str) -> float:
    """How much there is to an item: numbers by their logarithm, names, letters and words."""
    found = _SIZED.findall(f"{context} {question}")
    return sum(math.log1p(int(part)) if part.isdecimal() else 1.0 for part in found)


def _slip(family: ItemFamily, question: str, right: str, rng: Rng) -> str:
    if others := [choice for choice in family.choices(question) if choice != right]:
        return rng.choice(others)
    return str(int(right) + rng.choice((-10, -2, -1, 1, 2, 10)))


RESPONDERS: Mapping[str, Role] = {"solver": solve}
