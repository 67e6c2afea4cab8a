"""OpenAI's batch API on loopback: files, batches, and a script for what becomes of each line."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.models.scripted_server import Reply

Answer = Callable[[dict[str, Any]], Reply | None]  # a line's body → its result; None: expired


class BatchServer:
    """Batches end after `looks` looks at them; `answer` decides each line."""

    def __init__(self, answer: Answer, looks: int) -> None:
        self.answer = answer
        self.looks = looks
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self.seen: dict[str, int] = {}
        self.looked = asyncio.Event()
        self.trouble: list[int] = []  # statuses with which the next looks fail
        self.unreadable: list[int] = []  # statuses with which the next files cannot be had
        self.odd: list[bytes] = []  # lines that stand before the answers
        self.distort: Callable[[dict[str, Any]], dict[str, Any]] | None = None  # the next answer
        self.lost: list[int] = []  # statuses that hide that a batch was taken
        self.url = ""

    @property
    def lines(self) -> list[int]:
        """How many requests each batch held, in the order of their creation."""
        return [
            len(self.files[batch["input_file_id"]].splitlines()) for batch in self.batches.values()
        ]

    def keep(self, content: bytes) -> str:
        name = f"file-{len(self.files)}"
        self.files[name] = content
        return name

    async def upload(self, request: web.Request) -> web.Response:
        form = await request.post()
        assert form["purpose"] == "batch"
        file = form["file"]
        assert isinstance(file, web.FileField)
        return web.json_response({"id": self.keep(file.file.read())})

    async def download(self, request: web.Request) -> web.Response:
        if self.unreadable:
            return web.json_response({}, status=self.unreadable.pop(0))
        return web.Response(body=self.files[request.match_info["id"]])

    async def create(self, request: web.Request) -> web.Response:
        asked = await request.json()
        assert asked["endpoint"] == "/v1/chat/completions"
        name = f"batch-{len(self.batches)}"
        batch = {"id": name, "status": "in_progress", **asked}
        self.batches[name] = batch
        self.seen[name] = 0
        if self.lost:
            return web.json_response({}, status=self.lost.pop())
        return web.json_response(batch)

    async def look(self, request: web.Request) -> web.Response:
        if self.trouble:
            return web.json_response({}, status=self.trouble.pop(0))
        batch = self.batches[request.match_info["id"]]
        self.seen[batch["id"]] += 1
        self.looked.set()
        if batch["status"] == "in_progress" and self.seen[batch["id"]] >= self.looks:
            self.end(batch)
        return web.json_response(batch)

    async def list(self, request: web.Request) -> web.Response:
        names = list(reversed(self.batches))
        after = request.query.get("after")
        names = names[names.index(after) + 1 :] if after else names
        page = [self.batches[name] for name in names[:1]]  # one to a page, to be turned
        return web.json_response({"data": page, "has_more": len(names) > 1})

    def end(self, batch: dict[str, Any]) -> None:
        results: dict[bool, list[bytes]] = {True: self.odd, False: []}
        self.odd = []
        batch["status"] = "completed"
        for line in map(json.loads, self.files[batch["input_file_id"]].splitlines()):
            reply = self.answer(line["body"])
            if reply is None:
                batch["status"] = "expired"
                continue
            response = {"status_code": reply.status, "body": json.loads(reply.body)}
            result = {"custom_id": line["custom_id"], "response": response, "error": None}
            if self.distort:
                result, self.distort = self.distort(result), None
            results[reply.status == 200].append(json.dumps(result).encode())
        batch["output_file_id"] = self.keep(b"\n".join(results[True]))
        batch["error_file_id"] = self.keep(b"\n".join(results[False]))


@asynccontextmanager
async def batching(answer: Answer, looks: int = 2) -> AsyncIterator[BatchServer]:
    """A running server; `server.url` is its base_url."""
    server = BatchServer(answer, looks)
    app = web.Application()
    app.router.add_post("/v1/files", server.upload)
    app.router.add_get("/v1/files/{id}/content", server.download)
    app.router.add_post("/v1/batches", server.create)
    app.router.add_get("/v1/batches", server.list)
    app.router.add_get("/v1/batches/{id}", server.look)
    async with TestServer(app, host="127.0.0.1", shutdown_timeout=0) as running:
        server.url = str(running.make_url("/v1"))
        yield server
