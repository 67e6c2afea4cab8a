"""The training scripts as they are typed: steps on the export of each domain with a tiny model of
random weights, judged over HTTP; killed and resumed; a rate chosen; a judge that is down."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.consumers.test_datasets import exported
from tests.consumers.test_trl import student
from tests.outside import ROOT, Folder
from tests.processes import simulation, started

pytestmark = [pytest.mark.consumers, pytest.mark.filterwarnings("default")]

ENDS = 4.5  # by which a token that ends the answer leads: one is written in eight or so
STEPS = ("--batch", "2", "--lr", "1e-2", "--device", "cpu")
ROLLOUTS = ("--rollouts", "4", "--max-completion", "24")
PATIENCE = 300.0  # seconds until a script must have come somewhere


@pytest.fixture(scope="module")
def judge() -> Iterator[tuple[str, ...]]:
    """The flags of a simulated judge behind HTTP."""
    with started(simulation, ("--port", "0")) as process:
        url = process.stdout.readline().split(" at ")[1].split()[0]
        yield ("--judge-url", url, "--judge-model", "simulated")


def begun(script: str, folder: Path, *words: str) -> "subprocess.Popen[str]":
    """A script while it runs; one thread, so that sums are added up in one order."""
    return subprocess.Popen(
        [sys.executable, ROOT / "training" / script, *words],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def ran(script: str, folder: Path, *words: str, code: int = 0) -> str:
    """What a script prints that ends so."""
    with begun(script, folder, *words) as process:
        said, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == code, said
    assert "Traceback" not in said
    return said


def result(folder: Path, out: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / out / "result.json").read_text())
    return found


def test_steps_are_taken_on_the_export_of_each_domain(
    made: Folder, domain: str, judge: tuple[str, ...], tmp_path: Path
) -> None:
    file = exported(made, domain, "trl-grpo", tmp_path / "grpo")
    model = student(file, ENDS)
    folder = tmp_path / "grpo"
    ran("grpo.py", folder, file.name, "--model", model, "--out", "out", "--steps", "2",
        *STEPS, *ROLLOUTS, *judge)  # fmt: skip
    found = result(folder, "out")
    assert [entry["step"] for entry in found["log"]] == [1, 2]
    assert found["answers"] == 16
    assert 0 <= found["groups_without_variance"] <= 1
    assert all(0 <= entry["reward"] <= 1 for entry in found["log"])
    with sqlite3.connect(folder / "out" / "judge.db") as kept:
        [(replies,)] = kept.execute("select count(*) from replies")
    assert (replies > 0) == (domain != "procedural")
    assert (folder / "out" / "model" / "model.safetensors").is_file()


def test_a_training_that_was_killed_ends_with_the_weights_of_one_that_was_not(
    made: Folder, judge: tuple[str, ...], tmp_path: Path
) -> None:
    file = exported(made, "cs", "trl-grpo", tmp_path / "grpo")
    folder = tmp_path / "grpo"
    words = (file.name, "--model", student(file, ENDS), "--steps", "4", "--save-every", "1",
             *STEPS, *ROLLOUTS, *judge)  # fmt: skip
    ran("grpo.py", folder, *words, "--out", "whole")
    with begun("grpo.py", folder, *words, "--out", "killed") as process:
        until(folder / "killed" / "checkpoint-2" / "trainer_state.json")
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert not (folder / "killed" / "result.json").exists()
    assert "--resume goes on with it" in ran("grpo.py", folder, *words, "--out", "killed", code=2)
    ran("grpo.py", folder, "--out", "killed", "--resume")
    weights = [
        (folder / out / "model" / "model.safetensors").read_bytes() for out in ("whole", "killed")
    ]
    assert weights[0] == weights[1]
    assert result(folder, "whole") == result(folder, "killed")


def until(path: Path) -> None:
    """Waits for a file of another process, which nothing but its being there tells of."""
    ends = time.monotonic() + PATIENCE
    while not path.is_file():
        assert time.monotonic() < ends
        time.sleep(0.02)


def test_a_judge_that_is_down_pauses_the_training_which_goes_on_when_it_is_back(
    made: Folder, judge: tuple[str, ...], tmp_path: Path
) -> None:
    file = exported(made, "cs", "trl-grpo", tmp_path / "grpo")
    folder = tmp_path / "grpo"
    words = (file.name, "--model", student(file, ENDS), "--out", "out", "--steps", "3",
             *STEPS, *ROLLOUTS)  # fmt: skip
    ran("grpo.py", folder, *words, *judge, "--out", "whole")
    said = ran("grpo.py", folder, *words, *judge, "--judge-calls", "9", code=3)
    assert "paused: 9 calls of the judge were made" in said
    more = ("--judge-calls", "99")
    nobody = (
        "--judge-url",
        "http://127.0.0.1:9/v1",
        "--judge-give-up",
        "0.1",
        "--judge-calls",
        "99",
    )
    said = ran("grpo.py", folder, "--out", "out", "--resume", *nobody, code=3)
    assert "cannot be asked" in said
    assert "go on with --out out --resume" in said
    # Of the step before, though no checkpoint was asked for so early.
    assert len(list((folder / "out").glob("checkpoint-*"))) == 1
    ran("grpo.py", folder, "--out", "out", "--resume", *judge[:2], *more)
    assert len(result(folder, "out")["log"]) == 3
    # Steps that were paused in were drawn again as they had been, and their replies found again.
    for kept in ("judge.db", "model/model.safetensors"):
        assert told(folder / "out" / kept) == told(folder / "whole" / kept)


def told(path: Path) -> object:
    """What a file of weights holds, or the replies of a judge."""
    if path.suffix != ".db":
        return path.read_bytes()
    with sqlite3.connect(path) as kept:
        return sorted(kept.execute("select key, reply from replies"))


def test_the_rate_that_scores_best_on_other_documents_is_trained_with(
    made: Folder, tmp_path: Path
) -> None:
    file = exported(made, "procedural", "trl-grpo", tmp_path / "grpo")
    folder = tmp_path / "grpo"
    rows = file.read_text().splitlines()
    of = [json.loads(row)["meta"]["document_id"] for row in rows]
    sides: dict[str, list[str]] = {"train": [], "validation": []}
    for row, document in zip(rows, of, strict=True):
        sides["validation" if document in sorted(set(of))[:2] else "train"].append(row)
    for side, its in sides.items():
        (folder / f"{side}.jsonl").write_text("\n".join(its))
    said = ran("grpo.py", folder, "train.jsonl", "--validation", "validation.jsonl",
               "--model", student(file, ENDS), "--out", "out", "--steps", "1", "--sweep-steps", "1",
               "--lr-sweep", "1e-3", "1e-2", "--reward", "format", *STEPS, *ROLLOUTS)  # fmt: skip
    swept = json.loads((folder / "out" / "sweep.json").read_text())
    assert list(swept["scores"]) == ["untrained", "0.001", "0.01"]
    best = max(("0.001", "0.01"), key=lambda rate: swept["scores"][rate]["mean"])
    assert swept["chosen"] == float(best) == result(folder, "out")["settings"]["lr"]
    assert swept["documents"] == 2
    assert all(s["low"] <= s["mean"] <= s["high"] for s in swept["scores"].values())
    assert "(chosen)" in said


def test_answers_are_imitated_and_a_killed_imitation_goes_on(made: Folder, tmp_path: Path) -> None:
    file = exported(made, "science", "sft", tmp_path / "sft")
    folder = tmp_path / "sft"
    # Two steps meet all rows, so that the second two can be held against the first.
    words = (file.name, "--model", student(file), "--rows", "4", "--steps", "4",
             "--save-every", "1", *STEPS)  # fmt: skip
    ran("sft.py", folder, *words, "--out", "whole")
    with begun("sft.py", folder, *words, "--out", "killed") as process:
        until(folder / "killed" / "checkpoint-2" / "trainer_state.json")
        process.send_signal(signal.SIGKILL)
        process.communicate()
    ran("sft.py", folder, "--out", "killed", "--resume")
    found = result(folder, "killed")
    assert found == result(folder, "whole")
    whole, killed = (folder / out / "model" / "model.safetensors" for out in ("whole", "killed"))
    assert whole.read_bytes() == killed.read_bytes()
    losses = [entry["loss"] for entry in found["log"]]
    assert sum(losses[2:]) < sum(losses[:2])
    said = ran("sft.py", folder, *words, "--out", "short", "--max-length", "5", code=2)
    assert "more tokens than --max-length" in said


def test_every_step_is_in_tensorboard(made: Folder, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    file = exported(made, "procedural", "trl-grpo", tmp_path / "grpo")
    folder = tmp_path / "grpo"
    ran("grpo.py", folder, file.name, "--model", student(file, ENDS), "--out", "out",
        "--steps", "2", "--reward", "format", "--report-to", "tensorboard",
        *STEPS, *ROLLOUTS)  # fmt: skip
    [events] = (folder / "out" / "runs").glob("*/events.out.tfevents.*")
    kept = EventAccumulator(str(events)).Reload()
    rewards = {event.step: event.value for event in kept.Scalars("train/reward")}
    expected = {entry["step"]: entry["reward"] for entry in result(folder, "out")["log"]}
    assert rewards == pytest.approx(expected)
