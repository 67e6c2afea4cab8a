"""A run folder: `run.db`, `config.yaml`, and the lock that keeps it to one process at a time."""

import fcntl
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from autodata.ledger.database import PREFIX, check_folder
from autodata.ledger.ledger import FILE
from autodata.ledger.rows import RunRow
from autodata.settings import Override, Settings, dump, load, read

CONFIG = "config.yaml"
LOCK = ".lock"
DRAFT = ".config.yaml"  # becomes the configuration when it is written


class RunFolderError(ValueError):
    """A folder that cannot be used as asked; the message says why and what to do."""


@dataclass(frozen=True)
class RunFolder:
    """The place of one run."""

    path: Path

    @property
    def config(self) -> Path:
        """The resolved configuration, without secrets."""
        return self.path / CONFIG

    @property
    def holds_run(self) -> bool:
        """Whether a run was begun here."""
        return (self.path / FILE).is_file()

    def existing(self) -> "RunFolder":
        """This folder, if it holds a run. Raises RunFolderError."""
        if not self.path.exists():
            raise RunFolderError(f"there is no folder {self.path}")
        if not self.holds_run:
            raise RunFolderError(f"{self.path} is not a run folder: there is no {FILE} in it")
        return self

    def fresh(self) -> "RunFolder":
        """This folder, if a run may begin or go on here. Raises RunFolderError."""
        if self.path.exists() and not self.path.is_dir():
            raise RunFolderError(f"{self.path} is a file; name a folder for the run")
        if self.path.is_dir() and not self.holds_run and _foreign(self.path):
            raise RunFolderError(
                f"{self.path} holds other files and no run; name a new or empty folder"
            )
        return self

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep the folder to this process. Raises RunFolderError while another one has it,
        LedgerError when its file system cannot hold a run."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = open(self.path / LOCK, "a+")  # noqa: SIM115 - closed below, held until then
        except OSError as error:
            raise RunFolderError(f"{self.path} cannot be written: {error.strerror}") from error
        with lock:
            check_folder(self.path)
            if not any(_taken(lock.fileno()) for _ in _tries()):
                raise RunFolderError(
                    f"{self.path} is in use by process {self._pid()}; wait for it, or stop it "
                    "with Ctrl-C where it runs"
                )
            lock.truncate(0)
            lock.write(f"{os.getpid()}\n")
            lock.flush()
            yield

    def in_use(self) -> bool:
        """Whether a process runs this folder just now."""
        try:
            with open(self.path / LOCK) as lock:
                return not _taken(lock.fileno())
        except FileNotFoundError:
            return False

    def status(self, run: RunRow) -> str:
        """How the run stands; one whose process is gone does not run, whatever it wrote."""
        if run.status == "running" and not self.in_use():
            return "interrupted (process gone)"
        return run.status

    def keep(self, settings: Settings) -> None:
        """Write the resolved configuration, all of it or nothing."""
        head = "# The resolved configuration of this run; `autodata resume` reads it.\n"
        with open(self.path / DRAFT, "w", encoding="utf-8") as draft:
            draft.write(head + dump(settings))
            draft.flush()
            os.fsync(draft.fileno())
        os.replace(self.path / DRAFT, self.config)

    def settings(self, run: RunRow, overrides: Sequence[Override] = ()) -> Settings:
        """The configuration of the run in this folder, and what is to differ from it.

        A folder whose `config.yaml` is gone has it in the run's row. Raises SettingsError.
        """
        if self.config.exists():
            return load(self.config, overrides)
        known = {name: value for name, value in run.config.items() if name in Settings.model_fields}
        return read(known, f"the record of {self.path}", overrides)

    def _pid(self) -> str:
        return (self.path / LOCK).read_text().strip() or "unknown"


def _taken(file: int) -> bool:
    """Whether the lock could be taken; the kernel lets go of it when the process ends."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _tries() -> Iterator[None]:
    """A few tries within a fifth of a second: `in_use` of another process holds a lock briefly."""
    for pause in (0.0, 0.05, 0.15):
        time.sleep(pause)
        yield


def _foreign(folder: Path) -> bool:
    names = (entry.name for entry in folder.iterdir())
    return any(name not in (LOCK, CONFIG, DRAFT) and not name.startswith(PREFIX) for name in names)
