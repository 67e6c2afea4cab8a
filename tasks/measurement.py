"""How sure a measurement makes us: of shares, differences, means, and of true difficulty.

Pass rates are shares of few documents, often all or none of them, where the usual ±1.96 standard
errors (Wald) shrink to nothing. None of these do.

A gate that reads three noisy attempts, round after round, selects luck. So the true weak and strong
score of a question (the means that ever more attempts would tend to) are unknowns here. The prior
is what the questions of the run look like, a few attempts turn it into a posterior, and that says
how likely the thresholds truly hold.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from math import asin, comb, exp, log, pi, sin, sqrt
from operator import mul
from random import Random
from statistics import NormalDist, fmean, stdev
from typing import Literal, NamedTuple, TypeVar

from pydantic import Field

from autodata.tasks.types import Frozen, Side

MIN_PAIRS = 10
"""Documents below which no verdict is given on a difference. Under the exact test six documents
must have changed for the better and none for the worse, so that of fewer than ten nearly all
would have to."""

RESAMPLES = 4000
"""Draws of a bootstrap; ends of intervals move by about a fiftieth of their width with others."""
MOST_DRAWN, LEAST_RESAMPLES = 1_000_000, 200
"""Documents that are drawn in all, while so many draws are left; a large run is told at once."""

LEVEL = 0.05
"""Chance of a false alarm that a verdict accepts; intervals cover 1 − LEVEL."""

POWER = 0.80
"""Chance that a difference is seen which is said to be large enough to show."""

LEAST_SPREAD = 0.1
"""Standard deviation by document that is always reckoned with: few may agree by chance."""

_Z = NormalDist().inv_cdf(1 - LEVEL / 2)


class Interval(NamedTuple):
    """A 95 % interval, both ends inclusive: of a share 0 … 1, of a difference −1 … 1; of a ratio up
    to infinity."""

    low: float
    high: float


def in_percent(interval: Interval) -> str:
    """`24–57`: the interval of a share in whole per cent."""
    return f"{100 * interval.low:.0f}–{100 * interval.high:.0f}"


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
    return _combined(first[0] / first[1], one, second[0] / second[1], two, 0.0)


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


def mean_interval(by_document: Sequence[Sequence[float]], least: float = 0.0) -> Interval:
    """The interval of the mean of values that lie between `least` and 1; `least` … 1 for none.

    The wider of `bootstrap` and Student's t by document, of a spread of at least LEAST_SPREAD; the
    latter within the score interval of a share of as many, since no value varies more than one that
    is all or nothing: that alone for one document, and where all lie at one end. It covers in 94 of
    100 cases for 1 … 8 documents that spread by .05 to .2.
    """
    drawn = [(sum(values), len(values)) for values in by_document if values]
    means, n = [total / count for total, count in drawn], len(drawn)
    if not n:
        return Interval(least, 1.0)
    mean = _mean_of(drawn)
    low, high = (least + at * (1 - least) for at in wilson(n * (mean - least) / (1 - least), n))
    if n == 1 or {*means} in ({least}, {1.0}):
        return Interval(low, high)
    reach = student_quantile(n - 1) * max(stdev(means), LEAST_SPREAD) / sqrt(n)
    few, many = bootstrap(drawn, _mean_of)
    return Interval(min(few, max(low, mean - reach)), max(many, min(high, mean + reach)))


def _mean_of(documents: Sequence[tuple[float, int]]) -> float:
    return sum(total for total, _ in documents) / sum(count for _, count in documents)


T = TypeVar("T")


def bootstrap(
    documents: Sequence[T], statistic: Callable[[Sequence[T]], float], seed: int = 0
) -> Interval:
    """The interval of a statistic of documents, each with all that was measured of it.

    What comes from one document is alike, so that documents are drawn again and not values: the
    percentile bootstrap (B. Efron, Annals of Statistics 7 (1979) 1–26), its tails widened by what
    it lacks where documents are few (T. Hesterberg, The American Statistician 69 (2015) 371–386,
    section 4.2). It covers less than it says for two documents (one half) and three (three
    quarters). The same documents, the same interval. Raises ValueError below two.
    """
    n = len(documents)
    if n < 2:
        raise ValueError("an interval takes at least two documents")
    draw, times = Random(seed), max(min(MOST_DRAWN // n, RESAMPLES), LEAST_RESAMPLES)
    found = sorted(statistic(draw.choices(documents, k=n)) for _ in range(times))
    beyond = NormalDist().cdf(-sqrt(n / (n - 1)) * student_quantile(n - 1))
    at = round(beyond * (times - 1))
    return Interval(found[at], found[-1 - at])


def student_quantile(freedom: int) -> float:
    """Student's t that 1 − LEVEL / 2 lie below: equation 26.7.5 of M. Abramowitz and I. Stegun,
    Handbook of Mathematical Functions; too small by a quarter for 1 degree of freedom, by 3 % for
    2, and by less than .5 % from 3 on."""
    z = _Z
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return sum(term / float(freedom**k) for k, term in enumerate(terms))


def detectable(share: float, documents: int) -> float | None:
    """The least gain over a share that two samples of so many documents each would show, 0 … 1:
    in four of five comparisons (POWER). None where they are too few to show any.

    By the arcsine transformation, which makes the variance of shares the same everywhere; J. Cohen,
    Statistical Power Analysis for the Behavioral Sciences, 2nd ed. (1988), chapter 6. The same
    documents twice show somewhat less. Raises ValueError unless 0 ≤ share ≤ 1.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"{share} is no share")
    if not documents:
        return None
    reach = (_Z + NormalDist().inv_cdf(POWER)) * sqrt(2 / documents)
    angle = asin(sqrt(share)) + reach / 2
    return sin(angle) ** 2 - share if angle <= pi / 2 else None


def _combined(p: float, one: Interval, q: float, two: Interval, phi: float) -> Interval:
    """The interval of q − p from both score intervals and the correlation of the two."""
    down, up = p - one.low, one.high - p
    less, more = q - two.low, two.high - q
    low = sqrt(max(less * less - 2 * phi * less * up + up * up, 0.0))
    high = sqrt(max(more * more - 2 * phi * more * down + down * down, 0.0))
    return Interval(max(q - p - low, -1.0), min(q - p + high, 1.0))


# A question's true difficulty.

CELLS = 40
"""Cells of the grid along each score, 0 … 1: half a threshold's smallest step (.05) each."""
WIDE = 0.1
"""Weight of a prior twice as wide beside the fitted one, so that a wrong one can be overruled."""
PSEUDO_ROUNDS = 10
"""Rounds that the stated default prior counts for while a run's own is being found."""
PSEUDO_ATTEMPTS = 10
"""Attempts that the stated default spread counts for, likewise."""
EM_STEPS = 20
"""Steps of expectation-maximisation; the means move by less than .001 after a dozen."""
SPREAD_MIN = 0.03
"""Least spread of attempts that is believed: judges that agree to the digit are rare."""

_MIDDLES = tuple((i + 0.5) / CELLS for i in range(CELLS))
_GAPS = tuple((k + 1) / CELLS - 1 for k in range(2 * CELLS - 1))
_TAIL = 0.025  # of probability on either side of an interval

Noise = Literal["scores", "counts"]
Sides = tuple[Sequence[float], Sequence[float]]  # scores of the weak and of the strong attempts


class Prior(Frozen):
    """What questions look like before they are attempted: means and spreads, 0 … 1.

    True weak scores lie around `weak`; true strong scores around `strong` for such a question, and
    `slope` higher for each point of weak score. `spread` is the standard deviation of one side's
    attempts at one question, of rubric scores; `attempts` say how well it is known. `rounds` counts
    what was fitted; 0 is the stated default.
    """

    weak: float = 0.45
    weak_sd: float = Field(0.20, gt=0)
    strong: float = 0.62
    strong_sd: float = Field(0.20, gt=0)
    slope: float = 0.7
    spread: float = Field(0.18, gt=0)
    attempts: int = PSEUDO_ATTEMPTS
    rounds: int = 0


DEFAULT = Prior()
SCEPTICAL = Prior(weak=0.50, weak_sd=0.25, strong=0.55, strong_sd=0.25)
"""What a reader supposes who has seen nothing of the run: that the sides hardly differ."""


class Bounds(NamedTuple):
    """Where the true scores of a good question lie, 0 … 1; on `weak_max` if `weak_inclusive`."""

    weak_max: float
    strong_min: float
    strong_max: float
    gap_min: float
    weak_inclusive: bool = False


class Estimate(NamedTuple):
    """A posterior mean and its 95 % interval."""

    mean: float
    interval: Interval


class Posterior(NamedTuple):
    """What is known of a question's true scores.

    `holds` is the probability that all bounds hold, the three after it that the weak, strong and
    gap bound do, each for itself.
    """

    holds: float
    weak_holds: float
    strong_holds: float
    gap_holds: float
    weak: Estimate
    strong: Estimate
    gap: Estimate

    @property
    def unsettled(self) -> Side:
        """The side of which another attempt tells more: whose own bound is less settled, or, where
        both are settled, whose score is known less well."""
        weak, strong = (min(p, 1 - p) for p in (self.weak_holds, self.strong_holds))
        if max(weak, strong) < _SETTLED:
            weak, strong = _width(self.weak), _width(self.strong)
        return "weak" if weak >= strong else "strong"


_SETTLED = 0.1  # probability of the contrary, below which a bound counts as settled


def _width(estimate: Estimate) -> float:
    return estimate.interval.high - estimate.interval.low


@lru_cache(maxsize=4096)
def posterior(
    prior: Prior,
    bounds: Bounds,
    weak: tuple[float, ...],
    strong: tuple[float, ...],
    noise: Noise = "scores",
) -> Posterior:
    """The posterior after these attempts, each 0 … 1, in any number.

    `scores` scatter around the true score by the spread, which is estimated from the prior's and
    their own (a Student's t, the marginal under a scaled inverse χ²; A. Gelman et al., Bayesian
    Data Analysis, 3rd ed., section 3.2). `counts` are right or wrong: a binomial.
    """
    likelihood = _binomial if noise == "counts" else _student
    rows, columns = likelihood(prior, weak), likelihood(prior, strong)
    questions = prior.model_copy(update={"spread": 1.0, "attempts": 0, "rounds": 0})
    before = _grid(questions)
    weak_mass = [row * _dot(p, columns) for row, p in zip(rows, before.rows, strict=True)]
    strong_mass = [c * _dot(p, rows) for c, p in zip(columns, before.columns, strict=True)]
    gap_mass = [_along(k, diagonal, rows, columns) for k, diagonal in enumerate(before.diagonals)]
    inside = [
        row * _dot(p, columns) for row, p in zip(rows, _within(questions, bounds), strict=True)
    ]
    total = sum(weak_mass)
    return Posterior(
        sum(inside) / total,
        _dot(weak_mass, map(_below(bounds.weak_max), _MIDDLES)) / total,
        _dot(strong_mass, map(_between(bounds.strong_min, bounds.strong_max), _MIDDLES)) / total,
        _dot(gap_mass, map(_above(bounds.gap_min), _GAPS)) / total,
        _estimate(weak_mass, total, 0.0),
        _estimate(strong_mass, total, 0.0),
        _estimate(gap_mass, total, _GAPS[0] - 0.5 / CELLS),
    )


def _dot(one: Iterable[float], other: Iterable[float]) -> float:
    return float(sum(map(mul, one, other)))


def _along(
    k: int, prior: Sequence[float], rows: Sequence[float], columns: Sequence[float]
) -> float:
    """The mass of one gap: of the cells on one diagonal."""
    first = max(CELLS - 1 - k, 0)  # row of its first cell
    start = first + k - (CELLS - 1)
    return _dot(map(mul, rows[first : first + len(prior)], prior), columns[start:])


def fit(rounds: Iterable[Sides], noise: Noise = "scores", default: Prior = DEFAULT) -> Prior:
    """What the questions of these rounds look like: the scores of each one's attempts, by side.

    A round without strong attempts tells of the weak side alone. Whether the strong side was asked
    follows from the weak scores, which are here, so that leaving it out biases nothing (missing at
    random; R. Little and D. Rubin, Statistical Analysis with Missing Data). Maximum likelihood of a
    bivariate normal by expectation-maximisation; the default counts for PSEUDO_ROUNDS rounds.
    """
    seen = [(weak, strong) for weak, strong in rounds if weak]
    found = respread(default, seen).model_copy(update={"rounds": len(seen)})
    observed = [
        (_observed(weak, found.spread, noise), _observed(strong, found.spread, noise))
        for weak, strong in seen
    ]
    start = _moments(default)
    moments = start
    for _ in range(EM_STEPS if seen else 0):
        moments = _step(moments, start, observed)
    return _prior(found, moments)


def respread(prior: Prior, rounds: Sequence[Sides]) -> Prior:
    """The prior with what these rounds say of the spread of attempts, and of nothing else."""
    squares, freedom = _scatter(rounds)
    attempts = prior.attempts + freedom
    spread = sqrt((prior.attempts * prior.spread**2 + squares) / attempts)
    return prior.model_copy(update={"spread": max(spread, SPREAD_MIN), "attempts": attempts})


class _Moments(NamedTuple):
    """Means and covariances of the true weak and strong score."""

    weak: float
    strong: float
    weak_variance: float
    covariance: float
    strong_variance: float

    @property
    def swapped(self) -> "_Moments":
        """With the sides in each other's place."""
        return _Moments(
            self.strong, self.weak, self.strong_variance, self.covariance, self.weak_variance
        )


class _Observed(NamedTuple):
    """A mean of attempts and its precision; a precision of 0 says nothing."""

    mean: float
    precision: float


def _scatter(rounds: Sequence[Sides]) -> tuple[float, int]:
    """Sum of squares of attempts around their own means, and its degrees of freedom."""
    sides = [scores for sides in rounds for scores in sides if len(scores) > 1]
    squares = sum((s - fmean(scores)) ** 2 for scores in sides for s in scores)
    return squares, sum(len(scores) - 1 for scores in sides)


def _observed(scores: Sequence[float], spread: float, noise: Noise) -> _Observed:
    if not scores:
        return _Observed(0.0, 0.0)
    variance = spread**2
    if noise == "counts":
        share = (sum(scores) + 1) / (len(scores) + 2)
        variance = share * (1 - share)
    return _Observed(fmean(scores), len(scores) / variance)


def _moments(prior: Prior) -> _Moments:
    weak, covariance = prior.weak_sd**2, prior.slope * prior.weak_sd**2
    strong = prior.strong_sd**2 + prior.slope * covariance
    return _Moments(prior.weak, prior.strong, weak, covariance, strong)


def _prior(found: Prior, moments: _Moments) -> Prior:
    slope = moments.covariance / moments.weak_variance
    left = moments.strong_variance - slope * moments.covariance
    return found.model_copy(
        update={
            "weak": moments.weak,
            "weak_sd": sqrt(moments.weak_variance),
            "strong": moments.strong,
            "strong_sd": sqrt(max(left, SPREAD_MIN**2)),
            "slope": slope,
        }
    )


def _step(
    now: _Moments, start: _Moments, observed: Sequence[tuple[_Observed, _Observed]]
) -> _Moments:
    """One step: every question's true scores as now believed, then the moments of them all."""
    believed = [_believed(now, weak, strong) for weak, strong in observed]
    n = len(believed) + PSEUDO_ROUNDS
    weak = (sum(b.weak for b in believed) + PSEUDO_ROUNDS * start.weak) / n
    strong = (sum(b.strong for b in believed) + PSEUDO_ROUNDS * start.strong) / n
    ww = sum(b.weak_variance + (b.weak - weak) ** 2 for b in believed)
    ws = sum(b.covariance + (b.weak - weak) * (b.strong - strong) for b in believed)
    ss = sum(b.strong_variance + (b.strong - strong) ** 2 for b in believed)
    return _Moments(
        weak,
        strong,
        (ww + PSEUDO_ROUNDS * start.weak_variance) / n,
        (ws + PSEUDO_ROUNDS * start.covariance) / n,
        (ss + PSEUDO_ROUNDS * start.strong_variance) / n,
    )


def _believed(now: _Moments, weak: _Observed, strong: _Observed) -> _Moments:
    """The normal posterior of one question: each side's observation in turn."""
    return _seen(_seen(now, weak).swapped, strong).swapped


def _seen(m: _Moments, weak: _Observed) -> _Moments:
    """What is believed after the weak side was observed."""
    certain = 1 + m.weak_variance * weak.precision
    gain, share = (v * weak.precision / certain for v in (m.weak_variance, m.covariance))
    off = weak.mean - m.weak
    return _Moments(
        m.weak + gain * off,
        m.strong + share * off,
        m.weak_variance * (1 - gain),
        m.covariance * (1 - gain),
        m.strong_variance - share * m.covariance,
    )


def _student(prior: Prior, scores: Sequence[float]) -> list[float]:
    """How likely the scores are for each true score, the likeliest being 1."""
    n = len(scores)
    if not n:
        return [1.0] * CELLS
    mean = fmean(scores)
    base = prior.attempts * prior.spread**2 + sum((s - mean) ** 2 for s in scores)
    power = -(prior.attempts + n) / 2
    return _scaled([power * log(base + n * (mean - true) ** 2) for true in _MIDDLES])


def _binomial(prior: Prior, scores: Sequence[float]) -> list[float]:
    right, wrong = sum(scores), sum(1 - s for s in scores)
    return _scaled([right * log(true) + wrong * log(1 - true) for true in _MIDDLES])


def _scaled(logs: Sequence[float]) -> list[float]:
    most = max(logs)
    return [exp(value - most) for value in logs]


class _Grid(NamedTuple):
    """A prior by cell, seen along the weak score, along the strong score and along the gap."""

    rows: tuple[tuple[float, ...], ...]
    columns: tuple[tuple[float, ...], ...]
    diagonals: tuple[tuple[float, ...], ...]


@lru_cache(maxsize=64)
def _grid(prior: Prior) -> _Grid:
    found = [[0.0] * CELLS for _ in range(CELLS)]
    for weight, times in ((1 - WIDE, 1.0), (WIDE, 2.0)):
        part = [[_density(prior, times, weak, strong) for strong in _MIDDLES] for weak in _MIDDLES]
        total = sum(map(sum, part))
        for row, masses in zip(found, part, strict=True):
            row[:] = [old + weight * mass / total for old, mass in zip(row, masses, strict=True)]
    diagonals = tuple(
        tuple(found[i][i + off] for i in range(max(-off, 0), min(CELLS - off, CELLS)))
        for off in range(1 - CELLS, CELLS)
    )
    return _Grid(tuple(map(tuple, found)), tuple(zip(*found, strict=True)), diagonals)


def _density(prior: Prior, times: float, weak: float, strong: float) -> float:
    off = (weak - prior.weak) / (times * prior.weak_sd)
    expected = prior.strong + prior.slope * (weak - prior.weak)
    return exp(-(off**2 + ((strong - expected) / (times * prior.strong_sd)) ** 2) / 2)


_Part = Callable[[float], float]  # of the cell around a value that lies within a bound


def _below(limit: float) -> _Part:
    return lambda middle: min(max((limit - middle) * CELLS + 0.5, 0.0), 1.0)


def _above(limit: float) -> _Part:
    return lambda middle: min(max((middle - limit) * CELLS + 0.5, 0.0), 1.0)


def _between(low: float, high: float) -> _Part:
    above, below = _above(low), _below(high)
    return lambda middle: above(middle) * below(middle)


@lru_cache(maxsize=64)
def _within(prior: Prior, bounds: Bounds) -> tuple[tuple[float, ...], ...]:
    """The prior's mass by cell, as far as all bounds hold there; rows of weak scores."""
    weak, gap = _below(bounds.weak_max), _above(bounds.gap_min)
    strong = _between(bounds.strong_min, bounds.strong_max)
    return tuple(
        tuple(p * weak(w) * strong(s) * gap(s - w) for p, s in zip(row, _MIDDLES, strict=True))
        for w, row in zip(_MIDDLES, _grid(prior).rows, strict=True)
    )


def _estimate(mass: Sequence[float], total: float, start: float) -> Estimate:
    """Mean and interval of a distribution over cells that begin at `start`; `mass` has `total`."""
    mean = sum(m * (start + (k + 0.5) / CELLS) for k, m in enumerate(mass)) / total
    low, high = (_quantile(mass, start, share * total) for share in (_TAIL, 1 - _TAIL))
    return Estimate(mean, Interval(low, high))


def _quantile(mass: Sequence[float], start: float, sought: float) -> float:
    passed = 0.0
    for k, m in enumerate(mass):
        if m and passed + m >= sought:
            return start + (k + (sought - passed) / m) / CELLS
        passed += m
    return start + len(mass) / CELLS
