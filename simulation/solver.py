"""The simulated solver: right or wrong on each thing asked, by item response."""

from autodata.simulation.chance import Chance
from autodata.simulation.reading import Brief
from autodata.simulation.world import (
    CONCLUSIONS,
    EXTENTS,
    FACET_DIFFICULTY,
    PHRASES,
    QUOTED,
    TEMPTATION,
    Case,
    case,
    chance_of_success,
)
from autodata.simulation.writing import quoted

ATTEMPT_SIGMA = 0.5  # logits by which one attempt of the same model differs from another
SILENCE = 0.3  # share of the facets that a solver cannot see on which it says nothing


def solve(brief: Brief, ability: float, chance: Chance) -> str:
    """An answer in prose: one paragraph for each «matter» asked about."""
    context, question = brief.section("context"), brief.section("question")
    read = case(brief.domain, context, question)
    if not read.aspects:
        return _in_general(context, question)
    form = ability + chance.gauss(0.0, ATTEMPT_SIGMA)
    paragraphs = [_opening(read)]
    for aspect in read.aspects:
        stated = _stated(aspect, context)
        paragraphs.append(stated or _paragraph(read, aspect, form, chance))
    return "\n\n".join(paragraphs)


def _opening(read: Case) -> str:
    if not read.conditions:
        return "I take the points in turn."
    return f"What bears on it is {quoted(read.conditions)}; I take the points in turn."


def _stated(aspect: str, context: str) -> str:
    """What the context gives away about an aspect: every solver copies it."""
    for sentence in context.replace("\n", " ").split(". "):
        if f"«{aspect}»" in sentence and any(phrase in sentence for phrase in PHRASES):
            return f"As stated, {sentence[sentence.index(f'«{aspect}»') :].strip().rstrip('.')}."
    return ""


def _paragraph(read: Case, aspect: str, form: float, chance: Chance) -> str:
    fact, difficulty = read.fact(aspect), read.difficulty(aspect)

    def facet(name: str, right: str, tempting: str, others: tuple[str, ...]) -> str:
        """The words for one facet: right, tempted, some other mistake, or nothing."""
        if chance.happens(chance_of_success(form, difficulty + FACET_DIFFICULTY[name])):
            return right
        if name != "conclusion" and chance.happens(SILENCE):
            return ""
        wrong = [other for other in others if other != right] or [tempting]
        return tempting if chance.happens(TEMPTATION) else chance.choice(wrong)

    conclusion = facet(
        "conclusion", fact.conclusion, fact.tempting_conclusion, CONCLUSIONS[read.domain]
    )
    extent = facet("extent", fact.extent, fact.tempting_extent, EXTENTS[read.domain])
    driver = facet("driver", fact.driver, fact.tempting_driver, read.conditions)
    text = f"«{aspect}» {conclusion}" + (f", {extent}" if extent else "") + "."
    if driver:
        text += f" The reason lies in «{driver}»" + chance.choice(
            (
                ", which the rest of the setup does not offset.",
                "; the other circumstances only come on top of it.",
                ", and I see nothing in the setup that would undo it.",
            )
        )
    return text


def _in_general(context: str, question: str) -> str:
    """What to say about a question that names no matter: an honest commonplace."""
    found = QUOTED.findall(context)
    about = f" about {quoted(found[:3])}" if found else ""
    return f"In general terms: the setup{about} decides, and the question leaves the rest open."
