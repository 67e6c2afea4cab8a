"""Problems of algebra: sums, matrices, absolute values, insertion."""

import re
from collections.abc import Sequence

import sympy
from sympy import Expr, Integer

from autodata.simulation.chance import Chance
from autodata.simulation.formulas import (
    Notation,
    at_one,
    named,
    parse,
    right_side,
    symbol,
    write,
)
from autodata.simulation.objects import Answer

x, n = symbol("x"), symbol("n")


def pose_sum(chance: Chance, notation: Notation) -> tuple[str, str]:
    """A quadratic sequence: what do its terms add up to?"""
    a, b = notation.letters[:2]
    first, second = chance.randint(2, 7), chance.randint(1, 5)
    context = (
        f"Let ${a}$ and ${b}$ be real constants and let the terms of a finite sequence be "
        f"$u_j = {first} {a} j^2 - {second} {b} j$ for $j = 1, \\ldots, n$."
    )
    return (
        context,
        f"Give the sum of all terms in closed form, as an expression in $n$, ${a}$, ${b}$.",
    )


def solve_sum(given: Sequence[str]) -> Answer:
    """By the closed forms for squares and first powers."""
    j = symbol("j")
    term = sympy.Poly(right_side(named(given, "u_j")), j)
    squares, firsts, constants = (term.coeff_monomial(j**power) for power in (2, 1, 0))
    total = squares * n * (n + 1) * (2 * n + 1) / 6 + firsts * n * (n + 1) / 2 + constants * n
    return Answer("expression", (total,))


def pose_inverse(chance: Chance, notation: Notation) -> tuple[str, str]:
    """A matrix with two letters: what is its inverse?"""
    a, b = notation.letters[:2]
    rows = (
        f"{chance.randint(1, 5)} {a} & {b} \\\\ {chance.randint(1, 4)} & {chance.randint(1, 3)} {b}"
    )
    context = (
        f"Let $W = \\begin{{pmatrix}} {rows} \\end{{pmatrix}}$ with ${a} > 4$ and $0 < {b} < 1$, "
        "so that $W$ is invertible."
    )
    return context, f"Give the inverse of $W$ as a matrix in terms of ${a}$ and ${b}$."


def solve_inverse(given: Sequence[str]) -> Answer:
    """The inverse, entry by entry."""
    inverse = _matrix(named(given, "W =")).inv()
    return Answer("matrix", tuple(map(sympy.together, inverse)))


def pose_power(chance: Chance, notation: Notation) -> tuple[str, str]:
    """A triangular matrix: what is its n-th power?"""
    a, b = notation.letters[:2]
    k = chance.randint(2, 7)
    context = (
        f"Let $W = \\begin{{pmatrix}} {a} & {k} {b} \\\\ 0 & {a} \\end{{pmatrix}}$ "
        "and let $n$ be a positive integer."
    )
    return context, f"Give the $n$-th power of $W$ as a matrix in terms of $n$, ${a}$ and ${b}$."


def solve_power(given: Sequence[str]) -> Answer:
    """A multiple of the identity plus a nilpotent part, expanded."""
    w = _matrix(named(given, "W ="))
    a, b = w[0, 0], w[0, 1]
    return Answer("matrix", (a**n, n * a ** (n - 1) * b, Integer(0), a**n))


def _matrix(equation: str) -> sympy.Matrix:
    inside = re.sub(r".*\\begin\{pmatrix\}|\\end\{pmatrix\}.*", "", equation)
    return sympy.Matrix([[parse(c.strip()) for c in r.split("&")] for r in inside.split("\\\\")])


def pose_folded(chance: Chance, notation: Notation) -> tuple[str, str]:
    """A sum of absolute values: what is it, by cases?"""
    a, first = notation.letters[0], chance.randint(1, 3)
    second = first + chance.randint(1, 4)
    lead = chance.randint(2, 5)
    low, high = (f"{k} {a}" if k > 1 else a for k in (first, second))
    context = f"Let ${a} > 0$ and let $f(x) = {lead} |x - {low}| + |x - {high}|$ for real $x$."
    question = (
        f"Give $f$ without absolute values, as a function given by cases in terms of $x$ and ${a}$."
    )
    return context, question


def solve_folded(given: Sequence[str]) -> Answer:
    """One linear piece on each side of and between the corners."""
    f = right_side(named(given, "f(x)"))
    corners = sorted(
        (sympy.solve(part.args[0], x)[0] for part in f.atoms(sympy.Abs)),
        key=at_one,
    )
    low, high = map(write, corners)

    def between(signs: Sequence[int]) -> Expr:
        """The function where each |x − corner| has the given sign."""
        pairs = {sympy.Abs(x - c): sign * (x - c) for c, sign in zip(corners, signs, strict=True)}
        return sympy.expand(f.subs(pairs))

    parts = (between((-1, -1)), between((1, -1)), between((1, 1)))
    conditions = (f"x < {low}", f"{low} \\leq x < {high}", f"x \\geq {high}")
    return Answer("piecewise", parts, conditions)


def pose_insertion(chance: Chance, notation: Notation) -> tuple[str, str]:
    """A value of a polynomial: nothing to think about."""
    a, b = notation.letters[:2]
    context = (
        f"Let ${a}$ and ${b}$ be positive constants and "
        f"$f(x) = {chance.randint(2, 6)} {a} x^2 + {chance.randint(2, 6)} {b}$."
    )
    return context, f"Give the value of $f$ at the point ${b}$ as an expression in ${a}$ and ${b}$."


def solve_insertion(given: Sequence[str]) -> Answer:
    """The point, inserted."""
    at = parse(given[-3])
    return Answer("expression", (right_side(named(given, "f(x)")).subs(x, at),))
