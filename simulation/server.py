"""The simulated models behind an OpenAI-compatible HTTP server, on this machine only.

    python -m autodata.simulation --port 8900

It answers `POST /v1/chat/completions` and `GET /v1/models`, and says in `GET /stats` what it was
asked. It refuses to listen on any other than a loopback address.
"""

import asyncio
import ipaddress
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from pydantic import ValidationError

from autodata.simulation.messages import read
from autodata.simulation.roles import ABILITIES, respond
from autodata.simulation.transport import (
    REFUSALS,
    CompletionRequest,
    Fault,
    Faults,
    Samples,
    complaint,
    completion,
    refusal,
    spoilt,
    streamed,
)

MODELS = (*ABILITIES, "simulated")
BROKEN = ("wrong_json", "truncated_body")  # faults in the bytes of an answer
REQUEST_BYTES = 64 * 2**20

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class NotLoopback(ValueError):
    """The host is not this machine; the message says which hosts are."""


@dataclass
class Stats:
    """What the server was asked since it started: by model and role where a model answered."""

    requests: int = 0
    in_flight: int = 0
    models: Counter[str] = field(default_factory=Counter)
    roles: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)


class Server:
    """One simulated endpoint: its faults, what it remembers, and where it is.

    With a `key` every other bearer token gets a 401.
    """

    def __init__(self, *, faults: Faults | None = None, key: str | None = None) -> None:
        self.faults = faults or Faults()
        self.key = key
        self.stats = Stats()
        self.base_url = ""
        self._served = 0
        self._turns = asyncio.Semaphore(self.faults.capacity or 1)
        self._samples = Samples()

    def app(self) -> web.Application:
        """The web application."""
        app = web.Application(client_max_size=REQUEST_BYTES, middlewares=[self._counted])
        app.router.add_post("/v1/chat/completions", self._complete)
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/stats", self._show_stats)
        return app

    @web.middleware
    async def _counted(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if not request.path.startswith("/v1/"):
            return await handler(request)
        self.stats.requests += 1
        self.stats.in_flight += 1
        try:
            if self.key and request.headers.get("Authorization") != f"Bearer {self.key}":
                return refusal(401, "Incorrect API key provided.", "invalid_api_key")
            return await handler(request)
        finally:
            self.stats.in_flight -= 1

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        try:
            asked = CompletionRequest.model_validate_json(await request.read())
        except ValidationError as error:
            return refusal(400, complaint(error))
        if self.faults.models and asked.model not in self.faults.models:
            return refusal(404, f"The model {asked.model!r} does not exist.", "model_not_found")
        number, self._served = self._served, self._served + 1
        fault = self.faults.fault(number)
        if fault not in REFUSALS and not await self._took_its_time(number):
            self.stats.faults["capacity"] += 1
            fault = "rate_limited"
        if fault:
            self.stats.faults[fault] += 1
        if fault in REFUSALS:
            return refusal(*REFUSALS[fault], None if fault == "error" else self.faults.retry_after)
        if fault in ("reset", "hang"):
            await asyncio.sleep(self.faults.hang if fault == "hang" else 0)
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=499)  # nobody receives it
        body = spoilt(fault, self._answer(asked, number))
        if asked.stream and fault not in BROKEN:
            return web.Response(body=streamed(body), content_type="text/event-stream")
        return await self._send(fault, body, request)

    async def _took_its_time(self, number: int) -> bool:
        """Take the time of one completion; False when there was no room for it."""
        if self.faults.capacity is None:
            await asyncio.sleep(self.faults.seconds(number))
            return True
        if self._turns.locked() and not self.faults.queue:
            return False
        async with self._turns:
            await asyncio.sleep(self.faults.seconds(number))
        return True

    def _answer(self, asked: CompletionRequest, number: int) -> dict[str, Any]:
        """The body of the model's answer, counted."""
        reply = respond(asked.model, asked.messages, self._samples.seed(asked), asked.limit)
        self.stats.models[asked.model] += 1
        self.stats.roles[read(asked.messages).role or "unknown"] += 1
        return completion(number, asked.model, reply)

    async def _send(
        self, fault: Fault | None, body: dict[str, Any], request: web.Request
    ) -> web.StreamResponse:
        """The answer, or what the fault makes of its bytes."""
        raw = json.dumps(body).encode()
        if fault == "wrong_json":
            raw = b"<html>502 Bad Gateway</html>"
        if fault != "truncated_body":
            return web.Response(body=raw, content_type="application/json")
        response = web.StreamResponse(headers={"Content-Length": str(len(raw))})
        response.content_type = "application/json"
        await response.prepare(request)
        await response.write(raw[: len(raw) // 2])
        if request.transport is not None:
            request.transport.close()
        return response

    async def _models(self, request: web.Request) -> web.StreamResponse:
        names = self.faults.models or MODELS
        data = [{"id": name, "object": "model", "owned_by": "simulated"} for name in names]
        return web.json_response({"object": "list", "data": data})

    async def _show_stats(self, request: web.Request) -> web.StreamResponse:
        return web.json_response(vars(self.stats))


@asynccontextmanager
async def serve(
    server: Server | None = None, *, host: str = "127.0.0.1", port: int = 0
) -> AsyncIterator[Server]:
    """A running server; its `base_url` says where (port 0: a free one).

    Raises NotLoopback for a host that other machines could reach, OSError for a taken port.
    """
    if not is_loopback(host):
        raise NotLoopback(
            f"{host} is not a loopback address: the simulated server listens on 127.0.0.1, ::1 or "
            "localhost only"
        )
    server = server or Server()
    runner = web.AppRunner(server.app(), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        shown = f"[{host}]" if ":" in host else host
        server.base_url = f"http://{shown}:{runner.addresses[0][1]}/v1"
        yield server
    finally:
        await runner.cleanup()


def is_loopback(host: str) -> bool:
    """True for localhost and loopback addresses."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
