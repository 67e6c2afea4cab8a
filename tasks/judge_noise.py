"""How much of what makes attempts scatter is the judge's, how often it is best asked, how far two
judgements agree, and what a second judge says.

A once-judged attempt scatters around its question's true score for two reasons: answers differ in
what they are worth, and the judge does not say the same of one answer twice. More attempts lower
both, more judgements of each answer only the second, and they cost less.
"""

from collections.abc import Iterable, Sequence
from itertools import takewhile
from statistics import fmean
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from autodata.tasks.measurement import Interval, bootstrap, in_percent, mean_interval, wilson
from autodata.tasks.types import digest

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

    def said(self, *, priced: bool) -> str:
        """How much of the noise is the judge's, and how often it is best asked; `priced` where the
        costs were in dollars."""
        share = f"{100 * self.share:.0f} % ({in_percent(self.interval)})"
        times = "once" if self.repeats == 1 else f"{self.repeats} times"
        by = "at these prices" if priced else "counted in calls"
        return (
            f"makes {share} of the attempts' variance; asking it {times} "
            f"({self.least}–{self.most}) per answer is cheapest, {by} (models.judge.repeats)"
        )


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


class MarkPairs(NamedTuple):
    """How two judgements mark the same criteria: how many `both` found met, the `first` or the
    `second` alone, or `neither`. Halves where nothing tells first from second."""

    both: float
    first: float
    second: float
    neither: float

    @property
    def alike(self) -> float:
        """Pairs of marks that agree."""
        return self.both + self.neither

    @property
    def made(self) -> float:
        """All pairs of marks."""
        return sum(self)


class Agreement(NamedTuple):
    """The share of `pairs` of marks that agree, 0 … 1, and Cohen's kappa, −1 … 1, which is 0 where
    they agree as chance would have it. Intervals at 95 %, by document: None for a single one, and
    kappa's below LEAST_DOCUMENTS and where every mark agrees, since draws of these never differ."""

    pairs: int
    share: float
    interval: Interval | None
    kappa: float
    kappa_interval: Interval | None

    @property
    def said(self) -> str:
        """`94 % (92–96) of 480 pairs of marks, kappa 0.87 (0.82–0.91)`."""
        share = f" ({in_percent(self.interval)})" if self.interval else ""
        kappa = f"kappa {self.kappa:z.2f}"
        if self.kappa_interval:
            low, high = self.kappa_interval
            kappa += f" ({low:z.2f}{' to ' if low < 0 else '–'}{high:z.2f})"
        return f"{100 * self.share:.0f} %{share} of {self.pairs:,} pairs of marks, {kappa}"


def pairs_of(first: Iterable[float], second: Iterable[bool]) -> MarkPairs:
    """How two judgements of one answer mark its criteria, in their order; the first may have found
    one met by so much of a mark, 0 … 1."""
    found = list(zip(first, second, strict=True))
    both = sum(one for one, other in found if other)
    alone = sum(one for one, other in found if not other)
    met = sum(other for _, other in found)
    return MarkPairs(both, alone, met - both, len(found) - met - alone)


def repeated_pairs(votes: Sequence[bool]) -> MarkPairs:
    """All pairs of what repeated judgements found of one criterion."""
    met, others = sum(votes), len(votes) - sum(votes)
    split = met * others / 2
    return MarkPairs(met * (met - 1) / 2, split, split, others * (others - 1) / 2)


def pooled(pairs: Iterable[MarkPairs]) -> MarkPairs:
    """All of them together."""
    return MarkPairs(*(sum(cell) for cell in zip(*pairs, strict=True)))


def agreement(documents: Sequence[MarkPairs]) -> Agreement | None:
    """How far two judgements agree, by what was found of each document; None where none has a pair.

    Cohen's kappa (J. Cohen, Educational and Psychological Measurement 20 (1960) 37–46) of all marks
    together, its interval by `bootstrap`, and that of the share, too, so that the two say the same;
    where kappa has none, that of the share is by `mean_interval`, which is wider.
    """
    drawn = [found for found in documents if found.made]
    if not drawn:
        return None
    every = pooled(drawn)
    alike = [(found.alike, found.made) for found in drawn]
    interval = kappas = None
    if len(drawn) >= LEAST_DOCUMENTS and 0 < every.alike < every.made:
        interval, kappas = bootstrap(alike, _share_alike), bootstrap(drawn, kappa)
    elif len(drawn) > 1:
        interval = mean_interval([[same / made] * round(made) for same, made in alike])
    return Agreement(round(every.made), _share_alike(alike), interval, kappa(drawn), kappas)


def _share_alike(documents: Sequence[tuple[float, float]]) -> float:
    return sum(alike for alike, _ in documents) / sum(made for _, made in documents)


def kappa(documents: Sequence[MarkPairs]) -> float:
    """Cohen's kappa; where chance alone would agree on everything, 1 if they do."""
    both, first, second, neither = pooled(documents)
    n = both + first + second + neither
    chance = ((both + first) * (both + second) + (neither + first) * (neither + second)) / n**2
    agreed = (both + neither) / n
    return (agreed - chance) / (1 - chance) if chance < 1 else float(agreed == 1)


class AuditedExample(NamedTuple):
    """What a second judge says of one example: how it marks the criteria of the attempts that
    decided beside the `pairs`' first, the judge; by how much each attempt scores otherwise, −1 … 1;
    and whether the gate would accept by its scores, None where that cannot be told.

    `source` is the same for passages of one text.
    """

    example_id: str
    source: str
    pairs: MarkPairs
    differences: Sequence[float]
    holds: bool | None

    @property
    def disagreement(self) -> float | None:
        """The share of marks that are otherwise, 0 … 1; None where none could be compared."""
        return 1 - self.pairs.alike / self.pairs.made if self.pairs.made else None

    @property
    def difference(self) -> float | None:
        """The mean by which its attempts score higher, −1 … 1; None where none was compared."""
        return fmean(self.differences) if self.differences else None

    @property
    def said(self) -> str:
        """`5 % of 65 marks otherwise, score −0.06, the gate decides otherwise`."""
        if not self.pairs.made:
            return "nothing that a judge had marked"
        gate = {True: "accepts, too", False: "decides otherwise", None: "cannot be told"}[
            self.holds
        ]
        otherwise = f"{100 * (self.disagreement or 0.0):.0f} % of {self.pairs.made:.0f} marks"
        return f"{otherwise} otherwise, score {self.difference or 0.0:+z.2f}, the gate {gate}"

    def plain(self) -> dict[str, Any]:
        """All of it as JSON values."""
        return {
            "example": self.example_id,
            "marks": self.pairs.made,
            "disagreement": self.disagreement,
            "difference": self.difference,
            "gate_accepts": self.holds,
        }


class JudgeAudit(NamedTuple):
    """What a `second` judge says of a sample of `examples`, of which the first had `marked` some
    answer; both are `endpoint/model`.

    `difference` is the mean by which it scores attempts higher, −1 … 1, with its interval by
    document; of the examples `told` the gate would decide `otherwise` about so many.
    """

    id: str
    judge: str
    second: str
    examples: int
    marked: int
    agreement: Agreement | None
    difference: float | None
    interval: Interval | None
    otherwise: int
    told: int

    @property
    def warning(self) -> str:
        """Why the second judge is hardly another one; "" where it is one."""
        if self.second.rpartition("/")[2] == self.judge.rpartition("/")[2]:
            return "the same model as the judge: what both get wrong does not show"
        if family(self.second) == family(self.judge):
            return "of the judge's own family: what both get wrong does not show"
        return ""

    @property
    def said(self) -> str:
        """`openai/x on 12 examples: agrees on 91 % (88–94) of 864 pairs of marks, …`."""
        counted = f"{self.examples} example{'' if self.examples == 1 else 's'}"
        if 0 < self.marked < self.examples:
            counted = f"{self.marked} of {counted} (the others had no mark to compare)"
        if self.agreement is None or self.difference is None:
            return f"{self.second} on {counted}: nothing that a judge had marked"
        ends = " ({:+z.2f} to {:+z.2f})".format(*self.interval) if self.interval else ""
        share = f" ({in_percent(wilson(self.otherwise, self.told))})" if self.told > 1 else ""
        gate = f"the gate would decide {self.otherwise} of {self.told} otherwise{share}"
        if not self.told:
            gate = "what the gate would decide cannot be told"
        return (
            f"{self.second} on {counted}: agrees on {self.agreement.said}; scores "
            f"{self.difference:+z.2f}{ends}; {gate}"
            f"{'; ' if self.warning else ''}{self.warning}"
        )

    def plain(self) -> dict[str, Any]:
        """All of it as JSON values."""
        found = self._asdict() | {"agreement": self.agreement and self.agreement._asdict()}
        low, high = wilson(self.otherwise, self.told) if self.told > 1 else (None, None)
        return found | {"otherwise_interval": low and [low, high], "warning": self.warning}


def audit_of(id: str, judge: str, second: str, examples: Sequence[AuditedExample]) -> JudgeAudit:
    """What a second judge says of all these examples."""
    pairs: dict[str, list[MarkPairs]] = {}
    differences: dict[str, list[float]] = {}
    for one in examples:
        pairs.setdefault(one.source, []).append(one.pairs)
        differences.setdefault(one.source, []).extend(one.differences)
    drawn = [found for found in differences.values() if found]
    decided = [one.holds for one in examples if one.pairs.made and one.holds is not None]
    return JudgeAudit(
        id=id,
        judge=judge,
        second=second,
        examples=len(examples),
        marked=sum(one.pairs.made > 0 for one in examples),
        agreement=agreement([pooled(found) for found in pairs.values()]),
        difference=fmean(value for found in drawn for value in found) if drawn else None,
        interval=mean_interval(drawn, -1.0) if len(drawn) > 1 else None,
        otherwise=decided.count(False),
        told=len(decided),
    )


class AuditSettings(BaseModel):
    """How much of what was accepted a second judge marks again, when the documents are done."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    share: float = Field(0.0, ge=0, le=1, description="of the examples, chosen by their ids")


def sampled(example_id: str, share: float) -> bool:
    """Whether an example belongs to a sample of so large a share, 0 … 1, of all: by a hash of its
    id, so that a larger share adds to a smaller one, and every run of it draws alike."""
    return int(digest("audit", example_id)[:13], 16) < share * 16**13


def family(model: str) -> str:
    """The family of a model, by the letters with which its name begins: `gpt` of `openai/gpt-5`,
    `qwen` of `local/Qwen/Qwen3.5-4B`. What a provider calls otherwise is not known."""
    name = model.rpartition("/")[2].casefold()
    letters = "".join(takewhile(str.isalpha, name))
    return "gpt" if letters in ("o", "chatgpt") else letters or name
