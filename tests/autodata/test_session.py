"""A session ends as it should whatever ends it, and another one goes on from any state it left."""

import fcntl
import json
import os
import pty
import signal
import sqlite3
import subprocess
import termios
from pathlib import Path

from autodata.run_folder import RunFolder
from autodata.settings import Settings, load
from tests.outside import BIN, Folder, Simulated

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
