"""The simulated judge: looks for each criterion in the answer's text, and errs now and then."""

import re

from autodata.simulation.chance import Chance
from autodata.simulation.reading import Brief
from autodata.simulation.world import PHRASES, QUOTED
from autodata.simulation.writing import excerpt, spoilt

ERROR = 0.02  # share of marks on positive criteria that are wrong
NEGATIVE_ERROR = 0.10  # judges find it harder to say whether an error was made
BAD_JSON = 0.005
OVERLAP = 0.6  # share of a criterion's words that an answer must contain when nothing is quoted

_ITEM = re.compile(r"^\s*(\d+)[.)]\s+(?:\[[+-−]?\d+\]\s*)?(.+)$", re.MULTILINE)
_AVOIDS = re.compile(r"^(?:avoids|refrains from|does not)\b", re.IGNORECASE)
_ERROR = re.compile(r"^(?:avoids|claims|blames|refrains)\b", re.IGNORECASE)
_WORD = re.compile(r"[a-z]{4,}")


def mark(brief: Brief, chance: Chance) -> str:
    """One mark per criterion with a quote as evidence, as JSON; no total."""
    answer = brief.section("answer")
    marks = []
    for number, criterion in criteria(brief.section("rubric")):
        met, evidence = meets(criterion, answer)
        if chance.happens(NEGATIVE_ERROR if _ERROR.match(criterion) else ERROR):
            met = not met
        marks.append({"number": number, "evidence": evidence if met else "", "met": met})
    return spoilt({"marks": marks}, BAD_JSON * 0.3**brief.reasked, chance)


def criteria(rubric: str) -> list[tuple[int, str]]:
    """The numbered criteria of a rubric, without their weights."""
    return [(int(number), text.strip()) for number, text in _ITEM.findall(rubric)]


def meets(criterion: str, answer: str) -> tuple[bool, str]:
    """Whether the answer meets a criterion, and a short quote of where.

    What a criterion demands are its «matters» and the world's phrases: one paragraph must hold
    them all. A criterion without either is compared by its words.
    """
    demands = [f"«{term}»" for term in QUOTED.findall(criterion)]
    demands += [phrase for phrase in PHRASES if phrase in criterion]
    paragraphs = [p for p in answer.split("\n\n") if p.strip()]
    found = next((p for p in paragraphs if _holds(p, criterion, demands)), "")
    if _AVOIDS.match(criterion):
        return not found, "" if found else excerpt(answer)
    return bool(found), excerpt(found)


def _holds(paragraph: str, criterion: str, demands: list[str]) -> bool:
    if demands:
        return all(demand in paragraph for demand in demands)
    wanted, said = (
        set(_WORD.findall(criterion.casefold())),
        set(_WORD.findall(paragraph.casefold())),
    )
    return bool(wanted) and len(wanted & said) / len(wanted) >= OVERLAP
