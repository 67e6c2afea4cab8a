"""From documents to examples, told from outside: real processes, real HTTP, real SQLite, kill -9.

The models are the simulated ones, behind their own server on this machine.
"""

import json
import os
import shutil
import signal
import socket
from fractions import Fraction
from typing import Any

import pytest

from autodata.run_folder import RunFolder
from tests.outside import DEMO, IN_FLIGHT, Folder, Simulated
from tests.processes import Started

ANSWERED = "select count(distinct scope || request_key) from calls where status != 'failed'"


def until(process: Started, word: str, times: int = 1) -> None:
    """Reads the command's output until a line begins with the word."""
    for line in process.stdout:
        times -= line.startswith(word)
        if not times:
            return
    raise AssertionError(f"the command ended before it said {word}")


RUN = ("run", "docs", "--task", "cs", "--out", "run")


def test_a_killed_run_goes_on_where_it_was(folder: Folder, server: Simulated) -> None:
    with folder.started(*RUN) as process:
        until(process, "accepted")
        process.send_signal(signal.SIGKILL)
        process.wait()
    kept = folder.query("select id, question from examples")
    assert kept
    assert "interrupted (process gone)" in folder("status", "run")

    folder("resume", "run")

    decided = folder.query("select document_id, decision from rounds where decision != 'revise'")
    documents = folder.query("select id from documents")
    assert sorted(document for document, _ in decided) == sorted(id for (id,) in documents)
    examples = folder.query("select id, question from examples")
    assert set(kept) <= set(examples)
    accepted = [document for document, decision in decided if decision == "accepted"]
    assert len(examples) == len(accepted)
    [(answered,)] = folder.query(ANSWERED)
    asked_again = server.answers - answered
    assert 0 <= asked_again <= IN_FLIGHT


def test_ctrl_c_loses_no_call_and_the_run_goes_on(folder: Folder, server: Simulated) -> None:
    with folder.started(*RUN) as process:
        until(process, "accepted")
        process.send_signal(signal.SIGINT)
        until(process, "Go on with: autodata resume run")
        assert process.wait() == 130
    assert json.loads(folder("status", "run", "--json"))["status"] == "interrupted"

    folder("resume", "run")

    assert json.loads(folder("status", "run", "--json"))["documents"]["undecided"] == 0
    assert folder.query(ANSWERED) == [(server.answers,)]


def test_a_wrong_key_pauses_the_run_and_the_right_one_completes_it(
    folder: Folder, server: Simulated
) -> None:
    folder.env["SIMULATED_KEY"] = "wrong"
    said = folder(*RUN, code=3)
    assert "401" in said
    assert "SIMULATED_KEY" in said
    assert server.stats["requests"] == 2  # for the context window, and for an answer
    assert server.answers == 0
    assert folder.query("select status from runs") == [("paused",)]
    assert folder.query("select * from rounds") == []

    folder.env["SIMULATED_KEY"] = "right"
    folder("resume", "run")
    assert folder.query("select status from runs") == [("done",)]


def test_an_endpoint_that_is_down_pauses_the_run(folder: Folder) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    folder.configure(f"http://127.0.0.1:{port}/v1")
    folder.env["SIMULATED_KEY"] = "right"
    said = folder(*RUN, code=3)
    assert f"http://127.0.0.1:{port}/v1" in said
    assert "autodata resume run" in said
    assert folder.query("select * from rounds") == []


def test_a_budget_ends_with_finished_rows_and_a_higher_one_goes_on(folder: Folder) -> None:
    said = folder(*RUN, "--budget-calls", "60", code=3)
    assert "60 of 60 calls" in said
    assert folder.query(ANSWERED) == [(60,)]
    folder("resume", "run", "--budget-calls", "100000")
    assert json.loads(folder("status", "run", "--json"))["documents"]["undecided"] == 0


def test_a_budget_in_usd_needs_every_price(folder: Folder, server: Simulated) -> None:
    said = folder(*RUN, "--budget-usd", "1", code=2)
    assert "the price of here/simulated is unknown" in said
    assert server.stats["requests"] == 0
    prices = [f"here/simulated{side}: {{input: 9, output: 9}}" for side in ("", "-weak", "-strong")]
    stated = ("--set", f"prices={{{', '.join(prices)}}}")
    assert "of $1.00 are spent" in folder(*RUN, "--budget-usd", "1", *stated, code=3)
    [(usd,)] = folder.query("select total(usd) from calls")
    assert 0 < usd <= 1


def test_two_runs_with_the_same_seed_give_the_same_examples(folder: Folder) -> None:
    """However many documents are worked on at once; another seed gives others."""
    for run, in_flight in (("one", 1), ("two", 6)):
        folder(*RUN[:-1], run, "--set", f"run.documents_in_flight={in_flight}")
    examples = "select id, question, context, rubric, weak_mean, strong_mean, gap from examples"
    one, two = (folder.query(f"{examples} order by id", run) for run in ("one", "two"))
    assert one
    assert one == two
    folder(*RUN[:-1], "three", "--set", "run.seed=1")
    assert folder.query(f"{examples} order by id", "three") != one


def test_another_configuration_is_refused_with_the_difference(folder: Folder) -> None:
    folder(*RUN)
    before = folder.query("select count(*) from calls")
    said = folder(*RUN, "--rounds", "3", "--preset", "deployed", code=2)
    assert "acceptance.preset: paper → deployed" in said
    assert "run.rounds: not set → 3" in said
    folder(*RUN)  # as it was: nothing is left to do
    assert folder.query("select count(*) from calls") == before


def test_a_run_folder_is_used_by_one_process_at_a_time(folder: Folder) -> None:
    folder(*RUN, "--budget-calls", "20", code=3)
    with RunFolder(folder.path / "run").locked():
        assert f"in use by process {os.getpid()}" in folder("resume", "run", code=2)
        assert "20 with" in folder("status", "run")


def test_a_run_folder_may_be_moved(folder: Folder) -> None:
    folder(*RUN, "--budget-calls", "60", code=3)
    shutil.move(folder.path / "run", folder.path / "moved")
    folder("resume", "moved", "--budget-calls", "100000")
    assert folder.query("select status from runs", "moved") == [("done",)]


def score(marks: list[dict[str, Any]]) -> Fraction:
    """The paper's formula, written down by an outsider."""
    possible = sum(mark["weight"] for mark in marks if mark["weight"] > 0)
    reached = sum(mark["weight"] for mark in marks if mark["met"])
    return min(max(Fraction(reached, possible), Fraction(0)), Fraction(1))


@pytest.mark.parametrize("task", ["cs", "legal", "science"])
def test_every_example_satisfies_its_gate_by_its_marks_alone(folder: Folder, task: str) -> None:
    folder("run", str(DEMO / task), "--task", task, "--out", "run", "--target", "2")
    scores: dict[tuple[str, str], list[Fraction]] = {}
    for id, solver, marks, recorded in folder.query(
        "select examples.id, solver, marks, score from examples join attempts using (round_id)"
    ):
        scores.setdefault((id, solver), []).append(score(json.loads(marks)))
        assert recorded == float(scores[id, solver][-1])
    examples = {id for id, _ in scores}
    assert examples
    for id in examples:
        weak, strong = scores[id, "weak"], scores[id, "strong"]
        if task == "legal":  # a judge decides there, over every attempt
            assert (len(weak), len(strong)) == (5, 3)
        if task == "science":
            assert weak.count(Fraction(1)) <= 1
            assert strong.count(Fraction(1)) >= 3
        elif task == "cs":
            means = [sum(side) / len(side) for side in (weak, strong)]
            assert means[0] < Fraction("0.5")
            assert means[1] >= Fraction("0.65")
            assert means[1] - means[0] >= Fraction("0.2")


def test_an_unsuitable_opinion_is_skipped_before_solvers_are_paid(folder: Folder) -> None:
    order = (
        "PER CURIAM.\n\nThe judgment is affirmed by an equally divided Court.\n\nIt is so ordered."
    )
    (folder.path / "order.txt").write_text(order)
    folder("run", "order.txt", "--task", "legal", "--out", "run")
    assert folder.query("select distinct role from calls") == [("extractor",)]
    assert folder.query("select decision from rounds") == [("skipped",)]
