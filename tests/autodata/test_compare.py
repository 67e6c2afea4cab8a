"""Runs of the same documents are laid beside each other: told from outside."""

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from autodata.ledger.ledger import Ledger
from autodata.ledger.rows import RunRow
from tests.outside import DEMO, Folder
from tests.sources import ROOT, blocks, commands, steady

PAGE = ROOT / "docs" / "compare.md"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """The page's own runs, with what the page's commands print in `printed`."""
    path = tmp_path_factory.mktemp("compared")
    shutil.copytree(DEMO / "cs", path / "docs")
    folder = Folder(path)
    folder.env["COLUMNS"] = "100"
    return folder


@pytest.fixture(scope="module")
def printed(runs: Folder) -> str:
    """What the page's block prints, command by command."""
    [block] = blocks(PAGE, "console")
    lines = []
    for line, _ in commands(block):
        said = runs(*line.split()[1:])
        lines.append(f"$ {line}\n" + (steady(said) if " compare " in line else ""))
    return "".join(lines)


def compared(folder: Folder, *words: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(folder("compare", *words, "--json"))
    return found


def test_the_page_shows_what_is_printed_and_a_screen_has_room_for_it(printed: str) -> None:
    [block] = blocks(PAGE, "console")
    if os.environ.get("AUTODATA_WRITE_DOCS"):
        text = PAGE.read_text().replace(f"```console\n{block.text}```", f"```console\n{printed}```")
        PAGE.write_text(text)
        [block] = blocks(PAGE, "console")
    assert block.text == printed
    tables = printed.partition("\n\n")[2].rpartition("\n\n")[0].splitlines()
    assert max(map(len, tables)) <= 100
    assert "cannot be told from 8" in printed  # documents, of which ten are needed
    assert "acceptance.preset: paper → deployed" in printed
    assert printed.endswith("not how good a model is.\n")  # since the models are simulated


@pytest.mark.usefixtures("printed")
def test_figures_are_those_of_the_run_and_a_script_can_read_them(runs: Folder) -> None:
    found = compared(runs, "paper", "deployed")
    first, other = found["runs"]
    status = json.loads(runs("status", "paper", "--json"))
    figures = first["figures"]
    for name in ("weak", "strong", "gap", "rounds"):
        value, interval = status[f"{name}_mean"], status[f"{name}_mean_interval"]
        assert figures[name]["value"] == pytest.approx(value)
        assert figures[name]["interval"] == pytest.approx(interval)
    accepted = first["documents"]["accepted"]
    assert figures["yield"]["value"] == status["pass_rate"] == accepted / 8
    assert figures["calls"]["value"] == pytest.approx(status["calls"] / accepted)
    assert figures["gap"]["documents"] == accepted
    assert (found["simulated"], found["least_documents"]) == (True, 10)
    [told] = found["differences"]
    assert (told["run"], told["less"]) == (other["letter"], first["letter"]) == ("B", "A")
    rounds = told["figures"]["rounds"]
    assert (rounds["paired"], rounds["documents"]) == (True, 8)
    means = [run["figures"]["rounds"]["value"] for run in (first, other)]
    assert rounds["difference"] == pytest.approx(means[1] - means[0])
    assert rounds["direction"] == "cannot be told"


@pytest.mark.usefixtures("printed")
def test_of_what_was_measured_afresh_the_table_tells_as_such(runs: Folder) -> None:
    shutil.copytree(runs.path / "paper", runs.path / "again")
    runs("remeasure", "again", "--attempts", "2")
    found = compared(runs, "again", "deployed")
    assert [run["fresh_from"] for run in found["runs"]] == ["remeasured", "nothing"]
    status = json.loads(runs("status", "again", "--json"))
    assert found["runs"][0]["figures"]["fresh_gap"]["value"] == status["fresh_gap_mean"]
    assert found["differences"][0]["figures"]["fresh_gap"] is None
    assert any("`autodata remeasure deployed` does it" in note for note in found["notes"])


@pytest.mark.usefixtures("printed")
def test_the_page_opens_offline_and_shows_names_as_they_are(runs: Folder) -> None:
    odd = "a <b>bold</b> name"
    shutil.copytree(runs.path / "paper", runs.path / odd)
    assert "page.html" in runs("compare", odd, "deployed", "-o", "page.html")
    page = (runs.path / "page.html").read_text()
    assert "a &lt;b&gt;bold&lt;/b&gt; name" in page
    assert re.findall(r'(?:src|href)="(?!#)[^"]*"', page) == []
    assert "Simulated models" in page
    for said in ("spread of weak", "cannot be told from 8", 'class="whisker"', "B less A"):
        assert said in page


def folder_of(path: Path, *runs: RunRow) -> None:
    with Ledger.open(path) as ledger:
        for run in runs:
            ledger.start_run(run)


@pytest.mark.usefixtures("printed")
def test_what_cannot_be_compared_is_refused_in_words(runs: Folder) -> None:
    def refused(*words: str) -> str:
        return runs("compare", *words, code=2)

    assert "1 run is named; compare takes two or more" in refused("paper")
    assert "paper is named twice" in refused("paper", f"../{runs.path.name}/paper")
    assert "there is no folder missing" in refused("paper", "missing")
    assert "docs is not a run folder" in refused("paper", "docs")
    science = RunRow(id="s-1", task="science", prompts_revision="seed")
    folder_of(runs.path / "science", science)
    assert "paper is a cs run and science a science run" in refused("paper", "science")
    opt = RunRow(id="o-1", kind="optimization", task="cs", prompts_revision="seed")
    folder_of(runs.path / "opt", opt)
    assert "opt holds an optimization of prompts, which makes no examples" in refused(
        "paper", "opt"
    )


@pytest.mark.usefixtures("printed")
def test_of_a_folder_with_several_runs_it_is_said_which(runs: Folder) -> None:
    both = (RunRow(id=id, task="cs", prompts_revision="seed") for id in ("r-1", "r-2"))
    folder_of(runs.path / "both", *both)
    told = runs("compare", "both", "paper", code=2)
    assert "both holds 2 runs; say which with --run ID" in told
    assert told.splitlines()[1:] == ["  r-1", "  r-2"]
    assert "holds a run r-9" in runs("compare", "paper", "deployed", "--run", "r-9", code=2)
    found = compared(runs, "both", "--run", "r-2", "--run", "r-1")
    assert [run["run"] for run in found["runs"]] == ["r-2", "r-1"]
    assert {figure["value"] for figure in found["runs"][0]["figures"].values()} == {None}
    found = compared(runs, "paper", "both", "--run", "r-1")
    assert [run["folder"] for run in found["runs"]] == ["paper", "both"]
    assert {*found["differences"][0]["figures"].values()} == {None}  # nothing was tried
    assert "–" in runs("compare", "paper", "both", "--run", "r-1")
