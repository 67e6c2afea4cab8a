"""autodata export and report: accepted examples for training, a page to read."""

from collections.abc import Sequence
from pathlib import Path

from autodata.board.render import report
from autodata.ledger.export import export
from autodata.ledger.ledger import Ledger
from autodata.run_folder import RunFolder, RunFolderError
from autodata.screen import screen


def export_examples(
    run: Path, form: str, output: Path | None, confirmed: bool, run_id: str | None
) -> None:
    """Writes the accepted examples, or those that fresh attempts bear out, and a card beside."""
    folder = RunFolder(run).existing()
    with Ledger.open(folder.path, create=False) as ledger:
        written = export(ledger, form, output, run_id, confirmed=confirmed)
    rows = f"{written.rows} row{'' if written.rows == 1 else 's'}"
    screen().print(f"{rows} in {written.path}\ndataset card in {written.card}", soft_wrap=True)


def write_report(run: Path, output: Path | None, run_id: str | None) -> None:
    """Writes the page of a run over documents or of an optimization."""
    folder, place = RunFolder(run).existing(), output or run / "report.html"
    with Ledger.open(folder.path, create=False) as ledger:
        row = ledger.run(run_id)
        if row.kind == "remeasurement":
            raise RunFolderError(
                f"{row.id} measures another run afresh; the report of that run shows what it found"
            )
        parts: Sequence[str] = ()
        if row.kind == "optimization":
            # It brings the optimizer and LangChain along, which take seconds to load.
            from autodata.report import parts as parts_of

            parts = parts_of(ledger, row)
        text = report(ledger, row, folder.status(row), parts)
    place.write_bytes(text)
    screen().print(f"The report is in {place}", soft_wrap=True)
