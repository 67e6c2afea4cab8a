"""Mathematics settles what it can; everything else is left to the judge."""

import pytest

from autodata.tasks.science import compare, equivalent, final_answer
from autodata.tasks.task import Comparison
from autodata.tasks.types import Candidate


@pytest.mark.parametrize(
    ("answer", "reference", "expected"),
    [
        ("(x-1)(x+1)", "x^2-1", True),
        (r"\frac{gm}{k}", r"\frac{m g}{k}", True),
        (r"\{2, 1\}", r"\{1, 2\}", True),
        (r"x = \pm\sqrt{\frac{a}{b}}", r"x=\pm\sqrt{a/b}", True),
        (r"1-e^{-t/\tau}", r"e^{-t/\tau}", False),
        ("x^2+1", "(x-1)(x+1)", False),
        ("[0, 1]", "[0, 1)", False),
        (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\begin{bmatrix}1&2\\3&4\end{bmatrix}", True),
        (r"\begin{pmatrix}1&2\\3&5\end{pmatrix}", r"\begin{bmatrix}1&2\\3&4\end{bmatrix}", False),
        ("u^2", "v^2", None),  # a judge knows whether u is v
        ("the gas expands", "x", None),
    ],
)
def test_formulas_are_compared_symbolically(
    answer: str, reference: str, expected: bool | None
) -> None:
    assert equivalent(answer, reference) is expected


def candidate(reference: str) -> Candidate:
    return Candidate(context="", question="", reference_answer=f"${reference}$", rubric=())


def answered(formula: str, reference: str) -> bool | Comparison | None:
    return compare(f"We calculate.\n\nFinal answer: ${formula}$", candidate(reference))


def test_a_piecewise_answer_is_equal_only_to_itself() -> None:
    """The parser reads a cases block as its last number; two different ones must not be equal."""
    one = r"\begin{cases} x & x>0 \\ 0 & x\le 0 \end{cases}"
    other = r"\begin{cases} 2x & x>0 \\ 0 & x\le 0 \end{cases}"
    assert answered(one, one) is True
    assert answered(other, one) is None


def test_what_looks_alike_is_right_at_once_and_only_the_rest_is_worked_out() -> None:
    assert answered(r"\left( x+1 \right)^2", "(x+1)^2") is True
    assert compare("I do not know", candidate("x")) is None
    left_open = answered("(x-1)(x+1)", "x^2-1")
    assert isinstance(left_open, Comparison)
    assert left_open.decide(left_open.answer, left_open.reference) is True


@pytest.mark.parametrize(
    "hostile",
    [
        "9^{9^{9^{9}}}",
        "(2)^{(3)^{(4)}}",
        "x^{99999999}",
        "10000000!",
        "((7!)!)!",
        "(" * 500 + "x" + ")" * 500,
        "x+" * 3000 + "x",
    ],
)
def test_what_cannot_be_worked_out_goes_to_the_judge_at_once(hostile: str) -> None:
    assert answered(hostile, "x + 1") is None
    assert answered("x + 1", hostile) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("We integrate.\n\nFinal answer: $x^2 + C$", "x^2 + C"),
        ("Final answer: $1$\nOn reflection:\n**Final answer:** $2$.", "2"),
        (r"So \boxed{\frac{1}{2}} it is", r"\frac{1}{2}"),
        ("Final answer: 3x + 1.", "3x + 1"),
        ("Final answer: $x$ if $a > 0$", None),  # which formula is meant is for a judge
        ("I do not know", None),
    ],
)
def test_the_final_answer_is_found(text: str, expected: str | None) -> None:
    assert final_answer(text) == expected
