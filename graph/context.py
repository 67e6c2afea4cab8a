"""What the nodes work with: models, prompts and the ledger of one run; its record anew."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any, Literal, TypeVar

from autodata.agents.comparison import ComparisonPool
from autodata.graph.state import RunChoices, State, earlier, in_force, measuring, policy_of
from autodata.ledger.calls import CallLog, Facts, Watched
from autodata.ledger.ledger import Ledger
from autodata.ledger.measurements import confirmed
from autodata.ledger.quality import AcceptedQuestions, Cell, source_of
from autodata.ledger.summary import outcomes
from autodata.models.client import Models
from autodata.prompt_store.prompt import PromptSet
from autodata.tasks.acceptance import exact
from autodata.tasks.diversity import AcceptedQuestion, asked_before, repeats_accepted
from autodata.tasks.measured import Confirm, accepted_gap, redecide
from autodata.tasks.measurement import Noise, Prior, Sides, fit
from autodata.tasks.types import Document, Round

T = TypeVar("T")
REFITTED = 2  # times as many rounds, after which the prior is fitted anew
ROUNDS_FITTED = 300  # the latest rounds that a prior is fitted to
FiledUnder = Callable[[str, RunChoices], str]  # task, choices → the id of a run


class LoopThread:
    """An event loop in a thread of its own, for callers that have none; it starts when needed."""

    def __init__(self) -> None:
        self._starting = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of the work, which sees the caller's context variables. Blocks; when that is
        interrupted, the work goes on: its calls are paid for."""
        with self._starting:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                # A daemon: a process whose owner forgot to close it ends all the same.
                self._thread = threading.Thread(target=_serve, args=[self._loop], daemon=True)
                self._thread.start()
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def close(self) -> None:
        """Ends the loop and its thread; a later `run` begins another. Blocks."""
        loop, thread = self._loop, self._thread
        if loop is None or thread is None:
            return
        self._loop = self._thread = None
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    """Runs the loop until it is stopped, and leaves nothing of it open."""
    try:
        loop.run_forever()
        loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        loop.close()


@dataclass(frozen=True)
class RunContext:
    """Everything outside the state that a node may use; close it when done.

    It works for one run, or, where `filed_under` is given, for the run that this names for a task
    and the choices about a document: it may begin one, and blocks on SQLite.
    """

    models: Models
    prompts: PromptSet
    ledger: Ledger
    log: CallLog
    run_id: str
    filed_under: FiledUnder | None = None
    choices: RunChoices = field(default_factory=RunChoices)  # where a caller states none
    tasks: tuple[str, ...] = ()  # those that the caller may ask for; empty: all
    comparisons: ComparisonPool = field(default_factory=ComparisonPool)
    _priors: dict[str, tuple[int, Prior]] = field(default_factory=dict)  # run → rounds seen, fitted
    _open: dict[str, Document] = field(default_factory=dict)
    _loose: set[asyncio.Task[Any]] = field(default_factory=set)
    _apart: LoopThread = field(default_factory=LoopThread)

    def run_of(self, task: str, choices: RunChoices) -> str:
        """The run under which a document of this task with these choices is recorded. Raises
        ValueError at a task that the caller may not ask for."""
        self.check_task(task)
        return self.filed_under(task, choices) if self.filed_under else self.run_id

    def check_task(self, task: str) -> None:
        """Raises ValueError at a task that the caller may not ask for."""
        if self.tasks and task not in self.tasks:
            allowed = ", ".join(self.tasks)
            raise ValueError(f"this key makes no examples of {task}; it may ask for {allowed}")

    def prior(self, run_id: str, default: Prior, noise: Noise) -> Prior:
        """What the questions of a run look like so far; fitted anew as rounds are added. Blocks."""
        count = self.ledger.count_scored(run_id)
        seen, found = self._priors.get(run_id, (-1, default))
        if count > seen * REFITTED or seen < 0:
            found = fit(self.ledger.scored(run_id, ROUNDS_FITTED), noise, default)
            self._priors[run_id] = (count, found)
        return found

    @cached_property
    def accepted(self) -> AcceptedQuestions:
        """What was accepted so far, for runs that are to be diverse."""
        return AcceptedQuestions()

    def accepted_before(self, state: State, step: str) -> list[AcceptedQuestion]:
        """What the run had accepted of other documents when this step of the round was first taken:
        a replay finds the same. Blocks on SQLite."""
        run_id = self.run_of(state.task, state.choices)
        return self.accepted.before(self.ledger, run_id, state.document_id, state.number, step)

    def asked_before(self, state: State) -> str:
        """The questions of earlier rounds, and those accepted of other passages of one text, where
        the challenger is to know them. Blocks on SQLite."""
        if not state.choices.diversity:
            return ""
        source = source_of(self.ledger, state.document_id)
        accepted = self.accepted_before(state, "challenger")
        others = [one.question for one in accepted if one.source == source]
        own = [round.candidate.question for round in earlier(state) if round.candidate]
        return asked_before([*others, *own])

    def unless_repeated(self, state: State, run_id: str, ended: Round) -> Round:
        """The round; rejected where it was to be accepted and what was accepted meanwhile asks
        nearly the same. Blocks on SQLite; the caller is `writing`, so that nothing comes between.
        """
        if ended.decision != "accepted" or ended.candidate is None or not state.choices.diversity:
            return ended
        accepted = self.accepted.so_far(self.ledger, run_id, state.document_id)
        found = repeats_accepted(ended.candidate, accepted)
        update = {"objections": found, "decision": "rejected"}
        return ended.model_copy(update=update) if found else ended

    def take_up(self, document_id: str) -> None:
        """Brings a document's text and its recorded calls to hand. Blocks on SQLite."""
        self._open[document_id] = self.ledger.document(document_id)
        self.log.load(document_id)

    def put_down(self, document_id: str) -> None:
        """Lets go of a document that is done, so that memory follows documents in flight."""
        self._open.pop(document_id, None)
        self.models.forget(document_id)

    async def document(self, document_id: str) -> Document:
        """The document, fetched in a thread where a forked run never prepared it."""
        if document_id not in self._open:
            await asyncio.to_thread(self.take_up, document_id)
        return self._open[document_id]

    async def to_the_end(self, work: Coroutine[Any, Any, T]) -> T:
        """Awaits work that goes on when the waiting is cancelled: its calls are paid for.

        LangGraph cancels a node when one beside it fails; `loose_ends` waits for such work.
        """
        task = asyncio.ensure_future(work)
        self._loose.add(task)
        task.add_done_callback(self._loose.discard)
        return await asyncio.shield(task)

    async def loose_ends(self, *, drop: bool = False) -> None:
        """Waits until nothing is under way any more; with `drop` cancels it first."""
        while self._loose:
            for task in self._loose if drop else ():
                task.cancel()
            await asyncio.wait(self._loose)

    def watched(
        self, kind: Literal["document", "node"], name: str, document_id: str
    ) -> AbstractContextManager[Facts]:
        """Tells whoever watches of the work inside, and of the facts that it is given."""
        watcher = self.log.watcher
        if watcher is None:
            return nullcontext({})
        return watcher.working(Watched(kind, name, self.run_id, document_id))

    def wait_for(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of work that needs an event loop, for a caller that has none. Blocks."""
        return self._apart.run(work)

    def close(self) -> None:
        """As `aclose`, for callers of `wait_for`: what is under way is waited for. Blocks."""
        self.wait_for(self.loose_ends())
        self.wait_for(self.aclose())
        self._apart.close()

    async def aclose(self) -> None:
        """Closes connections, worker process and files; the models first."""
        await self.models.aclose()
        await asyncio.to_thread(self._close_files)

    def _close_files(self) -> None:
        self.comparisons.close()
        self.log.close()
        self.ledger.close()


def estimate_anew(context: RunContext, task: str, choices: RunChoices) -> None:
    """Estimates the true scores of a run's examples once more, under what all of its rounds look
    like: what was on record when each was accepted depends on which documents happened to end
    first. Those stay that were begun under a prior of their own. Blocks on SQLite.
    """
    own, choices = in_force(task, context.choices, choices)
    if choices.preset == "measured":
        return
    run_id = context.run_of(own.name, choices)
    if examples := context.ledger.scored_examples(run_id):
        measures = measuring(State(task=own.name, choices=choices))
        prior = _fit_all(context.ledger.scored(run_id), measures.noise, measures.prior)
        known = {
            id: measures.estimated(prior, *(tuple(map(exact, side)) for side in sides))
            for id, sides in examples.items()
        }
        context.ledger.estimate(known)


def _fit_all(scored: Sequence[Sides], noise: Noise, default: Prior) -> Prior:
    """The prior of a whole run; the same to the last digit in whatever order it was recorded."""
    return fit(sorted(scored), noise, default)


def decide_anew(
    ledger: Ledger, run_id: str, cells: Sequence[Cell], states: Sequence[State]
) -> None:
    """Decide each decided document of a run anew in every cell, by its state: under the prior with
    which it was begun, or, where it had none, under what all of the run looks like."""
    begun, scored = ledger.priors(run_id), ledger.scored(run_id)
    fitted = cache(lambda noise, prior: _fit_all(scored, noise, prior))
    measures, afresh = [measuring(state) for state in states], confirmed(ledger, run_id)
    for outcome in outcomes(ledger, run_id):
        if outcome.decision not in ("accepted", "rejected"):
            continue
        rounds, own = ledger.rounds(run_id, outcome.document_id), afresh.get(outcome.document_id)
        for cell, state, known in zip(cells, states, measures, strict=True):
            prior = begun.get(outcome.document_id) or fitted(known.noise, known.prior)
            number = state.choices.confirm
            confirm = Confirm(number, known.bounds) if number else None
            new = redecide(policy_of(state.model_copy(update={"prior": prior})), rounds, confirm)
            cell.found.append((outcome, new))
            if new.decision == "accepted":
                accepted = next(round for round in rounds if round.number == new.round)
                same = own and own.holds is not None and not own.by_gate
                gap = own.gap if own and same and new.round == outcome.rounds else None
                # Bounds do not change the estimate: those of the first cell spare the others' work.
                reader = measures[0].model_copy(update={"prior": prior})
                found = accepted_gap(accepted, reader, gap)
                cell.gaps.append((outcome.source, found))
