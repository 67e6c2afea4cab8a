"""autodata export and report: accepted examples for training, a page to read."""

from pathlib import Path

from autodata.ledger.export import export
from autodata.ledger.ledger import Ledger
from autodata.report import report
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


def write_report(run: Path, output: Path | None) -> None:
    """Writes the page of an optimization."""
    folder, place = RunFolder(run).existing(), output or run / "report.html"
    with Ledger.open(folder.path, create=False) as ledger:
        row = ledger.run()
        if row.kind != "optimization":
            raise RunFolderError(
                f"{run} holds a run over documents; read it with `autodata status {run}` and "
                f"`autodata show {run}`. Reports are for optimizations"
            )
        text = report(ledger, row, folder.status(row))
    place.write_text(text, encoding="utf-8")
    screen().print(f"The report is in {place}", soft_wrap=True)
