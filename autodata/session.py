"""A session: one process at work on a run folder, from the lock to the last words.

A run and an optimization differ in what they work on (`Session.opened`) and in what they say of it
(`Work.tell`); everything else happens here once.
"""

import asyncio
import os
import signal
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, Protocol

from rich.console import Console

from autodata.assembly import (
    audit_row,
    documents_in_flight,
    open_prompts,
    open_run_context,
    resolve,
    run_row,
)
from autodata.documents.corpus import Copied, Skipped
from autodata.graph.context import RunContext
from autodata.graph.run import Admission, AuditPlan, Batch, audit, run_documents
from autodata.ledger.ledger import Ledger
from autodata.ledger.measurements import unaudited
from autodata.ledger.reviews import waiting_documents
from autodata.ledger.rows import Kind, RunRow, RunStatus
from autodata.ledger.summary import summarize, waiting_line
from autodata.models.client import Models
from autodata.models.errors import Interrupted, Paused, ReviewsWait
from autodata.options import DONE, FAILED, INTERRUPTED, PAUSED
from autodata.progress import Progress
from autodata.prompt_store.prompt import locked_revision, unchanged_since
from autodata.run_folder import RunFolder, RunFolderError
from autodata.screen import print_summary
from autodata.settings import Settings, SettingsError, changes, with_baseline
from autodata.tasks.types import Document

STOPPED = Interrupted("the run was stopped", "Its finished documents and calls are kept")
TERMINALS = (1, 2)  # file descriptors to which a session prints


class Work(Protocol):
    """What a session is about, opened and ready to go."""

    @property
    def models(self) -> Models:
        """The models that it asks."""

    @property
    def stop(self) -> asyncio.Event:
        """Set when nothing new is to be begun."""

    async def to_the_end(self) -> None:
        """Does all of it and closes what it opened, however it ends. Raises Paused."""

    def tell(self, ledger: Ledger, status: RunStatus) -> int:
        """Says what came of it; returns the exit code of a session that is done."""


@dataclass(frozen=True)
class Session(ABC):
    """A run folder, the settings to work with, and where to tell about it.

    With `wait` an endpoint that is down is waited for instead of pausing the run. Where
    `stopped_by` is given, no signal is heeded: it is told what stops the work, which any thread may
    call.
    """

    folder: RunFolder
    settings: Settings
    console: Console
    wait: bool = False
    stopped_by: Callable[[Callable[[], None]], None] | None = field(default=None, kw_only=True)

    kind: ClassVar[Kind]
    may_change: ClassVar[tuple[str, ...]] = ()  # keys besides those that always may

    def begin(self, documents: Iterable[Document], skipped: Sequence[Skipped] = ()) -> int:
        """Begins on these documents, or goes on with the run that is there.

        `skipped` is read once the documents are. Returns the exit code. Raises RunFolderError,
        LedgerError, SettingsError, PromptError or StoreError before anything is asked of a model.
        """
        folder, settings = self.folder.fresh(), self.resolved(self.settings.run.task or "")
        with folder.locked():
            with Ledger.open(folder.path) as ledger:
                run = next(reversed(ledger.runs()), None)
                if run:
                    self._check_unchanged(run, settings)
                else:
                    folder.keep(settings)  # before the first row: `resume` reads it
                ledger.add_documents(documents)
            for file in skipped:
                self.console.print(f"skipped  {file}", style="yellow", soft_wrap=True)
            code = self._work(run or self.row(settings), settings)
        lost = [file for file in skipped if not isinstance(file, Copied)]
        return FAILED if code == DONE and lost else code

    def go_on(self) -> int:
        """Goes on with the run that is there. Returns the exit code; raises as `begin`."""
        with self.folder.existing().locked():
            with Ledger.open(self.folder.path, create=False) as ledger:
                run = ledger.run()
            settings = self.resolved(run.task)
            self._check_unchanged(run, settings)
            return self._work(run, settings)

    def resolved(self, task: str) -> Settings:
        """The settings with nothing left open."""
        return resolve(self.settings, task)[0]

    def row(self, settings: Settings) -> RunRow:
        """The row of a run that begins now."""
        return run_row(settings)

    def config(self, run: RunRow, settings: Settings) -> Mapping[str, Any]:
        """What the run's row would hold if it began with these settings."""
        return settings.plain()

    def keep(self, settings: Settings) -> None:
        """Writes down the settings with which the folder is gone on with."""
        self.folder.keep(settings)

    def again(self) -> str:
        """The command that goes on after a pause."""
        return f"autodata resume {self.folder.path}"

    @abstractmethod
    def opened(self, run: RunRow, settings: Settings) -> Work:
        """The work, with files and models open. Raises UnknownPrice."""

    def _check_unchanged(self, run: RunRow, settings: Settings) -> None:
        if run.kind != self.kind:
            raise RunFolderError(f"{self.folder.path} holds a run of another kind; name a new one")
        found = [
            self.worded(change)
            for change in changes(run.config, self.config(run, settings))
            if not change.startswith(self.may_change)
        ]
        now = locked_revision(run.task)
        if run.locked_revision != now and not unchanged_since(run.locked_revision, run.task):
            found.append(f"locked prompts: {run.locked_revision} → {now}")
        if found:
            place, lines = self.folder.path, "\n  ".join(found)
            raise RunFolderError(
                f"{place} was begun with another configuration:\n  {lines}\n"
                f"Go on as it was with `autodata resume {place}`, or name a new folder"
            )

    def worded(self, change: str) -> str:
        """A change of the configuration, to be read by people."""
        return change

    def _work(self, run: RunRow, settings: Settings) -> int:
        """Works to the end, records how the run stands then, and tells; returns the exit code."""
        for said in settings.unread:
            self.console.print(said, style="yellow", soft_wrap=True)
        work = self.opened(run, settings)
        self.keep(settings)
        with Ledger.open(self.folder.path) as ledger:
            ledger.set_status("running", ledger.run_like(run))
        status, pause = self._ended(work, run.id)
        with Ledger.open(self.folder.path) as ledger:
            code = self.told(work, ledger, status)
        return code if pause is None else self.paused(pause, status)

    def told(self, work: Work, ledger: Ledger, status: RunStatus) -> int:
        """Says what came of the work; returns the exit code of a session that is done."""
        return work.tell(ledger, status)

    def paused(self, pause: Paused, status: RunStatus) -> int:
        """Says why the work stopped and how to go on; returns the exit code."""
        self.console.print(f"{pause}.\nGo on with: {self.again()}", soft_wrap=True)
        return INTERRUPTED if status == "interrupted" else PAUSED

    def _ended(self, work: Work, run_id: str) -> tuple[RunStatus, Paused | None]:
        """Does the work and records how the run stands afterwards, even if that is by a bug."""
        status: RunStatus = "interrupted"
        pause: Paused | None = None
        try:
            asyncio.run(self._attended(work))
            status = "done"
        except asyncio.CancelledError:
            pause = STOPPED
        except Paused as reason:
            status = "interrupted" if isinstance(reason, Interrupted) else "paused"
            pause = reason
        finally:
            with Ledger.open(self.folder.path) as ledger:
                ledger.set_status(status, run_id)
        return status, pause

    async def _attended(self, work: Work) -> None:
        """The work, while signals are heeded, or whoever else may stop it."""
        loop, stop = asyncio.get_running_loop(), _stop(self.console, work)
        if self.stopped_by is None:
            _stop_on_signals(loop, stop)
        else:
            self.stopped_by(partial(_call_in, loop, stop))
        await work.to_the_end()


def _stop(console: Console, work: Work) -> Callable[[], None]:
    """Stops the work of this task: at the first call the calls to models that are in flight end and
    are recorded, at the second they are dropped."""
    task = asyncio.current_task()
    assert task is not None

    def stop() -> None:
        if work.stop.is_set():
            task.cancel()
            return
        work.stop.set()
        work.models.stop(STOPPED)
        console.print("Stopping when the calls in flight have ended; again to stop now")

    return stop


def _call_in(loop: asyncio.AbstractEventLoop, stop: Callable[[], None]) -> None:
    """Calls from another thread; does nothing where the work has just ended."""
    with suppress(RuntimeError):  # the loop is closed
        loop.call_soon_threadsafe(stop)


def _stop_on_signals(loop: asyncio.AbstractEventLoop, stop: Callable[[], None]) -> None:
    """On Ctrl-C, SIGTERM and SIGHUP; a process that was started to survive a hangup does."""
    terminals = [descriptor for descriptor in TERMINALS if os.isatty(descriptor)]

    def hang_up() -> None:
        _silence(terminals)
        stop()

    loop.add_signal_handler(signal.SIGINT, stop)
    loop.add_signal_handler(signal.SIGTERM, stop)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup leaves it
        loop.add_signal_handler(signal.SIGHUP, hang_up)


def _silence(terminals: Sequence[int]) -> None:
    """Sends what is printed from now on nowhere: writing to a terminal that is gone fails."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in terminals:
        os.dup2(nowhere, descriptor)
    os.close(nowhere)


def begun_in(folder: RunFolder, ledger: Ledger) -> RunRow:
    """The latest run of a folder. Raises RunFolderError where it was stopped before it had one."""
    if not ledger.runs():
        raise RunFolderError(
            f"{folder.path} was stopped while it began, before all documents were read; give the "
            "command that began it once more, or make the same call"
        )
    return ledger.run()


class RunSession(Session):
    """A session of a run: documents in, examples out."""

    kind = "documents"

    def begin(self, documents: Iterable[Document], skipped: Sequence[Skipped] = ()) -> int:
        """As any session; raises SettingsError where reviews are asked for that no run has, or a
        baseline that its task does not have."""
        if self.settings.run.review == "before_keep":
            raise SettingsError(
                "run.review: before_keep is about prompt edits, which `autodata optimize` makes; a "
                "run takes before_accept"
            )
        if self.settings.run.baseline:
            with_baseline(self.settings)
        return super().begin(documents, skipped)

    def opened(self, run: RunRow, settings: Settings) -> "RunWork":
        """What is undecided yet."""
        prompts, _ = open_prompts(settings.prompts, run.task, settings.run.baseline)
        context = open_run_context(self.folder, run.id, settings, prompts, wait=self.wait)
        batch = Batch(
            task=run.task,
            choices=settings.choices,
            document_ids=context.ledger.document_ids(),
            in_flight=documents_in_flight(settings),
            target=settings.run.target,
            baseline=settings.run.baseline,
            decided=context.ledger.outcomes(run.id),
        )
        batch.waiting |= _waiting(context, batch)
        if settings.audit.share:
            audit_row(run, settings)  # raises before anybody is asked
        return RunWork(self.folder, self.console, context, batch, run, settings)


def _waiting(context: RunContext, batch: Batch) -> set[str]:
    """The documents of the batch that wait for a person."""
    return waiting_documents(context.ledger, context.run_id) if batch.choices.review else set()


@dataclass(frozen=True)
class RunWork:
    """The documents of a run that have no decision yet."""

    folder: RunFolder
    console: Console
    context: RunContext
    batch: Batch
    run: RunRow
    settings: Settings

    @property
    def models(self) -> Models:
        return self.context.models

    @property
    def stop(self) -> asyncio.Event:
        return self.batch.stop

    async def to_the_end(self) -> None:
        """All documents. Raises Paused."""
        progress = Progress(self.console, self.context, self.batch, self.run.models)
        progress.outlook(Admission(self.context, self.batch).outlook())
        try:
            async with progress.shown():
                await run_documents(self.context, self.batch, progress.document)
                while await self._answered_meanwhile():
                    await run_documents(self.context, self.batch, progress.document)
            if self.settings.audit.share and not self.stop.is_set():
                await self._audit()
        finally:
            await self.context.aclose()
        if self.batch.unreviewed and not self.stop.is_set():
            raise ReviewsWait(
                f"paused: {waiting_line(len(self.batch.waiting))}",
                f"`autodata review {self.folder.path}` asks you about each",
            )
        if self.stop.is_set() and len(self.batch.decided) < len(self.batch.document_ids):
            raise STOPPED

    async def _audit(self) -> None:
        """A second judge marks a sample of the examples. Raises Paused."""
        row, ledger = audit_row(self.run, self.settings), self.context.ledger
        await asyncio.to_thread(ledger.run_like, row)
        lacking = unaudited(ledger, row.id, self.run.id, self.settings.audit.share)
        batch, run = self.batch, self.run
        plan = AuditPlan(row.id, run.id, batch.task, batch.choices, lacking, batch.in_flight)
        plan.stop = self.stop
        await audit(self.context, plan)
        if not plan.waiting or plan.done == len(plan.waiting):
            await asyncio.to_thread(ledger.set_status, "done", row.id)
        self.batch.refused |= plan.refused

    async def _answered_meanwhile(self) -> bool:
        """Takes up again what a person has reviewed since it was put down; whether there is any."""
        waiting = await asyncio.to_thread(_waiting, self.context, self.batch)
        answered = self.batch.waiting - waiting
        self.batch.waiting &= waiting
        return bool(answered) and not self.stop.is_set()

    def tell(self, ledger: Ledger, status: RunStatus) -> int:
        """The run in numbers, what the user must know, and what to do next."""
        self.console.print()
        summary = summarize(ledger, self.run.id)
        print_summary(self.console, summary, status)
        for document_id, reason in self.batch.refused.items():
            self.console.print(f"undecided  {document_id}  {reason}", style="red", soft_wrap=True)
        if status == "done":
            place = self.folder.path
            self.console.print(f"Read it with: autodata show {place}", soft_wrap=True)
            if summary.documents["accepted"]:
                take = f"Take it along: autodata export {place} --format jsonl"
                self.console.print(take, soft_wrap=True)
        return FAILED if self.batch.refused else DONE
