"""Rounds for tables: only the numbers that matter are written down."""

from collections.abc import Sequence

from autodata.tasks.types import Attempt, Candidate, Criterion, Judgement, Round, Side

CANDIDATE = Candidate(
    context="A replicated log with five servers; one partition has healed a moment ago.",
    question="Which entries survive the next election, and why?",
    reference_answer="Those of the last term that a majority stored.",
    rubric=(Criterion(criterion="Names the majority rule", weight=5),),
    question_type="prediction",
)


def attempts(solver: Side, scored: Sequence[float | None]) -> tuple[Attempt, ...]:
    """One attempt per score; None is an attempt whose marks stayed malformed."""
    return tuple(
        Attempt(solver=solver, number=i, answer="…", score=s, note="" if s is not None else "NaN")
        for i, s in enumerate(scored, 1)
    )


def played(
    weak: Sequence[float | None] = (), strong: Sequence[float | None] = (), number: int = 1
) -> Round:
    """A round with these scores."""
    return Round(
        number=number,
        candidate=CANDIDATE,
        weak=attempts("weak", weak),
        strong=attempts("strong", strong),
    )


def judgement(verdict: str, suitability: str, suggestion: str = "") -> Judgement:
    """A loop judge's finding with the fields that decide."""
    return Judgement.model_validate(
        {
            "weak_pattern": "attempts 2 and 4 miss the notice requirement",
            "strong_pattern": "all name it",
            "gap_interpretation": "skill, not luck",
            "grpo_suitability": suitability,
            "verdict": verdict,
            "verdict_reason": "the weak side varies",
            "suggestion_for_writer": suggestion,
        }
    )
