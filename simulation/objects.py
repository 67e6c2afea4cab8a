"""Answers as mathematical objects: expressions, equations, sets, intervals, matrices, cases."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

import sympy
from sympy import Expr

from autodata.simulation.chance import Chance
from autodata.simulation.formulas import NotAFormula, parse, write

REWRITTEN = 0.5  # share of right answers that do not look like the reference
SAMPLES = 3  # random points at which two objects are compared
_CASES = re.compile(r"\\begin\{cases\}(.*)\\end\{cases\}", re.DOTALL)
_MATRIX = re.compile(r"\\begin\{[pb]?matrix\}(.*)\\end\{[pb]?matrix\}", re.DOTALL)


@dataclass(frozen=True)
class Answer:
    """One object: its kind (the prompts' word for it), its expressions, and its `frame`.

    The frame is what stands around the expressions: the brackets of an interval, the left side of
    an equation, the conditions of a function given by cases.
    """

    kind: str
    parts: tuple[Expr, ...]
    frame: tuple[str, ...] = ()

    def latex(self) -> str:
        """The object in LaTeX, without dollar signs."""
        parts = [write(part) for part in self.parts]
        if self.kind == "set":
            return "\\left\\{" + ", ".join(parts) + "\\right\\}"
        if self.kind == "interval":
            low, high = self.frame
            return f"\\left{low}{parts[0]}, {parts[1]}\\right{high}"
        if self.kind == "matrix":
            rows = [" & ".join(row) for row in (parts[:2], parts[2:])]
            return "\\begin{pmatrix}" + " \\\\ ".join(rows) + "\\end{pmatrix}"
        if self.kind == "piecewise":
            rows = [f"{p} & \\text{{if }} {c}" for p, c in zip(parts, self.frame, strict=True)]
            return "\\begin{cases}" + " \\\\ ".join(rows) + "\\end{cases}"
        if self.kind == "equation":
            return f"{self.frame[0]} = {parts[0]}"
        return parts[0]

    def rewritten(self, chance: Chance) -> "Answer":
        """An equal object, often in another form."""
        if not chance.happens(REWRITTEN):
            return self
        form = chance.choice((sympy.expand, sympy.factor, sympy.together))
        parts = tuple(form(part) for part in self.parts)
        return replace(self, parts=parts[::-1] if self.kind == "set" else parts)

    def slipped(self, chance: Chance) -> "Answer":
        """The object after a typical slip: a sign, a factor, a term, a case or an end point."""
        place = chance.randrange(len(self.parts))
        if self.kind == "interval" and chance.happens(0.3):
            return replace(self, frame=tuple({"(": "[", ")": "]"}.get(b, b) for b in self.frame))
        if self.kind == "set" and len(self.parts) > 1 and chance.happens(0.4):
            return replace(self, parts=self.parts[:place] + self.parts[place + 1 :])
        slips = [lambda part: -part, lambda part: 2 * part, lambda part: part / 2]
        if isinstance(self.parts[place], sympy.Add):
            slips.append(lambda part: part - 2 * part.args[-1])
            slips.append(lambda part: part - part.args[-1])
        changed = chance.choice(slips)(self.parts[place])
        if changed == self.parts[place]:  # zero stays zero
            changed = sympy.Integer(1)
        return replace(self, parts=(*self.parts[:place], changed, *self.parts[place + 1 :]))


def read(latex: str) -> Answer:
    """The object that a formula stands for. Raises NotAFormula."""
    text = re.sub(
        r"\\left|\\right|(?<!\\)\\[,;:! ]", "", latex.strip().strip("$").strip().rstrip(".")
    )
    if found := _CASES.search(text):
        rows = [row.split("&") for row in found[1].split("\\\\") if "&" in row]
        conditions = tuple(re.sub(r"\\text\{.*?\}|\s", "", row[1]) for row in rows)
        return Answer("piecewise", _parsed(row[0] for row in rows), conditions)
    if found := _MATRIX.search(text):
        return Answer("matrix", _parsed(re.split(r"&|\\\\", found[1])))
    if text.startswith("\\{"):
        return Answer("set", _parsed(text[2:].removesuffix("\\}").split(",")))
    if text[:1] in "([" and text[-1:] in ")]" and text.count(",") == 1:
        return Answer("interval", _parsed(text[1:-1].split(",")), (text[0], text[-1]))
    if "=" in text:
        left, _, right = text.partition("=")
        return Answer("equation", _parsed([right]), (left.strip(),))
    return Answer("expression", _parsed([text]))


def same(one: Answer, other: Answer) -> bool:
    """Whether two objects are equal, by value at random points."""
    kinds = {one.kind, other.kind}
    if len(kinds) == 2 and kinds != {"expression", "equation"}:
        return False
    framed = one.kind in ("interval", "piecewise")
    if len(one.parts) != len(other.parts) or (framed and _frame(one) != _frame(other)):
        return False
    names = {s for answer in (one, other) for part in answer.parts for s in part.free_symbols}
    for number in range(SAMPLES):
        chance = Chance("point", number)
        point = {name: chance.uniform(0.6, 2.4) for name in sorted(names, key=str)}
        left, right = (_values(answer, point) for answer in (one, other))
        if any(abs(a - b) > 1e-6 * (1 + abs(a)) for a, b in zip(left, right, strict=True)):
            return False
    return True


def _frame(answer: Answer) -> list[str]:
    return [re.sub(r"\\text\{.*?\}|\s", "", part) for part in answer.frame]


def _values(answer: Answer, point: dict[sympy.Symbol, float]) -> list[complex]:
    values = [complex(part.subs(point).evalf()) for part in answer.parts]
    if answer.kind == "set":
        values.sort(key=lambda value: (value.real, value.imag))
    return values


def _parsed(texts: Iterable[str]) -> tuple[Expr, ...]:
    parts = tuple(parse(text.strip()) for text in texts)
    if not parts:
        raise NotAFormula("nothing stands there")
    return parts
