"""Killed at any moment and started again, an optimization goes on as if nothing had happened."""

import asyncio
import random
import signal
from pathlib import Path
from typing import Any

from autodata.ledger.iterations import finals
from autodata.models.errors import BudgetReached
from autodata.optimizer.loop import optimize
from autodata.optimizer.population import OptimizationContext
from tests.optimizer.context import RUN, optimization_context
from tests.optimizer.killable import CHOICES, calls, started

KILLS = 10


def story(context: OptimizationContext) -> list[Any]:
    """Everything that must not depend on interruptions: iterations, trees, refs, finals."""
    refs = {sha: ref for ref, sha in context.population.store.refs("refs/autodata/").items()}
    champion = context.population.store.refs("refs/heads/autodata/")
    return [
        [
            (i.model_dump(exclude={"revision", "finished_at", "checks"}), refs[i.revision])
            for i in context.iterations()
        ],
        {ref: refs[sha] for ref, sha in champion.items()},
        [context.population.store.files(i.revision) for i in context.iterations()],
        finals(context.ledger, RUN),
    ]


def run_and_kill(folder: Path, after: int) -> bool:
    """Start, and kill -9 after so many more calls; False when it came to its end."""
    process = started(folder, after)
    process.join()
    return process.exitcode == -signal.SIGKILL


def test_killed_ten_times_it_ends_with_the_same_refs(tmp_path: Path) -> None:
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    with optimization_context(undisturbed, **CHOICES) as context:
        asyncio.run(optimize(context))
        expected, whole = story(context), calls(undisturbed)
    moments = random.Random(1)
    killed.mkdir()
    for _ in range(KILLS):
        assert run_and_kill(killed, moments.randint(1, whole // (KILLS + 2)))
    assert not run_and_kill(killed, 10 * whole)
    with optimization_context(killed, **CHOICES) as context:
        assert story(context) == expected
    assert calls(killed, "count(distinct scope || request_key)") == whole
    in_flight = KILLS * 2 * 4 * 3  # kills × lanes × documents × attempts at once
    assert calls(killed) <= whole + in_flight


async def test_a_budget_covers_everything_and_a_larger_one_goes_on(tmp_path: Path) -> None:
    for budget in (40, None):
        with optimization_context(
            tmp_path, **{**CHOICES, "parallel": 1, "iterations": 1}, calls=budget
        ) as b:
            try:
                await optimize(b)
            except BudgetReached:
                assert budget == calls(tmp_path) == b.evaluator.models.budget_tracker.spent.calls
    with optimization_context(tmp_path, **{**CHOICES, "parallel": 1, "iterations": 1}) as context:
        assert [i.number for i in context.iterations()] == [0, 1]
