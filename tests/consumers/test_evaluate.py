"""A model of random weights, loaded by transformers, stands beside one behind HTTP in one table."""

import json
from collections.abc import Iterator
from pathlib import Path
from shutil import copytree

import pytest

from tests.consumers.test_datasets import exported
from tests.consumers.test_trl import student
from tests.outside import Folder
from tests.processes import simulation, started
from tests.training.scripts import script

pytestmark = [pytest.mark.consumers, pytest.mark.filterwarnings("default")]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with started(simulation, ("--port", "0")) as process:
        yield process.stdout.readline().split(" at ")[1].split()[0]


def test_a_local_model_is_evaluated_and_asked_for_nothing_twice(
    made: Folder, domain: str, url: str, tmp_path: Path
) -> None:
    evaluate = script("evaluate")
    file = exported(made, domain, "trl-grpo", tmp_path / "grpo")
    base = Path(student(file))
    words = [
        f"--test={domain}={file}", f"--model=base={base}", f"--model=served={url}#simulated-strong",
        "--judge-url", url, "--judge-model", "simulated", "--attempts", "2", "--batch", "3",
        "--max-tokens", "8", "--device", "cpu", "--out", str(tmp_path / "evaluation"),
    ]  # fmt: skip
    assert evaluate.main(words) == 0
    journal = (tmp_path / "evaluation" / "answers.jsonl").read_text()
    found = json.loads((tmp_path / "evaluation" / "results.json").read_text())
    cell = found["figures"][domain]["base"]
    assert cell["answers"] == 2 * len(file.read_text().splitlines())
    assert 0 < cell["tokens"]["value"] <= 8
    # Random weights seldom write the token of the end.
    assert cell["cut_off"] > 0
    assert cell["mean"]["value"] < 1
    replies = [line["reply"] for line in map(json.loads, journal.splitlines())
               if line["kind"] == "answer" and line["model"] == "base"]  # fmt: skip
    assert all(reply["cut"] == (reply["tokens"] == 8) or reply["tokens"] == 8 for reply in replies)
    assert len({reply["text"] for reply in replies}) > len(replies) / 2  # sampled, each by itself
    assert evaluate.main(words) == 0
    assert (tmp_path / "evaluation" / "answers.jsonl").read_text() == journal


def test_weights_that_were_trained_on_are_another_model(made: Folder, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    students = script("students")
    base = student(exported(made, "procedural", "trl-grpo", tmp_path / "grpo"))
    later = copytree(base, tmp_path / "later")
    options = students.StudentOptions()
    before = students.student_of("base", base, options).reference
    assert students.student_of("same", str(later), options).reference == before
    model = AutoModelForCausalLM.from_pretrained(base)
    with torch.no_grad():
        model.model.embed_tokens.weight.add_(1e-3)
    model.save_pretrained(later)
    assert students.student_of("later", str(later), options).reference != before
