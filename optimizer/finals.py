"""When the iterations are over: who really won, and what it is worth on documents nobody saw.

A score that was picked as the best of many flatters (paper, section 4), so the best harnesses are
evaluated again, and the winner is scored once on the sealed test documents, beside the start.
"""

import asyncio

from autodata.ledger.iterations import Final, Iteration, finals, record_finals
from autodata.optimizer.acceptance import PassCount
from autodata.optimizer.context import OptimizationContext
from autodata.optimizer.population import members
from autodata.prompt_store.prompt import PromptSet

BEST = 5  # harnesses evaluated again
EVALUATIONS = 5  # of each, on all validation documents
FRESH = 1001  # number of the first one: no evaluation that chose a harness counts again


async def settle(context: OptimizationContext) -> None:
    """The final evaluation, recorded and noted on the commits. Raises Paused.

    Nothing is done twice: a run whose final evaluation is on record is over.
    """
    if not await asyncio.to_thread(finals, context.ledger, context.run_id):
        await _settle(context)
    await asyncio.to_thread(context.population.point, context.population.champion())


async def _settle(context: OptimizationContext) -> None:
    """The best harnesses again, the winner and the start on the test documents."""
    recorded = await asyncio.to_thread(context.iterations)
    population = await asyncio.to_thread(context.population.harnesses, recorded)
    by_number = {i.number: i for i in members(recorded)}
    ranked = sorted(population, key=lambda h: (-h.score, h.number))[:BEST]
    numbers = dict.fromkeys([*(h.number for h in ranked), 0])
    scored = {n: await _pooled(context, by_number[n]) for n in numbers}
    order = sorted((h.number for h in ranked), key=lambda n: (-scored[n].score, n))
    found = [
        await _final(context, by_number[number], place, scored[number])
        for place, number in enumerate(order, 1)
    ]
    if order[0] != 0:
        found = [f for f in found if f.number != 0]
        found.append(await _final(context, by_number[0], 0, scored[0]))
    await asyncio.to_thread(_record, context, found, by_number)


async def _pooled(context: OptimizationContext, iteration: Iteration) -> PassCount:
    """Fresh evaluations of one harness on the validation documents, counted together."""
    prompts, count = await _prompts(context, iteration), PassCount()
    for replicate in range(FRESH, FRESH + EVALUATIONS):
        outcomes = await context.evaluator.evaluate(prompts, context.validation_order(), replicate)
        count += PassCount.of(outcomes.values())
    return count


async def _final(
    context: OptimizationContext, iteration: Iteration, place: int, count: PassCount
) -> Final:
    """One line of the result; the winner and the start are scored on the test documents."""
    test = None
    if context.plan.test and place <= 1:
        prompts = await _prompts(context, iteration)
        test = PassCount.of(
            (await context.evaluator.evaluate(prompts, context.plan.test, 1)).values()
        )
    return Final(
        number=iteration.number,
        place=place,
        evaluations=EVALUATIONS,
        accepted=count.accepted,
        decided=count.accepted + count.failed,
        test_accepted=test.accepted if test else None,
        test_decided=test.accepted + test.failed if test else None,
    )


async def _prompts(context: OptimizationContext, iteration: Iteration) -> PromptSet:
    return await asyncio.to_thread(context.population.prompts, iteration.revision)


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
    share = final.accepted / final.decided if final.decided else 0.0
    place = f"place {final.place}" if final.place else "the start"
    text = (
        f"{run}, {place}: {share:.1%} ({final.accepted} of {final.decided}) "
        f"over {final.evaluations} evaluations on the validation documents."
    )
    if final.test_decided:
        test = (final.test_accepted or 0) / final.test_decided
        text += f"\nSealed test, once: {test:.1%} ({final.test_accepted} of {final.test_decided})."
    return text
