"""A session ends as it should whatever ends it, and another one goes on from any state it left."""

import ctypes
import fcntl
import gzip
import json
import os
import pty
import shutil
import signal
import sqlite3
import subprocess
import termios
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from autodata.run_folder import RunFolder
from autodata.settings import Settings, load
from tests.outside import BIN, Folder, Simulated

OLD_RUN = Path(__file__).parents[1] / "data" / "run-before-rooms"
RUN = ("run", "docs", "--task", "cs", "--out", "run")


def status(folder: Folder) -> str:
    found: str = json.loads(folder("status", "run", "--json"))["status"]
    return found


def test_a_hangup_stops_a_run_that_goes_on_later(folder: Folder, server: Simulated) -> None:
    with folder.started(*RUN) as process:
        assert process.stdout is not None
        assert any(line.startswith("accepted") for line in process.stdout)
        process.send_signal(signal.SIGHUP)
        said = process.stdout.read()
        assert process.wait() == 130
    assert "Go on with: autodata resume run" in said
    assert status(folder) == "interrupted"
    folder("resume", "run")
    assert status(folder) == "done"


def test_a_terminal_that_is_closed_stops_the_run(folder: Folder, server: Simulated) -> None:
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [BIN / "autodata", *RUN],
        cwd=folder.path,
        env=folder.env,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    ) as process:
        os.close(theirs)
        seen = b""
        while b"accepted  " not in seen:
            seen += os.read(ours, 4096)
        os.close(ours)
        assert process.wait() == 130
    assert status(folder) == "interrupted"
    assert folder.query("select count(*) from calls where status = 'failed'") == [(0,)]


def test_a_run_that_was_started_to_survive_a_hangup_does(folder: Folder, server: Simulated) -> None:
    with subprocess.Popen(
        ["nohup", BIN / "autodata", *RUN],
        cwd=folder.path,
        env=folder.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert any(line.startswith("accepted") for line in process.stdout)
        process.send_signal(signal.SIGHUP)
        process.stdout.read()
        assert process.wait() == 0


def test_a_run_whose_configuration_was_never_written_resumes(folder: Folder) -> None:
    """As a kill between a run's first row and its `config.yaml` left it."""
    folder(*RUN, "--rounds", "2", "--budget-calls", "20", code=3)
    kept = (folder.path / "run" / "config.yaml").read_text()
    (folder.path / "run" / "config.yaml").unlink()
    folder("redecide", "run")
    folder("resume", "run", "--budget-calls", "1000")
    assert status(folder) == "done"
    again = (folder.path / "run" / "config.yaml").read_text()
    assert again == kept.replace("calls: 20", "calls: 1000")


def test_a_run_that_was_killed_while_it_began_says_what_to_do(folder: Folder) -> None:
    """It holds documents, maybe not all of them, and no run."""
    folder(*RUN, "--rounds", "1")
    with sqlite3.connect(folder.path / "run" / "run.db") as database:
        for table in ("examples", "attempts", "rounds", "runs"):
            database.execute(f"delete from {table}")
    database.close()
    assert "give the command that began it once more" in folder("resume", "run", code=2)
    folder(*RUN, "--rounds", "1")
    assert status(folder) == "done"


def test_a_configuration_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.keep(Settings())
    before = folder.config.stat().st_ino
    folder.keep(Settings())
    assert folder.config.stat().st_ino != before  # another file took its place
    assert load(folder.config) == Settings()


# What lets root write where nobody may: a process without it reads like anybody else.
OVERRIDE, DROP = 1, 24  # CAP_DAC_OVERRIDE, PR_CAPBSET_DROP of Linux


def without_override() -> None:
    if os.geteuid() == 0 and ctypes.CDLL(None, use_errno=True).prctl(DROP, OVERRIDE, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "cannot drop a capability")


@pytest.fixture(params=["closed", "killed", "of an earlier version"])
def sealed(folder: Folder, request: pytest.FixtureRequest) -> Iterator[Folder]:
    """A run in a folder that cannot be written, as a mounted archive is."""
    run = folder.path / "run"
    if request.param == "of an earlier version":
        shutil.copytree(OLD_RUN, run)
        (run / "run.db").write_bytes(gzip.decompress((run / "run.db.gz").read_bytes()))
    else:
        folder(*RUN, "--rounds", "2")
    with closing(sqlite3.connect(run / "run.db")) as database:
        if request.param == "killed":  # what was written last still stands in the log
            database.execute("pragma wal_autocheckpoint = 0")
            database.execute("update documents set name = 'renamed.md' where rowid = 1")
            database.commit()
            for name in ("run.db", "run.db-wal"):
                shutil.copy(run / name, folder.path / name)
    for file in folder.path.glob("run.db*"):
        file.replace(run / file.name)
    places = [run, *run.iterdir()]
    for place in places:
        place.chmod(place.stat().st_mode & ~0o222)
    yield folder
    for place in places:
        place.chmod(place.stat().st_mode | 0o200)


def test_a_folder_that_cannot_be_written_can_be_read(sealed: Folder) -> None:
    def autodata(*words: str, code: int = 0) -> str:
        done = subprocess.run(
            [BIN / "autodata", *words],
            cwd=sealed.path,
            env=sealed.env,
            capture_output=True,
            text=True,
            check=False,
            preexec_fn=without_override,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    run = sealed.path / "run"
    before = {file.name: file.stat().st_mtime_ns for file in run.iterdir()}
    documents = json.loads(autodata("status", "run", "--json"))["documents"]
    shown = autodata("show", "run")
    assert ("renamed.md" in shown) == (run / "run.db-wal").exists()
    assert "by these thresholds" in autodata("redecide", "run")
    if documents["accepted"]:
        autodata("export", "run", "--format", "jsonl", "-o", "out.jsonl")
        assert len((sealed.path / "out.jsonl").read_text().splitlines()) == documents["accepted"]
    assert "run cannot be written" in autodata("resume", "run", code=2)
    assert before == {file.name: file.stat().st_mtime_ns for file in run.iterdir()}
