"""The commands about what was made: to export, compare and foretell it."""

from pathlib import Path
from typing import Any

import click

from autodata.options import (
    BUDGETS,
    FLAGS,
    ManyValues,
    as_json,
    benchmarks,
    config_file,
    each_run,
    examples_file,
    flags,
    other_models,
    pilot_choices,
    run_folder,
    run_folders,
    run_id,
    settings,
    together,
    wait,
)


def _call(module: str, name: str, /, **given: Any) -> None:
    """Does what a command does, as the group that it belongs to has it."""
    click.get_current_context().obj(module, name, **given)


# Which examples an export holds, and what its card says of them.
choices = together(
    click.option(
        "--confirmed", is_flag=True, help="Only what fresh attempts bear out; see remeasure."
    ),
    click.option(
        "--where",
        multiple=True,
        metavar="CONDITION",
        help="Only what keeps it, such as 'gap >= 0.3'. Repeatable.",
    ),
    click.option(
        "--decontaminate",
        multiple=True,
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        help="Leave out what shares words in a row with this benchmark. Repeatable.",
    ),
    click.option(
        "--test-share",
        type=click.FloatRange(0, 1, max_open=True),
        default=0.0,
        metavar="S",
        help="Documents for a test file of their own, 0 to 1; none unless stated.",
    ),
    click.option(
        "--match-lengths",
        type=click.Path(path_type=Path),
        metavar="RUN",
        help="Draw the examples so that their questions are as long as those of this run.",
    ),
    click.option(
        "--stratify",
        type=click.Choice(["length"]),
        help="Draw as many examples of each length of the question.",
    ),
    click.option(
        "--length-bins",
        type=click.IntRange(2, 100),
        metavar="N",
        help="Bins of lengths that are drawn from; 5 unless stated.",
    ),
    click.option(
        "--length-arms",
        type=click.Path(path_type=Path),
        metavar="RUN",
        help="Write the four arms of the length test, against this one-shot run; -o is a folder.",
    ),
    click.option("--license", metavar="L", help="The data set's, such as cc-by-4.0; for its card."),
    click.option(
        "--language",
        "languages",
        multiple=True,
        metavar="CODE",
        help="Of its texts, such as en or pt-BR; for its card. Repeatable.",
    ),
)

# Whether a folder is sent on.
pushing = together(
    click.option("--push", metavar="USER/NAME", help="Send hf or traces to the Hub, as private."),
    click.option("--public", is_flag=True, help="What is sent may be seen by all."),
    click.option("--push-simulated", is_flag=True, help="Send what simulated models said, too."),
)
SEVERAL_PRESETS = "Thresholds of a preset; repeatable, for a table."
several_thresholds = click.option(
    "--set",
    "sets",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override one threshold, such as acceptance.weak_max=0.45; by a list or a range such as "
    "0.3..0.6/0.1, for a table. Repeatable.",
)
ONE_OF_SEVERAL = "One run of a folder that holds several; repeatable."


@click.command(short_help="Write the accepted examples to a file for training.")
@run_folder
@click.option("--format", "form", required=True, metavar="F", help="jsonl, parquet, trl-grpo, …")
@examples_file
@choices
@pushing
@each_run
def export(**given: Any) -> None:
    """Write the accepted examples to a file for training, with a dataset card beside it.

    --confirmed takes what a remeasurement bears out, or, where there is none, what
    acceptance.confirm let in. --where takes a column of every row or a number of its meta
    (round, certainty, agreement of the judge with itself, disagreement with a second one,
    question_words, …), one of >= <= > < = and a number. --test-share deals documents by a hash
    of their text, all passages of one to the same file. --length-arms asks what questions gain
    by being longer: four files, each run's examples by their own lengths and by the other's.

    \b
    Formats: jsonl and parquet hold the full example; trl-grpo, verl, sft and dpo hold what
    these trainers read. parquet, verl and every file named *.parquet need the extra:
    pip install 'autodata-loop[parquet]'.

    \b
    These are folders: hf, which datasets.load_dataset opens and --push sends to the Hub;
    verifiers, an installable taskset whose rows are scored as at the gate; traces, each
    example's whole loop as a session that the Hub's viewer shows.

    \b
    Examples:
      autodata export runs/cs --format jsonl
      autodata export runs/cs --format trl-grpo -o train.jsonl
      autodata export runs/cs --format trl-grpo --confirmed
      autodata export runs/cs --format verl --test-share 0.1 --license cc-by-4.0 --language en
      autodata export runs/cs --format jsonl --where 'gap >= 0.3' --where 'round <= 5'
      autodata export runs/cs --format sft --match-lengths runs/one-shot
      autodata export runs/cs --format sft --length-arms runs/one-shot -o arms
      autodata export runs/cs --format hf --test-share 0.1 --push user/questions
      autodata export runs/cs --format verifiers -o hard-questions
    """
    _call("show", "export_examples", **given)


@click.command(short_help="Decide a run's recorded scores by other thresholds; asks no model.")
@run_folder
@click.option(
    "--preset", "presets", multiple=True, metavar=FLAGS["preset"].metavar, help=SEVERAL_PRESETS
)
@several_thresholds
@click.option("--grid", is_flag=True, help="A table of the weak and the strong threshold.")
@as_json
@run_id
def redecide(**given: Any) -> None:
    """Decide a run's recorded scores by other thresholds. Asks no model and changes nothing.

    A document is open where the record does not say: it would take attempts, fresh ones where
    acceptance.confirm asks for them, or the final check, that were not needed at the time.

    Of several presets, with --grid, and where a threshold is given a list or a range of values, a
    table says how many documents would be accepted and with what gap: on attempts that did not
    decide, or, where there are none, as an estimate of the true one.

    \b
    Examples:
      autodata redecide runs/cs --preset deployed
      autodata redecide runs/cs --set acceptance.weak_max=0.45
      autodata redecide runs/cs --preset paper --preset deployed
      autodata redecide runs/cs --grid
      autodata redecide runs/cs --set acceptance.gap_min=0.1..0.4/0.1 --json
    """
    _call("show", "redecide_run", **given)


@click.command(cls=ManyValues, short_help="Say what the examples of runs are as a set.")
@run_folders
@benchmarks("--against", "Benchmark files (.jsonl, .json, text) to compare with.")
@click.option("--embeddings", is_flag=True, help="Compare meanings, too, by models.embeddings.")
@click.option(
    "--cosine",
    type=click.FloatRange(0.5, 1),
    metavar="C",
    help="The same, from another cosine on; 0.85 unless stated.",
)
@config_file
@as_json
def quality(**given: Any) -> None:
    """Say what the accepted examples of runs are as a set. Changes nothing; asks no model, but for
    --embeddings.

    Counts near-duplicates (within each run and across all of them), questions of one template,
    sections of the documents that no question draws on, how many sources the examples come from,
    criteria of more than one proposition, and criteria that weak and strong attempts meet alike.
    Shares have 95 % intervals.

    --against lists examples that share words in a row with a benchmark, as for GPT-3: from 8 to
    13 of them, by the length of its items.

    --embeddings finds what is asked again in other words, and needs a model in the configuration:
    models.embeddings: {endpoint: …, model: …}. Each text is asked for once in its run folder.

    \b
    Examples:
      autodata quality runs/cs
      autodata quality runs/cs runs/legal --json
      autodata quality runs/cs --against gsm8k.jsonl mmlu.jsonl
      autodata quality runs/cs runs/older --embeddings --cosine 0.9
    """
    _call("show", "tell_quality", **given)


@click.command(short_help="Forecast yield, cost and time from a pilot, before paying for all.")
@click.argument("documents", nargs=-1, required=True, metavar="DOCS...|RUN")
@flags("task")
@pilot_choices
@config_file
@flags("rounds", "preset", "prompts", "per-document", *BUDGETS)
@as_json
@run_id
@wait
@settings
def plan(**given: Any) -> None:
    """Run a pilot on a random sample of the documents, and forecast what the others will give and
    take: examples, rounds, calls, tokens, cost and time, each with a prediction interval.

    The pilot is an ordinary run in a folder that is kept: `autodata run` with the same documents
    and --out goes on there, and nothing is paid for twice. A run folder in place of documents is
    read as it stands; no model is asked.

    --ceiling raises one thing at a time on the pilot's documents and says what limits the yield:
    elicitation, judge noise, challenger, documents, or the gap between the models.

    \b
    Examples:
      autodata plan papers/ --task cs
      autodata plan papers/ --task cs --pilot 12 --examples 500 --out runs/cs
      autodata plan runs/cs --documents 2000
      autodata plan runs/cs --ceiling --challenger openai/gpt-5 --budget-usd 20
      autodata plan runs/cs --examples 500 --json | jq .wanted.usd
    """
    _call("run", "plan", **given)


@click.command(short_help="Make examples in one shot, to compare the loop with.")
@click.argument("documents", nargs=-1, required=True, metavar="DOCS...")
@flags("method", "task")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The run folder.")
@config_file
@flags("target", "per-document", "preset", *BUDGETS)
@wait
@settings
def baseline(**given: Any) -> None:
    """Make examples in one shot: one question of each document, both solvers asked whatever they
    score, and the loop's final filters. No score chooses; what the thresholds object to is
    recorded.

    self-instruct writes the question straight from the document, cot reasons about the document
    first, evol evolves a first question. The result is a run like any other: the same command or
    `autodata resume` goes on with it.

    \b
    Examples:
      autodata baseline papers/ --method cot --task cs --out runs/cs-cot
      autodata baseline papers/ --method self-instruct --task cs --out runs/cs-plain
      autodata baseline opinions/ --method evol --task legal --out runs/evol --config autodata.yaml
    """
    _call("run", "baseline", **given)


@click.command(short_help="Runs side by side, with intervals: the paper's Table 1.")
@run_folders
@click.option("--run", "run_ids", multiple=True, metavar="ID", help=ONE_OF_SEVERAL)
@as_json
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write a page there that opens offline.",
)
def compare(**given: Any) -> None:
    """Runs side by side: weak, strong and gap as shown and afresh, rounds, lengths, rubrics, calls,
    tokens and cost per example. Each other run is compared with the first one.

    Every figure has an interval by document. A difference is taken document by document where
    both runs have the same ones, and says from which size on it would show.

    \b
    Examples:
      autodata compare runs/agentic runs/cot
      autodata compare runs/agentic runs/cot runs/evol -o compared.html
      autodata compare runs/both --run cs-20261127-090000 --run cs-20261127-100000 --json
    """
    _call("show", "compare", **given)


@click.command(short_help="Put accepted examples to a second judge: where do the two disagree?")
@run_folder
@click.option(
    "--share",
    type=click.FloatRange(0, 1),
    metavar="S",
    help="Of the examples, 0 to 1; audit.share, or all of them unless stated.",
)
@click.option("--each", is_flag=True, help="Print a line per example, too.")
@as_json
@other_models
@run_id
@flags(*BUDGETS)
@wait
@settings
def audit(**given: Any) -> None:
    """Put accepted examples to a second judge, who marks the attempts that decided about them.

    The second judge is models.second_judge, best a model of another family, by --config or --set;
    else the model that plays the final verifier. A sample holds the same examples each time, and a
    larger one adds to it. The same command goes on where it stopped. Nothing that was decided
    changes: status, report and card tell how far the two agree, and
    `export --where 'disagreement <= 0.1'` takes what they agree about.

    \b
    Examples:
      autodata audit runs/cs
      autodata audit runs/cs --share 0.2 --config another-judge.yaml --budget-usd 5
      autodata audit runs/cs --set models.second_judge.model=my-judge --each
    """
    _call("run", "audit", **given)


@click.command(short_help="Train small students on what the loop makes, and measure them.")
@click.option("--quick", is_flag=True, help="Two students and few steps: does it all work here?")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("runs/lab"),
    metavar="DIR",
    help="Folder of runs, results and page; runs/lab unless stated.",
)
@click.option(
    "--seed",
    type=click.IntRange(0, 1000),
    default=0,
    metavar="N",
    help="The same seed gives the same data and training; 0 unless stated.",
)
def lab(**given: Any) -> None:
    """The experiment from end to end, in minutes on two processors: transformers of some ten
    thousand parameters are the students, the loop makes questions for them, GRPO trains them on
    one-shot and on agentic arms of equal size, and each is asked questions that no arm held.

    Writes lab.html. It needs the extra `lab`. The same command goes on where it stopped.

    \b
    Examples:
      autodata lab --quick
      autodata lab --out runs/lab
      autodata lab --seed 1 --out runs/lab-1
    """
    _call("lab", "lab", **given)
