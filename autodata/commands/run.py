"""autodata run: documents in, examples out."""

from pathlib import Path
from typing import Any

import click

from autodata import options
from autodata.documents.corpus import ingest
from autodata.exits import exits
from autodata.run_folder import RunFolder
from autodata.screen import screen
from autodata.settings import SettingsError, load
from autodata.sitting import Sitting


@click.command("run")
@click.argument("documents", nargs=-1, required=True, metavar="DOCS...")
@click.option("--task", metavar="TASK", help="cs, legal or science.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The run folder.")
@options.config_file
@click.option("--target", type=int, metavar="N", help="Stop when N documents are accepted.")
@click.option("--per-document", type=int, metavar="K", help="Passages to take from a document.")
@click.option("--rounds", type=int, metavar="N", help="Round budget of one document.")
@options.preset
@click.option("--prompts", metavar="REV", help="Revision of the prompt store to use.")
@options.budgets
@options.wait
@options.settings
@exits
def command(
    documents: tuple[str, ...],
    out: Path,
    config: Path | None,
    wait: bool,
    sets: tuple[str, ...],
    **flags: Any,
) -> int:
    """Make examples from documents: files, folders or globs of Markdown, text, rst, TeX, HTML,
    PDF, Word, JSON Lines, CSV or Parquet.

    Everything that happens is recorded in the run folder. The same command on the same folder goes
    on where it stopped. Without configured models the simulated ones are used.

    \b
    Examples:
      autodata run papers/ --task cs --out runs/cs
      autodata run 'opinions/*.txt' --task legal --out runs/legal --config autodata.yaml
      autodata run papers/ --task cs --out runs/cheap --budget-usd 5 --target 100
      autodata run papers/ --task cs --out runs/easier --set acceptance.weak_max=0.55
    """
    settings = load(config, options.overrides(flags, sets))
    if settings.run.task is None:
        raise SettingsError("which task is it? Say --task cs, --task legal or --task science")
    corpus = ingest(
        documents,
        per_document=settings.run.per_document,
        budget=settings.run.passage_tokens,
    )
    return Sitting(RunFolder(out), settings, screen(), wait).begin(corpus, corpus.skipped)
