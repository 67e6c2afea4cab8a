"""A session ends as it should whatever ends it, and another one goes on from any state it left."""

import ctypes
import gzip
import json
import os
import pty
import shutil
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from autodata.run_folder import RunFolder
from autodata.settings import Settings, load
from tests.outside import BIN, Folder, Simulated
from tests.processes import apart, at_terminal, command, forked, simulation, started

OLD_RUN = Path(__file__).parents[1] / "data" / "run-before-rooms"
RUN = ("run", "docs", "--task", "cs", "--out", "run")
# Most of it is left to do when the first document is accepted, however late that is noticed.
SLOWLY = (*RUN, "--set", "run.documents_in_flight=1")


def status(folder: Folder) -> str:
    found: str = json.loads(folder("status", "run", "--json"))["status"]
    return found


def test_a_hangup_stops_a_run_that_goes_on_later(folder: Folder, server: Simulated) -> None:
    with folder.started(*SLOWLY) as process:
        assert any(line.startswith("accepted") for line in process.stdout)
        process.send_signal(signal.SIGHUP)
        said = process.stdout.read()
        assert process.wait() == 130
    assert "Go on with: autodata resume run" in said
    assert status(folder) == "interrupted"
    folder("resume", "run")
    assert status(folder) == "done"


@pytest.mark.parametrize("kilobytes", [200, 400, 700])
def test_a_disk_that_fills_up_pauses_the_run(
    folder: Folder, server: Simulated, kilobytes: int
) -> None:
    """Whatever is written when it does: a call, a round, or how the run stands."""
    short = ("sh", "-c", f'ulimit -f {2 * kilobytes}; exec "$0" "$@"', str(BIN / "autodata"), *RUN)
    done = subprocess.run(
        short, cwd=folder.path, env=folder.env, capture_output=True, text=True, check=False
    )
    assert "Traceback" not in done.stderr
    assert "cannot be written" in done.stdout + done.stderr
    assert done.returncode == 3
    folder("resume", "run")
    assert status(folder) == "done"


def test_a_terminal_that_is_closed_stops_the_run(folder: Folder, server: Simulated) -> None:
    ours, theirs = pty.openpty()
    with Connection(theirs) as terminal:
        process = forked(at_terminal, terminal, command, SLOWLY, folder.path, folder.env)
    seen = b""
    while b"accepted  " not in seen:
        seen += os.read(ours, 4096)
    os.close(ours)
    process.join()
    assert process.exitcode == 130
    assert status(folder) == "interrupted"
    assert folder.query("select count(*) from calls where status = 'failed'") == [(0,)]


def as_nohup(*given: Any) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    command(*given)


def test_a_run_that_was_started_to_survive_a_hangup_does(folder: Folder, server: Simulated) -> None:
    with started(as_nohup, RUN, folder.path, folder.env) as process:
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


OVERRIDE = 1 << 1  # CAP_DAC_OVERRIDE of Linux, which lets root write where nobody may
VERSION = 0x20080522  # of the sets of what a process may do


def without_override() -> None:
    """Makes this process read and write like anybody else."""
    if os.geteuid():
        return
    libc, header, sets = ctypes.CDLL(None), (ctypes.c_uint32 * 2)(VERSION), (ctypes.c_uint32 * 6)()
    assert libc.capget(header, sets) == 0
    for number in (0, 1):  # in effect, and permitted
        sets[number] &= ~OVERRIDE
    assert libc.capset(header, sets) == 0


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
    apart(_read, sealed)


def _read(sealed: Folder) -> None:
    without_override()
    run = sealed.path / "run"
    before = {file.name: file.stat().st_mtime_ns for file in run.iterdir()}
    documents = json.loads(sealed("status", "run", "--json"))["documents"]
    shown = sealed("show", "run")
    assert ("renamed.md" in shown) == (run / "run.db-wal").exists()
    assert "by these thresholds" in sealed("redecide", "run")
    if documents["accepted"]:
        sealed("export", "run", "--format", "jsonl", "-o", "out.jsonl")
        assert len((sealed.path / "out.jsonl").read_text().splitlines()) == documents["accepted"]
    assert "run cannot be written" in sealed("resume", "run", code=2)
    assert before == {file.name: file.stat().st_mtime_ns for file in run.iterdir()}


def test_a_second_signal_stops_a_run_that_waits_for_an_answer(folder: Folder) -> None:
    with started(simulation, ("--port", "0", "--faults", '{"rates": {"hang": 1}}')) as server:
        folder.configure(server.stdout.readline().split(" at ")[1].split()[0])
        folder.env["SIMULATED_KEY"] = "right"
        with folder.started(*RUN) as process:
            assert any("asking challenger" in line for line in process.stdout)
            process.send_signal(signal.SIGINT)
            assert any("again to stop now" in line for line in process.stdout)
            process.send_signal(signal.SIGINT)
            said = process.stdout.read()
            assert process.wait() == 130
    assert "Go on with: autodata resume run" in said
    assert status(folder) == "interrupted"
