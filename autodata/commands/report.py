"""autodata report: a run as one page to read in a browser."""

from pathlib import Path

import click

from autodata import options
from autodata.exits import exits
from autodata.ledger.ledger import Ledger
from autodata.report.optimization import report
from autodata.run_folder import RunFolder, RunFolderError
from autodata.screen import screen


@click.command("report")
@options.run_folder
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Where to write it; RUN/report.html unless stated.",
)
@exits
def command(run: Path, output: Path | None) -> None:
    """Write what an optimization found as one HTML page that loads nothing from elsewhere: pass
    rate against iteration, the family of edits, what each one changed, predictions, checks, cost.

    \b
    Examples:
      autodata report runs/opt
      autodata report runs/opt -o opt.html
    """
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
