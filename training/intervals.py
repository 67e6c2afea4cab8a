"""What k attempts at a question are worth, and how sure the answers of a test make us.

Documents are drawn anew and not answers, since what comes from one document is alike. Intervals are
those of autodata's `tasks/measurement.py`, to the digit: a test holds them equal.
"""

from collections.abc import Callable, Iterable, Sequence
from math import comb, sqrt
from random import Random
from statistics import NormalDist, stdev
from typing import NamedTuple, TypeVar

LEVEL, POWER = 0.05, 0.80  # intervals cover 1 − LEVEL; a difference shows in POWER of comparisons
RESAMPLES, MOST_DRAWN, LEAST_RESAMPLES = 4000, 1_000_000, 200
LEAST_SPREAD = 0.1  # by document, always reckoned with: few may agree by chance
MIN_DOCUMENTS = 10  # below which no verdict is given on a difference

_NORMAL = NormalDist()
_Z = _NORMAL.inv_cdf(1 - LEVEL / 2)

T = TypeVar("T")


class Figure(NamedTuple):
    """A mean and its interval of 95 %; `low` and `high` are None where there is none to tell."""

    value: float
    low: float | None
    high: float | None


class Difference(NamedTuple):
    """Second − first on the same questions, and the least difference that four of five such
    comparisons would show; None where documents are too few to tell."""

    value: float
    low: float
    high: float
    detectable: float | None
    questions: int
    documents: int

    @property
    def verdict(self) -> str:
        """`higher`, `lower`, or why neither is said."""
        if self.documents < MIN_DOCUMENTS:
            return f"too few documents ({self.documents} of {MIN_DOCUMENTS})"
        if self.low > 0:
            return "higher"
        return "lower" if self.high < 0 else "cannot be told"


def pass_at(k: int, right: int, attempts: int) -> float:
    """How likely one of k attempts is right, 0 … 1, by `attempts` of which `right` were.

    1 − C(n − c, k) / C(n, k), the unbiased estimator of M. Chen et al., Evaluating Large Language
    Models Trained on Code, arXiv 2107.03374, section 2.1. Raises ValueError unless
    1 ≤ k ≤ attempts.
    """
    if not 1 <= k <= attempts:
        raise ValueError(f"{k} of {attempts} attempts cannot be drawn")
    return 1.0 - comb(attempts - right, k) / comb(attempts, k)


def best_at(k: int, scores: Sequence[float]) -> float:
    """The best score of k attempts on average over all draws of k from these; unbiased likewise,
    and `pass_at` where scores are 0 or 1. Raises ValueError unless 1 ≤ k ≤ len(scores)."""
    if not 1 <= k <= len(scores):
        raise ValueError(f"{k} of {len(scores)} attempts cannot be drawn")
    draws = comb(len(scores), k)
    # The i-th lowest is the best of a draw whose other attempts are all below it.
    return sum(comb(i, k - 1) * score for i, score in enumerate(sorted(scores))) / draws


def grouped(values: Iterable[tuple[str, float | None]]) -> list[list[float]]:
    """Pairs of a document and a value, by document; None is left out."""
    found: dict[str, list[float]] = {}
    for document, value in values:
        if value is not None:
            found.setdefault(document, []).append(value)
    return list(found.values())


def mean_of(by_document: Sequence[Sequence[float]], least: float = 0.0) -> Figure:
    """The mean of values between `least` and 1, by document, and its interval: the wider of the
    bootstrap and Student's t by document, the latter within Wilson's interval of a share of as many
    documents. Raises ValueError where there is no value."""
    drawn = [(sum(values), len(values)) for values in by_document if values]
    means, n = [total / count for total, count in drawn], len(drawn)
    mean = _ratio(drawn)
    low, high = (least + at * (1 - least) for at in wilson(n * (mean - least) / (1 - least), n))
    if n == 1 or {*means} in ({least}, {1.0}):
        return Figure(mean, low, high)
    reach = student_quantile(n - 1) * max(stdev(means), LEAST_SPREAD) / sqrt(n)
    few, many = bootstrap(drawn, _ratio)
    return Figure(mean, min(few, max(low, mean - reach)), max(many, min(high, mean + reach)))


def amount_of(by_document: Sequence[Sequence[float]]) -> Figure:
    """The mean of values of any size, such as tokens, and its bootstrap interval; none for one
    document. Raises ValueError where there is no value."""
    drawn = [(sum(values), len(values)) for values in by_document if values]
    mean = _ratio(drawn)
    return Figure(mean, *bootstrap(drawn, _ratio)) if len(drawn) > 1 else Figure(mean, None, None)


def difference_of(by_document: Sequence[Sequence[float]]) -> Difference:
    """Of differences by question, −1 … 1, by document. Raises ValueError where there is none."""
    kept = [values for values in by_document if values]
    mean, low, high = mean_of(kept, least=-1.0)
    assert low is not None
    assert high is not None
    questions = sum(map(len, kept))
    return Difference(mean, low, high, detectable(kept), questions, len(kept))


def detectable(by_document: Sequence[Sequence[float]]) -> float | None:
    """The least true difference that POWER of such comparisons would tell from none: (t + z) times
    the standard error by document, of a spread of at least LEAST_SPREAD; at most 1. None below two
    documents.

    J. Cohen, Statistical Power Analysis for the Behavioral Sciences, 2nd ed. (1988), chapter 2; the
    error is that of a ratio of document totals (W. Cochran, Sampling Techniques, 3rd ed. (1977),
    section 6.4).
    """
    n = len(by_document)
    if n < 2:
        return None
    drawn = [(sum(values), len(values)) for values in by_document]
    mean, each = _ratio(drawn), sum(count for _, count in drawn) / n
    squares = sum((total - mean * count) ** 2 for total, count in drawn)
    spread = max(sqrt(squares / (n - 1)) / each, LEAST_SPREAD)
    reach = student_quantile(n - 1) + _NORMAL.inv_cdf(POWER)
    return min(reach * spread / sqrt(n), 1.0)


def wilson(successes: float, trials: int) -> tuple[float, float]:
    """The score interval of a share. E. B. Wilson, J. Am. Stat. Assoc. 22 (1927) 209–212."""
    share, square = min(max(successes / trials, 0.0), 1.0), _Z * _Z
    middle = (share + square / (2 * trials)) / (1 + square / trials)
    spread = _Z * sqrt(share * (1 - share) / trials + square / (4 * trials * trials))
    half = spread / (1 + square / trials)
    low = max(middle - half, 0.0) if successes else 0.0
    return low, min(middle + half, 1.0) if successes < trials else 1.0


def bootstrap(
    documents: Sequence[T], statistic: Callable[[Sequence[T]], float], seed: int = 0
) -> tuple[float, float]:
    """The percentile bootstrap by document (B. Efron, Annals of Statistics 7 (1979) 1–26), its
    tails widened by what it lacks where documents are few (T. Hesterberg, The American Statistician
    69 (2015) 371–386, section 4.2). Raises ValueError below two."""
    n = len(documents)
    if n < 2:
        raise ValueError("an interval takes at least two documents")
    draw, times = Random(seed), max(min(MOST_DRAWN // n, RESAMPLES), LEAST_RESAMPLES)
    found = sorted(statistic(draw.choices(documents, k=n)) for _ in range(times))
    beyond = _NORMAL.cdf(-sqrt(n / (n - 1)) * student_quantile(n - 1))
    at = round(beyond * (times - 1))
    return found[at], found[-1 - at]


def student_quantile(freedom: int) -> float:
    """Student's t that 1 − LEVEL / 2 lie below: equation 26.7.5 of M. Abramowitz and I. Stegun,
    Handbook of Mathematical Functions."""
    z = _Z
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return sum(term / float(freedom**k) for k, term in enumerate(terms))


def _ratio(documents: Sequence[tuple[float, int]]) -> float:
    count = sum(count for _, count in documents)
    if not count:
        raise ValueError("there is no value to take a mean of")
    return sum(total for total, _ in documents) / count
