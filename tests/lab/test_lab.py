"""`autodata lab`: from the loop over HTTP to a page, the same from the same seed."""

import json
import os
import re
import signal
from multiprocessing import active_children
from pathlib import Path
from shutil import copytree
from threading import Thread

import pytest

from autodata.commands.lab import looped
from autodata.lab.experiment import QUICK_LAB, generators, transcript
from autodata.run_folder import RunFolder
from tests.outside import NO_NETWORK, Folder


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


def test_a_loop_that_was_stopped_begins_anew_and_no_proxy_stands_between(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "")  # as it was, afterwards
    monkeypatch.setenv("http_proxy", NO_NETWORK)
    documents = generators(QUICK_LAB, 0)[:2]
    ran = looped(documents, tmp_path, QUICK_LAB, 0)
    folder = Folder(tmp_path)
    begun = "select started_at from calls order by id limit 1"
    kept, stopped = (folder.query(begun, f"student-0/{name}") for name in ("paper", "measured"))
    (tmp_path / "student-0" / "measured.seconds").unlink()
    again = looped(documents, tmp_path, QUICK_LAB, 0)
    assert folder.query(begun, "student-0/paper") == kept
    assert folder.query(begun, "student-0/measured") != stopped
    assert again["measured"].accepted == ran["measured"].accepted
    assert again["paper"] == ran["paper"]


def test_a_student_that_is_killed_ends_the_lab_and_is_named(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def kill() -> None:
        while not (found := [one for one in active_children() if "Spawn" in one.name]):
            pass
        assert found[0].pid
        os.kill(found[0].pid, signal.SIGKILL)

    killer = Thread(target=kill, daemon=True)
    killer.start()
    said = Folder(tmp_path)("lab", "--quick", "--out", "lab", code=3)
    killer.join()
    assert re.search(r"student \d was ended by SIGKILL", said)
    assert not [one for one in active_children() if "Spawn" in one.name]
    with RunFolder(tmp_path / "lab").locked():
        assert "in use by process" in Folder(tmp_path)("lab", "--quick", "--out", "lab", code=2)


def test_a_file_that_is_damaged_is_named(made: Folder) -> None:
    copytree(made.path / "lab", made.path / "torn")
    result = made.path / "torn" / "student-1.json"
    result.write_bytes(result.read_bytes()[:1000])
    said = made("lab", "--quick", "--out", "torn", code=2)
    assert "student-1.json is damaged" in said
    (made.path / "torn" / "lab.json").write_text('{"stud')
    assert "lab.json is damaged" in made("lab", "--quick", "--out", "torn", code=2)


def test_a_loop_that_accepted_nothing_has_nothing_to_tell() -> None:
    assert transcript([[]]) == []
