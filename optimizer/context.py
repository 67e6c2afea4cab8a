"""What the nodes of the optimizer work with. Nothing is remembered here that git, run.db and the
call log do not hold."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from autodata.ledger.iterations import Iteration, finals, iterations, record_iteration
from autodata.ledger.ledger import Ledger
from autodata.optimizer.evaluator import STOPPED, Evaluator
from autodata.optimizer.guard import Sources
from autodata.optimizer.messages import message
from autodata.optimizer.selection import Harness, best, chance
from autodata.optimizer.state import Plan
from autodata.prompt_store.git import StoreError
from autodata.prompt_store.prompt import PromptSet
from autodata.prompt_store.store import RefGroup, Store, champion_ref, merge_files, mutant_ref

REF_GROUPS: Mapping[str, RefGroup] = {
    "start": "pop",
    "kept": "pop",
    "rejected": "rejected",
    "indecisive": "rejected",
    "invalid": "invalid",
}
RELATIVES = 6  # of the best harnesses that are looked at for a crossover


@dataclass
class OptimizationContext:
    """One optimization: its plan, and where everything is.

    `sources` are all its documents; `on_record` is told of every iteration once it is on record.
    """

    plan: Plan
    evaluator: Evaluator
    store: Store
    folder: Path
    sources: Sources
    on_record: Callable[[Iteration], None] = lambda iteration: None
    recording: asyncio.Lock = field(default_factory=asyncio.Lock)
    _turns: asyncio.Condition = field(default_factory=asyncio.Condition)
    _prompts: dict[str, PromptSet] = field(default_factory=dict)
    _diffs: dict[str, str] = field(default_factory=dict)

    @property
    def run_id(self) -> str:
        """Name of the optimization, in the ledger and in refs."""
        return self.evaluator.run.id

    @property
    def task(self) -> str:
        """The task whose prompts are improved."""
        return self.evaluator.task

    @property
    def ledger(self) -> Ledger:
        """The ledger of the run folder."""
        return self.evaluator.ledger

    # Turns: an iteration sees exactly those that lie `parallel` or more before it, however long
    # they take, so that the sequence does not depend on timing.

    async def turn(self, number: int) -> None:
        """Wait until every iteration that this one builds on is recorded. Raises Interrupted."""
        async with self._turns:
            while len(await asyncio.to_thread(self.visible, number)) < self._seen_by(number):
                if self.evaluator.stop.is_set():
                    raise STOPPED
                await self._turns.wait()

    async def next_turn(self) -> None:
        """Wake whoever waits for a turn."""
        async with self._turns:
            self._turns.notify_all()

    def _seen_by(self, number: int) -> int:
        return max(number - self.plan.parallel, 0) + 1

    def visible(self, number: int) -> list[Iteration]:
        """The iterations that an iteration builds on, by number; the start is always one."""
        seen = self._seen_by(number)
        return [i for i in self.iterations() if i.number < seen]

    def iterations(self) -> list[Iteration]:
        """All iterations on record."""
        return iterations(self.ledger, self.run_id)

    # The population

    def population(self, seen: Sequence[Iteration]) -> list[Harness]:
        """The harnesses that these iterations kept, with their scores as known to them."""
        return [self._harness(i, made(seen, i.number)) for i in members(seen)]

    def _harness(self, iteration: Iteration, evaluations: int) -> Harness:
        accepted: dict[str, list[bool]] = {}
        for replicate in range(1, evaluations + 1):
            name = iteration.evaluation(replicate)
            for document_id, outcome in self.evaluator.known(name).items():
                if document_id in self.plan.validation:
                    accepted.setdefault(document_id, []).append(outcome == "accepted")
        tried = [one for several in accepted.values() for one in several]
        return Harness(
            number=iteration.number,
            score=Fraction(sum(tried), len(tried)) if tried else Fraction(0),
            by_document={d: Fraction(sum(a), len(a)) for d, a in accepted.items()},
        )

    def validation_order(self) -> list[str]:
        """The validation documents in the one order in which mutants are tried on them."""
        documents = list(self.plan.validation)
        chance(self.plan.seed, 0, "validation").shuffle(documents)
        return documents

    def prompts(self, revision: str) -> PromptSet:
        """The prompts of a commit. Blocks on git. Raises StoreError."""
        if revision not in self._prompts:
            self._prompts[revision] = self.store.read(revision)
        return self._prompts[revision]

    def diffs(self, seen: Sequence[Iteration]) -> dict[int, str]:
        """What each of these iterations changed, by number. Blocks on git."""
        revisions = {i.number: i.revision for i in seen}
        for i in seen:
            if i.parent is not None and i.revision not in self._diffs:
                self._diffs[i.revision] = self.store.diff(revisions[i.parent], i.revision)
        return {i.number: self._diffs[i.revision] for i in seen if i.parent is not None}

    def crossing(
        self, seen: Sequence[Iteration], population: Sequence[Harness]
    ) -> tuple[int, int] | None:
        """Two good harnesses of different descent whose edits touch different files and that were
        not merged yet, the better one first; None when there are none. Blocks on git."""
        revisions = {i.number: i.revision for i in seen}
        tried = {frozenset((i.parent, i.other_parent)) for i in seen if i.other_parent is not None}
        good = sorted(population, key=lambda h: (-h.score, h.number))[:RELATIVES]
        numbers = [h.number for h in good if h.number]
        for at, one in enumerate(numbers):
            for other in numbers[at + 1 :]:
                new = frozenset((one, other)) not in tried
                if new and self.merged(revisions[one], revisions[other]):
                    return one, other
        return None

    def merged(self, one: str, other: str) -> dict[str, str] | None:
        """The files of both revisions' edits together; None when one descends from the other or
        both edit the same file. Blocks on git."""
        base = self.store.common_ancestor(one, other)
        if base in (one, other):
            return None
        texts = [self.prompts(revision).files for revision in (base, one, other)]
        try:
            files = merge_files(*texts)
        except StoreError:
            return None
        return None if files in texts else files

    # Records

    def record(self, iteration: Iteration) -> None:
        """Put an iteration on record: its row, then its refs. Blocks on SQLite and git."""
        record_iteration(self.ledger, self.run_id, iteration)
        self.point(iteration)
        self.on_record(iteration)

    def point(self, iteration: Iteration) -> None:
        """Point the refs of a recorded iteration, and the champion, in one transaction."""
        refs = self.store.refs()
        mine = mutant_ref(self.run_id, REF_GROUPS[iteration.decision], iteration.number)
        branch, winner = champion_ref(self.run_id), self.champion().revision
        wanted = {mine: iteration.revision, branch: winner}
        moves = {ref: (new, refs.get(ref)) for ref, new in wanted.items() if refs.get(ref) != new}
        if moves:
            self.store.update_refs(moves)

    def champion(self) -> Iteration:
        """The winner once it is settled; until then the best pooled score, the oldest of equals."""
        recorded = self.iterations()
        if settled := [f for f in finals(self.ledger, self.run_id) if f.place == 1]:
            return next(i for i in recorded if i.number == settled[0].number)
        population = self.population(recorded)
        [number] = [
            h.number for h, share in zip(population, best(population), strict=True) if share
        ]
        return next(i for i in recorded if i.number == number)

    def repair(self) -> None:
        """Point the refs of iterations that were recorded just before the process was killed."""
        held = set(self.store.refs())
        for iteration in self.iterations():
            ref = mutant_ref(self.run_id, REF_GROUPS[iteration.decision], iteration.number)
            if ref not in held:
                self.point(iteration)

    def commit(self, iteration: Iteration, files: Mapping[str, str], quotes: Sequence[str]) -> str:
        """Write the commit of an iteration, child of its parents; returns its id."""
        revisions = {i.number: i.revision for i in self.iterations()}
        parents = [
            revisions[number]
            for number in (iteration.parent, iteration.other_parent)
            if number is not None
        ]
        subject, body, trailers = message(self.run_id, self.plan.rule, iteration, quotes)
        return self.store.commit(files, parents, subject, body, trailers)


def members(seen: Sequence[Iteration]) -> list[Iteration]:
    """The iterations whose prompts belong to the population."""
    return [i for i in seen if i.decision in ("start", "kept")]


def made(seen: Sequence[Iteration], number: int) -> int:
    """How often a harness was evaluated on the validation documents, as these iterations know."""
    return max([1, *(i.parent_evaluations for i in seen if i.parent == number)])
