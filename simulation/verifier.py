"""The simulated quality verifier: checks what can be checked in the text, and misses some of it."""

import re
from dataclasses import dataclass

from autodata.simulation import staging_cs, staging_legal
from autodata.simulation.chance import Chance
from autodata.simulation.documents import study
from autodata.simulation.judge import criteria
from autodata.simulation.reading import Brief
from autodata.simulation.world import COMMON, QUOTED, kind_of
from autodata.simulation.writing import excerpt, spoilt

MISSED = {"verifier": 0.15, "final_verifier": 0.05}  # share of real faults that are overlooked
FALSE_ALARM = 0.02  # share of sound candidates that are sent back
BAD_JSON = 0.01
LEAK_WORDS = 5  # length of the word sequences compared
LEAK_SHARE = 0.2  # share of the reference answer's sequences in the context that is a leak
NOTICED_COMMONPLACE = 0.15  # share of questions from general knowledge that are recognised as such
NOTICED_ESSAY = 0.2  # share of "explain why" questions that are recognised as too easy
NOTICED_PADDING = 0.5  # share of criteria that repeat the context from which on it is noticed

_SOURCE = re.compile(r"\b(?:this|the) (?:document|paper|article|opinion|authors?)\b", re.IGNORECASE)
_IDLE = re.compile(r"^(?:takes into account|mentions|starts from|keeps)\b", re.IGNORECASE)
_AVOIDS = re.compile(r"^avoids\b", re.IGNORECASE)
_WEIGHT = re.compile(r"^\s*\d+[.)]\s+\[([+-−]?\d+)\]", re.MULTILINE)


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong: the field of the reply it concerns, what it is, what to do."""

    field: str
    problem: str
    fix: str


def verify(brief: Brief, chance: Chance) -> str:
    """A verdict as JSON: findings, problems, fixes, PASS or FAIL."""
    found = faults(brief, chance)
    flat = "recall" if kind_of(brief.section("question")) == "recall" else "too_easy"
    own = _from_context(brief, any(fault.field == "leak" for fault in found))
    return verdict(brief, found, own, flat, chance)


def verdict(brief: Brief, faults: list[Fault], own: str, flat: str, chance: Chance) -> str:
    """The verdict on these faults, some of them overlooked; `own` is the verifier's own answer and
    `flat` what it calls a question that asks too little."""
    missed = MISSED.get(brief.role, MISSED["verifier"])
    found = [fault for fault in faults if not chance.happens(missed)]
    if not found and chance.happens(FALSE_ALARM):
        found = [Fault("single_focus", "the question reads as if it asked two things", "Ask one.")]
    fields = {fault.field for fault in found}
    reply = {
        "answer_from_context": own,
        "leak": "leak" in fields,
        "question": flat if "question" in fields else "good",
        "single_focus": "single_focus" not in fields,
        "grounded": "grounded" not in fields,
        "rubric_specific": "rubric_specific" not in fields,
        "type_consistent": "type_consistent" not in fields,
        "problems": [fault.problem for fault in found],
        "fixes": [fault.fix for fault in found],
        "verdict": "FAIL" if found else "PASS",
    }
    return spoilt(reply, BAD_JSON * 0.3**brief.reasked, chance)


def faults(brief: Brief, chance: Chance) -> list[Fault]:
    """Everything that is wrong with the candidate, before anything is overlooked."""
    return [*_question_faults(brief, chance), *_text_faults(brief), *_rubric_faults(brief)]


def overlap(answer: str, text: str, size: int = LEAK_WORDS) -> float:
    """Share (0 … 1) of the answer's word sequences of length `size` that stand in the text."""
    sought, seen = _sequences(answer, size), set(_sequences(text, size))
    return sum(s in seen for s in sought) / len(sought) if sought else 0.0


def _question_faults(brief: Brief, chance: Chance) -> list[Fault]:
    question, label = brief.section("question"), brief.section("question_type").casefold()
    kind, aspects, found = kind_of(question), QUOTED.findall(question), []
    if kind == "recall":
        found.append(Fault("question", "the question asks for recall", "Ask for a prediction."))
    common = [a for row in COMMON.values() for a in aspects if a in row]
    if aspects and len(common) == len(aspects) and chance.happens(NOTICED_COMMONPLACE):
        problem = f"general knowledge answers it: {', '.join(common)} are not the document's matter"
        found.append(Fault("grounded", problem, "Build on a mechanism of the document."))
    if question.count("?") > 1 and "Also, " in question:
        found.append(Fault("single_focus", "the question asks several things", "Ask one thing."))
    if kind == "explanation" and chance.happens(NOTICED_ESSAY):
        problem = "a fluent essay would satisfy it: it asks to explain"
        found.append(Fault("question", problem, "Ask for a decision or a prediction."))
    labels = staging_legal.LABELS if brief.domain == "legal" else staging_cs.LABELS
    if label and kind not in ("recall", "explanation") and labels.get(kind, kind) != label:
        problem = f"labelled {label}, but it asks for a {kind}"
        found.append(Fault("type_consistent", problem, "Name the type that is asked."))
    return found


def _text_faults(brief: Brief) -> list[Fault]:
    context, found = brief.section("context"), []
    share = overlap(brief.section("reference_answer"), context)
    if share >= LEAK_SHARE:
        problem = f"the context repeats {share:.0%} of the reference answer"
        found.append(Fault("leak", problem, "Take the conclusions out of the context."))
    if source := _SOURCE.search(context + " " + brief.section("question")):
        problem = f"“{source.group(0)}” points to a source that solvers never see"
        found.append(Fault("grounded", problem, "State the setup without naming the source."))
    return found


def _rubric_faults(brief: Brief) -> list[Fault]:
    rubric, found = brief.section("rubric"), []
    texts = [text for _, text in criteria(rubric)]
    if not texts:
        return []
    weights = [int(weight.replace("−", "-")) for weight in _WEIGHT.findall(rubric)]
    counts = {
        "items": len(weights),
        "positives": sum(weight > 0 for weight in weights),
        "negatives": sum(weight < 0 for weight in weights),
    }
    for what, count in counts.items():
        low = brief.policy.get(f"{what}_min", 0)
        high = brief.policy.get(f"{what}_max", count)
        if not low <= count <= high:
            problem = f"{count} {what} in the rubric; the rubric policy asks for {low} to {high}"
            found.append(Fault("rubric_specific", problem, "Follow the rubric policy."))
    if sum(bool(_IDLE.match(text)) for text in texts) > len(texts) * NOTICED_PADDING:
        problem = "most criteria repeat what the context states"
        found.append(Fault("rubric_specific", problem, "Demand reasoning beyond the context."))
    if any(_AVOIDS.match(text) for text in texts) and len(texts) % 2:
        problem = "a negative criterion is worded “avoids …” and would punish good answers"
        found.append(Fault("rubric_specific", problem, "Name the error itself."))
    return found


def _from_context(brief: Brief, leak: bool) -> str:
    """The verifier's own try at an answer from the context alone."""
    if leak:
        return f"The context says it: {excerpt(brief.section('reference_answer'), 20)}"
    known = study(brief.section("document")).terms[:2]
    return f"The context sets the scene{' for ' + ' and '.join(known) if known else ''} only."


def _sequences(text: str, size: int) -> list[tuple[str, ...]]:
    words = re.findall(r"\w+", text.casefold())
    return [tuple(words[i : i + size]) for i in range(len(words) - size + 1)]
