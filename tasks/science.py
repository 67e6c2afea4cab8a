"""Science: mathematical objects with one right answer, compared symbolically, accepted by counts.

Comparing is slow on hostile input: what may take long is handed on as a Comparison.
"""

import logging
import random
import re

from autodata.tasks.acceptance import Acceptance, CountPolicy, Policy
from autodata.tasks.measured import MeasuredPolicy
from autodata.tasks.measurement import Prior
from autodata.tasks.task import Comparison, Task
from autodata.tasks.types import Candidate, Criterion, Objection

_MATH = re.compile(r"\$\$(.+?)\$\$|\$(.+?)\$|\\\((.+?)\\\)|\\\[(.+?)\\\]", re.DOTALL)
_FINAL = re.compile(r"final answer\s*(?:\*\*)?\s*[:=]\s*(?:\*\*)?", re.IGNORECASE)
_BOXED = "\\boxed{"
# The parser turns these into something else without a word (a `cases` block becomes its last
# number), so only an identical text counts as equal and anything else goes to a judge.
_NOT_PARSED = re.compile(r"\\begin\{(cases|array|aligned?)\}|\\text|\\mathrm|\\mbox|\\operatorname")
# Numbers that nothing can write out: a power of a power, an exponent or a factorial of many digits.
_HUGE = re.compile(
    r"\d[\s})]*\^[\s{(]*\d+[\s})]*\^[\s{(]*\d|\^[\s{(]*-?\d{6,}|\d{5,}[\s})]*!|![\s})]*!"
)
_LONGEST = 2_000  # characters of a formula that is compared
_DEEPEST = 40  # brackets within brackets, likewise
_SAMPLES = 5  # random points at which two expressions must differ to be called different


def final_answer(text: str) -> str | None:
    r"""The formula after the last "Final answer:", else in the last \boxed{…}; None if neither.

    None too when the line holds several formulas: which one is meant is for a judge to say.
    """
    parts = _FINAL.split(text)
    if len(parts) > 1:
        line = parts[-1].strip().split("\n\n")[0].strip().strip("*").strip()
        formulas = ["".join(groups).strip() for groups in _MATH.findall(line)]
        if len(formulas) > 1:
            return None
        return formulas[0] if formulas else line.rstrip(".") or None
    return _boxed(text)


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


def _formula(reference_answer: str) -> str:
    """The formula of a reference answer: after "Final answer:" if it says so, else all of it."""
    return final_answer(reference_answer) or reference_answer


def compare(answer: str, candidate: Candidate) -> bool | Comparison | None:
    """Whether the answer ends in the formula of the reference answer; the cheap cases at once."""
    given, wanted = final_answer(answer), _formula(candidate.reference_answer)
    if given is None:
        return None
    if _plain(given) == _plain(wanted):
        return True
    if not (_comparable(given) and _comparable(wanted)):
        return None
    return Comparison(equivalent, given, wanted, load=_load)


def _plain(latex: str) -> str:
    """LaTeX without what only changes its look: dollars, spacing commands, \\left and \\right."""
    return re.sub(r"\\left|\\right|\\[,;:! ]|\\displaystyle|[\s$]|\.$", "", latex.strip())


def _comparable(latex: str) -> bool:
    """False for what the parser gets wrong or never gets done."""
    if len(latex) > _LONGEST or _NOT_PARSED.search(latex) or _HUGE.search(latex):
        return False
    depth = deepest = 0
    for character in latex:
        depth += (character in "{([") - (character in "})]")
        deepest = max(deepest, depth)
    return deepest <= _DEEPEST


def _load() -> None:
    """Imports the algebra, which takes longer than most comparisons, and warms up its parser."""
    equivalent("x + x", "2 x")


def equivalent(answer: str, reference: str) -> bool | None:
    """True or False when mathematics settles it, None when a judge has to be asked.

    Both are formulas (LaTeX, with or without dollars). False needs a proof as well: two numeric
    values that differ, or two parsed objects of the same closed kind that are not equal.
    """
    from math_verify import verify

    ours, theirs = _parse(reference), _parse(answer)
    if ours is None or theirs is None:
        return None
    if _differ_in_symbols(ours, theirs):  # what verify finds out at a hundred times the price
        return False
    if verify([ours], [theirs], timeout_seconds=None):
        return True
    return False if _differ(ours, theirs) else None


def _parse(latex: str) -> object | None:
    """The formula as a SymPy object, or None where the parser gives up."""
    # math-verify warns on every call that its own time-out, which needs the main thread, is off.
    logging.getLogger("math_verify").setLevel(logging.ERROR)
    from math_verify import LatexExtractionConfig, parse

    found = parse(
        f"${latex.strip().strip('$')}$",
        extraction_config=[LatexExtractionConfig()],
        parsing_timeout=None,
    )
    return found[0] if found and not isinstance(found[0], str) else None


def _differ_in_symbols(left: object, right: object) -> bool:
    """True when two expressions of the same symbols, at least one, are provably not equal."""
    import sympy

    left, right = _value(left), _value(right)
    if not (isinstance(left, sympy.Expr) and isinstance(right, sympy.Expr)):
        return False
    same = left.free_symbols == right.free_symbols and bool(left.free_symbols)
    return same and _differ_everywhere(left, right)


def _differ(left: object, right: object) -> bool:
    """True when two parsed answers that are not known to be equal are provably not equal."""
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


def _differ_everywhere(left: object, right: object) -> bool:
    """True when two SymPy expressions differ at every one of a few random points."""
    import sympy

    assert isinstance(left, sympy.Expr)
    assert isinstance(right, sympy.Expr)
    symbols = sorted(left.free_symbols | right.free_symbols, key=str)
    draw = random.Random(0)
    for _ in range(_SAMPLES):
        point = {s: sympy.Float(draw.uniform(0.5, 2.5)) for s in symbols}
        try:
            gap = complex((left - right).subs(point).evalf())
        except (TypeError, ValueError):
            return False
        if abs(gap) <= 1e-6:
            return False
    return True


def _value(parsed: object) -> object:
    """The right side of "x = value"; anything else as it is."""
    import sympy

    if isinstance(parsed, sympy.Equality) and isinstance(parsed.lhs, sympy.Symbol):
        return parsed.rhs
    return parsed


def make_criteria(reference_answer: str) -> tuple[Criterion, ...]:
    """The one criterion of a science answer; a judge who reads it needs nothing else."""
    return (
        Criterion(
            criterion=f"The final answer is equivalent to: {reference_answer}",
            weight=1,
            category="correctness",
        ),
    )


def screen(candidate: Candidate) -> tuple[Objection, ...]:
    """A bare integer can be guessed; an answer that stands in the question needs no solving."""
    answer = _formula(candidate.reference_answer).strip().strip("$").strip()
    if answer.lstrip("+-").isdecimal():
        message = f"the answer is the bare integer {answer}; ask for an object instead"
        return (Objection(code="QUALITY", message=message),)
    asked = "".join(f"{candidate.context} {candidate.question}".split())
    if len(answer) >= 6 and "".join(answer.split()) in asked:
        message = f"the answer {answer} stands in the question or its context"
        return (Objection(code="LEAK", message=message),)
    return ()


# What problems look like before any is attempted: most are out of reach of the weak solver.
SCIENCE_PRIOR = Prior(weak=0.30, weak_sd=0.30, strong=0.60, strong_sd=0.30, slope=0.6)


def policy(acceptance: Acceptance, weak_attempts: int, strong_attempts: int) -> Policy:
    """Exact counts: by default weak ≤ 1 and strong ≥ 3 of 4 (paper, section 2)."""
    if acceptance.preset == "measured":
        return MeasuredPolicy.of_counts(acceptance, weak_attempts, strong_attempts, SCIENCE_PRIOR)
    return CountPolicy.of(acceptance, weak_attempts, strong_attempts)


# 4 attempts each; 3 to 5 challengers in parallel from different angles (paper, section 2).
TASK = Task(
    name="science",
    title="science",
    weak_attempts=4,
    strong_attempts=4,
    rounds=12,
    policy=policy,
    challengers=3,
    screen=screen,
    make_criteria=make_criteria,
    compare=compare,
)
