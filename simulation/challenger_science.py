"""The simulated science challenger: problems in the document's notation, solved by SymPy."""

import re

from autodata.simulation.chance import Chance
from autodata.simulation.documents import study
from autodata.simulation.formulas import Notation, formulas, notation
from autodata.simulation.habits import Habits, habits
from autodata.simulation.objects import Answer
from autodata.simulation.problems import FAMILIES, Family
from autodata.simulation.reading import Brief
from autodata.simulation.writing import spoilt

ROUTINE = 0.0  # families below this difficulty are routine
PREFERRED = 4.0  # how much more often an angle's own families are drawn
# Words of an angle → the families that suit it.
ANGLES = (
    (r"limit|edge|border", ("three roots", "moment")),
    (r"gone in|inverse", ("inverse", "stationary")),
    (r"hypothesis", ("decay", "change")),
    (r"chain|compos", ("power", "sum")),
    (r"separates|classif", ("folded", "three roots")),
)
OPENINGS = (
    "The following arises in connection with {term}.",
    "Consider this in the setting of {term}.",
    "A question of this form comes up around {term}.",
)
SOURCE_HINT = "As the passage shows, this is a standard situation."
SECOND_QUESTION = " Also, how does the result behave for large arguments?"


def challenge(brief: Brief, chance: Chance) -> str:
    """One problem as JSON, with the mistakes that the prompt does not prevent."""
    document = brief.section("document")
    ways = habits(brief.guidance, brief.section("instruction"), "science")
    family = _family(brief.section("angle"), notation(document), ways, chance)
    context, question = family.pose(chance, notation(document))
    answer = family.solve(formulas(f"{context} {question}"))
    if terms := study(document).terms[:1]:
        context = f"{chance.choice(OPENINGS).format(term=terms[0])} {context}"
    if chance.happens(ways.rate("wrong")):
        answer = answer.slipped(chance)
    context, question = _with_slips(context, question, answer, ways, chance)
    reference = f"${answer.latex()}$"
    if chance.happens(ways.rate("integer")):
        question, reference = "How many real constants are free in this setting?", "$2$"
    reply = {
        "question_type": family.kind,
        "skills": [family.name, "symbolic calculation"],
        "context": context,
        "question": question,
        "reference_answer": reference,
        "rubric": [],
    }
    return spoilt(reply, ways.rate("bad_json") * 0.3**brief.reasked, chance)


def _family(angle: str, found: Notation, ways: Habits, chance: Chance) -> Family:
    """A family that suits the angle, routine or not as the habits have it."""
    routine = chance.happens(ways.rate("routine"))
    suited = next((names for words, names in ANGLES if re.search(words, angle.casefold())), ())
    weights = {
        family: PREFERRED if family.name in suited else 1.0
        for family in FAMILIES
        if (family.difficulty < ROUTINE) == routine and (found.equations or family.name != "change")
    }
    return chance.weighted(weights)


def _with_slips(
    context: str, question: str, answer: Answer, ways: Habits, chance: Chance
) -> tuple[str, str]:
    if chance.happens(ways.rate("leak")):
        context += f" It turns out that the answer is ${answer.latex()}$."
    if chance.happens(ways.rate("names_source")):
        context += f" {SOURCE_HINT}"
    if chance.happens(ways.rate("unfocused")):
        question += SECOND_QUESTION
    return context, question
