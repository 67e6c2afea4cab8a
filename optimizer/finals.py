"""When the iterations are over: who really won, and what it is worth on documents nobody saw.

A score that was picked as the best of many flatters (paper, section 4), so the best harnesses and
the start are evaluated again, equally often, and a winner is scored on the sealed test documents,
beside the start. A run that goes on has its final again, if there are others to compare.
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
from autodata.ledger.iterations import Final, Iteration, finals, record_finals
from autodata.ledger.summary import would_show
from autodata.models.errors import CallRefused
from autodata.optimizer.acceptance import (
    EvaluationOutcome,
    FinalVerdict,
    Harness,
    PassCount,
    chance,
    placed,
    verdict,
)
from autodata.optimizer.evidence import Trajectory
from autodata.optimizer.population import OptimizationContext, counts, members
from autodata.optimizer.state import same_text
from autodata.prompt_store.prompt import PromptSet, locked
from autodata.tasks import TASKS
from autodata.tasks.measurement import MIN_PAIRS, Pairs, in_percent
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


BEST = 5  # harnesses evaluated again, beside the start
EVALUATIONS = 5  # of each, on all validation documents
FRESH = 1001  # number of the first one: no evaluation that chose a harness counts again


async def settle(context: OptimizationContext) -> None:
    """The final evaluation, recorded and noted on the commits. Raises Paused.

    Nothing is done twice: a run is over whose final on record compared these very harnesses.
    """
    recorded = await asyncio.to_thread(context.iterations)
    numbers = candidates(await asyncio.to_thread(context.population.harnesses, recorded))
    before = await asyncio.to_thread(finals, context.ledger, context.run_id)
    if {f.number for f in before} != set(numbers):
        await _settle(context, {i.number: i for i in members(recorded)}, numbers, before)
    await asyncio.to_thread(context.population.point, context.population.champion())


def candidates(population: Sequence[Harness]) -> list[int]:
    """The numbers of the harnesses that a final compares: the start, and the best of all."""
    best = sorted(population, key=lambda h: (-h.score, h.number))[:BEST]
    return sorted({0, *(h.number for h in best)})


async def _settle(
    context: OptimizationContext,
    by_number: dict[int, Iteration],
    numbers: Sequence[int],
    before: Sequence[Final],
) -> None:
    """All candidates again; a winner and the start on the test documents. `before` is the final
    that was held earlier."""
    scored = {n: await _pooled(context, by_number[n]) for n in numbers}
    order = placed(scored)
    if winner := order[0]:
        order = [n for n in order if n] + [0]
    found = {
        number: Final(
            number=number,
            place=place if number or not winner else 0,
            evaluations=EVALUATIONS,
            accepted=scored[number].accepted,
            decided=scored[number].accepted + scored[number].failed,
            confirmed=scored[number].confirmed,
        )
        for place, number in enumerate(order, 1)
    }
    if winner and context.plan.test:
        start, best = await _tested(context, by_number[0], by_number[winner], before)
        found[0] = found[0].model_copy(update=start)
        found[winner] = found[winner].model_copy(update=best)
    await asyncio.to_thread(_record, context, list(found.values()), by_number)


async def _pooled(context: OptimizationContext, iteration: Iteration) -> PassCount:
    """Fresh evaluations of one harness on the validation documents, counted together."""
    prompts = await asyncio.to_thread(context.population.prompts, iteration.revision)
    count = PassCount()
    for replicate in range(FRESH, FRESH + EVALUATIONS):
        count += await context.evaluator.count(prompts, context.validation_order(), replicate)
    return count


async def _tested(
    context: OptimizationContext, start: Iteration, winner: Iteration, before: Sequence[Final]
) -> tuple[dict[str, int], dict[str, int | str]]:
    """What the rows of start and winner say about the sealed test documents, each of which counts
    or does not.

    Their use is noted in the prompt store first, so that no later run takes them for unseen.
    """
    ends, seen = (start, winner), await asyncio.to_thread(seen_by, context)
    seen += _seen_here(before, winner.number)
    await asyncio.to_thread(_note_use, context, start.revision)
    test = context.plan.test
    prompts = [await asyncio.to_thread(context.population.prompts, i.revision) for i in ends]
    one, other = await context.evaluator.compared(prompts[0], prompts[1], test, 1)
    pairs = paired([(one[d], other[d]) for d in test])
    return (
        {"test_accepted": pairs.both + pairs.lost, "test_decided": pairs.documents},
        {
            "test_accepted": pairs.both + pairs.gained,
            "test_decided": pairs.documents,
            "test_gained": pairs.gained,
            "test_lost": pairs.lost,
            "test_seen": ", ".join(dict.fromkeys(seen)),
        },
    )


def paired(outcomes: Sequence[tuple[EvaluationOutcome, EvaluationOutcome]]) -> Pairs:
    """Documents with an outcome before and after, by what became of each: accepted if it counts."""
    return Pairs(
        both=outcomes.count(("accepted", "accepted")),
        lost=outcomes.count(("accepted", "failed")),
        gained=outcomes.count(("failed", "accepted")),
        neither=outcomes.count(("failed", "failed")),
    )


def seen_by(context: OptimizationContext) -> list[str]:
    """The other runs that scored a winner on some of the test documents, each with how many, as the
    prompt store knows. Blocks on git and SQLite."""
    used, mine = context.population.store.tested(), _test_texts(context)
    counts = {run: len(texts & mine) for run, texts in used.items() if run != context.run_id}
    return [f"{run} ({n} of {len(mine)})" for run, n in sorted(counts.items()) if n]


def _seen_here(before: Sequence[Final], winner: int) -> list[str]:
    """What earlier finals of this run saw, if they had another winner."""
    earlier = next((f for f in before if f.place == 1 and f.test_decided), None)
    if earlier is None:
        return []
    again = [] if earlier.number == winner else ["an earlier final of this run"]
    return [*(name for name in earlier.test_seen.split(", ") if name), *again]


def _test_texts(context: OptimizationContext) -> set[str]:
    return {same_text(context.ledger.document(d).text) for d in context.plan.test}


def _note_use(context: OptimizationContext, revision: str) -> None:
    context.population.store.note_tested(revision, context.run_id, _test_texts(context))


def _record(
    context: OptimizationContext, found: list[Final], by_number: dict[int, Iteration]
) -> None:
    """Notes on the commits, each once, then the rows, which say that it is done."""
    notes = {commit.sha: commit.note for commit in context.population.store.history()}
    for final in found:
        revision, text = by_number[final.number].revision, note(context.run_id, final)
        if text not in notes[revision]:
            context.population.store.note(revision, text)
    record_finals(context.ledger, context.run_id, found)


def note(run: str, final: Final) -> str:
    """What a commit's note says about its final evaluation."""
    place = f"place {final.place}" if final.number else "the start"
    won = ", which no edit beat: nothing to adopt" if not final.number and final.place else ""
    text = (
        f"{run}, {place}{won}: {validated(final)} "
        f"over {final.evaluations} evaluations on the validation documents."
    )
    if final.test_decided:
        once = f"seen before by {final.test_seen}" if final.test_seen else "once"
        confirmed = "" if final.confirmed is None else ", confirmed documents"
        text += f"\nSealed test, {once}{confirmed}: {tested(final)}."
    return text


def validated(final: Final) -> str:
    """What a final came to on the validation documents, over all its evaluations."""
    count = PassCount(
        accepted=final.accepted, failed=final.decided - final.accepted, confirmed=final.confirmed
    )
    return counts(count, round(final.decided / max(final.evaluations, 1)))


def tested(final: Final) -> str:
    """What it came to on the sealed test documents."""
    accepted, decided = final.test_accepted or 0, final.test_decided or 0
    return counts(PassCount(accepted=accepted, failed=decided - accepted), decided)


def score_of(i: Iteration, documents: int) -> str:
    """`52 % (33–70)`: the score of an iteration with its interval for so many documents."""
    return _rate(i.score, i.pass_count, documents)


def parent_score_of(i: Iteration, documents: int) -> str:
    """The same of its parent, which was evaluated several times on the same documents."""
    return _rate(i.parent_score, i.parent_pass_count, documents)


def _rate(score: float | None, count: Mapping[str, int | float], documents: int) -> str:
    if score is None:
        return ""
    interval = PassCount.model_validate(count).interval(documents)
    return f"{100 * score:.0f} %{f' ({in_percent(interval)})' if interval else ''}"


def findings(made: Sequence[Iteration], final: Sequence[Final]) -> list[str]:
    """What an optimization came to, in sentences; the last one is the verdict, if there is one."""
    tried = [i for i in made if i.decision != "start"]
    counted = ", ".join(
        f"{n} {decision}"
        for decision in ("kept", "rejected", "invalid", "indecisive")
        if (n := sum(i.decision == decision for i in tried))
    )
    number = f"{len(tried)} iteration{'' if len(tried) == 1 else 's'}"
    lines = [f"{number}: {counted or 'none yet'}"]
    start = next((f for f in final if f.number == 0), None)
    winner = next((f for f in final if f.place == 1), None)
    if start is None or winner is None:
        return lines
    lines.append(f"validation, {winner.evaluations} times: start {validated(start)}")
    if winner.number:
        lines.append(
            f"validation, {winner.evaluations} times: winner {validated(winner)}, "
            f"iteration {winner.number}"
        )
    if winner.number and winner.test_decided and start.test_decided:
        confirmed = "" if winner.confirmed is None else ", confirmed documents"
        lines += [
            f"sealed test, once{confirmed}: {name} {tested(final)}"
            for name, final in (("start", start), ("winner", winner))
        ]
        if winner.test_seen:
            lines.append(
                f"These test documents were used before, by {winner.test_seen}: whoever saw that "
                "may have chosen by it, and what they say now flatters."
            )
    return [*lines, sentence(verdict(final))]


def sentence(said: FinalVerdict) -> str:
    """A verdict in words, the same wherever it is shown."""
    shown = f"{said.validation_gain:+.1%}"
    if said.finding == "no winner":
        return "No edit beat the prompts that the run started from, so there is nothing to adopt."
    if said.finding == "untested":
        return (
            f"No test documents were given, so nothing says whether the validation gain of {shown} "
            "is real."
        )
    if said.finding == "too few":
        one = said.documents == 1
        tried = f"{said.documents} test document{' is' if one else 's are'}"
        return (
            f"No verdict: {tried} too few to say whether the validation gain of {shown} is real; "
            f"it takes {MIN_PAIRS}, and about 100 to see a gain of 20 points; "
            f"{would_show(said.before, said.documents)}."
        )
    words = f"{said.gain:+.1%} on the sealed test ({evidence(said)})"
    if said.finding == "better":
        return f"The gain is real: {words}; the validation documents showed {shown}."
    if said.finding == "worse":
        return (
            f"The winner is worse than the start: {words}, where the validation documents showed "
            f"{shown}. It is not offered."
        )
    return (
        f"The validation gain of {shown} is not shown to be real: {words} is within noise, and "
        f"{would_show(said.before, said.documents)}."
    )


def evidence(said: FinalVerdict) -> str:
    """The figures behind a verdict: interval, and the exact test where documents were paired."""
    low, high = said.interval
    figures = f"{said.documents} documents, 95 % interval {low:+.1%} to {high:+.1%}"
    if said.chance is None:
        return figures
    chance = "p < 0.001" if said.chance < 0.001 else f"p = {said.chance:.3f}"
    return f"{figures}, exact paired test {chance}"
