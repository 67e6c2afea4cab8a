"""An optimization is remembered beside the runs that it consists of."""

from pathlib import Path

from autodata.ledger.iterations import (
    Final,
    Iteration,
    finals,
    iterations,
    record_finals,
    record_iteration,
)
from autodata.ledger.ledger import Ledger
from autodata.ledger.rows import RunRow

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
    winner = start.model_copy(update={"number": 7, "place": 1, "test_accepted": 12})
    with opened(tmp_path) as ledger:
        assert finals(ledger, "opt") == []
        for kept in ([start], [winner, start]):
            record_finals(ledger, "opt", kept)
        assert finals(ledger, "opt") == [start, winner]
