"""Two connections write to one run.db: the ledger's and the call log's."""

import sqlite3
from pathlib import Path

import pytest

from autodata.ledger.database import open_database, transaction


def test_a_transaction_holds_the_write_lock_from_its_start(tmp_path: Path) -> None:
    """Taken later, after a read, the lock would be refused at once if the other had committed."""
    database = open_database(tmp_path / "run.db")
    other = sqlite3.connect(tmp_path / "run.db", timeout=0, isolation_level=None)
    with transaction(database):
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("begin immediate")
        database.execute("insert into documents(id, name, text, meta) values ('a', 'n', 't', '{}')")
    assert other.execute("select count(*) from documents").fetchone() == (1,)
    other.close()
    database.close()


def test_a_failed_transaction_leaves_nothing_behind(tmp_path: Path) -> None:
    database = open_database(tmp_path / "run.db")
    add = "insert into documents(id, name, text, meta) values ('a', 'n', 't', '{}')"

    def add_twice() -> None:
        with transaction(database):
            database.execute(add)
            database.execute(add)

    with pytest.raises(sqlite3.IntegrityError):
        add_twice()
    assert database["documents"].count == 0
    database.close()
