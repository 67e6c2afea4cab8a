"""An optimization is remembered beside the runs that it consists of."""

import json
from pathlib import Path

from sqlite_utils import Database

from autodata.ledger.database import migrations
from autodata.ledger.iterations import (
    EvaluationId,
    Final,
    Iteration,
    finals,
    iterations,
    record_finals,
    record_iteration,
)
from autodata.ledger.ledger import FILE, Ledger
from autodata.ledger.rows import RunRow, run_row

START = Iteration(number=0, decision="start", revision="a" * 40, prompts="p0")
KEPT = Iteration(
    number=1,
    decision="kept",
    reason="13 of 25 against 11 of 25",
    parent=0,
    revision="b" * 40,
    prompts="p1",
    subject="Ask for a decision, not an explanation",
    cause="Most rounds were too easy \ud800",
    predicts="TOO_EASY falls",
    parent_score=0.44,
    parent_evaluations=2,
    score=0.52,
    tried=25,
    chances={0: 1.0},
    rates_before={"TOO_EASY": 2.4},
    checks={"control": [0.31, 0.29]},
)


def opened(folder: Path) -> Ledger:
    ledger = Ledger.open(folder)
    ledger.start_run(RunRow(id="opt", kind="optimization", task="cs", prompts_revision="seed"))
    return ledger


def test_an_iteration_comes_back_as_it_was_decided(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        for iteration in (KEPT, START):
            record_iteration(ledger, "opt", iteration)
        assert iterations(ledger, "opt") == [START, KEPT]


def test_an_iteration_that_an_older_version_stored_is_read(tmp_path: Path) -> None:
    before, after = {"accepted": 11, "failed": 14, "missing": 0}, {"accepted": 13, "failed": 12}
    details = {"parent_tally": before, "tally": after, "chances": {"0": 1.0}}
    old = Database(tmp_path / FILE)
    migrations.apply(old, stop_before="pass_counts")
    row = {name: getattr(KEPT, name) for name in ("number", "decision", "parent", "revision")}
    row |= {name: "" for name in ("reason", "prompts", "subject", "cause", "intent", "predicts")}
    row |= {"outcome": "", "parent_evaluations": 2, "tried": 25, "finished_at": "2026-11-20"}
    old["runs"].insert(
        {
            **{name: "" for name in ("prompts_revision", "locked_revision", "version")},
            **{"id": "opt", "task": "cs", "config": "{}", "models": "{}", "simulated": 1},
            **{"status": "done", "started_at": "2026-11-20", "kind": "optimization"},
        }
    )
    old["iterations"].insert({"run_id": "opt", **row, "details": json.dumps(details)})
    old.close()
    with Ledger.open(tmp_path) as ledger:
        [read] = iterations(ledger, "opt")
    assert (read.parent_pass_count, read.pass_count) == (before, after)
    assert read.chances == {0: 1.0}


def test_an_optimization_begun_before_counts_each_accepted_document_in_full(
    tmp_path: Path,
) -> None:
    config = {"optimize": {"rule": "strict", "validation": ["a"]}}
    row = run_row(RunRow(id="opt", kind="optimization", task="cs", prompts_revision="x"))
    old = Database(tmp_path / FILE)
    migrations.apply(old, stop_before="certain_scores")
    old["runs"].insert(row | {"config": json.dumps(config)})
    old["runs"].insert(row | {"id": "plain", "config": "{}"})
    old.close()
    with Ledger.open(tmp_path) as ledger:
        assert ledger.run("opt").config["optimize"] == config["optimize"] | {"score": "accepted"}
        assert ledger.run("plain").config == {}


def test_deciding_again_replaces_and_never_doubles(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        for reason in ("first", "again"):
            record_iteration(ledger, "opt", KEPT.model_copy(update={"reason": reason}))
        assert [i.reason for i in iterations(ledger, "opt")] == ["again"]


def test_evaluations_do_not_pass_for_runs_of_their_own(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        ledger.start_run(RunRow(id="e-1", kind="evaluation", task="cs", prompts_revision="x"))
        assert [run.id for run in ledger.runs()] == ["opt"]
        assert ledger.run().id == "opt"
        assert ledger.run("e-1").kind == "evaluation"


def test_the_final_evaluation_is_kept_once(tmp_path: Path) -> None:
    start = Final(number=0, place=0, evaluations=5, accepted=40, decided=125)
    winner = start.model_copy(
        update={"number": 7, "place": 1, "test_accepted": 12, "confirmed": 31.5}
    )
    with opened(tmp_path) as ledger:
        assert finals(ledger, "opt") == []
        for kept in ([start], [winner, start]):
            record_finals(ledger, "opt", kept)
        assert finals(ledger, "opt") == [start, winner]


def test_an_evaluation_is_named_and_recognised_in_one_place() -> None:
    assert EvaluationId.of(KEPT.evaluation(1001)) == EvaluationId(KEPT.prompts, 1001)
