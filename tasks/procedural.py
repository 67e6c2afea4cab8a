"""Procedural: items of declared families with one exact answer, made by code with a dial.

A document names a generator: a family, the setting at which its dial starts, a seed. The challenger
is a procedure that turns the dial by the objections of the earlier rounds, the checks before and
after the attempts work the answer out anew from the text alone, and answers are compared exactly.
Small models are measured well so: nothing is asked of any model but to solve.
"""

import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import pairwise
from random import Random
from typing import NamedTuple

import yaml
from pydantic import Field, ValidationError

from autodata.tasks.acceptance import Acceptance, CountPolicy, Policy, Scores, by_form
from autodata.tasks.item_families import ITEM_FAMILIES, ItemFamily
from autodata.tasks.measured import MeasuredPolicy
from autodata.tasks.measurement import Prior
from autodata.tasks.task import Procedure, Task, Unreadable, Worked
from autodata.tasks.types import Attempt, Candidate, Criterion, Frozen, Objection, Round, digest

# Reading a document: which generator it names.


class Generator(Frozen):
    """What a document says, as YAML: a family, where its dial starts, the seed of its draws."""

    family: str
    setting: int = Field(0, ge=0, lt=10**1000)
    seed: int = Field(0, ge=0, lt=10**1000)
    about: str = ""


# What PyYAML's constructors stumble over, beside its own errors: dates and numbers that cannot be.
_UNREADABLE = (ValueError, ArithmeticError, LookupError, AttributeError)
_FAULTS = {
    "missing": "is missing",
    "extra_forbidden": "is not known",
    "invalid_key": "is not known",
    "less_than": "is too large",
    "string_type": "is no text",
    "string_unicode": "is no text",
}


def generator(document: str) -> Generator | Objection:
    """The generator that a document's text names, or UNSUITABLE with what is wrong with it."""
    try:
        found = Generator.model_validate(yaml.safe_load(document), strict=True)
    except yaml.YAMLError as error:
        return _unsuitable(f"it is not YAML: {' '.join(str(error).split())}")
    except ValidationError as error:
        return _unsuitable(_fault(error))
    except _UNREADABLE:
        return _unsuitable("it holds a date, number or tag that cannot be read")
    except RecursionError:
        return _unsuitable("it is nested too deeply")
    if found.family not in ITEM_FAMILIES:
        return _unsuitable(
            f"there is no family {found.family!r}; there are {', '.join(ITEM_FAMILIES)}"
        )
    if found.setting > (hardest := ITEM_FAMILIES[found.family].hardest):
        return _unsuitable(f"setting {found.setting} of {found.family}: 0 … {hardest} are declared")
    return found


def _fault(error: ValidationError) -> str:
    """The first thing that is wrong with what a document says, in words."""
    found, form = error.errors()[0], "a generator is YAML with family, setting, seed and about"
    wrong = _FAULTS.get(found["type"], "is no whole number from 0 on")
    return f"{found['loc'][0]} {wrong}; {form}" if found["loc"] else form


def _unsuitable(why: str) -> Objection:
    return Objection(code="UNSUITABLE", message=f"the document names no generator: {why}")


# Turning the dial, and making what it asks for.

TURNS = {"TOO_EASY": 1, "STRONG_FAILED": -1}


def dial(named: Generator, rounds: Sequence[Round]) -> int:
    """Where the dial stands after these rounds: a step up or down for each that says which.

    What is objected to for another reason, such as its form, leaves it where it is.
    """
    position, last = named.setting, ITEM_FAMILIES[named.family].hardest
    for round in rounds:
        turn = TURNS.get(round.objections[0].code, 0) if round.objections else 0
        position = min(max(position + turn, 0), last)
    return position


def challenge(document: str, rounds: Sequence[Round]) -> Candidate | Objection:
    """The item of the next round: its family's, at the dial, drawn by seed and round alone."""
    named = generator(document)
    if isinstance(named, Objection):
        return named
    family, position = ITEM_FAMILIES[named.family], dial(named, rounds)
    drawn = _draw(named.family, position, named.seed, len(rounds) + 1)
    context, question, answer, _ = family.pose(drawn, family.settings[position])
    return Candidate(
        context=context,
        question=question,
        reference_answer=answer,
        rubric=make_criteria(answer),
        question_type=family.name,
        skills=(family.name,),
        angle=_worded(family, position),
    )


def instruct(document: str, rounds: Sequence[Round]) -> str:
    """What the procedure does next, in words: where the dial stands and what moved it."""
    named = generator(document)
    if isinstance(named, Objection):
        return ""
    before, now = dial(named, rounds[:-1]), dial(named, rounds)
    codes = ", ".join(dict.fromkeys(o.code for o in rounds[-1].objections))
    moved = f"from {before} to {now}" if now != before else f"stays at {now}"
    return f"{codes}: the dial {moved}; {_worded(ITEM_FAMILIES[named.family], now)}"


def _worded(family: ItemFamily, position: int) -> str:
    sizes = ", ".join(map(str, family.settings[position]))
    return f"setting {position} of {family.hardest} ({family.sizes}: {sizes})"


def _draw(*which: object) -> Random:
    """Draws that follow from these values alone."""
    return Random(int(digest(*which), 16))


def worked(document: str, rounds: Sequence[Round], count: int) -> tuple[Worked, ...]:
    """So many solved items at the dial, with their steps: the same wherever it stands there, so
    that an endpoint can keep them at hand, but never the very item that is asked."""
    named, asked = generator(document), challenge(document, rounds)
    if isinstance(named, Objection) or isinstance(asked, Objection):
        return ()
    family, position = ITEM_FAMILIES[named.family], dial(named, rounds)
    found: list[Worked] = []
    for number in range(2 * count):
        drawn = _draw(named.family, position, "worked", number)
        context, question, answer, steps = family.pose(drawn, family.settings[position])
        if (context, question) != (asked.context, asked.question):
            found.append((context, question, f"{steps}.\nAnswer: {answer}"))
    return tuple(found[:count])


def problems(document: str, candidate: Candidate) -> tuple[str, ...]:
    """What is wrong with an item: its answer, worked out anew from the text alone, must agree."""
    named = generator(document)
    if isinstance(named, Objection):
        return (named.message,)
    try:
        answer = ITEM_FAMILIES[named.family].solve(candidate.context, candidate.question)
    except ValueError as error:
        return (str(error),)
    if answer != candidate.reference_answer:
        return (f"the answer is {answer}, not {candidate.reference_answer}",)
    if candidate.rubric != make_criteria(answer):
        return ("its criterion is not the one of its answer",)
    return ()


# Comparing answers: lenient about form, but nothing is guessed into an answer.

_ANSWER = re.compile(r"answers?\b(?:(?:\s+to\b[^\n]{0,80}?)?\s+(?:is|are)\b)?", re.IGNORECASE)
_EQUALS = re.compile(r"=|\bequals?\b(?:\s+to\b)?", re.IGNORECASE)
_IS = re.compile(r"\b(?:is|are|be|has|have|holds?|makes?|gives?)\b", re.IGNORECASE)
_OR = re.compile(r"\W*\bor\b\W*", re.IGNORECASE)
# What joins values to a calculation, and where an answer ends and talk about it begins.
_JOINED = re.compile(
    r"[^\S\n]*(?:[-+*/×÷·−–x]|\\(?:times|cdot|div)|times|plus|minus|(?:multipli|divid)ed by)"
    r"[^\S\n]*"
)
_CLOSED = re.compile(
    r"\n|[.!?;](?=[\s*]|$)|(?:(?<=\w)|(?<=\*\*))\s+\(|\s—\s|\b(?:because|since)\b"
    r"|,\s*(?:which|not|as|for)\b",
    re.IGNORECASE,
)
_NEAR, _SOON = 4, 80  # characters between a mark and the value that it leads to, at most
_NUMBER = r"(?<![\w.,])[-−]?\d{1,3}(?:,\d{3})+(?:\.\d+)?(?!\w)|(?<![\w.])[-−]?\d+(?:\.\d+)?(?!\w)"
_BELOW_TWENTY = """
zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen
sixteen seventeen eighteen nineteen
"""
_ONES = _BELOW_TWENTY.split()
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_SPELLED = {word: n for n, word in enumerate(_ONES)} | {
    word: 10 * n for n, word in enumerate(_TENS, 2)
}
_SPELLED |= {
    f"{tens}{dash}{_ONES[ones]}": _SPELLED[tens] + ones
    for tens in _TENS
    for ones in range(1, 10)
    for dash in "- "
}
_SPELLED |= {"once": 1, "twice": 2}
_SPELLED_OUT = rf"\b(?:{'|'.join(sorted(_SPELLED, key=len, reverse=True))})\b"
# Numbers of words that are not worked out; what is written so is a value, and no known one.
_LARGE = r"\b(?:hundred|thousand|million|billion|dozen)s?\b"
_LARGER = (
    rf"(?:(?:{_NUMBER}|{_SPELLED_OUT})[\s-]+)?{_LARGE}"
    rf"(?:[\s-]+(?:and\s+)?(?:{_LARGE}|{_SPELLED_OUT}))*"
)


def compare(answer: str, candidate: Candidate) -> bool | Unreadable:
    """Whether an answer ends up with the reference answer; Unreadable where it does with none."""
    family = ITEM_FAMILIES.get(candidate.question_type)
    choices = family.choices(candidate.question) if family else ()
    given = final_answer(answer.replace(candidate.question, " "), choices)
    if given is None:
        return Unreadable("no final answer can be told from the rest")
    return given == candidate.reference_answer


def final_answer(text: str, choices: Sequence[str] = ()) -> str | None:
    """The one value that a text gives as its answer: a choice, or a number where there are none.

    What it calls its answer goes first, then what an equals sign leads to, then the only value that
    it names, then the only one that “is” or “has” leads to. None when none of these tells, and when
    it offers one value or another.
    """
    values = list(_values(text, choices))
    if any(_OR.fullmatch(text, one.end, other.start) for one, other in pairwise(values)):
        return None
    announced = [first for mark in _ANSWER.finditer(text) if (first := _after(mark, values, _SOON))]
    if announced:
        return _called(text, announced[-1], values)
    results = [after for mark in _EQUALS.finditer(text) if (after := _after(mark, values, _NEAR))]
    if results:
        return results[-1].said
    stated = [after for mark in _IS.finditer(text) if (after := _after(mark, values, _NEAR))]
    for told in values, stated:
        if len(only := {value.said for value in told}) == 1:
            return only.pop()
    return None


class Value(NamedTuple):
    """A value in a text, and where it stands; `said` is None of a number that is not worked out."""

    said: str | None
    start: int
    end: int


def _values(text: str, choices: Sequence[str]) -> Iterator[Value]:
    """The choices in a text as they are written in the question, or its numbers in digits."""
    pattern = rf"\b(?:{'|'.join(map(re.escape, choices))})\b" if choices else ""
    written = {choice.casefold(): choice for choice in choices}
    for found in re.finditer(
        pattern or rf"{_LARGER}|{_NUMBER}|{_SPELLED_OUT}", text, re.IGNORECASE
    ):
        word = found[0].casefold()
        yield Value(written[word] if choices else _in_digits(word), *found.span())


def _in_digits(word: str) -> str | None:
    if word in _SPELLED:
        return str(_SPELLED[word])
    if re.search(_LARGE, word):
        return None
    digits = re.sub(r"\.0+$", "", word.replace(",", "").replace("−", "-"))
    return re.sub(r"^(-?)0+(?=\d)", r"\1", digits)


def _after(mark: re.Match[str], values: Sequence[Value], within: int) -> Value | None:
    """The first value after a mark, within so many characters."""
    return next((v for v in values if 0 <= v.start - mark.end() <= within), None)


def _called(text: str, first: Value, values: Sequence[Value]) -> str | None:
    """What is called the answer from this value on, up to where talk about it begins.

    It is what the last equals sign leads to, else the only value. Terms of a calculation are none.
    """
    closed = _CLOSED.search(text, first.end)
    end = closed.start() if closed else len(text)
    near = [value for value in values if first.start <= value.start < end]
    terms = {
        value
        for one, other in pairwise(near)
        if _JOINED.fullmatch(text, one.end, other.start)
        for value in (one, other)
    }
    whole = [value for value in near if value not in terms]
    signs = _EQUALS.finditer(text, first.end, end)
    results = [after for sign in signs if (after := _after(sign, whole, _NEAR))]
    told = {value.said for value in results[-1:] or whole}
    return told.pop() if len(told) == 1 else None


def make_criteria(reference_answer: str) -> tuple[Criterion, ...]:
    """The one criterion of an item."""
    criterion = f"The final answer is {reference_answer}"
    return (Criterion(criterion=criterion, weight=1, category="correctness"),)


# Deciding: exact counts, and no round whose failures are failures of form.


class FormedPolicy(CountPolicy):
    """Exact counts of correct attempts; a side that fails by form alone proves nothing.

    A side that has not failed by its count is attempted in full: how its failures came about counts
    as well.
    """

    def weak_objections(self, weak: Sequence[Attempt]) -> tuple[Objection, ...]:
        return super().weak_objections(weak) or by_form(weak, "weak")

    def objections(self, round: Round) -> tuple[Objection, ...]:
        found = super().objections(round)
        if any(objection.code == "STRONG_FAILED" for objection in found):
            return by_form(round.strong, "strong") or found
        return found

    def weak_settled(self, weak: Scores) -> bool:
        return (
            list(weak).count(Fraction(1)) > self.weak_correct_max or len(weak) >= self.weak_planned
        )

    def strong_settled(self, weak: Scores, strong: Scores) -> bool:
        correct = list(strong).count(Fraction(1))
        return correct >= self.strong_correct_min or len(strong) >= self.strong_planned


class FormedMeasure(MeasuredPolicy):
    """The true shares of correct attempts, likewise: failures of form are no difficulty."""

    def objections(self, round: Round) -> tuple[Objection, ...]:
        found = super().objections(round)
        if any(objection.code == "STRONG_FAILED" for objection in found):
            return by_form(round.strong, "strong") or found
        return found or by_form(round.weak, "weak")


ITEM_PRIOR = Prior(
    weak=0.40, weak_sd=0.30, strong=0.60, strong_sd=0.30
)  # before anything is attempted


def policy(acceptance: Acceptance, weak_attempts: int, strong_attempts: int) -> Policy:
    """Exact counts: by default weak ≤ 1 and strong ≥ 3 of 4, whatever fails by its form apart."""
    if acceptance.preset == "measured":
        return FormedMeasure.of_counts(acceptance, weak_attempts, strong_attempts, ITEM_PRIOR)
    return FormedPolicy.of(acceptance, weak_attempts, strong_attempts)


TASK = Task(
    name="procedural",
    title="procedural",
    weak_attempts=4,
    strong_attempts=4,
    rounds=8,
    policy=policy,
    make_criteria=make_criteria,
    compare=compare,
    procedure=Procedure(challenge, instruct, problems, worked),
)
