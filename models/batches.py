"""Batch mode: calls that may take a day, at half the price, through OpenAI's `/batches`.

A transport like any other, only slower: requests that arrive together are sent as one batch, and
each waits for its line of the result. A process that is killed loses nothing: the next one finds
the run's batches at the endpoint by their metadata and takes its answers from them.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any, TypeVar

import aiohttp

from autodata.models.config import EndpointConfig
from autodata.models.errors import Paused, WireError
from autodata.models.replies import completion, json_object
from autodata.models.transport import HttpTransport, encode, refusal

SHARE = 0.5  # of the price of a single call (OpenAI, and those who copy its batch API)
LINES = 50_000  # requests in a batch, OpenAI's limit
FILE_BYTES = 100 * 2**20  # in a batch's file; OpenAI's limit is 200 MB
PAGE = 100  # batches listed at once
ENDED = ("completed", "failed", "expired", "cancelled")
REFUSED = {"failed": 400, "cancelled": 400}  # as if the request had been refused
TAG = "autodata_run"  # the key of our batches' metadata

ODD = (LookupError, TypeError, ValueError, AttributeError)  # a field missing, of another kind
RESULTS = 2**30  # bytes of a batch's results

BatchLine = dict[str, Any]
Sent = TypeVar("Sent", bytes, BatchLine)
Promises = dict[str, "asyncio.Future[BatchLine]"]  # request id → its line of the result


class BatchTransport(HttpTransport):
    """Sends chat completions in batches. `run` tells this run's batches from others'."""

    def __init__(self, name: str, config: EndpointConfig, run: str) -> None:
        super().__init__(name, config)
        self.run = run
        self.gather = 5.0  # seconds that a batch waits for more requests
        self.poll = 30.0  # seconds between two looks at a batch
        self._waiting: dict[str, tuple[Mapping[str, Any], asyncio.Future[BatchLine]]] = {}
        self._promised: Promises = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._known: set[str] = set()  # batches that this process follows or has read
        self._recovering: asyncio.Task[None] | None = None

    async def complete(self, payload: Mapping[str, Any], request_id: str) -> bytes:
        """The body of a chat completion, when its batch has ended. Raises WireError, Paused."""
        await self._recovered()
        promise = self._promised.pop(request_id, None)
        if promise is None:
            promise = asyncio.get_running_loop().create_future()
            self._waiting[request_id] = (payload, promise)
            if len(self._waiting) == 1:
                self._start(self._collect())
        line = await promise
        try:
            body = _body(line)
        except ODD as error:
            raise WireError(f"an odd line in a batch: {error!r}", status=200) from error
        if len(body) > self.largest:
            raise self.too_large()
        return body

    async def aclose(self) -> None:
        """Stop following the batches, which go on without us, and close the connections."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._recovering = None
        self._known.clear()
        self._promised.clear()
        await super().aclose()

    def _start(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _collect(self) -> None:
        """Wait a little for company, then send everything that waits."""
        await asyncio.sleep(self.gather)
        waiting, self._waiting = self._waiting, {}
        lines = ((key, _request(key, payload)) for key, (payload, _) in waiting.items())
        for keys, content in _files(lines):
            promises = {key: waiting[key][1] for key in keys}
            self._start(self._keep(promises, self._submit(content)))

    async def _keep(self, promises: Promises, begun: Coroutine[Any, Any, BatchLine]) -> None:
        """See a batch through, and whatever happens leave no promise open."""
        try:
            await self._follow(await begun, promises)
        except (WireError, Paused) as error:
            self._break(promises, error)
        except ODD as error:
            self._break(promises, WireError(f"an odd answer about a batch: {error!r}", status=200))

    def _break(self, promises: Promises, error: Exception) -> None:
        for key, promise in promises.items():
            if self._promised.get(key) is promise:  # nobody has asked for it
                del self._promised[key]
            elif not promise.done():
                promise.set_exception(error)

    async def _submit(self, content: bytes) -> BatchLine:
        form = aiohttp.FormData()
        form.add_field("purpose", "batch")
        form.add_field("file", content, filename="requests.jsonl", content_type="application/jsonl")
        try:
            file = completion(await self.exchange("POST", "/files", form))
            request = {
                "input_file_id": file["id"],
                "endpoint": "/v1/chat/completions",
                "completion_window": "24h",
                "metadata": {TAG: self.run},
            }
            batch = await self.post("/batches", request)
        except WireError as error:
            self._recovering = None  # it may have been taken all the same: look before a retry
            raise self._explained(error) from error
        self._known.add(batch["id"])
        return batch

    async def _follow(self, batch: BatchLine, promises: Promises) -> None:
        """Look at a batch until it has ended, then keep its promises. Raises WireError."""
        while batch["status"] not in ENDED:
            await asyncio.sleep(self.poll)
            batch = await self._look(batch["id"])
        async for key, line in self._results(batch):
            if (promise := promises.pop(key, None)) and not promise.done():
                promise.set_result(line)
        if promises:
            raise _unfinished(batch)

    async def _look(self, batch_id: str) -> BatchLine:
        """The batch as it stands. Raises WireError."""
        return await self._patiently(lambda: self.get(f"/batches/{batch_id}"))

    async def _patiently(self, ask: Callable[[], Coroutine[Any, Any, Sent]]) -> Sent:
        """What an endpoint says of a batch that it has taken: a short outage does not matter, and
        must not have the batch sent, and paid for, again. Raises WireError."""
        answered = time.monotonic()
        while True:
            try:
                return await ask()
            except WireError as error:
                if not error.transient or (time.monotonic() - answered > self.config.give_up_after):
                    raise
                await asyncio.sleep(self.poll)

    async def _results(self, batch: BatchLine) -> AsyncIterator[tuple[str, BatchLine]]:
        """Each request's id with its line, from the files of answers and of errors. A line that
        cannot be read costs its own request, not those of the others."""
        for name in ("output_file_id", "error_file_id"):
            if file_id := batch.get(name):
                for line in await self._lines(file_id):
                    yield str(line.get("custom_id")), line

    async def _lines(self, file_id: str) -> list[BatchLine]:
        path = f"/files/{file_id}/content"
        content = await self._patiently(lambda: self.exchange("GET", path, most=RESULTS))
        lines = []
        for line in content.splitlines():
            with suppress(WireError):
                lines.append(json_object(line))
        return lines

    async def _recovered(self) -> None:
        """Once per process, before the first request."""
        if self._recovering is None:
            self._recovering = self._start(self._recover())
        try:
            await asyncio.shield(self._recovering)
        except WireError:
            self._recovering = None  # the next one tries again
            raise
        except ODD as error:
            self._recovering = None
            raise WireError(f"an odd answer about a batch: {error!r}", status=200) from error

    async def _recover(self) -> None:
        """Find what an earlier process of this run has sent, and promise its results anew."""
        new = asyncio.get_running_loop().create_future
        async for batch in self._batches():
            if batch["status"] in ENDED:
                async for key, line in self._results(batch):
                    if key not in self._promised and line.get("response"):
                        self._promised[key] = new()
                        self._promised[key].set_result(line)
            else:
                sent = await self._lines(batch["input_file_id"])
                promises = {str(line["custom_id"]): new() for line in sent}
                self._promised |= promises
                self._start(self._keep(promises, self._look(batch["id"])))
            self._known.add(batch["id"])

    async def _batches(self) -> AsyncIterator[BatchLine]:
        """This run's batches that are new to us, newest first. Raises Paused where there is no
        such thing."""
        after = ""
        while True:
            try:
                page = await self.get(f"/batches?limit={PAGE}{after}")
            except WireError as error:
                raise self._explained(error) from error
            for batch in page.get("data", ()):
                ours = (batch.get("metadata") or {}).get(TAG) == self.run
                if ours and batch["id"] not in self._known:
                    yield batch
            if not page.get("has_more"):
                return
            after = f"&after={page['data'][-1]['id']}"

    def _explained(self, error: WireError) -> Exception:
        if error.status not in (404, 405):
            return error
        return Paused(
            f"endpoint {self.name} ({self.base_url}) has no batch API",
            "Resume with --set run.batch=false",
        )


def _request(key: str, payload: Mapping[str, Any]) -> bytes:
    line = {"custom_id": key, "method": "POST", "url": "/v1/chat/completions", "body": payload}
    return encode(line) + b"\n"


def _files(lines: Iterable[tuple[str, bytes]]) -> Iterator[tuple[list[str], bytes]]:
    """The lines as files of no more than a batch may hold, each with its requests' ids."""
    keys: list[str] = []
    content = bytearray()
    for key, line in lines:
        if keys and (len(keys) == LINES or len(content) + len(line) > FILE_BYTES):
            yield keys, bytes(content)
            keys, content = [], bytearray()
        keys.append(key)
        content += line
    if keys:
        yield keys, bytes(content)


def _body(line: BatchLine) -> bytes:
    """The completion in a line of results. Raises WireError for a line without one."""
    response, error = line.get("response") or {}, line.get("error") or {}
    body = response.get("body")
    if response.get("status_code") == 200 and isinstance(body, dict):
        return encode(body)
    if response.get("status_code", 200) != 200:
        raise refusal(int(response["status_code"]), json.dumps(body).encode())
    raise WireError(
        str(error.get("message") or "a batch's line without an answer"), status=200, reached=False
    )


def _unfinished(batch: BatchLine) -> WireError:
    """Why a batch ended without answering everything; what expired may be sent again."""
    found = (batch.get("errors") or {}).get("data") or [{}]
    said = found[0].get("message") or "it ended without an answer to this request"
    return WireError(
        f"batch {batch['status']}: {said}", status=REFUSED.get(batch["status"], 200), reached=False
    )
