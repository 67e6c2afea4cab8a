"""`autodata lab`: from the loop over HTTP to a page, the same from the same seed."""

import json
import re
from pathlib import Path

import pytest

from tests.outside import Folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    folder = Folder(tmp_path_factory.mktemp("lab"))
    folder("lab", "--quick", "--out", "lab")
    return folder


def test_the_page_tells_what_became_of_each_arm(made: Folder) -> None:
    page = (made.path / "lab" / "lab.html").read_text(encoding="utf-8")
    for arm in ("untrained", "one-shot", "length-matched", "paper", "equal time", "measured"):
        assert re.search(rf'<th scope="row">{arm}</th>', page), arm
    assert "settle nothing" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page


def test_the_loop_was_a_run_like_any_other(made: Folder) -> None:
    status = json.loads(made("status", "lab/student-0/paper", "--json"))
    assert status["task"] == "procedural"
    assert not status["simulated"]
    assert made.query("select count(*) from calls where status = 'ok'", "lab/student-0/paper")[0][0]


def test_it_goes_on_where_it_stopped_and_gives_the_same(made: Folder) -> None:
    kept = Path(made.path / "lab" / "student-1.json")
    before = json.loads(kept.read_text())
    kept.unlink()
    calls = made.query("select count(*) from calls", "lab/student-1/paper")
    said = made("lab", "--quick", "--out", "lab")
    assert "student 1 is done" in said
    assert "student 0 is done" not in said
    assert made.query("select count(*) from calls", "lab/student-1/paper") == calls
    after = json.loads(kept.read_text())
    for arm in before["arms"].keys() - {"equal time"}:  # which follows the clock
        assert after["arms"][arm]["scores"] == before["arms"][arm]["scores"], arm


def test_a_folder_is_not_mixed_with_another_experiment_or_other_files(made: Folder) -> None:
    assert "other settings" in made("lab", "--quick", "--seed", "3", "--out", "lab", code=2)
    (made.path / "mine").mkdir()
    (made.path / "mine" / "notes.txt").write_text("mine")
    assert "holds something else" in made("lab", "--out", "mine", code=2)
    assert "is a file" in made("lab", "--out", "mine/notes.txt", code=2)
