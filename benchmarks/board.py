"""Server time of the board's pages over a folder of 10,000 documents, in milliseconds.

    python benchmarks/board.py [--documents 10000] [--keep FOLDER]

The folder is a run over the demo documents, of whose examples a person accepted half while the
others wait, multiplied in SQLite: documents, rounds, attempts, examples and reviews in full, and
every tenth call. Each page is asked for several times; the first time, when nothing is
known yet, is told apart from the median of the others.
"""

import argparse
import hashlib
import json
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

from starlette.testclient import TestClient

from autodata.commands.board import made

DOCUMENTS = Path(__file__).parents[1] / "autodata" / "demo" / "cs"
TIMES = 7  # that each page is asked for
CALLS = 10  # one of so many calls is multiplied, too
REVIEW = "select document_id, number, fingerprint from waiting order by place limit 1 offset 1000"
PAGES = {
    "runs": "",
    "run": "{run}",
    "documents, first page": "{run}/documents",
    "documents, last page": "{run}/documents?page={last}",
    "documents, accepted": "{run}/documents?outcome=accepted",
    "documents, by objection": "{run}/documents?outcome=rejected&objection=TOO_EASY",
    "documents, by name": "{run}/documents?q=lease",
    "one document": "{run}/documents/{document}",
    "examples": "{run}/examples",
    "examples, last page, by gap": "{run}/examples?sort=gap&page=100",
    "calls and cost": "{run}/calls",
    "what waits for review": "{run}/review",
    "one review": "{run}/review/{review}",
}


def multiplied(folder: Path, documents: int) -> None:
    """A run with so many documents, a quarter or so of which wait for review."""
    out = ["--task", "cs", "--out", str(folder)]
    _autodata("run", str(DOCUMENTS), *out, "--review", "before-accept", code=3)
    waiting = json.loads(_autodata("review", str(folder), "--json"))
    accepted = [one["document"]["id"] for one in waiting[::2]]
    _autodata("review", str(folder), "--accept", *accepted, "--by", "Ann")
    _autodata("resume", str(folder), code=3)
    with closing(sqlite3.connect(folder / "run.db")) as database:
        database.execute("pragma foreign_keys = off")
        database.create_function("again", 2, _again, deterministic=True)
        [there] = database.execute("select count(*) from documents").fetchone()
        for number in range(1, documents // there):
            for table, ids in _IDS.items():
                names = [row[1] for row in database.execute(f"pragma table_info({table})")]
                values = [f"again({n}, :n)" if n in ids else _VALUES.get(n, n) for n in names]
                kept = "true"
                if table == "calls":
                    values[names.index("id")], kept = "null", f"id % {CALLS} = 1"
                first = f"rowid <= (select count from sizes where name = '{table}')"
                if number == 1:
                    database.execute("create temp table if not exists sizes(name, count)")
                    database.execute(f"insert into sizes select '{table}', max(rowid) from {table}")
                database.execute(
                    f"insert into {table} select {', '.join(values)} from {table}"
                    f" where {first} and {kept}",
                    {"n": number},
                )
        database.commit()
        database.execute("analyze")
        database.execute("drop table sqlite_stat1")  # no run has it


def _autodata(*words: str, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "autodata", *words], capture_output=True, text=True
    )
    assert done.returncode == code, done.stderr
    return done.stdout


_IDS = {
    "documents": ("id",),
    "rounds": ("id", "document_id"),
    "attempts": ("id", "round_id"),
    "examples": ("id", "document_id", "round_id"),
    "calls": ("scope",),
    "reviews": ("document_id",),
}
_VALUES = {"call_id": "null"}


def _again(id: str, number: int) -> str:
    """The id of a copy: another document, the same round and attempt."""
    document, _, rest = id.partition("-")
    other = hashlib.sha256(f"{document}{number}".encode()).hexdigest()[:16]
    return f"{other}-{rest}" if rest else other


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=10_000)
    parser.add_argument("--keep", type=Path, help="A folder to make, or to use again.")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = asked.keep or Path(place) / "run"
        if not folder.exists():
            multiplied(folder, asked.documents)
        measure(folder)


def measure(folder: Path) -> None:
    """Prints a line for each page."""
    with closing(sqlite3.connect(folder / "run.db")) as database:
        [run] = database.execute("select id from runs").fetchone()
        [documents] = database.execute("select count(*) from documents").fetchone()
        [document] = database.execute("select document_id from examples").fetchone()
        review = "/".join(map(str, database.execute(REVIEW).fetchone()))
    client = TestClient(made([folder]), base_url="http://127.0.0.1")
    place = f"{folder.name}/{run}"
    print(f"{documents:,} documents, milliseconds: first, then the median of {TIMES - 1}")
    for name, path in PAGES.items():
        url = "/board/" + path.format(
            run=place, document=document, last=documents // 50, review=review
        )
        taken = []
        for _ in range(TIMES):
            start = time.perf_counter()
            assert client.get(url).status_code == 200, url
            taken.append(1000 * (time.perf_counter() - start))
        print(f"{name:<30}{taken[0]:>8.0f}{statistics.median(taken[1:]):>8.0f}")


if __name__ == "__main__":
    main()
