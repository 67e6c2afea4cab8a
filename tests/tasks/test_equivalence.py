"""Mathematics settles what it can; everything else is left to the judge."""

import pytest

from autodata.tasks.equivalence import equivalent, final_answer


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
        (r"\left( x+1 \right)^2", "(x+1)^2", True),
    ],
)
def test_formulas_are_compared_symbolically(
    answer: str, reference: str, expected: bool | None
) -> None:
    assert equivalent(answer, reference) is expected


def test_a_piecewise_answer_is_equal_only_to_itself() -> None:
    """The parser reads a cases block as its last number; two different ones must not be equal."""
    one = r"\begin{cases} x & x>0 \\ 0 & x\le 0 \end{cases}"
    other = r"\begin{cases} 2x & x>0 \\ 0 & x\le 0 \end{cases}"
    assert equivalent(one, one) is True
    assert equivalent(other, one) is None


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
