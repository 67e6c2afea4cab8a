"""autodata resume: go on with a run."""

from pathlib import Path
from typing import Any

import click

from autodata import options
from autodata.exits import exits
from autodata.ledger.ledger import Ledger
from autodata.optimization import Optimization
from autodata.run_folder import RunFolder
from autodata.screen import screen
from autodata.settings import load
from autodata.sitting import Sitting


@click.command("resume")
@options.run_folder
@click.option("--target", type=int, metavar="N", help="Stop when N documents are accepted.")
@options.budgets
@options.wait
@options.settings
@exits
def command(run: Path, wait: bool, sets: tuple[str, ...], **flags: Any) -> int:
    """Go on with a run that was paused, interrupted or killed.

    Recorded calls are answered from the run folder; only calls that were in flight are made again.
    The configuration is the run's own. Budgets, target, addresses, keys and rates may be changed.

    \b
    Examples:
      autodata resume runs/cs
      autodata resume runs/cs --budget-usd 20
      autodata resume runs/cs --set endpoints.local.base_url=http://localhost:8001/v1
    """
    folder = RunFolder(run).existing()
    settings = load(folder.config, options.overrides(flags, sets))
    with Ledger.open(folder.path, create=False) as ledger:
        optimizes = ledger.run().kind == "optimization"
    sitting = Optimization if optimizes else Sitting
    return sitting(folder, settings, screen(), wait).go_on()
