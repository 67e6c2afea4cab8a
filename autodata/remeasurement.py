"""Fresh attempts at what a run accepted, which no gate has seen, and a second judge's marks on the
old ones; each result beside the old figures."""

import asyncio
import json
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from rich.console import Console
from rich.progress import Progress as Bar
from rich.text import Text

from autodata.assembly import audit_row, documents_in_flight, open_run_context, run_row
from autodata.graph.context import RunContext
from autodata.graph.run import AuditPlan, Remeasurement, audit, remeasure
from autodata.graph.state import RunChoices, State, measuring, planned
from autodata.ledger.ledger import SUFFIX, Ledger
from autodata.ledger.measurements import SCORES, Result, accepted, count_fresh, measured, unaudited
from autodata.ledger.rows import RunRow, RunStatus
from autodata.ledger.summary import (
    NOTICE,
    attempts_each,
    ends,
    harmless,
    number,
    passed_again,
    summarize,
    told_from,
)  # fmt: skip
from autodata.models.client import Models
from autodata.options import DONE, FAILED
from autodata.prompt_store.prompt import locked_revision, packaged, unchanged_since
from autodata.screen import print_table, table
from autodata.session import STOPPED, Session
from autodata.settings import Settings, with_attempts
from autodata.tasks.types import digest

MEASURING = ("weak_solver", "strong_solver", "judge")  # roles that are asked, as the task has them


@dataclass(frozen=True, kw_only=True)
class ExamplesSession(Session):
    """A session about the examples of `run`, which `own` settings made.

    With `as_json` one object is printed to standard output; with `each` a line per example.
    """

    run: RunRow
    own: Settings
    each: bool = False
    as_json: bool = False

    command: ClassVar[str]

    def measure(self) -> int:
        """Asks for what is lacking. Returns the exit code. Raises RunFolderError, LedgerError or
        SettingsError before anything is asked of a model."""
        with self.folder.existing().locked():
            return self._work(self.row(self.settings), self.settings)

    def keep(self, settings: Settings) -> None:
        """Nothing: the folder stays that of its run."""

    def again(self) -> str:
        """The command that goes on after a pause."""
        return f"autodata {self.command} {self.folder.path}, with the same options"


@dataclass(frozen=True, kw_only=True)
class RemeasureSession(ExamplesSession):
    """Fresh attempts: so many of each side, as many as the run plans unless stated."""

    attempts: int | None = None

    kind = "remeasurement"
    command = "remeasure"

    @property
    def confirms(self) -> bool:
        """Whether it is the run's own solvers and judge, asked as the run asked them."""
        asked_alike = _asked(self.settings) == _asked(self.own)
        pinned, task = self.run.locked_revision, self.run.task
        known = pinned in ("", locked_revision(task)) or unchanged_since(pinned, task)
        return asked_alike and known

    def row(self, settings: Settings) -> RunRow:
        """The row of this remeasurement: one for each run and set of models."""
        task = self.run.task
        name = f"{self.run.id}-{SUFFIX}"
        if not self.confirms:
            name += f"-{digest(_asked(settings), locked_revision(task))[:8]}"
        update = {
            "kind": self.kind,
            "prompts_revision": self.run.prompts_revision,
            "models": _models(settings),
        }
        return run_row(settings, name).model_copy(update=update)

    def opened(self, run: RunRow, settings: Settings) -> "RemeasureWork":
        """The examples that lack fresh attempts."""
        choices = _choices(self.run, self.own, settings)
        attempts = self.attempts or max(planned(State(task=self.run.task, choices=choices)))
        context = open_run_context(self.folder, run.id, settings, packaged(), wait=self.wait)
        made = count_fresh(context.ledger, run.id)
        examples = accepted(context.ledger, self.run.id)
        plan = Remeasurement(
            run_id=run.id,
            measured_run=self.run.id,
            task=self.run.task,
            choices=choices,
            waiting=[
                (example, document)
                for example, document in examples
                if made.get(example, 0) < attempts
            ],
            attempts=attempts,
            in_flight=documents_in_flight(settings),
            confirms=self.confirms,
        )
        return RemeasureWork(run, context, plan, self, len(examples))


def _asked(settings: Settings) -> dict[str, Any]:
    """All that shapes what solvers and judge are asked and answer, by role."""
    return {
        role: settings.model(role).model_dump(mode="json", exclude={"attempts"})
        for role in _models(settings)
    }


def _models(settings: Settings) -> dict[str, str]:
    return {role: model for role, model in settings.roles.items() if role in MEASURING}


def _choices(run: RunRow, own: Settings, settings: Settings) -> RunChoices:
    """The run's choices; the examples that a side is shown, and how often the judge is asked, are
    those of whoever is asked."""
    choices = with_attempts(own.choices, run.config)
    if _asked(settings) == _asked(own):
        return choices
    theirs = {"weak_examples", "strong_examples", "judge_repeats"}
    return choices.model_copy(update=settings.choices.model_dump(include=theirs))


@dataclass(frozen=True)
class ExamplesWork(ABC):
    """The examples of a run that lack something."""

    run: RunRow
    context: RunContext
    plan: Remeasurement | AuditPlan

    @property
    def models(self) -> Models:
        return self.context.models

    @property
    def stop(self) -> asyncio.Event:
        return self.plan.stop

    @abstractmethod
    async def to_the_end(self) -> None:
        """All of them. Raises Paused."""

    async def _shown(
        self, console: Console, what: str, work: Callable[[Callable[..., None]], Awaitable[None]]
    ) -> None:
        """Does the work, which is told how to say that one more example is done."""
        waiting = len(self.plan.waiting)
        try:
            with Bar(console=console, transient=True, disable=not console.is_terminal) as bar:
                task = bar.add_task(what, total=waiting)
                await work(lambda *found: bar.advance(task))
        finally:
            await self.context.aclose()
        if self.stop.is_set() and self.plan.done + len(self.plan.refused) < waiting:
            raise STOPPED

    def _refused(self, console: Console, what: str) -> int:
        """Tells of examples for which an endpoint would not answer; the exit code."""
        for example_id, reason in self.plan.refused.items():
            console.print(f"{what}  {example_id}  {reason}", style="red", soft_wrap=True)
        return FAILED if self.plan.refused else DONE


@dataclass(frozen=True)
class RemeasureWork(ExamplesWork):
    """The examples of a run that lack fresh attempts."""

    plan: Remeasurement
    session: RemeasureSession
    examples: int

    async def to_the_end(self) -> None:
        """All of them. Raises Paused."""
        work = partial(remeasure, self.context, self.plan)
        await self._shown(self.session.console, "measured afresh", work)

    def tell(self, ledger: Ledger, status: RunStatus) -> int:
        """The fresh figures beside those that the gate saw."""
        found = Result(
            self.session.run,
            self.run.model_copy(update={"status": status}),
            self.plan.confirms,
            self.plan.attempts,
            self.examples,
            list(count_fresh(ledger, self.run.id).values()),
            measured(ledger, self.run.id),
            measuring(State(task=self.plan.task, choices=self.plan.choices)).bounds,
        )
        if self.session.as_json:
            print(json.dumps(found.plain(), indent=2))
        else:
            _print(self.session, found)
        return self._refused(self.session.console, "not measured")


class AuditSession(ExamplesSession):
    """A second judge marks a sample of the examples."""

    kind = "audit"
    command = "audit"

    def row(self, settings: Settings) -> RunRow:
        """The row of this audit: one for each run and second judge."""
        return audit_row(self.run, settings)

    def opened(self, run: RunRow, settings: Settings) -> "AuditWork":
        """The examples of the sample that are not marked yet."""
        context = open_run_context(self.folder, run.id, settings, packaged(), wait=self.wait)
        choices = with_attempts(self.own.choices, self.run.config)
        lacking = unaudited(context.ledger, run.id, self.run.id, settings.audit.share)
        in_flight = documents_in_flight(settings)
        plan = AuditPlan(run.id, self.run.id, self.run.task, choices, lacking, in_flight)
        return AuditWork(run, context, plan, self)


@dataclass(frozen=True)
class AuditWork(ExamplesWork):
    """The examples of a sample that the second judge has not marked."""

    plan: AuditPlan
    session: AuditSession

    async def to_the_end(self) -> None:
        """All of them. Raises Paused."""
        work = partial(audit, self.context, self.plan)
        await self._shown(self.session.console, "marked by the second judge", work)

    def tell(self, ledger: Ledger, status: RunStatus) -> int:
        """What the second judge says, of all and, where asked for, of each example."""
        session, console, run = self.session, self.session.console, self.session.run
        made = next((a for a in summarize(ledger, run.id).audits if a.id == self.run.id), None)
        audited = {who[0]: examples for who, examples in ledger.audited(run.id).items()}
        each = audited.get(self.run.id, [])
        if session.as_json:
            said = made.plain() if made else {"id": self.run.id, "examples": 0}
            said |= {"run": run.id, "status": status, "each": [one.plain() for one in each]}
            print(json.dumps(said, indent=2))
            return self._refused(console, "not marked")
        title = f"{run.task} run {run.id}, put to a second judge: {status}"
        console.print(Text(title, style="bold"), soft_wrap=True)
        for one in each if session.each else ():
            name = harmless(ledger.document(one.source).name)
            console.print(f"{one.source[:8]}  {name}: {one.said}", soft_wrap=True)
        none = "lies in the sample; a larger --share takes more"
        none = f"no example {'is marked yet' if self.plan.waiting else none}"
        console.print(made.said if made else none, soft_wrap=True)
        if run.simulated or self.run.simulated:
            console.print(NOTICE, style="yellow", soft_wrap=True)
        return self._refused(console, "not marked")


def _print(session: RemeasureSession, found: Result) -> None:
    console, run = session.console, found.run
    made, status = attempts_each(found.made), found.remeasurement.status
    title = f"{run.task} run {run.id}, its examples measured afresh, {made}: {status}"
    console.print(Text(title, style="bold"), soft_wrap=True)
    if not found.confirms:
        models = ", ".join(f"{role} {name}" for role, name in found.remeasurement.models.items())
        said = f"by other models than the run's, and kept apart from its figures: {models}"
        console.print(said, soft_wrap=True)
    if session.each:
        _print_each(console, found)
    _print_means(console, found)
    console.print(passed_again(found.passed, len(found.decided)), soft_wrap=True)
    if lacking := found.examples - len(found.decided):
        console.print(
            f"{lacking} of {found.examples} examples are not measured afresh yet", soft_wrap=True
        )
    if found.fewer:
        said = f"{found.fewer} of {found.examples} examples have fewer than the {found.attempts}"
        console.print(f"{said} attempts a side that are asked for", soft_wrap=True)
    if found.remeasurement.simulated or run.simulated:
        console.print(NOTICE, style="yellow", soft_wrap=True)
    if found.confirms and found.passed and status == "done":
        take = f"autodata export {session.folder.path} --confirmed --format jsonl"
        console.print(f"Take along what passed again: {take}", soft_wrap=True)


def _print_means(console: Console, found: Result) -> None:
    made = table("mean scores", *SCORES, numbers=SCORES)
    made.add_row("as the gate saw", *(number(found.shown(score)) for score in SCORES))
    fresh = [found.fresh(score) for score in SCORES]
    made.add_row("afresh", *(number(one.value) for one in fresh))
    made.add_row("95 % interval", *(ends(one.interval) for one in fresh))
    print_table(console, made)


def _print_each(console: Console, found: Result) -> None:
    """The scores that the gate saw, an arrow, and the fresh ones; with four decimals where two do
    not tell one from its bound."""
    weak_max, strong_min, strong_max, gap_min, _ = found.bounds
    limits = {"weak": (weak_max,), "strong": (strong_min, strong_max), "gap": (gap_min,)}
    made = table("document", "name", *SCORES, "passed again", numbers=SCORES, wrapped=("name",))
    for one in found.found:
        moved = (
            f"{told_from(getattr(one.shown, score), limits[score])} → "
            f"{told_from(getattr(one.fresh, score), limits[score])}"
            for score in SCORES
        )
        holds = {True: "yes", False: "no", None: "–"}[one.fresh.holds]
        made.add_row(one.document_id[:8], harmless(one.name), *moved, holds)
    print_table(console, made)
    console.print()
