"""Science, as the simulated models practise it: problems in a document's notation, with answers
that are mathematical objects, worked out by SymPy."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import sympy
from sympy import Expr

from autodata.simulation.behaviour import behaviour
from autodata.simulation.checkers import ERROR, MARKS_MALFORMED, Flaw, criteria, verdict
from autodata.simulation.formulas import (
    Answer,
    NotAFormula,
    formulas,
    letters,
    parse,
    read,
    same,
    symbol,
    write,
)
from autodata.simulation.messages import Brief, Rng, as_json, noise
from autodata.simulation.roles import Role, form
from autodata.simulation.scenario import QUESTION_SIGMA, chance_of_success, study

x, t, y = (symbol(name) for name in "xty")

# What the challenger does by itself where it differs from the usual.
RATES = {"routine": 0.9, "wrong": 0.4, "integer": 0.25, "leak": 0.15}
ROUTINE = 0.0  # families below this difficulty are routine
EASY = -1.5  # logits below which one step settles a problem
NOTICED_EASY = 0.5  # share of such problems that are recognised as too easy
RAMBLES = 0.04  # share of answers to hard problems that never come to an end
RAMBLE = "Let me check this once more from the beginning, since a sign may have been lost. "
RAMBLE_TIMES = 500  # more than any token limit

_SOURCE = re.compile(r"\b(?:this|the) (?:passage|document|text|exercise)\b", re.IGNORECASE)
_FINAL = re.compile(r"final answer:\s*(.+)", re.IGNORECASE)
_EQUIVALENT = re.compile(r"equivalent to:\s*(.+)", re.IGNORECASE | re.DOTALL)

Given = Sequence[str]  # the formulas of a context and a question, in their order
Draw = Callable[[Rng, str], Mapping[str, str]]  # (draws, a document's letter) → what stands where


@dataclass(frozen=True, eq=False)
class Family:
    """A family of problems with one right answer of some kind, and how hard it is (logits).

    `sign` is the words that give a question away. In `context` and `question`, @a and @b are a
    document's letters, the other places are drawn by `draw`. `solve` answers from the formulas of
    the text alone.
    """

    name: str
    kind: str
    difficulty: float
    sign: str
    context: str
    question: str
    draw: Draw
    solve: Callable[[Given], Answer]

    def pose(self, rng: Rng, letters: Sequence[str]) -> tuple[str, str]:
        """Context and question in a document's letters, at least two."""
        a, b = letters[:2]
        places = {"a": a, "b": b, **self.draw(rng, a)}
        context, question = (
            re.sub(r"@(\w)", lambda place: places[place[1]], text)
            for text in (self.context, self.question)
        )
        return context, question


def recognise(question: str) -> Family | None:
    """The family that a question belongs to, by its words."""
    return next((family for family in FAMILIES if re.search(family.sign, question)), None)


@lru_cache(maxsize=1024)
def solution(context: str, question: str) -> Answer | None:
    """What the formulas of a problem lead to, if anything; worked out once per problem."""
    family = recognise(question)
    try:
        return family.solve(formulas(f"{context} {question}")) if family else None
    except (ValueError, IndexError):
        return None


def challenge(brief: Brief, rng: Rng) -> str:
    """One problem as JSON, with the mistakes that the prompt does not prevent."""
    document = brief.section("document")
    ways = behaviour(brief.guidance, brief.section("instruction"), RATES)
    routine = rng.happens(ways.rate("routine"))
    family = rng.choice([one for one in FAMILIES if (one.difficulty < ROUTINE) == routine])
    context, question = family.pose(rng, letters(document))
    answer = family.solve(formulas(f"{context} {question}"))
    if terms := study(document).terms[:1]:
        context = f"The following arises in connection with {terms[0]}. {context}"
    if rng.happens(ways.rate("wrong")):
        answer = answer.slipped(rng)
    reference = f"${answer.latex()}$"
    if rng.happens(ways.rate("leak")):
        context += f" It turns out that the answer is {reference}."
    if rng.happens(ways.rate("names_source")):
        context += " As the passage shows, this is a standard situation."
    if rng.happens(ways.rate("unfocused")):
        question += " Also, how does the result behave for large arguments?"
    if rng.happens(ways.rate("integer")):
        question, reference = "How many real constants are free in this setting?", "$2$"
    reasoned = {"reasoning": f"Of {family.name}."} if "`reasoning`" in brief.guidance else {}
    reply = reasoned | {
        "question_type": family.kind,
        "skills": [family.name, "symbolic calculation"],
        "context": context,
        "question": question,
        "reference_answer": reference,
    }
    return as_json(reply, ways.rate("bad_json"), brief.reasked, rng)


def verify(brief: Brief, rng: Rng) -> str:
    """A verdict as JSON: the verifier's own solution, findings, problems and fixes."""
    context, question = brief.section("context"), brief.section("question")
    reference = brief.section("reference_answer").strip().strip("$")
    family, own = recognise(question), solution(context, question)
    found = []
    if own and not _agree(own.latex(), reference):
        result = f"my own result is ${own.latex()}$"
        found.append(Flaw("grounded", result, "Solve it a second way."))
    if reference in context:
        found.append(Flaw("leak", "the context states the answer", "Take the answer out."))
    if source := _SOURCE.search(context):
        found.append(Flaw("grounded", f"“{source.group(0)}” names the source", "Leave it out."))
    if "Also, " in question:
        found.append(Flaw("single_focus", "two things are asked", "Ask for one object."))
    if family and family.difficulty < EASY and rng.happens(NOTICED_EASY):
        found.append(Flaw("question", "one substitution answers it", "Ask for more steps."))
    if family is None:
        found.append(Flaw("question", "no calculation leads to the answer", "Ask for an object."))
    return verdict(brief, found, f"${own.latex()}$" if own else "", "too_easy", rng)


def solve(brief: Brief, rng: Rng) -> str:
    """Steps and a last line with the final answer; slips and rambles now and then."""
    context, question = brief.section("context"), brief.section("question")
    family, right = recognise(question), solution(context, question)
    if family is None:
        return "I see no way to turn this into a calculation, so I can give no final answer."
    if right is None:
        return "The formulas given here do not lead me to a result, so I can give no final answer."
    hardness = family.difficulty + noise(QUESTION_SIGMA, context, question)
    ability = form(brief, rng)
    if hardness > 0 and rng.happens(RAMBLES * chance_of_success(hardness, ability)):
        return RAMBLE * RAMBLE_TIMES
    knows = rng.happens(chance_of_success(ability, hardness))
    given = right.rewritten(rng) if knows else right.slipped(rng)
    return (
        f"With the quantities of the context this gives one {right.kind}; "
        "inserting a simple special case confirms its form.\n\n"
        f"Final answer: ${given.latex()}$"
    )


def mark(brief: Brief, rng: Rng) -> str:
    """One mark per criterion as JSON: is the final answer the same object, at random points?"""
    lines = _FINAL.findall(brief.section("answer"))
    marks = []
    for number, criterion in criteria(brief.section("rubric")) or [(1, brief.section("rubric"))]:
        wanted = _EQUIVALENT.search(criterion)
        met = bool(lines and wanted) and _agree(lines[-1], wanted[1] if wanted else "")
        if rng.happens(ERROR):
            met = not met
        evidence = f"Final answer: {lines[-1]}" if lines and met else ""
        marks.append({"number": number, "evidence": evidence, "met": met})
    return as_json({"marks": marks}, MARKS_MALFORMED, brief.reasked, rng)


def _agree(one: str, other: str) -> bool:
    """Whether two texts hold the same object; what cannot be read is the same only literally."""
    left, right = ((formulas(text) or [text])[-1] for text in (one, other))
    if "".join(left.split()) == "".join(right.split()):
        return True
    try:
        return same(read(left), read(right))
    except NotAFormula:
        return False


RESPONDERS: Mapping[str, Role] = {
    "challenger": challenge,
    "verifier": verify,
    "final_verifier": verify,
    "solver": solve,
    "judge": mark,
}


def _numbers(*bounds: tuple[int, int]) -> Draw:
    """Draws whole numbers within bounds, for the places @1, @2, …"""
    return lambda rng, letter: {
        str(place): str(rng.randint(*ends)) for place, ends in enumerate(bounds, 1)
    }


def _potential(rng: Rng, letter: str) -> Mapping[str, str]:
    p, low, high = symbol(letter), rng.randint(1, 3), rng.randint(4, 6)
    third = rng.choice((2, 3, 6))  # of the slope third · (x − low · p) · (x − high · p)
    potential = x**3 / 3 - (low + high) * p * x**2 / 2 + low * high * p**2 * x
    return {"V": write(sympy.expand(third * potential))}


def _cubic(rng: Rng, letter: str) -> Mapping[str, str]:
    return {"c": write(x**3 - 3 * rng.randint(1, 4) ** 2 * symbol(letter) ** 2 * x)}


def _corners(rng: Rng, letter: str) -> Mapping[str, str]:
    first = rng.randint(1, 3)
    low, high = (symbol(letter) * times for times in (first, first + rng.randint(1, 4)))
    return {"1": str(rng.randint(2, 5)), "l": write(low), "h": write(high)}


def _right_of(given: Given, sign: str) -> Expr:
    """The right side of the first equation that contains a sign. Raises NotAFormula."""
    for formula in given:
        if sign in formula:
            return parse(formula.partition("=")[2])
    raise NotAFormula(f"no formula contains {sign}")


def _at_one(expr: Expr) -> float:
    """The value with every letter 1: enough to put multiples of one letter in order."""
    return float(expr.subs({name: 1 for name in expr.free_symbols}))


def _matrix(given: Given) -> sympy.Matrix:
    equation = next((formula for formula in given if "W =" in formula), "")
    inside = re.sub(r".*\\begin\{pmatrix\}|\\end\{pmatrix\}.*", "", equation)
    return sympy.Matrix([[parse(c.strip()) for c in r.split("&")] for r in inside.split("\\\\")])


def _solve_insertion(given: Given) -> Answer:
    return Answer("expression", (_right_of(given, "f(x)").subs(x, parse(given[-3])),))


def _solve_tangent(given: Given) -> Answer:
    curve, at = _right_of(given, "f(x)"), parse(given[-2].partition("=")[2])
    slope = sympy.diff(curve, x).subs(x, at)
    return Answer("equation", (sympy.expand(slope * (x - at) + curve.subs(x, at)),), ("y",))


def _turning_points(curve: Expr) -> list[Expr]:
    """Where a cubic in x, whose roots are multiples of one letter, does not rise or fall."""
    slope = sympy.expand(sympy.diff(curve, x))
    a, b, c = (slope.coeff(x, power) for power in (2, 1, 0))
    root = sympy.sqrt(b**2 - 4 * a * c)
    return sorted(((-b + sign * root) / (2 * a) for sign in (-1, 1)), key=_at_one)


def _solve_stationary(given: Given) -> Answer:
    return Answer("set", tuple(_turning_points(_right_of(given, "V(x)"))))


def _solve_inverse(given: Given) -> Answer:
    return Answer("matrix", tuple(map(sympy.together, _matrix(given).inv())))


def _solve_folded(given: Given) -> Answer:
    f = _right_of(given, "f(x)")
    folds = (part.args[0] for part in f.atoms(sympy.Abs))
    corners = sorted((-fold.coeff(x, 0) / fold.coeff(x) for fold in folds), key=_at_one)
    low, high = map(write, corners)
    parts = []
    for signs in ((-1, -1), (1, -1), (1, 1)):  # of x − corner, left, between and right
        pairs = {sympy.Abs(x - c): sign * (x - c) for c, sign in zip(corners, signs, strict=True)}
        parts.append(sympy.expand(f.subs(pairs)))
    conditions = (f"x < {low}", f"{low} \\leq x < {high}", f"x \\geq {high}")
    return Answer("piecewise", tuple(parts), conditions)


def _solve_decay(given: Given) -> Answer:
    right = _right_of(given, "dy")
    rate, drive = -right.coeff(y), right.coeff(t)
    return Answer("expression", (drive * t / rate - drive / rate**2 * (1 - sympy.exp(-rate * t)),))


def _solve_three_roots(given: Given) -> Answer:
    cubic = _right_of(given, "y =")
    heights = sorted((cubic.subs(x, at) for at in _turning_points(cubic)), key=_at_one)
    return Answer("interval", tuple(map(sympy.expand, heights)), ("(", ")"))


FAMILIES: tuple[Family, ...] = (
    Family(
        "insertion", "expression", -2.2, r"value of \$f\$ at",
        "Let $@a$ and $@b$ be positive constants and $f(x) = @1 @a x^2 + @2 @b$.",
        "Give the value of $f$ at the point $@b$ as an expression in $@a$ and $@b$.",
        _numbers((2, 6), (2, 6)), _solve_insertion,
    ),
    Family(
        "tangent", "equation", -0.6, r"tangent",
        "Let $@a$ and $@b$ be positive constants and $f(x) = @1 @a x^2 - @2 @b x$ for real $x$.",
        "Give the equation of the tangent to the graph of $f$ at $x = @b$, solved for $y$.",
        _numbers((2, 5), (1, 6)), _solve_tangent,
    ),
    Family(
        "stationary", "set", -0.2, r"stationary points",
        "For real $x$ let $V(x) = @V$ with a constant $@a > 0$.",
        "What is the set of all stationary points of $V$, in terms of $@a$?",
        _potential, _solve_stationary,
    ),
    Family(
        "inverse", "matrix", 0.4, r"inverse of \$W",
        "Let $W = \\begin{pmatrix} @1 @a & @b \\\\ @2 & @3 @b \\end{pmatrix}$ with $@a > 4$ and "
        "$0 < @b < 1$, so that $W$ is invertible.",
        "Give the inverse of $W$ as a matrix in terms of $@a$ and $@b$.",
        _numbers((1, 5), (1, 4), (1, 3)), _solve_inverse,
    ),
    Family(
        "folded", "piecewise", 0.8, r"absolute values",
        "Let $@a > 0$ and let $f(x) = @1 |x - @l| + |x - @h|$ for real $x$.",
        "Give $f$ without absolute values, as a function given by cases in terms of $x$ and $@a$.",
        _corners, _solve_folded,
    ),
    Family(
        "decay", "expression", 1.0, r"for all times",
        "A quantity $y(t)$ obeys $\\frac{dy}{dt} = @2 @b t - @1 @a y$ with constants $@a > 0$ and "
        "$@b > 0$, and $y(0) = 0$.",
        "Give $y$ for all times as an expression in $t$, $@a$ and $@b$.",
        _numbers((1, 3), (2, 5)), _solve_decay,
    ),
    Family(
        "three roots", "interval", 1.0, r"exactly three points",
        "For a real number $h$ consider the curve $y = @c$, where $@a > 0$ is fixed, and the "
        "horizontal line at height $h$.",
        "For which $h$, as an interval in terms of $@a$, do the line and the curve meet in exactly "
        "three points?",
        _cubic, _solve_three_roots,
    ),
)  # fmt: skip
