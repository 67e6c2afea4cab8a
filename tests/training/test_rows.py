"""Exported rows: read or told what is wrong, kept apart by document; and how settings are
laid over one another."""

import argparse
import json
import math
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

import grpo
import sft
from intervals import Figure
from rows import (
    SCORED_BY,
    RowsError,
    document_of,
    normalised,
    passes,
    read_rows,
    refuse_overlap,
    shuffled,
)
from sessions import (
    RESULT,
    SETTINGS,
    SWEEP,
    TrainingError,
    chosen_rate,
    in_folder,
    keep,
    last_checkpoint,
    others_of,
    settle,
)
from tests.sources import ROOT, blocks

COLUMNS = ("prompt", *SCORED_BY)


def test_an_export_is_read_and_what_is_none_is_told_with_its_line(
    exported: Callable[[str, str], Path], tmp_path: Path
) -> None:
    path = exported("cs", "trl-grpo")
    rows = read_rows(path, COLUMNS, "trl-grpo")
    assert len(rows) == len(path.read_text().splitlines())
    assert len({document_of(row) for row in rows}) == len(rows)
    broken = tmp_path / "rows.jsonl"
    good = path.read_text().splitlines()[0]
    lacking = json.dumps({k: v for k, v in json.loads(good).items() if k != "rubric"})
    for text, told in (
        ("\n", "is empty"), (f"{good}\n{{", "line 2 is no JSON"), ("[]", "line 1 is no JSON obj"),
        (f"{good}\n{lacking}", "line 2 has no column rubric; write it anew with `autodata export"),
        (json.dumps(json.loads(good) | {"meta": {}}), "names no document_id"),
    ):  # fmt: skip
        broken.write_text(text)
        with pytest.raises(RowsError, match=told):
            read_rows(broken, COLUMNS, "trl-grpo")
    with pytest.raises(RowsError, match="there is no file"):
        read_rows(tmp_path / "none.jsonl", COLUMNS, "trl-grpo")


def test_columns_that_are_not_as_exported_are_told_before_anything_is_asked(
    exported: Callable[[str, str], Path], tmp_path: Path
) -> None:
    good = json.loads(exported("cs", "trl-grpo").read_text().splitlines()[0])
    file = tmp_path / "rows.jsonl"
    for column, value in (
        ("rubric", None), ("rubric", [{"criterion": "c"}]), ("question", 7), ("task", None),
        ("rubric", [{"criterion": "c", "weight": "3"}]), ("reference_answer", None),
        ("prompt", "What?"), ("prompt", []), ("prompt", [{"role": "user"}]), ("question_type", 3),
    ):  # fmt: skip
        file.write_text(json.dumps(good | {column: value}))
        with pytest.raises(RowsError, match=f"line 1: `{column}` is not as exported"):
            read_rows(file, COLUMNS, "trl-grpo")
    file.write_text(json.dumps(good | {"meta": {"document_id": None}}))
    with pytest.raises(RowsError, match="names no document_id"):
        read_rows(file, (), "trl-grpo")
    file.write_text("[" * 100_000)
    with pytest.raises(RowsError, match="line 1 is no JSON"):
        read_rows(file, (), "trl-grpo")
    file.write_text(f"{json.dumps(good)}\r\n", "utf-8-sig")
    assert read_rows(file, COLUMNS, "trl-grpo") == [good]


def row(document: str, question: str) -> dict[str, object]:
    return {"meta": {"document_id": document}, "context": "c", "question": question}


def test_documents_and_questions_stand_on_one_side_alone() -> None:
    train = [row("a", "What?"), row("b", "Why?")]
    refuse_overlap(train, [row("c", "Who?")], "test.jsonl")
    with pytest.raises(RowsError, match=r"1 documents of test.jsonl .* such as b"):
        refuse_overlap(train, [row("b", "Who?")], "test.jsonl")
    with pytest.raises(RowsError, match=r"questions of test.jsonl .* such as “c what”"):
        refuse_overlap(train, [row("c", "  what ")], "test.jsonl")


def test_mathematics_that_differs_by_a_sign_is_not_the_same_question() -> None:
    assert normalised("What is 3 + 4?") == normalised("what is 3+4")
    assert normalised("What is 3 − 4?") != normalised("What is 3 + 4?")
    assert normalised("It takes 3.5 s") != normalised("It takes 3 5 s")
    refuse_overlap([row("a", "What is 3 + 4?")], [row("b", "What is 3 − 4?")], "test.jsonl")


def test_a_question_is_known_again_in_another_format(exported: Callable[[str, str], Path]) -> None:
    grpo_rows = read_rows(exported("cs", "trl-grpo"), COLUMNS, "trl-grpo")
    for form in "jsonl", "sft":
        others = read_rows(exported("cs", form), (), form)
        moved = [other | {"meta": {"document_id": "another"}} for other in others]
        with pytest.raises(RowsError, match="questions of test"):
            refuse_overlap(grpo_rows, moved, "test")


def test_rows_are_shuffled_before_they_are_cut_and_passes_go_on_from_one_another() -> None:
    rows = [row(str(n), str(n)) for n in range(100)]
    some = shuffled(rows, 3, 10)
    assert some == shuffled(rows, 3)[:10] != rows[:10]
    assert shuffled(rows, 4, 10) != some
    order = passes(10, 35, seed=1)
    assert order[:12] == passes(10, 12, seed=1)
    for start in (0, 10, 20):
        assert sorted(order[start : start + 10]) == list(range(10))
    assert order[:10] != order[10:20] != order[20:30]


def parsed(*words: str) -> argparse.Namespace:
    return grpo.parser().parse_args(words)


def test_flags_go_over_the_preset_and_a_training_goes_on_as_it_was_begun(tmp_path: Path) -> None:
    train, out = tmp_path / "rows.jsonl", tmp_path / "out"
    train.write_text("{}")
    words = (str(train), "--model", "m", "--out", str(out), "--preset", "legal", "--batch", "4")

    def settings(*words: str) -> dict[str, object]:
        return settle(parsed(*words), grpo.DEFAULTS, grpo.PRESETS)

    first = settings(*words)
    assert (first["batch"], first["rollouts"], first["lr"]) == (4, 8, 1e-6)
    keep(out, SETTINGS, first)
    with pytest.raises(TrainingError, match="--resume goes on with it"):
        settings(*words)
    with pytest.MonkeyPatch.context() as second:  # another process of the same training
        second.setenv("RANK", "1")
        assert settings(*words) == first
    again = ("--out", str(out), "--resume")
    assert settings(*again) == first
    assert settings(*again, "--steps", "9", "--judge-url", "u")["steps"] == 9
    with pytest.raises(TrainingError, match=r"--lr was 1e-06, and is 0.1 now"):
        settings(*again, "--lr", "0.1")
    with pytest.raises(TrainingError, match=r"--temperature was 1.0, and is 0.0 now"):
        settings(*again, "--temperature", "0")
    assert settings(*again, "--judge-calls", "0")["judge_calls"] == 0
    (out / "checkpoint-3").mkdir()
    (out / "checkpoint-3" / "trainer_state.json").write_text("{}")
    assert settings(*again, "--steps", "3")["steps"] == 3
    with pytest.raises(TrainingError, match=r"3 steps are done in .*; --steps 2 is less"):
        settings(*again, "--steps", "2")
    train.write_text("[]")
    with pytest.raises(TrainingError, match="has changed since"):
        settings(*again)
    with pytest.raises(TrainingError, match="name --model"):
        settings(str(train), "--out", "elsewhere")


def test_a_folder_is_for_one_training_and_a_mistake_leaves_it_free(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(TrainingError, match="a typo"), in_folder(out, {"lr": 1}):
        raise TrainingError("a typo")
    assert not (out / SETTINGS).exists()
    with in_folder(out, {"lr": 2}):
        with pytest.raises(TrainingError, match="another training"), in_folder(out, {}):
            pass
        (out / "checkpoint-1").mkdir()
        (out / "checkpoint-1" / "trainer_state.json").write_text("{}")
    with pytest.raises(TrainingError, match="later"), in_folder(out, {"lr": 2}):
        raise TrainingError("later")
    assert json.loads((out / SETTINGS).read_text()) == {"lr": 2}
    (out / SETTINGS).write_text("{")
    with pytest.raises(TrainingError, match="is not what a training was begun with"):
        settle(parsed("--out", str(out), "--resume"), grpo.DEFAULTS, grpo.PRESETS)
    with pytest.raises(TrainingError, match="nothing can be kept in"):
        in_folder(out / SETTINGS, {}).__enter__()


def test_a_rate_that_comes_to_no_number_is_not_chosen(tmp_path: Path) -> None:
    means = {None: 3.0, 1.0: math.nan, 0.1: 2.0, 0.01: 2.5}
    settings = {"lr_sweep": [1.0, 0.1, 0.01], "sweep_steps": 1}

    def measured(rate: float | None, _: Path) -> Figure:
        return Figure(means[rate], None, None)

    assert chosen_rate(tmp_path / "a", settings, measured, float.__lt__, {}) == 0.1
    assert "NaN" not in (tmp_path / "a" / SWEEP).read_text()
    with pytest.raises(TrainingError, match="take smaller ones"):
        chosen_rate(tmp_path / "b", settings | {"lr_sweep": [1.0]}, measured, float.__lt__, {})


def test_only_a_whole_checkpoint_is_gone_on_from(tmp_path: Path) -> None:
    assert last_checkpoint(tmp_path) is None
    for step, text in ((9, "{}"), (10, "{}"), (11, '{"step": '), (12, None)):
        place = tmp_path / f"checkpoint-{step}"
        place.mkdir()
        if text is not None:
            (place / "trainer_state.json").write_text(text)
    assert last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-10")


def test_mistakes_on_the_command_line_are_told_without_a_traceback(
    exported: Callable[[str, str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, sums = str(exported("cs", "trl-grpo")), str(exported("procedural", "trl-grpo"))
    for words, told in (
        ((str(tmp_path / "none"),), "there is no file"),
        ((file,), "name --judge-url and --judge-model"),
        ((file, "--judge-url", "u"), "both --judge-url and --judge-model"),
        ((file, "--reward", "format"), "those of cs have none"),
        ((sums, "--batch", "500"), "fewer than a batch of 500"),
        ((sums, "--test", sums), "are trained on as well"),
        ((sums, "--lr-sweep", "1e-5"), "name one"),
        ((sums, "--rollouts", "1"), "at least 2 rollouts"),
        ((sums, "--temperature", "0"), "--temperature is above 0"),
        ((file, "--judge-url", "u", "--judge-model", "m", "--out", sums), "name another --out"),
    ):
        out = tmp_path / "out"
        assert grpo.main(["--model", "m", "--out", str(out), *words]) == 2
        said = capsys.readouterr().err
        assert said.startswith("error: ")
        assert told in said
        assert not (out / RESULT).exists()
        assert not (out / SETTINGS).exists()
    answers = str(exported("procedural", "sft"))
    for words, told in (
        ((sums,), "has no column messages"),
        ((answers, "--test", answers), "are trained on as well"),
        ((answers, "--lr-sweep", "1e-5"), "name one"),
    ):
        assert sft.main([*words, "--model", "m", "--out", str(tmp_path / "out")]) == 2
        assert told in capsys.readouterr().err
    for flag in ("--batch", "--rows", "--steps", "--micro-batch", "--judge-concurrency", "--lr"):
        for number in ("0", "-1"):
            with pytest.raises(SystemExit):
                parsed(sums, "--out", "out", flag, number)
            assert f"{number} is no" in capsys.readouterr().err
    with pytest.raises(TrainingError, match="say KEY=VALUE"):
        others_of(["optim"])
    assert others_of(["optim=adamw_8bit", "beta=0.1"]) == {"optim": "adamw_8bit", "beta": 0.1}


def test_the_help_of_a_script_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        grpo.main(["--help"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert "uv run training/grpo.py rows-train.jsonl --test rows-test.jsonl" in said
    with pytest.raises(SystemExit):
        sft.main(["--help"])
    assert "uv run training/sft.py answers-train.jsonl" in capsys.readouterr().out


SHOWN = [
    (block.name, line)
    for block in blocks(ROOT / "docs" / "training.md", "sh")
    for line in block.text.replace("\\\n", " ").splitlines()
    if "training/grpo.py" in line or "training/sft.py" in line
]


@pytest.mark.parametrize(("where", "line"), SHOWN)
def test_the_page_calls_the_scripts_as_they_take_it(where: str, line: str) -> None:
    words = shlex.split(line.partition(" #")[0])
    script = next(word for word in words if word.startswith("training/"))
    parsers = {"training/grpo.py": grpo.parser, "training/sft.py": sft.parser}
    assert parsers[script]().parse_args(words[words.index(script) + 1 :]).out, where
