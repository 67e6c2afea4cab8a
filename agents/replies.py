"""What each role replies, as schemas: the shapes sent to endpoints and the shapes checked here.

Types are strict: the string "false" is not a boolean, 7.0 is not a weight, NaN is no number. A
reply that does not fit is malformed; it is re-asked with the error and never guessed at.

Schemas bound what may be long, so that a model that is held to them cannot go round in circles. A
reply beyond such a bound is no worse for it: only the schema states them.
"""

from functools import cache
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


def _at_most(characters: int) -> Any:
    return Field(json_schema_extra={"maxLength": characters})


def _few(items: int) -> Any:
    """An optional list of so many items, at the most."""
    return Field(default_factory=list, json_schema_extra={"maxItems": items})


Words = Annotated[str, _at_most(80)]  # a name, a kind, a few words
Sentence = Annotated[str, _at_most(400)]  # or two


class Reply(BaseModel):
    """Base of every structured reply: strict types; surplus keys are ignored."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)


class CriterionReply(Reply):
    """One rubric line as the challenger writes it."""

    criterion: Sentence
    weight: int = Field(json_schema_extra={"minimum": -10, "maximum": 10})
    category: Words = ""
    capability: Words = ""


class ProblemReply(Reply):
    """The challenger's example where the task makes the criteria."""

    question_type: Words
    skills: list[Words] = _few(8)
    context: str = Field(min_length=1)
    question: str = Field(min_length=1)
    reference_answer: str = Field(min_length=1)


# What the first version told models of a candidate. The keys of recorded calls follow from it.
_CANDIDATE = "The challenger's example. Science leaves the rubric empty: its answers are compared."


class CandidateReply(ProblemReply):
    """The challenger's example with the rubric that it is scored by."""

    model_config = ConfigDict(json_schema_extra={"description": _CANDIDATE})

    rubric: list[CriterionReply] = _few(40)


class ReasoningReply(Reply):
    """The writer's reasoning, which comes before all else: a model that is held to a schema writes
    its fields in their order."""

    reasoning: str = Field(min_length=1)


class ReasonedProblemReply(ProblemReply, ReasoningReply):
    """As ProblemReply, after reasoning."""


class ReasonedCandidateReply(CandidateReply, ReasoningReply):
    """As CandidateReply, after reasoning."""


class VerdictReply(Reply):
    """The quality verifier's findings; the verdict stands only if the findings bear it out."""

    answer_from_context: str
    leak: bool
    question: Literal["good", "too_easy", "recall"]
    single_focus: bool
    grounded: bool
    rubric_specific: bool
    type_consistent: bool
    problems: list[Sentence] = _few(8)
    fixes: list[Sentence] = _few(8)
    verdict: Literal["PASS", "FAIL"]


class MarkReply(Reply):
    """The judge's finding on criterion `number`, counted from 1."""

    number: int
    evidence: Sentence = ""
    met: bool


class MarksReply(Reply):
    """The judge's findings on one answer: every criterion exactly once, no total."""

    marks: list[MarkReply]


@cache
def marks_reply(criteria: int) -> type[MarksReply]:
    """MarksReply for a rubric of this many criteria, 1 … 40: each is marked exactly once."""
    all_of_them: dict[str, Any] = {"minItems": criteria, "maxItems": criteria}

    class CompleteMarksReply(MarksReply):
        marks: list[MarkReply] = Field(json_schema_extra=all_of_them)

        @model_validator(mode="after")
        def every_criterion_once(self) -> Self:
            given = sorted(m.number for m in self.marks)
            if given != list(range(1, criteria + 1)):
                raise ValueError(f"number every criterion 1 … {criteria} exactly once, not {given}")
            return self

    CompleteMarksReply.__name__ = "MarksReply"
    return CompleteMarksReply


class CaseFileReply(Reply):
    """The extractor's finding: is there a transferable principle, and in what case?"""

    suitable: bool
    reason: str
    principle: str = ""
    facts: list[str] = _few(40)
    issues: list[str] = _few(20)
    holdings: list[str] = _few(20)


class JudgementReply(Reply):
    """The loop judge's reading of all attempts of one round."""

    weak_pattern: str
    strong_pattern: str
    gap_interpretation: str
    rubric_concerns: list[Sentence] = _few(8)
    grpo_suitability: Literal["high", "medium", "low"]
    verdict: Literal["accept", "improve"]
    verdict_reason: str
    suggestion_for_writer: str = ""


class InstructionReply(Reply):
    """The orchestrator's instruction for the next round."""

    instruction: str = Field(min_length=1)
