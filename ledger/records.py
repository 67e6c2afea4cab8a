"""What one accepted example looks like to each kind of training.

Every format is one function from a record to its rows and the shape of those rows. The shape names
each column with its type (`[x]`: a list of x, a dict: nested columns), so that a Parquet file has
the same columns whatever an example leaves empty.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

from autodata.ledger.database import ESTIMATED, REVIEWED
from autodata.ledger.filters import Split, drawn, judge_agreement, words
from autodata.ledger.rows import Example, RunRow
from autodata.tasks.acceptance import exact, scores
from autodata.tasks.types import Attempt

HARNESS = "autodata"
"""By which a viewer of traces tells whose sessions they are."""

Record = dict[str, Any]
Shape = Mapping[str, Any]

MARGIN = Fraction(1, 5)
"""Score by which a preferred answer must lead: the paper's gap between weak and strong (2)."""

_RUBRIC = [{"criterion": str, "weight": int, "category": str, "capability": str}]
_MARKS = [{"criterion": str, "weight": int, "met": bool, "evidence": str}]
_ATTEMPTS = [
    {"number": int, "answer": str, "score": float, "truncated": bool,
     "format_error": bool, "tokens": int, "call_id": int, "marks": _MARKS}
]  # fmt: skip
_MESSAGES = [{"role": str, "content": str}]
_ROLES = (
    "challenger", "orchestrator", "verifier", "weak_solver", "strong_solver", "judge",
    "loop_judge", "extractor", "final_verifier",
)  # fmt: skip
_KNOWN = (
    "certainty", *(f"{of}_{part}" for of in ("weak", "strong", "gap") for part in ESTIMATED)
)  # fmt: skip
_META = {
    "index": int, "document_id": str, "document_name": str, "document_source": str, "run": str,
    "round": int, "challenger_call_id": int, "prompts_revision": str, "locked_revision": str,
    "models": dict.fromkeys(_ROLES, str),
    "simulated": bool, "weak_scores": [float], "strong_scores": [float], "weak_mean": float,
    "strong_mean": float, "gap": float, **dict.fromkeys(_KNOWN, float),
    **dict.fromkeys(REVIEWED, str), "question_words": int, "agreement": float,
    "disagreement": float, "calls": int,
    "input_tokens": int, "output_tokens": int,
}  # fmt: skip
# What people filter on, in every row of every format.
_MEASURED = {
    "weak_pass_rate": float, "strong_pass_rate": float, "gap": float,
    "weak_total_rollouts": int, "strong_total_rollouts": int, "confirmed_weak": float,
    "confirmed_strong": float, "confirmed_gap": float, "confirmed": bool, "method": str,
    "split": str,
}  # fmt: skip
SCORED_BY = {
    "task": str, "context": str, "question": str, "question_type": str, "rubric": _RUBRIC,
}  # fmt: skip
"""Columns by which an answer is scored, beside the reference answer: what a reward asks for."""
_FULL = {
    "id": str, "task": str, "question_type": str, "skills": [str], "context": str,
    "question": str, "reference_answer": str, "rubric": _RUBRIC, "weak": _ATTEMPTS,
    "strong": _ATTEMPTS, **_MEASURED, "meta": _META,
}  # fmt: skip


ROW_NUMBERS = tuple(
    name
    for name, kind in {**_MEASURED, **_META}.items()
    if kind in (int, float) and name not in ("index", "challenger_call_id")
)
"""What an export may be filtered by: the numbers of every row, in its columns or its `meta`."""


class ExampleUsage(NamedTuple):
    """What an example's document cost: calls, tokens in and out, and output tokens per call id;
    `challenger_call_id` wrote the example, None where no reply on record holds its question."""

    calls: int
    input_tokens: int
    output_tokens: int
    by_call: Mapping[int, int | None]
    challenger_call_id: int | None = None


class Format(NamedTuple):
    """A file format by name: its rows, their shape, and the suffix of its files."""

    name: str
    suffix: str
    shape: Shape
    rows: Callable[[Record], Iterator[Record]]


def takes(format: Format) -> str:
    """What an example must have to yield a row of a format that takes not all of them."""
    apart = f" that lie {float(MARGIN):g} apart" if format.name == "dpo" else ""
    return f"whole scored answers{apart}"


def with_votes(format: Format) -> Format:
    """The format for answers that were judged several times: marks say what each judgement found,
    where the format holds marks."""
    marks = [{**_MARKS[0], "votes": [bool]}]
    judged = [{**_ATTEMPTS[0], "marks": marks}]
    sides = {side: judged for side in ("weak", "strong") if side in format.shape}
    return format._replace(shape={**format.shape, **sides})


def record_of(
    example: Example,
    run: RunRow,
    usage: ExampleUsage,
    index: int,
    source: str,
    split: Split = "train",
) -> Record:
    """The full example as plain values; `index` counts the examples of a file from 0. Of the
    `source` the hash is told by which `split_of` deals documents out."""
    candidate = example.candidate
    sides = {"weak": _attempts(example.weak, usage), "strong": _attempts(example.strong, usage)}
    return {
        "id": example.id,
        "task": example.task,
        "question_type": candidate.question_type,
        "skills": list(candidate.skills),
        "context": candidate.context,
        "question": candidate.question,
        "reference_answer": candidate.reference_answer,
        "rubric": [criterion.model_dump() for criterion in candidate.rubric],
        **sides,
        **_measured(example),
        "method": run.baseline or "loop",
        "split": split,
        "meta": {
            "index": index,
            "document_id": example.document_id,
            "document_name": example.document_name,
            "document_source": f"{drawn('split', source):016x}",
            "run": example.run_id,
            "round": example.rounds_used,
            "challenger_call_id": usage.challenger_call_id,
            "prompts_revision": example.prompts_revision,
            "locked_revision": run.locked_revision,
            "models": dict(run.models),
            "simulated": example.simulated,
            "weak_scores": [attempt.score for attempt in example.weak],
            "strong_scores": [attempt.score for attempt in example.strong],
            "weak_mean": example.weak_mean,
            "strong_mean": example.strong_mean,
            "gap": example.gap,
            **{name: getattr(example, name) for name in (*_KNOWN, *REVIEWED)},
            "question_words": words(candidate.question),
            "agreement": judge_agreement([*sides["weak"], *sides["strong"]]),
            "disagreement": example.disagreement,
            "calls": usage.calls,
            "input_tokens": usage.input_tokens,
            "output_tokens": usage.output_tokens,
        },
    }


def _measured(example: Example) -> Record:
    """How hard the example is: by the attempts that let it in, which flatter, and by fresh ones.

    A pass rate is the mean score of a side's rollouts that could be scored, 0 … 1.
    """
    shown = {
        "weak_pass_rate": example.weak_mean,
        "strong_pass_rate": example.strong_mean,
        "gap": example.gap,
        "weak_total_rollouts": len(scores(example.weak)),
        "strong_total_rollouts": len(scores(example.strong)),
    }
    afresh = ("confirmed_weak", "confirmed_strong", "confirmed_gap", "confirmed")
    return shown | {name: getattr(example, name) for name in afresh}


def _flat(record: Record) -> Record:
    return {name: record[name] for name in _MEASURED}


def _attempts(attempts: Sequence[Attempt], usage: ExampleUsage) -> list[Record]:
    return [
        {
            "number": attempt.number,
            "answer": attempt.answer,
            "score": attempt.score,
            "truncated": attempt.truncated,
            "format_error": attempt.format_error,
            "tokens": usage.by_call.get(attempt.call_id) if attempt.call_id else None,
            "call_id": attempt.call_id,
            "marks": [mark.model_dump() for mark in attempt.marks],
        }
        for attempt in attempts
    ]


def prompt_of(record: Record) -> list[Record]:
    """What a student is asked: context and question as one user message."""
    asked = "\n\n".join(part for part in (record["context"], record["question"]) if part.strip())
    return [{"role": "user", "content": asked}]


def texts_of(record: Record, row: Record) -> list[str]:
    """What a student reads of a row: all its messages; of a format without any what it is asked."""
    lists = [value for value in row.values() if isinstance(value, list)]
    messages = [each for one in lists for each in one if isinstance(each, dict)]
    said = [message["content"] for message in messages if "content" in message]
    return said or [message["content"] for message in prompt_of(record)]


def full(record: Record) -> Iterator[Record]:
    """Everything that is known about the example."""
    yield record


def trl_grpo(record: Record) -> Iterator[Record]:
    """TRL's GRPO: every column but `prompt` reaches the reward function as a keyword argument."""
    columns = (*SCORED_BY, "reference_answer", *_MEASURED, "meta")
    yield {"prompt": prompt_of(record), **{name: record[name] for name in columns}}


def verl(record: Record) -> Iterator[Record]:
    """verl: its `compute_score` gets `data_source`, `reward_model.ground_truth`, `extra_info`, and
    no other column: what an answer is scored by stands there, too."""
    rubrics = [
        {
            "criterion": criterion["criterion"],
            "points": criterion["weight"],
            "tags": [tag for tag in (criterion["category"], criterion["capability"]) if tag],
        }
        for criterion in record["rubric"]
    ]
    yield {
        "data_source": f"autodata/{record['task']}",
        "prompt": prompt_of(record),
        "ability": record["task"],
        "reward_model": {
            "style": "rubric" if rubrics else "rule",
            "ground_truth": record["reference_answer"],
            "rubrics": rubrics,
        },
        **_flat(record),
        "extra_info": {
            "split": record["split"],
            "id": record["id"],
            **{name: record[name] for name in SCORED_BY},
            **record["meta"],
        },
    }


def sft(record: Record) -> Iterator[Record]:
    """Supervised fine-tuning: the best strong answer, if one is whole and was scored."""
    if best := _best(record["strong"]):
        answer = {"role": "assistant", "content": best["answer"]}
        yield {
            "messages": [*prompt_of(record), answer],
            "score": best["score"],
            "call_id": best["call_id"],
            **_flat(record),
            "meta": record["meta"],
        }


def dpo(record: Record) -> Iterator[Record]:
    """Preferences: the best strong answer over each weak one that it leads by `MARGIN`, all whole:
    of an answer that was cut off a student would learn to break off, or not to."""
    best = _best(record["strong"])
    if best is None:
        return
    for weak in _whole(record["weak"]):
        margin = exact(best["score"]) - exact(weak["score"])
        if margin >= MARGIN:
            yield {
                "prompt": prompt_of(record),
                "chosen": [{"role": "assistant", "content": best["answer"]}],
                "rejected": [{"role": "assistant", "content": weak["answer"]}],
                "chosen_score": best["score"],
                "rejected_score": weak["score"],
                "margin": float(margin),
                "chosen_call_id": best["call_id"],
                "rejected_call_id": weak["call_id"],
                **_flat(record),
                "meta": record["meta"],
            }


def taskset(record: Record) -> Iterator[Record]:
    """A taskset for verifiers: what is asked, and all that an answer is scored by."""
    columns = ("id", *SCORED_BY, "reference_answer", *_MEASURED, "meta")
    yield {name: record[name] for name in columns}


def session(record: Record) -> Iterator[Record]:
    """The line that begins a session for a viewer of traces; messages follow it."""
    header = {"type": "session", "harness": HARNESS, "id": record["id"], "name": record["question"]}
    yield {**header, **_flat(record), "meta": record["meta"]}


def _best(attempts: Sequence[Record]) -> Record | None:
    return max(_whole(attempts), key=lambda attempt: attempt["score"], default=None)


def _whole(attempts: Sequence[Record]) -> list[Record]:
    """The attempts that were scored and not cut off."""
    return [a for a in attempts if a["score"] is not None and not a["truncated"]]


EXPORT_FORMATS = {
    each.name: each
    for each in (
        Format("jsonl", ".jsonl", _FULL, full),
        Format("parquet", ".parquet", _FULL, full),
        Format(
            "trl-grpo",
            ".jsonl",
            {"prompt": _MESSAGES, **SCORED_BY, "reference_answer": str, **_MEASURED,
             "meta": _META},
            trl_grpo,
        ),
        Format(
            "verl",
            ".parquet",
            {"data_source": str, "prompt": _MESSAGES, "ability": str,
             "reward_model": {"style": str, "ground_truth": str, "rubrics": [
                 {"criterion": str, "points": int, "tags": [str]}]}, **_MEASURED,
             "extra_info": {"split": str, "id": str, **SCORED_BY, **_META}},
            verl,
        ),
        Format(
            "sft",
            ".jsonl",
            {"messages": _MESSAGES, "score": float, "call_id": int, **_MEASURED, "meta": _META},
            sft,
        ),
        Format(
            "dpo",
            ".jsonl",
            {"prompt": _MESSAGES, "chosen": _MESSAGES, "rejected": _MESSAGES,
             "chosen_score": float, "rejected_score": float, "margin": float,
             "chosen_call_id": int, "rejected_call_id": int, **_MEASURED, "meta": _META},
            dpo,
        ),
    )
}  # fmt: skip
"""The formats that are files, by the name that `--format` takes."""

FOLDER_FORMATS = {
    each.name: each
    for each in (
        Format("hf", "", _FULL, full),
        Format(
            "verifiers",
            "",
            {"id": str, **SCORED_BY, "reference_answer": str, **_MEASURED, "meta": _META},
            taskset,
        ),
        Format(
            "traces",
            "",
            {"type": str, "harness": str, "id": str, "name": str, **_MEASURED, "meta": _META},
            session,
        ),
    )
}
"""The formats that are folders."""
