"""A run whose judge is asked three times, told from outside: models over HTTP on loopback."""

import json
from contextlib import closing
from pathlib import Path

import pyarrow.parquet as pq

from autodata.ledger.calls import CallLog
from tests.outside import DEMO, Folder, Simulated

JUDGE = "models.judge={endpoint: here, model: simulated, repeats: 3}"
RUN = ("run", "docs", "--task", "cs", "--out", "run", "--set", "run.rounds=2")
LENIENT = ("--set", "acceptance.gap_min=0.0", "--set", "acceptance.weak_max=1.0")
GATE = ("--set", "acceptance.strong_min=0.0", *LENIENT)
VOTES = "select json_array_length(marks, '$[0].votes') from attempts where not truncated"


def rows(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_run_keeps_its_number_of_judgements_and_shows_where_they_differ(
    folder: Folder, server: Simulated
) -> None:
    folder(*RUN, *GATE, "--set", JUDGE)
    assert {votes for (votes,) in folder.query(VOTES)} == {3}
    [(answers,)] = folder.query("select count(*) from attempts where not truncated")
    [(judged,)] = folder.query(
        "select count(distinct scope || sample || substr(request, 1, 200)) from calls"
        " where role = 'judge' and status = 'ok'"
    )
    assert answers < judged <= 3 * answers

    asked = server.answers
    folder("resume", "run")
    assert server.answers == asked
    refused = folder(*RUN, *GATE, "--set", JUDGE.replace("3", "2"), code=2)
    assert "models.judge.repeats: 3 → 2" in refused

    split = folder.query(
        "select document_id from rounds join attempts on round_id = rounds.id, json_each(marks)"
        " where json_extract(value, '$.votes') like '%true%'"
        " and json_extract(value, '$.votes') like '%false%'"
    )
    told = folder("show", "run", split[0][0], "--full")
    assert "1 of 3   " in told or "2 of 3   " in told
    status = json.loads(folder("status", "run", "--json"))
    assert "judge" not in status  # of four documents
    agreed = status["judge_agreement"]
    assert 0.5 < agreed["share"] < 1
    low, high = agreed["interval"]
    said = f"agree on {100 * agreed['share']:.0f} % ({100 * low:.0f}–{100 * high:.0f}) of"
    folder("export", "run", "--format", "jsonl", "-o", "judged.jsonl")
    folder("report", "run")
    for told in (
        folder("status", "run"),
        (folder.path / "judged.md").read_text(),
        (folder.path / "run" / "report.html").read_text(),
    ):
        assert said in told


def test_exports_say_what_each_judgement_found_only_where_there_were_several(
    folder: Folder, server: Simulated
) -> None:
    folder(*RUN, *GATE)
    folder("export", "run", "--format", "jsonl", "-o", "once.jsonl")
    assert "votes" not in (folder.path / "once.jsonl").read_text()
    assert "votes" not in (folder.path / "once.md").read_text()
    folder(*RUN[:-3], "thrice", *RUN[-2:], *GATE, "--set", JUDGE)
    folder("export", "thrice", "--format", "jsonl", "-o", "thrice.jsonl")
    attempts = rows(folder.path / "thrice.jsonl")[0]["weak"]
    assert isinstance(attempts, list)
    assert [len(mark["votes"]) for mark in attempts[0]["marks"]].count(3) >= 10
    assert "votes: list of bool" in (folder.path / "thrice.md").read_text()
    folder("export", "thrice", "--format", "parquet", "-o", "thrice.parquet")
    [first, *_] = pq.read_table(folder.path / "thrice.parquet").to_pylist()
    assert first["weak"][0]["marks"] == attempts[0]["marks"]


FRESH = "select run_id, json_array_length(marks, '$[0].votes') from fresh_attempts"


def test_fresh_attempts_are_judged_as_often_as_whoever_measures_says(
    folder: Folder, server: Simulated
) -> None:
    folder(*RUN, *GATE, "--set", JUDGE)
    calls = json.loads(folder("status", "run", "--json"))["calls"]
    [(examples,)] = folder.query("select count(*) from examples")
    assert examples >= 3
    # 16 calls each: the budget ends with a whole example.
    budget = ("--budget-calls", str(calls + 24))
    folder("remeasure", "run", "--attempts", "2", *budget, code=3)
    assert folder.query("select count(*) from measurements") == [(1,)]
    own = json.loads(folder("remeasure", "run", "--attempts", "2", "--json"))
    assert own["own_models"] is True
    assert {votes for _, votes in folder.query(FRESH)} == {3}

    config = (folder.path / "autodata.yaml").read_text()
    twice = "  judge: {endpoint: here, model: simulated, repeats: 2}\n"
    (folder.path / "twice.yaml").write_text(config + twice)
    words = ("--attempts", "1", "--config", "twice.yaml", "--json")
    other = json.loads(folder("remeasure", "run", *words))
    assert other["own_models"] is False
    assert {v for run, v in folder.query(FRESH) if run == other["remeasurement"]} == {2}


def test_the_verifier_is_told_what_the_linter_found_and_so_is_whoever_reads(
    folder: Folder, server: Simulated
) -> None:
    """Where it found nothing the verifier is asked as ever."""
    folder("run", str(DEMO / "cs"), *RUN[2:-2])
    told = []
    with closing(CallLog(folder.path / "run" / "run.db")) as log:
        for role, call in folder.query("select role, id from calls where role like '%verifier'"):
            asked = log.request(call)[-1]["content"]
            rubric = asked.partition("<rubric>")[2].partition("</rubric>")[0]
            misworded = [line for line in rubric.splitlines() if "] Avoids " in line]
            told.append((role, bool(misworded), "\n<rubric_findings>\n" in asked))
            if misworded and role == "verifier":
                number = misworded[0].partition(".")[0].strip()
                assert f"\n- NEGATED  criterion {number}: “Avoids " in asked
    assert ("verifier", True, True) in told
    assert ("verifier", False, False) in told
    assert ("final_verifier", True, False) in told  # it judges anew
    assert not {("verifier", True, False), ("final_verifier", True, True)} & {*told}

    misworded = "select document_id from rounds where candidate like '%\"Avoids %' limit 1"
    [(document,)] = folder.query(misworded)
    assert "lint         NEGATED  criterion " in folder("show", "run", document)
    folder("report", "run")
    assert '<li dir="auto">NEGATED  criterion ' in (folder.path / "run/report.html").read_text()
    status = json.loads(folder("status", "run", "--json"))
    rubrics, found = (status["rubrics"][name] for name in ("rubrics", "found"))
    folder("export", "run", "--format", "jsonl", "-o", "out.jsonl")
    card = (folder.path / "out.md").read_text()
    assert f"| accepted rubrics | {found} of {rubrics} with findings of" in card
