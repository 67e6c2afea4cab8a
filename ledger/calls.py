"""Every model call, on disk before its result is used: the memory of a run.

A resumed graph starts over and asks the same questions; the log answers those it has heard before,
so only calls that were in flight are paid for twice. One writer thread commits what has piled up
since its last commit, so that a hundred concurrent calls share a handful of disk syncs.
"""

import asyncio
import json
import sqlite3
import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Literal, NamedTuple, Protocol

import orjson
from sqlite_utils import Database

CallStatus = Literal["ok", "malformed", "truncated", "failed"]

CALLS = """create table if not exists calls (
  id integer primary key,
  scope text not null,              -- whose call it was: mostly a document's id
  role text not null,
  endpoint text not null,
  model text not null,
  request_key text not null,        -- digest of everything that shaped the call
  sample integer not null,          -- 1, 2, …: attempts at one and the same request;
                                    -- -32: judgement 2 of attempt 3
  status text not null,             -- ok, malformed, truncated, failed (no answer came)
  request text,                     -- JSON: messages; see ledger/calls.py for `as_call`
  response text,
  reasoning text,                   -- hidden reasoning, where the endpoint shows it
  finish_reason text,
  input_tokens integer,
  cached_tokens integer,            -- of the input, served from the provider's prefix cache
  output_tokens integer,
  usd real,                         -- null: the price is unknown
  error text,
  started_at text not null,         -- ISO 8601, UTC
  seconds real not null,
  estimated integer not null default 0,    -- 1: the endpoint did not count, at most so many tokens
  failures integer not null default 0,     -- requests that brought no answer before this one
  lost_tokens integer not null default 0,  -- which these may have been paid for, at most
  lost_usd real not null default 0         -- what these may have cost, at most
)"""
ADDED = {  # since the first version; older databases lack them
    "estimated": "integer not null default 0",
    "failures": "integer not null default 0",
    "lost_tokens": "integer not null default 0",
    "lost_usd": "real not null default 0",
}
INDEXES = (
    "create index if not exists calls_by_scope on calls(scope, request_key)",
    "create index if not exists calls_by_key on calls(request_key)",
)
SHARED_PREFIX = 400  # characters; a shorter common beginning is not worth a reference
BUSY = 60.0  # seconds that a writer waits for another one's transaction


class CallLogError(RuntimeError):
    """The log cannot be written: what the database said, and where it is."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request and what came of it.

    `request` holds the messages as {"role", "content"}; it is not read back by `load`. Token counts
    are None without an answer, and the most that they can be where the endpoint did not count and
    the call is `estimated`; `usd` (US dollars) is None when the price is unknown. `failures` are
    requests that brought no usable answer; of these `lost_tokens` and `lost_usd` may have been paid
    for. `started_at` is ISO 8601 in UTC; `id` is given by the log.
    """

    scope: str
    role: str
    endpoint: str
    model: str
    request_key: str
    sample: int
    status: CallStatus
    request: Sequence[Mapping[str, str]] = ()
    response: str = ""
    reasoning: str = ""
    finish_reason: str = ""
    input_tokens: int | None = None
    cached_tokens: int | None = None
    output_tokens: int | None = None
    usd: float | None = None
    error: str = ""
    started_at: str = ""
    seconds: float = 0.0
    estimated: bool = False
    failures: int = 0
    lost_tokens: int = 0
    lost_usd: float = 0.0
    id: int | None = None


@dataclass(frozen=True, slots=True)
class Spent:
    """What was used at most: US dollars (of known prices), answered calls, tokens in and out."""

    usd: float = 0.0
    calls: int = 0
    tokens: int = 0


class Watched(NamedTuple):
    """What somebody who watches is told of: a document on its way, or one node of it."""

    kind: Literal["document", "node"]
    name: str
    run_id: str
    document_id: str


Facts = dict[str, str | int | float]


class Watcher(Protocol):
    """Whoever is told what happens while it does: traces, metrics, log lines."""

    def working(self, work: Watched) -> AbstractContextManager[Facts]:
        """Watched goes on inside; takes facts about it while it does."""

    def call(self, call: Call) -> None:
        """A call was made by the running task."""

    def close(self) -> None:
        """Hands over what is left. Blocks."""


@dataclass(slots=True)
class _Scope:
    """One document's memory: its answers by key, and the first request of each role."""

    answers: dict[str, Call] = field(default_factory=dict)
    firsts: dict[str, tuple[int, Sequence[Mapping[str, str]]]] = field(default_factory=dict)


_Waiting = tuple[Call, asyncio.AbstractEventLoop, "asyncio.Future[int]"]
_STORED = tuple(f.name for f in fields(Call) if f.name != "id")
_READ = tuple(name for name in (*_STORED, "id") if name != "request")
_INSERT = f"insert into calls ({', '.join(_STORED)}) values ({', '.join(f':{n}' for n in _STORED)})"

# A request that failed leaves a row, which the next request of the same call takes over.
_FAILED = """select id, failures,
  lost_tokens + ifnull(input_tokens, 0) + ifnull(output_tokens, 0), lost_usd + ifnull(usd, 0)
from calls where scope = ? and request_key = ? and status = 'failed' order by id limit 1"""
_KEPT = ("scope", "role", "request_key", "sample", "request")
_UPDATE = f"""update calls set {", ".join(f"{n} = :{n}" for n in _STORED if n not in _KEPT)}
where id = :id"""


def create_calls(database: Database) -> None:
    """Add the `calls` table, its columns and its indexes where they are missing."""
    table = database.table("calls")
    if not table.exists():
        database.execute(CALLS)
    present = table.columns_dict
    if missing := ADDED.keys() - present.keys():
        for name in sorted(missing):
            database.execute(f"alter table calls add column {name} {ADDED[name]}")
        database.execute("update calls set failures = 1 where status = 'failed'")
    for index in INDEXES:
        database.execute(index)


class CallLog:
    """The `calls` table of one run folder, with its own connections and writer thread.

    `record` is called from event loops, everything else from anywhere; several processes may hold
    the same log. Raises CallLogError when the file cannot be opened or written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.watcher: Watcher | None = None  # is told of every call, and closed with the log
        self._scopes: dict[str, _Scope] = {}
        self._reading = threading.Lock()
        self._queue: SimpleQueue[_Waiting | None] = SimpleQueue()
        try:
            self._reader, self._writer = self._connect(), self._connect()
            self._writer.execute("begin immediate")
            create_calls(Database(self._writer, execute_plugins=False))
            self._writer.execute("commit")
        except sqlite3.Error as error:
            raise CallLogError(f"{path}: the call log cannot be opened: {error}") from error
        self._thread = threading.Thread(target=self._write, name="call log", daemon=True)
        self._thread.start()
        self._closed = False

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path, timeout=BUSY, isolation_level=None, check_same_thread=False
        )
        connection.execute("pragma journal_mode = wal")
        connection.execute("pragma synchronous = full")  # survives a power cut, not only a kill
        return connection

    def close(self) -> None:
        """Write what is still waiting and let go of the file."""
        if not self._closed:
            self._closed = True
            self._queue.put(None)
            self._thread.join()
            self._reader.close()
            if self.watcher:
                self.watcher.close()

    def load(self, scope: str) -> None:
        """Make the recorded calls of this scope answerable. Blocks for one indexed query.

        A scope that is loaded already stays as it is: it knows what came since.
        """
        known = _Scope()
        query = (
            f"select {', '.join(_READ)} from calls where scope = ? and status != 'failed'"
            " order by id desc"
        )
        with self._reading:
            if scope in self._scopes:
                return
            with closing(self._reader.execute(query, (scope,))) as rows:
                for row in rows:  # the first recorded answer was the one used: it is read last
                    values = {n: v for n, v in zip(_READ, row, strict=True) if v is not None}
                    known.answers[values["request_key"]] = Call(**values)
            self._scopes[scope] = known

    def forget(self, scope: str) -> None:
        """Drop this scope from memory; the database keeps its calls."""
        self._scopes.pop(scope, None)

    def loaded(self, scope: str) -> bool:
        """Whether this scope's calls are answerable."""
        return scope in self._scopes

    def recorded(self, scope: str, request_key: str) -> Call | None:
        """The answer to this very request, if a loaded scope holds one."""
        known = self._scopes.get(scope)
        return known.answers.get(request_key) if known else None

    def answers(self, scope: str) -> list[Call]:
        """The answers that a scope holds, once it is loaded."""
        known = self._scopes.get(scope)
        return list(known.answers.values()) if known else []

    async def record(self, call: Call) -> int:
        """Write the call durably and return its row id. Raises CallLogError.

        There is one row per call: what comes after a failed request takes over its row and adds to
        its failures and to what they may have cost.
        """
        return await self.submit(call)

    def submit(self, call: Call) -> "asyncio.Future[int]":
        """As `record`, for whoever cannot wait. Raises CallLogError when the log is closed."""
        if self._closed:
            raise CallLogError(f"{self.path}: the call log is closed")
        loop = asyncio.get_running_loop()
        written: asyncio.Future[int] = loop.create_future()
        self._queue.put((call, loop, written))
        if self.watcher:
            self.watcher.call(call)
        return written

    def spent(self) -> Spent:
        """What this log's calls have used, in this process and in earlier ones."""
        query = (
            "select total(usd) + total(lost_usd), count(*) filter (where status != 'failed'),"
            " total(input_tokens) + total(output_tokens) + total(lost_tokens) from calls"
        )
        with self._reading:
            usd, calls, tokens = self._reader.execute(query).fetchone()
        return Spent(usd=usd, calls=calls, tokens=int(tokens))

    def answered(self, scopes: Sequence[str]) -> dict[str, int]:
        """Answered calls of each of these scopes that has any."""
        query = (
            "select scope, count(*) from calls where status != 'failed'"
            " and scope in (select value from json_each(?)) group by scope"
        )
        with self._reading:
            return dict(self._reader.execute(query, (json.dumps(list(scopes)),)).fetchall())

    def request(self, call_id: int) -> list[dict[str, str]]:
        """The messages of one recorded call, in full. Raises KeyError when there is none."""
        query = "select request from calls where id = ?"
        with self._reading:
            row = self._reader.execute(query, (call_id,)).fetchone()
        if row is None:
            raise KeyError(call_id)
        return [self._whole(message, at) for at, message in enumerate(json.loads(row[0]))]

    def _whole(self, message: dict[str, Any], at: int) -> dict[str, str]:
        content = message["content"]
        if "as_call" in message:
            first = self.request(message["as_call"])[at]["content"]
            content = first[: message["characters"]] + content
        return {"role": message["role"], "content": content}

    def _write(self) -> None:
        """The writer thread: commits all that is waiting, again and again, until closed."""
        open_ = True
        with closing(self._writer):
            while open_:
                batch = [self._queue.get()]
                while not self._queue.empty():
                    batch.append(self._queue.get())
                open_ = None not in batch
                _settle(self._commit([waiting for waiting in batch if waiting is not None]))

    def _commit(self, batch: Sequence[_Waiting]) -> list[tuple[_Waiting, int | CallLogError]]:
        try:
            self._writer.execute("begin immediate")
            ids = [self._insert(call) for call, _, _ in batch]
            self._writer.execute("commit")
        except sqlite3.Error as error:
            if self._writer.in_transaction:
                self._writer.execute("rollback")
            problem = CallLogError(f"{self.path}: the call log cannot be written: {error}")
            return [(waiting, problem) for waiting in batch]
        for (call, _, _), id_ in zip(batch, ids, strict=True):
            self._remember(replace(call, id=id_))
        return list(zip(batch, ids, strict=True))

    def _insert(self, call: Call) -> int:
        values = {name: getattr(call, name) for name in _STORED}
        failed = self._writer.execute(_FAILED, (call.scope, call.request_key)).fetchone()
        if failed is None:
            values["request"] = _json(self._short(call))
            id_ = self._execute(_INSERT, values).lastrowid
            assert id_ is not None
            return id_
        values["id"], failures, tokens, usd = failed
        values["failures"] += failures
        values["lost_tokens"] += tokens
        values["lost_usd"] += usd
        self._execute(_UPDATE, values)
        return int(values["id"])

    def _execute(self, statement: str, values: dict[str, Any]) -> sqlite3.Cursor:
        try:
            return self._writer.execute(statement, values)
        except UnicodeEncodeError:  # a lone surrogate, which SQLite cannot store
            return self._writer.execute(statement, {n: _storable(values[n]) for n in values})

    def _short(self, call: Call) -> list[dict[str, Any]]:
        """The messages, each without what it shares with its role's first request in this scope.

        A document of 50 KB is thus stored once per role instead of once per call: `as_call` names
        the row that has it and `characters` how much of that message comes before `content`.
        """
        scope = self._scopes.get(call.scope)
        first = scope.firsts.get(call.role) if scope else None
        if first is None:
            return [dict(message) for message in call.request]
        id_, messages = first
        short: list[dict[str, Any]] = [dict(message) for message in call.request]
        for message, other in zip(short, messages, strict=False):
            shared = _shared(message["content"], other["content"])
            if shared >= SHARED_PREFIX:
                message.update(as_call=id_, characters=shared, content=message["content"][shared:])
        return short

    def _remember(self, call: Call) -> None:
        if scope := self._scopes.get(call.scope):
            assert call.id is not None
            scope.firsts.setdefault(call.role, (call.id, call.request))
            if call.status != "failed":
                scope.answers.setdefault(call.request_key, replace(call, request=()))


def _shared(text: str, other: str) -> int:
    """Length of the common beginning, by bisection: comparing slices is memcmp, not a loop."""
    low, high = 0, min(len(text), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if text[:middle] == other[:middle] else (low, middle - 1)
    return low


def _json(value: Any) -> str:
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:  # a lone surrogate, which only the standard library takes
        return json.dumps(value, ensure_ascii=False)


def _storable(value: Any) -> Any:
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


def _settle(results: Iterable[tuple[_Waiting, int | CallLogError]]) -> None:
    """Wake the waiting coroutines, with one message to each event loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[int], Any]]] = {}
    for (_, loop, written), result in results:
        by_loop.setdefault(loop, []).append((written, result))
    for loop, settled in by_loop.items():
        if not loop.is_closed():
            loop.call_soon_threadsafe(_resolve, settled)


def _resolve(settled: Iterable[tuple["asyncio.Future[int]", int | CallLogError]]) -> None:
    for written, result in settled:
        if written.done():  # whoever waited was cancelled; the call is on disk all the same
            continue
        if isinstance(result, CallLogError):
            written.set_exception(result)
        else:
            written.set_result(result)
