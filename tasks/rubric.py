"""Rubrics: what one may contain, and how marks become a score.

A score is recomputed from marks; a total that a model states is never read (paper, section 2).
"""

from collections.abc import Iterable, Sequence
from fractions import Fraction

from pydantic import Field, ValidationInfo, field_validator

from autodata.tasks.types import Attempt, Criterion, Frozen, Mark

LEAST = {"items_min": 10, "positives_min": 4}
"""Criteria below which no policy may go (the verifier's bounds of the paper, section 2). The fewer
criteria, the noisier a score, and a noisy gate is passed by luck: two equal solvers that meet each
criterion with probability .55 pass one round in four with a single criterion."""

WHY_LEAST = (
    "with fewer, chance passes the gate: in 12 rounds two equal solvers pass on 97 % of documents "
    "with one criterion, on 32 % with ten"
)


class RubricPolicy(Frozen):
    """How many criteria a rubric has and what they may weigh: part of the editable harness.

    Bounds are inclusive. Defaults are the verifier's of the paper, section 2: 10–20 criteria, at
    least 4 positive and 3 negative, weights −10 … +10. Lower bounds under LEAST are refused.
    """

    items_min: int = Field(10, le=40)
    items_max: int = Field(20, ge=1, le=40)
    positives_min: int = Field(4, le=40)
    negatives_min: int = Field(3, ge=0, le=20)
    negatives_max: int = Field(10, ge=0, le=20)
    weight_max: int = Field(10, ge=1, le=10)
    negative_weight_min: int = Field(-10, ge=-10, le=-1)

    @field_validator(*LEAST)
    @classmethod
    def _enough(cls, value: int, info: ValidationInfo) -> int:
        if value < (least := LEAST[info.field_name or ""]):
            raise ValueError(f"{value} is less than {least}: {WHY_LEAST}")
        return value

    def problems(self, rubric: Sequence[Criterion]) -> list[str]:
        """What is wrong with a rubric, each as a sentence; an empty list means it is in order."""
        positives = [c for c in rubric if c.weight > 0]
        negatives = [c for c in rubric if c.weight < 0]
        counts = (
            ("criteria", len(rubric), self.items_min, self.items_max),
            ("positive criteria", len(positives), self.positives_min, self.items_max),
            ("negative criteria", len(negatives), self.negatives_min, self.negatives_max),
        )
        found = [
            f"{n} {what}; the rubric policy asks for {low} to {high}"
            for what, n, low, high in counts
            if not low <= n <= high
        ]
        found += [
            f"weight {c.weight} of “{c.criterion[:60]}” lies outside "
            f"{self.negative_weight_min} … {self.weight_max}, zero excluded"
            for c in rubric
            if c.weight == 0 or not self.negative_weight_min <= c.weight <= self.weight_max
        ]
        texts = [c.criterion.strip().casefold() for c in rubric]
        if "" in texts:
            found.append("a criterion is empty")
        if len(set(texts)) < len(texts):
            found.append("two criteria say the same")
        return found


def score(marks: Iterable[Mark]) -> Fraction:
    """clip(Σ wᵢgᵢ / Σ positive w, 0, 1) with binary gᵢ, exact (paper, section 2).

    Of an answer that was judged several times it is the mean of what each judgement comes to. So
    asking more often narrows the spread of scores and moves none of them, which a clipped mean
    would do. Raises ValueError when no mark has a positive weight: such a rubric cannot be scored;
    and when the marks have different numbers of votes.
    """
    found = by_judgement(marks)
    return sum(found, Fraction(0)) / len(found)


def by_judgement(marks: Iterable[Mark]) -> tuple[Fraction, ...]:
    """What each judgement of the answer comes to, 0 … 1, in their order. Raises as `score`."""
    marks = tuple(marks)
    possible = sum(m.weight for m in marks if m.weight > 0)
    if possible == 0:
        raise ValueError("a rubric without positive weights cannot be scored")
    votes = zip(*(m.votes or (m.met,) for m in marks), strict=True)
    reached = (sum(m.weight for m, met in zip(marks, found, strict=True) if met) for found in votes)
    return tuple(min(max(Fraction(r, possible), Fraction(0)), Fraction(1)) for r in reached)


def met_by(attempts: Sequence[Attempt], at: int) -> tuple[int, int]:
    """How many of these answers met the criterion `at` (from 0), and how many were marked by it."""
    marked = [attempt.marks[at].met for attempt in attempts if len(attempt.marks) > at]
    return sum(marked), len(marked)


def majority(votes: Sequence[bool]) -> bool:
    """What more than half of the judgements found: met; a tie is not met."""
    return 2 * sum(votes) > len(votes)


def consistent(marks: Sequence[Mark]) -> bool:
    """Whether all marks are of the same judgements, and each is what most of them found."""
    same = len({len(mark.votes) for mark in marks}) <= 1
    return same and all(m.met == majority(m.votes) for m in marks if m.votes)
