"""One SQLite file: opened, migrated, and its columns turned into Python values and back."""

import json
import os
import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from weakref import finalize

from sqlite_utils import Database

from autodata.ledger.file_system import probe_folder
from autodata.ledger.migrations import migrate, pending

BUSY_TIMEOUT = 60.0
"""Seconds a writer waits for another one (the call log writes through its own connection)."""

_SURROGATE = re.compile("[\ud800-\udfff]")


class LedgerError(ValueError):
    """The run's database cannot be used; the message says which one, why and what to do."""


@cache
def check_folder(folder: Path) -> None:
    """Try once whether an existing folder can hold a database.

    Raises LedgerError when its file system cannot, or when nothing can be written there.
    """
    try:
        complaint = probe_folder(folder).complaint(folder)
    except OSError as error:
        raise LedgerError(f"{folder} cannot be written: {error.strerror}") from error
    if complaint:
        raise LedgerError(complaint)


def open_database(path: Path, *, create: bool = True) -> Database:
    """The database at `path`, migrated to this version, in WAL mode with foreign keys enforced.

    The connection may be used from several threads, one at a time: the caller holds a lock.
    Raises LedgerError when the file is no database of ours, was written by a newer version, lies on
    a file system that cannot hold it, or is not there and `create` is false; then a folder that
    cannot be written is read as it is.
    """
    if not create and not path.is_file():
        raise LedgerError(f"{path.parent} holds no run: there is no {path.name} in it")
    if not create and not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)):
        return _open_to_read(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if create:
            check_folder(path.parent)
        connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT, check_same_thread=False)
    except (OSError, sqlite3.Error) as error:
        raise LedgerError(f"cannot open {path}: {error}") from error
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA foreign_keys = ON")
        database = Database(connection)
        migrate(database)
    except (ValueError, sqlite3.Error) as error:
        connection.close()
        if not create and isinstance(error, sqlite3.OperationalError) and _unfit(path.parent):
            return _open_to_read(path)
        raise LedgerError(f"cannot use {path}: {error}") from error
    return database


def _unfit(folder: Path) -> bool:
    """Whether a folder's file system cannot hold a database that is written."""
    try:
        check_folder(folder)
    except LedgerError:
        return True
    return False


def _open_to_read(path: Path) -> Database:
    """The database where nothing can be written, not even the locks of a reader.

    One that an earlier version wrote, or that was not closed, is read from a copy. Raises
    LedgerError.
    """
    log = Path(f"{path}-wal")
    unmerged = log.exists() and log.stat().st_size > 0
    uri = f"{path.absolute().as_uri()}?mode=ro{'' if unmerged else '&immutable=1'}"
    connection = sqlite3.connect(uri, uri=True, check_same_thread=False)
    try:
        database = Database(connection)
        if not pending(database):
            return database
    except sqlite3.OperationalError:  # it has a log, and nothing says what is in it
        pass
    except (ValueError, sqlite3.Error) as error:
        connection.close()
        raise LedgerError(f"cannot use {path}: {error}") from error
    connection.close()
    copy = TemporaryDirectory(prefix="autodata-")
    try:
        for file in (path, log):
            if file.exists():
                shutil.copyfile(file, Path(copy.name) / file.name)
        database = open_database(Path(copy.name) / path.name)
    except (OSError, LedgerError) as error:
        copy.cleanup()
        raise LedgerError(f"cannot read {path}: {error}") from error
    finalize(database, copy.cleanup)
    return database


@contextmanager
def transaction(database: Database) -> Iterator[None]:
    """One transaction that has the write lock from its start.

    A deferred one (`Database.atomic`) that first reads fails at once, whatever the busy timeout,
    when another connection commits before it writes.
    """
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        database.rollback()
        raise
    database.commit()


def to_text(text: str) -> str | bytes:
    """Text as SQLite takes it. A text with lone surrogates is no UTF-8 and becomes a BLOB."""
    return text.encode("utf-8", "surrogatepass") if _SURROGATE.search(text) else text


def from_text(value: str | bytes) -> str:
    """The text that `to_text` stored."""
    return value.decode("utf-8", "surrogatepass") if isinstance(value, bytes) else value


def to_json(value: Any) -> str:
    """JSON for a column: readable Unicode, with lone surrogates escaped. NaN is a ValueError."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    return _SURROGATE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
