"""What happened: runs, their documents, every round, and the examples that were accepted."""

import json
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sqlite_utils import Database

from autodata.ledger.database import LedgerError, open_database, transaction
from autodata.ledger.rows import (
    Example,
    Row,
    RunRow,
    RunStatus,
    attempt_rows,
    confirmed_row,
    document_row,
    example_row,
    known_row,
    now,
    read_audited,
    read_document,
    read_example,
    read_round,
    read_run,
    reviewed_row,
    round_row,
    run_row,
    to_json,
)
from autodata.tasks.judge_noise import (
    Agreement,
    AuditedExample,
    JudgeAudit,
    MarkPairs,
    agreement,
    audit_of,
    pooled,
    repeated_pairs,
)
from autodata.tasks.measurement import Posterior, Prior, Sides
from autodata.tasks.types import Criterion, Decision, Document, Round, digest

FILE = "run.db"

SUFFIX = "remeasured"  # the id of a run's own remeasurement is that of the run, and this
# What a second judge found of the attempts that decided about the examples of a run.
_AUDITED = """
select m.run_id as audit, audits.models, e.document_id, e.id as example_id, m.holds,
  seen.marks, seen.score, again.marks as marks_again, again.score as score_again
from examples as e
join measurements as m on m.example_id = e.id
join runs as audits on audits.id = m.run_id and audits.kind = 'audit'
left join fresh_attempts as again on again.run_id = m.run_id and again.example_id = e.id
left join attempts as seen on seen.round_id = e.round_id and seen.solver = again.solver
  and seen.number = again.number
where e.run_id = ?1 and (?2 is null or e.id = ?2) order by audits.rowid, e.rowid
"""
_JUDGED_AGAIN = """
select document_id, marks from attempts join rounds on rounds.id = round_id
where run_id = ? and json_array_length(marks, '$[0].votes') > 1 order by attempts.rowid
"""
# What a remeasurement shows of an example `e`.
OWN_MEASUREMENT = f"""measurements as own on own.example_id = e.id
  and own.run_id = e.run_id || '-{SUFFIX}' and own.holds is not null"""

EXAMPLE = f"""
select e.id, e.run_id, e.round_id, e.document_id, documents.name as document_name, e.task,
  rounds.candidate, e.weak_mean, e.strong_mean, e.gap, e.rounds_used, e.prompts_revision,
  e.simulated, e.certainty, e.weak_estimate, e.weak_low, e.weak_high, e.strong_estimate,
  e.strong_low, e.strong_high, e.gap_estimate, e.gap_low, e.gap_high, e.confirmed,
  e.confirmed_weak, e.confirmed_strong, e.confirmed_gap,
  e.confirmed is not null and own.holds is null as confirmed_by_gate,
  e.reviewed_by, e.reviewed_at, e.edited_by, e.edited_at, e.meta
from examples as e
join documents on documents.id = e.document_id
join rounds on rounds.id = e.round_id
left join {OWN_MEASUREMENT}
where e.id = ?
"""
_OF_ITS_OWN = "kind in ('documents', 'optimization')"  # a run that people began as one


class Ledger:
    """A run folder's database, usable from several threads. Close it, or use it with `with`."""

    def __init__(self, database: Database, path: Path) -> None:
        self._db = database
        self._lock = threading.RLock()
        self.path = path

    @classmethod
    def open(cls, folder: Path, *, create: bool = True) -> Self:
        """The ledger of a run folder, migrated to this version.

        Raises LedgerError when there is no run and `create` is false, when `run.db` is no database
        of ours, or when a newer version wrote it.
        """
        path = folder / FILE
        return cls(open_database(path, create=create), path)

    def close(self) -> None:
        """Close the connection; a closed ledger stays closed."""
        with self._lock:
            self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def only_read(self) -> Self:
        """The same ledger, which nothing can be written through any more."""
        with self._lock:
            self._db.execute("pragma query_only = on")
        return self

    def query(self, sql: str, params: Sequence[Any] | dict[str, Any] = ()) -> list[Row]:
        """The rows that a `select` yields, for reports; what is asked often has its own method."""
        with self._lock:
            return list(self._db.query(sql, params))

    @contextmanager
    def writing(self) -> Iterator[Database]:
        """The database inside one transaction, for tables that have a module of their own; `record`
        inside it is a part of it."""
        with self._lock, self._transaction():
            yield self._db

    def _transaction(self) -> AbstractContextManager[None]:
        """A transaction, or nothing inside of one. The caller holds the lock."""
        return nullcontext() if self._db.conn.in_transaction else transaction(self._db)

    # Documents

    def add_documents(self, documents: Iterable[Document]) -> None:
        """Store the documents whose text is not stored yet.

        Reads the iterable a hundred at a time, so it may be a generator over many files.
        """
        documents = iter(documents)
        while batch := list(islice(documents, 100)):
            with self._lock, transaction(self._db):
                self._db.table("documents").insert_all(map(document_row, batch), ignore=True)

    def document(self, id: str) -> Document:
        """The document with this id. Raises LedgerError when there is none."""
        for row in self.query("select * from documents where id = ?", [id]):
            return read_document(row)
        raise LedgerError(f"{self.path} holds no document {id}")

    def document_ids(self) -> list[str]:
        """All document ids in the order in which they were added; reads no text."""
        return [row["id"] for row in self.query("select id from documents order by rowid")]

    # Runs

    def start_run(self, run: RunRow) -> None:
        """Store a new run. Raises LedgerError when its id is taken."""
        with self._lock, transaction(self._db):
            if self.query("select id from runs where id = ?", [run.id]):
                raise LedgerError(f"{self.path} already holds a run {run.id}")
            self._db.table("runs").insert(run_row(run))

    def run_like(self, run: RunRow) -> str:
        """The id of this run, stored now unless it is known; two threads may ask at once."""
        with self._lock, transaction(self._db):
            self._db.table("runs").insert(run_row(run), ignore=True)
        return run.id

    def runs(self) -> list[RunRow]:
        """All runs of the folder but the evaluations of an optimization and the remeasurements of
        other runs, oldest first."""
        rows = self.query(f"select * from runs where {_OF_ITS_OWN} order by rowid")
        return [read_run(row) for row in rows]

    def runs_with_examples(self) -> list[RunRow]:
        """Those of `runs` that have accepted examples, oldest first."""
        found = {row["run_id"] for row in self.query("select distinct run_id from examples")}
        return [run for run in self.runs() if run.id in found]

    def run(self, run_id: str | None = None) -> RunRow:
        """The run with this id, or the latest of `runs`. Raises LedgerError when there is none."""
        for row in self.query(
            f"select * from runs where id = ?1 or (?1 is null and {_OF_ITS_OWN})"
            " order by rowid desc limit 1",
            [run_id],
        ):
            return read_run(row)
        held = "".join(f"\n  {run.id}" for run in self.runs())
        raise LedgerError(
            f"{self.path} holds no run{f' {run_id}' if run_id else ''}"
            + (f"; it holds{held}" if held else "")
        )

    def set_status(self, status: RunStatus, run_id: str | None = None) -> None:
        """Say how a run (by default the latest) stands; leaving `running` stamps its end."""
        finished_at = None if status == "running" else now()
        with self._lock, transaction(self._db):
            run = self.run(run_id)
            self._db.table("runs").update(run.id, {"status": status, "finished_at": finished_at})

    # Rounds

    def record(
        self,
        run_id: str,
        document_id: str,
        rounds: Sequence[Round],
        meta: Mapping[str, Any] | None = None,
        known: Posterior | None = None,
    ) -> str:
        """Store a decided document: its rounds, their attempts and, when accepted, its example.

        One transaction. Recording a document again replaces what stands there, but never an
        accepted example, which stays with all that was measured since: when the document then ended
        otherwise (somebody edited and went on from an earlier state), that is filed under a run of
        its own, `<run>-<digest>`. `meta` is kept
        with the example, and what is `known` of its true scores. Returns the id of the run that it
        is filed under. Raises ValueError when the last round decides nothing, LedgerError at an
        unknown run.
        """
        last = rounds[-1] if rounds else None
        if last is None or last.decision in (None, "revise"):
            raise ValueError(f"document {document_id} is not decided yet")
        with self.writing():
            run = self.run(run_id)
            accepted = self.outcomes(run_id, document_id).get(document_id) == "accepted"
            if accepted and self.rounds(run_id, document_id) == tuple(rounds):
                return run.id
            if accepted:
                run = self._branch(run, rounds)
            prefix = self._prefix(run.id) + document_id
            rows = [round_row(f"{prefix}-r{r.number}", run.id, document_id, r) for r in rounds]
            attempts = [
                attempt
                for round, row in zip(rounds, rows, strict=True)
                for attempt in attempt_rows(row["id"], round.attempts)
            ]
            self._db.table("rounds").delete_where(
                "run_id = ? and document_id = ?", [run.id, document_id]
            )
            self._db.table("rounds").insert_all(rows)
            self._db.table("attempts").insert_all(attempts)
            if last.decision == "accepted" and last.candidate:
                example = example_row(run, rows[-1], last.candidate, meta or {})
                measured = known_row(known) | confirmed_row(last.fresh)
                self._db.table("examples").insert(example | measured | reviewed_row(rounds))
        return run.id

    def _branch(self, run: RunRow, rounds: Sequence[Round]) -> RunRow:
        """The run for an ending beside one that was accepted; the same ending has the same run."""
        name = digest([round.model_dump(mode="json") for round in rounds])[:8]
        branch = run.model_copy(update={"id": f"{run.id}-{name}", "started_at": now()})
        self._db.table("runs").insert(run_row(branch), ignore=True)
        return branch

    def _prefix(self, run_id: str) -> str:
        """A folder mostly holds one run; the ids of rounds of later ones begin with their run."""
        first = self.query("select id from runs order by rowid limit 1")[0]["id"]
        return "" if run_id == first else f"{run_id}-"

    def audits(self, run_id: str, sources: Mapping[str, str]) -> list[JudgeAudit]:
        """What second judges say of a run's examples, oldest first; `sources` of documents."""
        return [
            audit_of(*who, [one._replace(source=sources[one.source]) for one in found])
            for who, found in self.audited(run_id).items()
        ]

    def judge_agreement(self, run_id: str, sources: Mapping[str, str]) -> Agreement | None:
        """How far the judge's judgements of one answer agree, by documents of these `sources`; None
        where it was asked once."""
        by_source: dict[str, list[MarkPairs]] = {}
        for row in self.query(_JUDGED_AGAIN, [run_id]):
            pairs = (repeated_pairs(mark["votes"]) for mark in json.loads(row["marks"]))
            by_source.setdefault(sources[row["document_id"]], []).extend(pairs)
        return agreement(list(map(pooled, by_source.values()))) if by_source else None

    def audited(
        self, run_id: str, example_id: str | None = None
    ) -> dict[tuple[str, str, str], list[AuditedExample]]:
        """The examples of a run, or one, that second judges marked, by audit, judge and second.

        Their source is the id of their document.
        """
        rows: dict[tuple[str, str], list[Row]] = {}
        for row in self.query(_AUDITED, [run_id, example_id]):
            rows.setdefault((row["audit"], row["example_id"]), []).append(row)
        found: dict[tuple[str, str, str], list[AuditedExample]] = {}
        for (audit, _), made in rows.items():
            models = json.loads(made[0]["models"])
            who = (audit, models["judge"], models["second_judge"])
            found.setdefault(who, []).append(read_audited(made))
        return found

    def accepted_rubrics(self, run_id: str) -> Iterator[list[Criterion]]:
        """The rubrics of a run's examples."""
        for row in self.query("select rubric from examples where run_id = ?", [run_id]):
            yield [Criterion.model_validate(each) for each in json.loads(row["rubric"])]

    def outcomes(self, run_id: str, document_id: str | None = None) -> dict[str, Decision]:
        """What was decided about each finished document of a run, or about one, in one query."""
        rows = self.query(
            "select document_id, decision from rounds where run_id = ?1"
            " and decision in ('accepted', 'rejected', 'skipped')"
            " and (?2 is null or document_id = ?2)",
            [run_id, document_id],
        )
        return {row["document_id"]: row["decision"] for row in rows}

    def unfinished(self, run_id: str) -> int:
        """How many documents a run has begun and neither decided nor put before a person."""
        [row] = self.query(
            "select count(*) as n from documents where id in (select scope from calls"
            " where started_at >= (select started_at from runs where id = ?1))"
            " and id not in (select document_id from rounds where run_id = ?1"
            " and decision in ('accepted', 'rejected', 'skipped'))"
            " and id not in (select document_id from waiting where run_id = ?1)",
            [run_id],
        )
        return int(row["n"])

    def rounds(self, run_id: str, document_id: str) -> tuple[Round, ...]:
        """The rounds of one document, first to last, equal to those recorded."""
        rows = self.query(
            "select * from rounds where run_id = ? and document_id = ? order by number",
            [run_id, document_id],
        )
        return tuple(read_round(row, self._attempts(row["id"])) for row in rows)

    def answers(self, round: Round) -> dict[int, str]:
        """What the solvers' recorded calls that the round's attempts name answered, by call id."""
        named = {str(a.call_id): f"{a.solver}_solver" for a in round.attempts}
        rows = self.query(
            "select calls.id, response from json_each(?) as named"
            " join calls on calls.id = named.key and role = named.value and status != 'failed'",
            [to_json(named)],
        )
        return {row["id"]: row["response"] or "" for row in rows}

    def replies(self, document_id: str, role: str) -> list[tuple[int, int, str]]:
        """The replies of a role about a document that could be read: call, sample, words."""
        rows = self.query(
            "select id, sample, response from calls where scope = ? and role = ? and status = 'ok'"
            " order by id",
            [document_id, role],
        )
        return [(row["id"], row["sample"], row["response"] or "") for row in rows]

    def unreadable(self, document_id: str) -> list[tuple[str, str, str]]:
        """The replies about a document that were no use: role, what was wrong, the words; in order.

        Answers of solvers are words, and none of these.
        """
        rows = self.query(
            "select role, error, response from calls where scope = ?"
            " and status in ('malformed', 'truncated') and role not like '%_solver' order by id",
            [document_id],
        )
        return [(row["role"], row["error"] or "", row["response"] or "") for row in rows]

    def count_scored(self, run_id: str) -> int:
        """How many rounds of a run were attempted."""
        [row] = self.query(
            "select count(*) as n from rounds where run_id = ? and weak_mean is not null", [run_id]
        )
        return int(row["n"])

    def scored(
        self, run_id: str, most: int = -1, document_ids: Sequence[str] | None = None
    ) -> list[Sides]:
        """The scores of the attempts that the gate saw, weak and strong, by round: the latest, or
        all where `most` is negative; of all documents or of these."""
        rows = self.query(
            "select weak, strong from (select rounds.rowid as place,"
            " json_group_array(score) filter (where solver = 'weak') as weak,"
            " json_group_array(score) filter (where solver = 'strong') as strong"
            " from rounds join attempts on round_id = rounds.id"
            " where run_id = ?1 and score is not null and not fresh"
            " and (?3 is null or document_id in (select value from json_each(?3)))"
            " group by rounds.id order by place desc limit ?2) order by place",
            [run_id, most, None if document_ids is None else to_json(list(document_ids))],
        )
        return [(json.loads(row["weak"]), json.loads(row["strong"])) for row in rows]

    def scored_examples(self, run_id: str) -> dict[str, Sides]:
        """The scores of all attempts by which a run's examples were accepted, weak and strong, by
        example; of those whose true scores were estimated."""
        rows = self.query(
            "select e.id, json_group_array(score) filter (where solver = 'weak') as weak,"
            " json_group_array(score) filter (where solver = 'strong') as strong"
            " from examples as e join attempts on attempts.round_id = e.round_id"
            " where e.run_id = ? and certainty is not null and score is not null group by e.id",
            [run_id],
        )
        return {row["id"]: (json.loads(row["weak"]), json.loads(row["strong"])) for row in rows}

    def estimate(self, known: Mapping[str, Posterior]) -> None:
        """Note what is known now of the true scores of these examples."""
        with self._lock, transaction(self._db):
            for id, found in known.items():
                self._db.table("examples").update(id, known_row(found))

    def prior_of(self, run_id: str, document_id: str, found: Prior) -> Prior:
        """The prior under which a document was begun: this one, unless it was begun before."""
        with self._lock, transaction(self._db):
            row = {"run_id": run_id, "document_id": document_id, "prior": found.model_dump_json()}
            self._db.table("priors").insert(row, ignore=True)
        return self.priors(run_id, document_id)[document_id]

    def priors(self, run_id: str, document_id: str | None = None) -> dict[str, Prior]:
        """The priors under which the documents of a run, or one of them, were begun."""
        rows = self.query(
            "select document_id, prior from priors where run_id = ?1"
            " and (?2 is null or document_id = ?2)",
            [run_id, document_id],
        )
        return {row["document_id"]: Prior.model_validate_json(row["prior"]) for row in rows}

    def examples(self, run_id: str) -> Iterator[Example]:
        """The accepted examples of a run in the order of its documents, read one at a time."""
        ids = self.query(
            "select examples.id from examples join documents on documents.id = document_id"
            " where run_id = ? order by documents.rowid",
            [run_id],
        )
        for row in ids:
            yield self._example(row["id"])

    def example(self, run_id: str, document_id: str) -> Example | None:
        """The accepted example of one document of a run."""
        for row in self.query(
            "select id from examples where run_id = ? and document_id = ?", [run_id, document_id]
        ):
            return self._example(row["id"])
        return None

    def _example(self, id: str) -> Example:
        [row] = self.query(EXAMPLE, [id])
        audits = [found[0] for found in self.audited(row["run_id"], id).values()]
        row["disagreement"] = audits[-1].disagreement if audits else None
        return read_example(row, self._attempts(row["round_id"]))

    def _attempts(self, round_id: str) -> list[Row]:
        return self.query("select * from attempts where round_id = ? order by number", [round_id])
