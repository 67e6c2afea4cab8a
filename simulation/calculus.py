"""Problems of the calculus: stationary points, tangents, integrals, rates, small changes."""

from collections.abc import Sequence

import sympy
from sympy import Expr, Integer

from autodata.simulation.chance import Chance
from autodata.simulation.formulas import (
    PLAIN,
    Notation,
    at_one,
    named,
    parse,
    right_side,
    symbol,
    write,
)
from autodata.simulation.objects import Answer

x, t, y = (symbol(name) for name in "xty")


def pose_stationary(chance: Chance, notation: Notation) -> tuple[str, str]:
    """A cubic potential: where is it stationary?"""
    letter = notation.letters[0]
    p = symbol(letter)
    low, high = chance.randint(1, 3), chance.randint(4, 6)
    third = Integer(chance.choice((2, 3, 6)))
    slope = third * (x - low * p) * (x - high * p)
    potential = sympy.expand(sympy.integrate(sympy.expand(slope), x))
    context = f"For real $x$ let $V(x) = {write(potential)}$ with a constant ${letter} > 0$."
    question = f"What is the set of all stationary points of $V$, in terms of ${letter}$?"
    return context, question


def solve_stationary(given: Sequence[str]) -> Answer:
    """The roots of the derivative, in order."""
    slope = sympy.diff(right_side(named(given, "V(x)")), x)
    roots = sympy.roots(sympy.Poly(slope, x))
    return Answer("set", tuple(sorted(roots, key=at_one)))


def pose_three_roots(chance: Chance, notation: Notation) -> tuple[str, str]:
    """A cubic and a horizontal line: at which heights do they meet three times?"""
    letter = notation.letters[0]
    p = symbol(letter)
    cubic = x**3 - 3 * chance.randint(1, 4) ** 2 * p**2 * x
    context = (
        f"For a real number $h$ consider the curve $y = {write(cubic)}$, where "
        f"${letter} > 0$ is fixed, and the horizontal line at height $h$."
    )
    question = (
        f"For which $h$, as an interval in terms of ${letter}$, do the line and the curve "
        "meet in exactly three points?"
    )
    return context, question


def solve_three_roots(given: Sequence[str]) -> Answer:
    """The open interval between the values at the turning points."""
    cubic = right_side(named(given, "y ="))
    turning = sympy.roots(sympy.Poly(sympy.diff(cubic, x), x))
    heights = sorted((cubic.subs(x, root) for root in turning), key=at_one)
    return Answer("interval", tuple(map(sympy.expand, heights)), ("(", ")"))


def pose_decay(chance: Chance, notation: Notation) -> tuple[str, str]:
    """A decaying quantity that is driven ever harder: how does it go on from zero?"""
    a, b = notation.letters[:2]
    rate, drive = chance.randint(1, 3), chance.randint(2, 5)
    context = (
        f"A quantity $y(t)$ obeys $\\frac{{dy}}{{dt}} = {drive} {b} t - {rate} {a} y$ with "
        f"constants ${a} > 0$ and ${b} > 0$, and $y(0) = 0$."
    )
    return context, f"Give $y$ for all times as an expression in $t$, ${a}$ and ${b}$."


def solve_decay(given: Sequence[str]) -> Answer:
    """The linear particular solution plus what decays."""
    right = parse(named(given, "dy").split("=")[1])
    rate, drive = -right.coeff(y), right.coeff(t)
    return Answer("expression", (drive * t / rate - drive / rate**2 * (1 - sympy.exp(-rate * t)),))


def pose_moment(chance: Chance, notation: Notation) -> tuple[str, str]:
    """A power times an exponential: what is its integral up to a bound?"""
    a, top = notation.letters[:2]
    scale = chance.randint(1, 4)
    weight = write(parse(f"{chance.randint(2, 6)} x^{{{chance.choice((1, 2))}}}"))
    exponent = "" if scale == 1 else str(scale)
    context = (
        f"Let ${a} > 0$ and ${top} > 0$ be constants and let "
        f"$f(x) = {weight} e^{{- {exponent} {a} x}}$ for $x \\geq 0$."
    )
    question = (
        f"Give the integral of $f$ from $0$ to ${top}$ as an expression in ${a}$ and ${top}$."
    )
    return context, question


def solve_moment(given: Sequence[str]) -> Answer:
    """By parts until the power is gone."""
    integrand = right_side(named(given, "f(x)"))
    top = symbol(given[-1])
    weight, exponent = _split_exponential(integrand)
    rate, primitive, derivative = -exponent / x, Integer(0), weight
    order = 1
    while derivative != 0:
        primitive -= derivative / rate**order
        derivative, order = sympy.diff(derivative, x), order + 1
    whole = primitive * sympy.exp(exponent)
    return Answer("expression", (sympy.expand(whole.subs(x, top) - whole.subs(x, 0)),))


def _split_exponential(expr: Expr) -> tuple[Expr, Expr]:
    """(weight, exponent) of weight · e^exponent."""
    (power,) = expr.atoms(sympy.exp)
    return expr / power, power.args[0]


def pose_tangent(chance: Chance, notation: Notation) -> tuple[str, str]:
    """A parabola: what is the tangent at a given point?"""
    a, b = notation.letters[:2]
    curve = f"{chance.randint(2, 5)} {a} x^2 - {chance.randint(1, 6)} {b} x"
    context = f"Let ${a}$ and ${b}$ be positive constants and $f(x) = {curve}$ for real $x$."
    question = f"Give the equation of the tangent to the graph of $f$ at $x = {b}$, solved for $y$."
    return context, question


def solve_tangent(given: Sequence[str]) -> Answer:
    """Slope and point."""
    curve, at = right_side(named(given, "f(x)")), right_side(given[-2])
    slope = sympy.diff(curve, x).subs(x, at)
    return Answer("equation", (sympy.expand(slope * (x - at) + curve.subs(x, at)),), ("y",))


def pose_change(chance: Chance, notation: Notation) -> tuple[str, str]:
    """An equation of the document: what does a small growth on the right change on the left?"""
    left, right = chance.choice(notation.equations)
    names = {str(name) for name in parse(right).free_symbols}
    letter = chance.choice([p for p in PLAIN if p.removeprefix("\\") in names])
    context = f"Let ${left} = {right}$ with positive quantities on the right side."
    question = (
        f"When ${letter}$ grows by the fraction $h$ and all else is kept, give the resulting "
        "change of the left side as an expression."
    )
    return context, question


def solve_change(given: Sequence[str]) -> Answer:
    """New value minus old."""
    value, grown, h = right_side(given[0]), parse(given[-2]), symbol("h")
    return Answer("expression", (sympy.expand(value.subs(grown, grown * (1 + h)) - value),))
