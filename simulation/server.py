"""The simulated models behind an OpenAI-compatible HTTP server, on this machine only.

    python -m autodata.simulation --port 8900

It answers `POST /v1/chat/completions` and `GET /v1/models`, says in `GET /stats` what it was asked,
and takes new faults by `POST /faults`. It refuses to listen on any other than a loopback address.
"""

import ipaddress
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from pydantic import ValidationError

from autodata.simulation.faults import REFUSALS, Faults, Trouble, refusal
from autodata.simulation.reading import Messages, plain, read
from autodata.simulation.responder import ABILITIES, respond
from autodata.simulation.transport import CompletionRequest, Samples, complaint, completion

MODELS = (*ABILITIES, "simulated")
REQUEST_BYTES = 64 * 2**20
BLOCK = 512  # characters per cached block: 128 tokens, the step of the usual prefix caches
BLOCKS = 200_000  # blocks kept, the least recently used dropped first

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class NotLoopback(ValueError):
    """The host is not this machine; the message says which hosts are."""


class PrefixCache:
    """Which prompt prefixes were seen before, as providers bill them."""

    def __init__(self, blocks: int = BLOCKS) -> None:
        self._blocks: OrderedDict[int, None] = OrderedDict()
        self._most = blocks

    def cached(self, messages: Messages) -> int:
        """How many tokens of the request were a known prefix; it is known from now on."""
        text = "\x1e".join(f"{m.get('role')}\n{plain(m.get('content'))}" for m in messages)
        known, chain, unbroken = 0, 0, True
        for start in range(0, len(text) - BLOCK + 1, BLOCK):
            chain = hash((chain, text[start : start + BLOCK]))
            unbroken = unbroken and chain in self._blocks
            known += unbroken
            self._blocks[chain] = None
            self._blocks.move_to_end(chain)
        while len(self._blocks) > self._most:
            self._blocks.popitem(last=False)
        return known * BLOCK // 4


@dataclass
class Stats:
    """What the server was asked since it started; `completions` counts answers of a model."""

    requests: int = 0
    completions: int = 0
    in_flight: int = 0
    most_in_flight: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    models: Counter[str] = field(default_factory=Counter)
    roles: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0


class Server:
    """One simulated endpoint: its settings and what it remembers.

    With a `key` every other bearer token gets a 401. `seed` shifts the samples of requests that
    bring no seed of their own.
    """

    def __init__(
        self, *, faults: Faults | None = None, key: str | None = None, seed: int = 0
    ) -> None:
        self.key = key
        self.seed = seed
        self.stats = Stats()
        self.base_url = ""
        self._trouble = Trouble(faults or Faults())
        self._samples = Samples()
        self._prefixes = PrefixCache()

    def app(self) -> web.Application:
        """The web application."""
        app = web.Application(client_max_size=REQUEST_BYTES, middlewares=[self._counted])
        app.router.add_post("/v1/chat/completions", self._complete)
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/stats", self._show_stats)
        app.router.add_get("/faults", self._show_faults)
        app.router.add_post("/faults", self._set_faults)
        return app

    def beset(self, faults: Faults) -> None:
        """Have these faults from the next request on; scripts and draws begin anew."""
        self._trouble = Trouble(faults)

    @web.middleware
    async def _counted(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if not request.path.startswith("/v1/"):
            return await handler(request)
        self.stats.requests += 1
        self.stats.in_flight += 1
        self.stats.most_in_flight = max(self.stats.most_in_flight, self.stats.in_flight)
        try:
            if self.key and request.headers.get("Authorization") != f"Bearer {self.key}":
                handler = _unauthorised
            response = await handler(request)
            self.stats.statuses[str(response.status)] += 1
            return response
        finally:
            self.stats.in_flight -= 1

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        trouble = self._trouble
        try:
            asked = CompletionRequest.model_validate_json(await request.read())
        except ValidationError as error:
            return refusal(400, complaint(error))
        if asked.stream:
            return refusal(400, "stream: this server answers in one piece; leave it out")
        if trouble.faults.models and asked.model not in trouble.faults.models:
            return refusal(404, f"The model {asked.model!r} does not exist.", "model_not_found")
        fault, seconds = trouble.next()
        if fault:
            self.stats.faults[fault] += 1
        if fault in REFUSALS:
            return trouble.refusal(fault)
        if not await trouble.serve(seconds):
            self.stats.faults["capacity"] += 1
            return trouble.refusal("rate_limited")
        if await trouble.cut(fault, request):
            return web.Response(status=499)  # nobody receives it
        return await trouble.send(fault, self._answer(asked), request)

    def _answer(self, asked: CompletionRequest) -> dict[str, Any]:
        """The body of the model's answer, counted."""
        seed = self._samples.seed(asked)
        if asked.seed is None:
            seed = (seed or 0) + self.seed * 1_000_003
        reply = respond(asked.model, asked.messages, seed, asked.limit)
        cached = self._prefixes.cached(asked.messages)
        self.stats.completions += 1
        self.stats.models[asked.model] += 1
        self.stats.roles[read(asked.messages).role or "unknown"] += 1
        self.stats.input_tokens += reply.input_tokens
        self.stats.cached_tokens += min(cached, reply.input_tokens)
        self.stats.output_tokens += reply.output_tokens
        return completion(self.stats.completions, asked.model, reply, cached)

    async def _models(self, request: web.Request) -> web.StreamResponse:
        names = self._trouble.faults.models or MODELS
        data = [{"id": name, "object": "model", "owned_by": "simulated"} for name in names]
        return web.json_response({"object": "list", "data": data})

    async def _show_stats(self, request: web.Request) -> web.StreamResponse:
        return web.json_response(vars(self.stats))

    async def _show_faults(self, request: web.Request) -> web.StreamResponse:
        return web.json_response(self._trouble.faults.model_dump(mode="json"))

    async def _set_faults(self, request: web.Request) -> web.StreamResponse:
        try:
            self.beset(Faults.model_validate_json(await request.read()))
        except ValidationError as error:
            return refusal(400, complaint(error))
        return await self._show_faults(request)


async def _unauthorised(request: web.Request) -> web.StreamResponse:
    return refusal(401, "Incorrect API key provided.", "invalid_api_key")


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
