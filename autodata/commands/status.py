"""autodata status: how a run stands."""

import json
from pathlib import Path

import click

from autodata import options
from autodata.exits import exits
from autodata.ledger.ledger import Ledger
from autodata.ledger.summary import summarize
from autodata.optimization_screen import print_result
from autodata.run_folder import RunFolder
from autodata.screen import print_summary, screen


@click.command("status")
@options.run_folder
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@exits
def command(run: Path, as_json: bool) -> None:
    """How a run stands; works while it runs, too.

    \b
    Examples:
      autodata status runs/cs
      autodata status runs/cs --json | jq .documents
    """
    folder = RunFolder(run).existing()
    with Ledger.open(folder.path, create=False) as ledger:
        summary = summarize(ledger)
        status = folder.status(summary.run)
        if as_json:
            print(json.dumps(summary.plain() | {"status": status}, indent=2))
        elif summary.run.kind == "optimization":
            print_result(screen(), ledger, summary.run, status)
        else:
            print_summary(screen(), summary, status)
