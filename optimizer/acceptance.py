"""When a mutant is kept: strictly better than its parent on held-out documents, noise in mind.

A strict comparison of two single evaluations keeps a no-op edit two times out of five (paper,
section 4). So the parent's score is pooled over several evaluations, and the mutant's evaluation
stops as soon as it can no longer win. Stopping changes no decision, only the bill.
"""

import math
from collections.abc import Iterable
from fractions import Fraction
from typing import Literal

from autodata.ledger.iterations import EditDecision
from autodata.tasks.types import Frozen

Rule = Literal["strict", "paper", "confirm"]
EvaluationOutcome = Literal["accepted", "failed", "missing"]

POOLED = 3  # evaluations over which a parent's score is pooled
COVERAGE = Fraction(4, 5)  # share of the documents below which a comparison says nothing


class PassCount(Frozen):
    """What one or more evaluations of a harness came to, in documents.

    `missing` counts those without an outcome for reasons of infrastructure: no evidence either way.
    """

    accepted: int = 0
    failed: int = 0
    missing: int = 0

    @classmethod
    def of(cls, outcomes: Iterable[EvaluationOutcome]) -> "PassCount":
        """The outcomes, counted."""
        seen = list(outcomes)
        return cls(
            accepted=seen.count("accepted"),
            failed=seen.count("failed"),
            missing=seen.count("missing"),
        )

    def __add__(self, other: "PassCount") -> "PassCount":
        return PassCount(
            accepted=self.accepted + other.accepted,
            failed=self.failed + other.failed,
            missing=self.missing + other.missing,
        )

    @property
    def tried(self) -> int:
        """Documents that were tried, with or without an outcome."""
        return self.accepted + self.failed + self.missing

    @property
    def score(self) -> Fraction:
        """Pass rate over the documents with an outcome, 0 … 1; 0 when there is none."""
        decided = self.accepted + self.failed
        return Fraction(self.accepted, decided) if decided else Fraction(0)

    @property
    def covered(self) -> bool:
        """Whether enough of the documents tried have an outcome."""
        return self.tried > 0 and self.accepted + self.failed >= COVERAGE * self.tried


def evaluations_wanted(rule: Rule, made: int) -> int:
    """How many evaluations stand behind the score of a parent that has been evaluated `made` times.

    The first one let it win and flatters it, so each time it is chosen a fresh one is added:
    `strict` and `confirm` pool up to three, `paper` compares the newest alone.
    """
    return made + 1 if rule == "paper" else max(made, min(made + 1, POOLED))


def more_documents(
    rule: Rule, parent: PassCount, mutant: PassCount, documents: int, at_least: int = 1
) -> int:
    """How many more documents to try before looking again; 0 when the decision is settled.

    The smallest number of failures that would rule a win out, so that no try is wasted, or
    `at_least` (so that endpoints have work), while that many are left. A winner is tried on all.
    """
    left = documents - mutant.tried
    if left <= 0 or not parent.covered:
        return 0
    if rule == "paper":
        return left
    hopeful = documents - mutant.failed
    if Fraction(hopeful, documents) <= parent.score:
        return 0
    spare = hopeful - math.floor(parent.score * documents)
    return min(max(spare, at_least), left)


def decide(parent: PassCount, mutant: PassCount, documents: int) -> EditDecision:
    """What becomes of a mutant that was tried on some or all of the documents.

    Rejected when it cannot beat the parent strictly even if every document without an outcome were
    accepted; else indecisive when too many are missing on either side.
    """
    hopeful = documents - mutant.failed
    if parent.covered and Fraction(hopeful, documents) <= parent.score:
        return "rejected"
    if not (parent.covered and mutant.covered):
        return "indecisive"
    return "kept" if mutant.score > parent.score else "rejected"
