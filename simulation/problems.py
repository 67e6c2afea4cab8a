"""Families of problems with one right answer: how each is posed, recognised and solved."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from autodata.simulation import algebra, calculus
from autodata.simulation.chance import Chance
from autodata.simulation.formulas import Notation
from autodata.simulation.objects import Answer


@dataclass(frozen=True)
class Family:
    """One family: what it asks for, how hard it is (logits), and which words give it away.

    `pose` draws context and question in a document's notation; `solve` answers from the formulas of
    the text alone, in their order; `method` is how a solver begins.
    """

    name: str
    kind: str
    difficulty: float
    sign: str
    method: str
    pose: Callable[[Chance, Notation], tuple[str, str]]
    solve: Callable[[Sequence[str]], Answer]


FAMILIES: tuple[Family, ...] = (
    Family(
        "insertion",
        "expression",
        -2.2,
        r"value of \$f\$ at",
        "Insert the point into $f$.",
        algebra.pose_insertion,
        algebra.solve_insertion,
    ),
    Family(
        "tangent",
        "equation",
        -1.0,
        r"tangent",
        "The slope at the point is the derivative there; the line goes through the point.",
        calculus.pose_tangent,
        calculus.solve_tangent,
    ),
    Family(
        "change",
        "expression",
        -0.6,
        r"grows by the fraction",
        "Replace the quantity by its grown value and subtract the old value.",
        calculus.pose_change,
        calculus.solve_change,
    ),
    Family(
        "sum",
        "expression",
        -0.4,
        r"sum of all terms",
        "Split the sum and use the closed forms for the sums of $j$ and $j^2$.",
        algebra.pose_sum,
        algebra.solve_sum,
    ),
    Family(
        "stationary",
        "set",
        -0.3,
        r"stationary points",
        "Differentiate, set the derivative to zero and factor it.",
        calculus.pose_stationary,
        calculus.solve_stationary,
    ),
    Family(
        "inverse",
        "matrix",
        0.1,
        r"inverse of \$W",
        "The determinant does not vanish; exchange the diagonal and change the other signs.",
        algebra.pose_inverse,
        algebra.solve_inverse,
    ),
    Family(
        "power",
        "matrix",
        0.4,
        r"power of \$W",
        "Write $W$ as a multiple of the identity plus a nilpotent part and expand.",
        algebra.pose_power,
        algebra.solve_power,
    ),
    Family(
        "moment",
        "expression",
        0.6,
        r"integral of \$f",
        "Integrate by parts until the power is gone.",
        calculus.pose_moment,
        calculus.solve_moment,
    ),
    Family(
        "folded",
        "piecewise",
        0.6,
        r"absolute values",
        "The corners cut the line into three parts; each absolute value has a sign on each.",
        algebra.pose_folded,
        algebra.solve_folded,
    ),
    Family(
        "decay",
        "expression",
        0.8,
        r"for all times",
        "Add a particular solution that is linear in $t$ to the general decaying one.",
        calculus.pose_decay,
        calculus.solve_decay,
    ),
    Family(
        "three roots",
        "interval",
        1.0,
        r"exactly three points",
        "The height must lie strictly between the values at the two turning points.",
        calculus.pose_three_roots,
        calculus.solve_three_roots,
    ),
)


def recognise(question: str) -> Family | None:
    """The family that a question belongs to, by its words."""
    return next((family for family in FAMILIES if re.search(family.sign, question)), None)
