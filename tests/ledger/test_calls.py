"""The call log: on disk before anyone uses the answer, and answering when asked again."""

import asyncio
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from autodata.ledger.calls import CALLS, Call, CallLog, CallLogError, Spent
from autodata.ledger.ledger import Ledger

CALL = Call(
    scope="d1",
    role="judge",
    endpoint="local",
    model="m",
    request_key="k1",
    sample=1,
    status="ok",
    request=({"role": "user", "content": "Why?"},),
    response="because",
    input_tokens=10,
    cached_tokens=4,
    output_tokens=2,
    usd=0.25,
    started_at="2026-01-01T00:00:00.000+00:00",
    seconds=0.5,
)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[CallLog]:
    log = CallLog(tmp_path / "run.db")
    yield log
    log.close()


def stored(log: CallLog, query: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(log.path)) as database:
        return database.execute(query).fetchall()


async def test_a_call_is_on_disk_when_record_returns(log: CallLog) -> None:
    id_ = await log.record(CALL)
    assert stored(log, "select id, response, usd from calls") == [(id_, "because", 0.25)]


def test_a_killed_process_loses_nothing_that_was_recorded(tmp_path: Path) -> None:
    writes_for_ever = """
import asyncio, sys
from dataclasses import replace
from pathlib import Path
from autodata.ledger.calls import CallLog
from tests.ledger.test_calls import CALL
async def main():
    log = CallLog(Path(sys.argv[1]))
    for number in range(1_000_000):
        await log.record(replace(CALL, request_key=str(number)))
        print(number, flush=True)
asyncio.run(main())
"""
    path = tmp_path / "run.db"
    with subprocess.Popen(
        [sys.executable, "-c", writes_for_ever, str(path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        used = 0
        while used < 20:
            used = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        used += sum(1 for line in process.stdout if line.endswith("\n"))
    log = CallLog(path)
    log.load("d1")
    assert all(log.recorded("d1", str(number)) for number in range(used + 1))
    log.close()


async def test_a_scope_answers_only_what_was_answered_in_it(log: CallLog) -> None:
    id_ = await log.record(CALL)
    await log.record(replace(CALL, request_key="k2", status="failed"))
    await log.record(replace(CALL, request_key="k3", status="malformed"))
    assert log.recorded("d1", "k1") is None  # not loaded yet
    log.load("d1")
    assert log.recorded("d1", "k1") == replace(CALL, id=id_, request=())
    assert log.recorded("d1", "k2") is None
    assert log.recorded("d1", "k3") is not None
    assert log.recorded("d2", "k1") is None


async def test_a_call_just_made_answers_too_until_its_scope_is_forgotten(log: CallLog) -> None:
    log.load("d1")
    await log.record(CALL)
    assert log.recorded("d1", "k1") is not None
    log.forget("d1")
    assert log.recorded("d1", "k1") is None
    log.load("d1")
    assert log.recorded("d1", "k1") is not None


async def test_the_first_answer_stays_the_answer(log: CallLog) -> None:
    log.load("d1")
    await log.record(CALL)
    await log.record(replace(CALL, response="second"))
    for _ in range(2):
        recorded = log.recorded("d1", "k1")
        assert recorded is not None
        assert recorded.response == "because"
        log.forget("d1")
        log.load("d1")


async def test_loading_a_scope_again_loses_nothing(log: CallLog) -> None:
    long = replace(CALL, request=({"role": "user", "content": "All models are wrong. " * 99},))
    log.load("d1")
    await log.record(long)
    log.load("d1")
    second = await log.record(replace(long, request_key="k2"))
    assert "as_call" in str(stored(log, f"select request from calls where id = {second}"))
    assert log.recorded("d1", "k1") is not None


async def test_a_failure_just_met_is_no_answer(log: CallLog) -> None:
    log.load("d1")
    await log.record(replace(CALL, status="failed"))
    assert log.recorded("d1", "k1") is None


async def test_a_hundred_calls_at_once_all_get_their_own_row(log: CallLog) -> None:
    calls = [replace(CALL, request_key=str(number)) for number in range(100)]
    ids = await asyncio.gather(*(log.record(call) for call in calls))
    kept = stored(log, "select id, request_key from calls order by id")
    assert sorted(kept, key=lambda row: int(str(row[1]))) == list(
        zip(ids, map(str, range(100)), strict=True)
    )


async def test_a_document_is_stored_once_however_often_it_is_sent(log: CallLog) -> None:
    document = "All models are wrong. " * 500
    log.load("d1")
    requests = [
        ({"role": "system", "content": "Judge."}, {"role": "user", "content": document + end})
        for end in ("first", "second", "third and last")
    ]
    ids = [
        await log.record(replace(CALL, request_key=str(number), request=request))
        for number, request in enumerate(requests)
    ]
    assert [log.request(id_) for id_ in ids] == [list(request) for request in requests]
    size = stored(log, "select sum(length(request)) from calls")[0][0]
    assert isinstance(size, int)
    assert size < len(document) + 1000
    assert "third and last" in str(stored(log, "select request from calls")[2])


async def test_lone_surrogates_are_replaced_not_fatal(log: CallLog) -> None:
    odd = "a \ud800 b"
    request = ({"role": "user", "content": odd},)
    id_ = await log.record(replace(CALL, response=odd, error=odd, request=request))
    assert stored(log, "select response, error from calls") == [("a ? b", "a ? b")]
    assert log.request(id_)[0]["content"] == "a ? b"
    assert await log.record(CALL) == id_ + 1


async def test_a_call_keeps_one_row_however_often_it_fails_before_its_answer(
    tmp_path: Path,
) -> None:
    """Whatever process met the failures; and nothing that they may have cost is forgotten."""
    failed = replace(CALL, status="failed", response="", input_tokens=None, output_tokens=None)
    lost = replace(failed, usd=None, failures=1, lost_tokens=30, lost_usd=0.5)
    long = ({"role": "user", "content": "All models are wrong. " * 99},)
    ids = set()
    for call in (lost, replace(lost, lost_tokens=0, lost_usd=0.0), lost, CALL):
        log = CallLog(tmp_path / "run.db")
        log.load("d1")
        ids.add(await log.record(replace(call, request=long)))
        log.close()
    log = CallLog(tmp_path / "run.db")
    columns = "status, response, input_tokens, usd, failures, lost_tokens, lost_usd, error"
    assert stored(log, f"select {columns} from calls") == [
        ("ok", "because", 10, 0.25, 3, 60, 1.0, "")
    ]
    assert log.request(ids.pop()) == list(long)
    assert not ids
    assert log.spent() == Spent(usd=1.25, calls=1, tokens=72)
    log.close()


async def test_another_answer_to_the_same_request_has_its_own_row(log: CallLog) -> None:
    await log.record(CALL)
    await log.record(replace(CALL, status="failed", failures=1))
    await log.record(replace(CALL, response="second"))
    assert stored(log, "select response, failures from calls") == [("because", 0), ("second", 1)]


async def test_a_log_of_an_earlier_version_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "run.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute(CALLS.replace(CALLS[CALLS.index(",\n  estimated") :], "\n)"))
        database.execute(
            "insert into calls (scope, role, endpoint, model, request_key, sample, status, request,"
            " input_tokens, output_tokens, usd, started_at, seconds) values ('d1', 'judge',"
            " 'local', 'm', 'k1', 1, 'failed', '[]', 10, 2, 0.5, '', 0)"
        )
        database.commit()
    log = CallLog(path)
    before = log.spent()
    await log.record(CALL)
    assert stored(log, "select status, failures, lost_tokens from calls") == [("ok", 1, 12)]
    assert before == Spent(usd=0.5, calls=0, tokens=12)
    assert log.spent() == Spent(usd=0.75, calls=1, tokens=24)
    log.close()


async def test_what_was_used_is_summed_over_processes(tmp_path: Path) -> None:
    for key in ("k1", "k2"):
        log = CallLog(tmp_path / "run.db")
        await log.record(replace(CALL, request_key=key))
        await log.record(replace(CALL, request_key=key, status="failed", usd=None))
        log.close()
    log = CallLog(tmp_path / "run.db")
    assert log.spent() == Spent(usd=0.5, calls=2, tokens=48)
    log.close()


async def test_a_log_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    log = CallLog(tmp_path / "run.db")
    with closing(sqlite3.connect(tmp_path / "run.db")) as database:
        database.execute("drop table calls")
    with pytest.raises(CallLogError, match=r"run\.db: the call log cannot be written"):
        await log.record(CALL)
    log.close()
    with pytest.raises(CallLogError, match="closed"):
        await log.record(CALL)


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "run.db").write_text("not a database, just a file of some length" * 10)
    with pytest.raises(CallLogError, match=r"run\.db: the call log cannot be opened"):
        CallLog(tmp_path / "run.db")


async def test_close_writes_what_is_still_waiting(tmp_path: Path) -> None:
    log = CallLog(tmp_path / "run.db")
    waiting = asyncio.gather(*(log.record(CALL) for _ in range(50)))
    await asyncio.sleep(0)
    log.close()
    assert len(await waiting) == 50


async def test_a_cancelled_caller_does_not_stop_the_log(log: CallLog) -> None:
    cancelled = asyncio.ensure_future(log.record(CALL))
    await asyncio.sleep(0)
    cancelled.cancel()
    await log.record(replace(CALL, request_key="k2"))
    assert stored(log, "select count(*) from calls") == [(2,)]


async def test_the_log_and_the_ledger_share_one_file(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path)
    log = CallLog(tmp_path / "run.db")
    assert await log.record(CALL) == 1
    log.close()
    ledger.close()
