"""Formulas between LaTeX and SymPy, and answers as mathematical objects.

A small reader for what textbooks and these models write. Whatever was read, worked out or compared
once is remembered: the attempts at one problem share it.
"""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache

import sympy
from sympy import Expr

from autodata.simulation.messages import Rng

FORMULA = re.compile(r"\$\$(.+?)\$\$|\$(.+?)\$", re.DOTALL)
_TOKEN = re.compile(r"\\[A-Za-z]+|\\.|\d+(?:\.\d+)?|\S")
_SILENT = re.compile(r"\\left|\\right|(?<!\\)\\[,;:! ]|\\displaystyle|\\quad")
# Letters that are safe as parameters: none that a computer algebra system reads as its own (E, I,
# S, …), and none of the variables that the problems use.
PARAMETERS = (
    *"abcghkmpqrsuvABKLMPRTV",
    *(f"\\{name}" for name in ("alpha", "kappa", "lambda", "mu", "omega", "sigma", "tau")),
)
_LETTER = re.compile(r"\\[A-Za-z]+|(?<![A-Za-z\\])[A-Za-z](?![A-Za-z])")

REWRITTEN = 0.5  # share of right answers that do not look like the reference
SAMPLES = 3  # random points at which two objects are compared
_CASES = re.compile(r"\\begin\{cases\}(.*)\\end\{cases\}", re.DOTALL)
_MATRIX = re.compile(r"\\begin\{[pb]?matrix\}(.*)\\end\{[pb]?matrix\}", re.DOTALL)


class NotAFormula(ValueError):
    """The text is not a formula that this reader knows."""


def formulas(text: str) -> tuple[str, ...]:
    """The formulas between dollar signs, in order."""
    return tuple((display or inline).strip() for display, inline in FORMULA.findall(text))


@lru_cache(maxsize=128)
def letters(document: str) -> tuple[str, ...]:
    """The letters that a document calculates with, most frequent first, filled up with common
    ones."""
    counted = Counter(
        letter
        for formula in formulas(document)
        for letter in _LETTER.findall(formula)
        if letter in PARAMETERS
    )
    spare = [letter for letter in ("a", "k") if letter not in counted]
    return (*(letter for letter, _ in counted.most_common()), *spare)


def symbol(name: str) -> sympy.Symbol:
    """The symbol of a LaTeX letter; parameters and variables are all taken as positive."""
    return sympy.Symbol(name.removeprefix("\\"), positive=True)


@lru_cache(maxsize=4096)
def write(expr: Expr) -> str:
    """An expression in LaTeX."""
    text: str = sympy.latex(expr)
    return text.replace("\\left(", "(").replace(" \\right)", ")").replace("\\right)", ")")


@lru_cache(maxsize=4096)
def parse(latex: str) -> Expr:
    """The expression that a formula stands for. Raises NotAFormula."""
    reader = _Reader(_TOKEN.findall(_SILENT.sub(" ", latex)))
    expr = reader.sum()
    if reader.left:
        raise NotAFormula(f"“{reader.left[0]}” was not expected in {latex}")
    return expr


class _Reader:
    """Recursive descent over the tokens: sums of products of powers of atoms."""

    def __init__(self, tokens: list[str]) -> None:
        self.left = tokens
        self._bars = 0

    def sum(self) -> Expr:
        total = self.product()
        while self.peek() in ("+", "-"):
            sign = 1 if self.take() == "+" else -1
            total = total + sign * self.product()
        return total

    def product(self) -> Expr:
        sign = 1
        while self.peek() in ("+", "-"):
            sign = -sign if self.take() == "-" else sign
        value = self.power()
        while self.peek() not in ("", "+", "-", ")", "}", "|" * self._bars):
            if self.took("/"):
                value = value / self.power()
            else:
                self.took("\\cdot", "\\times", "*")
                value = value * self.power()
        return sign * value

    def power(self) -> Expr:
        base = self.atom()
        while self.took("^"):
            base = base ** self.argument()
        return base

    def atom(self) -> Expr:
        token = self.take()
        if token[0].isdigit():
            return sympy.Rational(token)
        if token in ("(", "{"):
            return self.inside({"(": ")", "{": "}"}[token])
        if token == "|":
            self._bars = 1  # the next bar closes: absolute values do not nest here
            return sympy.Abs(self.inside("|"))
        if token == "\\frac":
            return self.argument() / self.argument()
        if token == "\\sqrt":
            return sympy.sqrt(self.argument())
        if token == "e":
            return sympy.E
        if token in PARAMETERS or re.fullmatch("[A-Za-z]", token):
            return symbol(token)
        raise NotAFormula(f"“{token}” is not known")

    def argument(self) -> Expr:
        """What a fraction, root or exponent applies to: a group or one token."""
        return -self.atom() if self.took("-") else self.atom()

    def inside(self, end: str) -> Expr:
        """What stands between brackets or bars, the closing one taken."""
        expr = self.sum()
        self.take(end)
        self._bars = 0 if end == "|" else self._bars
        return expr

    def peek(self) -> str:
        return self.left[0] if self.left else ""

    def took(self, *tokens: str) -> bool:
        """Whether the next token was one of these; it is taken then."""
        found = self.peek() in tokens
        self.left = self.left[found:]
        return found

    def take(self, wanted: str = "") -> str:
        if not self.left or (wanted and self.left[0] != wanted):
            raise NotAFormula(f"expected {wanted or 'more'}, found {self.peek() or 'the end'}")
        return self.left.pop(0)


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

    def rewritten(self, rng: Rng) -> "Answer":
        """An equal object, often in another form."""
        if not rng.happens(REWRITTEN):
            return self
        form = rng.choice((sympy.expand, sympy.factor, sympy.together))
        parts = tuple(form(part) for part in self.parts)
        return replace(self, parts=parts[::-1] if self.kind == "set" else parts)

    def slipped(self, rng: Rng) -> "Answer":
        """The object after a typical slip: a sign, a factor, a term, a case or an end point."""
        place = rng.randrange(len(self.parts))
        if self.kind == "interval" and rng.happens(0.3):
            return replace(self, frame=tuple({"(": "[", ")": "]"}.get(b, b) for b in self.frame))
        if self.kind == "set" and len(self.parts) > 1 and rng.happens(0.4):
            return replace(self, parts=self.parts[:place] + self.parts[place + 1 :])
        slips = [lambda part: -part, lambda part: 2 * part, lambda part: part / 2]
        if isinstance(self.parts[place], sympy.Add):
            slips.append(lambda part: part - 2 * part.args[-1])
            slips.append(lambda part: part - part.args[-1])
        changed = rng.choice(slips)(self.parts[place])
        if changed == self.parts[place]:  # zero stays zero
            changed = sympy.Integer(1)
        return replace(self, parts=(*self.parts[:place], changed, *self.parts[place + 1 :]))


@lru_cache(maxsize=4096)
def read(latex: str) -> Answer:
    """The object that a formula stands for. Raises NotAFormula."""
    text = _SILENT.sub("", latex.strip().strip("$").strip().rstrip("."))
    if found := _CASES.search(text):
        rows = [row.split("&") for row in found[1].split("\\\\") if "&" in row]
        return Answer("piecewise", _parsed(row[0] for row in rows), tuple(row[1] for row in rows))
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


@lru_cache(maxsize=4096)
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
        rng = Rng("point", number)
        point = {n: sympy.Float(rng.uniform(0.6, 2.4)) for n in sorted(names, key=str)}
        left, right = (_values(answer, point) for answer in (one, other))
        if any(abs(a - b) > 1e-6 * (1 + abs(a)) for a, b in zip(left, right, strict=True)):
            return False
    return True


def _frame(answer: Answer) -> list[str]:
    return [re.sub(r"\\text\{.*?\}|\s", "", part) for part in answer.frame]


def _values(answer: Answer, point: dict[sympy.Symbol, Expr]) -> list[complex]:
    values = [complex(part.xreplace(point).evalf()) for part in answer.parts]
    if answer.kind == "set":
        values.sort(key=lambda value: (value.real, value.imag))
    return values


def _parsed(texts: Iterable[str]) -> tuple[Expr, ...]:
    parts = tuple(parse(text.strip()) for text in texts)
    if not parts:
        raise NotAFormula("nothing stands there")
    return parts
