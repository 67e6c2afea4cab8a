"""The nodes of the optimizer, each thin: read the state, do one thing, return what changed."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from autodata.ledger.iterations import Iteration
from autodata.models.errors import CallRefused
from autodata.optimizer import checks
from autodata.optimizer.analyst import Diagnosis, analyse
from autodata.optimizer.editor import edit
from autodata.optimizer.evidence import evidence, write
from autodata.optimizer.failures import CODES, Prediction, outcome, rates
from autodata.optimizer.guard import faults
from autodata.optimizer.history import HISTORY, history
from autodata.optimizer.rules import PassCount, decide, evaluations_wanted, next_batch
from autodata.optimizer.selection import chance, draw, probabilities
from autodata.optimizer.state import FRESH, State
from autodata.optimizer.workbench import Workbench, made
from autodata.prompt_store.prompt import PromptSet

Update = dict[str, Any]


@dataclass(frozen=True)
class Nodes:
    """The nodes of one workbench, which is opened when the first of them runs."""

    workbench: Callable[[], Workbench]

    async def start(self, state: State) -> Update:
        """Scores the prompts that the run starts from, once; finds what is left to be made."""
        bench = self.workbench()
        async with bench.recording:
            if not await asyncio.to_thread(bench.iterations):
                await self._score_start(bench)
            await asyncio.to_thread(bench.repair)
        await bench.next_turn()
        done = {i.number for i in await asyncio.to_thread(bench.iterations)}
        left = (n for n in range(state.number, state.last + 1, bench.plan.parallel))
        return {"number": next((n for n in left if n not in done), state.last + 1)}

    async def _score_start(self, bench: Workbench) -> None:
        revision = bench.evaluator.run.prompts_revision
        prompts = await asyncio.to_thread(bench.prompts, revision)
        outcomes = await bench.evaluator.evaluate(prompts, bench.validation_order(), 1)
        count = PassCount.of(outcomes.values())
        first = Iteration(
            number=0,
            decision="start",
            reason="the prompts that the run started from",
            revision=prompts.revision,
            prompts=bench.evaluator.content(prompts.files),
            score=float(count.score),
            tried=count.tried,
            tally=count.model_dump(),
            checks=await checks.control_questions(bench, prompts),
        )
        await asyncio.to_thread(bench.record, first)

    async def select(self, state: State) -> Update:
        """Waits for its turn; draws the parent, and the training documents to study."""
        bench = self.workbench()
        await bench.turn(state.number)
        return await asyncio.to_thread(_select, bench, state.number)

    async def evaluate(self, state: State) -> Update:
        """Runs the parent on the training documents drawn."""
        bench = self.workbench()
        parent = await self._parent(state)
        outcomes = await bench.evaluator.evaluate(parent, state.minibatch, 1)
        if set(outcomes.values()) == {"missing"}:
            return _undecided("no training document had an outcome")
        return {}

    async def analyse(self, state: State) -> Update:
        """Lays the trajectories out as evidence and has them read."""
        bench = self.workbench()
        parent = await self._parent(state)
        found = await bench.evaluator.trajectories(parent, state.minibatch, 1)
        seen = await asyncio.to_thread(bench.visible, state.number)
        past = history(seen, await asyncio.to_thread(bench.diffs, seen))
        files = evidence(found, _mine(bench, parent), past)
        place = bench.folder / "evidence" / f"{state.number:03}"
        await asyncio.to_thread(write, place, files)
        try:
            diagnosis = await analyse(
                bench.evaluator.models, files, scope=f"iteration-{state.number}/analyst"
            )
        except CallRefused as refusal:
            return _undecided(f"the analyst was not answered: {refusal}")
        if diagnosis is None:
            return _invalid("the analyst came to no diagnosis within its limits")
        quotes = tuple(f"{words} ({path})" for path, words in diagnosis.quotes)
        return {"cause": diagnosis.text, "quotes": quotes}

    async def edit(self, state: State) -> Update:
        """Has one small edit made that addresses the cause."""
        bench = self.workbench()
        parent = await self._parent(state)
        seen = await asyncio.to_thread(bench.visible, state.number)
        try:
            finished = await edit(
                bench.evaluator.models,
                bench.task,
                parent.files,
                Diagnosis(text=state.cause, quotes=()),
                history(seen, {})[HISTORY],
                bench.sources,
                scope=f"iteration-{state.number}/editor",
            )
        except CallRefused as refusal:
            return _undecided(f"the editor was not answered: {refusal}")
        if finished is None:
            return _invalid("the editor finished no edit within its limits")
        return {
            "edited": finished.files,
            "subject": finished.subject,
            "intent": finished.intent,
            "predicts": str(finished.predicts),
        }

    async def guard(self, state: State) -> Update:
        """Blocks an edit that may not stand, before it costs anything."""
        bench = self.workbench()
        parent = await self._parent(state)
        after = {**parent.files, **state.edited}
        found = await asyncio.to_thread(faults, bench.task, parent.files, after, bench.sources)
        return _invalid("; ".join(map(str, found))) if found else {}

    async def validate(self, state: State) -> Update:
        """Tries parent and mutant on the held-out documents, as far as the decision needs."""
        bench, parent = self.workbench(), await self._parent(state)
        order, rule = bench.validation_order(), bench.plan.rule
        seen = await asyncio.to_thread(bench.visible, state.number)
        wanted = evaluations_wanted(rule, made(seen, state.parent))
        counts = [
            PassCount.of((await bench.evaluator.evaluate(parent, order, replicate)).values())
            for replicate in range(1, wanted + 1)
        ]
        against = counts[-1] if rule == "paper" else sum(counts, PassCount())
        mutant = _mutant(parent, state)
        tried = await self._try(mutant, against, 1)
        decision = decide(against, tried, len(order))
        if decision == "kept" and rule == "confirm":
            decision = decide(against, await self._try(mutant, against, 2), len(order))
        documents = order[: tried.tried]
        before = await bench.evaluator.trajectories(parent, documents, wanted)
        after = await bench.evaluator.trajectories(mutant, documents, 1)
        return {
            "decision": decision,
            "parent_count": against,
            "parent_evaluations": wanted,
            "count": tried,
            "rates_before": rates([t.rounds for t in before]),
            "rates_after": rates([t.rounds for t in after]),
        }

    async def _try(self, mutant: PromptSet, against: PassCount, replicate: int) -> PassCount:
        """The mutant on as many validation documents as can still change the decision."""
        bench, tried = self.workbench(), PassCount()
        order, plan = bench.validation_order(), bench.plan
        while more := next_batch(plan.rule, against, tried, len(order), plan.batch):
            outcomes = await bench.evaluator.evaluate(
                mutant, order[: tried.tried + more], replicate
            )
            tried = PassCount.of(outcomes.values())
        return tried

    async def decide(self, state: State) -> Update:
        """Says why; a winner has to pass the checks at run time first."""
        bench = self.workbench()
        score = f"{_counted(state.count)} against {_counted(state.parent_count)}"
        if state.decision == "indecisive":
            return {"reason": f"too few documents had an outcome: {score}"}
        if state.decision == "rejected":
            stopped = state.count.tried < len(bench.plan.validation)
            return {"reason": f"{score}{', no longer able to win' if stopped else ''}"}
        mutant = _mutant(await self._parent(state), state)
        found = await checks.winner(bench, state.number, mutant)
        if found.problem:
            return {**_invalid(found.problem), "checks": found.figures}
        return {"reason": score, "checks": found.figures}

    async def record(self, state: State) -> Update:
        """Commits the mutant, writes the row and points the refs; then the next iteration."""
        bench = self.workbench()
        async with bench.recording:
            await asyncio.to_thread(_record, bench, state)
        await bench.next_turn()
        return {"number": state.number + bench.plan.parallel}

    async def _parent(self, state: State) -> PromptSet:
        """The prompts that the iteration starts from."""
        return await asyncio.to_thread(_prompts_of, self.workbench(), state.parent)


def _select(bench: Workbench, number: int) -> Update:
    seen, plan = bench.visible(number), bench.plan
    population = bench.population(seen)
    shares = probabilities(plan.select, population, plan.temperature)
    chances = {h.number: round(share, 6) for h, share in zip(population, shares, strict=True)}
    fresh = {**FRESH, "chances": chances}
    crossing = chance(plan.seed, number, "crossover").random() < plan.crossover
    if crossing and (pair := bench.crossing(seen, population)):
        return {**fresh, **_crossover(bench, seen, *pair)}
    studied = min(plan.minibatch, len(plan.training))
    parent = draw(population, shares, chance(plan.seed, number, "parent"))
    minibatch = chance(plan.seed, number, "documents").sample(plan.training, studied)
    return {**fresh, "parent": parent.number, "minibatch": tuple(minibatch)}


def _crossover(bench: Workbench, seen: list[Iteration], one: int, other: int) -> Update:
    """The edits of two harnesses together, as an edit of the better one."""
    by_number = {i.number: i for i in seen}
    files = bench.merged(by_number[one].revision, by_number[other].revision)
    before = bench.prompts(by_number[one].revision).files
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


def _record(bench: Workbench, state: State) -> None:
    recorded = {i.number: i for i in bench.iterations()}
    before = bench.prompts(recorded[state.parent].revision).files
    files = {**before, **state.edited}
    evaluated = state.count.tried > 0
    iteration = Iteration(
        number=state.number,
        decision=state.decision or "indecisive",
        reason=state.reason,
        parent=state.parent,
        other_parent=state.other_parent,
        revision="",
        prompts=bench.evaluator.content(files),
        subject=state.subject or "Change nothing",
        cause=state.cause,
        intent=state.intent,
        predicts=state.predicts,
        outcome=_outcome(state),
        parent_score=float(state.parent_count.score) if state.parent_evaluations else None,
        parent_evaluations=state.parent_evaluations,
        score=float(state.count.score) if evaluated else None,
        tried=state.count.tried,
        parent_tally=state.parent_count.model_dump(),
        tally=state.count.model_dump(),
        chances=state.chances,
        minibatch=state.minibatch,
        rates_before=state.rates_before,
        rates_after=state.rates_after,
        checks=state.checks,
    )
    revision = bench.commit(iteration, files, state.quotes)
    bench.record(iteration.model_copy(update={"revision": revision}))


def _outcome(state: State) -> str:
    what, _, effect = state.predicts.partition(" ")
    if not what:
        return ""
    assert what in CODES or what == "ACCEPTED"
    predicted = Prediction.model_validate({"what": what, "effect": effect})
    return outcome(predicted, state.rates_before, state.rates_after)


def _prompts_of(bench: Workbench, number: int) -> PromptSet:
    revision = next(i.revision for i in bench.iterations() if i.number == number)
    return bench.prompts(revision)


def _mine(bench: Workbench, prompts: PromptSet) -> dict[str, str]:
    return {p: text for p, text in prompts.files.items() if p.startswith(f"{bench.task}/")}


def _mutant(parent: PromptSet, state: State) -> PromptSet:
    files = {**parent.files, **state.edited}
    return PromptSet(revision=f"iteration-{state.number}", files=files)


def _counted(count: PassCount) -> str:
    return f"{count.accepted} of {count.accepted + count.failed}"


def _invalid(reason: str) -> Update:
    return {"decision": "invalid", "reason": reason}


def _undecided(reason: str) -> Update:
    return {"decision": "indecisive", "reason": reason}
