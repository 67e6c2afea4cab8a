"""The simulated challenger (CS, legal): a scenario from the document's own terms, and mistakes."""

from types import ModuleType

from autodata.simulation import staging_cs, staging_legal
from autodata.simulation.chance import Chance
from autodata.simulation.documents import Reading, study
from autodata.simulation.habits import Habits, habits
from autodata.simulation.reading import Brief
from autodata.simulation.rubrics import rubric
from autodata.simulation.world import COMMON, KIND_DIFFICULTY, QUOTED, Fact, case, is_special
from autodata.simulation.writing import spoilt

OVERLOAD = 4  # conditions added when the challenger overdoes it
MISLABELLED = 0.03  # share of candidates whose label and text disagree
KNOWN = 2  # terms that name the field; questions are about the others


def challenge(brief: Brief, chance: Chance) -> str:
    """One candidate as JSON, written under the rules found in the prompt and the instruction."""
    domain = "legal" if brief.domain == "legal" else "cs"
    staging = staging_legal if domain == "legal" else staging_cs
    ways = habits(brief.guidance, brief.section("instruction"), domain, brief.policy)
    reading = study(brief.section("document"))
    kind = chance.weighted(ways.kinds)
    conditions, aspects = _matters(brief, domain, reading, ways, chance)
    context, question = staging.stage(kind, conditions, aspects, reading, chance)
    if chance.happens(ways.rate("unfocused")):
        question += staging.SECOND_QUESTION
    posed = case(domain, context, question)
    facts = {aspect: posed.fact(aspect) for aspect in posed.aspects}
    answer = {aspect: conclude(aspect, fact) for aspect, fact in facts.items()}
    written = {
        "question_type": _label(kind, staging, chance),
        "skills": [kind, "weighing conditions", aspects[0]],
        "context": _with_slips(context, list(answer.values()), staging, ways, chance),
        "question": question,
        "reference_answer": "\n\n".join(
            f"{text}{_ground(aspect, facts[aspect], reading, staging, chance)}"
            for aspect, text in answer.items()
        ),
        "rubric": rubric(posed, facts, brief.policy, ways, chance),
    }
    return spoilt(written, ways.rate("bad_json") * 0.3**brief.reasked, chance)


def conclude(aspect: str, fact: Fact) -> str:
    """What is true of an aspect, as a reference answer puts it."""
    return f"«{aspect}» {fact.conclusion}, {fact.extent}; what decides it is «{fact.driver}»."


def _ground(aspect: str, fact: Fact, reading: Reading, staging: ModuleType, chance: Chance) -> str:
    """The document's own words on an aspect or its driver, where it has any."""
    found = reading.about(aspect) or reading.about(fact.driver)
    if not found:
        return ""
    return " " + str(chance.choice(staging.REASONS)).format(sentence=chance.choice(found))


def _matters(
    brief: Brief, domain: str, reading: Reading, ways: Habits, chance: Chance
) -> tuple[list[str], list[str]]:
    """What is changed (conditions) and what is asked about (aspects), in the document's terms.

    What the instruction calls used up comes last; a generic question asks about common matters.
    """
    used = set(QUOTED.findall(brief.section("instruction")))
    terms = sorted(chance.shuffled(list(reading.terms[KNOWN:])), key=lambda term: term in used)
    special = chance.happens(ways.rate("special"))
    number = ways.conditions + (OVERLOAD if chance.happens(ways.rate("overload")) else 0)
    low, high = (staging_legal if domain == "legal" else staging_cs).ASPECTS
    asked = chance.randint(low, high)
    if len(terms) < number + low or chance.happens(ways.rate("generic")):
        return terms[:number], chance.sample(COMMON[domain], asked)
    conditions, rest = terms[:number], terms[number:]
    if special:
        rest.sort(key=is_special, reverse=True)
    return conditions, rest[:asked]


def _label(kind: str, staging: ModuleType, chance: Chance) -> str:
    labels = {name: staging.LABELS.get(name, name) for name in KIND_DIFFICULTY}
    if not chance.happens(MISLABELLED):
        return str(labels[kind])
    return str(chance.choice(sorted(set(labels.values()) - {labels[kind]})))


def _with_slips(
    context: str, answer: list[str], staging: ModuleType, ways: Habits, chance: Chance
) -> str:
    """The context, with part of the answer leaked into it, its source named or its form broken."""
    if chance.happens(ways.rate("leak")):
        leaked = answer[: chance.randint(1, len(answer))]
        context += f" {chance.choice(staging.RUMOURS)} {' '.join(leaked)}"
    if chance.happens(ways.rate("names_source")):
        context += " " + chance.choice(staging.SOURCE_HINTS)
    if staging is staging_legal and chance.happens(ways.rate("case_speak")):
        context += " " + chance.choice(staging_legal.CASE_SPEAK)
    if staging is staging_legal and chance.happens(ways.rate("rambling")):
        context = staging_legal.RAMBLING + context
    return context
