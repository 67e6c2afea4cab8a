"""What a run accepted is put to a second judge: told from outside, over HTTP on loopback."""

import json
from typing import Any

from tests.outside import DEMO, Folder, Simulated

RUN = ("run", "docs", "--task", "cs", "--out", "run", "--set", "run.rounds=2")
LENIENT = ("--set", "acceptance.gap_min=0.0", "--set", "acceptance.weak_max=1.0")
GATE = ("--set", "acceptance.strong_min=0.0", *LENIENT)
OTHER = "models.second_judge={endpoint: here, model: other-judge}"
EXAMPLES = "select * from examples order by id"
MARKED = "select count(*) from fresh_attempts"
ASKED = (
    "select count(*), count(distinct scope || request_key) from calls where role = 'second_judge'"
)


def audited(folder: Folder, *words: str, code: int = 0) -> dict[str, Any]:
    said = folder("audit", "run", "--json", *words, code=code)
    found: dict[str, Any] = json.loads(said[said.index("{") : said.rindex("}") + 1])
    return found


def test_a_second_judge_marks_what_decided_once_and_nothing_decided_changes(
    folder: Folder, server: Simulated
) -> None:
    folder(*RUN, *GATE)
    examples, shown = folder.query(EXAMPLES), folder("show", "run")
    [(attempts, answers)] = folder.query(
        "select count(*), count(distinct number || ' ' || answer || round_id) from attempts"
        " where round_id in (select round_id from examples) and not truncated"
    )
    calls = json.loads(folder("status", "run", "--json"))["calls"]
    said = folder("audit", "run", "--set", OTHER, "--budget-calls", str(calls + 7), code=3)
    assert "Go on with: autodata audit run" in said
    assert folder.query("select count(*) from measurements") == [(1,)]  # six calls: a whole one

    found = audited(folder, "--set", OTHER)

    assert folder.query(MARKED) == [(attempts,)]
    assert folder.query(ASKED) == [(answers, answers)]
    assert folder.query(EXAMPLES) == examples
    assert folder("show", "run").startswith(shown)
    assert (found["second"], found["warning"]) == ("here/other-judge", "")
    assert found["examples"] == len(found["each"]) == len(examples)
    pairs = found["agreement"]["pairs"]
    otherwise = sum(one["marks"] * one["disagreement"] for one in found["each"])
    assert pairs == sum(one["marks"] for one in found["each"])
    assert 0 < otherwise < pairs / 4
    assert abs(found["agreement"]["share"] - (1 - otherwise / pairs)) < 1e-9
    told = [one["gate_accepts"] for one in found["each"] if one["gate_accepts"] is not None]
    assert (found["told"], found["otherwise"]) == (len(told), told.count(False))

    asked = server.answers
    assert audited(folder, "--set", OTHER) == found
    assert server.answers == asked

    worded = f"here/other-judge on {len(examples)} examples: agrees on "
    folder("export", "run", "--format", "jsonl", "-o", "all.jsonl")
    folder("report", "run")
    page = (folder.path / "run" / "report.html").read_text()
    for told in (folder("status", "run"), (folder.path / "all.md").read_text(), page):
        assert worded in told
    assert "A second judge gives <b>" in page
    first = found["each"][0]
    assert f"marked again by here/other-judge: {100 * first['disagreement']:.0f} % of" in folder(
        "show", "run", first["example"]
    )


def test_a_sample_is_stable_grows_and_is_a_filter_of_exports(
    folder: Folder, server: Simulated
) -> None:
    """Other judges are kept apart; what nobody has marked is not taken along by the filter."""
    folder("run", str(DEMO / "cs"), *RUN[2:], *GATE)
    some = audited(folder, "--share", "0.5", "--set", "models.second_judge.model=simulated")
    assert "same model as the judge" in some["warning"]
    [(examples,)] = folder.query("select count(*) from examples")
    assert 0 < len(some["each"]) < examples
    by_example = {one["example"]: one for one in some["each"]}
    most = sorted(one["disagreement"] for one in some["each"])[len(some["each"]) // 2]
    kept = [id for id, one in by_example.items() if one["disagreement"] <= most]

    where = ("--where", f"disagreement <= {most}")
    folder("export", "run", "--format", "jsonl", *where, "-o", "agreed.jsonl")
    rows = [json.loads(line) for line in (folder.path / "agreed.jsonl").read_text().splitlines()]
    assert {row["id"]: row["meta"]["disagreement"] for row in rows} == {
        id: by_example[id]["disagreement"] for id in kept
    }

    every = audited(folder, "--set", "models.second_judge.model=simulated")
    assert len(every["each"]) == examples
    assert [one for one in every["each"] if one["example"] in by_example] == some["each"]
    other = audited(folder, "--set", "models.second_judge.model=other-judge", "--share", "0.5")
    assert [one["example"] for one in other["each"]] == [*by_example]
    assert other["id"] != every["id"]
    assert (
        "decides otherwise"
        in folder("audit", "run", "--each", "--set", "models.second_judge.model=simulated")
        or not every["otherwise"]
    )


def test_a_run_puts_its_own_share_to_a_second_judge_and_resume_a_larger_one(
    folder: Folder, server: Simulated
) -> None:
    share = ("--set", "audit.share=1.0", "--set", OTHER)
    said = folder(*RUN, *GATE, *share)
    [(examples,)] = folder.query("select count(*) from examples")
    assert f"audit       here/other-judge on {examples} examples: agrees on " in said
    [(kinds,)] = folder.query("select group_concat(kind || ' ' || status) from runs")
    assert kinds == "documents done,audit done"
    asked = server.answers
    folder("resume", "run", "--set", "audit.share=0.2")
    folder(*RUN, *GATE)
    assert server.answers == asked

    folder(*RUN[:-3], "later", *RUN[-2:], *GATE)
    assert "audits" not in json.loads(folder("status", "later", "--json"))
    assert "share" not in (folder.path / "later" / "config.yaml").read_text()
    folder("resume", "later", *share)
    audits = json.loads(folder("status", "later", "--json"))["audits"]
    assert [audit["second"] for audit in audits] == ["here/other-judge"]


def test_wrong_use_is_told_in_words(folder: Folder) -> None:
    folder("run", str(DEMO / "procedural"), "--task", "procedural", "--out", "run")
    assert "procedural asks no judge" in folder("audit", "run", code=2)
    said = folder("audit", "run", "--set", "acceptance.weak_max=0.4", code=2)
    assert "audit takes audit.share and keys of models" in said
    said = folder("audit", "run", "--set", "models.judge.model=other-judge", code=2)
    assert "models.judge.model=other-judge: thresholds and all else stay the run's" in said
    assert "audit.share" in folder(*RUN, "--set", "audit.share=1.5", code=2)


def test_ties_of_the_judge_count_half_and_an_audit_has_no_documents_of_its_own(
    folder: Folder, server: Simulated
) -> None:
    judge = ("--set", "models.judge={endpoint: here, model: simulated, repeats: 2}")
    folder(*RUN, *GATE, *judge)
    said = folder("audit", "run", "--share", "nan", code=2)
    assert "--share nan: audit.share is not a finite number" in said
    unknown = "--set models.second_judge.endpoint=nowhere"
    said = folder("audit", "run", *unknown.split(), code=2)
    assert f"{unknown}: endpoint 'nowhere' is not configured" in said
    calls = json.loads(folder("status", "run", "--json"))["calls"]
    begun = folder("audit", "run", "--set", OTHER, "--budget-calls", str(calls + 1), code=3)
    assert "no example is marked yet" in begun
    found = audited(folder, "--set", OTHER)
    rows = folder.query(
        "select seen.marks, again.marks from fresh_attempts as again"
        " join examples as e on e.id = again.example_id join attempts as seen using"
        " (round_id, solver, number) where seen.score is not null and again.score is not null"
    )
    otherwise, ties = 0.0, 0
    for marks, again in rows:
        for one, other in zip(json.loads(marks), json.loads(again), strict=True):
            first = sum(one["votes"]) / 2
            ties += first == 0.5
            otherwise += abs(first - other["met"])
    assert ties
    pairs = found["agreement"]["pairs"]
    assert abs(found["agreement"]["share"] - (1 - otherwise / pairs)) < 1e-9
    for command in ("status", "show", "report"):
        said = folder(command, "run", "--run", found["id"], code=2)
        assert f"{found['id']} is about another run's examples" in said
