"""Which run folders the board shows, opened to read, and what was worked out of them."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from autodata.ledger.database import LedgerError
from autodata.ledger.ledger import FILE, Ledger

PATIENCE = 20  # what is worked out stays as it is for so many times the time that it took

T = TypeVar("T")


class ShownFolder:
    """A run folder that is read and never written; usable from several threads."""

    def __init__(self, key: str, path: Path) -> None:
        """`key` is its name in addresses."""
        self.key, self.path = key, path
        self._ledgers: dict[str, Ledger] = {}
        self._opening, self._making = threading.Lock(), threading.Lock()
        self._known: dict[object, tuple[int, float, Any]] = {}

    @property
    def name(self) -> str:
        """Where it is, from where the board was begun."""
        here = Path.cwd()
        return str(self.path.relative_to(here) if self.path.is_relative_to(here) else self.path)

    @property
    def ledger(self) -> Ledger:
        """What happened here. Raises LedgerError when it cannot be read."""
        return self._opened("pages")

    def _opened(self, purpose: str) -> Ledger:
        with self._opening:
            if purpose not in self._ledgers:
                self._ledgers[purpose] = Ledger.open(self.path, create=False).only_read()
            return self._ledgers[purpose]

    def version(self) -> int:
        """A number that changes when somebody writes to the folder's database."""
        [row] = self.ledger.query("pragma data_version")
        return int(row["data_version"])

    def known(self, key: object) -> bool:
        """Whether `kept` would answer at once."""
        found = self._known.get(key)
        return found is not None and (found[1] > time.monotonic() or found[0] == self.version())

    def kept(self, key: object, make: Callable[[Ledger], T]) -> T:
        """What `make` returns, made again when the database has changed, but not all the time. It
        reads through a connection of its own, so that no page waits for it."""
        with self._making:
            if not self.known(key):
                version, start = self.version(), time.monotonic()
                value = make(self._opened("figures"))
                end = time.monotonic()
                self._known[key] = version, end + PATIENCE * (end - start), value
            found: T = self._known[key][2]
            return found

    def close(self) -> None:
        """Let go of the database."""
        with self._opening:
            while self._ledgers:
                self._ledgers.popitem()[1].close()


class Folders:
    """The folders that were named. One that holds no run stands for the run folders in it."""

    def __init__(self, named: Iterable[Path]) -> None:
        self._named = [path.absolute() for path in named]
        self._shown: dict[Path, ShownFolder] = {}
        self._looking = threading.Lock()

    def all(self) -> list[ShownFolder]:
        """The run folders that are there now, in the order in which they were named."""
        with self._looking:
            there = list(dict.fromkeys(_found(self._named)))
            for path in there:
                if path not in self._shown:
                    self._shown[path] = ShownFolder(self._key(path), path)
            for path in self._shown.keys() - there:
                self._shown.pop(path).close()
            return [self._shown[path] for path in there]

    def one(self, key: str) -> ShownFolder:
        """The folder of this name. Raises LedgerError when there is none."""
        for folder in self.all():
            if folder.key == key:
                return folder
        raise LedgerError(f"no folder {key} is shown here")

    def close(self) -> None:
        """Let go of every database."""
        for folder in self._shown.values():
            folder.close()

    def _key(self, path: Path) -> str:
        """Its own name, and a number where another one has it."""
        taken = {folder.key for folder in self._shown.values()}
        names = [path.name or "run", *(f"{path.name}-{n}" for n in range(2, len(taken) + 3))]
        return next(name for name in names if name not in taken)


def _found(named: Iterable[Path]) -> Iterator[Path]:
    for path in named:
        if (path / FILE).is_file():
            yield path
        elif path.is_dir():
            yield from sorted(inner.parent for inner in path.glob(f"*/{FILE}"))
