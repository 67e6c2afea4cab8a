"""One sitting of a run: from the lock on its folder to the summary, however it ends."""

import asyncio
import signal
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console

from agents.errors import Interrupted, Paused
from autodata.exits import DONE, FAILED, INTERRUPTED, PAUSED
from autodata.open import documents_in_flight, open_workshop, resolve, run_row
from autodata.progress import Progress
from autodata.run_folder import RunFolder
from autodata.settings import Settings
from autodata.summary import print_summary
from graph.run import Batch, run_documents
from graph.workshop import Workshop
from ledger.corpus import Skipped
from ledger.ledger import Ledger
from ledger.rows import RunRow, Status
from ledger.summary import summarize
from prompt_store.prompt import PromptSet
from tasks.types import Document

STOPPED = Interrupted("the run was stopped", "Its finished documents and calls are kept")


@dataclass(frozen=True)
class Sitting:
    """A run folder, the settings to run it with, and where to tell about it.

    With `wait` an endpoint that is down is waited for instead of pausing the run.
    """

    folder: RunFolder
    settings: Settings
    console: Console
    wait: bool = False

    def begin(self, documents: Iterable[Document], skipped: Sequence[Skipped] = ()) -> int:
        """Begins a run on these documents, or goes on with the one that is there.

        `skipped` is read once the documents are. Returns the exit code. Raises RunFolderError,
        LedgerError, PromptError or StoreError before anything is asked of a model.
        """
        settings, prompts = resolve(self.settings, self.settings.run.task or "")
        with self.folder.fresh().locked():
            with Ledger.open(self.folder.path) as ledger:
                run = next(reversed(ledger.runs()), None)
                if run:
                    self.folder.check_unchanged(run, settings)
                ledger.add_documents(documents)
                for file in skipped:
                    self.console.print(f"skipped  {file}", style="yellow", soft_wrap=True)
            code = self._sit(run or run_row(settings), settings, prompts)
        return FAILED if code == DONE and skipped else code

    def go_on(self) -> int:
        """Goes on with the run that is there. Returns the exit code; raises as `begin`."""
        with self.folder.existing().locked():
            with Ledger.open(self.folder.path, create=False) as ledger:
                run = ledger.run()
                settings, prompts = resolve(self.settings, run.task)
                self.folder.check_unchanged(run, settings)
            return self._sit(run, settings, prompts)

    def _sit(self, run: RunRow, settings: Settings, prompts: PromptSet) -> int:
        """Runs what is undecided and tells how it ended."""
        workshop = open_workshop(self.folder, run.id, settings, prompts, wait=self.wait)
        self.folder.keep(settings)
        if any(run.id == known.id for known in workshop.ledger.runs()):
            workshop.ledger.set_status("running", run.id)
        else:
            workshop.ledger.start_run(run)
        batch = Batch(
            task=run.task,
            choices=settings.choices,
            document_ids=workshop.ledger.document_ids(),
            in_flight=documents_in_flight(settings),
            target=settings.run.target,
            decided=workshop.ledger.outcomes(run.id),
        )
        pause: Paused | None = None
        status: Status = "interrupted"  # unless it ends in a better way
        try:
            asyncio.run(self._work(workshop, batch, run.models))
            status = "done"
        except Paused as paused:
            pause = paused
            status = "interrupted" if isinstance(paused, Interrupted) else "paused"
        finally:
            with Ledger.open(self.folder.path) as ledger:
                ledger.set_status(status, run.id)
                summary = summarize(ledger, run.id)
        self.console.print()
        print_summary(self.console, summary, status)
        return self._last_words(batch, pause)

    async def _work(self, workshop: Workshop, batch: Batch, models: Mapping[str, str]) -> None:
        """All documents. Raises Paused."""
        progress = Progress(self.console, workshop, batch, models)
        self._stop_on_signals(workshop, batch)
        try:
            async with progress.shown():
                await run_documents(workshop, batch, progress.document)
        except asyncio.CancelledError:
            raise STOPPED from None
        finally:
            await workshop.aclose()
        if batch.stop.is_set() and len(batch.decided) < len(batch.document_ids):
            raise STOPPED

    def _stop_on_signals(self, workshop: Workshop, batch: Batch) -> None:
        """The first Ctrl-C lets calls in flight end and be recorded, the second drops them."""
        work = asyncio.current_task()
        assert work is not None

        def stop() -> None:
            if batch.stop.is_set():
                work.cancel()
                return
            self.console.print("Stopping when the calls in flight have ended; again to stop now")
            batch.stop.set()
            workshop.models.stop(STOPPED)

        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop)

    def _last_words(self, batch: Batch, pause: Paused | None) -> int:
        """What the user must know or may do next; the exit code."""
        place = self.folder.path
        for document_id, reason in batch.refused.items():
            self.console.print(f"undecided  {document_id}  {reason}", style="red", soft_wrap=True)
        if pause:
            self.console.print(f"{pause}.\nGo on with: autodata resume {place}", soft_wrap=True)
            return INTERRUPTED if isinstance(pause, Interrupted) else PAUSED
        self.console.print(
            f"Read it with: autodata show {place}\nTake it along: autodata export {place} "
            "--format jsonl",
            soft_wrap=True,
        )
        return FAILED if batch.refused else DONE
