"""autodata run and resume: documents in, examples out."""

from collections.abc import Sequence
from pathlib import Path

from autodata.documents.corpus import ingest
from autodata.ledger.ledger import Ledger
from autodata.run_folder import RunFolder, RunFolderError
from autodata.screen import screen
from autodata.session import RunSession
from autodata.settings import Override, load, with_task


def run(
    documents: Sequence[str],
    out: Path,
    config: Path | None,
    wait: bool,
    overrides: Sequence[Override],
) -> int:
    """Begins a run, or goes on with the one in the folder."""
    settings = with_task(load(config, overrides))
    corpus = ingest(
        documents,
        per_document=settings.run.per_document,
        budget=settings.run.passage_tokens,
    )
    return RunSession(RunFolder(out), settings, screen(), wait).begin(corpus, corpus.skipped)


def resume(run: Path, wait: bool, overrides: Sequence[Override]) -> int:
    """Goes on with the run in the folder, whatever its kind."""
    folder = RunFolder(run).existing()
    with Ledger.open(folder.path, create=False) as ledger:
        if not ledger.runs():
            raise RunFolderError(
                f"{run} was stopped while it began, before all documents were read; give the "
                "command that began it once more"
            )
        begun = ledger.run()
    settings = folder.settings(begun, overrides)
    if begun.kind != "optimization":
        return RunSession(folder, settings, screen(), wait).go_on()
    from autodata.optimization import OptimizationSession  # with all of the optimizer

    return OptimizationSession(folder, settings, screen(), wait).go_on()
