"""Scores as the gate of a run gives them: from marks, or by comparing a final answer with the
reference answer.

    right = await compared("science", question, "", reference_answer, answer)  # None: ask a judge
    score = score_of(weights, marks_of(reply, len(weights)))

This file travels: a taskset for verifiers carries a copy. It needs the standard library alone, and
`math_verify` where formulas are compared, which happens in processes of their own.
"""

import asyncio
import json
import os
import random
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple

SECONDS = (
    5.0  # of CPU time that comparing two formulas may take, as at the gate; then a judge decides
)
USER_LINE = "<!-- user -->"  # between the system and the user message of a prompt
COMPARED = ("procedural", "science")  # the tasks whose answers end in one that code can compare


def score_of(weights: Sequence[int], met: Sequence[bool]) -> float:
    """clip(sum of the weights met / sum of the positive weights, 0, 1) (paper, section 2).

    Raises ValueError where no weight is positive, or there is not one mark for each weight.
    """
    most = sum(weight for weight in weights if weight > 0)
    if not most:
        raise ValueError("a rubric without positive weights cannot be scored")
    total = sum(weight for weight, is_met in zip(weights, met, strict=True) if is_met)
    return min(max(total / most, 0.0), 1.0)


async def compared(
    task: str, question: str, question_type: str | None, reference_answer: str, answer: str
) -> bool | None:
    """Whether the answer is the reference answer; None where that is for a judge to say.

    A procedural answer without a final answer is wrong, by its form; `final_answer` tells which.
    """
    given = final_answer(task, question, question_type, answer)
    if task == "procedural":
        return given == reference_answer
    if task == "science" and given is not None:
        return await same_formula(given, final_formula(reference_answer) or reference_answer)
    return None


def final_answer(task: str, question: str, question_type: str | None, answer: str) -> str | None:
    """What an answer ends up with; None where it has no final answer that can be read, and for a
    task whose answers have none."""
    if task == "procedural":
        # Who repeats the question has not answered it.
        return final_value(answer.replace(question, " "), choices_of(question, question_type))
    return final_formula(answer) if task == "science" else None


# Judging: what a judge is sent, and what it sends back.


def messages_of(template: str, **values: str) -> tuple[str, str]:
    """The system and the user message of a prompt, with every `{{name}}` replaced in one pass.
    Raises KeyError for a name that has no value."""
    parts = template.split(f"\n{USER_LINE}\n")
    system, user = (re.sub(r"\{\{(\w+)\}\}", lambda m: values[m[1]], part) for part in parts)
    return system.strip(), user.strip()


def numbered(rubric: Sequence[Mapping[str, Any]]) -> str:
    """The criteria as a judge reads them: one a line, counted from 1, without their weights."""
    return "\n".join(f"{n}. {line['criterion']}" for n, line in enumerate(rubric, 1))


def marks_of(reply: str, count: int) -> list[bool]:
    """Which of `count` criteria are met, in their order. Raises ValueError, saying what is wrong
    with the reply, where there is not one mark for each."""
    start, end = reply.find("{"), reply.rfind("}")
    try:
        found = json.loads(reply[start : end + 1]) if 0 <= start < end else None
    except RecursionError as error:
        raise ValueError(f"no JSON that can be read: {reply[:200]!r}") from error
    marks = found.get("marks") if isinstance(found, dict) else None
    if not isinstance(marks, list) or not all(isinstance(mark, dict) for mark in marks):
        raise ValueError(f"no JSON object with marks: {reply[:200]!r}")
    met = {mark["number"]: mark.get("met") for mark in marks if type(mark.get("number")) is int}
    numbers = range(1, count + 1)
    if len(marks) != count or any(not isinstance(met.get(n), bool) for n in numbers):
        raise ValueError(f"each of the {count} criteria needs one mark, true or false")
    return [met[n] for n in numbers]


_THINKING = re.compile(r"\s*<think(?:ing)?>")
_THOUGHT = re.compile(r"</think(?:ing)?>")


def without_reasoning(text: str) -> str:
    """The answer alone, of a reply that has its reasoning before it, between tags. The opening tag
    may be missing, and so may the closing one: then the reply broke off before any answer."""
    begins, ends = _THINKING.match(text), list(_THOUGHT.finditer(text))
    if ends and (begins or "<think" not in text):
        return text[ends[-1].end() :].strip()
    return "" if begins else text


# Formulas.

_MATH = re.compile(r"\$\$(.+?)\$\$|\$(.+?)\$|\\\((.+?)\\\)|\\\[(.+?)\\\]", re.DOTALL)
_FINAL = re.compile(r"final answer\s*(?:\*\*)?\s*[:=]\s*(?:\*\*)?", re.IGNORECASE)
_BOXED = "\\boxed{"
_LOOKS = re.compile(r"\\left|\\right|\\[,;:! ]|\\displaystyle|[\s$]|\.$")
# What the parser reads wrongly without a word.
_NOT_PARSED = re.compile(r"\\begin\{(cases|array|aligned?)\}|\\text|\\mathrm|\\mbox|\\operatorname")
# Numbers that nothing can write out: a power of a power, an exponent or a factorial of many digits.
_HUGE = re.compile(
    r"\d[\s})]*\^[\s{(]*\d+[\s})]*\^[\s{(]*\d|\^[\s{(]*-?\d{6,}|\d{5,}[\s})]*!|![\s})]*!"
)
_LONGEST, _DEEPEST = 2_000, 40  # characters of a formula that is compared, brackets within brackets


def final_formula(text: str) -> str | None:
    r"""The formula after the last "Final answer:", else in the last \boxed{…}; None if neither.

    None too where the line holds several formulas: which one is meant is for a judge to say.
    """
    parts = _FINAL.split(text)
    if len(parts) < 2:
        return _boxed(text)
    line = parts[-1].strip().split("\n\n")[0].strip().strip("*").strip()
    formulas = ["".join(groups).strip() for groups in _MATH.findall(line)]
    if len(formulas) > 1:
        return None
    return formulas[0] if formulas else line.rstrip(".") or None


def _boxed(text: str) -> str | None:
    start = text.rfind(_BOXED)
    if start < 0:
        return None
    depth = 1
    for end in range(start + len(_BOXED), len(text)):
        depth += {"{": 1, "}": -1}.get(text[end], 0)
        if depth == 0:
            return text[start + len(_BOXED) : end].strip() or None
    return None


async def same_formula(given: str, wanted: str, seconds: float = SECONDS) -> bool | None:
    """Whether two formulas are the same; None where mathematics does not settle it in time.

    Its time is CPU time, without that of loading: a busy machine says what an idle one does.
    """
    if _LOOKS.sub("", given.strip()) == _LOOKS.sub("", wanted.strip()):
        return True
    if not (_comparable(given) and _comparable(wanted)):
        return None
    return await asyncio.to_thread(_ALGEBRA.settle, given, wanted, seconds)


def _comparable(latex: str) -> bool:
    """False for what the parser gets wrong or never gets done."""
    if len(latex) > _LONGEST or _NOT_PARSED.search(latex) or _HUGE.search(latex):
        return False
    depth = deepest = 0
    for character in latex:
        depth += (character in "{([") - (character in "})]")
        deepest = max(deepest, depth)
    return deepest <= _DEEPEST


class AlgebraProcesses:
    """Computer algebra in processes of its own, since on some input it never comes to an end.

    At most `size` at once; each lives on for the next pair, for loading the algebra takes longer
    than most comparisons. They end with this process, whose end closes their input.
    """

    def __init__(self, size: int) -> None:
        self._free: SimpleQueue[subprocess.Popen[str] | None] = SimpleQueue()
        self._known: dict[tuple[str, str], bool | None] = {}
        for _ in range(size):
            self._free.put(None)

    def settle(self, given: str, wanted: str, seconds: float = SECONDS) -> bool | None:
        """True or False where it is settled in so many seconds of CPU time, else None. Blocks.
        Raises RuntimeError where the algebra is not installed."""
        if (given, wanted) in self._known:
            return self._known[given, wanted]
        process = self._free.get()
        try:
            if process is None:
                process = self._started()
            said = self._ask(process, given, wanted, seconds)
            if not said:  # it was killed, by the time or by what it was asked
                process.kill()
                process.communicate()
                process = None
        finally:
            self._free.put(process)
        found = {"same": True, "different": False}.get(said)
        self._known[given, wanted] = found
        return found

    def _started(self) -> subprocess.Popen[str]:
        """A process that has loaded the algebra, on no pair's time. Raises RuntimeError."""
        process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, encoding="utf-8",
            start_new_session=True,  # Ctrl-C is for those who wait for it
        )  # fmt: skip
        if self._ask(process, "x + x", "2 x", 60.0) != "same":
            process.kill()
            said = process.communicate()[1].strip().rpartition("\n")[2]
            raise RuntimeError(f"formulas cannot be compared; is math-verify installed? {said}")
        return process

    def _ask(self, process: subprocess.Popen[str], given: str, wanted: str, seconds: float) -> str:
        """What it says of a pair; nothing where it ended, by its time or by what it was asked."""
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps([given, wanted, seconds]) + "\n")
            process.stdin.flush()
            return process.stdout.readline().strip()
        except BrokenPipeError:
            return ""

    def close(self) -> None:
        """Ends those that wait for a pair; the next pair starts others."""
        idle = []
        while True:
            try:
                idle.append(self._free.get_nowait())
            except Empty:
                break
        for process in idle:
            if process is not None:
                process.kill()
                process.communicate()
            self._free.put(None)


_ALGEBRA = AlgebraProcesses(max(1, min(4, (os.cpu_count() or 1) // 2)))


def close() -> None:
    """Ends the processes that compare formulas; they start again when they are needed."""
    _ALGEBRA.close()


def _settled(given: str, wanted: str) -> str:
    """`same`, `different`, or `unknown`: different needs a proof as well."""
    from math_verify import verify

    ours, theirs = _parsed(wanted), _parsed(given)
    if ours is None or theirs is None:
        return "unknown"
    if _differ_in_symbols(ours, theirs):  # what verify finds out at a hundred times the price
        return "different"
    if verify([ours], [theirs], timeout_seconds=None):
        return "same"
    return "different" if _differ(ours, theirs) else "unknown"


def _parsed(latex: str) -> Any:
    """The formula as a SymPy object, or None where the parser gives up."""
    from math_verify import LatexExtractionConfig, parse

    found = parse(
        f"${latex.strip().strip('$')}$",
        extraction_config=[LatexExtractionConfig()],
        parsing_timeout=None,
    )
    return found[0] if found and not isinstance(found[0], str) else None


def _value(parsed: Any) -> Any:
    """The right side of "x = value"; anything else as it is."""
    import sympy

    named = isinstance(parsed, sympy.Equality) and isinstance(parsed.lhs, sympy.Symbol)
    return parsed.rhs if named else parsed


def _differ_in_symbols(left: Any, right: Any) -> bool:
    """Whether two expressions of the same symbols, at least one, are provably not equal."""
    import sympy

    left, right = _value(left), _value(right)
    if not (isinstance(left, sympy.Expr) and isinstance(right, sympy.Expr)):
        return False
    same = left.free_symbols == right.free_symbols and bool(left.free_symbols)
    return same and _differ_everywhere(left, right)


def _differ(left: Any, right: Any) -> bool:
    """Whether two parsed answers that are not known to be equal are provably not equal."""
    import sympy

    left, right = _value(left), _value(right)
    closed = (sympy.Set, sympy.MatrixBase)
    if isinstance(left, closed) and isinstance(right, closed):
        return not (left.free_symbols or right.free_symbols)
    if not (isinstance(left, sympy.Expr) and isinstance(right, sympy.Expr)):
        return False
    if left.free_symbols != right.free_symbols and left.free_symbols and right.free_symbols:
        return False  # renamed variables: a judge knows which is which
    return _differ_everywhere(left, right)


def _differ_everywhere(left: Any, right: Any) -> bool:
    """Whether two SymPy expressions differ at every one of a few random points."""
    import sympy

    symbols = sorted(left.free_symbols | right.free_symbols, key=str)
    draw = random.Random(0)
    for _ in range(5):
        point = {symbol: sympy.Float(draw.uniform(0.5, 2.5)) for symbol in symbols}
        try:
            gap = complex((left - right).subs(point).evalf())
        except (TypeError, ValueError):
            return False
        if abs(gap) <= 1e-6:
            return False
    return True


# Values: numbers, and words that a question offers. Lenient about form, but nothing is guessed.

_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_WORDS = re.compile(r"Which of these words comes first in the alphabet: ([\w, ]+)\?")
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


def choices_of(question: str, question_type: str | None) -> tuple[str, ...]:
    """The answers that a procedural question allows; none where any whole number may be right."""
    if question_type == "weekdays":
        return _DAYS
    listed = _WORDS.fullmatch(question.strip()) if question_type == "alphabet" else None
    return tuple(listed[1].split(", ")) if listed else ()


def final_value(text: str, choices: Sequence[str] = ()) -> str | None:
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


class ValueInText(NamedTuple):
    """A value, and where it stands; `said` is None of a number that is not worked out."""

    said: str | None
    start: int
    end: int


def _values(text: str, choices: Sequence[str]) -> Iterator[ValueInText]:
    """The choices in a text as they are written in the question, or its numbers in digits."""
    pattern = rf"\b(?:{'|'.join(map(re.escape, choices))})\b" if choices else ""
    written = {choice.casefold(): choice for choice in choices}
    for found in re.finditer(
        pattern or rf"{_LARGER}|{_NUMBER}|{_SPELLED_OUT}", text, re.IGNORECASE
    ):
        word = found[0].casefold()
        yield ValueInText(written[word] if choices else _in_digits(word), *found.span())


def _in_digits(word: str) -> str | None:
    if word in _SPELLED:
        return str(_SPELLED[word])
    if re.search(_LARGE, word):
        return None
    digits = re.sub(r"\.0+$", "", word.replace(",", "").replace("−", "-"))
    return re.sub(r"^(-?)0+(?=\d)", r"\1", digits)


def _after(mark: re.Match[str], values: Sequence[ValueInText], within: int) -> ValueInText | None:
    """The first value after a mark, within so many characters."""
    return next((v for v in values if 0 <= v.start - mark.end() <= within), None)


def _called(text: str, first: ValueInText, values: Sequence[ValueInText]) -> str | None:
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


if __name__ == "__main__":  # one pair of formulas a line, until the input ends
    import logging
    import resource
    import signal
    from contextlib import suppress

    with suppress(ValueError, OSError):  # not every system limits memory
        resource.setrlimit(resource.RLIMIT_AS, (2**31, 2**31))
    logging.getLogger("math_verify").setLevel(logging.ERROR)  # it warns that it has no time-out
    for line in sys.stdin:
        *pair, seconds = json.loads(line)
        signal.setitimer(signal.ITIMER_PROF, seconds)  # ends the process when it has used them
        said = _settled(*pair)
        signal.setitimer(signal.ITIMER_PROF, 0)
        print(said, flush=True)
