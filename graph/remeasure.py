"""Fresh attempts at accepted examples: as many as are asked for, which no gate has seen."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from autodata.graph.context import RunContext
from autodata.graph.nodes import all_done, attempt
from autodata.graph.state import RunChoices, State, TaskName, judgements, measuring, policy_of
from autodata.ledger.measurements import fresh_attempts, last_numbers, record_measurement
from autodata.models.errors import CallRefused
from autodata.tasks.measured import Measurement, measurement
from autodata.tasks.types import Attempt, Side

BOTH: tuple[Side, ...] = ("weak", "strong")


@dataclass
class Remeasurement:
    """Which examples of a run are to have `attempts` fresh ones on each side, and how it stands.

    `waiting` are pairs of example and document that lack some. With `confirms` the run's own models
    are asked. `refused` holds examples that an endpoint would not answer for, with the reason.
    """

    run_id: str
    measured_run: str
    task: TaskName
    choices: RunChoices
    waiting: Sequence[tuple[str, str]]
    attempts: int
    in_flight: int
    confirms: bool
    refused: dict[str, str] = field(default_factory=dict)
    done: int = 0
    stop: asyncio.Event = field(default_factory=asyncio.Event)


async def remeasure(
    context: RunContext,
    plan: Remeasurement,
    on_example: Callable[[str, Measurement], None] = lambda example_id, found: None,
) -> None:
    """Measures every waiting example, and stores each when its attempts are complete.

    Returns when all are measured or, `stop` being set, those under way are. Raises Paused when an
    endpoint is down or a budget is reached: what is under way is finished and recorded first. A
    tight budget is spent on few examples at a time, so that it ends with whole ones.
    """
    waiting = list(reversed(plan.waiting))
    under_way: set[asyncio.Task[None]] = set()
    failed: list[BaseException] = []
    try:
        while True:
            while waiting and not plan.stop.is_set() and _room(context, plan, len(under_way)):
                work = _measure(context, plan, *waiting.pop(), on_example)
                under_way.add(asyncio.create_task(work))
            if not under_way:
                break
            done, under_way = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
            failed += [error for task in done if (error := task.exception())]
            if failed:
                plan.stop.set()
    finally:
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
    if failed:
        raise failed[0]


def _room(context: RunContext, plan: Remeasurement, under_way: int) -> bool:
    """Whether the budget carries one more example besides those under way."""
    if not under_way:
        return True
    each = 1 + judgements(plan.choices)  # answered, and marked where no comparison settles it
    calls = each * len(BOTH) * plan.attempts * (under_way + 1)
    return under_way < plan.in_flight and context.models.budget_tracker.carries(calls) >= 1


async def _measure(
    context: RunContext,
    plan: Remeasurement,
    example_id: str,
    document_id: str,
    on_example: Callable[[str, Measurement], None],
) -> None:
    """One example: the attempts that it lacks, then what all fresh ones come to."""
    scope = f"{document_id}/fresh"  # no call of the gate answers for another here
    state, made, lacking = await asyncio.to_thread(_lacking, context, plan, example_id, document_id)
    work = [attempt(context, state, side, number, scope=scope) for side, number in lacking]
    try:
        new = await all_done(work)
    except CallRefused as refusal:
        plan.refused[example_id] = str(refusal)
        return
    finally:
        context.put_down(document_id)
        context.models.forget(scope)
    fresh = (*made, *new)
    found = measurement(measuring(state).bounds, fresh)
    await asyncio.to_thread(
        record_measurement,
        context.ledger,
        plan.run_id,
        example_id,
        fresh,
        found,
        confirms=plan.confirms,
    )
    plan.done += 1
    on_example(example_id, found)


def _lacking(
    context: RunContext, plan: Remeasurement, example_id: str, document_id: str
) -> tuple[State, tuple[Attempt, ...], list[tuple[Side, int]]]:
    """An accepted round as a state, its fresh attempts, and the numbers of those that it lacks.

    They begin where no gate can have been: after the last that may be planned, and the last on
    record of the document. Blocks on SQLite.
    """
    rounds = context.ledger.rounds(plan.measured_run, document_id)
    state = State(
        task=plan.task,
        document_id=document_id,
        choices=plan.choices,
        number=rounds[-1].number,
        candidate=rounds[-1].candidate,
        rounds=list(rounds),
    )
    made = fresh_attempts(context.ledger, plan.run_id, example_id)
    seen, policy = last_numbers(context.ledger, document_id), policy_of(state)
    planned: dict[Side, int] = {"weak": policy.weak_planned, "strong": policy.strong_planned}
    lacking = []
    for side in BOTH:
        numbers = [a.number for a in made if a.solver == side]
        last = max([planned[side], seen[side], *numbers])
        wanted = plan.attempts - len(numbers)
        lacking += [(side, last + n) for n in range(1, wanted + 1)]
    return state, made, lacking
