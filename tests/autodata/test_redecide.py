"""A run's own thresholds decide its record as they did: told from outside."""

import json
from pathlib import Path
from typing import Any

import pytest

from autodata.ledger.ledger import Ledger
from autodata.ledger.rows import RunRow
from autodata.tasks.measurement import wilson
from tests.outside import DEMO, Folder


@pytest.mark.parametrize(
    ("task", "preset", "confirm"),
    [
        ("cs", "deployed", "3"),
        ("cs", "paper", "null"),
        ("cs", "measured", "3"),
        ("science", "paper", "3"),
        ("science", "deployed", "3"),
        ("procedural", "measured", "3"),
        ("legal", "measured", "null"),
        ("procedural", "paper", "3"),
    ],
)
def test_its_own_settings_decide_a_run_as_they_did(
    tmp_path: Path, task: str, preset: str, confirm: str
) -> None:
    """Whether or not fresh attempts decided, too."""
    folder = Folder(tmp_path)
    words = ("--rounds", "3", "--set", f"acceptance.confirm={confirm}", "--out", "run")
    folder("run", str(DEMO / task), "--task", task, "--preset", preset, *words)
    found = json.loads(folder("status", "run", "--json"))["documents"]
    accepted, rejected = found["accepted"], found["rejected"]
    said = folder("redecide", "run")
    assert f"thresholds {accepted} accepted, {rejected} rejected, 0 open" in said
    assert "would be" not in said
    if confirm == "null":
        said = folder("redecide", "run", "--set", "acceptance.confirm=5")
        assert f"thresholds 0 accepted, {rejected} rejected, {accepted} open" in said
        assert "it was not confirmed by fresh attempts" in said


def laid_out(folder: Folder, *words: str, run: str = "run") -> list[dict[str, Any]]:
    """The tables of a run."""
    found: list[dict[str, Any]] = json.loads(folder("redecide", run, "--json", *words))["grids"]
    return found


def test_a_table_says_how_many_other_thresholds_would_let_in_and_with_what_gap(
    tmp_path: Path,
) -> None:
    folder = Folder(tmp_path)
    folder("run", str(DEMO / "cs"), "--task", "cs", "--out", "run")
    status = json.loads(folder("status", "run", "--json"))
    accepted = status["documents"]["accepted"]
    [grid] = laid_out(folder, "--grid")
    assert grid["in_force"] == {"weak_max": 0.5, "strong_min": 0.65}
    cells = {(cell["weak_max"], cell["strong_min"]): cell for cell in grid["cells"]}
    assert len(cells) == 25
    own = cells[0.5, 0.65]
    assert (own["accepted"], own["rejected"], own["open"]) == (accepted, 8 - accepted, 0)
    assert own["share_interval"] == pytest.approx(wilson(accepted, 8))
    assert own["shown_gap"] == pytest.approx(status["gap_mean"])
    # Not measured afresh: what a gate let in looks better than it is.
    assert (own["gap_from"], own["fresh_gap"]) == ("estimated", None)
    assert own["estimated_gap"] < own["shown_gap"]
    strict, loose = cells[0.3, 0.85], cells[0.7, 0.45]
    assert strict["accepted"] < accepted
    assert strict["share_most"] <= own["share_most"] < loose["share_most"]
    assert loose["open"] > 0  # it would have asked the strong side
    assert loose["share_interval"][0] <= loose["share_least"] < loose["share_most"]

    calls = folder.query("select count(*) from calls")
    folder.env["COLUMNS"] = "100"
    said = folder("redecide", "run", "--grid").splitlines()
    assert said[0] == "preset paper: weak_max across, strong_min down; * is in force"
    assert [line.split()[0] for line in said[2:7]] == ["0.45", "0.55", "0.65*", "0.75", "0.85"]
    assert max(map(len, said[:15])) <= 100
    assert f"{100 * accepted / 8:.0f} % (" in said[4]
    assert f"≈{own['estimated_gap']:.2f} (" in said[11]
    assert folder.query("select count(*) from calls") == calls

    folder("remeasure", "run", "--attempts", "2")
    afresh = json.loads(folder("status", "run", "--json"))["fresh_gap_mean"]
    paper, deployed = laid_out(folder, "--preset", "paper", "--preset", "deployed")
    [as_run], [other] = paper["cells"], deployed["cells"]
    assert (as_run["gap_from"], as_run["fresh_gap"]) == ("fresh", pytest.approx(afresh))
    assert [document["was"] for document in other["documents"]].count("accepted") == accepted
    rows = folder("redecide", "run", "--preset", "paper", "--preset", "deployed").splitlines()
    assert rows[1].split()[:4] == ["paper", str(accepted), str(8 - accepted), "0"]
    assert rows[2].startswith("deployed")

    [grid] = laid_out(folder, "--set", "acceptance.gap_min=0.1..0.3/0.1")
    assert grid["axes"] == {"gap_min": [0.1, 0.2, 0.3]}
    [grid] = laid_out(folder, "--grid", "--set", "acceptance.gap_min=[0.2, 0.4]")
    assert grid["axes"] == {"gap_min": [0.2, 0.4], "weak_max": [0.3, 0.4, 0.5, 0.6, 0.7]}


def test_what_has_no_table_is_refused_in_words(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    for task in ("legal", "science", "cs"):
        with Ledger.open(tmp_path / task) as ledger:
            ledger.start_run(RunRow(id="run", task=task, prompts_revision="seed"))

    def refused(run: str, *words: str) -> str:
        return folder("redecide", run, *words, code=2)

    assert "legal decides without thresholds of weak and strong" in refused("legal", "--grid")
    several = ("--set", "acceptance.weak_max=[0.3, 0.4]")
    assert "science decides without acceptance.weak_max" in refused("science", *several)
    assert "a list of numbers is wanted" in refused("cs", "--set", "acceptance.weak_max=[low]")
    assert "did you mean acceptance.weak_max?" in refused("cs", "--set", "acceptance.weak_mx=[0]")
    assert "only keys of acceptance may have several" in refused(
        "cs", "--set", "models.judge=[1, 2]"
    )
    three = [
        f"--set=acceptance.{name}=[0.1, 0.2]" for name in ("weak_max", "gap_min", "strong_min")
    ]
    assert "a table has two sides" in refused("cs", *three)
    assert "it has several values already" in refused("cs", three[0], three[0])
    assert "--preset strict: acceptance.preset must be" in refused("cs", "--preset", "strict")
    [grid] = laid_out(folder, "--grid", run="science")
    assert grid["in_force"] == {"weak_correct_max": 1, "strong_correct_min": 3}
    assert {cell["share_least"] for cell in grid["cells"]} == {None}
    assert "no document is decided yet" in folder("redecide", "science", "--grid")
