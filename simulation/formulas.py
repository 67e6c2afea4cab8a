"""Formulas between LaTeX and SymPy: a small reader for what textbooks and these models write."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import sympy
from sympy import Expr

FORMULA = re.compile(r"\$\$(.+?)\$\$|\$(.+?)\$", re.DOTALL)
GREEK = (
    "alpha beta gamma delta epsilon varepsilon zeta eta theta kappa lambda mu nu xi rho sigma tau "
    "phi varphi chi psi omega"
)
_TOKEN = re.compile(r"\\[A-Za-z]+|\\.|\d+(?:\.\d+)?|[A-Za-z]|[-+*/^_(){}\[\],|=]|\S")
_FUNCTIONS = {
    "\\sin": sympy.sin,
    "\\cos": sympy.cos,
    "\\tan": sympy.tan,
    "\\exp": sympy.exp,
    "\\ln": sympy.log,
    "\\log": sympy.log,
}
_NAMES = frozenset(f"\\{name}" for name in GREEK.split())
_SILENT = re.compile(r"\\left|\\right|(?<!\\)\\[,;:! ]|\\displaystyle|\\limits|\\quad")

# Letters that are safe as parameters: none that a computer algebra system reads as its own (E, I,
# S, …), and none of the variables that the problems use.
PARAMETERS = (
    *[
        "a",
        "b",
        "c",
        "g",
        "h",
        "k",
        "m",
        "p",
        "q",
        "r",
        "s",
        "u",
        "v",
        "A",
        "B",
        "K",
        "L",
        "M",
        "P",
        "R",
        "T",
        "V",
    ],
    *(f"\\{name}" for name in ("alpha", "kappa", "lambda", "mu", "omega", "sigma", "tau")),
)
_TEXT = re.compile(r"\\text\{([^{}]*)\}")
PLAIN = (*PARAMETERS, "x", "t")  # what a borrowed equation may contain
_LETTER = re.compile(r"\\[A-Za-z]+|(?<![A-Za-z\\])[A-Za-z](?![A-Za-z])")


class NotAFormula(ValueError):
    """The text is not a formula that this reader knows."""


def formulas(text: str) -> list[str]:
    """The formulas between dollar signs, in order."""
    return [(display or inline).strip() for display, inline in FORMULA.findall(text)]


@dataclass(frozen=True)
class Notation:
    """What a document's formulas offer a problem: letters, most frequent first, and equations.

    `equations` are pairs of a left side and a right side that is an expression in two letters or
    more.
    """

    letters: tuple[str, ...]
    equations: tuple[tuple[str, str], ...]


@lru_cache(maxsize=128)
def notation(document: str) -> Notation:
    """The notation of a document; letters are filled up with common ones."""
    counted: Counter[str] = Counter()
    equations: dict[tuple[str, str], None] = {}
    for formula in formulas(document):
        text = _TEXT.sub(r"\1", formula).strip().rstrip(".,")
        counted.update(letter for letter in _LETTER.findall(text) if letter in PARAMETERS)
        sides = [" ".join(side.split()) for side in text.split("=")]
        if len(sides) >= 2 and _is_useful(sides[-1]):
            equations[sides[0], sides[-1]] = None
    spare = [letter for letter in ("a", "k", "\\lambda") if letter not in counted]
    common = [letter for letter, _ in counted.most_common()]
    return Notation((*common, *spare), tuple(equations))


def _is_useful(side: str) -> bool:
    """Whether a right side can be asked about: readable, in two plain letters or more, no data."""
    if len(side) > 60 or re.search(r"\d\.|\d\d|[a-z]{2}", re.sub(r"\\[A-Za-z]+", "", side)):
        return False
    try:
        names = {str(name) for name in parse(side).free_symbols}
    except NotAFormula:
        return False
    return 2 <= len(names) <= 5 and names <= {p.removeprefix("\\") for p in PLAIN}


def named(given: Sequence[str], sign: str) -> str:
    """The first formula that contains a sign. Raises NotAFormula when none does."""
    for formula in given:
        if sign in formula:
            return formula
    raise NotAFormula(f"no formula contains {sign}")


def right_side(equation: str) -> Expr:
    """The right side of an equation. Raises NotAFormula."""
    return parse(equation.partition("=")[2])


def at_one(expr: Expr) -> float:
    """The value with every letter 1: enough to put multiples of one letter in order."""
    return float(expr.subs({name: 1 for name in expr.free_symbols}))


def symbol(name: str) -> sympy.Symbol:
    """The symbol of a LaTeX letter; parameters and variables are all taken as positive."""
    return sympy.Symbol(name.removeprefix("\\"), positive=True)


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
        while self.peek() not in ("", "+", "-", ")", "}", "]", ",", "=", "&", "|" * self._bars):
            if self.peek() == "/":
                self.take()
                value = value / self.power()
            else:
                if self.peek() in ("\\cdot", "\\times", "*"):
                    self.take()
                value = value * self.power()
        return sign * value

    def power(self) -> Expr:
        base = self.atom()
        while self.peek() == "^":
            self.take()
            base = base ** self.argument()
        return base

    def atom(self) -> Expr:
        token = self.take()
        if token[0].isdigit():
            return sympy.Rational(token)
        if token in ("(", "{"):
            inside = self.sum()
            self.take({"(": ")", "{": "}"}[token])
            return inside
        if token == "|":
            return sympy.Abs(self._between_bars())
        if token == "\\frac":
            return self.argument() / self.argument()
        if token == "\\sqrt":
            return sympy.sqrt(self.argument())
        if token in _FUNCTIONS:
            return self._applied(token)
        if token == "\\pi":
            return sympy.pi
        if token == "e":
            return sympy.E
        if token in _NAMES or re.fullmatch("[A-Za-z]", token):
            return symbol(token + self._subscript())
        raise NotAFormula(f"“{token}” is not known")

    def argument(self) -> Expr:
        """What a fraction, root or exponent applies to: a group or one token."""
        if self.peek() == "-":
            self.take()
            return -self.atom()
        return self.atom()

    def _between_bars(self) -> Expr:
        self._bars = 1  # the next bar closes: absolute values do not nest here
        inside = self.sum()
        self.take("|")
        self._bars = 0
        return inside

    def _applied(self, token: str) -> Expr:
        power = sympy.Integer(1)
        if self.peek() == "^":
            self.take()
            power = self.argument()
        return _FUNCTIONS[token](self.atom()) ** power

    def _subscript(self) -> str:
        if self.peek() != "_":
            return ""
        self.take()
        if self.peek() != "{":
            return "_" + self.take()
        self.take()
        name = ""
        while self.peek() not in ("}", ""):
            name += self.take().removeprefix("\\")
        self.take("}")
        return "_" + name

    def peek(self) -> str:
        return self.left[0] if self.left else ""

    def take(self, wanted: str = "") -> str:
        if not self.left or (wanted and self.left[0] != wanted):
            raise NotAFormula(f"expected {wanted or 'more'}, found {self.peek() or 'the end'}")
        return self.left.pop(0)
