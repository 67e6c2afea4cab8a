"""Fresh attempts at what a run accepted, which no gate has seen, and their result beside the old
figures."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.progress import Progress as Bar
from rich.text import Text

from autodata.assembly import documents_in_flight, open_run_context, run_row
from autodata.graph.context import RunContext
from autodata.graph.run import Remeasurement, remeasure
from autodata.graph.state import (
    RunChoices,
    State,
    measuring,
    planned,
)
from autodata.ledger.ledger import SUFFIX, Ledger
from autodata.ledger.measurements import (
    SCORES,
    Result,
    accepted,
    count_fresh,
    measured,
)
from autodata.ledger.rows import RunRow, RunStatus
from autodata.ledger.summary import NOTICE, harmless, number, share
from autodata.models.client import Models
from autodata.options import DONE, FAILED
from autodata.prompt_store.prompt import locked_revision, packaged, unchanged_since
from autodata.screen import print_table, table
from autodata.session import STOPPED, Session
from autodata.settings import Settings, with_attempts
from autodata.tasks.acceptance import exact
from autodata.tasks.measurement import Interval
from autodata.tasks.types import digest

MEASURING = ("weak_solver", "strong_solver", "judge")  # roles that are asked, as the task has them


@dataclass(frozen=True, kw_only=True)
class RemeasureSession(Session):
    """A session of fresh attempts at the examples of `run`, which `own` settings made.

    `attempts` of each side, as many as the run plans unless stated. With `as_json` one object is
    printed to standard output; with `each` a line per example.
    """

    run: RunRow
    own: Settings
    attempts: int | None = None
    each: bool = False
    as_json: bool = False

    kind = "remeasurement"

    def measure(self) -> int:
        """Asks for what is lacking. Returns the exit code. Raises RunFolderError, LedgerError or
        SettingsError before anything is asked of a model."""
        with self.folder.existing().locked():
            return self._work(self.row(self.settings), self.settings)

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

    def keep(self, settings: Settings) -> None:
        """Nothing: the folder stays that of its run."""

    def again(self) -> str:
        """The command that goes on after a pause."""
        return f"autodata remeasure {self.folder.path}, with the same options"

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
        return RemeasureWork(self, run, context, plan, len(examples))


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
class RemeasureWork:
    """The examples of a run that lack fresh attempts."""

    session: RemeasureSession
    run: RunRow
    context: RunContext
    plan: Remeasurement
    examples: int

    @property
    def models(self) -> Models:
        return self.context.models

    @property
    def stop(self) -> asyncio.Event:
        return self.plan.stop

    async def to_the_end(self) -> None:
        """All of them. Raises Paused."""
        console, waiting = self.session.console, len(self.plan.waiting)
        try:
            with Bar(console=console, transient=True, disable=not console.is_terminal) as bar:
                task = bar.add_task("measured afresh", total=waiting)
                await remeasure(self.context, self.plan, lambda *found: bar.advance(task))
        finally:
            await self.context.aclose()
        if self.stop.is_set() and self.plan.done + len(self.plan.refused) < waiting:
            raise STOPPED

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
        for example_id, reason in self.plan.refused.items():
            said = f"not measured  {example_id}  {reason}"
            self.session.console.print(said, style="red", soft_wrap=True)
        return FAILED if self.plan.refused else DONE


def _print(session: RemeasureSession, found: Result) -> None:
    console, run = session.console, found.run
    status = found.remeasurement.status
    title = f"{run.task} run {run.id}, its examples measured afresh, {_made(found.made)}: {status}"
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


def _made(made: Sequence[int]) -> str:
    """`3 to 9 attempts a side`: as many as examples have."""
    if not made:
        return "no attempt yet"
    least, most = min(made), max(made)
    counted = f"{least}" if least == most else f"{least} to {most}"
    return f"{counted} attempt{'' if most == 1 else 's'} a side"


def passed_again(passed: int, measured: int) -> str:
    """`27 of 52 passed again (52 %, 39–65)`."""
    if not measured:
        return "no example is measured afresh"
    return share(passed, measured, "passed again")


def _print_means(console: Console, found: Result) -> None:
    made = table("mean scores", *SCORES, numbers=SCORES)
    made.add_row("as the gate saw", *(number(found.shown(score)) for score in SCORES))
    fresh = [found.fresh(score) for score in SCORES]
    made.add_row("afresh", *(number(one.value) for one in fresh))
    made.add_row("95 % interval", *(interval(one.interval) for one in fresh))
    print_table(console, made)


def interval(found: Interval | None) -> str:
    """`0.41 to 0.53`; a single document has none."""
    return "–" if found is None else f"{number(found.low)} to {number(found.high)}"


def told_from(value: float | None, limits: Sequence[float]) -> str:
    """`0.6496`: a score, with as many decimals as tell it from these."""
    said = number(value)
    alike = value is not None and any(
        said == number(limit) and exact(value) != exact(limit) for limit in limits
    )
    return f"{value:.4f}" if alike else said


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
