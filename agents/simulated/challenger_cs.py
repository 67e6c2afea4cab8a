"""The simulated CS challenger: a scenario from the document's own terms, and its mistakes."""

from dataclasses import dataclass

from agents.simulated import scenes
from agents.simulated.chance import Chance
from agents.simulated.documents import Reading, study
from agents.simulated.reading import Brief
from agents.simulated.rubrics import rubric
from agents.simulated.rules import Habits, habits
from agents.simulated.world import COMMON, QUOTED, Case, Fact, case
from agents.simulated.writing import listed, quoted, sentence, spoilt

ASPECTS = (3, 4)
OVERLOAD = 3  # conditions added when the challenger overdoes it
MISLABELLED = 0.03  # share of candidates whose label and text disagree
LABELS = {"recall": "prediction", "explanation": "interaction"}  # what it takes its own for


@dataclass(frozen=True)
class Scene:
    """A scenario before anything went wrong with it."""

    context: str
    question: str
    label: str


def challenge(brief: Brief, chance: Chance) -> str:
    """One candidate as JSON, written under the rules found in the prompt and the instruction."""
    ways = habits(brief.guidance, brief.section("instruction"))
    reading = study(brief.section("document"))
    used = set(QUOTED.findall(brief.section("instruction")))
    scene = _scene(reading, ways, used, chance)
    posed = case("cs", scene.context, scene.question)
    facts = {aspect: posed.fact(aspect) for aspect in posed.aspects}
    answer = [conclude(aspect, fact, reading, chance) for aspect, fact in facts.items()]
    written = {
        "question_type": scene.label,
        "skills": _skills(scene.label, posed),
        "context": _with_slips(scene.context, answer, ways, chance),
        "question": scene.question,
        "reference_answer": "\n\n".join(answer),
        "rubric": rubric(posed, facts, brief.policy, ways, chance),
    }
    return spoilt(written, ways.rate("bad_json") * 0.3**brief.reasked, chance)


def conclude(aspect: str, fact: Fact, reading: Reading, chance: Chance) -> str:
    """A paragraph of the reference answer: conclusion, driver and the document's own words."""
    text = f"«{aspect}» {fact.conclusion}, {fact.extent}; what drives it is «{fact.driver}»."
    if found := reading.about(aspect) or reading.about(fact.driver):
        text += " " + chance.choice(scenes.REASONS).format(sentence=chance.choice(found))
    return text


def _scene(reading: Reading, ways: Habits, used: set[str], chance: Chance) -> Scene:
    kind = chance.weighted(ways.kinds)
    number = ways.conditions + (OVERLOAD if chance.happens(ways.rate("overload")) else 0)
    shuffled = chance.shuffled(list(reading.terms[2:42]))
    terms = sorted(shuffled, key=lambda term: term in used)  # what is used up comes last
    conditions, aspects = terms[:number], terms[number:][: chance.randint(*ASPECTS)]
    if len(aspects) < min(ASPECTS) or chance.happens(ways.rate("generic")):
        aspects = chance.sample(COMMON["cs"], chance.randint(*ASPECTS))
    event = chance.choice(scenes.EVENTS)
    question = chance.choice(scenes.ASKS[kind]).format(
        aspects=quoted(aspects), first=f"«{aspects[0]}»", event=event
    )
    if chance.happens(ways.rate("unfocused")):
        question += scenes.SECOND_QUESTION
    label = LABELS.get(kind, kind)
    if chance.happens(MISLABELLED):
        label = chance.choice(sorted(set(scenes.ASKS) - {label}))
    return Scene(_context(reading, conditions, chance), question, label)


def _context(reading: Reading, conditions: list[str], chance: Chance) -> str:
    """Area, setup and difficulty, in readable prose."""
    area = listed(list(reading.terms[:2]) or ["distributed services"])
    changes = chance.sample(scenes.CHANGES, len(conditions))
    days = scenes.WEEKDAYS[: len(conditions)]
    told = [
        f"{day} the team {change.format(term=term)}."
        for day, change, term in zip(days, changes, conditions, strict=False)
    ]
    said = [s for s in reading.sentences if not s.startswith(("I ", "We ", "This ", "It ", "If "))]
    setup = [chance.choice(scenes.SETTINGS)]
    if said:
        setup.append(chance.choice(scenes.BASIS).format(sentence=chance.choice(said)))
    return "\n\n".join(
        [
            f"This is about {area}. {' '.join(setup)}",
            f"{' '.join(told)} Nothing else in the deployment is touched.",
            chance.choice(scenes.HARD),
        ]
    )


def _with_slips(context: str, answer: list[str], ways: Habits, chance: Chance) -> str:
    """The context, with part of the answer leaked into it or its source named, at the rates."""
    if chance.happens(ways.rate("leak")):
        leaked = answer[: chance.randint(1, len(answer))]
        context += f"\n\n{chance.choice(scenes.RUMOURS)} {' '.join(leaked)}"
    if chance.happens(ways.rate("names_source")):
        context += " " + chance.choice(scenes.SOURCE_HINTS)
    return context


def _skills(label: str, posed: Case) -> list[str]:
    return [label, "causal reasoning", sentence(posed.aspects[0]).rstrip(".").lower()]
