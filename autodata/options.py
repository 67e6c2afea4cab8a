"""The options that commands share, how groups and commands read them, and which errors are a user's
to mend. Needs click alone."""

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click

# Where the names of tasks stand without loading one: a task has a folder of prompts here, or an
# entry point in another package. The registry costs more to load than all the rest of a help text.
PROMPTS = Path(__file__).parent / "prompt_store" / "locked"
GROUP = "autodata.tasks"
PORT = 8_901  # of a model that is served on this machine
ADDRESS = f"http://127.0.0.1:{PORT}/v1"

DONE = 0
FAILED = 1  # finished, with a failure that the user must see
WRONG_USE = 2
PAUSED = 3  # an endpoint is down, a budget reached, or reviews outstanding; resumable
INTERRUPTED = 130  # by Ctrl-C or a hangup; resumable
UNREAD = 141  # nobody reads what is printed; as of a process that SIGPIPE ends

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Flag:
    """A flag that sets one key of the configuration; its help is what the key's field says."""

    key: str
    kind: type
    metavar: str
    help: str


FLAGS: Mapping[str, Flag] = {
    "task": Flag("run.task", str, "TASK", "what to make examples of: {tasks}"),
    "target": Flag("run.target", int, "N", "accepted documents that are enough"),
    "per-document": Flag("run.per_document", int, "K", "passages taken from one document"),
    "rounds": Flag("run.rounds", int, "N", "round budget of one document"),
    "preset": Flag(
        "acceptance.preset",
        str,
        "paper|deployed|measured",
        "thresholds of the paper's prose, or as deployed; measured: the prose's, on what attempts "
        "say of the true scores",
    ),
    "review": Flag(
        "run.review",
        str,
        "before-accept|before-keep",
        "before_accept: a person accepts, edits or sends back what passed the gate; before_keep: a "
        "person keeps or turns down a prompt edit that would be kept",
    ),
    "method": Flag(
        "run.baseline",
        str,
        "cot|self-instruct|evol",
        "the one-shot method that writes the questions; null: the loop does",
    ),
    "prompts": Flag("prompts.revision", str, "REV", "revision of the prompt store to use"),
    "budget-tokens": Flag("budget.tokens", int, "N", "tokens, in and out, that it may use in all"),
    "budget-calls": Flag("budget.calls", int, "N", "calls that it may make in all"),
    "budget-usd": Flag("budget.usd", float, "N", "US dollars that it may cost in all"),
}
BUDGETS = ("budget-usd", "budget-calls", "budget-tokens")


def tasks() -> str:
    """The names of all tasks."""
    from importlib.metadata import entry_points

    ours = sorted(solver.parent.name for solver in PROMPTS.glob("*/solver.md"))
    return ", ".join([*ours, *(entry.name for entry in entry_points(group=GROUP))])


class Flagged(click.Option):
    """An option whose help may name the tasks."""

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        if "{tasks}" in (self.help or ""):
            self.help = (self.help or "").format(tasks=tasks())
        return super().get_help_record(ctx)


def flags(*names: str) -> Callable[[F], F]:
    """The flags of these names."""

    def with_flags(command: F) -> F:
        for name in reversed(names):
            flag = FLAGS[name]
            said = f"{flag.help[0].upper()}{flag.help[1:]}."
            option = click.option(
                f"--{name}", cls=Flagged, type=flag.kind, metavar=flag.metavar, help=said
            )
            command = option(command)
        return command

    return with_flags


key_tasks = click.option(
    "--tasks",
    default="",
    cls=Flagged,
    metavar="TASK,TASK",
    help="What it may ask for, of {tasks}; all unless stated.",
)
run_folder = click.argument("run", type=click.Path(path_type=Path))


def _config(help: str) -> Callable[[Any], Any]:
    return click.option("--config", type=click.Path(path_type=Path), metavar="FILE", help=help)


config_file = _config("The configuration; ./autodata.yaml if there is one.")
settings = click.option(
    "--set",
    "sets",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override one key, such as run.rounds=6; the value is YAML. Repeatable.",
)
store = click.option(
    "--store",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="The prompt store; prompts.path of ./autodata.yaml, or ./prompts.",
)
run_folders = click.argument(
    "runs", nargs=-1, required=True, metavar="RUN...", type=click.Path(path_type=Path)
)
board_port = click.option(
    "--port", type=click.IntRange(0, 65_535), default=8_902, help="0 takes a free one."
)
studio_server = click.option(
    "--studio",
    is_flag=False,
    flag_value="http://127.0.0.1:2024",
    metavar="[URL]",
    help="Put two documents as threads on a server that `make studio` runs; that of this machine.",
)
future_runs = click.option(
    "--out",
    default=".",
    type=click.Path(path_type=Path),
    help="Where runs would go; this folder unless stated.",
)
seeds_folder = click.option(
    "--to",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="Copy the prompts there (such as prompt_store/seed) instead of merging.",
)
page_file = click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Where to write it; RUN/report.html unless stated.",
)
run_id = click.option(
    "--run", "run_id", metavar="ID", help="One run of a folder that holds several; the latest."
)
each_run = click.option(
    "--run", "run_id", metavar="ID", help="One run of the folder; all of them unless named."
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
revision = click.argument("revision", default="main", metavar="REV")


def documents(name: str, what: str, required: bool = False) -> Callable[[F], F]:
    """An option that takes documents."""
    return click.option(name, multiple=True, required=required, metavar="DOCS...", help=what)


def benchmarks(name: str, what: str) -> Callable[[F], F]:
    """An option that takes files of a benchmark."""
    kind = click.Path(path_type=Path, dir_okay=False)
    return click.option(name, multiple=True, type=kind, metavar="FILE...", help=what)


def together(*options: Callable[[F], F]) -> Callable[[F], F]:
    """Several options as one, shown in this order."""

    def with_options(command: F) -> F:
        for option in reversed(options):
            command = option(command)
        return command

    return with_options


# Those of whatever asks models for long.
wait = together(
    click.option(
        "--wait", is_flag=True, help="Wait for an endpoint that is down instead of pausing."
    ),
    click.option(
        "--log-json",
        metavar="FILE",
        help="Append a JSON line for each call and document; - is standard error.",
    ),
)
# Those that list what waits for review, and answer without a terminal.
answers = together(
    click.option("--list", "listed", is_flag=True, help="List what waits; ask nothing."),
    click.option("--json", "as_json", is_flag=True, help="Print what waits as one JSON list."),
    click.option("--accept", multiple=True, metavar="DOCUMENT...", help="Accept these."),
    click.option("--reject", metavar="DOCUMENT", help="Send one back; needs --reason."),
    click.option(
        "--edit", nargs=2, metavar="DOCUMENT FILE", help="Put a YAML file's fields in place."
    ),
    click.option("--reason", metavar="TEXT", help="Why; the next feedback where one is sent."),
    click.option("--by", metavar="NAME", help="Who says so; git's user.name, or the login."),
)
# Those that say how an optimization searches.
search = together(
    click.option("--iterations", type=int, metavar="N", help="Edits to try; 20 unless stated."),
    click.option("--parallel", type=int, metavar="N", help="Iterations under way at once."),
    click.option("--rule", metavar="strict|paper|confirm", help="When an edit is kept."),
    click.option(
        "--score", metavar="certainty|accepted", help="What an accepted document counts for."
    ),
    click.option("--select", metavar="boltzmann|best|pareto", help="How a parent is chosen."),
    click.option(
        "--minibatch", type=int, metavar="N", help="Training documents studied each time."
    ),
    click.option("--seed", type=int, metavar="N", help="Of every draw; 0 unless stated."),
)
# What a demo is made of.
trial = together(
    click.option(
        "--task", cls=Flagged, metavar="TASK", help="One of {tasks}; all that have some by default."
    ),
    click.option("--documents", "limit", type=click.IntRange(1), metavar="N", help="Per task."),
    click.option("--out", type=click.Path(path_type=Path), help="Where to keep the runs."),
    click.option(
        "--models",
        type=click.Choice(["simulated", "local"]),
        default="simulated",
        help="Simulated, or one that is served on this machine; simulated unless stated.",
    ),
    click.option(
        "--address",
        metavar="URL",
        default=ADDRESS,
        help=f"Where it is served; {ADDRESS} by default.",
    ),
)
# How a small real model is served.
serving = together(
    click.argument("model", default="smollm2-135m"),
    click.option(
        "--port", type=click.IntRange(0, 65_535), default=PORT, help="0 takes a free one."
    ),
    click.option(
        "--slots", type=click.IntRange(1, 16), default=1, help="Requests at the same time."
    ),
    click.option(
        "--context", type=click.IntRange(256), help="Tokens per request; all that the model can."
    ),
    click.option(
        "--yes", is_flag=True, help="Fetch the model without asking where it is not here."
    ),
    click.option("--fetch", "fetch_only", is_flag=True, help="Fetch it and end."),
)
# What a pilot is, and what is to be foretold from it.
pilot_choices = together(
    click.option("--pilot", type=click.IntRange(2), metavar="N", help="Documents to try; 8."),
    click.option("--examples", type=click.IntRange(1, 10**9), metavar="N", help="Wanted in all."),
    click.option(
        "--documents",
        "of",
        type=click.IntRange(1, 10**9),
        metavar="N",
        help="How many there are in all, where not all are at hand.",
    ),
    click.option("--seed", type=int, metavar="N", help="Of the sample; 0."),
    click.option("--ceiling", is_flag=True, help="Find what limits the yield; asks for more."),
    click.option("--challenger", metavar="ENDPOINT/MODEL", help="Another one to try for that."),
    click.option(
        "--out",
        type=click.Path(path_type=Path),
        metavar="RUN",
        help="The pilot's run folder; runs/TASK-pilot unless stated.",
    ),
)
fresh_attempts = click.option(
    "--attempts",
    type=click.IntRange(1, 1000),
    metavar="N",
    help="Fresh ones of each side in all; as many as the run plans unless stated.",
)
other_models = _config("Other models and endpoints, laid over the run's own.")
examples_file = click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="A file, or a folder that is there; the run folder unless stated.",
)


def unread() -> NoReturn:
    """Ends the command quietly: whoever reads what it prints has seen enough, as `head` does."""
    for descriptor in (1, 2):  # what is left to print goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
    sys.exit(UNREAD)


class InOrder(click.Group):
    """Lists its commands in the order in which people need them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


class ManyValues(click.Command):
    """A command of which some options take every value up to the next option."""

    @property
    def many(self) -> set[str]:
        """These options; their metavar says so."""
        options = [p for p in self.params if isinstance(p, click.Option) and p.multiple]
        return {name for p in options if (p.metavar or "").endswith("...") for name in p.opts}

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        spread, current, many = list[str](), "", self.many
        for arg, following in zip(args, [*args[1:], "-"], strict=True):
            if arg in many and following.startswith("-"):
                raise click.BadOptionUsage(arg, f"Option {arg!r} requires an argument.", ctx)
            if arg.startswith("-"):
                current = arg if arg in many else ""
            elif current:
                spread += [current, arg]
                continue
            if arg not in many:
                spread.append(arg)
        return super().parse_args(ctx, spread)


def user_errors() -> tuple[type[Exception], ...]:
    """What a user can mend: each says what is wrong, where, and what to do."""
    from autodata.board.access import AccessError
    from autodata.documents.corpus import CorpusError
    from autodata.ledger import calls, database, filters
    from autodata.models.errors import UnknownPrice, UnknownRole
    from autodata.prompt_store.prompt import PromptError
    from autodata.prompt_store.store import StoreError
    from autodata.run_folder import RunFolderError
    from autodata.settings import SettingsError
    from autodata.tasks.diversity import DiversityError
    from autodata.tasks.review import ReviewError

    ours = (
        AccessError,
        CorpusError,
        DiversityError,
        PromptError,
        ReviewError,
        RunFolderError,
        SettingsError,
        StoreError,
    )
    ledger = (calls.CallLogError, database.LedgerError, filters.ExportError)
    return (*ours, *ledger, UnknownPrice, UnknownRole)


def task_error() -> type[Exception]:
    """A task of another package that cannot be loaded."""
    from autodata.tasks.task import TaskError

    return TaskError


def paused() -> tuple[type[Exception], ...]:
    """What ends a run that can be resumed."""
    from autodata.ledger.database import NotWritten
    from autodata.models.errors import Paused

    return Paused, NotWritten
