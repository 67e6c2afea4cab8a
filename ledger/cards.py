"""Dataset cards: what a file of examples is, how it came to be and what to be careful about."""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import yaml

from autodata.ledger.ledger import OWN_MEASUREMENT, Ledger
from autodata.ledger.quality import quality, quality_rows
from autodata.ledger.records import Format
from autodata.ledger.rows import Row, RunRow, to_json
from autodata.ledger.summary import (
    BY_GATE,
    SOURCE,
    judged_again,
    mean_by_source,
    mean_rounds,
    repeat_agreement,
)
from autodata.tasks.judge_noise import judge_noise
from autodata.tasks.measurement import in_percent, wilson
from autodata.tasks.rubric import count_findings

_USES = {
    "jsonl": "the full example: attempts, marks and scores",
    "parquet": "the full example: attempts, marks and scores",
    "trl-grpo": "GRPO with TRL; `rubric`, `reference_answer` and `task` reach the reward function",
    "verl": "reinforcement learning with verl; `reward_model.rubrics` carries the criteria",
    "sft": "supervised fine-tuning on the best strong answer",
    "dpo": "preference optimization: the best strong answer over weak ones",
}

_BODY = """
# {name}

{simulated}{count} rows for {use}.

Each question was written by a model about one source document and kept because a strong solver
answers it well and a weak one does not, as judged against its rubric or reference answer. The
method is Agentic Self-Instruct ("Autodata", arXiv 2606.25996).

## How it was made

{made}

## What is in it

| | |
|---|---|
| examples | {examples}{afresh} |{reviewed}
| rounds per example | {rounds} |
| weak mean | {weak} |
| strong mean | {strong} |
| gap | {gap} |{by_gate}
| weak mean, measured afresh | {confirmed_weak} |
| strong mean, measured afresh | {confirmed_strong} |
| gap, measured afresh | {confirmed} |

Scores lie between 0 and 1; 95 % intervals by document in brackets. Means and gap are those of the
attempts that let an example in, and overstate it; what was measured afresh does not. `certainty` is
the probability that an example's true scores keep the thresholds.{chosen}

To filter by, every row has `weak_pass_rate`, `strong_pass_rate` and `gap` (mean scores of the
attempts that let it in, `weak_total_rollouts` and `strong_total_rollouts` of them), and
`confirmed_weak`, `confirmed_strong`, `confirmed_gap` and `confirmed` (whether the thresholds hold)
from fresh attempts: those of `autodata remeasure`, or else those by which the gate confirmed it
(`acceptance.confirm`); null where there are none.

`meta` names each example's document, round, prompts and models, with the score of every attempt and
the tokens that its document took.

```
{columns}
```
{quality}
## Before you use it

- The text is synthetic. Questions, reference answers and rubrics were written by models and
  checked by models; {read}.
- Difficulty was measured with the solvers named above. Another model will find other questions
  hard.
- The licence of the source documents applies to what quotes them; none is stated here.
"""

_MADE = """| | |
|---|---|
| task | {task} |
| run | {run} ({started}, {status}, autodata {version}) |
| prompts | {prompts} (locked prompts {locked}) |
| documents | {documents} finished: {outcomes}{rate} |{judge}
| seed | {seed} |

{models}"""

_SIMULATED = """> **Simulated.** Every text and score here comes from simulated models. The numbers
> show how the program works and say nothing about real models; do not train on this file.

"""


_QUALITY = """
## As a set

| | |
|---|---|
{rows}

Shares have 95 % intervals: of examples, rounds and sections by Wilson, of criteria by document.
Words are compared, not meanings. `autodata quality` tells more.
"""

_CHOSEN = """

Only examples that fresh attempts bear out are in this file: those of `autodata remeasure`, or else
those by which the gate confirmed them. These attempts chose them, so their figures flatter again,
if less; `autodata remeasure` with more attempts adds new ones."""


def card(
    ledger: Ledger,
    runs: Sequence[RunRow],
    format: Format,
    file: str,
    count: int,
    *,
    confirmed: bool = False,
) -> str:
    """The card of a file with `count` rows of these runs, in Markdown with YAML front matter.

    With `confirmed` it holds only examples that fresh attempts bear out.
    """
    which = "e.run_id in (select value from json_each(?))" + " and confirmed" * confirmed
    [facts] = ledger.query(
        "select count(*) as examples, json_group_array(rounds_used) as rounds,"
        " count(own.holds) as afresh, total(own.holds) as passed,"
        " count(reviewed_by) as reviewed, count(edited_by) as edited,"
        " group_concat(distinct reviewed_by) as reviewers,"
        " min(reviewed_at) as first, max(reviewed_at) as last,"
        f" count({BY_GATE['gap']}) as by_gate"
        f" from examples as e left join {OWN_MEASUREMENT} where {which}",
        [to_json([run.id for run in runs])],
    )
    within = partial(_with_interval, ledger, runs, which)
    body = _BODY.format(
        name=f"autodata {', '.join(_tasks(runs))} · {format.name}",
        simulated=_SIMULATED if any(run.simulated for run in runs) else "",
        count=count,
        use=_USES[format.name],
        made="\n\n".join(_made(ledger, run) for run in runs),
        examples=facts["examples"],
        rounds=_rounds(json.loads(facts["rounds"])),
        weak=within("weak_mean", least=0.0),
        strong=within("strong_mean", least=0.0),
        gap=within("e.gap"),
        by_gate=_by_gate(within) if facts["by_gate"] else "",
        confirmed_weak=within("own.weak", least=0.0),
        confirmed_strong=within("own.strong", least=0.0),
        confirmed=within("own.gap"),
        afresh=_afresh(facts["examples"], facts["afresh"], int(facts["passed"])),
        chosen=_CHOSEN if confirmed else "",
        reviewed=_reviewed(facts),
        read=_read(facts),
        columns="\n".join(_columns(format.shape)),
        quality=_as_a_set(ledger, runs, confirmed),
    )
    return f"---\n{_front_matter(runs, format, file, count)}---\n{body}"


def _as_a_set(ledger: Ledger, runs: Sequence[RunRow], confirmed: bool) -> str:
    """What the examples in the file are together."""
    held = (example for run in runs for example in ledger.examples(run.id))
    chosen = (example for example in held if example.confirmed or not confirmed)
    rows = quality_rows(quality(ledger, [run.id for run in runs], chosen))
    return _QUALITY.format(rows="\n".join(f"| {name} | {said} |" for name, said in rows))


def _made(ledger: Ledger, run: RunRow) -> str:
    """How one run made its examples."""
    outcomes = list(ledger.outcomes(run.id).values())
    tried = outcomes.count("accepted") + outcomes.count("rejected")
    return _MADE.format(
        task=run.task,
        run=run.id,
        started=run.started_at,
        status=run.status,
        version=run.version or "unknown",
        prompts=run.prompts_revision,
        locked=run.locked_revision or "unknown",
        documents=len(outcomes),
        rate=_rate(outcomes.count("accepted"), tried, " of those tried"),
        outcomes=", ".join(
            f"{outcomes.count(decision)} {decision}"
            for decision in ("accepted", "rejected", "skipped")
        ),
        seed="none" if run.seed is None else run.seed,
        models=_models(run),
        judge=_judge(ledger, run),
    )


def _judge(ledger: Ledger, run: RunRow) -> str:
    """How noisy the judge is and how far its judgements of one answer agree, where it was asked
    several times, and what the linter finds of the rubrics; rows of the table."""
    found = []
    if agreed := repeat_agreement(ledger, [run.id]):
        found.append(f"| two judgements of one answer | agree on {agreed.said} |")
    if noise := judge_noise(judged_again(ledger, run.id), 1.0, 1.0):
        share = f"{100 * noise.share:.0f} % ({in_percent(noise.interval)})"
        found.append(f"| judge | makes {share} of the variance of once-judged attempts |")
    if rubrics := count_findings(ledger.accepted_rubrics(run.id)):
        found.append(f"| accepted rubrics | {rubrics.said} |")
    return "".join(f"\n{row}" for row in found)


def _rate(accepted: int, tried: int, of: str = "") -> str:
    """A share in brackets, with its 95 % interval; nothing for less than two."""
    if tried < 2:
        return ""
    between = in_percent(wilson(accepted, tried))
    return f" ({100 * accepted / tried:.0f} %{of}, {between})"


def _afresh(examples: int, afresh: int, passed: int) -> str:
    """How many of the examples were measured afresh, and passed again."""
    if not afresh:
        return ", not measured afresh"
    some = "" if afresh == examples else f" {afresh} of them"
    return f",{some} measured afresh: {passed} passed again{_rate(passed, afresh)}"


def _by_gate(within: Callable[..., str]) -> str:
    """Rows of the table: what the attempts come to by which the gate confirmed examples."""
    names = {"weak": "weak mean", "strong": "strong mean", "gap": "gap"}
    return "".join(
        f"\n| {names[side]}, confirmed by the gate | "
        f"{within(mean, least=-1.0 if side == 'gap' else 0.0)} |"
        for side, mean in BY_GATE.items()
    )


def _reviewed(facts: Row) -> str:
    """Who accepted how many of the examples and when; a row of the table."""
    if not facts["reviewed"]:
        return ""
    edited = f", {facts['edited']} of them edited" if facts["edited"] else ""
    when = dict.fromkeys((facts["first"], facts["last"]))
    return (
        f"\n| read by a person | {facts['reviewed']}{edited} ({facts['reviewers']}; "
        f"{' to '.join(when)}) |"
    )


def _read(facts: Row) -> str:
    """Whether people read the examples."""
    whole = facts["examples"] == facts["reviewed"]
    return "a person accepted each" if whole else "nobody read them all"


def _rounds(numbers: Sequence[int]) -> str:
    """The mean number of rounds of so many examples, with its interval."""
    found = mean_rounds(numbers)
    between = f" ({found.interval.low:.2f}–{found.interval.high:.2f})" if found.interval else ""
    return f"{found.value:.2f}{between}"


def _with_interval(
    ledger: Ledger, runs: Sequence[RunRow], which: str, column: str, least: float = -1.0
) -> str:
    """The mean of a column over the examples of the runs, with its interval by document."""
    rows = ledger.query(
        f"select {SOURCE} as source, {column} as value from examples as e"
        f" join documents on documents.id = document_id left join {OWN_MEASUREMENT}"
        f" where value is not null and {which}",
        [to_json([run.id for run in runs])],
    )
    found = mean_by_source(((row["source"], row["value"]) for row in rows), least)
    if found.value is None:
        return "not measured"
    if found.interval is None:
        return f"{found.value:z.3f} (one document)"
    low, high = found.interval
    return f"{found.value:z.3f} ({low:z.3f}–{high:z.3f}, {len(rows)} examples)"


def _tasks(runs: Sequence[RunRow]) -> list[str]:
    return list(dict.fromkeys(run.task for run in runs))


def _front_matter(runs: Sequence[RunRow], format: Format, file: str, count: int) -> str:
    simulated = any(run.simulated for run in runs)
    fields = {
        "pretty_name": f"autodata {', '.join(_tasks(runs))} ({format.name})",
        "tags": ["synthetic", "autodata", *_tasks(runs), *(["simulated"] if simulated else [])],
        "size_categories": [_size(count)],
        "configs": [{"config_name": "default", "data_files": file}],
        "simulated": simulated,
    }
    text: str = yaml.safe_dump(fields, sort_keys=False, allow_unicode=True)
    return text


def _size(count: int) -> str:
    """The dataset hub's own classes of size."""
    bounds = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"))
    return next((name for bound, name in bounds if count < bound), "100K<n<1M")


def _models(run: RunRow) -> str:
    if not run.models:
        return "The models were not recorded."
    rows = "\n".join(f"| {role} | {model} |" for role, model in run.models.items())
    return f"| role | model |\n|---|---|\n{rows}"


def _columns(shape: Mapping[str, Any], indent: str = "") -> list[str]:
    """One line per column, nested ones below theirs."""
    lines = []
    for name, kind in shape.items():
        inner = kind[0] if isinstance(kind, list) else kind
        many = "list of " if isinstance(kind, list) else ""
        nested = isinstance(inner, dict)
        lines.append(f"{indent}{name}: {many}{'record' if nested else inner.__name__}")
        lines += _columns(inner, indent + "  ") if nested else []
    return lines
