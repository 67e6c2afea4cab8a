"""The values that travel: document → candidate → verdict → attempts → decision.

Every value is frozen and compares by content; none of them knows a model, a clock or a database.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Side = Literal["weak", "strong"]
Decision = Literal["accepted", "revise", "rejected", "skipped"]
Code = Literal[
    "TOO_EASY",
    "STRONG_FAILED",
    "STRONG_SATURATED",
    "GAP_TOO_SMALL",
    "WEAK_ALL_ZERO",
    "QUALITY",
    "MALFORMED",
    "LEAK",
    "UNSUITABLE",
    "NOT_LEARNABLE",
    "NOT_CONFIRMED",
    "TRUNCATED",
    "FORMAT",
    "REVIEWED",
    "DUPLICATE",
]
FORMAT_NOTE = "format: "  # how the note of an attempt begins in which no answer could be read


def digest(*parts: object) -> str:
    """SHA-256 (hex, 64 characters) of the parts as canonical JSON; lone surrogates survive."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()


class Frozen(BaseModel):
    """Base of every value: immutable, and an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Document(Frozen):
    """One source text, identified by its content.

    `id` is the first 16 hex digits of the SHA-256 of the text; `meta` says where it came from.
    """

    id: str
    name: str
    text: str
    meta: Mapping[str, Any] = Field(default_factory=dict)

    @classmethod
    def of(cls, name: str, text: str, /, **meta: Any) -> "Document":
        """The document with this text; its id follows from the text alone."""
        return cls(id=digest(text)[:16], name=name, text=text, meta=meta)


class Criterion(Frozen):
    """One line of a rubric: a single proposition that an answer meets or does not meet.

    `weight` is a non-zero integer, −10 … +10; a negative criterion names an error and is met when
    the error was made.
    """

    criterion: str
    weight: int
    category: str = ""
    capability: str = ""


class Candidate(Frozen):
    """One question with everything needed to ask and to score it."""

    context: str
    question: str
    reference_answer: str
    rubric: tuple[Criterion, ...]
    question_type: str = ""
    skills: tuple[str, ...] = ()
    angle: str = ""

    @property
    def fingerprint(self) -> str:
        """Identity of the exact question, context, reference answer, criteria and weights.

        Verdicts are bound to it, so no weight can change after the verifier saw it.
        """
        return digest(
            self.context,
            self.question,
            self.reference_answer,
            [[c.criterion, c.weight] for c in self.rubric],
        )[:16]


class Mark(Frozen):
    """The judge's finding on one criterion of one answer, with a short quote as evidence.

    Where several judgements of the answer were read, `votes` holds what each of them found, in the
    order in which they were asked for, and `met` what more than half of them did.
    """

    criterion: str
    weight: int
    met: bool
    evidence: str = ""
    votes: tuple[bool, ...] = Field((), exclude_if=lambda votes: not votes)

    @property
    def said(self) -> str:
        """`met`, `not met`, or `2 of 3` where judgements differ."""
        if len(set(self.votes)) > 1:
            return f"{sum(self.votes)} of {len(self.votes)}"
        return "met" if self.met else "not met"


class Attempt(Frozen):
    """One solver's answer to one candidate.

    `score` is 0 … 1, recomputed by us from `marks`; None when the judge's marks stayed malformed.
    `number` counts from 1 within its side. A truncated answer scores 0, and so does one in which no
    final answer can be read; the `note` of that one begins with FORMAT_NOTE. The gate has not seen
    a `fresh` one.
    """

    solver: Side
    number: int
    answer: str
    score: float | None
    marks: tuple[Mark, ...] = ()
    truncated: bool = False
    call_id: int | None = None
    note: str = ""
    fresh: bool = False

    @property
    def format_error(self) -> bool:
        """True when it failed by its form: no final answer in it could be compared."""
        return self.score is not None and self.note.startswith(FORMAT_NOTE)

    @property
    def said(self) -> str:
        """The score in words: `0.41`, and what the answer lacks where it lacks something."""
        if self.score is None:
            return "not scored"
        lacks = " cut off" if self.truncated else " no answer" if self.format_error else ""
        return f"{self.score:.2f}{lacks}"


class Verdict(Frozen):
    """The quality verifier's finding on one exact candidate (`fingerprint`)."""

    passed: bool
    leak: bool = False
    problems: tuple[str, ...] = ()
    fixes: tuple[str, ...] = ()
    fingerprint: str


class Judgement(Frozen):
    """The loop judge's reading of a whole round: is the difficulty learnable?"""

    weak_pattern: str
    strong_pattern: str
    gap_interpretation: str
    rubric_concerns: tuple[str, ...] = ()
    grpo_suitability: Literal["high", "medium", "low"]
    verdict: Literal["accept", "improve"]
    verdict_reason: str
    suggestion_for_writer: str = ""


class Objection(Frozen):
    """A coded reason not to accept; `message` is written for the next challenger."""

    code: Code
    message: str


class Review(Frozen):
    """What a person said of one exact candidate (`fingerprint`): who, and when (ISO 8601, UTC).

    `edited` is the candidate to go on with in its place; `reason` is the next feedback.
    """

    decision: Literal["accept", "reject", "edit"]
    reason: str = ""
    edited: Candidate | None = Field(None, exclude_if=lambda candidate: candidate is None)
    by: str
    at: str
    fingerprint: str

    @property
    def said(self) -> str:
        """`accepted by Ann`, `sent back by Ann` or `edited by Ann`."""
        done = {"accept": "accepted", "reject": "sent back", "edit": "edited"}[self.decision]
        return f"{done} by {self.by}"


class Round(Frozen):
    """One turn of the loop, with everything that was found out about its candidate.

    `number` counts from 1; a document skipped before its first round is recorded as round 0.
    `fresh` are attempts of both sides that the gate has not seen and that confirm it or do not.
    """

    number: int
    instruction: str = ""
    candidate: Candidate | None = None
    verdict: Verdict | None = None
    weak: tuple[Attempt, ...] = ()
    strong: tuple[Attempt, ...] = ()
    judgement: Judgement | None = None
    fresh: tuple[Attempt, ...] = ()
    final_verdict: Verdict | None = None
    review: Review | None = Field(None, exclude_if=lambda review: review is None)
    objections: tuple[Objection, ...] = ()
    decision: Decision | None = None

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """All attempts on record: those that the gate saw, and the fresh ones."""
        return (*self.weak, *self.strong, *self.fresh)

    @property
    def scored(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """The scores that the gate saw, weak and strong, of the attempts that have one."""
        sides = (self.weak, self.strong)
        weak, strong = (tuple(a.score for a in side if a.score is not None) for side in sides)
        return weak, strong

    @property
    def sides(self) -> tuple[tuple[Side, tuple[Attempt, ...]], ...]:
        """The attempts that the gate saw, by side, of the sides that were asked."""
        return _asked(self.weak, self.strong)

    @property
    def fresh_sides(self) -> tuple[tuple[Side, tuple[Attempt, ...]], ...]:
        """The fresh attempts likewise."""
        weak, strong = (tuple(a for a in self.fresh if a.solver == s) for s in ("weak", "strong"))
        return _asked(weak, strong)


def _asked(
    weak: tuple[Attempt, ...], strong: tuple[Attempt, ...]
) -> tuple[tuple[Side, tuple[Attempt, ...]], ...]:
    sides: tuple[tuple[Side, tuple[Attempt, ...]], ...] = (("weak", weak), ("strong", strong))
    return tuple((side, made) for side, made in sides if made)
