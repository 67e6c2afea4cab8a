"""The tables of `run.db`, in the order in which they came to be.

A migration that was released is never edited: a change is a new migration below it. The comments
stay in the database's schema, where Datasette and `.schema` show them.
"""

from contextlib import closing

from sqlite_utils import Database, Migrations

from autodata.ledger.calls import create_calls

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
  marks text not null,              -- JSON: [{criterion, weight, met, evidence}]
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
    for table in (
        CREATE_DOCUMENTS,
        CREATE_RUNS,
        CREATE_ROUNDS,
        CREATE_ATTEMPTS,
        CREATE_EXAMPLES,
        CREATE_OUTCOMES,
    ):
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
    for column in (
        "test_gained integer",  # test documents accepted under the winner alone
        "test_lost integer",  # under the start alone
        "test_seen text not null default ''",  # who looked at results on them earlier
    ):
        database.execute(f"alter table finals add column {column}")
