"""How often each objection came up: what an edit is meant to change, in figures."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal, get_args

from pydantic import Field

from autodata.tasks.types import Code, Document, Frozen, Round

Effect = Literal["rises", "falls"]
Outcome = Literal["came true", "did not", "cannot be told"]

CODES: tuple[Code, ...] = get_args(Code)


class Trajectory(Frozen):
    """One document's way through the loop under one set of prompts."""

    document: Document
    rounds: tuple[Round, ...]

    @property
    def decision(self) -> str:
        """What became of the document."""
        return self.rounds[-1].decision or "undecided"


class Prediction(Frozen):
    """What an edit is meant to change: the rate of an objection, or of accepted documents."""

    what: Code | Literal["ACCEPTED"] = Field(
        description="an objection code from the index, or ACCEPTED for the pass rate"
    )
    effect: Effect = Field(description="whether it rises or falls")

    def __str__(self) -> str:
        return f"{self.what} {self.effect}"


def counts(trajectories: Sequence[Sequence[Round]]) -> dict[str, int]:
    """Rounds in which each objection came up, the most frequent first."""
    seen = Counter(
        code
        for rounds in trajectories
        for round in rounds
        for code in {objection.code for objection in round.objections}
    )
    return {code: seen[code] for code in sorted(seen, key=lambda c: (-seen[c], CODES.index(c)))}


def rates(trajectories: Sequence[Sequence[Round]]) -> dict[str, float]:
    """Objections by code and accepted documents (`ACCEPTED`), each per document; ≥ 0."""
    if not trajectories:
        return {}
    accepted = sum(rounds[-1].decision == "accepted" for rounds in trajectories)
    found = {**counts(trajectories), "ACCEPTED": accepted}
    return {name: round(n / len(trajectories), 4) for name, n in found.items()}


def moved(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """By how much each rate changed, the largest change first; unchanged ones are left out."""
    change = {n: round(after.get(n, 0.0) - before.get(n, 0.0), 4) for n in {*before, *after}}
    return {n: change[n] for n in sorted(change, key=lambda n: (-abs(change[n]), n)) if change[n]}


def outcome(
    predicted: Prediction, before: Mapping[str, float], after: Mapping[str, float]
) -> Outcome:
    """Whether what was predicted happened, measured on the same documents before and after."""
    if not before or not after:
        return "cannot be told"
    change = after.get(predicted.what, 0.0) - before.get(predicted.what, 0.0)
    came_true = change > 0 if predicted.effect == "rises" else change < 0
    return "came true" if came_true else "did not"
