"""autodata run and resume: documents in, examples out."""

from collections.abc import Sequence
from pathlib import Path

from autodata.documents.corpus import ingest
from autodata.ledger.ledger import Ledger
from autodata.optimization import Optimization
from autodata.run_folder import RunFolder
from autodata.screen import screen
from autodata.settings import Override, load, with_task
from autodata.sitting import Sitting


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
    return Sitting(RunFolder(out), settings, screen(), wait).begin(corpus, corpus.skipped)


def resume(run: Path, wait: bool, overrides: Sequence[Override]) -> int:
    """Goes on with the run in the folder, whatever its kind."""
    folder = RunFolder(run).existing()
    settings = load(folder.config, overrides)
    with Ledger.open(folder.path, create=False) as ledger:
        optimizes = ledger.run().kind == "optimization"
    sitting = Optimization if optimizes else Sitting
    return sitting(folder, settings, screen(), wait).go_on()
