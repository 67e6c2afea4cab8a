"""The simulated challenger: a situation of the document's own terms, a rubric, and mistakes."""

from collections.abc import Mapping
from typing import Any

from autodata.simulation.behaviour import Behaviour, behaviour
from autodata.simulation.messages import Brief, Rng, as_json, quoted, sentence
from autodata.simulation.scenario import (
    KIND_DIFFICULTY,
    QUOTED,
    Case,
    Fact,
    ReadText,
    Scenario,
    is_special,
    study,
)

OVERLOAD = 4  # conditions added when the challenger overdoes it
MISLABELLED = 0.03  # share of candidates whose label and text disagree
KNOWN = 2  # terms that name the field; questions are about the others
# Weight of a positive criterion as a share of the policy's largest weight, by facet: the bands of
# the prompts. A criterion without a facet repeats the context.
BANDS = {"conclusion": (0.8, 1.0), "driver": (0.5, 0.7), "extent": (0.2, 0.4), "": (0.2, 0.3)}
CARELESS = "simulated-careless"  # a challenger that pays no heed to its prompt
SURPLUS = 4  # how far a miscounted rubric lies outside the policy

FacetLine = tuple[
    str, str
]  # a criterion, and its facet: a row of `BANDS` and of `Scenario.criteria`


def challenge(scenario: Scenario, brief: Brief, rng: Rng) -> str:
    """One candidate as JSON, written under the rules found in the prompt and the instruction."""
    guidance = "" if brief.model == CARELESS else brief.guidance
    ways = behaviour(guidance, brief.section("instruction"), scenario.rates, brief.policy)
    reading = study(brief.section("document"))
    kind = rng.weighted(ways.kinds)
    conditions, aspects = _matters(brief, scenario, reading, ways, rng)
    context, question = scenario.stage(kind, conditions, aspects, reading, rng)
    if rng.happens(ways.rate("unfocused")):
        question += scenario.second_question
    case = scenario.case(context, question)
    facts = {aspect: case.fact(aspect) for aspect in case.aspects}
    answer = {aspect: _concluded(aspect, fact) for aspect, fact in facts.items()}
    written = {
        "question_type": _label(kind, scenario, rng),
        "skills": [kind, "weighing conditions", aspects[0]],
        "context": _with_slips(context, list(answer.values()), scenario, ways, rng),
        "question": question,
        "reference_answer": "\n\n".join(
            f"{text}{_ground(aspect, facts[aspect], reading, scenario, rng)}"
            for aspect, text in answer.items()
        ),
        "rubric": _rubric(case, facts, brief.policy, ways, rng),
    }
    if "`reasoning`" in brief.guidance:
        written = {"reasoning": f"The text turns on {quoted(case.aspects)}.", **written}
    return as_json(written, ways.rate("bad_json"), brief.reasked, rng)


def _matters(
    brief: Brief, scenario: Scenario, reading: ReadText, ways: Behaviour, rng: Rng
) -> tuple[list[str], list[str]]:
    """What is changed (conditions) and what is asked about (aspects), in the document's terms.

    What the instruction calls used up comes last; a generic question asks about common matters.
    """
    used = set(QUOTED.findall(brief.section("instruction")))
    terms = sorted(rng.shuffled(list(reading.terms[KNOWN:])), key=lambda term: term in used)
    special = rng.happens(ways.rate("special"))
    number = ways.conditions + (OVERLOAD if rng.happens(ways.rate("overload")) else 0)
    asked = rng.randint(*scenario.aspects)
    if len(terms) < number + scenario.aspects[0] or rng.happens(ways.rate("generic")):
        return terms[:number], rng.sample(scenario.common, asked)
    conditions, rest = terms[:number], terms[number:]
    if special:
        rest.sort(key=is_special, reverse=True)
    return conditions, rest[:asked]


def _concluded(aspect: str, fact: Fact) -> str:
    """What is true of an aspect, as a reference answer puts it."""
    return f"«{aspect}» {fact.conclusion}, {fact.extent}; what decides it is «{fact.driver}»."


def _ground(aspect: str, fact: Fact, reading: ReadText, scenario: Scenario, rng: Rng) -> str:
    """The document's own words on an aspect or its driver, where it has any."""
    found = reading.about(aspect) or reading.about(fact.driver)
    if not found:
        return ""
    return " " + rng.choice(scenario.reasons).format(sentence=rng.choice(found))


def _label(kind: str, scenario: Scenario, rng: Rng) -> str:
    right = scenario.label(kind)
    if not rng.happens(MISLABELLED):
        return right
    return rng.choice(sorted(set(map(scenario.label, KIND_DIFFICULTY)) - {right}))


def _with_slips(
    context: str, answer: list[str], scenario: Scenario, ways: Behaviour, rng: Rng
) -> str:
    """The context, with part of the answer leaked into it, its source named or its form broken."""
    if rng.happens(ways.rate("leak")):
        leaked = answer[: rng.randint(1, len(answer))]
        context += f" {rng.choice(scenario.rumours)} {' '.join(leaked)}"
    if rng.happens(ways.rate("names_source")):
        context += " " + rng.choice(scenario.source_hints)
    return scenario.finish(context, ways, rng)


def _rubric(
    case: Case, facts: Mapping[str, Fact], policy: Mapping[str, int], ways: Behaviour, rng: Rng
) -> list[dict[str, Any]]:
    """Criteria within the policy, but for the mistakes that the behaviour leaves in."""
    positives, negatives = _counts(case.scenario, policy, rng)
    if rng.happens(ways.rate("miscount")):
        positives += rng.choice((-SURPLUS, policy.get("items_max", 20) - positives + 2))
    most, least = policy.get("weight_max", 10), policy.get("negative_weight_min", -10)
    weighed = []
    for line in _positive_lines(case, facts, ways.rate("padding"), positives, rng):
        low, high = (max(round(most * share), 1) for share in BANDS[line[1]])
        weighed.append((line, rng.randint(low, high)))
    misworded = rng.happens(ways.rate("misworded"))
    for line in _negative_lines(facts, negatives, misworded, rng):
        weighed.append((line, -rng.randint(max(-least // 3, 1), max(-least * 4 // 5, 1))))
    names, kinds = ("criterion", "weight", "category", "capability"), case.scenario.criteria
    return [
        dict(zip(names, (sentence(text), weight, *kinds[facet]), strict=True))
        for (text, facet), weight in weighed
    ]


def _counts(scenario: Scenario, policy: Mapping[str, int], rng: Rng) -> tuple[int, int]:
    """How many positive and negative criteria to write, inside the policy where it says so."""
    positive, negative = scenario.aims
    negatives = max(rng.randint(*negative), policy.get("negatives_min", 3))
    negatives = min(negatives, policy.get("negatives_max", 10))
    least, most = policy.get("items_min", 10), policy.get("items_max", 20)
    positives = max(rng.randint(*positive), policy.get("positives_min", 4), least - negatives)
    return max(min(positives, most - negatives), 1), negatives


def _positive_lines(
    case: Case, facts: Mapping[str, Fact], padding: float, count: int, rng: Rng
) -> list[FacetLine]:
    """What a good answer says; a share of the lines only repeats what the context states."""
    real = [
        line
        for aspect, fact in facts.items()
        for line in (
            (f"states that «{aspect}» {fact.conclusion}", "conclusion"),
            (f"names «{fact.driver}» as what decides «{aspect}»", "driver"),
            (f"says for «{aspect}» that this is so {fact.extent}", "extent"),
        )
    ]
    idle = [
        (text.format(term=term), "")
        for text in (
            "takes into account that «{term}» has changed",
            "mentions «{term}»",
            "starts from the change to «{term}»",
            "keeps «{term}» in view",
        )
        for term in case.conditions
    ]
    idle = idle[: max(round(count * padding), count - len(real), 0)]
    kept = rng.sample(real, min(max(count - len(idle), 1), len(real)))
    return [line for line in real if line in kept] + idle


def _negative_lines(
    facts: Mapping[str, Fact], count: int, misworded: bool, rng: Rng
) -> list[FacetLine]:
    """Errors named; misworded ones say that the error was avoided, which punishes good answers."""
    claims, blames = (
        ("avoids claiming that", "avoids blaming") if misworded else ("claims that", "blames")
    )
    errors = [f"{claims} «{aspect}» {fact.tempting_conclusion}" for aspect, fact in facts.items()]
    errors += [
        f"{blames} «{fact.tempting_driver}» for «{aspect}»"
        for aspect, fact in facts.items()
        if fact.tempting_driver != fact.driver
    ]
    return [(error, "error") for error in rng.sample(errors, min(count, len(errors)))]
