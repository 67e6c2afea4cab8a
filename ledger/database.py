"""One SQLite file: whether a folder can hold it, opened, migrated.

A migration that was released is never edited: a change is a new migration below it. The comments
stay in the database's schema, where Datasette and `.schema` show them.
"""

import fcntl
import mmap
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from weakref import finalize

from sqlite_utils import Database, Migrations

from autodata.ledger.calls import create_calls

BUSY_TIMEOUT = 60.0
"""Seconds a writer waits for another one (the call log writes through its own connection)."""

DISK = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY)  # kinds of error


class LedgerError(ValueError):
    """The run's database cannot be used; the message says which one, why and what to do."""


class NotWritten(RuntimeError):
    """The disk does not take what is to be written; the run can go on when it does."""


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
    when another connection commits before it writes. Raises NotWritten when the disk is full, gone.
    """
    try:
        database.execute("BEGIN IMMEDIATE")
        yield
        database.commit()
    except BaseException as error:
        if database.conn.in_transaction:  # SQLite ends one itself when the disk is full
            database.rollback()
        if isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode & 0xFF in DISK:
            file = database.execute("PRAGMA database_list").fetchone()[2]
            raise NotWritten(
                f"{file} cannot be written: {error}. Free the disk or fix its permissions, then "
                "resume"
            ) from error
        raise


# Whether a folder can hold a database that several connections write: found out by trying. The log
# needs locks and memory shared between processes. Network file systems often lack one, and say so
# late or never, when a run has already paid for its first calls.

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

    Raises OSError where nothing can be created at all, and where the disk is full.
    """
    mounts = MOUNTS.read_text(errors="replace") if MOUNTS.exists() else ""
    with TemporaryDirectory(prefix=PREFIX, dir=folder) as within:
        problem = _locks(Path(within) / "file") or _log(Path(within) / "probe.db")
        if problem and shutil.disk_usage(within).free < 65_536:  # bytes, of which it needs fewer
            raise OSError(0, "the disk is full")
    return FolderProbe(problem, file_system_of(folder.resolve(), mounts))


def file_system_of(folder: Path, mounts: str) -> str:
    """The type of the file system that an absolute folder lies on, by the lines of /proc/mounts."""
    best, found = -1, ""
    for _, mount, kind, *_ in (row.split(" ") for row in mounts.splitlines() if row.count(" ") > 1):
        at = mount.replace("\\040", " ")
        if folder.is_relative_to(at) and len(at) >= best:
            best, found = len(at), kind
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
            os.pwrite(file.fileno(), bytes(mmap.PAGESIZE), 0)  # or the map kills us on a full disk
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


# The tables of run.db, in the order in which they came to be.

migrations = Migrations("autodata")


def migrate(database: Database) -> None:
    """Bring the database to this version; safe when two processes open it at once.

    Raises ValueError when a newer version wrote it or when its tables are somebody else's.
    """
    if not pending(database):
        return
    database.execute("BEGIN IMMEDIATE")
    try:
        others = set(database.table_names()) - {"calls"}  # a call log may have been opened first
        if others and not migrations.applied(database):
            raise ValueError("it is an SQLite database, but not one of autodata's")
        migrations.apply(database)
    except BaseException:
        database.rollback()
        raise
    database.conn.commit()
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()  # the tables, out of the log


def pending(database: Database) -> bool:
    """Whether a migration is still to be applied. Raises ValueError at a migration unknown here."""
    applied = {migration.name for migration in migrations.applied(database)}
    with closing(Database(memory=True)) as empty:  # where all that we know is pending
        known = {migration.name for migration in migrations.pending(empty)}
    if newer := sorted(applied - known):
        raise ValueError(f"a newer autodata wrote it ({', '.join(newer)}); upgrade autodata")
    return applied != known


CREATE_DOCUMENTS = """create table documents (
  id text primary key not null,     -- first 16 hex digits of the SHA-256 of the text
  name text not null,
  text text not null,
  meta text not null                -- JSON: where it came from
)"""

CREATE_RUNS = """create table runs (
  id text primary key not null,
  task text not null,
  prompts_revision text not null,
  locked_revision text not null,    -- content hash of the prompts that nobody may edit
  config text not null,             -- JSON: the resolved configuration, no secrets
  models text not null,             -- JSON: role → endpoint/model
  seed integer,
  simulated integer not null,       -- 1: no real model was asked
  version text not null,            -- of autodata
  status text not null,             -- running, done, paused, interrupted
  started_at text not null,         -- ISO 8601, UTC
  finished_at text
)"""

CREATE_ROUNDS = """create table rounds (
  id text primary key not null,     -- <document>-r<number>
  run_id text not null references runs(id),
  document_id text not null references documents(id),
  number integer not null,          -- from 1; 0: skipped before its first round
  decision text,                    -- revise, accepted, rejected, skipped
  instruction text not null,        -- what the challenger was told
  candidate text,                   -- JSON
  verdict text,                     -- JSON: the quality verifier's
  judgement text,                   -- JSON: the loop judge's
  final_verdict text,               -- JSON: the locked verifier's, after acceptance
  objections text not null,         -- JSON: [{code, message}]
  weak_mean real,                   -- 0 … 1, over the scored attempts
  strong_mean real,
  gap real,                         -- strong_mean - weak_mean
  unique (run_id, document_id, number)
)"""

CREATE_ATTEMPTS = """create table attempts (
  id text primary key not null,     -- <round>-<solver>-<number>
  round_id text not null references rounds(id) on delete cascade,
  solver text not null,             -- weak, strong
  number integer not null,
  answer text not null,
  score real,                       -- 0 … 1, computed from marks; null: no usable marks
  marks text not null,              -- JSON: [{criterion, weight, met, evidence, votes?}]
  truncated integer not null,
  call_id integer references calls(id),
  note text not null,
  unique (round_id, solver, number)
)"""

CREATE_EXAMPLES = """create table examples (
  id text primary key not null,     -- as its round's
  run_id text not null references runs(id),
  document_id text not null references documents(id),
  round_id text not null references rounds(id) on delete cascade,
  task text not null,
  question_type text not null,
  skills text not null,             -- JSON
  question text not null,
  context text not null,
  reference_answer text not null,
  rubric text not null,             -- JSON: [{criterion, weight, category, capability}]
  weak_mean real,
  strong_mean real,
  gap real,
  rounds_used integer not null,
  prompts_revision text not null,
  simulated integer not null,
  meta text not null,               -- JSON
  unique (run_id, document_id)
)"""

CREATE_OUTCOMES = """create view outcomes as
-- What became of each document, one row per run; a document without decision has nulls.
select
  documents.id as document_id,
  documents.name,
  last.run_id,
  last.decision,
  last.number as rounds_used,
  (select group_concat(json_extract(value, '$.code'), ', ') from json_each(last.objections))
    as objections,
  last.weak_mean,
  last.strong_mean,
  last.gap
from documents
left join rounds as last
  on last.document_id = documents.id
  and last.decision in ('accepted', 'rejected', 'skipped')
order by documents.rowid"""


@migrations()
def first_tables(database: Database) -> None:
    create_calls(database)
    tables = (CREATE_DOCUMENTS, CREATE_RUNS, CREATE_ROUNDS, CREATE_ATTEMPTS, CREATE_EXAMPLES)
    for table in (*tables, CREATE_OUTCOMES):
        database.execute(table)
    database.execute("create index rounds_by_document on rounds(document_id, decision)")
    database.execute("create index rounds_by_decision on rounds(run_id, decision)")
    database.execute("create index attempts_by_call on attempts(call_id)")
    database.execute("create index examples_by_round on examples(round_id)")


CREATE_ITERATIONS = """create table iterations (
  run_id text not null references runs(id),
  number integer not null,          -- from 1; 0: the prompts that the run started from
  decision text not null,           -- start, kept, rejected, invalid, indecisive
  reason text not null,             -- why, in a sentence
  parent integer,                   -- number of the iteration whose prompts were edited
  other_parent integer,             -- of a crossover: whose edit was merged in
  revision text not null,           -- commit in the prompt store
  prompts text not null,            -- content hash of the task's prompts
  subject text not null,            -- what the edit says, in one line
  cause text not null,              -- the analyst's diagnosis
  intent text not null,             -- the editor's: what the edit is for
  predicts text not null,           -- such as: TOO_EASY falls
  outcome text not null,            -- came true, did not, cannot be told
  parent_score real,                -- 0 … 1, pooled over parent_evaluations
  parent_evaluations integer not null,
  score real,                       -- 0 … 1, of the mutant on the documents tried
  tried integer not null,           -- validation documents that the mutant was tried on
  details text not null,            -- JSON: tallies, probabilities, minibatch, rates, checks
  finished_at text not null,
  primary key (run_id, number)
)"""

CREATE_FINALS = """create table finals (
  run_id text not null references runs(id),
  number integer not null,          -- of the iteration that made the prompts; 0: the start
  place integer not null,           -- 1: the winner; 0: the start, for comparison
  evaluations integer not null,     -- on all validation documents
  accepted integer not null,        -- in these evaluations together
  decided integer not null,
  test_accepted integer,            -- on the sealed test documents, once; null: not scored
  test_decided integer,
  primary key (run_id, number)
)"""


@migrations()
def optimizations(database: Database) -> None:
    database.execute("alter table runs add column kind text not null default 'documents'")
    database.execute(CREATE_ITERATIONS)
    database.execute(CREATE_FINALS)


@migrations()
def pass_counts(database: Database) -> None:
    """What iterations counted was called `tally` and `parent_tally` in their details."""
    database.execute(
        "update iterations set details = json_remove(json_set(details,"
        " '$.pass_count', json_extract(details, '$.tally'),"
        " '$.parent_pass_count', json_extract(details, '$.parent_tally')),"
        " '$.tally', '$.parent_tally') where json_type(details, '$.tally') is not null"
    )


@migrations()
def one_row_per_call(database: Database) -> None:
    """What failed requests and calls that nobody counted may have cost."""
    create_calls(database)


@migrations()
def paired_finals(database: Database) -> None:
    """Winner and start are compared document by document; who saw the test documents before."""
    # Test documents accepted under the winner alone, and under the start; who saw results earlier.
    for column in ("gained integer", "lost integer", "seen text not null default ''"):
        database.execute(f"alter table finals add column test_{column}")


CREATE_PRIORS = """create table priors (
  run_id text not null references runs(id),
  document_id text not null references documents(id),
  prior text not null,              -- JSON: what the run's questions looked like when it was begun
  primary key (run_id, document_id)
)"""


@migrations()
def true_scores(database: Database) -> None:
    """What attempts say of true scores, and attempts that the gate has not seen."""
    database.execute(CREATE_PRIORS)
    database.execute("alter table attempts add column fresh integer not null default 0")
    for column in (
        "certainty real",  # probability that the thresholds truly hold, 0 … 1
        *(f"{side}_{part} real" for side in ("weak", "strong", "gap") for part in ESTIMATED),
        "confirmed integer",  # whether the thresholds hold on attempts that the gate has not seen
        "confirmed_weak real",
        "confirmed_strong real",
        "confirmed_gap real",
    ):
        database.execute(f"alter table examples add column {column}")


ESTIMATED = ("estimate", "low", "high")  # a true score: posterior mean and 95 % interval


@migrations()
def certain_scores(database: Database) -> None:
    """An optimization counts accepted documents for their certainty; those begun before count each
    in full, and their plans say so from here on."""
    database.execute("alter table finals add column confirmed real")
    database.execute(
        "update runs set config = json_set(config, '$.optimize.score', 'accepted')"
        " where json_type(config, '$.optimize') = 'object'"
        " and json_type(config, '$.optimize.score') is null"
    )


CREATE_FRESH_ATTEMPTS = """create table fresh_attempts (
  run_id text not null references runs(id),  -- of the remeasurement that asked for it
  example_id text not null references examples(id) on delete cascade,
  solver text not null,             -- weak, strong
  number integer not null,          -- beyond those of the attempts that the gate saw
  answer text not null,
  score real,                       -- 0 … 1, computed from marks; null: no usable marks
  marks text not null,              -- JSON: [{criterion, weight, met, evidence, votes?}]
  truncated integer not null,
  call_id integer references calls(id),
  note text not null,
  primary key (run_id, example_id, solver, number)
)"""

CREATE_MEASUREMENTS = """create table measurements (
  run_id text not null references runs(id),  -- of the remeasurement
  example_id text not null references examples(id) on delete cascade,
  weak_attempts integer not null,   -- fresh ones that could be scored
  strong_attempts integer not null,
  weak real,                        -- 0 … 1, means over these
  strong real,
  gap real,                         -- strong - weak
  holds integer,                    -- whether the run's thresholds hold on these means
  primary key (run_id, example_id)
)"""


@migrations()
def remeasurements(database: Database) -> None:
    """What fresh attempts, asked for later, say of accepted examples."""
    database.execute(CREATE_FRESH_ATTEMPTS)
    database.execute(CREATE_MEASUREMENTS)
    database.execute("create index fresh_attempts_by_example on fresh_attempts(example_id)")
    database.execute("create index measurements_by_example on measurements(example_id)")


CREATE_REVIEWS = """create table reviews (
  run_id text not null references runs(id),
  document_id text not null references documents(id),
  number integer not null,          -- of the round that waits for a person
  fingerprint text not null,        -- of the candidate that is shown
  rounds text not null,             -- JSON: the document's rounds so far, this one last
  certainty real,                   -- probability that the thresholds truly hold, 0 … 1
  asked_at text not null,
  decision text,                    -- accept, reject, edit; null: it waits
  reason text,
  edited text,                      -- JSON: the candidate to go on with
  by text, at text,                 -- who, and when
  primary key (run_id, document_id, number, fingerprint)
)"""

CREATE_WAITING = """create view waiting as
-- What waits for a person, unless its document was decided in another way meanwhile.
select reviews.*, documents.rowid as place
from reviews join documents on documents.id = reviews.document_id
where reviews.decision is null and not exists (
  select 1 from rounds
  where rounds.run_id = reviews.run_id and rounds.document_id = reviews.document_id
    and rounds.decision in ('accepted', 'rejected', 'skipped')
)"""


@migrations()
def reviews(database: Database) -> None:
    """A person in the loop: what waits, what was said, and who said it of an example."""
    database.execute(CREATE_REVIEWS)
    database.execute(CREATE_WAITING)
    database.execute("alter table rounds add column review text")  # JSON
    for column in REVIEWED:
        database.execute(f"alter table examples add column {column} text")


REVIEWED = ("reviewed_by", "reviewed_at", "edited_by", "edited_at")


@migrations()
def reviews_of_edits(database: Database) -> None:
    """A person in the optimizer: which winning edits wait, and what was said of them."""
    database.execute(
        """create table edit_reviews (
  run_id text not null references runs(id),
  number integer not null,          -- of the iteration that made the edit
  prompts text not null,            -- content hash of the prompts that are shown
  shown text not null, asked_at text not null,   -- JSON: what a reviewer is shown; when
  decision text, reason text, by text, at text,  -- keep or reject, null: it waits; why, who, when
  primary key (run_id, number, prompts)
)"""
    )
    database.execute(
        """create view waiting_edits as -- unless decided in another way meanwhile
select * from edit_reviews where decision is null
  and (run_id, number) not in (select run_id, number from iterations)"""
    )


@migrations()
def repetitions(database: Database) -> None:
    """How many accepted examples of the run a question was compared with, for its replay."""
    database.execute(
        """create table compared (
  run_id text not null references runs(id), document_id text not null references documents(id),
  number integer not null, step text not null,  -- of the round; what was about to be asked
  examples integer not null,        -- the first so many of the run, in their order
  primary key (run_id, document_id, number, step)
)"""
    )
