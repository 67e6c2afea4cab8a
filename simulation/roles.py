"""The simulated solver, orchestrator and extractor, and the function that answers every request: it
reads who is asked, and answers as that role would."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Literal

from autodata.simulation import optimizer
from autodata.simulation.challenger import challenge
from autodata.simulation.checkers import judge_round, mark, verify
from autodata.simulation.messages import Brief, ChatMessages, Rng, as_json, plain, quoted, read
from autodata.simulation.scenario import (
    GENERAL,
    QUOTED,
    Case,
    Scenario,
    chance_of_success,
    sentences,
)

Role = Callable[[Brief, Rng], str]

# Ability θ by model name, in logits; any other name is a careful worker.
ABILITIES: Mapping[str, float] = {"simulated-weak": -0.6, "simulated-strong": 1.6}
CAREFUL = 2.5
UNEVEN, LAPSES, LAPSE = "simulated-uneven", 0.5, 6.0  # how often it lapses, by how many logits
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
    able = ABILITIES.get(brief.model, CAREFUL)
    if brief.model == UNEVEN and rng.happens(LAPSES):
        able -= LAPSE
    return able + rng.gauss(0.0, ATTEMPT_SIGMA)


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


# Domains with a module of their own here, by the title of their prompts. Every other one, also one
# that nobody here has heard of, is practised with the general scenario.
OWN = ("legal", "science", "procedural")
CHARACTERS_PER_TOKEN = 4  # the usual rule of thumb for English
OUTPUT_MAX = 8192  # tokens that a reply may have when the request states no limit

Finish = Literal["stop", "length", "tool_calls"]


@dataclass(frozen=True)
class SimulatedReply:
    """What a simulated model answers, with the tokens that it counts.

    `tool_calls` are in OpenAI's form.
    """

    content: str
    finish_reason: Finish
    input_tokens: int
    output_tokens: int
    tool_calls: Sequence[Mapping[str, Any]] = ()


def respond(
    model: str, messages: ChatMessages, seed: int | None = None, max_tokens: int | None = None
) -> SimulatedReply:
    """The reply of `model` to chat messages ({"role", "content"}).

    It follows from (messages, model, seed) alone. A text longer than `max_tokens` (by default
    8,192) is cut there and finishes with "length".
    """
    texts = [plain(message.get("content")) for message in messages]
    asked = sum(map(tokens, texts))
    brief = read(messages, model)
    if agent := optimizer.AGENTS.get(brief.role):
        # What an agent is up to follows from its brief alone, whatever it has done so far.
        step = agent(brief, Rng(model, *texts[:2]))
        calls = _in_openai_form(step.calls, len(brief.done))
        said = tokens(step.text + "".join(call["function"]["arguments"] for call in calls))
        return SimulatedReply(step.text, "tool_calls" if calls else "stop", asked, said, calls)
    answer = _roles(brief.domain).get(brief.role)
    role = f" “{brief.role}”" if brief.role else ""
    text = f"This is a simulated model. It knows no role{role}."
    if answer:
        text = answer(brief, Rng(model, seed, *texts))
    limit = max_tokens or OUTPUT_MAX
    if tokens(text) <= limit:
        return SimulatedReply(text, "stop", asked, tokens(text))
    text = text[: limit * CHARACTERS_PER_TOKEN]
    return SimulatedReply(text, "length", asked, tokens(text))


def tokens(text: str) -> int:
    """How many tokens a text counts for."""
    return -(-len(text) // CHARACTERS_PER_TOKEN)


@cache
def _roles(domain: str) -> Mapping[str, Role]:
    """Who answers in a domain. Imported when first asked: computer algebra takes a second."""
    general = roles(GENERAL)
    module = f"autodata.simulation.{domain}"
    if domain not in OWN or find_spec(module) is None:
        return general
    return {**general, **import_module(module).RESPONDERS}


def _in_openai_form(
    calls: Sequence[tuple[str, Mapping[str, Any]]], before: int
) -> list[dict[str, Any]]:
    """The calls as a chat completion carries them; `before` were made earlier."""
    return [
        {
            "id": f"call-{place}",
            "type": "function",
            "function": {"name": name, "arguments": json.dumps(arguments, ensure_ascii=False)},
        }
        for place, (name, arguments) in enumerate(calls, before + 1)
    ]
