"""Dataset cards: what a file of examples is, how it came to be and what to be careful about."""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, get_args

import yaml

from autodata.ledger.filters import (
    ARMS,
    HUB_CATEGORIES,
    HUB_TAGS,
    ArmRow,
    Chosen,
    ExportOptions,
    Resampled,
    Split,
    by_origin,
    hub_configs,
    hub_license,
    hub_size,
    lengths_table,
)
from autodata.ledger.ledger import OWN_MEASUREMENT, Ledger
from autodata.ledger.quality import quality, quality_rows
from autodata.ledger.records import Format
from autodata.ledger.rows import Row, RunRow, to_json
from autodata.ledger.summary import (
    BY_GATE,
    SOURCE,
    Summary,
    cost,
    mean_by_source,
    mean_rounds,
    one_line,
    summarize,
    tokens,
    within,
)
from autodata.tasks.measurement import in_percent, wilson

_USES = {
    "jsonl": "the full example: attempts, marks and scores",
    "parquet": "the full example: attempts, marks and scores",
    "trl-grpo": "GRPO with TRL; `rubric`, `reference_answer` and `task` reach the reward function",
    "verl": "reinforcement learning with verl; `reward_model.rubrics` carries the criteria",
    "sft": "supervised fine-tuning on the best strong answer",
    "dpo": "preference optimization: the best strong answer over weak ones",
    "hf": "the full example: attempts, marks and scores",
    "verifiers": "evaluation and reinforcement learning with verifiers; see below",
    "traces": "reading how each example came about: a session is the loop of its document",
}

_LICENSE_FIELDS = ("license", "licence", "license_name", "spdx", "rights")

_BODY = """
# {name}

{simulated}{count} rows for {use}.{split}

{kept}

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

Scores lie between 0 and 1; 95 % intervals by document in brackets. {seen} `certainty` is
the probability that an example's true scores keep the thresholds.{chosen}

{distributions}{chosen_by}
To filter by, every row has `weak_pass_rate`, `strong_pass_rate` and `gap` (mean scores of the
attempts that let it in, `weak_total_rollouts` and `strong_total_rollouts` of them), and
`confirmed_weak`, `confirmed_strong`, `confirmed_gap` and `confirmed` (whether the thresholds hold)
from fresh attempts: those of `autodata remeasure`, or else those by which the gate confirmed it
(`acceptance.confirm`); null where there are none. `method` is `loop`, or the one-shot method that
the row was made by; `split` says which file it belongs to.

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
- The licence of the source documents applies to what quotes them. As they state it: {licenses}.
- A document gives one example at the most; what was rejected is not here, so that these questions
  are no sample of all that could be asked.
"""

_KEPT = {
    True: """Each question was written by a model about one source document and kept because a
strong solver answers it well and a weak one does not, as judged against its rubric or reference
answer. The method is Agentic Self-Instruct ("Autodata", arXiv 2606.25996).""",
    False: """Each question was written by a model about one source document, in one shot, and kept
because it passed the final checks; no score chose it. The method is a one-shot baseline of
"Autodata" (arXiv 2606.25996), to compare its loop with.""",
}
_SEEN = {
    True: """Means and gap are those of the
attempts that let an example in, and overstate it; what was measured afresh does not.""",
    False: """Means and gap are those of all
attempts: no gate chose by them.""",
}

_MADE = """| | |
|---|---|
| task | {task} |
| run | {run} ({started}, {status}, autodata {version}) |
| method | {method} |
| prompts | {prompts} (locked prompts {locked}) |
| documents | {documents} finished: {outcomes}{rate} |{judge}
| cost | {cost} |
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
    files: Mapping[Split, str],
    chosen: Chosen,
    options: ExportOptions,
    contents: str = "",
) -> str:
    """The card of one file, or one for each split, with the rows of these runs that options chose:
    Markdown with YAML front matter. That of a folder tells the `contents` of its files."""
    which, ids = "e.id in (select value from json_each(?))", [each.id for each in chosen.examples]
    [facts] = ledger.query(
        "select count(*) as examples, json_group_array(rounds_used) as rounds,"
        " count(own.holds) as afresh, total(own.holds) as passed,"
        " count(reviewed_by) as reviewed, count(edited_by) as edited,"
        " group_concat(distinct reviewed_by) as reviewers,"
        " min(reviewed_at) as first, max(reviewed_at) as last,"
        f" count({BY_GATE['gap']}) as by_gate"
        f" from examples as e left join {OWN_MEASUREMENT} where {which}",
        [to_json(ids)],
    )
    mean = partial(_with_interval, ledger, ids, which)
    count = sum(map(chosen.rows, files))
    looped = {run.baseline is None for run in runs}
    body = _BODY.format(
        name=f"autodata {', '.join(_tasks(runs))} · {format.name}",
        kept="\n\n".join(_KEPT[by] for by in (True, False) if by in looped),
        seen=" ".join(_SEEN[by] for by in (True, False) if by in looped),
        simulated=_SIMULATED if any(run.simulated for run in runs) else "",
        count=count,
        use=_USES[format.name],
        split=_split(chosen, options) if len(files) > 1 else "",
        made="\n\n".join(_made(ledger, run) for run in runs),
        examples=facts["examples"],
        rounds=_rounds(json.loads(facts["rounds"])),
        weak=mean("weak_mean", least=0.0),
        strong=mean("strong_mean", least=0.0),
        gap=mean("e.gap"),
        by_gate=_by_gate(mean) if facts["by_gate"] else "",
        confirmed_weak=mean("own.weak", least=0.0),
        confirmed_strong=mean("own.strong", least=0.0),
        confirmed=mean("own.gap"),
        afresh=_afresh(facts["examples"], facts["afresh"], int(facts["passed"])),
        chosen=_CHOSEN if options.confirmed else "",
        distributions=_distributions(ledger, chosen, which),
        chosen_by=_chosen_by(chosen, options),
        reviewed=_reviewed(facts),
        read=_read(facts),
        licenses=_licenses(ledger, chosen),
        columns="\n".join(_columns(format.shape)),
        quality=_as_a_set(ledger, runs, chosen),
    )
    return f"---\n{_front_matter(runs, format, files, count, options, contents)}---\n{body}"


def _split(chosen: Chosen, options: ExportOptions) -> str:
    """How the rows are dealt to two files."""
    counts = " and ".join(
        f"{chosen.rows(split)} in `{split}` from {count} document{'' if count == 1 else 's'}"
        for split in get_args(Split)
        for count in [chosen.documents(split)]
    )
    return (
        f" {counts}: each document goes to one of them with all its passages and with texts "
        f"that are nearly the same, by a hash of its text; {100 * options.test_share:g} % of "
        "documents go to `test` on average."
    )


def _chosen_by(chosen: Chosen, options: ExportOptions) -> str:
    """Which choices were made, how many examples each left out, and from which lengths they were
    drawn; nothing where all were taken."""
    if not chosen.left_out:
        return ""
    rows = [f"| `{why}` | {count} |" for why, count in chosen.left_out.items()]
    said = ["", "Left out:", "", "| by | examples |", "|---|---|", *rows, ""]
    if options.where:
        said += [
            "What is chosen by its figures looks better than it is: part of what they keep is luck."
            " Only fresh attempts tell.",
            "",
        ]
    return "\n".join([*said, *lengths_table(chosen.bins)]) + "\n"


def _distributions(ledger: Ledger, chosen: Chosen, which: str) -> str:
    """Quantiles of what the rows' examples are like, each with a histogram."""
    if not chosen.examples:
        return ""
    rows = ledger.query(
        "select weak_mean, strong_mean, e.gap, own.gap as fresh, rounds_used"
        f" from examples as e left join {OWN_MEASUREMENT} where {which}",
        [to_json([each.id for each in chosen.examples])],
    )
    kinds = {
        "weak mean": [row["weak_mean"] for row in rows],
        "strong mean": [row["strong_mean"] for row in rows],
        "gap": [row["gap"] for row in rows],
        "gap, measured afresh": [row["fresh"] for row in rows],
        "rounds": [row["rounds_used"] for row in rows],
        "words of the question": [each.question.words for each in chosen.examples],
    }
    lines = [_quantiles(name, [v for v in vs if v is not None]) for name, vs in kinds.items()]
    return (
        "| | least | 10 % | median | 90 % | most | |\n|---|---|---|---|---|---|---|\n"
        + "".join(lines)
        + "\nQuantiles of these examples, without intervals; bars count tenths of the range from "
        "least to\nmost.\n"
    )


def _quantiles(name: str, values: Sequence[float]) -> str:
    """A row of the table of distributions; nothing where nothing was measured."""
    if not values:
        return ""
    ordered, n = sorted(values), len(values)
    at = [ordered[0], *(ordered[-(-n * k // 10) - 1] for k in (1, 5, 9)), ordered[-1]]
    worded = "{:d}" if all(isinstance(value, int) for value in values) else "{:.2f}"
    shown = " | ".join(worded.format(value) for value in at)
    return f"| {name} | {shown} | {histogram(values)} |\n"


_BARS = " ▁▂▃▄▅▆▇█"


def histogram(values: Sequence[float]) -> str:
    """Ten bars, of the values in each tenth of their range; the highest is full, none is empty."""
    low, high = min(values), max(values)
    wide = high - low or 1
    tenths = Counter(min(int(10 * (value - low) / wide), 9) for value in values)
    most = max(tenths.values())
    return "".join(_BARS[-(-8 * tenths[n] // most)] for n in range(10)).replace(" ", "·")


def _licenses(ledger: Ledger, chosen: Chosen) -> str:
    """The licences that the documents carry, with how many texts carry each."""
    origins = {each.document_id: each.origin for each in chosen.examples}
    rows = ledger.query(
        "select id, meta from documents where id in (select value from json_each(?))",
        [to_json(list(origins))],
    )
    stated: dict[str, str] = {}
    for row in rows:
        meta = json.loads(row["meta"])
        fields = {**(meta.get("fields") or {}), **meta}
        given = {name.lower(): value for name, value in fields.items() if isinstance(value, str)}
        found = next((given[name] for name in _LICENSE_FIELDS if given.get(name, "").strip()), "")
        stated.setdefault(origins[row["id"]], one_line(found)[:80] or "not stated")
    counts = sorted(Counter(stated.values()).items(), key=lambda item: (-item[1], item[0]))
    named = (f"{name} ({n} document{'' if n == 1 else 's'})" for name, n in counts)
    return ", ".join(named) or "not stated"


def _as_a_set(ledger: Ledger, runs: Sequence[RunRow], chosen: Chosen) -> str:
    """What the examples in the file are together."""
    kept = {each.id for each in chosen.examples}
    held = (example for run in runs for example in ledger.examples(run.id) if example.id in kept)
    rows = quality_rows(quality(ledger, [run.id for run in runs], held))
    return _QUALITY.format(rows="\n".join(f"| {name} | {said} |" for name, said in rows))


def _made(ledger: Ledger, run: RunRow) -> str:
    """How one run made its examples."""
    outcomes = list(ledger.outcomes(run.id).values())
    tried = outcomes.count("accepted") + outcomes.count("rejected")
    summary = summarize(ledger, run.id)
    return _MADE.format(
        task=run.task,
        run=run.id,
        started=run.started_at,
        status=run.status,
        version=run.version or "unknown",
        method=f"{run.baseline}, in one shot" if run.baseline else "the loop (agentic)",
        prompts=run.prompts_revision,
        locked=run.locked_revision or "unknown",
        documents=len(outcomes),
        rate=_rate(outcomes.count("accepted"), tried, " of those tried"),
        outcomes=", ".join(
            f"{outcomes.count(decision)} {decision}"
            for decision in ("accepted", "rejected", "skipped")
        ),
        cost=_cost(run, summary),
        seed="none" if run.seed is None else run.seed,
        models=_models(run),
        judge=_judge(summary),
    )


def _cost(run: RunRow, summary: Summary) -> str:
    """What the run's folder took in all, and an accepted example with its interval by document."""
    spent = cost(summary.usd, run.models.values(), summary.estimated)
    total = f"{summary.calls:,} calls with {tokens(summary.tokens, summary.estimated)}, {spent}"
    worded = {"calls": "{:,.0f} calls", "tokens": "{:,.0f} tokens", "usd": "${:.4f}"}
    each = [
        words.format(figure.value) + within(figure.interval, _bare(words).format)
        for kind, words in worded.items()
        if (figure := summary.per_example[f"{kind}_per_example"]).value
    ]
    if not each:
        return total
    return f"{total}; an accepted example took {', '.join(each)}, documents that gave none included"


def _bare(words: str) -> str:
    """The number's format without its unit."""
    return words[words.index("{") : words.index("}") + 1]


def _judge(summary: Summary) -> str:
    """How noisy the judge is and how far its judgements of one answer agree, where it was asked
    several times, what second judges say, and what the linter finds; rows of the table."""
    found = []
    if agreed := summary.judge_agreement:
        found.append(f"| two judgements of one answer | agree on {agreed.said} |")
    if noise := summary.judge:
        share = f"{100 * noise.share:.0f} % ({in_percent(noise.interval)})"
        found.append(f"| judge | makes {share} of the variance of once-judged attempts |")
    found += [f"| second judge | {audit.said} |" for audit in summary.audits]
    if rubrics := summary.rubrics:
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


def _by_gate(mean_of: Callable[..., str]) -> str:
    """Rows of the table: what the attempts come to by which the gate confirmed examples."""
    names = {"weak": "weak mean", "strong": "strong mean", "gap": "gap"}
    return "".join(
        f"\n| {names[side]}, confirmed by the gate | "
        f"{mean_of(mean, least=-1.0 if side == 'gap' else 0.0)} |"
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
    if found.value is None:
        return "none"
    between = f" ({found.interval.low:.2f}–{found.interval.high:.2f})" if found.interval else ""
    return f"{found.value:.2f}{between}"


def _with_interval(
    ledger: Ledger, ids: Sequence[str], which: str, column: str, least: float = -1.0
) -> str:
    """The mean of a column over the chosen examples, with its interval by document."""
    rows = ledger.query(
        f"select {SOURCE} as source, {column} as value from examples as e"
        f" join documents on documents.id = document_id left join {OWN_MEASUREMENT}"
        f" where value is not null and {which}",
        [to_json(ids)],
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


def _front_matter(
    runs: Sequence[RunRow],
    format: Format,
    files: Mapping[Any, str],
    count: int,
    options: ExportOptions,
    contents: str,
) -> str:
    simulated = any(run.simulated for run in runs)
    tags = ["synthetic", "autodata", *HUB_TAGS[format.name], *_tasks(runs)]
    fields = {
        **hub_license(options.license),
        **({"language": list(options.languages)} if options.languages else {}),
        "pretty_name": f"autodata {', '.join(_tasks(runs))} ({format.name})",
        "task_categories": ["text-generation", *HUB_CATEGORIES[format.name]],
        "annotations_creators": ["machine-generated"],
        "language_creators": ["machine-generated"],
        "tags": [*tags, *(["simulated"] if simulated else [])],
        "size_categories": [hub_size(count)],
        "configs": hub_configs(files, contents),
        "simulated": simulated,
    }
    text: str = yaml.safe_dump(fields, sort_keys=False, allow_unicode=True)
    return text


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


_ARMS = """
# Is it the length of the questions?

{simulated}Four arms of {rows} rows each, one row of each example, for {use}.

{table}

Means by row, 95 % intervals by document in brackets. Words are those of the question; tokens are
estimated at four characters each, of all that a student reads in a row. Scores are those of the
attempts that let examples in.

Lengths may still differ within a bin: compare the words of arms 2 and 3, and of arms 4 and 1.

Train a student on each arm with the same settings, tuned on a validation split, each on as many
tokens ({least:,}, the least of the four), and measure it and the untrained student on the same
questions, which none of them has seen. Of what agentic examples bring over one-shot ones, their
length explains

    share = (arm 2 − arm 1) / (arm 3 − arm 1)

and the other way round (arm 3 − arm 4) / (arm 3 − arm 1). The interval of the share: draw the
documents of the test questions again (bootstrap), the same for all arms, and take the share of each
draw. Where arm 3 is not surely better than arm 1, there is nothing to explain.

## How arms 2 and 4 were drawn

Into bins of the other run's lengths, quantiles of them; of each bin its share, without replacement,
by a hash of each question. All arms are then drawn down to the same number in the same way.

{drawn}
{made}
"""


def arms_card(
    runs: Sequence[RunRow],
    format: Format,
    files: Mapping[str, Path],
    held: Mapping[str, Sequence[ArmRow]],
    arms: Mapping[str, Resampled],
    options: ExportOptions,
    contents: str,
) -> str:
    """The README of the length test's arms, in Markdown with YAML front matter."""
    columns = ("file", "holds", "documents", "words", "tokens per row", "tokens", "weak", "strong")
    table = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    totals = []
    for arm, rows in held.items():
        totals.append(sum(row.tokens for row in rows))
        words = by_origin("{:.1f}", [(row.origin, row.words) for row in rows])
        each = by_origin("{:,.0f}", [(row.origin, row.tokens) for row in rows])
        weak = by_origin("{:.2f}", [(row.origin, row.weak) for row in rows])
        strong = by_origin("{:.2f}", [(row.origin, row.strong) for row in rows])
        documents = len({row.origin for row in rows})
        cells = (
            files[arm].name,
            ARMS[arm],
            documents,
            words,
            each,
            f"{totals[-1]:,}",
            weak,
            strong,
        )
        table.append(f"| {' | '.join(map(str, cells))} |")
    drawn = ["\n".join([f"{arm}:", "", *lengths_table(arms[arm].bins)]) for arm in list(arms)[1::2]]
    body = _ARMS.format(
        simulated=_SIMULATED if any(run.simulated for run in runs) else "",
        rows=len(held["3-agentic"]),
        use=_USES[format.name],
        table="\n".join(table),
        least=min(totals),
        drawn="\n".join(drawn),
        made="\n".join(f"- {run.id}: {run.task}, prompts {run.prompts_revision}" for run in runs),
    )
    names = {arm: file.name for arm, file in files.items()}
    head = _front_matter(runs, format, names, 4 * len(rows), options, contents)
    return f"---\n{head}---\n{body}"
