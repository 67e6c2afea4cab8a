"""How much of what makes attempts scatter is the judge's, and how often it is best asked.

A once-judged attempt scatters around its question's true score for two reasons: answers differ in
what they are worth, and the judge does not say the same of one answer twice. More attempts lower
both, more judgements of each answer only the second, and they cost less.
"""

from collections.abc import Sequence
from statistics import fmean
from typing import NamedTuple

from autodata.tasks.measurement import Interval, bootstrap

MOST_REPEATS = 9
"""Judgements of one answer, at the most."""

LEAST_DOCUMENTS = 10
"""Documents below which nothing is said of the judge's share: the interval of a few is too narrow,
and of so many it covers about as much as it says."""

Judged = Sequence[Sequence[float]]
"""Attempts of one side at one question, 0 … 1 each time that they were judged."""


class JudgeNoise(NamedTuple):
    """The judge's `share` of the variance of once-judged attempts, 0 … 1, with its 95 % interval.

    `repeats` judgements of an answer are cheapest, by the ends of the interval `least` to `most`.
    """

    share: float
    interval: Interval
    repeats: int
    least: int
    most: int


class Sums(NamedTuple):
    """What a document says of both variances.

    Squares of judgements around their attempt's mean, and of these means around their side's, each
    with its degrees of freedom; `carried` is how many variances of the judge the latter hold.
    """

    within: float
    judgements: int
    between: float
    attempts: int
    carried: float


def judge_noise(
    documents: Sequence[Sequence[Judged]], answer: float, judgement: float
) -> JudgeNoise | None:
    """What the attempts of each document, side by side, say of the judge.

    `answer` and `judgement` are what one of each costs, in any unit, not both nothing. None where
    fewer than LEAST_DOCUMENTS have a side with two attempts that were judged twice, and where no
    score varies.

    Components of variance by a one-way random-effects analysis (S. R. Searle, G. Casella,
    C. E. McCulloch, Variance Components, 1992, chapter 3), on means of attempts, since the number
    of judgements may differ; the interval by `bootstrap`, since what comes from one document is
    alike.
    """
    sums = [found for found in map(sums_of, documents) if found.attempts and found.judgements]
    if len(sums) < LEAST_DOCUMENTS or not sum(found.within + found.between for found in sums):
        return None
    share, interval = judge_share(sums), bootstrap(sums, judge_share)
    least, repeats, most = (
        cheapest(one, answer, judgement) for one in (interval.low, share, interval.high)
    )
    return JudgeNoise(share, interval, repeats, least, most)


def sums_of(sides: Sequence[Judged]) -> Sums:
    """What one document says; attempts that were judged once say nothing."""
    within = between = carried = 0.0
    judgements = attempts = 0
    for side in sides:
        judged = [scores for scores in side if len(scores) > 1]
        means = [fmean(scores) for scores in judged]
        for scores, mean in zip(judged, means, strict=True):
            within += sum((score - mean) ** 2 for score in scores)
            judgements += len(scores) - 1
        if len(means) > 1:
            middle = fmean(means)
            between += sum((mean - middle) ** 2 for mean in means)
            attempts += len(means) - 1
            carried += (1 - 1 / len(means)) * sum(1 / len(scores) for scores in judged)
    return Sums(within, judgements, between, attempts, carried)


def judge_share(documents: Sequence[Sums]) -> float:
    """The judge's share of the variance of a once-judged attempt, 0 … 1; 0 where none varies."""
    within, judgements, between, attempts, carried = map(sum, zip(*documents, strict=True))
    judge = within / judgements
    answers = max((between - carried * judge) / attempts, 0.0)
    return judge / (judge + answers) if judge else 0.0


def cheapest(share: float, answer: float, judgement: float) -> int:
    """Judgements of each answer, 1 … MOST_REPEATS, by which a mean of given precision costs least.

    The optimum of two-stage sampling, √(share / (1 − share) · answer / judgement), in whole numbers
    (W. G. Cochran, Sampling Techniques, 3rd ed., 1977, section 10.6): of the variance of an answer
    with r judgements times its cost. The smallest of equals.
    """
    return min(
        range(1, MOST_REPEATS + 1),
        key=lambda r: (1 - share + share / r) * (answer + r * judgement),
    )
