"""The simulated science solver: works the formula out, and slips or rambles now and then."""

from autodata.simulation.chance import Chance, noise
from autodata.simulation.formulas import NotAFormula, formulas
from autodata.simulation.problems import Family, recognise
from autodata.simulation.reading import Brief
from autodata.simulation.solver import ATTEMPT_SIGMA
from autodata.simulation.world import FAME, FAMOUS, QUESTION_SIGMA, area, chance_of_success

RAMBLES = 0.04  # share of answers to hard problems that never come to an end
RAMBLE = "Let me check this once more from the beginning, since a sign may have been lost. "
RAMBLE_TIMES = 500  # more than any token limit
FAMILIAR = 1.0  # share of the usual effect that a famous field has on a calculation


def solve(brief: Brief, ability: float, chance: Chance) -> str:
    """Steps and a last line with the final answer."""
    context, question = brief.section("context"), brief.section("question")
    family = recognise(question)
    if family is None:
        return "I see no way to turn this into a calculation, so I can give no final answer."
    try:
        right = family.solve(formulas(f"{context} {question}"))
    except (NotAFormula, ValueError, IndexError):
        return f"{family.method} But the formulas given here do not lead me to a result."
    hardness = difficulty(family, context, question)
    form = ability + chance.gauss(0.0, ATTEMPT_SIGMA)
    if hardness > 0 and chance.happens(RAMBLES * chance_of_success(hardness, form)):
        return f"{family.method} {RAMBLE * RAMBLE_TIMES}"
    knows = chance.happens(chance_of_success(form, hardness))
    given = right.rewritten(chance) if knows else right.slipped(chance)
    return (
        f"{family.method}\n\nWith the quantities of the context this gives one {right.kind}; "
        "inserting a simple special case confirms its form.\n\n"
        f"Final answer: ${given.latex()}$"
    )


def difficulty(family: Family, context: str, question: str) -> float:
    """Logits, from the text that solvers see."""
    field = noise(1.0, "area", area(context))
    familiar = FAME * FAMILIAR if field < FAMOUS else 0.0
    return family.difficulty + familiar + noise(QUESTION_SIGMA, context, question)
