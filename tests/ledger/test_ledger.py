"""What the ledger keeps, and what it refuses to keep twice."""

import sqlite3
import threading
from pathlib import Path

import pytest
from sqlite_utils import Database

from autodata.ledger.calls import CallLog
from autodata.ledger.database import LedgerError
from autodata.ledger.ledger import FILE, Ledger
from autodata.ledger.rows import RunRow
from autodata.tasks.types import (
    Attempt,
    Candidate,
    Criterion,
    Document,
    Judgement,
    Mark,
    Objection,
    Round,
    Verdict,
)

RUN = RunRow(
    id="first",
    task="cs",
    prompts_revision="seed-0123456789ab",
    config={"acceptance": {"preset": "paper"}},
    models={"challenger": "simulated/simulated"},
    seed=7,
    simulated=True,
)
DOCUMENT = Document.of("wal.md", "A log is written before the page.", source="docs/wal.md", part=1)


def attempt(solver: str, number: int, score: float | None) -> Attempt:
    mark = Mark(criterion="names the fsync", weight=5, met=bool(score), evidence="“fsync”")
    return Attempt(
        solver=solver,
        number=number,
        answer=f"{solver} {number}",
        score=score,
        marks=(mark,),
        truncated=score is None,
        note="",
    )


def candidate(question: str = "What survives?") -> Candidate:
    return Candidate(
        context="A database on one disk.",
        question=question,
        reference_answer="What was synced.",
        rubric=(Criterion(criterion="names the fsync", weight=5, category="mechanism"),),
        question_type="prediction",
        skills=("durability",),
    )


def revised(number: int = 1) -> Round:
    verdict = Verdict(passed=True, fingerprint=candidate().fingerprint)
    return Round(
        number=number,
        candidate=candidate(),
        verdict=verdict,
        weak=(attempt("weak", 1, 0.8), attempt("weak", 2, None), attempt("weak", 3, 0.7)),
        objections=(Objection(code="TOO_EASY", message="weak mean 0.75"),),
        decision="revise",
    )


def accepted(number: int = 2) -> Round:
    return Round(
        number=number,
        instruction="Ask about a torn page.",
        candidate=candidate("What is torn?"),
        verdict=Verdict(passed=True, fingerprint=candidate("What is torn?").fingerprint),
        weak=(attempt("weak", 1, 0.2), attempt("weak", 2, 0.4)),
        strong=(attempt("strong", 1, 0.8), attempt("strong", 2, 1.0)),
        judgement=Judgement(
            weak_pattern="stops early",
            strong_pattern="follows the log",
            gap_interpretation="mechanism",
            grpo_suitability="high",
            verdict="accept",
            verdict_reason="spread",
        ),
        final_verdict=Verdict(passed=True, fingerprint=candidate("What is torn?").fingerprint),
        decision="accepted",
    )


@pytest.fixture
def ledger(tmp_path: Path):
    with Ledger.open(tmp_path) as ledger:
        ledger.add_documents([DOCUMENT])
        ledger.start_run(RUN)
        yield ledger


def test_a_document_reads_back_as_it_was_written(ledger: Ledger) -> None:
    assert ledger.document(DOCUMENT.id) == DOCUMENT


def test_a_run_and_its_rounds_survive_closing_the_folder(tmp_path: Path) -> None:
    rounds = (revised(), accepted())
    with Ledger.open(tmp_path) as ledger:
        ledger.add_documents([DOCUMENT])
        ledger.start_run(RUN)
        ledger.record("first", DOCUMENT.id, rounds)
    with Ledger.open(tmp_path, create=False) as ledger:
        assert ledger.run() == RUN
        assert ledger.rounds("first", DOCUMENT.id) == rounds
        assert ledger.outcomes("first") == {DOCUMENT.id: "accepted"}


def test_recording_a_document_again_does_not_double_its_example(ledger: Ledger) -> None:
    for _ in range(2):
        ledger.record("first", DOCUMENT.id, (revised(), accepted()))
    assert len(list(ledger.examples("first"))) == 1
    assert len(ledger.query("select id from rounds")) == 2
    assert len(ledger.query("select id from attempts")) == 7


@pytest.mark.parametrize("decision", ["accepted", "rejected"])
def test_another_ending_of_a_document_leaves_its_accepted_example(
    ledger: Ledger, decision: str
) -> None:
    """It is filed beside it, once, under a run of its own."""
    other = accepted().model_copy(update={"instruction": "By hand.", "decision": decision})
    first = ledger.record("first", DOCUMENT.id, (revised(), accepted()))
    [kept] = ledger.examples("first")
    beside = {ledger.record("first", DOCUMENT.id, (revised(), other)) for _ in range(2)}
    assert first == "first"
    assert [run.id for run in ledger.runs()] == ["first", *beside]
    assert list(ledger.examples("first")) == [kept]
    [run_id] = beside
    assert ledger.rounds(run_id, DOCUMENT.id) == (revised(), other)
    assert ledger.outcomes(run_id) == {DOCUMENT.id: decision}


def test_an_example_carries_what_calibrated_it(ledger: Ledger) -> None:
    ledger.record("first", DOCUMENT.id, (revised(), accepted()), meta={"tokens": 9})
    [example] = ledger.examples("first")
    assert example.candidate == accepted().candidate
    assert (example.weak, example.strong) == (accepted().weak, accepted().strong)
    assert example.weak_mean == pytest.approx(0.3)
    assert example.gap == pytest.approx(0.6)
    assert (example.rounds_used, example.document_name, example.simulated) == (2, "wal.md", True)
    assert example.meta == {"tokens": 9}


def test_means_leave_out_attempts_that_nobody_could_score(ledger: Ledger) -> None:
    ledger.record("first", DOCUMENT.id, (revised(), accepted()))
    [first, _] = ledger.query("select weak_mean, strong_mean, gap from rounds order by number")
    assert first == {"weak_mean": 0.75, "strong_mean": None, "gap": None}


def test_an_undecided_document_is_not_recorded(ledger: Ledger) -> None:
    with pytest.raises(ValueError, match="not decided"):
        ledger.record("first", DOCUMENT.id, (revised(),))
    assert ledger.outcomes("first") == {}


def test_a_failing_record_leaves_what_stood_there(ledger: Ledger) -> None:
    ledger.record("first", DOCUMENT.id, (revised(), accepted()))
    unknown_call = accepted().weak[0].model_copy(update={"call_id": 99})
    broken = accepted().model_copy(update={"weak": (unknown_call,)})
    with pytest.raises(sqlite3.IntegrityError):
        ledger.record("first", DOCUMENT.id, (broken,))
    assert ledger.rounds("first", DOCUMENT.id) == (revised(), accepted())
    assert len(list(ledger.examples("first"))) == 1


def test_lone_surrogates_are_stored_and_come_back(ledger: Ledger) -> None:
    odd = "half a pair \ud800 and an umlaut ü"
    document = Document.of(odd, odd, note=odd)
    spoken = accepted().model_copy(
        update={
            "candidate": candidate(odd),
            "weak": (accepted().weak[0].model_copy(update={"answer": odd}),),
            "instruction": odd,
            "objections": (Objection(code="LEAK", message=odd),),
        }
    )
    ledger.add_documents([document])
    ledger.record("first", document.id, (spoken,))
    assert ledger.document(document.id) == document
    assert ledger.rounds("first", document.id) == (spoken,)
    [example] = ledger.examples("first")
    assert example.candidate.question == odd


def test_ids_are_readable_and_tell_runs_of_one_folder_apart(ledger: Ledger) -> None:
    ledger.start_run(RUN.model_copy(update={"id": "second"}))
    for run in ("first", "second"):
        ledger.record(run, DOCUMENT.id, (accepted(1),))
    assert [row["id"] for row in ledger.query("select id from rounds order by rowid")] == [
        f"{DOCUMENT.id}-r1",
        f"second-{DOCUMENT.id}-r1",
    ]
    assert ledger.run().id == "second"
    assert len(list(ledger.examples("first"))) == 1


def test_the_outcomes_view_says_what_became_of_each_document(ledger: Ledger) -> None:
    waiting = Document.of("waiting.md", "not yet read")
    docket = Document.of("docket.txt", "Affirmed.")
    ledger.add_documents([docket, waiting])
    ledger.record("first", DOCUMENT.id, (revised(), accepted()))
    unsuitable = Objection(code="UNSUITABLE", message="a bare disposition")
    ledger.record(
        "first", docket.id, (Round(number=0, objections=(unsuitable,), decision="skipped"),)
    )
    assert ledger.query("select name, decision, rounds_used, objections from outcomes") == [
        {"name": "wal.md", "decision": "accepted", "rounds_used": 2, "objections": None},
        {"name": "docket.txt", "decision": "skipped", "rounds_used": 0, "objections": "UNSUITABLE"},
        {"name": "waiting.md", "decision": None, "rounds_used": None, "objections": None},
    ]


def test_the_same_text_is_stored_once(ledger: Ledger) -> None:
    ledger.add_documents([DOCUMENT.model_copy(update={"name": "copy.md"})])
    assert ledger.document_ids() == [DOCUMENT.id]
    assert ledger.document(DOCUMENT.id).name == "wal.md"


def test_status_changes_stamp_the_end(ledger: Ledger) -> None:
    ledger.set_status("paused")
    assert ledger.run().finished_at is not None
    ledger.set_status("running")
    assert (ledger.run().status, ledger.run().finished_at) == ("running", None)


def test_many_threads_may_record_at_once(ledger: Ledger) -> None:
    documents = [Document.of(f"{n}.md", f"text {n}") for n in range(40)]
    ledger.add_documents(documents)

    def record(some: list[Document]) -> None:
        for document in some:
            ledger.record("first", document.id, (revised(), accepted()))

    threads = [threading.Thread(target=record, args=(documents[n::4],)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(ledger.outcomes("first")) == {document.id for document in documents}
    assert len(list(ledger.examples("first"))) == 40


def test_two_openings_at_once_migrate_once(tmp_path: Path) -> None:
    barrier = threading.Barrier(4)
    failed: list[LedgerError] = []

    def open_folder() -> None:
        barrier.wait()
        try:
            Ledger.open(tmp_path).close()
        except LedgerError as error:
            failed.append(error)

    threads = [threading.Thread(target=open_folder) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


def test_a_call_log_may_come_first(tmp_path: Path) -> None:
    CallLog(tmp_path / FILE).close()
    with Ledger.open(tmp_path) as ledger:
        assert ledger.document_ids() == []


def test_looking_at_a_folder_without_a_run_creates_nothing(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="holds no run"):
        Ledger.open(tmp_path / "nowhere", create=False)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("notes, and no database at all " * 50)
    with pytest.raises(LedgerError, match=r"run\.db.*not a database"):
        Ledger.open(tmp_path)


def test_somebody_elses_database_is_left_alone(tmp_path: Path) -> None:
    other = Database(tmp_path / FILE)
    other["recipes"].insert({"name": "soup"})
    other.close()
    with pytest.raises(LedgerError, match="not one of autodata's"):
        Ledger.open(tmp_path)
    other = Database(tmp_path / FILE)
    assert other.table_names() == ["recipes"]
    other.close()


def test_a_database_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    Ledger.open(tmp_path).close()
    newer = Database(tmp_path / FILE)
    newer["_sqlite_migrations"].insert(
        {"migration_set": "autodata", "name": "time_travel", "applied_at": "2031-01-01"}
    )
    newer.close()
    with pytest.raises(LedgerError, match=r"newer autodata.*time_travel"):
        Ledger.open(tmp_path)


def test_an_unknown_document_or_run_is_named(ledger: Ledger) -> None:
    with pytest.raises(LedgerError, match="no document feedbeef"):
        ledger.document("feedbeef")
    with pytest.raises(LedgerError, match="no run third"):
        ledger.record("third", DOCUMENT.id, (accepted(1),))
    with pytest.raises(LedgerError, match="already holds a run first"):
        ledger.start_run(RUN)
