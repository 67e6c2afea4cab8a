"""The simulated science judge: is the final answer the same mathematical object?"""

import re

from autodata.simulation.chance import Chance
from autodata.simulation.formulas import NotAFormula, formulas
from autodata.simulation.judge import BAD_JSON, ERROR, criteria
from autodata.simulation.objects import read, same
from autodata.simulation.reading import Brief
from autodata.simulation.writing import spoilt

_FINAL = re.compile(r"final answer:\s*(.+)", re.IGNORECASE)
_EQUIVALENT = re.compile(r"equivalent to:\s*(.+)", re.IGNORECASE | re.DOTALL)


def mark(brief: Brief, chance: Chance) -> str:
    """One mark per criterion as JSON, by comparing objects at random points."""
    lines = _FINAL.findall(brief.section("answer"))
    marks = []
    for number, criterion in criteria(brief.section("rubric")) or [(1, brief.section("rubric"))]:
        wanted = _EQUIVALENT.search(criterion)
        met = bool(lines and wanted) and equal(lines[-1], wanted[1] if wanted else "")
        if chance.happens(ERROR):
            met = not met
        evidence = f"Final answer: {lines[-1]}" if lines and met else ""
        marks.append({"number": number, "evidence": evidence, "met": met})
    return spoilt({"marks": marks}, BAD_JSON * 0.3**brief.reasked, chance)


def equal(one: str, other: str) -> bool:
    """Whether two texts hold the same object; what cannot be read is the same only literally."""
    left, right = ((formulas(text) or [text])[-1] for text in (one, other))
    try:
        return same(read(left), read(right))
    except NotAFormula:
        return "".join(left.split()) == "".join(right.split())
