"""Whether a folder can hold a database that several connections write: found out by trying.

SQLite's write-ahead log needs locks and memory shared between processes. Network file systems often
lack one of them and say so late or never; a run that finds out after its first calls has paid for
them.
"""

import fcntl
import mmap
import os
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

PREFIX = ".probe-"  # of the folder, deleted again, that a probe works in
MOUNTS = Path("/proc/mounts")
SHARED = ("nfs", "lustre", "cifs", "smb", "9p", "afs", "ceph", "gluster", "beegfs", "gpfs", "fuse")


@dataclass(frozen=True, slots=True)
class FolderProbe:
    """What trying showed: `problem` is "" when all is well, `file_system` its type where known."""

    problem: str
    file_system: str = ""

    def complaint(self, folder: Path) -> str:
        """What is wrong and what to do; "" when a run can live in the folder."""
        if not self.problem:
            return ""
        kind = f" ({self.file_system})" if self.file_system else ""
        shared = self.file_system.startswith(SHARED)
        why = ", as network file systems often do" if shared else ""
        return (
            f"{folder} cannot hold a run: its file system{kind} {self.problem}{why}. Let the run "
            "write to a folder on a local disk, and copy that folder here when the run has ended"
        )


def probe_folder(folder: Path) -> FolderProbe:
    """Try locks, shared memory and a write-ahead log in the folder, which must exist.

    Raises OSError where nothing can be created at all.
    """
    mounts = MOUNTS.read_text(errors="replace") if MOUNTS.exists() else ""
    with TemporaryDirectory(prefix=PREFIX, dir=folder) as within:
        problem = _locks(Path(within) / "file") or _log(Path(within) / "probe.db")
    return FolderProbe(problem, file_system_of(folder.resolve(), mounts))


def file_system_of(folder: Path, mounts: str) -> str:
    """The type of the file system that an absolute folder lies on, by the lines of /proc/mounts."""
    best, found = -1, ""
    for line in mounts.splitlines():
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        at = fields[1].replace("\\040", " ")
        if folder.is_relative_to(at) and len(at) >= best:
            best, found = len(at), fields[2]
    return found


def _locks(path: Path) -> str:
    """What goes wrong with locking and mapping a file; "" for nothing."""
    with open(path, "wb+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fcntl.flock(file, fcntl.LOCK_UN)
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fcntl.lockf(file, fcntl.LOCK_UN)
        except OSError as error:
            return f"does not lock files ({error.strerror})"
        try:
            os.truncate(file.fileno(), mmap.PAGESIZE)
            with mmap.mmap(file.fileno(), mmap.PAGESIZE) as shared:
                shared[:4] = b"seen"
                shared.flush()
                seen = os.pread(file.fileno(), 4, 0)
        except OSError as error:
            return f"does not map files into shared memory ({error.strerror})"
    return "" if seen == b"seen" else "does not keep mapped files and files the same"


def _log(path: Path) -> str:
    """What goes wrong with a write-ahead log between two connections; "" for nothing."""
    try:
        with closing(_connect(path)) as one, closing(_connect(path)) as other:
            for connection in (one, other):
                connection.execute("pragma synchronous = off")  # what lasts is not what is tried
                [mode] = connection.execute("pragma journal_mode = wal").fetchone()
                if mode != "wal":
                    return f"takes no write-ahead log (SQLite stays in mode {mode!r})"
            one.execute("create table probe (value integer)")
            one.execute("insert into probe values (1)")
            if other.execute("select value from probe").fetchall() != [(1,)]:
                return "does not show one connection what another has written"
    except sqlite3.Error as error:
        return f"takes no write-ahead log (SQLite says: {error})"
    return ""


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=0, isolation_level=None)
