"""The simulated solver, orchestrator and extractor, and which function answers as which role."""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from autodata.simulation.challenger import challenge
from autodata.simulation.checkers import judge_round, mark, verify
from autodata.simulation.documents import sentences
from autodata.simulation.messages import Brief, as_json, quoted
from autodata.simulation.rng import Rng
from autodata.simulation.scenario import QUOTED, Case, Scenario, chance_of_success

Role = Callable[[Brief, Rng], str]

# Ability θ by model name, in logits; any other name is a careful worker.
ABILITIES: Mapping[str, float] = {"simulated-weak": -0.6, "simulated-strong": 1.6}
CAREFUL = 2.5
ATTEMPT_SIGMA = 0.5  # logits by which one attempt of the same model differs from another
SILENCE = 0.3  # share of the facets that a solver cannot see on which it says nothing
TEMPTATION = 0.6  # share of wrong answers that are the same tempting mistake
FACET_DIFFICULTY = {"conclusion": 0.0, "driver": 0.2, "extent": 0.4}  # logits

MALFORMED = 0.01  # share of instructions and case files
USED_UP = 8  # matters of earlier questions that are named so that they do not come back

WORDS_MIN = 250  # a bare disposition is shorter
REASONS_MIN = 3  # sentences that give a reason or an order, at least
ENTRIES = 3  # facts, issues and holdings each


def roles(scenario: Scenario) -> Mapping[str, Role]:
    """Who answers in a domain whose questions are set as the scenario says."""
    return {
        "challenger": partial(challenge, scenario),
        "verifier": partial(verify, scenario),
        "final_verifier": partial(verify, scenario),
        "solver": partial(solve, scenario),
        "judge": partial(mark, scenario),
        "loop_judge": judge_round,
        "orchestrator": instruct,
        "extractor": extract,
    }


def form(brief: Brief, rng: Rng) -> float:
    """How able the model is in this attempt, in logits."""
    return ABILITIES.get(brief.model, CAREFUL) + rng.gauss(0.0, ATTEMPT_SIGMA)


def solve(scenario: Scenario, brief: Brief, rng: Rng) -> str:
    """An answer in prose: one paragraph for each «matter» asked about, right or wrong on each thing
    by item response."""
    context, question = brief.section("context"), brief.section("question")
    case = scenario.case(context, question)
    if not case.aspects:
        about = f" about {quoted(case.conditions[:3])}" if case.conditions else ""
        return f"In general terms: the setup{about} decides, and the question leaves the rest open."
    ability = form(brief, rng)
    bears = f"What bears on it is {quoted(case.conditions)}; " if case.conditions else ""
    paragraphs = [f"{bears}I take the points in turn." if bears else "I take the points in turn."]
    for aspect in case.aspects:
        stated = _stated(aspect, context, scenario)
        paragraphs.append(stated or _paragraph(case, aspect, ability, rng))
    return "\n\n".join(paragraphs)


def _stated(aspect: str, context: str, scenario: Scenario) -> str:
    """What the context gives away about an aspect: every solver copies it."""
    for sentence in context.replace("\n", " ").split(". "):
        if f"«{aspect}»" in sentence and any(phrase in sentence for phrase in scenario.phrases):
            return f"As stated, {sentence[sentence.index(f'«{aspect}»') :].strip().rstrip('.')}."
    return ""


def _paragraph(case: Case, aspect: str, ability: float, rng: Rng) -> str:
    fact, difficulty = case.fact(aspect), case.difficulty(aspect)

    def facet(name: str, right: str, tempting: str, others: Sequence[str]) -> str:
        """The words for one facet: right, tempted, some other mistake, or nothing."""
        if rng.happens(chance_of_success(ability, difficulty + FACET_DIFFICULTY[name])):
            return right
        if name != "conclusion" and rng.happens(SILENCE):
            return ""
        wrong = [other for other in others if other != right] or [tempting]
        return tempting if rng.happens(TEMPTATION) else rng.choice(wrong)

    scenario = case.scenario
    conclusion = facet(
        "conclusion", fact.conclusion, fact.tempting_conclusion, scenario.conclusions
    )
    extent = facet("extent", fact.extent, fact.tempting_extent, scenario.extents)
    driver = facet("driver", fact.driver, fact.tempting_driver, case.conditions)
    text = f"«{aspect}» {conclusion}" + (f", {extent}" if extent else "") + "."
    if driver:
        text += f" The reason lies in «{driver}»" + rng.choice(
            (
                ", which the rest of the setup does not offset.",
                "; the other circumstances only come on top of it.",
                ", and I see nothing in the setup that would undo it.",
            )
        )
    return text


# What the feedback mentions → what to ask for next. It never interprets the document.
ADVICE = {
    "## too easy": "Earlier questions were too easy: let one more changed condition bear on the "
    "outcome, and ask for another kind of reasoning.",
    "## failed on strong": "An earlier question failed on strong attempts: let fewer conditions "
    "bear on the outcome and state every one of them.",
    "leak:": "The context leaked the answer: state the setup, and nothing that follows from it.",
    "rubric policy": "The rubric policy was missed: recount before you reply.",
    "asks for recall": "Definitions are used up.",
    "could not be read": "The last reply was malformed: one JSON object and nothing around it.",
}
_ROUND = re.compile(r"^- Round (\d+) \(([^;)]*)", re.MULTILINE)


def instruct(brief: Brief, rng: Rng) -> str:
    """The instruction for the next round, as JSON: the advice, and what is used up."""
    feedback = brief.section("feedback")
    rounds = _ROUND.findall(feedback)
    lines = [advice for sign, advice in ADVICE.items() if sign in feedback.casefold()]
    if used := list(dict.fromkeys(QUOTED.findall(feedback)))[-USED_UP:]:
        lines.append(f"Leave {quoted(used)}: these are used up.")
    if kinds := sorted({kind for _, kind in rounds}):
        lines.append(f"So far {len(rounds)} rounds were sent back ({', '.join(kinds)}).")
    lines.append("Write an entirely new question from another part of the document.")
    return as_json({"instruction": " ".join(lines)}, MALFORMED, brief.reasked, rng)


_REASON = re.compile(
    r"\b(?:because|therefore|thus|hence|it follows|we (?:hold|conclude|believe|think|agree)"
    r"|the (?:reason|rule|test|principle|standard|burden)|unless|provided that|shall|must)\b",
    re.IGNORECASE,
)
_HOLDING = re.compile(r"\bwe (?:\w+ )?(?:hold|conclude|agree|reject)\b|\bshall be\b", re.IGNORECASE)
_ISSUE = re.compile(r"\bwhether\b|\bthe (?:question|issue)\b|\bmay\b", re.IGNORECASE)
_FACT = re.compile(
    r"\b(?:petitioners?|respondents?|plaintiffs?|defendants?|signed|filed|agreed|installed|sought"
    r"|party|parties|claimed)\b",
    re.IGNORECASE,
)


def extract(brief: Brief, rng: Rng) -> str:
    """A case file as JSON, in the text's own sentences; unsuitable when it hardly gives reasons."""
    document = brief.section("document")
    said = sentences(document)
    reasons = [s for s in said if _REASON.search(s)]
    words = len(document.split())
    if words < WORDS_MIN or len(reasons) < REASONS_MIN:
        reason = (
            f"The text has {words} words and {len(reasons)} sentences that give a reason: it "
            "disposes of a case without a principle that could be applied to another."
        )
        reply = {"suitable": False, "reason": reason, "principle": ""}
        return as_json({**reply, "facts": [], "issues": [], "holdings": []}, 0.0, 0, rng)
    holdings = [s for s in said if _HOLDING.search(s)] or reasons
    told = [s for s in said if s not in reasons]
    reply = {
        "suitable": True,
        "reason": f"The text gives reasons in {len(reasons)} sentences and states a rule.",
        "principle": holdings[0],
        "facts": ([s for s in told if _FACT.search(s)] or told)[:ENTRIES],
        "issues": [s for s in said if _ISSUE.search(s)][:ENTRIES],
        "holdings": holdings[:ENTRIES],
    }
    return as_json(reply, MALFORMED, brief.reasked, rng)
