"""The prompts that an optimization has made, as the prompt store and the ledger know them, and what
the nodes work with.

Harnesses and their scores, what each edit changed, and the refs that keep every mutant. Nothing is
remembered here that git and run.db do not hold.
"""

import asyncio
import textwrap
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import unified_diff
from fractions import Fraction
from pathlib import Path
from typing import Any

from autodata.ledger.iterations import Iteration, finals, iterations, record_iteration
from autodata.ledger.ledger import Ledger
from autodata.models.errors import ReviewsWait
from autodata.optimizer.acceptance import AcceptanceRule, Harness, PassCount, best, chance, verdict
from autodata.optimizer.evaluator import OPTIMIZATION_STOPPED, Evaluator
from autodata.optimizer.evidence import moved
from autodata.optimizer.guard import Sources
from autodata.optimizer.state import OptimizerState, Plan
from autodata.prompt_store.prompt import PromptSet
from autodata.prompt_store.store import (
    RefGroup,
    Store,
    StoreError,
    champion_ref,
    merge_files,
    mutant_ref,
)
from autodata.tasks.acceptance import exact, mean
from autodata.tasks.measurement import in_percent
from autodata.tasks.review import EDIT_REPLY_FORM

REF_GROUPS: Mapping[str, RefGroup] = {
    "start": "pop",
    "kept": "pop",
    "rejected": "rejected",
    "indecisive": "rejected",
    "invalid": "invalid",
}
RELATIVES = 6  # of the best harnesses that are looked at for a crossover
COMMIT_WIDTH = 72  # of a commit message
CommitMessage = tuple[str, str, dict[str, str]]


@dataclass
class Population:
    """The harnesses of one optimization and where they descend from."""

    plan: Plan
    evaluator: Evaluator
    store: Store
    _prompts: dict[str, PromptSet] = field(default_factory=dict)
    _diffs: dict[str, str] = field(default_factory=dict)

    @property
    def run_id(self) -> str:
        """Name of the optimization, in the ledger and in refs."""
        return self.evaluator.run.id

    def iterations(self) -> list[Iteration]:
        """All iterations on record."""
        return iterations(self.evaluator.ledger, self.run_id)

    def harnesses(self, seen: Sequence[Iteration]) -> list[Harness]:
        """The harnesses that these iterations kept, with their scores as known to them."""
        return [self._harness(i, made(seen, i.number)) for i in members(seen)]

    def _harness(self, iteration: Iteration, evaluations: int) -> Harness:
        counted: dict[str, list[Fraction]] = {}
        for replicate in range(1, evaluations + 1):
            name = iteration.evaluation(replicate)
            certainties = self.evaluator.certainties(name, self.plan.validation)
            for document_id, outcome in self.evaluator.known(name).items():
                if document_id in self.plan.validation:
                    sure = certainties.get(document_id, 0.0) if certainties is not None else 1.0
                    one = exact(sure) if outcome == "accepted" else Fraction(0)
                    counted.setdefault(document_id, []).append(one)
        return Harness(
            number=iteration.number,
            score=mean([one for several in counted.values() for one in several]) or Fraction(0),
            by_document={d: mean(several) or Fraction(0) for d, several in counted.items()},
        )

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

    def point(self, iteration: Iteration) -> None:
        """Point the refs of a recorded iteration, and the champion, in one transaction.

        While nothing beats the start there is nothing to offer, and no champion's branch.
        """
        refs = self.store.refs()
        mine = mutant_ref(self.run_id, REF_GROUPS[iteration.decision], iteration.number)
        branch, winner = champion_ref(self.run_id), self.champion()
        wanted = {mine: iteration.revision, branch: winner.revision if winner.number else None}
        moves = {ref: (new, refs.get(ref)) for ref, new in wanted.items() if refs.get(ref) != new}
        if moves:
            self.store.update_refs(moves)

    def champion(self) -> Iteration:
        """What is offered once a final was held: its winner, or the start when none is offered;
        until then the best pooled score, the oldest of equals."""
        recorded = self.iterations()
        if settled := finals(self.evaluator.ledger, self.run_id):
            offers = verdict(settled).offers
            number = next(f.number for f in settled if f.place == 1) if offers else 0
        else:
            population = self.harnesses(recorded)
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
        subject, body, trailers = message(self.run_id, self.plan, iteration, quotes)
        return self.store.commit(files, parents, subject, body, trailers)


def members(seen: Sequence[Iteration]) -> list[Iteration]:
    """The iterations whose prompts belong to the population."""
    return [i for i in seen if i.decision in ("start", "kept")]


def made(seen: Sequence[Iteration], number: int) -> int:
    """How often a harness was evaluated on the validation documents, as these iterations know."""
    return max([1, *(i.parent_evaluations for i in seen if i.parent == number)])


def pooled(made: Sequence[Iteration], rule: AcceptanceRule) -> dict[int, PassCount]:
    """What each harness came to on the validation documents, over all its evaluations.

    Its first evaluation stands on its own record, the later ones on those of its mutants: pooled
    already, but under `paper`, where each stands alone.
    """
    counts = {i.number: PassCount.model_validate(i.pass_count) for i in members(made)}
    for number, first in counts.items():
        counted = (
            (i.parent_evaluations, PassCount.model_validate(i.parent_pass_count))
            for i in made
            if i.parent == number and i.parent_pass_count
        )
        # A mutant that the guard blocked was tried on nothing, and its parent beside it.
        later = {evaluations: count for evaluations, count in counted if count.tried}
        if later:
            counts[number] = sum(later.values(), first) if rule == "paper" else later[max(later)]
    return counts


def edit_shown(state: OptimizerState, before: Mapping[str, str], documents: int) -> dict[str, Any]:
    """What a reviewer needs to judge an edit that would be kept, as JSON values: what it changes of
    the prompts `before`, what it is for, and the numbers, over so many validation documents."""
    return {
        "iteration": state.number,
        "parent": state.parent,
        "other_parent": state.other_parent,
        "subject": visible(state.subject),
        "intent": visible(state.intent),
        "predicts": state.predicts,
        "cause": visible(state.cause),
        "diff": visible("".join(_diff(before, state.edited))),
        "score": _plain(state.pass_count, documents),
        "parent_score": _plain(state.parent_pass_count, documents),
        "moved": moved(state.rates_before, state.rates_after),
        "checks": dict(state.checks),
        "reply": dict(EDIT_REPLY_FORM),
    }


def _plain(count: PassCount, documents: int) -> dict[str, Any]:
    interval = count.interval(documents)
    return {
        **count.model_dump(exclude_none=True),
        "score": round(float(count.score), 4),
        "low": interval and round(interval.low, 4),
        "high": interval and round(interval.high, 4),
        "said": counts(count, documents),
    }


def _diff(before: Mapping[str, str], edited: Mapping[str, str]) -> Iterator[str]:
    """What an edit changes, as a unified diff."""
    for path, text in sorted(edited.items()):
        old, new = ([f"{line}\n" for line in t.splitlines()] for t in (before.get(path, ""), text))
        yield from unified_diff(old, new, f"a/{path}", f"b/{path}")


def message(run: str, plan: Plan, iteration: Iteration, quotes: Sequence[str]) -> CommitMessage:
    """Subject, body and trailers of the commit of an iteration."""
    parts = [
        _wrapped(iteration.intent),
        *(["Cause", _wrapped(iteration.cause)] if iteration.cause else []),
        *(["Evidence", "\n".join(_wrapped(quote, "> ") for quote in quotes)] if quotes else []),
        _wrapped(f"{iteration.decision.capitalize()}: {iteration.reason}"),
    ]
    documents = len(plan.validation)
    trailers = {
        "Autodata-Run": run,
        "Autodata-Iteration": str(iteration.number),
        "Autodata-Decision": iteration.decision,
        "Autodata-Score": score(iteration.score, iteration.pass_count, documents),
        "Autodata-Parent-Score": score(
            iteration.parent_score, iteration.parent_pass_count, documents
        ),
        "Autodata-AcceptanceRule": plan.rule,
        "Autodata-Scoring": plan.score,
        "Autodata-Evaluation": iteration.evaluation(),
        "Autodata-Predicts": iteration.predicts,
    }
    if review := iteration.review:
        trailers |= {"Autodata-Review": f"{review.said}, {review.at}", "Reviewed-by": review.by}
    body = "\n\n".join(part for part in parts if part)
    return visible(iteration.subject), visible(body), trailers


def visible(text: str) -> str:
    """The text with characters that show nothing, or reorder what is shown, written as escapes."""
    return "".join(
        c if c in "\n\t" or unicodedata.category(c) not in ("Cf", "Cc") else f"\\u{ord(c):04x}"
        for c in text
    )


def score(value: float | None, count: Mapping[str, int | float], documents: int) -> str:
    """A score, its interval for so many documents, and the counts behind it: `0.520 (0.33–0.70), 13
    of 25`, or `0.336 (0.18–0.53), 13 of 25, counting for 8.4`; nothing when not evaluated."""
    if value is None:
        return ""
    found = PassCount.model_validate(count)
    interval = found.interval(documents)
    between = f" ({interval.low:.2f}–{interval.high:.2f})" if interval else ""
    missing = f", {found.missing} missing" if found.missing else ""
    return f"{value:.3f}{between}, {_counted(found)}{missing}"


def counts(count: PassCount, documents: int) -> str:
    """`13 of 25 (52 %, 33–70)`: the counts, what they count for where that is less, the score, and
    its interval for so many documents."""
    interval = count.interval(documents)
    between = f", {in_percent(interval)}" if interval else ""
    return f"{_counted(count)} ({100 * float(count.score):.0f} %{between})"


def _counted(count: PassCount) -> str:
    certain = "" if count.confirmed is None else f", counting for {count.confirmed:.1f}"
    return f"{count.accepted} of {count.accepted + count.failed}{certain}"


def _wrapped(text: str, lead: str = "") -> str:
    """Paragraphs and list items wrapped as git's readers expect."""
    lines = []
    for line in text.strip().splitlines():
        bullet = "  " if line.lstrip().startswith(("- ", "* ")) else ""
        lines += textwrap.wrap(
            line, COMMIT_WIDTH, initial_indent=lead, subsequent_indent=lead + bullet
        ) or [lead.rstrip()]
    return "\n".join(lines)


@dataclass
class OptimizationContext:
    """One optimization: its plan, and where everything is.

    `sources` are all its documents; `on_record` is told of every iteration once it is on record.
    So many `lanes` walk side by side; the iterations `waiting` are put down until a person has
    reviewed their edits.
    """

    plan: Plan
    evaluator: Evaluator
    population: Population
    folder: Path
    sources: Sources
    on_record: Callable[[Iteration], None] = lambda iteration: None
    lanes: int = 1
    waiting: set[int] = field(default_factory=set)
    recording: asyncio.Lock = field(default_factory=asyncio.Lock)
    _turns: asyncio.Condition = field(default_factory=asyncio.Condition)

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
        """Wait until every iteration that this one builds on is recorded. Raises Interrupted, and
        ReviewsWait where one of them waits for a person."""
        async with self._turns:
            while len(await asyncio.to_thread(self.visible, number)) < self._seen_by(number):
                if self.evaluator.stop.is_set():
                    raise OPTIMIZATION_STOPPED
                if any(n < self._seen_by(number) for n in self.waiting):
                    raise ReviewsWait("an earlier edit waits for review", "Review it first")
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
        return self.population.iterations()

    def validation_order(self) -> list[str]:
        """The validation documents in the one order in which mutants are tried on them."""
        documents = list(self.plan.validation)
        chance(self.plan.seed, 0, "validation").shuffle(documents)
        return documents

    # Records

    def record(self, iteration: Iteration) -> None:
        """Put an iteration on record: its row, then its refs. Blocks on SQLite and git."""
        record_iteration(self.ledger, self.run_id, iteration)
        self.population.point(iteration)
        self.on_record(iteration)
