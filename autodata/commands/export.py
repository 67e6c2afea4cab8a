"""autodata export: accepted examples for training."""

from pathlib import Path

import click

from autodata import options
from autodata.exits import exits
from autodata.ledger.export import export
from autodata.ledger.ledger import Ledger
from autodata.run_folder import RunFolder
from autodata.screen import screen


@click.command("export")
@options.run_folder
@click.option("--format", "form", required=True, metavar="F", help="jsonl, parquet, trl-grpo, …")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Where to write it."
)
@exits
def command(run: Path, form: str, output: Path | None) -> None:
    """Write the accepted examples to a file for training, with a dataset card beside it.

    \b
    Formats: jsonl and parquet hold the full example; trl-grpo, verl, sft and dpo hold what
    these trainers read. Parquet files need the extra `autodata-loop[parquet]`.

    \b
    Examples:
      autodata export runs/cs --format jsonl
      autodata export runs/cs --format trl-grpo -o train.jsonl
    """
    folder = RunFolder(run).existing()
    with Ledger.open(folder.path, create=False) as ledger:
        written = export(ledger, form, output)
    rows = f"{written.rows} row{'' if written.rows == 1 else 's'}"
    screen().print(f"{rows} in {written.path}\ndataset card in {written.card}", soft_wrap=True)
