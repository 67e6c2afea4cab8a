"""The commands about what was made: to export, compare and foretell it."""

from typing import Any

import click

from autodata.options import (
    ManyValues,
    as_json,
    benchmarks,
    each_run,
    examples_file,
    flags,
    run_folder,
    run_folders,
    run_id,
    thresholds,
)


def _call(module: str, name: str, /, **given: Any) -> None:
    """Does what a command does, as the group that it belongs to has it."""
    click.get_current_context().obj(module, name, **given)


@click.command(short_help="Write the accepted examples to a file for training.")
@run_folder
@click.option("--format", "form", required=True, metavar="F", help="jsonl, parquet, trl-grpo, …")
@examples_file
@click.option("--confirmed", is_flag=True, help="Only what fresh attempts bear out; see remeasure.")
@each_run
def export(**given: Any) -> None:
    """Write the accepted examples to a file for training, with a dataset card beside it.

    --confirmed takes what a remeasurement bears out, or, where there is none, what
    acceptance.confirm let in.

    \b
    Formats: jsonl and parquet hold the full example; trl-grpo, verl, sft and dpo hold what
    these trainers read. parquet, verl and every file named *.parquet need the extra:
    pip install 'autodata-loop[parquet]'.

    \b
    Examples:
      autodata export runs/cs --format jsonl
      autodata export runs/cs --format trl-grpo -o train.jsonl
      autodata export runs/cs --format trl-grpo --confirmed
    """
    _call("show", "export_examples", **given)


@click.command(short_help="Decide a run's recorded scores by other thresholds; asks no model.")
@run_folder
@flags("preset")
@thresholds
@run_id
def redecide(**given: Any) -> None:
    """Decide a run's recorded scores by other thresholds. Asks no model and changes nothing.

    A document is open where the record does not say: it would take attempts, fresh ones where
    acceptance.confirm asks for them, or the final check, that were not needed at the time.

    \b
    Examples:
      autodata redecide runs/cs --preset deployed
      autodata redecide runs/cs --set acceptance.weak_max=0.45
    """
    _call("show", "redecide_run", **given)


@click.command(cls=ManyValues, short_help="Say what the examples of runs are as a set.")
@run_folders
@benchmarks("--against", "Benchmark files (.jsonl, .json, text) to compare with.")
@as_json
def quality(**given: Any) -> None:
    """Say what the accepted examples of runs are as a set. Asks no model and changes nothing.

    Counts near-duplicates (within each run and across all of them), questions of one template,
    sections of the documents that no question draws on, how many sources the examples come from,
    criteria of more than one proposition, and criteria that weak and strong attempts meet alike.
    Shares have 95 % intervals.

    --against lists examples that share words in a row with a benchmark, as for GPT-3: from 8 to
    13 of them, by the length of its items.

    \b
    Examples:
      autodata quality runs/cs
      autodata quality runs/cs runs/legal --json
      autodata quality runs/cs --against gsm8k.jsonl mmlu.jsonl
    """
    _call("show", "tell_quality", **given)
