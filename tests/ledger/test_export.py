"""Accepted examples leave the house in the shapes that trainers read."""

import json
from pathlib import Path
from statistics import fmean
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from autodata.ledger.export import export
from autodata.ledger.filters import ExportError
from autodata.ledger.ledger import Ledger
from autodata.ledger.records import EXPORT_FORMATS
from autodata.ledger.rows import RunRow
from autodata.ledger.summary import mean_rounds
from autodata.tasks import TASKS
from autodata.tasks.acceptance import Acceptance, exact
from autodata.tasks.measured import MeasuredPolicy
from autodata.tasks.measurement import bootstrap
from autodata.tasks.types import Attempt, Candidate, Criterion, Document, Mark, Objection, Round

DOCUMENT = Document.of("wal.md", "A log is written before the page.")
RUBRIC = (
    Criterion(criterion="names the fsync", weight=5, category="mechanism"),
    Criterion(criterion="blames the disk", weight=-3, category="error"),
)


def attempt(solver: str, number: int, score: float | None, **more: Any) -> Attempt:
    marks = tuple(Mark(criterion=c.criterion, weight=c.weight, met=True) for c in RUBRIC)
    return Attempt(
        solver=solver, number=number, answer=f"{solver} {number}", score=score, marks=marks, **more
    )


def accepted(**more: Any) -> Round:
    candidate = Candidate(
        context="A database on one disk.",
        question="What survives?",
        reference_answer="What was synced.",
        rubric=RUBRIC,
        question_type="prediction",
        skills=("durability",),
    )
    weak = (attempt("weak", 1, 0.2), attempt("weak", 2, 0.65), attempt("weak", 3, None))
    strong = (
        attempt("strong", 1, 0.7),
        attempt("strong", 2, 0.8),
        attempt("strong", 3, 1.0, truncated=True),
    )
    values: dict[str, Any] = {
        "number": 1, "candidate": candidate, "weak": weak, "strong": strong,
        "decision": "accepted",
    }  # fmt: skip
    return Round(**(values | more))


def a_ledger(folder: Path, *rounds: Round, simulated: bool = True) -> Ledger:
    ledger = Ledger.open(folder)
    ledger.add_documents([DOCUMENT])
    ledger.start_run(
        RunRow(
            id="first",
            task="cs",
            prompts_revision="seed-0123456789ab",
            models={"weak_solver": "simulated/simulated-weak"},
            simulated=simulated,
        )
    )
    if rounds:
        ledger.record("first", DOCUMENT.id, rounds)
    return ledger


@pytest.fixture
def ledger(tmp_path: Path):
    with a_ledger(tmp_path, accepted()) as ledger:
        yield ledger


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_jsonl_holds_the_whole_example(ledger: Ledger, tmp_path: Path) -> None:
    exported = export(ledger, "jsonl")
    assert exported.path == tmp_path / "examples.jsonl"
    [row] = lines(exported.path)
    assert (row["question"], row["reference_answer"]) == ("What survives?", "What was synced.")
    assert [c["weight"] for c in row["rubric"]] == [5, -3]
    assert [a["score"] for a in row["strong"]] == [0.7, 0.8, 1.0]
    assert row["weak"][0]["marks"][0]["met"] is True
    assert row["meta"]["document_name"] == "wal.md"
    assert row["meta"]["weak_scores"] == [0.2, 0.65, None]
    assert row["meta"]["prompts_revision"] == "seed-0123456789ab"
    assert row["meta"]["simulated"] is True


def test_an_attempt_carries_the_tokens_of_its_call(tmp_path: Path) -> None:
    with a_ledger(tmp_path, accepted().model_copy(update={"decision": "rejected"})) as ledger:
        ledger._db.table("calls").insert(
            {"id": 4, "scope": DOCUMENT.id, "role": "weak_solver", "endpoint": "e", "model": "m",
             "request_key": "k", "sample": 1, "status": "ok", "input_tokens": 900,
             "output_tokens": 77, "started_at": "2026-01-01", "seconds": 1.0}
        )  # fmt: skip
        spoken = accepted(weak=(attempt("weak", 1, 0.2, call_id=4),))
        ledger.record("first", DOCUMENT.id, (spoken,))
        [row] = lines(export(ledger, "jsonl").path)
    assert row["weak"][0]["tokens"] == 77
    assert row["strong"][0]["tokens"] is None
    assert (row["meta"]["calls"], row["meta"]["input_tokens"]) == (1, 900)


def test_parquet_says_the_same_as_jsonl(ledger: Ledger, tmp_path: Path) -> None:
    [row] = lines(export(ledger, "jsonl").path)
    [same] = pq.read_table(export(ledger, "parquet").path).to_pylist()
    models = {role: model for role, model in same["meta"]["models"].items() if model}
    assert same | {"meta": same["meta"] | {"models": models}} == row


def test_grpo_asks_a_prompt_and_hands_the_rubric_to_the_reward(ledger: Ledger) -> None:
    [row] = lines(export(ledger, "trl-grpo").path)
    assert row["prompt"] == [
        {"role": "user", "content": "A database on one disk.\n\nWhat survives?"}
    ]
    assert [c["criterion"] for c in row["rubric"]] == ["names the fsync", "blames the disk"]
    assert (row["reference_answer"], row["task"]) == ("What was synced.", "cs")


def test_verl_gets_points_and_tags(ledger: Ledger) -> None:
    exported = export(ledger, "verl")
    assert exported.path.suffix == ".parquet"
    [row] = pq.read_table(exported.path).to_pylist()
    assert (row["data_source"], row["ability"]) == ("autodata/cs", "cs")
    assert row["reward_model"]["style"] == "rubric"
    assert row["reward_model"]["rubrics"] == [
        {"criterion": "names the fsync", "points": 5, "tags": ["mechanism"]},
        {"criterion": "blames the disk", "points": -3, "tags": ["error"]},
    ]
    assert (row["extra_info"]["split"], row["extra_info"]["index"]) == ("train", 0)


def test_a_rubric_free_example_is_checked_by_rule(tmp_path: Path) -> None:
    bare = accepted().candidate
    assert bare is not None
    plain = accepted(candidate=bare.model_copy(update={"rubric": ()}))
    with a_ledger(tmp_path, plain) as ledger:
        [row] = pq.read_table(export(ledger, "verl").path).to_pylist()
    assert row["reward_model"] == {
        "style": "rule",
        "ground_truth": "What was synced.",
        "rubrics": [],
    }


def test_sft_takes_the_best_answer_that_is_whole(ledger: Ledger) -> None:
    [row] = lines(export(ledger, "sft").path)
    assert row["messages"][-1] == {"role": "assistant", "content": "strong 2"}
    assert row["score"] == 0.8


def test_dpo_pairs_answers_that_lie_far_enough_apart(ledger: Ledger) -> None:
    [row] = lines(export(ledger, "dpo").path)
    assert (row["chosen"][0]["content"], row["rejected"][0]["content"]) == ("strong 2", "weak 1")
    assert row["margin"] == pytest.approx(0.6)


def test_a_margin_of_exactly_a_fifth_counts(tmp_path: Path) -> None:
    close = accepted(weak=(attempt("weak", 1, 0.5),), strong=(attempt("strong", 1, 0.7),))
    with a_ledger(tmp_path, close) as ledger:
        assert export(ledger, "dpo").rows == 1


@pytest.mark.parametrize("format", EXPORT_FORMATS)
def test_every_row_says_how_hard_it_is_in_flat_columns(
    ledger: Ledger, tmp_path: Path, format: str
) -> None:
    [row] = pq.read_table(export(ledger, format, tmp_path / "out.parquet").path).to_pylist()
    assert (row["weak_pass_rate"], row["strong_pass_rate"]) == (0.425, pytest.approx(2.5 / 3))
    assert (row["weak_total_rollouts"], row["strong_total_rollouts"]) == (2, 3)  # one had no score
    assert row["gap"] == pytest.approx(2.5 / 3 - 0.425)
    assert {row[f"confirmed{of}"] for of in ("", "_weak", "_strong", "_gap")} == {None}
    assert row["method"] == "loop"


def test_rows_of_several_runs_say_by_which_method_each_was_made(ledger: Ledger) -> None:
    one_shot = RunRow(
        id="second", task="cs", prompts_revision="baseline-1", config={"run": {"baseline": "cot"}}
    )
    ledger.start_run(one_shot)
    ledger.record("second", DOCUMENT.id, (accepted(),))
    assert {row["method"] for row in lines(export(ledger, "sft", run_id="second").path)} == {"cot"}


def test_the_true_scores_stand_in_meta(tmp_path: Path) -> None:
    policy = TASKS["cs"].policy(Acceptance(preset="measured"), 3, 3)
    assert isinstance(policy, MeasuredPolicy)
    known = policy.known([exact(0.2)] * 3, [exact(0.9)] * 3)
    with a_ledger(tmp_path) as ledger:
        ledger.record("first", DOCUMENT.id, (accepted(),), known=known)
        [row] = lines(export(ledger, "jsonl").path)
    assert row["meta"]["certainty"] == known.holds
    assert row["meta"]["weak_estimate"] == known.weak.mean
    assert (row["meta"]["gap_low"], row["meta"]["gap_high"]) == known.gap.interval


@pytest.mark.parametrize("format", EXPORT_FORMATS)
def test_each_format_comes_with_a_card_that_says_simulated(ledger: Ledger, format: str) -> None:
    exported = export(ledger, format)
    _, front, body = exported.card.read_text(encoding="utf-8").split("---\n", 2)
    fields = yaml.safe_load(front)
    assert fields["configs"][0]["data_files"] == exported.path.name
    assert "simulated" in fields["tags"]
    assert "**Simulated.**" in body
    assert "seed-0123456789ab" in body
    assert "weak_solver | simulated/simulated-weak" in body


def test_files_of_one_name_have_a_card_each(ledger: Ledger, tmp_path: Path) -> None:
    for suffix in ("jsonl", "parquet"):
        export(ledger, "sft", tmp_path / f"x.{suffix}")
    assert "x.jsonl" in (tmp_path / "x.md").read_text()
    assert "x.parquet" in (tmp_path / "x.parquet.md").read_text()


@pytest.mark.parametrize("format", EXPORT_FORMATS)
def test_every_format_may_be_parquet_and_its_columns_fit(
    ledger: Ledger, tmp_path: Path, format: str
) -> None:
    table = pq.read_table(export(ledger, format, tmp_path / "out.parquet").path)
    assert table.column_names == list(EXPORT_FORMATS[format].shape)
    assert table.num_rows == 1


def test_a_card_gives_rounds_per_example_with_an_interval(tmp_path: Path) -> None:
    """Of three examples, after one, two and four rounds; alike ones tell of no others."""
    given = [Document.of(f"{number}.md", f"Text {number}.") for number in (1, 2, 4)]
    with a_ledger(tmp_path) as ledger:
        ledger.add_documents(given)
        for document, number in zip(given, (1, 2, 4), strict=True):
            ledger.record("first", document.id, [accepted(number=number)])
        card = export(ledger, "jsonl").card.read_text(encoding="utf-8")
    low, high = bootstrap((1, 2, 4), fmean)
    assert f"| rounds per example | 2.33 ({low:.2f}–{high:.2f}) |" in card
    assert mean_rounds([2, 2, 2]).interval is None


def test_the_card_of_a_real_run_does_not_say_simulated(tmp_path: Path) -> None:
    with a_ledger(tmp_path, accepted(), simulated=False) as ledger:
        exported = export(ledger, "sft")
    assert "simulated models" not in exported.card.read_text(encoding="utf-8")


def test_a_run_without_examples_exports_nothing_and_says_why(tmp_path: Path) -> None:
    objection = Objection(code="TOO_EASY", message="weak mean 0.9")
    rejected = accepted(decision="rejected", objections=(objection,))
    with a_ledger(tmp_path, rejected) as ledger:
        (tmp_path / "examples.jsonl").write_text("what an earlier run left")
        with pytest.raises(ExportError, match="1 were rejected and 0 skipped"):
            export(ledger, "jsonl")
    assert (tmp_path / "examples.jsonl").read_text() == "what an earlier run left"
    assert sorted(path.name for path in tmp_path.glob("*exa*")) == ["examples.jsonl"]


def test_an_unknown_format_or_suffix_is_named(ledger: Ledger, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="there are jsonl, parquet, trl-grpo"):
        export(ledger, "cvs")
    with pytest.raises(ExportError, match=r"out\.txt must end in \.jsonl or \.parquet"):
        export(ledger, "sft", tmp_path / "out.txt")


def test_lone_surrogates_survive_in_jsonl_and_do_not_break_parquet(tmp_path: Path) -> None:
    odd = accepted(strong=(attempt("strong", 1, 0.9).model_copy(update={"answer": "\ud800!"}),))
    with a_ledger(tmp_path, odd) as ledger:
        [row] = lines(export(ledger, "sft").path)
        assert row["messages"][-1]["content"] == "\ud800!"
        assert export(ledger, "parquet").rows == 1


def test_no_folder_is_made_for_an_export(ledger: Ledger, tmp_path: Path) -> None:
    """A slip of the pen is an error; an existing folder takes the file under the usual name."""
    with pytest.raises(ExportError, match=r"there is no folder .*datsets; make it"):
        export(ledger, "jsonl", tmp_path / "datsets" / "train.jsonl")
    assert not (tmp_path / "datsets").exists()
    (tmp_path / "datasets").mkdir()
    assert export(ledger, "sft", tmp_path / "datasets").path == tmp_path / "datasets" / "sft.jsonl"
