"""One sitting of a run: from the lock on its folder to the summary, however it ends."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console

from autodata.assembly import documents_in_flight, open_run_context, resolve, run_row
from autodata.cli import DONE, FAILED
from autodata.documents.corpus import Skipped
from autodata.ending import STOPPED, Ending, stop_on_signals, to_its_end
from autodata.graph.context import RunContext
from autodata.graph.run import Batch, run_documents
from autodata.ledger.ledger import Ledger
from autodata.ledger.rows import RunRow
from autodata.ledger.summary import summarize
from autodata.progress import Progress
from autodata.prompt_store.prompt import PromptSet
from autodata.run_folder import RunFolder
from autodata.screen import print_summary
from autodata.settings import Settings
from autodata.tasks.types import Document


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
        context = open_run_context(self.folder, run.id, settings, prompts, wait=self.wait)
        self.folder.keep(settings)
        if any(run.id == known.id for known in context.ledger.runs()):
            context.ledger.set_status("running", run.id)
        else:
            context.ledger.start_run(run)
        batch = Batch(
            task=run.task,
            choices=settings.choices,
            document_ids=context.ledger.document_ids(),
            in_flight=documents_in_flight(settings),
            target=settings.run.target,
            decided=context.ledger.outcomes(run.id),
        )
        ending = to_its_end(self._work(context, batch, run.models), self.folder, run.id)
        self.console.print()
        with Ledger.open(self.folder.path) as ledger:
            print_summary(self.console, summarize(ledger, run.id), ending.status)
        return self._last_words(batch, ending)

    async def _work(self, context: RunContext, batch: Batch, models: Mapping[str, str]) -> None:
        """All documents. Raises Paused."""
        progress = Progress(self.console, context, batch, models)
        stop_on_signals(self.console, batch.stop, context.models)
        try:
            async with progress.shown():
                await run_documents(context, batch, progress.document)
        finally:
            await context.aclose()
        if batch.stop.is_set() and len(batch.decided) < len(batch.document_ids):
            raise STOPPED

    def _last_words(self, batch: Batch, ending: Ending) -> int:
        """What the user must know or may do next; the exit code."""
        for document_id, reason in batch.refused.items():
            self.console.print(f"undecided  {document_id}  {reason}", style="red", soft_wrap=True)
        code = ending.tell(self.console, self.folder)
        if code != DONE:
            return code
        self.console.print(
            f"Read it with: autodata show {self.folder.path}\n"
            f"Take it along: autodata export {self.folder.path} --format jsonl",
            soft_wrap=True,
        )
        return FAILED if batch.refused else DONE
