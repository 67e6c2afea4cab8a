"""What a run accepted is measured afresh: told from outside, with models over HTTP on loopback."""

import json
import re
import signal
import sqlite3
from typing import Any

import pytest

from autodata.ledger.calls import CallLog
from autodata.ledger.summary import told_from
from tests.outside import DEMO, IN_FLIGHT, Folder, Simulated

RUN = ("run", "docs", "--task", "cs", "--out", "run")
CONFIRMED = (
    "select examples.id, confirmed, confirmed_weak, confirmed_strong, confirmed_gap from examples"
    " join documents on documents.id = document_id order by documents.rowid"
)
GATE = "select id, weak_mean, strong_mean, gap, certainty from examples"
NUMBERS = "select distinct solver, number from fresh_attempts order by solver desc, number"


def remeasured(folder: Folder, *words: str, code: int = 0) -> dict[str, Any]:
    said = folder("remeasure", "run", "--json", *words, code=code)
    found: dict[str, Any] = json.loads(said[said.index("{") : said.rindex("}") + 1])
    return found


def test_fresh_attempts_are_asked_once_and_more_are_added(
    folder: Folder, server: Simulated
) -> None:
    folder(*RUN)
    gate, asked = folder.query(GATE), server.answers
    assert folder.query(CONFIRMED)[0][1] is None

    first = remeasured(folder, "--attempts", "2")

    assert (first["measured"], first["own_models"]) == (len(gate), True)
    assert folder.query(NUMBERS) == [("weak", 4), ("weak", 5), ("strong", 4), ("strong", 5)]
    assert server.answers > asked
    for example, row in zip(first["each"], folder.query(CONFIRMED), strict=True):
        assert (example["example"], example["passed_again"]) == (row[0], bool(row[1]))
        assert tuple(example["fresh"].values()) == row[2:]
    assert folder.query(GATE) == gate
    kept = folder.query("select * from fresh_attempts")

    asked = server.answers
    assert remeasured(folder, "--attempts", "2")["each"] == first["each"]
    assert server.answers == asked

    more = remeasured(folder, "--attempts", "3")
    assert server.answers > asked
    assert set(kept) < set(folder.query("select * from fresh_attempts"))
    assert [one["attempts"] for one in more["each"]] == [{"weak": 3, "strong": 3}] * len(gate)


def test_people_read_the_fresh_figures_beside_the_old_ones(folder: Folder) -> None:
    folder(*RUN)
    said = folder("remeasure", "run", "--each")
    found = remeasured(folder)
    low, high = (f"{100 * found['passed_again'][end]:.0f}" for end in ("low", "high"))
    passed, measured = found["passed_again"]["examples"], found["measured"]
    assert f"{passed} of {measured} passed again (" in said
    assert f" %, {low}–{high})" in said
    for name in ("weak", "strong", "gap"):
        fresh = found["fresh"][name]
        assert f"{found['shown'][name]:.2f}" in said
        assert f"{fresh['mean']:.2f}" in said
        assert f"{fresh['low']:.2f} to {fresh['high']:.2f}" in said
    [(document, shown)] = folder.query("select document_id, gap from examples limit 1")
    [(fresh,)] = folder.query("select confirmed_gap from examples limit 1")
    assert f"{shown:.2f} → {fresh:.2f}" in said
    assert document[:8] in said
    assert "Simulated models" in said


def test_one_document_has_no_interval_on_any_screen(folder: Folder) -> None:
    folder("run", str(DEMO / "cs" / "bounded-load-hashing.md"), *RUN[2:])
    found = remeasured(folder)
    status = json.loads(folder("status", "run", "--json"))
    assert found["fresh"]["gap"] == {"mean": status["fresh_gap_mean"], "low": None, "high": None}
    assert status["fresh_gap_mean_interval"] is None
    assert re.search(r"95 % interval +– +– +–", folder("remeasure", "run"))


def test_attempts_are_told_as_they_were_made_not_as_they_were_asked_for(
    folder: Folder, server: Simulated
) -> None:
    folder(*RUN)
    [(examples,)] = folder.query("select count(*) from examples")
    remeasured(folder, "--attempts", "3")
    calls = json.loads(folder("status", "run", "--json"))["calls"]
    budget = ("--budget-calls", str(calls + 15))  # one example more has nine, of twelve calls each
    said = folder("remeasure", "run", "--attempts", "9", *budget, code=3)
    assert "measured afresh, 3 attempts a side: paused" in said
    assert f"{examples} of {examples} examples have fewer than the 9 attempts a side" in said
    found = remeasured(folder, "--attempts", "9", *budget, code=3)
    assert (found["attempts"], found["attempts_made"]) == (
        9, {"least": 3, "most": 3, "fewer": examples}
    )  # fmt: skip
    found = remeasured(folder, "--attempts", "2")
    assert found["attempts_made"] == {"least": 3, "most": 3, "fewer": 0}
    assert "measured afresh, 3 attempts a side: done" in folder(
        "remeasure", "run", "--attempts", "2"
    )


@pytest.mark.parametrize(
    ("value", "limits", "said"),
    [(0.6496, (0.65, 1.0), "0.6496"), (0.65, (0.65,), "0.65"), (0.64, (0.65,), "0.64"),
     (-0.001, (0.2,), "0.00"), (None, (0.65,), "–")],
)  # fmt: skip
def test_a_score_is_told_from_its_bound(
    value: float | None, limits: tuple[float, ...], said: str
) -> None:
    assert told_from(value, limits) == said


def test_a_budget_stops_it_and_a_higher_one_asks_only_for_what_is_missing(
    folder: Folder, server: Simulated
) -> None:
    folder(*RUN)
    calls = json.loads(folder("status", "run", "--json"))["calls"]
    before = server.answers
    said = folder("remeasure", "run", "--budget-calls", str(calls + 15), code=3)
    assert "calls are made" in said
    assert "autodata remeasure run" in said
    paused = folder.query("select status from runs order by rowid")
    assert paused == [("done",), ("paused",)]
    assert json.loads(folder("status", "run", "--json"))["status"] == "done"
    [(whole,)] = folder.query("select count(*) from measurements")
    assert whole == 1  # 12 calls each: the budget ends with a whole example
    assert server.answers - before == 15

    remeasured(folder)

    answered = "select count(*), count(distinct scope || request_key) from calls" + (
        " where scope like '%/fresh' and status != 'failed'"
    )
    [(rows, distinct)] = folder.query(answered)
    assert server.answers - before == rows == distinct
    examples = folder.query("select count(*) from examples")
    assert folder.query("select count(*) from measurements") == examples


def test_a_killed_one_goes_on_and_asks_again_only_what_was_in_flight(
    folder: Folder, server: Simulated
) -> None:
    folder(*RUN)
    before = server.answers
    with folder.started("remeasure", "run", "--attempts", "8") as process:
        while server.answers < before + 20:
            pass
        process.send_signal(signal.SIGKILL)
        process.wait()
    found = remeasured(folder, "--attempts", "8")
    assert [one["attempts"] for one in found["each"]] == [{"weak": 8, "strong": 8}] * 2
    [(kept,)] = folder.query(
        "select count(*) from calls where scope like '%/fresh' and status != 'failed'"
    )
    assert 0 <= server.answers - before - kept <= IN_FLIGHT


def test_other_models_are_kept_apart(folder: Folder, server: Simulated) -> None:
    folder(*RUN)
    remeasured(folder)
    own, shown = folder.query(CONFIRMED), folder("show", "run")
    config = (folder.path / "run" / "config.yaml").read_text()
    (folder.path / "student.yaml").write_text(
        f"endpoints: {{student: {{base_url: '{server.base_url}', api_key_env: SIMULATED_KEY}}}}\n"
        "models: {weak_solver: {endpoint: student, model: simulated-strong}}\n"
    )

    found = remeasured(folder, "--config", "student.yaml")
    said = folder("remeasure", "run", "--config", "student.yaml")
    same = remeasured(folder, "--set", "models.weak_solver.model=simulated-strong")

    assert found["own_models"] is False
    assert found["models"]["weak_solver"] == "student/simulated-strong"
    assert found["models"]["strong_solver"] == "here/simulated-strong"
    assert "kept apart" in said
    assert found["fresh"]["weak"]["mean"] > found["shown"]["weak"] + 0.2
    assert same["remeasurement"] != found["remeasurement"]
    assert folder.query(CONFIRMED) == own
    assert (folder.path / "run" / "config.yaml").read_text() == config
    assert folder("show", "run").startswith(shown)
    status = json.loads(folder("status", "run", "--json"))
    assert (status["kind"], status["models"]["weak_solver"]) == ("documents", "here/simulated-weak")
    assert "Other runs here" not in folder("status", "run")


def test_other_models_measure_a_run_of_simulated_ones(folder: Folder) -> None:
    folder(*RUN)
    found = remeasured(folder, "--set", "models.weak_solver.model=simulated-strong")
    assert found["own_models"] is False
    assert found["models"]["judge"] == "simulated/simulated"
    same = remeasured(folder, "--set", "models.weak_solver.model=simulated-weak")
    assert same["own_models"] is True


def test_what_confirmed_at_the_gate_is_not_used_again(folder: Folder) -> None:
    """Those attempts decided, too, so that they flatter."""
    folder(*RUN, "--set", "acceptance.confirm=2")
    most = folder.query("select max(attempts.number) from attempts where fresh")
    assert most == [(5,)]
    remeasured(folder, "--attempts", "1")
    assert folder.query(NUMBERS) == [("weak", 6), ("strong", 6)]


def test_what_the_gate_confirmed_is_told_apart_from_what_was_measured_afresh(
    folder: Folder,
) -> None:
    """Its share is true by construction, so that none is given."""
    folder("run", str(DEMO / "cs"), *RUN[2:], "--set", "acceptance.confirm=2")
    mean = "select avg(score) from attempts where fresh and solver = 'weak' and round_id in (%s)"
    [(weak,)] = folder.query(mean % "select round_id from examples")
    [(examples,)] = folder.query("select count(*) from examples")
    export = ("export", "run", "--confirmed", "--format", "jsonl", "-o", "out.jsonl")

    def told() -> tuple[str, str, dict[str, Any]]:
        assert f"{examples} by the gate on fresh attempts: weak {weak:.2f} (" in folder(
            "status", "run"
        )
        folder(*export)
        status = json.loads(folder("status", "run", "--json"))
        assert status["confirmed_by_gate"]["examples"] == examples
        assert status["confirmed_by_gate"]["weak_mean"] == pytest.approx(weak)
        return folder("show", "run"), (folder.path / "out.md").read_text(), status

    shown, card, status = told()
    assert "passed again" not in shown + folder("status", "run") + card
    assert (status["confirmed"], status["passed_again"]) == (0, None)
    assert f"| examples | {examples}, not measured afresh |" in card
    assert f"| weak mean, confirmed by the gate | {weak:.3f}" in card
    assert "| weak mean, measured afresh | not measured |" in card

    found = remeasured(folder, "--attempts", "4")
    shown, card, status = told()
    passed = found["passed_again"]["examples"]
    assert "passed again" in shown
    assert (status["confirmed"], status["passed_again"]) == (examples, passed / examples)
    assert f"{passed}, measured afresh: {passed} passed again" in card
    one = folder("show", "run", found["each"][0]["document"])
    assert "confirmed by the gate on fresh attempts: weak" in one
    assert "measured afresh: weak" in one


def test_only_what_fresh_attempts_bear_out_is_taken_along(folder: Folder) -> None:
    folder(*RUN)
    words = ("export", "run", "--format", "jsonl", "-o", "out.jsonl")
    said = folder(*words, "--confirmed", code=2)
    assert "was measured afresh; `autodata remeasure run` does it" in said
    assert not (folder.path / "out.jsonl").exists()
    assert "not measured afresh" in folder("show", "run", "bounded")
    folder(*words)
    assert "not measured afresh" in (folder.path / "out.md").read_text()

    found = remeasured(folder)
    folder(*words, "--confirmed")

    rows = [json.loads(line) for line in (folder.path / "out.jsonl").read_text().splitlines()]
    passed = [one for one in found["each"] if one["passed_again"]]
    assert 0 < len(passed) < found["measured"]  # so that it makes a difference
    assert [row["id"] for row in rows] == [one["example"] for one in passed]
    assert [row["confirmed_gap"] for row in rows] == [one["fresh"]["gap"] for one in passed]
    assert [row["weak_pass_rate"] for row in rows] == [one["shown"]["weak"] for one in passed]
    card = (folder.path / "out.md").read_text()
    assert f"| examples | {len(passed)}, measured afresh: {len(passed)} passed again |" in card
    assert "their figures flatter again" in card
    table, told = folder("show", "run"), folder("show", "run", passed[0]["document"])
    assert f"{passed[0]['fresh']['gap']:.2f} passed again" in table
    assert table.count("did not pass again") == found["measured"] - len(passed)
    assert f"gap {passed[0]['fresh']['gap']:.2f}: passed again" in told


def test_nothing_is_taken_along_where_nothing_passed_again(folder: Folder) -> None:
    folder(*RUN)
    remeasured(folder)
    database = sqlite3.connect(folder.path / "run" / "run.db")
    database.execute("update examples set confirmed = 0")
    database.commit()
    database.close()
    said = folder("export", "run", "--format", "sft", "--confirmed", code=2)
    assert "did not pass again" in said


def test_numbers_begin_where_no_gate_could_have_been(folder: Folder) -> None:
    """However few attempts it asked for of all that it might have."""
    sure = ("--set", "acceptance.certainty=0.6", "--set", "acceptance.attempts_max=40")
    folder(*RUN, "--preset", "measured", *sure)
    [(most,)] = folder.query("select max(number) from attempts")
    assert most < 40
    remeasured(folder, "--attempts", "1")
    assert folder.query(NUMBERS) == [("weak", 41), ("strong", 41)]


def test_worked_examples_are_shown_as_they_were(folder: Folder) -> None:
    document = DEMO / "procedural" / "products.txt"
    words = ("--task", "procedural", "--out", "run", "--set", "run.rounds=30")
    config = folder.path / "shown.yaml"
    config.write_text(
        "models:\n"
        "  weak_solver: {endpoint: simulated, model: simulated-weak}\n"
        "  strong_solver: {endpoint: simulated, model: simulated-strong, examples: 2}\n"
    )
    folder("run", str(document), *words, "--config", "shown.yaml")
    remeasured(folder, "--attempts", "1")
    calls = {
        table: folder.query(
            f"select call_id from {table} where solver = 'strong' order by rowid desc limit 1"
        )[0][0]
        for table in ("attempts", "fresh_attempts")
    }
    log = CallLog(folder.path / "run" / "run.db")
    asked = {table: log.request(call) for table, call in calls.items()}
    log.close()
    assert asked["fresh_attempts"] == asked["attempts"]
    assert len(asked["fresh_attempts"]) == 2 + 2 * 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["docs"], "is not a run folder"),
        (["run", "--set", "acceptance.weak_max=0.9"], "remeasure takes keys of models, endpoints"),
        (["run", "--set", "models.student={endpoint: here, model: m}"], "no role student"),
        (["run", "--config", "no.yaml"], "no.yaml: cannot be read"),
        (["run", "--config", "bad.yaml"], "bad.yaml, line 1: modls is not a known key"),
        (["run", "--run", "other"], "holds no run other"),
        (["run", "--attempts", "0"], "0 is not in the range"),
        (["run"], "has no accepted example"),
    ],
)
def test_wrong_use_is_refused_before_anything_is_asked(
    folder: Folder, words: list[str], said: str
) -> None:
    (folder.path / "bad.yaml").write_text("modls: {}\n")
    folder(*RUN, "--set", "run.rounds=1", "--set", "acceptance.weak_max=0.01")
    calls = folder.query("select count(*) from calls")
    assert said in folder("remeasure", *words, code=2)
    assert folder.query("select count(*) from calls") == calls
