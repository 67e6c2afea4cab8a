"""verifiers installs a taskset, asks its questions over HTTP and scores the answers as the gate
did."""

import asyncio
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from autodata.tasks import TASKS, rubric
from autodata.tasks.types import Mark
from tests.outside import Folder
from tests.processes import simulation, started

pytestmark = [pytest.mark.consumers, pytest.mark.filterwarnings("default")]

BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The base URL of the simulated models' server."""
    with started(simulation, ("--port", "0")) as process:
        yield process.stdout.readline().split(" at ")[1].split()[0]


def installed(made: Folder, domain: str, place: Path) -> tuple[str, Path]:
    """The name of a domain's taskset, and where pip put it, without any index."""
    name = f"{domain}-questions"
    made("export", domain, "--format", "verifiers", "-o", str(place / name))
    site = place / "site"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    alone = ["--no-index", "--no-deps", "--no-build-isolation", "--target", str(site)]
    subprocess.run([*pip, *alone, str(place / name)], check=True)
    return name, site


def test_rollouts_of_each_domain_are_scored_from_the_marks_of_their_own_rubric(
    made: Folder, domain: str, address: str, tmp_path: Path
) -> None:
    name, site = installed(made, domain, tmp_path)
    judge = "--env.taskset.task.judge"
    done = subprocess.run(
        [
            BIN / "vf-eval", name, "--model", "simulated-strong", "-n", "3", "-r", "2",
            "--client.base-url", address, f"{judge}.base-url", address,
            f"{judge}.model", "simulated", "--no-push", "--no-rich", "-o", str(tmp_path / "out"),
        ],
        env={**os.environ, "PYTHONPATH": str(site), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    [traces] = (tmp_path / "out").glob("*/traces.jsonl")
    episodes = [json.loads(line) for line in traces.read_text().splitlines()]
    assert len(episodes) == 6
    judged = 0
    for episode in episodes:
        assert not episode["errors"], episode["errors"]
        [trace], row = episode["traces"], episode["task"]["data"]
        assert not trace["errors"], trace["errors"]
        reward = trace["rewards"]["rubric_score"]
        reward = reward["score"] if "score" in reward else reward["value"]
        if calls := trace["info"].get("judge_calls"):
            judged += 1
            assert reward == pytest.approx(
                score(row["rubric"], calls[-1]["response"]["message"]["content"])
            )
        else:
            assert TASKS[row["task"]].make_criteria
            assert reward in (0.0, 1.0)
        assert made.query(
            f"select count(*) from examples where id = '{row['id']}'"
            f" and run_id = '{row['meta']['run']}'",
            run=domain,
        ) == [(1,)]
    assert judged == 6 or TASKS[domain].make_criteria


def score(criteria: list[dict[str, Any]], reply: str) -> float:
    """What the judge's reply comes to by the gate's own formula."""
    met = {mark["number"]: mark["met"] for mark in json.loads(reply)["marks"]}
    return float(
        rubric.score(
            Mark(criterion=c["criterion"], weight=c["weight"], met=met[number])
            for number, c in enumerate(criteria, 1)
        )
    )


@pytest.mark.parametrize("domain", ["procedural", "science"])
def test_recorded_answers_are_compared_as_at_the_gate(
    made: Folder, domain: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where code settles it, in both places: never to another effect."""
    name, site = installed(made, domain, tmp_path)
    made("export", domain, "--format", "jsonl", "-o", str(tmp_path))
    monkeypatch.syspath_prepend(str(site))
    taskset = importlib.import_module(f"{name.replace('-', '_')}.taskset")
    tasks = {task.data.id: task.data for task in taskset.AutodataTaskset(
        taskset.QuestionsConfig(id=name)).load()}  # fmt: skip
    settled = 0
    for line in (tmp_path / "examples.jsonl").read_text().splitlines():
        row = json.loads(line)
        for attempt in row["weak"] + row["strong"]:
            data = tasks[row["id"]]
            asked = (data.task, data.question, data.question_type, data.reference_answer)
            right = asyncio.run(taskset.compared(*asked, attempt["answer"]))
            if right is not None and not attempt["truncated"]:
                assert float(right) == attempt["score"], attempt["answer"]
                settled += 1
    assert settled > 20
