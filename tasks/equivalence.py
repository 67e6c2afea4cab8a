"""Are two mathematical answers the same? Symbolically, by math-verify and SymPy.

Slow on hostile input: callers that wait run it in a process they can end.
"""

import logging
import random
import re

# The parser turns these into something else without a word (a `cases` block becomes its last
# number), so only an identical text counts as equal and anything else goes to a judge.
_NOT_PARSED = re.compile(r"\\begin\{(cases|array|aligned?)\}|\\text|\\mathrm|\\mbox|\\operatorname")
_MATH = re.compile(r"\$\$(.+?)\$\$|\$(.+?)\$|\\\((.+?)\\\)|\\\[(.+?)\\\]", re.DOTALL)
_FINAL = re.compile(r"final answer\s*(?:\*\*)?\s*[:=]\s*(?:\*\*)?", re.IGNORECASE)
_BOXED = "\\boxed{"
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


def _plain(latex: str) -> str:
    """LaTeX without what only changes its look: dollars, spacing commands, \\left and \\right."""
    return re.sub(r"\\left|\\right|\\[,;:! ]|\\displaystyle|[\s$]|\.$", "", latex.strip())


def equivalent(answer: str, reference: str) -> bool | None:
    """True or False when mathematics settles it, None when a judge has to be asked.

    Both are formulas (LaTeX, with or without dollars). False needs a proof as well: two numeric
    values that differ, or two parsed objects of the same closed kind that are not equal.
    """
    if _plain(answer) == _plain(reference):
        return True
    if _NOT_PARSED.search(answer) or _NOT_PARSED.search(reference):
        return None
    from math_verify import verify

    ours, theirs = _parse(reference), _parse(answer)
    if ours is None or theirs is None:
        return None
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


def _differ(left: object, right: object) -> bool:
    """True when two parsed answers are provably not equal."""
    import sympy

    left, right = _value(left), _value(right)
    closed = (sympy.Set, sympy.MatrixBase)
    if isinstance(left, closed) and isinstance(right, closed):
        return not (left.free_symbols or right.free_symbols)
    if not (isinstance(left, sympy.Expr) and isinstance(right, sympy.Expr)):
        return False
    if left.free_symbols != right.free_symbols and left.free_symbols and right.free_symbols:
        return False  # renamed variables: a judge knows which is which
    symbols = sorted(left.free_symbols | right.free_symbols, key=str)
    draw = random.Random(0)
    differing = 0
    for _ in range(_SAMPLES):
        point = {s: sympy.Float(draw.uniform(0.5, 2.5)) for s in symbols}
        try:
            gap = complex((left - right).subs(point).evalf())
        except (TypeError, ValueError):
            return False
        differing += abs(gap) > 1e-6
    return differing == _SAMPLES


def _value(parsed: object) -> object:
    """The right side of "x = value"; anything else as it is."""
    import sympy

    if isinstance(parsed, sympy.Equality) and isinstance(parsed.lhs, sympy.Symbol):
        return parsed.rhs
    return parsed
