"""A run folder that an earlier version made, and a budget paused half way, is gone on with."""

import gzip
import json
import shutil
from pathlib import Path

import pytest

from tests.outside import Folder

OLD = Path(__file__).parents[1] / "data" / "run-before-rooms"
KEPT = "select id, round_id, question, rubric, weak_mean, strong_mean, gap, meta from examples"
TWICE = (
    "select role from calls where status != 'failed' group by scope, role, sample, request"
    " having count(*) > 1"
)
ANSWERED = "select scope, request_key from calls where status != 'failed'"


@pytest.fixture
def old(tmp_path: Path) -> Folder:
    """A copy of the old folder: 90 calls, of three documents two are undecided."""
    run = tmp_path / "run"
    shutil.copytree(OLD, run, ignore=shutil.ignore_patterns("*.gz"))
    (run / "run.db").write_bytes(gzip.decompress((OLD / "run.db.gz").read_bytes()))
    return Folder(tmp_path)


def test_an_old_run_is_read_as_it_stands(old: Folder) -> None:
    status = json.loads(old("status", "run", "--json"))
    assert (status["status"], status["calls"]) == ("paused", 90)
    assert status["documents"] == {
        "total": 3, "accepted": 1, "rejected": 0, "skipped": 0, "undecided": 2
    }  # fmt: skip
    [(document,)] = old.query("select document_id from examples")
    assert "accepted" in old("show", "run", document)
    old("export", "run", "--format", "jsonl", "-o", "old.jsonl")
    [example] = [json.loads(line) for line in (old.path / "old.jsonl").read_text().splitlines()]
    assert example["meta"]["document_id"] == document


def test_an_old_run_goes_on_from_its_recorded_calls(old: Folder) -> None:
    """What was asked before is answered from the log: nothing is asked, or paid for, twice."""
    before, examples = old.query(ANSWERED), old.query(KEPT)
    old("resume", "run", "--budget-calls", "1000")
    status = json.loads(old("status", "run", "--json"))
    assert (status["status"], status["documents"]["undecided"]) == ("done", 0)
    assert old.query(TWICE) == []
    after = old.query(ANSWERED)
    assert after[: len(before)] == before
    assert len(set(after)) == len(after) > len(before)
    assert set(examples) <= set(old.query(KEPT))


def test_what_an_old_run_accepted_is_measured_afresh(old: Folder) -> None:
    old("status", "run")  # brings the database to this version
    kept = old.query(KEPT)
    found = json.loads(old("remeasure", "run", "--budget-calls", "1000", "--json"))
    assert (found["measured"], found["own_models"]) == (1, True)
    [(confirmed, weak)] = old.query("select confirmed, confirmed_weak from examples")
    assert (bool(confirmed), weak) == (
        found["each"][0]["passed_again"],
        found["fresh"]["weak"]["mean"],
    )
    assert old.query(KEPT) == kept
    status = json.loads(old("status", "run", "--json"))
    assert (status["status"], status["documents"]["undecided"]) == ("paused", 2)
