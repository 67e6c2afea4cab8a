"""Many documents at once: depth first, as many in flight as the endpoints can use."""

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

from langchain_core.runnables import RunnableConfig

from autodata.agents.judge import mark_again
from autodata.graph.baseline import build_baseline, calls_of_baseline
from autodata.graph.build import Loop, build
from autodata.graph.context import RunContext, estimate_anew
from autodata.graph.nodes import all_done, attempt
from autodata.graph.state import (
    Baseline,
    Input,
    RunChoices,
    State,
    TaskName,
    judgements,
    measuring,
    planned,
    policy_of,
)
from autodata.ledger.measurements import (
    fresh_attempts,
    last_numbers,
    record_measurement,
)
from autodata.models.errors import CallRefused, Paused
from autodata.tasks import TASKS
from autodata.tasks.measured import Confirm, Measurement, accepts, marked_again, measurement
from autodata.tasks.types import Attempt, Decision, Round, Side

SPREAD = (0.5, 2.0)  # documents cost very differently: what a budget buys, as shares of the mean
FIRST_DOCUMENTS = 8  # documents that begin together where later ones learn from what they show
RECHECK = 0.1  # seconds between two looks at what is left of a budget

BOTH: tuple[Side, ...] = ("weak", "strong")
INTERRUPT = "__interrupt__"  # where LangGraph says that a graph has stopped to ask

COLLECT_AFTER = 50_000  # more objects made than freed, until the garbage collector looks at them


@dataclass
class Batch:
    """What is to be run, and where it stands; `decided` and `refused` grow while it runs.

    `refused` holds documents that an endpoint would not answer for, with the reason: they stay
    undecided, since infrastructure never rejects. Those `waiting` are put down undecided until a
    person has reviewed them. With a `baseline` they are run by it, and not by the loop.
    """

    task: TaskName
    choices: RunChoices
    document_ids: Sequence[str]
    in_flight: int
    target: int | None = None  # accepted documents, or such as wait, that are enough
    baseline: Baseline | None = None
    decided: dict[str, Decision] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    waiting: set[str] = field(default_factory=set)
    started: int = 0
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def accepted(self) -> int:
        """Documents that yielded an example so far."""
        return sum(d == "accepted" for d in self.decided.values())

    @property
    def promised(self) -> int:
        """Documents that yielded an example, or will where a person accepts what waits."""
        return self.accepted + len(self.waiting)

    @property
    def enough(self) -> bool:
        """True when the target is reached, or would be if all that waits were accepted."""
        return self.target is not None and self.promised >= self.target

    @property
    def unreviewed(self) -> bool:
        """True when documents wait whose acceptance is still wanted."""
        return bool(self.waiting) and (self.target is None or self.accepted < self.target)


async def run_documents(
    context: RunContext,
    batch: Batch,
    on_document: Callable[[str, Decision | None], None] = lambda document_id, decision: None,
) -> None:
    """Runs every document of the batch that has no decision yet and does not wait for a person.

    Returns when all are decided or wait, the target is reached, or `stop` was set and the documents
    in flight have ended. Raises Paused when an endpoint is down or a budget is reached: calls in
    flight are finished and recorded first. A bug raises as it is.
    """
    method = batch.baseline
    loop = build_baseline(method, lambda: context) if method else build(lambda: context)
    admission = await asyncio.to_thread(Admission, context, batch)  # it reads the log
    queue = iter(admission.queue())

    async def work() -> None:
        while True:
            await admission.wait()
            document_id = next(queue, None)
            if document_id is None or batch.stop.is_set() or batch.enough:
                return
            batch.started += 1
            try:
                async with admission.one_more(document_id):
                    ended = await _ended(loop, context, batch, document_id)
            except CallRefused as refusal:
                batch.refused[document_id] = str(refusal)
                context.put_down(document_id)
                continue
            except BaseException:
                batch.stop.set()
                raise
            decision = None if INTERRUPT in ended else ended["decision"]
            if decision is None:
                batch.waiting.add(document_id)
                context.put_down(document_id)
            else:
                batch.decided[document_id] = decision
            on_document(document_id, decision)

    with _rare_collections():
        try:
            await all_done([work() for _ in range(batch.in_flight)])
        except asyncio.CancelledError:
            await context.loose_ends(drop=True)
            raise
        except Paused:
            await context.loose_ends()
            await asyncio.to_thread(estimate_anew, context, batch.task, batch.choices)
            raise
        finally:
            await context.loose_ends()
        await asyncio.to_thread(estimate_anew, context, batch.task, batch.choices)


async def _ended(loop: Loop, context: RunContext, batch: Batch, document_id: str) -> dict[str, Any]:
    """How one document ended; whoever watches is told of it by its name."""
    given, name = Input(document_id=document_id, task=batch.task), ""
    config = RunnableConfig()
    if context.log.watcher:
        name = (await asyncio.to_thread(context.ledger.document, document_id)).name
        about = {"run": context.run_id, "document": name, "document_id": document_id}
        config = RunnableConfig(run_name=name, metadata=about, tags=[batch.task])
    with context.watched("document", name, document_id) as facts:
        ended: dict[str, Any] = await loop.ainvoke(
            given, config, context=batch.choices, output_keys=["decision"]
        )
        facts["decision"] = "review" if INTERRUPT in ended else ended["decision"]
    return ended


@dataclass(frozen=True)
class Outlook:
    """What a budget buys: from `low` to `high` of `documents` undecided ones.

    `calls` is what a document is expected to take; `known` says whether documents that are decided
    have taught it, or the task's own numbers.
    """

    low: int
    high: int
    documents: int
    calls: float
    known: bool

    @property
    def enough(self) -> bool:
        """True when all documents are expected to be decided."""
        return self.low >= self.documents


@dataclass
class Admission:
    """Who may begin under a budget or a target: a document that it can carry besides those begun.

    A budget is to end with finished documents. Twice the mean cost of a document is kept for each
    one in flight, so that few are left undecided when the money is gone; a tight budget is spent on
    one document at a time.
    """

    context: RunContext
    batch: Batch
    begun: int = 0
    _paid: Mapping[str, int] = field(init=False)  # calls per document that earlier sessions made
    _taken: list[int] = field(init=False)  # calls of each decided document

    def __post_init__(self) -> None:
        self._paid = self.context.log.answered(self.batch.document_ids)
        self._taken = [n for d, n in self._paid.items() if d in self.batch.decided]

    def queue(self) -> list[str]:
        """The documents to work on; those on which most was spent go first: they end first."""
        done = self.batch.decided.keys() | self.batch.waiting
        left = [d for d in self.batch.document_ids if d not in done]
        return sorted(left, key=lambda d: -self._paid.get(d, 0))

    def outlook(self) -> Outlook | None:
        """What is left of the budget buys; None without a budget, or while its price is unknown."""
        tracker, waiting = self.context.models.budget_tracker, self.queue()
        budget = tracker.budget
        if budget.calls is None and not (tracker.spent.calls and (budget.usd or budget.tokens)):
            return None
        calls = self.calls_per_document()
        paid = sum(self._paid.get(d, 0) for d in waiting)  # of documents that go on
        carries = tracker.carries(calls) + paid / calls
        if carries == float("inf"):
            return None
        low, high = (min(len(waiting), int(carries * share)) for share in SPREAD)
        return Outlook(low, max(high, 1), len(waiting), calls, known=bool(self._taken))

    async def wait(self) -> None:
        """Returns when another document may begin; at once without a budget, a target or a gate
        that learns."""
        while self.begun and not self.batch.stop.is_set() and not self.batch.enough:
            carries = self.context.models.budget_tracker.carries(self.calls_per_document())
            if carries >= 2 * (self.begun + 1) and self._still_wanted() and self._learned():
                return
            await asyncio.sleep(RECHECK)

    def _learned(self) -> bool:
        """A gate that learns from the run begins with few documents, and with as many more as have
        taught it: a document keeps the prior under which it was begun."""
        learns = self.batch.choices.preset == "measured"
        return not learns or self.begun < max(FIRST_DOCUMENTS, len(self.batch.decided))

    def _still_wanted(self) -> bool:
        """True unless those begun may reach the target: every second one does at the least."""
        target = self.batch.target
        return target is None or self.begun < 2 * (target - self.batch.promised)

    @asynccontextmanager
    async def one_more(self, document_id: str) -> AsyncIterator[None]:
        """Counts a document as begun and not ended; learns what it took if it is decided."""
        self.begun += 1
        try:
            yield
            taken = await asyncio.to_thread(self.context.log.answered, [document_id])
            self._taken += taken.values()
        finally:
            self.begun -= 1

    def calls_per_document(self) -> float:
        """What a document takes: the task's own guess, outweighed by what the decided ones took.

        Those in flight say nothing yet: counted with what they took so far, they would make all
        look cheap, and eight be begun on the money for three.
        """
        return (expected_calls(self.batch) + sum(self._taken)) / (1 + len(self._taken))


def expected_calls(batch: Batch) -> float:
    """Calls that a document of this task takes on average, before any was seen: half of its rounds,
    each with a candidate, a verdict, an instruction and every second attempt answered and judged,
    as often as the judge is asked.
    """
    task, choices = TASKS[batch.task], batch.choices
    attempts = (choices.weak_attempts or task.weak_attempts) + (
        choices.strong_attempts or task.strong_attempts
    )
    if batch.baseline:
        return calls_of_baseline(batch.baseline, batch.task, choices)
    if task.procedure:  # which asks nobody for a candidate, a verdict or marks
        return (choices.rounds or task.rounds) / 2 * attempts
    written = 2 + (choices.challengers or task.challengers)
    judged = attempts / 2 * (1 + judgements(choices))
    return (choices.rounds or task.rounds) / 2 * (written + judged)


@contextmanager
def _rare_collections() -> Iterator[None]:
    """Keeps the garbage collector from walking what many documents hold, again and again: as
    often as by default, that takes a seventh of the CPU time."""
    usual = gc.get_threshold()
    gc.set_threshold(COLLECT_AFTER, *usual[1:])
    try:
        yield
    finally:
        gc.set_threshold(*usual)


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
    each = 1 + judgements(plan.choices)  # answered, and marked where no comparison settles it
    calls = each * len(BOTH) * plan.attempts
    await work_on_each(
        plan.waiting,
        plan.stop,
        lambda under_way: _room(context, plan, under_way, calls),
        lambda example, document: _measure(context, plan, example, document, on_example),
    )


async def work_on_each(
    examples: Sequence[tuple[str, str]],
    stop: asyncio.Event,
    room: Callable[[int], bool],
    work_on: Callable[[str, str], Coroutine[Any, Any, None]],
) -> None:
    """Works on every example (its id and its document's) while there is room for one more besides
    those under way; nothing new is begun once `stop` is set."""
    waiting = list(reversed(examples))
    under_way: set[asyncio.Task[None]] = set()
    failed: list[BaseException] = []
    try:
        while True:
            while waiting and not stop.is_set() and room(len(under_way)):
                under_way.add(asyncio.create_task(work_on(*waiting.pop())))
            if not under_way:
                break
            done, under_way = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
            failed += [error for task in done if (error := task.exception())]
            if failed:
                stop.set()
    finally:
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
    if failed:
        raise failed[0]


def _room(
    context: RunContext, plan: "Remeasurement | AuditPlan", under_way: int, calls: int
) -> bool:
    """Whether the budget carries one more example, of so many calls, besides those under way."""
    if not under_way:
        return True
    carried = context.models.budget_tracker.carries(calls * (under_way + 1)) >= 1
    return under_way < plan.in_flight and carried


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


@dataclass
class Probing:
    """Which questions of a run, decided however they were, are attempted afresh by these sides.

    Each has `attempts` a side, and every answer is judged as often as the choices say. `done` are
    the attempts at each, by document and round; `refused` as for a batch.
    """

    task: TaskName
    choices: RunChoices
    questions: Sequence[tuple[str, Round]]
    attempts: int
    in_flight: int
    sides: tuple[Side, ...] = BOTH
    done: dict[tuple[str, int], tuple[Attempt, ...]] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    stop: asyncio.Event = field(default_factory=asyncio.Event)


PROBED_FROM = 1_000  # numbers of these attempts: no gate and no remeasurement comes so far


async def probe(
    context: RunContext, plan: Probing, on_question: Callable[[], None] = lambda: None
) -> None:
    """Has every question attempted. Answers are in the log: asked again, it pays for none of them.
    Raises Paused when an endpoint is down or a budget is reached, what is under way being finished
    first."""
    slots = asyncio.Semaphore(plan.in_flight)

    async def one(document_id: str, round: Round) -> None:
        async with slots:
            if plan.stop.is_set():
                return
            try:
                made = await _probed(context, plan, document_id, round)
            except CallRefused as refusal:
                plan.refused[document_id] = str(refusal)
                return
            except BaseException:
                plan.stop.set()
                raise
            plan.done[document_id, round.number] = made
            on_question()

    await all_done([one(*question) for question in plan.questions])


async def _probed(
    context: RunContext, plan: Probing, document_id: str, round: Round
) -> tuple[Attempt, ...]:
    state = State(
        task=plan.task,
        document_id=document_id,
        choices=plan.choices,
        number=round.number,
        candidate=round.candidate,
    )
    numbers = range(PROBED_FROM, PROBED_FROM + plan.attempts)
    scope = f"{document_id}/probe"  # no call of the gate answers for another here
    work = [attempt(context, state, side, n, scope=scope) for side in plan.sides for n in numbers]
    return tuple(await all_done(work))


@dataclass
class AuditPlan:
    """Which examples of a run a second judge is to mark, and how it stands.

    `waiting` are pairs of example and document that it has not marked; `refused` holds examples
    that an endpoint would not answer for, with the reason.
    """

    run_id: str
    audited_run: str
    task: TaskName
    choices: RunChoices
    waiting: Sequence[tuple[str, str]]
    in_flight: int
    refused: dict[str, str] = field(default_factory=dict)
    done: int = 0
    stop: asyncio.Event = field(default_factory=asyncio.Event)


async def audit(
    context: RunContext,
    plan: AuditPlan,
    on_example: Callable[[str], None] = lambda example_id: None,
) -> None:
    """Has the second judge mark the attempts that decided about each waiting example, and stores
    each example when all of them are marked. Returns and raises as `remeasure`."""
    choices = plan.choices
    calls = sum(planned(State(task=plan.task, choices=choices))) + 2 * (choices.confirm or 0)
    await work_on_each(
        plan.waiting,
        plan.stop,
        lambda under_way: _room(context, plan, under_way, calls),
        lambda example, document: _audit(context, plan, example, document, on_example),
    )


async def _audit(
    context: RunContext,
    plan: AuditPlan,
    example_id: str,
    document_id: str,
    on_example: Callable[[str], None],
) -> None:
    """One example: its attempts marked again, and what the gate makes of these marks."""
    scope = f"{document_id}/{plan.run_id}"
    rounds = await asyncio.to_thread(context.ledger.rounds, plan.audited_run, document_id)
    candidate = rounds[-1].candidate
    if candidate is None:
        raise ValueError(f"example {example_id} has no candidate on record")
    work = [
        mark_again(
            context.models, TASKS[plan.task], candidate, made, scope=scope,
            comparisons=context.comparisons,
        )
        for made in rounds[-1].attempts
    ]  # fmt: skip
    try:
        found = await all_done(work)
    except CallRefused as refusal:
        plan.refused[example_id] = str(refusal)
        return
    finally:
        context.models.forget(scope)
    marked = {(made.solver, made.number): made for made in found if made}
    await asyncio.to_thread(_record_audit, context, plan, example_id, document_id, rounds, marked)
    plan.done += 1
    on_example(example_id)


def _record_audit(
    context: RunContext,
    plan: AuditPlan,
    example_id: str,
    document_id: str,
    rounds: Sequence[Round],
    marked: Mapping[tuple[Side, int], Attempt],
) -> None:
    """Stores what the second judge marked, and whether the gate would accept by it. Blocks."""
    state = State(
        task=plan.task,
        document_id=document_id,
        choices=plan.choices,
        number=rounds[-1].number,
        rounds=list(rounds),
        prior=context.ledger.priors(plan.audited_run, document_id).get(document_id),
    )
    bounds, wanted = measuring(state).bounds, plan.choices.confirm
    again = marked_again(rounds[-1], marked)
    holds = accepts(policy_of(state), again, Confirm(wanted, bounds) if wanted else None)
    found = measurement(bounds, (*again.weak, *again.strong))._replace(holds=holds)
    made = list(marked.values())
    record_measurement(context.ledger, plan.run_id, example_id, made, found, confirms=False)
