"""Who checks: the simulated verifier of a candidate, judge of an answer, and judge of a round.

They check what can be checked in the text, and err at declared rates.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, pstdev

from autodata.simulation.messages import Brief, Rng, as_json, excerpt, listed, quoted
from autodata.simulation.scenario import QUOTED, Scenario, kind_of, study

# The verifier.
MISSED = {"verifier": 0.15, "final_verifier": 0.05}  # share of real flaws that are overlooked
FALSE_ALARM = 0.02  # share of sound candidates that are sent back
VERDICT_MALFORMED = 0.01
LEAK_WORDS = 5  # length of the word sequences compared
LEAKED = 0.2  # share of the reference answer's sequences in the context that is a leak
NOTICED_COMMONPLACE = 0.15  # share of questions from general knowledge that are recognised as such
NOTICED_ESSAY = 0.2  # share of "explain why" questions that are recognised as too easy
NOTICED_PADDING = 0.5  # share of criteria that repeat the context from which on it is noticed
# The judge of an answer.
ERROR = 0.02  # share of marks on positive criteria that are wrong
NEGATIVE_ERROR = 0.10  # judges find it harder to say whether an error was made
ERRORS = {"simulated-noisy": 0.3}  # share of all marks, of other judges
MARKS_MALFORMED = 0.005
OVERLAP = 0.6  # share of a criterion's words that an answer must contain when nothing is quoted
# The judge of a round.
SPREAD_HIGH = 0.14  # standard deviation of the weak scores, 0 … 0.5, from which a group teaches
SPREAD_LOW = 0.10  # below it the attempts hardly differ
WEAK_RANGE = (0.12, 0.50)  # weak means outside it: all fail, or all succeed
STRONG_MIN = 0.55  # the strong attempts handle the decisive steps
LEAD_MIN = 0.10  # strong mean − weak mean
DOUBT = 0.15  # share of acceptable rounds that are sent back: unsure means improve
JUDGEMENT_MALFORMED = 0.01

_SOURCE = re.compile(r"\b(?:this|the) (?:document|paper|article|opinion|authors?)\b", re.IGNORECASE)
_IDLE = re.compile(r"^(?:takes into account|mentions|starts from|keeps)\b", re.IGNORECASE)
_WEIGHT = re.compile(r"^\s*\d+[.)]\s+\[([+-−]?\d+)\]", re.MULTILINE)
_ITEM = re.compile(r"^\s*(\d+)[.)]\s+(?:\[[+-−]?\d+\]\s*)?(.+)$", re.MULTILINE)
_AVOIDS = re.compile(r"^(?:avoids|refrains from|does not)\b", re.IGNORECASE)
_ERROR = re.compile(r"^(?:avoids|claims|blames|refrains)\b", re.IGNORECASE)
_WORD = re.compile(r"[a-z]{4,}")
_ATTEMPT = re.compile(
    r"^Attempt (\d+): score (None|[\d.]+), criteria met: \[([\d, ]*)\]", re.MULTILINE
)


@dataclass(frozen=True)
class Flaw:
    """One thing that is wrong: the field of the reply it concerns, what it is, what to do."""

    field: str
    problem: str
    fix: str


def verify(scenario: Scenario, brief: Brief, rng: Rng) -> str:
    """A verdict as JSON: findings, problems, fixes, PASS or FAIL."""
    question = brief.section("question")
    found = [*_question_flaws(scenario, brief, rng), *_text_flaws(brief), *_rubric_flaws(brief)]
    flat = "recall" if kind_of(question) == "recall" else "too_easy"
    if any(flaw.field == "leak" for flaw in found):
        own = f"The context says it: {excerpt(brief.section('reference_answer'), 20)}"
    else:
        known = study(brief.section("document")).terms[:2]
        own = f"The context sets the scene{' for ' + ' and '.join(known) if known else ''} only."
    return verdict(brief, found, own, flat, rng)


def verdict(brief: Brief, flaws: list[Flaw], own: str, flat: str, rng: Rng) -> str:
    """The verdict on these flaws, some of them overlooked; `own` is the verifier's own answer and
    `flat` what it calls a question that asks too little."""
    missed = MISSED.get(brief.role, MISSED["verifier"])
    found = [flaw for flaw in flaws if not rng.happens(missed)]
    if not found and rng.happens(FALSE_ALARM):
        found = [Flaw("single_focus", "the question reads as if it asked two things", "Ask one.")]
    fields = {flaw.field for flaw in found}
    reply = {
        "answer_from_context": own,
        "leak": "leak" in fields,
        "question": flat if "question" in fields else "good",
        **{
            name: name not in fields
            for name in ("single_focus", "grounded", "rubric_specific", "type_consistent")
        },
        "problems": [flaw.problem for flaw in found],
        "fixes": [flaw.fix for flaw in found],
        "verdict": "FAIL" if found else "PASS",
    }
    return as_json(reply, VERDICT_MALFORMED, brief.reasked, rng)


def overlap(answer: str, text: str, size: int = LEAK_WORDS) -> float:
    """Share (0 … 1) of the answer's word sequences of length `size` that stand in the text."""
    sought, seen = _sequences(answer, size), set(_sequences(text, size))
    return sum(s in seen for s in sought) / len(sought) if sought else 0.0


def _sequences(text: str, size: int) -> list[tuple[str, ...]]:
    words = re.findall(r"\w+", text.casefold())
    return list(zip(*(words[start:] for start in range(size)), strict=False))


def _question_flaws(scenario: Scenario, brief: Brief, rng: Rng) -> list[Flaw]:
    question, label = brief.section("question"), brief.section("question_type").casefold()
    kind, aspects, found = kind_of(question), QUOTED.findall(question), []
    if kind == "recall":
        found.append(Flaw("question", "the question asks for recall", "Ask for a prediction."))
    common = [aspect for aspect in aspects if aspect in scenario.common]
    if aspects and len(common) == len(aspects) and rng.happens(NOTICED_COMMONPLACE):
        problem = f"general knowledge answers it: {', '.join(common)} are not the document's matter"
        found.append(Flaw("grounded", problem, "Build on a mechanism of the document."))
    if question.count("?") > 1 and "Also, " in question:
        found.append(Flaw("single_focus", "the question asks several things", "Ask one thing."))
    if kind == "explanation" and rng.happens(NOTICED_ESSAY):
        problem = "a fluent essay would satisfy it: it asks to explain"
        found.append(Flaw("question", problem, "Ask for a decision or a prediction."))
    if label and kind not in ("recall", "explanation") and scenario.label(kind) != label:
        problem = f"labelled {label}, but it asks for a {kind}"
        found.append(Flaw("type_consistent", problem, "Name the type that is asked."))
    return found


def _text_flaws(brief: Brief) -> list[Flaw]:
    context, found = brief.section("context"), []
    share = overlap(brief.section("reference_answer"), context)
    if share >= LEAKED:
        problem = f"the context repeats {share:.0%} of the reference answer"
        found.append(Flaw("leak", problem, "Take the conclusions out of the context."))
    if source := _SOURCE.search(context + " " + brief.section("question")):
        problem = f"“{source.group(0)}” points to a source that solvers never see"
        found.append(Flaw("grounded", problem, "State the setup without naming the source."))
    return found


def _rubric_flaws(brief: Brief) -> list[Flaw]:
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
            found.append(Flaw("rubric_specific", problem, "Follow the rubric policy."))
    if sum(bool(_IDLE.match(text)) for text in texts) > len(texts) * NOTICED_PADDING:
        problem = "most criteria repeat what the context states"
        found.append(Flaw("rubric_specific", problem, "Demand reasoning beyond the context."))
    if any(text.casefold().startswith("avoids ") for text in texts) and len(texts) % 2:
        problem = "a negative criterion is worded “avoids …” and would punish good answers"
        found.append(Flaw("rubric_specific", problem, "Name the error itself."))
    return found


def mark(scenario: Scenario, brief: Brief, rng: Rng) -> str:
    """One mark per criterion with a quote as evidence, as JSON; no total."""
    answer = brief.section("answer")
    marks = []
    for number, criterion in criteria(brief.section("rubric")):
        met, evidence = _meets(criterion, answer, scenario.phrases)
        error = NEGATIVE_ERROR if _ERROR.match(criterion) else ERROR
        if rng.happens(ERRORS.get(brief.model, error)):
            met = not met
        marks.append({"number": number, "evidence": evidence if met else "", "met": met})
    return as_json({"marks": marks}, MARKS_MALFORMED, brief.reasked, rng)


def criteria(rubric: str) -> list[tuple[int, str]]:
    """The numbered criteria of a rubric, without their weights."""
    return [(int(number), text.strip()) for number, text in _ITEM.findall(rubric)]


def _meets(criterion: str, answer: str, phrases: Sequence[str]) -> tuple[bool, str]:
    """Whether the answer meets a criterion, and a short quote of where.

    What a criterion demands are its «matters» and the world's phrases: one paragraph must hold
    them all. A criterion without either is compared by its words.
    """
    demands = [f"«{term}»" for term in QUOTED.findall(criterion)]
    demands += [phrase for phrase in phrases if phrase in criterion]
    paragraphs = [p for p in answer.split("\n\n") if p.strip()]
    found = next((p for p in paragraphs if _holds(p, criterion, demands)), "")
    if _AVOIDS.match(criterion):
        return not found, "" if found else excerpt(answer)
    return bool(found), excerpt(found)


def _holds(paragraph: str, criterion: str, demands: list[str]) -> bool:
    if demands:
        return all(demand in paragraph for demand in demands)
    wanted, said = (set(_WORD.findall(text.casefold())) for text in (criterion, paragraph))
    return bool(wanted) and len(wanted & said) / len(wanted) >= OVERLAP


SUGGESTIONS = {
    "all fail": "Put the facts that decide the matter in plain view, and let fewer of them pull "
    "against each other.",
    "all succeed": "Break the tempting shortcut: add a fact that makes the first rule that comes "
    "to mind give the wrong advice.",
    "strong fails": "Put every fact on which the outcome turns in plain view; leave none to guess.",
    "no lead": "Break the tempting shortcut, so that only a reader who weighs the facts against "
    "each other sees it.",
    "no spread": "Let two of the points be within reach of a careful layman, and the others as "
    "demanding as before.",
    "unsure": "Keep the kind of difficulty, and let the facts differ more from each other.",
}


class AttemptGroup:
    """The attempts of one solver, as a section describes them; those without a score left out.

    `scores` are 0 … 1; `shared` are the criteria that every attempt meets, `separating` those that
    some meet and others miss; `pattern` says so in words.
    """

    def __init__(self, name: str, text: str) -> None:
        found = [(s, met) for _, s, met in _ATTEMPT.findall(text) if s != "None"]
        self.scores = [float(score) for score, _ in found]
        self.mean = fmean(self.scores) if found else 0.0
        self.spread = pstdev(self.scores) if found else 0.0
        met = [frozenset(map(int, re.findall(r"\d+", numbers))) for _, numbers in found]
        self.shared = sorted(frozenset.intersection(*met)) if found else []
        self.separating = sorted(frozenset().union(*met) - set(self.shared))
        self.pattern = f"{name} 1 to {len(found)}: all meet {_numbers(self.shared)}; "
        self.pattern += f"{_numbers(self.separating)} separate them"
        if found:
            best = self.scores.index(max(self.scores))
            with_what = _numbers(sorted(met[best]))
            self.pattern += f"; attempt {best + 1} goes furthest, with {with_what}"
        self.pattern += "."


def judge_round(brief: Brief, rng: Rng) -> str:
    """A judgement as JSON: patterns and spread, accept or improve with a suggestion."""
    weak = AttemptGroup("Weak", brief.section("weak_attempts"))
    strong = AttemptGroup("Strong", brief.section("strong_attempts"))
    finding = _finding(weak, strong)
    if finding == "" and rng.happens(DOUBT):
        finding = "unsure"
    suitability, suggestion = "low", ""
    if finding in ("", "unsure"):
        suitability = "high" if weak.spread >= SPREAD_HIGH else "medium"
    if finding:
        used = list(dict.fromkeys(QUOTED.findall(brief.section("question"))))
        leave = f" Leave {quoted(used)}." if used else ""
        suggestion = f"{SUGGESTIONS[finding]}{leave} Invent an entirely new scenario; keep the "
        suggestion += "criteria as demanding as they are."
    only = [number for number in strong.shared if number not in weak.shared]
    reply = {
        "weak_pattern": weak.pattern,
        "strong_pattern": strong.pattern,
        "gap_interpretation": f"Every strong attempt meets {_numbers(only)}, which some weak "
        "attempt misses: the reasoning differs, not the wording.",
        "rubric_concerns": [],
        "grpo_suitability": suitability,
        "verdict": "improve" if finding else "accept",
        "verdict_reason": f"Weak attempts differ on {_numbers(weak.separating)}"
        + (f"; {finding}." if finding else " and the rest is within reach."),
        "suggestion_for_writer": suggestion,
    }
    return as_json(reply, JUDGEMENT_MALFORMED, brief.reasked, rng)


def _finding(weak: AttemptGroup, strong: AttemptGroup) -> str:
    """Why the round cannot teach, as a key of `SUGGESTIONS`; nothing when it can."""
    if weak.mean < WEAK_RANGE[0]:
        return "all fail"
    if weak.mean > WEAK_RANGE[1]:
        return "all succeed"
    if strong.mean < STRONG_MIN:
        return "strong fails"
    if strong.mean - weak.mean < LEAD_MIN:
        return "no lead"
    return "no spread" if weak.spread < SPREAD_LOW else ""


def _numbers(numbers: Sequence[int]) -> str:
    return listed([str(number) for number in numbers]) if numbers else "none"
