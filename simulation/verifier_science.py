"""The simulated science verifier: solves the problem itself and compares."""

import re

from autodata.simulation.chance import Chance
from autodata.simulation.formulas import NotAFormula, formulas
from autodata.simulation.objects import read, same
from autodata.simulation.problems import Family, recognise
from autodata.simulation.reading import Brief
from autodata.simulation.verifier import Fault, verdict

EASY = -1.5  # logits below which one step settles a problem
NOTICED_EASY = 0.5  # share of such problems that are recognised as too easy
_SOURCE = re.compile(r"\b(?:this|the) (?:passage|document|text|exercise)\b", re.IGNORECASE)


def verify(brief: Brief, chance: Chance) -> str:
    """A verdict as JSON: the verifier's own solution, findings, problems and fixes."""
    context, question = brief.section("context"), brief.section("question")
    reference = brief.section("reference_answer").strip().strip("$")
    family = recognise(question)
    own = _own(family, context, question)
    found = []
    if own and not _agree(own, reference):
        found.append(Fault("grounded", f"my own result is ${own}$", "Solve it a second way."))
    if reference in context:
        found.append(Fault("leak", "the context states the answer", "Take the answer out."))
    if source := _SOURCE.search(context):
        found.append(Fault("grounded", f"“{source.group(0)}” names the source", "Leave it out."))
    if "Also, " in question:
        found.append(Fault("single_focus", "two things are asked", "Ask for one object."))
    if family and family.difficulty < EASY and chance.happens(NOTICED_EASY):
        found.append(Fault("question", "one substitution answers it", "Ask for more steps."))
    if family is None:
        found.append(Fault("question", "no calculation leads to the answer", "Ask for an object."))
    return verdict(brief, found, own and f"${own}$", "too_easy", chance)


def _own(family: Family | None, context: str, question: str) -> str:
    """The verifier's own result in LaTeX; nothing when it finds none."""
    if family is None:
        return ""
    try:
        return family.solve(formulas(f"{context} {question}")).latex()
    except (NotAFormula, ValueError, IndexError):
        return ""


def _agree(own: str, reference: str) -> bool:
    try:
        return same(read(own), read(reference))
    except NotAFormula:
        return False
