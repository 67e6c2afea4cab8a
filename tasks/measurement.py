"""How sure a count makes us: intervals of shares and of their differences, and one exact test.

Pass rates are shares of few documents, often all or none of them, where the usual ±1.96 standard
errors (Wald) shrink to nothing. None of these do.
"""

from math import comb, sqrt
from statistics import NormalDist
from typing import NamedTuple

MIN_PAIRS = 10
"""Documents below which no verdict is given on a difference. Under the exact test six documents
must have changed for the better and none for the worse, so that of fewer than ten nearly all
would have to."""

LEVEL = 0.05
"""Chance of a false alarm that a verdict accepts; intervals cover 1 − LEVEL."""

_Z = NormalDist().inv_cdf(1 - LEVEL / 2)


class Interval(NamedTuple):
    """A 95 % interval, both ends inclusive: of a share 0 … 1, of a difference −1 … 1."""

    low: float
    high: float


class Pairs(NamedTuple):
    """The same documents tried twice, by what became of each the first and the second time."""

    both: int = 0
    lost: int = 0
    gained: int = 0
    neither: int = 0

    @property
    def documents(self) -> int:
        """How many documents were tried twice."""
        return sum(self)


def wilson(successes: float, trials: int) -> Interval:
    """The score interval of a share; 0 … 1 when nothing was tried.

    A mean of several shares of the same documents counts as one share of them: successes may lie
    between whole numbers.

    E. B. Wilson, J. Am. Stat. Assoc. 22 (1927) 209–212; method 3 of R. G. Newcombe, Statistics in
    Medicine 17 (1998) 857–872. Raises ValueError unless 0 ≤ successes ≤ trials.
    """
    if not 0 <= successes <= trials:
        raise ValueError(f"{successes} of {trials} is no share")
    if not trials:
        return Interval(0.0, 1.0)
    share, square = successes / trials, _Z * _Z
    middle = (share + square / (2 * trials)) / (1 + square / trials)
    spread = _Z * sqrt(share * (1 - share) / trials + square / (4 * trials * trials))
    half = spread / (1 + square / trials)
    low = max(middle - half, 0.0) if successes else 0.0
    return Interval(low, min(middle + half, 1.0) if successes < trials else 1.0)


def newcombe(first: tuple[int, int], second: tuple[int, int]) -> Interval:
    """The interval of second − first, shares of different documents, each (successes, trials).

    Method 10 of R. G. Newcombe, Statistics in Medicine 17 (1998) 873–890: two score intervals,
    combined as squares. −1 … 1 when either was never tried. Raises ValueError as `wilson`.
    """
    one, two = wilson(*first), wilson(*second)
    if not (first[1] and second[1]):
        return Interval(-1.0, 1.0)
    return _combined(_share(*first), one, _share(*second), two, 0.0)


def newcombe_paired(pairs: Pairs) -> Interval:
    """The interval of second − first on the same documents.

    Method 10 of R. G. Newcombe, Statistics in Medicine 17 (1998) 2635–2650: as for different
    documents, less what the two have in common (φ, corrected for continuity). −1 … 1 for none.
    """
    n = pairs.documents
    if not n:
        return Interval(-1.0, 1.0)
    before, after = pairs.both + pairs.lost, pairs.both + pairs.gained
    margins = before * (n - before) * after * (n - after)
    product: float = pairs.both * pairs.neither - pairs.lost * pairs.gained
    if product > 0:
        product = max(product - n / 2, 0.0)
    phi = product / sqrt(margins) if margins else 0.0
    return _combined(before / n, wilson(before, n), after / n, wilson(after, n), phi)


def exact_paired(pairs: Pairs) -> float:
    """How likely so uneven a change is, either way, if neither time were better: 0 … 1.

    The exact form of Q. McNemar, Psychometrika 12 (1947) 153–157, which is the sign test on the
    documents that changed: two tails of a binomial with p = ½.
    """
    changed = pairs.lost + pairs.gained
    tail = sum(comb(changed, k) for k in range(min(pairs.lost, pairs.gained) + 1))
    return min(2.0 * tail / (1 << changed), 1.0)


def _share(successes: int, trials: int) -> float:
    return successes / trials


def _combined(p: float, one: Interval, q: float, two: Interval, phi: float) -> Interval:
    """The interval of q − p from both score intervals and the correlation of the two."""
    down, up = p - one.low, one.high - p
    less, more = q - two.low, two.high - q
    low = sqrt(max(less * less - 2 * phi * less * up + up * up, 0.0))
    high = sqrt(max(more * more - 2 * phi * more * down + down * down, 0.0))
    return Interval(max(q - p - low, -1.0), min(q - p + high, 1.0))
