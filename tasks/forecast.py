"""What a pilot says of the documents to come, before they are paid for.

All intervals cover 95 % and are predictive: they hold what the next documents will do, not what
their mean would tend to, so that both the few documents of the pilot and the luck of those to come
are in them. They suppose that the pilot's documents are a random sample of all.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import ceil, exp, fsum, inf, isfinite, lgamma, sqrt
from random import Random
from statistics import NormalDist, fmean
from typing import Literal, NamedTuple

from autodata.tasks.measurement import (
    LEVEL,
    Interval,
    mean_interval,
    student_quantile,
    wilson,
)

FUTURES = 1000
"""Futures that are drawn; with others, ends of intervals move by a thirtieth of their width."""
MOST_NEEDED = 1_000_000
"""Documents beyond which a number that would be needed counts as without an upper end."""
LEAST_PILOT = 2
"""Decided documents below which nothing is forecast: one says nothing of how much they differ."""
ONE_BY_ONE = 200
"""Documents up to which a number of accepted ones is drawn one by one; beyond, as a normal."""
MOST_RECKONED = 10_000
"""Documents or examples up to which a forecast is reckoned out; of more it is one of so many, in
proportion, since what is not known of the pilot's share outweighs the luck of so many."""
ROUNDING = 1e-12
"""Of sums of probabilities."""

CostKind = Literal["rounds", "calls", "tokens", "usd", "seconds"]
COST_KINDS: tuple[CostKind, ...] = ("rounds", "calls", "tokens", "usd", "seconds")


class PilotDocument(NamedTuple):
    """One decided document: whether it gave an example, and what it took.

    `usd` is None where a price is unknown, `seconds` the time during which it was worked on;
    `source` is the same for passages of one text. `weak` holds the scores, 0 … 1, that the gate saw
    of the weak side at the accepted question.
    """

    accepted: bool
    rounds: int
    calls: int
    tokens: int
    usd: float | None
    seconds: float
    source: str
    weak: tuple[float, ...] = ()


class Predicted(NamedTuple):
    """What is to be expected, and between which ends it will lie in 95 of 100 cases; an end, or all
    of it, may be infinite."""

    value: float
    low: float
    high: float


class Outset(NamedTuple):
    """What is asked for: so many more `documents`, or so many more `examples` from as many as it
    takes. Rounds are the most that a document has; `in_flight` documents are worked on at once."""

    documents: int
    examples: int | None
    rounds: int
    in_flight: int


class Forecast(NamedTuple):
    """What is to come: how many `documents` are tried, how many `examples` they give, and what they
    take, by kind, in all. A kind whose price is unknown is left out. `enough`: how likely the
    documents at hand give the examples wanted, 0 … 1."""

    documents: Predicted
    examples: Predicted
    costs: Mapping[CostKind, Predicted]
    enough: float | None = None


def predicted_successes(successes: float, trials: float, more: int) -> Interval:
    """How many of `more` documents succeed, after so many successes of so many trials.

    The exact prediction interval: two beta-binomial tails, each with the prior that favours it
    least, so that it covers at least what it says whatever the true share is (A. R. Thatcher,
    Journal of the Royal Statistical Society B 26 (1964) 176–192). Raises ValueError unless
    0 ≤ successes ≤ trials.
    """
    if not 0 <= successes <= trials:
        raise ValueError(f"{successes} of {trials} is no share")
    failures = trials - successes
    low = _first(_masses(successes, failures + 1, more), LEVEL / 2)
    high = _first(_masses(successes + 1, failures, more), 1 - LEVEL / 2)
    return Interval(low, high)


def predicted_trials(successes: float, trials: float, wanted: int) -> Interval:
    """How many more documents it takes until `wanted` of them have succeeded; the inverse of
    `predicted_successes`. Without an upper end (infinite) where that is beyond MOST_NEEDED."""
    failures = trials - successes
    low = _least(lambda m: _at_least(successes + 1, failures, m, wanted) > LEVEL / 2, wanted)
    high = _least(lambda m: _at_least(successes, failures + 1, m, wanted) >= 1 - LEVEL / 2, wanted)
    return Interval(low, high)


def _masses(a: float, b: float, m: int) -> Iterator[float]:
    """The beta-binomial probabilities of 0 … m successes; all or none where a or b is 0."""
    if not a or not b:
        sure = 0 if not a else m
        yield from (float(k == sure) for k in range(m + 1))
        return
    whole = lgamma(a + b) - lgamma(a) - lgamma(b) + lgamma(m + 1) - lgamma(m + a + b)
    for k in range(m + 1):
        ways = lgamma(k + a) + lgamma(m - k + b) - lgamma(k + 1) - lgamma(m - k + 1)
        yield exp(whole + ways)


def _first(masses: Iterator[float], share: float) -> int:
    """The first number up to which there is more than this share of the probability."""
    passed, number = 0.0, -1
    for mass in masses:
        passed, number = passed + mass, number + 1
        if passed > share + ROUNDING:
            break
    return number


def _at_least(a: float, b: float, m: int, wanted: int) -> float:
    """How likely at least `wanted` of `m` succeed."""
    if m < wanted:
        return 0.0
    masses = _masses(a, b, m)
    return max(1.0 - fsum(mass for _, mass in zip(range(wanted), masses, strict=False)), 0.0)


def _least(holds: Callable[[int], bool], start: int) -> float:
    """The least number from `start` on for which something holds that stays so; infinite beyond
    MOST_NEEDED."""
    low, high = start - 1, max(start, 1)
    while not holds(high):
        low, high = high, high * 2
        if low >= MOST_NEEDED:
            return inf
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


class _Group(NamedTuple):
    """Documents of one outcome in one possible world: their share of all, and what one of them
    takes on average and by its variance, by kind."""

    share: float
    means: Sequence[float]
    variances: Sequence[float]


def forecast(pilot: Sequence[PilotDocument], asked: Outset, seed: int = 0) -> Forecast:
    """What is to come after a pilot of at least LEAST_PILOT decided documents.

    Documents are drawn by the Bayesian bootstrap (D. B. Rubin, Annals of Statistics 9 (1981)
    130–134): each draw weighs those of the pilot anew, and half an accepted and half a rejected one
    beside them, which makes the share that is accepted Jeffreys' posterior. The rejected half took
    all rounds where the pilot has none. Tails are widened by what a bootstrap lacks where documents
    are few, as `bootstrap` does. Passages of one text are weighed as one, and so come in future.
    Where no number of documents may be enough, no cost is. The same pilot, the same forecast.
    Raises ValueError below LEAST_PILOT.
    """
    n = len(pilot)
    if n < LEAST_PILOT:
        raise ValueError(f"a forecast takes at least {LEAST_PILOT} decided documents")
    if (times := (asked.examples or asked.documents) / MOST_RECKONED) > 1:
        fewer = round(asked.documents / times)
        fewer_examples = MOST_RECKONED if asked.examples else None
        few = asked._replace(documents=fewer, examples=fewer_examples)
        return _times(forecast(pilot, few, seed), times)
    kinds = [kind for kind in COST_KINDS if all(getattr(one, kind) is not None for one in pilot)]
    parted = [[one for one in pilot if one.accepted is accepted] for accepted in (True, False)]
    groups = [[[float(getattr(one, kind)) for kind in kinds] for one in part] for part in parted]
    supposed, passages = _supposed(groups, kinds, asked.rounds), _passages(pilot)
    texts = max(round(n / passages), LEAST_PILOT)
    draw, futures = Random(seed), list[tuple[float, float, list[float]]]()
    for _ in range(FUTURES):
        drawn = dict[str, float]()  # the weight of each text, which its passages share
        world = [
            _weighed(own, [_weight(drawn, one, draw) / passages for one in part], half, draw)
            for own, part, half in zip(groups, parted, supposed, strict=True)
        ]
        futures.append(_future(world, kinds, asked, passages, draw))
    beyond = NormalDist().cdf(-sqrt(texts / (texts - 1)) * student_quantile(texts - 1))
    documents, examples = _counts(pilot, asked)
    costs = dict[CostKind, Predicted]()
    for at, kind in enumerate(kinds):
        found = _predicted([costs[at] for _, _, costs in futures], beyond)
        endless = found.value and not isfinite(documents.high)
        costs[kind] = found._replace(high=inf) if endless else found
    return Forecast(documents, examples, costs=costs, enough=_enough(pilot, asked))


def _passages(pilot: Sequence[PilotDocument]) -> float:
    """How many documents of the pilot come from one text, on average."""
    return len(pilot) / len({one.source for one in pilot})


def _times(found: Forecast, times: float) -> Forecast:
    """The forecast of so many times as much."""
    documents, examples, *costs = (
        Predicted(*(end * times for end in one))
        for one in (found.documents, found.examples, *found.costs.values())
    )
    return Forecast(
        Predicted(*(round(end) if isfinite(end) else end for end in documents)),
        examples,
        costs=dict(zip(found.costs, costs, strict=True)),
        enough=found.enough,
    )


def _weight(drawn: dict[str, float], one: PilotDocument, draw: Random) -> float:
    """What the document's text weighs in this draw."""
    if one.source not in drawn:
        drawn[one.source] = draw.expovariate(1.0)
    return drawn[one.source]


def _counts(pilot: Sequence[PilotDocument], asked: Outset) -> tuple[Predicted, Predicted]:
    """The documents that are tried and the examples that they give. What comes from one text is
    alike: passages count as so many texts."""
    passages = _passages(pilot)
    accepted, n = (count / passages for count in (sum(p.accepted for p in pilot), len(pilot)))
    share = (accepted + 0.5) / (n + 1)  # the mean of Jeffreys' posterior
    if asked.examples is None:
        more = asked.documents
        low, high = predicted_successes(accepted, n, round(more / passages))
        ends = (min(round(end * passages), more) for end in (low, high))
        return Predicted(more, more, more), Predicted(share * more, *ends)
    wanted = asked.examples
    low, high = predicted_trials(accepted, n, -(-wanted // max(round(passages), 1)))
    needed = Predicted(wanted / share, max(low * passages, wanted), high * passages)
    return needed, Predicted(wanted, wanted, wanted)


def _enough(pilot: Sequence[PilotDocument], asked: Outset) -> float | None:
    if asked.examples is None:
        return None
    passages, accepted = _passages(pilot), sum(one.accepted for one in pilot)
    shape = (accepted / passages + 0.5, (len(pilot) - accepted) / passages + 0.5)
    return _at_least(*shape, round(asked.documents / passages), ceil(asked.examples / passages))


def _supposed(
    groups: Sequence[Sequence[Sequence[float]]], kinds: Sequence[CostKind], rounds: int
) -> list[list[float]]:
    """What the accepted and the rejected half of a document take that no pilot lacks: what those of
    the pilot did; where it has none, as all did, a rejected one for all of its rounds."""
    everyone = [one for group in groups for one in group]
    found = [
        [fmean(column) for column in zip(*(group or everyone), strict=True)] for group in groups
    ]
    if not groups[1]:
        each = max(found[1][kinds.index("rounds")], 1.0)
        found[1] = [value * rounds / each for value in found[1]]
    return found


def _weighed(
    own: Sequence[Sequence[float]], weights: list[float], half: Sequence[float], draw: Random
) -> _Group:
    """The documents of one outcome by their weights; the share is not yet one of all."""
    weights = [*weights, draw.gammavariate(0.5, 1.0)]
    total, means, variances = sum(weights), [], []
    for column in zip(*own, half, strict=True):
        mean = sum(w * x for w, x in zip(weights, column, strict=True)) / total
        means.append(mean)
        variances.append(
            sum(w * (x - mean) ** 2 for w, x in zip(weights, column, strict=True)) / total
        )
    return _Group(total, means, variances)


def _future(
    world: Sequence[_Group],
    kinds: Sequence[CostKind],
    asked: Outset,
    passages: float,
    draw: Random,
) -> tuple[float, float, list[float]]:
    """One future in one possible world: accepted and other documents, and what they take by kind,
    a sum of many and so about normal; the time is that of documents worked on side by side.
    So many `passages` of one text fare alike."""
    accepted, other = world
    share = accepted.share / (accepted.share + other.share)
    if asked.examples is None:
        gave = _binomial(round(asked.documents / passages), share, draw) * passages
        numbers = (min(gave, asked.documents), max(asked.documents - gave, 0))
    else:
        failed = _failures(ceil(asked.examples / passages), share, draw) * passages
        numbers = (asked.examples, failed)
    off, costs = draw.gauss(0.0, 1.0), list[float]()
    for at, kind in enumerate(kinds):
        mean = sum(n * group.means[at] for n, group in zip(numbers, world, strict=True))
        variance = sum(n * group.variances[at] for n, group in zip(numbers, world, strict=True))
        total = max(mean + off * sqrt(variance * passages), 0.0)
        if kind == "seconds":
            total = _side_by_side(total, sum(numbers), max(g.means[at] for g in world), asked, draw)
        costs.append(total)
    return (*numbers, costs)


def _side_by_side(
    total: float, documents: float, longest: float, asked: Outset, draw: Random
) -> float:
    """Seconds until all are done: between an even share each and, at most, a long one beyond it (R.
    L. Graham, SIAM Journal on Applied Mathematics 17 (1969) 416–429)."""
    at_once = max(min(asked.in_flight, documents), 1.0)
    return total / at_once + draw.random() * (1 - 1 / at_once) * longest


def _binomial(trials: int, share: float, draw: Random) -> int:
    if trials <= ONE_BY_ONE:
        return sum(draw.random() < share for _ in range(trials))
    drawn = draw.gauss(trials * share, sqrt(trials * share * (1 - share)))
    return min(max(round(drawn), 0), trials)


def _failures(wanted: int, share: float, draw: Random) -> int:
    """Failures before so many successes: a Poisson number whose mean is gamma distributed, about
    normal where it is large."""
    mean = draw.gammavariate(wanted, (1 - share) / max(share, 1e-9)) if wanted else 0.0
    if mean > ONE_BY_ONE:
        return round(min(max(draw.gauss(mean, sqrt(mean)), 0.0), MOST_NEEDED))
    count, left = 0, draw.expovariate(1.0)
    while left < mean:
        count, left = count + 1, left + draw.expovariate(1.0)
    return count


def _predicted(drawn: Sequence[float], beyond: float) -> Predicted:
    found = sorted(drawn)
    at = round(beyond * (len(found) - 1))
    return Predicted(found[len(found) // 2], found[at], found[-1 - at])


# What more rounds bring.

LEAST_TRIED = 10
"""Rounds that must have been tried beyond a round before it is called the plateau."""


class CurvePoint(NamedTuple):
    """Documents accepted up to a round, of all decided: the share with its interval; `tried` and
    `gave` count the documents that came into this round and those that it accepted."""

    round: int
    tried: int
    gave: int
    share: float
    interval: Interval


class YieldCurve(NamedTuple):
    """The share of documents accepted up to each round. From the `plateau` on a further round
    brings distinguishably less than rounds do on average; None where that cannot be told. `later`
    is the interval of what a round beyond the plateau brings."""

    points: Sequence[CurvePoint]
    plateau: int | None
    later: Interval | None


def yield_curve(pilot: Sequence[PilotDocument]) -> YieldCurve:
    """How the yield grows with rounds.

    The plateau is the first round beyond which at least LEAST_TRIED rounds were tried, and the
    score interval of the share of them that gave an example lies below the share of all.
    """
    n, tried = len(pilot), [one for one in pilot if one.rounds]
    points, before = list[CurvePoint](), 0
    for number in range(1, max((one.rounds for one in tried), default=0) + 1):
        came = sum(one.rounds >= number for one in tried)
        gave = sum(one.accepted and one.rounds == number for one in tried)
        before += gave
        points.append(CurvePoint(number, came, gave, before / n, wilson(before, n)))
    all_tried = sum(point.tried for point in points)
    average = sum(point.gave for point in points) / all_tried if all_tried else 0.0
    for at, point in enumerate(points, 1):
        rest = points[at:]
        rounds, gave = sum(p.tried for p in rest), sum(p.gave for p in rest)
        if rounds < LEAST_TRIED:
            break
        if (later := wilson(gave, rounds)).high < average:
            return YieldCurve(points, point.round, later)
    return YieldCurve(points, None, None)


# What is left for a student to learn.


class Headroom(NamedTuple):
    """What a student as able as the weak side can learn from the accepted questions.

    `open` is the share of them that are neither always failed nor always solved, 0 < p < 1, and
    `variance` the mean of 4p(1 − p), 0 … 1, to which the gradient of a group of attempts is
    proportional; each with its interval. By the attempts that the gate saw.
    """

    questions: int
    open: float
    open_interval: Interval
    variance: float
    variance_interval: Interval


def headroom(pilot: Sequence[PilotDocument]) -> Headroom | None:
    """The student's headroom; None without an accepted question.

    Of k attempts that are right or wrong, k / (k − 1) times 4p(1 − p) of their mean is without
    bias; of scores in between 4p(1 − p) is the most that the variance can be.
    """
    found = [(one.source, one.weak) for one in pilot if one.accepted and one.weak]
    if not found:
        return None
    between = sum(0 < fmean(weak) < 1 for _, weak in found)
    by_source: dict[str, list[float]] = {}
    for source, weak in found:
        p, k = fmean(weak), len(weak)
        counted = k > 1 and {*weak} <= {0.0, 1.0}
        by_source.setdefault(source, []).append(
            min(4 * p * (1 - p) * (k / (k - 1) if counted else 1), 1.0)
        )
    values = [value for one in by_source.values() for value in one]
    return Headroom(
        len(found),
        between / len(found),
        wilson(between, len(found)),
        fmean(values),
        mean_interval(list(by_source.values())),
    )
