"""The nodes of the optimizer, each thin: read the state, do one thing, return what changed."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial

from langgraph.config import get_stream_writer
from langgraph.types import interrupt

from autodata.graph.nodes import Update
from autodata.ledger.iterations import Iteration
from autodata.ledger.reviews import (
    WaitingEdit,
    answer_about_edit,
    ask_about_edit,
    edit_review,
)
from autodata.ledger.rows import now
from autodata.models.errors import CallRefused
from autodata.optimizer import finals
from autodata.optimizer.acceptance import (
    PassCount,
    chance,
    decide,
    draw,
    evaluations_wanted,
    more_documents,
    probabilities,
)
from autodata.optimizer.agent import Diagnosis, analyse, edit
from autodata.optimizer.evidence import (
    CODES,
    HISTORY,
    Prediction,
    evidence,
    history,
    outcome,
    rates,
    write,
)
from autodata.optimizer.evidence import counts as failures
from autodata.optimizer.guard import faults
from autodata.optimizer.population import OptimizationContext, counts, edit_shown, made
from autodata.optimizer.state import BLANK, OptimizerState
from autodata.prompt_store.prompt import PromptSet
from autodata.tasks.review import EditReview, ReviewError, read_edit_review

Count = Callable[[PromptSet, Sequence[str], int], Awaitable[PassCount]]
"""Prompts, documents and the number of the evaluation in, what they came to out."""


@dataclass(frozen=True)
class OptimizerNodes:
    """The nodes of one optimization context, which is opened when the first of them runs."""

    context: Callable[[OptimizerState], OptimizationContext]

    def prepare(self, state: OptimizerState) -> Update:
        """Finds the optimization of the plan that is asked for, or begins it. Raises ValueError for
        documents that a caller may not name."""
        context = self.context(state.model_copy(update={"optimization": ""}))
        return {
            **BLANK,
            "optimization": context.run_id,
            "last": max(state.last, state.iterations),
        }

    async def start(self, state: OptimizerState) -> Update:
        """Scores the prompts that the run starts from, once; finds what is left to be made."""
        context = self.context(state)
        async with context.recording:
            if not await asyncio.to_thread(context.iterations):
                await self._score_start(context)
            await asyncio.to_thread(context.population.repair)
        await context.next_turn()
        recorded = await asyncio.to_thread(context.iterations)
        done = {i.number for i in recorded}
        # A single lane leaves no gap before the iteration that it was asked to begin with.
        first = state.number if context.lanes > 1 else 1
        left = (n for n in range(first, state.last + 1, context.lanes) if n not in done)
        began = PassCount.model_validate(recorded[0].pass_count)
        return {
            "number": next(left, state.last + 1),
            "asks": context.plan.review is not None,
            "begun": counts(began, len(context.plan.validation)),
        }

    async def _score_start(self, context: OptimizationContext) -> None:
        revision = context.evaluator.run.prompts_revision
        prompts = await asyncio.to_thread(context.population.prompts, revision)
        order, tell = context.validation_order(), _teller("start")
        count = await context.evaluator.count(prompts, order, 1, tell)
        first = Iteration(
            number=0,
            decision="start",
            reason="the prompts that the run started from",
            revision=prompts.revision,
            prompts=context.evaluator.content(prompts.files),
            score=float(count.score),
            tried=count.tried,
            pass_count=count.model_dump(exclude_none=True),
            checks=await finals.control_questions(context, prompts),
        )
        await asyncio.to_thread(context.record, first)

    async def select(self, state: OptimizerState) -> Update:
        """Waits for its turn; draws the parent, and the training documents to study."""
        context = self.context(state)
        await context.turn(state.number)
        return await asyncio.to_thread(_select, context, state.number)

    async def evaluate(self, state: OptimizerState) -> Update:
        """Runs the parent on the training documents drawn."""
        context = self.context(state)
        parent = await self._parent(state)
        tell = _teller(f"iteration {state.number} · parent")
        outcomes = await context.evaluator.evaluate(parent, state.studying, 1, tell)
        found = await context.evaluator.trajectories(parent, state.studying, 1)
        studied = {
            "studied": PassCount.of(outcomes.values()),
            "failures": failures([t.rounds for t in found]),
        }
        if set(outcomes.values()) == {"missing"}:
            return studied | _undecided("no training document had an outcome")
        return studied

    async def analyse(self, state: OptimizerState) -> Update:
        """Lays the trajectories out as evidence and has them read."""
        context = self.context(state)
        parent = await self._parent(state)
        found = await context.evaluator.trajectories(parent, state.studying, 1)
        seen = await asyncio.to_thread(context.visible, state.number)
        past = history(seen, await asyncio.to_thread(context.population.diffs, seen))
        files = evidence(found, _mine(context, parent), past)
        place = context.folder / "evidence" / f"{state.number:03}"
        await asyncio.to_thread(write, place, files)
        try:
            diagnosis = await analyse(
                context.evaluator.models, files, scope=f"iteration-{state.number}/analyst"
            )
        except CallRefused as refusal:
            return _undecided(f"the analyst was not answered: {refusal}")
        if isinstance(diagnosis, str):
            return _invalid(f"the analyst came to no diagnosis: {diagnosis}")
        quotes = tuple(f"{words} ({path})" for path, words in diagnosis.quotes)
        return {"cause": diagnosis.text, "quotes": quotes}

    async def edit(self, state: OptimizerState) -> Update:
        """Has one small edit made that addresses the cause."""
        context = self.context(state)
        parent = await self._parent(state)
        seen = await asyncio.to_thread(context.visible, state.number)
        try:
            finished = await edit(
                context.evaluator.models,
                context.task,
                parent.files,
                Diagnosis(text=state.cause, quotes=()),
                history(seen, {})[HISTORY],
                context.sources,
                scope=f"iteration-{state.number}/editor",
            )
        except CallRefused as refusal:
            return _undecided(f"the editor was not answered: {refusal}")
        if isinstance(finished, str):
            return _invalid(f"the editor finished no edit: {finished}")
        return {
            "edited": finished.files,
            "subject": finished.subject,
            "intent": finished.intent,
            "predicts": str(finished.predicts),
        }

    async def guard(self, state: OptimizerState) -> Update:
        """Blocks an edit that may not stand, before it costs anything."""
        context = self.context(state)
        parent = await self._parent(state)
        after = {**parent.files, **state.edited}
        found = await asyncio.to_thread(faults, context.task, parent.files, after, context.sources)
        return _invalid("; ".join(map(str, found))) if found else {}

    async def validate(self, state: OptimizerState) -> Update:
        """Tries parent and mutant on the held-out documents, as far as the decision needs."""
        context, parent = self.context(state), await self._parent(state)
        order, rule = context.validation_order(), context.plan.rule
        count = partial(context.evaluator.count, tell=_teller(f"iteration {state.number} · parent"))
        wanted, against = await self._against(context, state, count)
        mutant = _mutant(parent, state)
        tried = await self._try(state, mutant, against, 1)
        decision = decide(against, tried, len(order))
        if decision == "kept" and rule == "confirm":
            decision = decide(against, await self._try(state, mutant, against, 2), len(order))
        documents = order[: tried.tried]
        before = await context.evaluator.trajectories(parent, documents, wanted)
        after = await context.evaluator.trajectories(mutant, documents, 1)
        return {
            "decision": decision,
            "parent_pass_count": against,
            "parent_evaluations": wanted,
            "pass_count": tried,
            "rates_before": rates([t.rounds for t in before]),
            "rates_after": rates([t.rounds for t in after]),
        }

    async def _against(
        self, context: OptimizationContext, state: OptimizerState, count: Count
    ) -> tuple[int, PassCount]:
        """How many evaluations of the parent an iteration compares with, and what they came to."""
        parent, rule = await self._parent(state), context.plan.rule
        seen = await asyncio.to_thread(context.visible, state.number)
        wanted = evaluations_wanted(rule, made(seen, state.parent))
        order = context.validation_order()
        found = [await count(parent, order, replicate) for replicate in range(1, wanted + 1)]
        return wanted, found[-1] if rule == "paper" else sum(found, PassCount())

    async def _try(
        self, state: OptimizerState, mutant: PromptSet, against: PassCount, replicate: int
    ) -> PassCount:
        """The mutant on as many validation documents as can still change the decision."""
        context, tried = self.context(state), PassCount()
        order, plan = context.validation_order(), context.plan
        tell = _teller(f"iteration {state.number} · mutant")
        while more := more_documents(plan.rule, against, tried, len(order), plan.batch):
            outcomes = await context.evaluator.evaluate(
                mutant, order[: tried.tried + more], replicate, tell
            )
            tried = PassCount.of(outcomes.values())
        return await context.evaluator.count(mutant, order[: tried.tried], replicate)

    async def decide(self, state: OptimizerState) -> Update:
        """Says why; a winner has to pass the checks at run time first."""
        context = self.context(state)
        ends, documents = (state.pass_count, state.parent_pass_count), len(context.plan.validation)
        score = " against ".join(counts(count, documents) for count in ends)
        if state.decision == "indecisive":
            return {"reason": f"too few documents had an outcome: {score}"}
        if state.decision == "rejected":
            stopped = state.pass_count.tried < documents
            return {"reason": f"{score}{', no longer able to win' if stopped else ''}"}
        mutant = _mutant(await self._parent(state), state)
        found = await finals.winner(context, state.number, mutant)
        if found.problem:
            return {**_invalid(found.problem), "checks": found.figures}
        return {"reason": score, "checks": found.figures}

    def review(self, state: OptimizerState) -> Update:
        """A person keeps an edit that has passed everything else, or turns it down.

        What was said of it is on record; where nothing was, the graph stops here, and is resumed
        with a reply, or comes by again when there is an answer.
        """
        context = self.context(state)
        before = _prompts_of(context, state.parent).files
        prompts = context.evaluator.content({**before, **state.edited})
        asked = edit_shown(state, before, len(context.plan.validation))
        waiting = WaitingEdit(
            run_id=context.run_id, number=state.number, prompts=prompts, shown=asked
        )
        found = ask_about_edit(context.ledger, waiting)
        while found is None:
            reply = interrupt(asked)
            try:
                said = read_edit_review(reply, prompts, now())
                found = answer_about_edit(context.ledger, waiting, said)
            except ReviewError as error:
                asked = {**asked, "problem": str(error)}
        if found.decision == "keep":
            return {"reviewed": found}
        reason = f"a reviewer turned it down: {found.reason}; {state.reason}"
        return {"reviewed": found, "decision": "rejected", "reason": reason}

    async def record(self, state: OptimizerState) -> Update:
        """Commits the mutant, writes the row and points the refs; then the next iteration.

        An edit is kept only where the record bears it out: a person can edit a state.
        """
        context = self.context(state)
        if state.decision == "kept":
            state = state.model_copy(update=await self._borne_out(context, state))
        async with context.recording:
            made = await asyncio.to_thread(_record, context, state)
        await context.next_turn()
        return {
            "number": state.number + context.lanes,
            "decision": made.decision,
            "reason": made.reason,
            "revision": made.revision,
        }

    async def _borne_out(self, context: OptimizationContext, state: OptimizerState) -> Update:
        """What the record says of an edit that is to be kept, which is invalid where that speaks
        against it. What was asked before is on record, so that asking it again costs nothing."""
        parent = await self._parent(state)
        mutant, plan, order = _mutant(parent, state), context.plan, context.validation_order()
        blocked = await asyncio.to_thread(
            faults, context.task, parent.files, mutant.files, context.sources
        )
        if blocked:
            return _by_hand("; ".join(map(str, blocked)))
        if plan.review and await asyncio.to_thread(_kept_by, context, state, mutant) is None:
            return _by_hand("no person on record kept it")
        count = context.evaluator.on_record
        _, against = await self._against(context, state, count)
        replicates = (1, 2) if plan.rule == "confirm" else (1,)
        tried = [await count(mutant, order, n) for n in replicates]
        found: Update = {"parent_pass_count": against, "pass_count": tried[0]}
        if any(decide(against, one, len(order)) != "kept" for one in tried):
            ends = (counts(one, len(order)) for one in (tried[-1], against))
            return found | _by_hand(f"it does not win, {' against '.join(ends)}")
        checked = await finals.winner(context, state.number, mutant)
        found["checks"] = checked.figures
        return found | (_by_hand(checked.problem) if checked.problem else {})

    async def _parent(self, state: OptimizerState) -> PromptSet:
        """The prompts that the iteration starts from."""
        return await asyncio.to_thread(_prompts_of, self.context(state), state.parent)


def _select(context: OptimizationContext, number: int) -> Update:
    seen, plan = context.visible(number), context.plan
    population = context.population.harnesses(seen)
    shares = probabilities(plan.select, population, plan.temperature)
    chances = {h.number: round(share, 6) for h, share in zip(population, shares, strict=True)}
    fresh = {**BLANK, "chances": chances}
    crossing = chance(plan.seed, number, "crossover").random() < plan.crossover
    if crossing and (pair := context.population.crossing(seen, population)):
        return {**fresh, **_crossover(context, seen, *pair)}
    studied = min(plan.minibatch, len(plan.training))
    parent = draw(population, shares, chance(plan.seed, number, "parent"))
    minibatch = chance(plan.seed, number, "documents").sample(plan.training, studied)
    return {**fresh, "parent": parent.number, "studying": tuple(minibatch)}


def _crossover(context: OptimizationContext, seen: list[Iteration], one: int, other: int) -> Update:
    """The edits of two harnesses together, as an edit of the better one."""
    by_number = {i.number: i for i in seen}
    files = context.population.merged(by_number[one].revision, by_number[other].revision)
    before = context.population.prompts(by_number[one].revision).files
    assert files is not None
    return {
        "parent": one,
        "other_parent": other,
        "edited": {p: text for p, text in files.items() if text != before[p]},
        "subject": f"Merge iterations {one} and {other}",
        "intent": "Both edits won on their own and touch different files: "
        f"“{by_number[one].subject}” and “{by_number[other].subject}”.",
        "predicts": str(Prediction(what="ACCEPTED", effect="rises")),
    }


def _record(context: OptimizationContext, state: OptimizerState) -> Iteration:
    recorded = {i.number: i for i in context.iterations()}
    before = context.population.prompts(recorded[state.parent].revision).files
    files = {**before, **state.edited}
    evaluated = state.pass_count.tried > 0
    iteration = Iteration(
        number=state.number,
        decision=state.decision or "indecisive",
        reason=state.reason,
        parent=state.parent,
        other_parent=state.other_parent,
        revision="",
        prompts=context.evaluator.content(files),
        subject=state.subject or "Change nothing",
        cause=state.cause,
        intent=state.intent,
        predicts=state.predicts,
        outcome=_outcome(state),
        parent_score=float(state.parent_pass_count.score) if state.parent_evaluations else None,
        parent_evaluations=state.parent_evaluations,
        score=float(state.pass_count.score) if evaluated else None,
        tried=state.pass_count.tried,
        parent_pass_count=state.parent_pass_count.model_dump(exclude_none=True),
        pass_count=state.pass_count.model_dump(exclude_none=True),
        chances=state.chances,
        minibatch=state.studying,
        rates_before=state.rates_before,
        rates_after=state.rates_after,
        checks=state.checks,
        review=state.reviewed,
    )
    if (known := recorded.get(state.number)) and _again(iteration, known, max(recorded)):
        return known
    revision = context.population.commit(iteration, files, state.quotes)
    made = iteration.model_copy(update={"revision": revision})
    context.record(made)
    return made


def _again(iteration: Iteration, known: Iteration, last: int) -> bool:
    """Whether an iteration on record is made again as it is there. Raises ValueError where another
    one, as of a fork, would pull the ground from under those that build on it."""
    if (iteration.prompts, iteration.decision) == (known.prompts, known.decision):
        return True
    if known.number < last:
        raise ValueError(
            f"iteration {known.number} is on record as {known.decision}, and later ones build on "
            "it; begin another optimization to try it otherwise, with another seed for example"
        )
    return False


def _kept_by(
    context: OptimizationContext, state: OptimizerState, mutant: PromptSet
) -> EditReview | None:
    """The review by which this very edit was kept, where the state carries it and it is on record.
    Blocks on SQLite."""
    prompts = context.evaluator.content(mutant.files)
    found = edit_review(context.ledger, context.run_id, state.number, prompts)
    return found if found == state.reviewed and found and found.decision == "keep" else None


def _outcome(state: OptimizerState) -> str:
    what, _, effect = state.predicts.partition(" ")
    if not what:
        return ""
    assert what in CODES or what == "ACCEPTED"
    predicted = Prediction.model_validate({"what": what, "effect": effect})
    return outcome(predicted, state.rates_before, state.rates_after)


def _prompts_of(context: OptimizationContext, number: int) -> PromptSet:
    revision = next(i.revision for i in context.iterations() if i.number == number)
    return context.population.prompts(revision)


def _mine(context: OptimizationContext, prompts: PromptSet) -> dict[str, str]:
    return {p: text for p, text in prompts.files.items() if p.startswith(f"{context.task}/")}


def _mutant(parent: PromptSet, state: OptimizerState) -> PromptSet:
    files = {**parent.files, **state.edited}
    return PromptSet(revision=f"iteration-{state.number}", files=files)


def _invalid(reason: str) -> Update:
    return {"decision": "invalid", "reason": reason}


def _by_hand(fault: str) -> Update:
    return _invalid(f"this state was edited by hand and is not kept: {fault}")


def _undecided(reason: str) -> Update:
    return {"decision": "indecisive", "reason": reason}


def _teller(who: str) -> Callable[[str], None]:
    """What says on the `custom` stream how each document ended."""
    write = get_stream_writer()
    return lambda line: write(f"{who} · {line}")
