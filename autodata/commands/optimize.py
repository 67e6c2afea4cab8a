"""autodata optimize: let an agent improve the prompts, and keep what helps."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from autodata import options
from autodata.documents.corpus import ingest
from autodata.exits import exits
from autodata.optimization import Optimization
from autodata.run_folder import RunFolder
from autodata.screen import screen
from autodata.settings import SettingsError, load
from autodata.tasks.types import Document

F = TypeVar("F", bound=Callable[..., Any])

MANY = ("--train", "--validation", "--test")


class ManyValues(click.Command):
    """A command whose document options take every value up to the next option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        spread, current = list[str](), ""
        for arg in args:
            if arg.startswith("-"):
                current = arg if arg in MANY else ""
            elif current:
                spread += [current, arg]
                continue
            if arg not in MANY:
                spread.append(arg)
        return super().parse_args(ctx, spread)


def documents(name: str, what: str, required: bool = False) -> Callable[[F], F]:
    """An option that takes documents."""
    return click.option(name, multiple=True, required=required, metavar="DOCS...", help=what)


@click.command("optimize", cls=ManyValues)
@click.option("--task", metavar="TASK", help="cs, legal or science.")
@documents("--train", "What analyst and editor may study.", required=True)
@documents("--validation", "What decides which edits are kept.", required=True)
@documents("--test", "Sealed: the winner is scored on them once.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The run folder.")
@options.config_file
@click.option("--iterations", type=int, metavar="N", help="Edits to try; 20 unless stated.")
@click.option("--parallel", type=int, metavar="N", help="Iterations under way at once.")
@click.option("--rule", metavar="strict|paper|confirm", help="When an edit is kept.")
@click.option("--select", metavar="boltzmann|best|pareto", help="How a parent is chosen.")
@click.option("--minibatch", type=int, metavar="N", help="Training documents studied each time.")
@click.option("--seed", type=int, metavar="N", help="Of every draw; 0 unless stated.")
@click.option("--rounds", type=int, metavar="N", help="Round budget of one document.")
@options.preset
@click.option("--prompts", metavar="REV", help="Revision of the prompt store to start from.")
@options.budgets
@options.wait
@options.settings
@exits
def command(
    train: tuple[str, ...],
    validation: tuple[str, ...],
    test: tuple[str, ...],
    out: Path,
    config: Path | None,
    wait: bool,
    sets: tuple[str, ...],
    iterations: int | None,
    parallel: int | None,
    rule: str | None,
    select: str | None,
    minibatch: int | None,
    seed: int | None,
    **flags: Any,
) -> int:
    """Improve the prompts of a task: an analyst studies where they fail, an editor edits them, and
    an edit is kept only if more held-out documents yield an accepted example.

    Everything is written to the prompt store (a git repository of its own): every edit is a commit,
    the best one the branch autodata/<run>/champion. The same command on the same folder goes on
    where it stopped.

    \b
    Examples:
      autodata optimize --task cs --train papers/train --validation papers/val --out runs/opt
      autodata optimize --task cs --train a/*.md --validation b/*.md --test c/*.md --out runs/opt
      autodata optimize --task legal --train t/ --validation v/ --out runs/opt --rule confirm \\
          --iterations 100 --parallel 4 --budget-usd 50
    """
    settings = load(config, options.overrides(flags, sets))
    if settings.run.task is None:
        raise SettingsError("which task is it? Say --task cs, --task legal or --task science")
    console = screen()

    def read(given: tuple[str, ...]) -> list[Document]:
        if not given:
            return []
        corpus = ingest(
            given,
            per_document=settings.run.per_document,
            budget=settings.run.passage_tokens,
        )
        found = list(corpus)
        for file in corpus.skipped:
            console.print(f"skipped  {file}", style="yellow", soft_wrap=True)
        return found

    choices = {
        "iterations": iterations,
        "parallel": parallel,
        "rule": rule,
        "select": select,
        "minibatch": minibatch,
        "seed": seed,
    }
    return Optimization(RunFolder(out), settings, console, wait).begin(
        read(train), read(validation), read(test), choices
    )
