"""What a winner has to pass before it joins the population: is the ruler still the same?

A fixed set of control questions is put to the weak solver again, and a second judge marks a sample
of answers. No edit may reach either; if they move, the score says nothing about the edit.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import sqrt
from statistics import fmean, stdev
from typing import Any

from autodata.agents.judge import judge, marked, score
from autodata.agents.solver import solve
from autodata.graph.state import judgements
from autodata.models.errors import CallRefused
from autodata.optimizer.acceptance import chance
from autodata.optimizer.evidence import Trajectory
from autodata.optimizer.population import OptimizationContext
from autodata.prompt_store.prompt import PromptSet, locked
from autodata.tasks import TASKS
from autodata.tasks.types import Attempt, Candidate, Document

CONTROLS = 12  # questions, one answer each
FEWEST = 6  # questions on which a difference is called one
TOLERANCE = 0.2  # by which the mean weak score may move, and by three standard errors
SAMPLE = 6  # answers that a second judge marks


@dataclass(frozen=True)
class Checked:
    """What was found; `problem` is why the winner may not stand, or nothing."""

    figures: Mapping[str, Any] = field(default_factory=dict)
    problem: str = ""


async def control_questions(context: OptimizationContext, start: PromptSet) -> dict[str, Any]:
    """The questions by which later winners are checked, and how the weak solver did on them.

    The first questions of the start's evaluation that the weak solver was asked at all.
    """
    asked = _asked(await context.evaluator.trajectories(start, context.validation_order(), 1))
    control = [[document.id, number, weak[0].score] for document, number, weak in asked]
    return {"control": [question for question in control if question[2] is not None]}


async def winner(context: OptimizationContext, number: int, mutant: PromptSet) -> Checked:
    """The checks of one winning mutant, made by iteration `number`."""
    found = await context.evaluator.trajectories(mutant, context.validation_order(), 1)
    name = context.evaluator.name(mutant, 1)
    start = (await asyncio.to_thread(context.iterations))[0]
    control = start.checks.get("control", ())
    changes = [c for c in [await _change(context, number, *q) for q in control] if c is not None]
    doubted = [d for evaluation, d in context.evaluator.doubted if evaluation == name]
    figures = {
        "control_change": round(fmean(changes), 4) if changes else None,
        "second_judge": await _second_judge(context, number, found),
        "doubted": len(doubted),
    }
    if drifted(changes):
        return Checked(
            figures,
            f"the weak solver's score on {len(changes)} control questions moved by "
            f"{fmean(changes):+.2f}: the ruler has changed, not the prompts",
        )
    return Checked(figures)


def drifted(changes: Sequence[float]) -> bool:
    """Whether control questions moved (−1 … 1 each) by more than their own noise explains."""
    if len(changes) < FEWEST:
        return False
    noise = stdev(changes) / sqrt(len(changes))
    return abs(fmean(changes)) > max(TOLERANCE, 3 * noise)


async def _change(
    context: OptimizationContext, number: int, document_id: str, round_number: int, before: float
) -> float | None:
    """By how much the weak solver's score on one control question moved, asked afresh; None when
    it got no score."""
    models = context.evaluator.models.apart(f"iteration-{number}/control", number + 1)
    start = (await asyncio.to_thread(context.iterations))[0]
    rounds = await asyncio.to_thread(context.ledger.rounds, start.evaluation(), document_id)
    candidate = next(r.candidate for r in rounds if r.number == round_number)
    assert candidate is not None
    solver = locked(context.task, "solver")
    try:
        said = await solve(models, solver, candidate, "weak", 1, scope=document_id)
        attempt = await score(
            models,
            TASKS[context.task],
            candidate,
            said,
            "weak",
            1,
            scope=document_id,
            comparisons=context.evaluator.comparisons,
            repeats=judgements(context.evaluator.choices),
        )
    except CallRefused:
        return None
    return None if attempt.score is None else attempt.score - before


async def _second_judge(
    context: OptimizationContext, number: int, found: Sequence[Trajectory]
) -> dict[str, int]:
    """Marks on a sample of accepted answers, and how many of them a second judge gives otherwise.

    The second judge is the final verifier's model, under the judge's own locked prompt.
    """
    answers = [
        (t.document.id, t.rounds[-1].candidate, attempt)
        for t in found
        if t.decision == "accepted" and TASKS[context.task].has_rubric
        for attempt in (*t.rounds[-1].weak, *t.rounds[-1].strong)
    ]
    drawn = chance(context.plan.seed, number, "audit").sample(answers, min(SAMPLE, len(answers)))
    marks = differing = 0
    for document_id, candidate, attempt in drawn:
        assert candidate is not None
        given = await _marked(context, number, document_id, candidate, attempt)
        if given is not None:
            marks += len(given)
            differing += sum(a.met != b for a, b in zip(attempt.marks, given, strict=True))
    return {"marks": marks, "differing": differing}


async def _marked(
    context: OptimizationContext,
    number: int,
    document_id: str,
    candidate: Candidate,
    attempt: Attempt,
) -> list[bool] | None:
    """The second judge's marks in rubric order; None when there are none that can be used."""
    try:
        reply = await judge(
            context.evaluator.models.apart(f"iteration-{number}/audit", number + 1),
            locked(context.task, "judge"),
            candidate,
            attempt.answer,
            scope=document_id,
            sample=attempt.number,
            role="final_verifier",
        )
    except CallRefused:
        return None
    if reply.value is None:
        return None
    return [mark.met for mark in marked(candidate, reply.value)]


def _asked(
    found: Sequence[Trajectory],
) -> list[tuple[Document, int, tuple[Attempt, ...]]]:
    """One question of each document that reached the weak solver, as many as are needed."""
    reached = [
        next(((t.document, r.number, r.weak) for r in t.rounds if r.weak), None) for t in found
    ]
    return [asked for asked in reached if asked][:CONTROLS]
