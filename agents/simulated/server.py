"""The simulated models behind an OpenAI-compatible HTTP server, on this machine only.

    python -m agents.simulated --port 8900

It answers `POST /v1/chat/completions` and `GET /v1/models`, and says in `GET /stats` what it was
asked. It refuses to listen on any other than a loopback address.
"""

import asyncio
import ipaddress
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agents.simulated.brain import ABILITIES, SimulatedReply, respond
from agents.simulated.reading import read
from agents.simulated.samples import PrefixCache, Samples

MODELS = (*ABILITIES, "simulated")
REQUEST_BYTES = 64 * 2**20


class NotLoopback(ValueError):
    """The host is not this machine; the message says which hosts are."""


class CompletionRequest(BaseModel):
    """The part of an OpenAI chat completion request that a simulated model reads."""

    model_config = ConfigDict(extra="ignore")

    model: str = Field(min_length=1)
    messages: list[dict[str, Any]] = Field(min_length=1)
    seed: int | None = None
    temperature: float | None = None
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    stream: bool | None = None


@dataclass
class Stats:
    """What the server was asked since it started."""

    requests: int = 0
    in_flight: int = 0
    most_in_flight: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    models: Counter[str] = field(default_factory=Counter)
    roles: Counter[str] = field(default_factory=Counter)
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0

    def as_json(self) -> dict[str, Any]:
        """The figures as one JSON object."""
        return {
            **vars(self),
            "statuses": {str(status): n for status, n in sorted(self.statuses.items())},
            "models": dict(self.models),
            "roles": dict(self.roles),
        }


@dataclass
class Server:
    """One simulated endpoint: its settings and what it remembers.

    `latency` is seconds per completion; with a `key` every other bearer token gets a 401; `seed`
    is used for requests that bring none and have temperature 0.
    """

    latency: float = 0.0
    key: str | None = None
    seed: int | None = None
    stats: Stats = field(default_factory=Stats)
    samples: Samples = field(default_factory=Samples)
    prefixes: PrefixCache = field(default_factory=PrefixCache)
    base_url: str = ""

    def app(self) -> web.Application:
        """The web application."""
        app = web.Application(client_max_size=REQUEST_BYTES, middlewares=[self._counted])
        app.router.add_post("/v1/chat/completions", self._complete)
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/stats", self._stats)
        return app

    @web.middleware
    async def _counted(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if not request.path.startswith("/v1/"):
            return await _answered(handler, request)
        self.stats.requests += 1
        self.stats.in_flight += 1
        self.stats.most_in_flight = max(self.stats.most_in_flight, self.stats.in_flight)
        try:
            if self.key and request.headers.get("Authorization") != f"Bearer {self.key}":
                response: web.StreamResponse = _refusal(401, "Incorrect API key provided.")
            else:
                response = await _answered(handler, request)
            self.stats.statuses[response.status] += 1
            return response
        finally:
            self.stats.in_flight -= 1

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        try:
            asked = CompletionRequest.model_validate_json(await request.read())
        except ValidationError as error:
            faults = (f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            return _refusal(400, "; ".join(faults))
        if asked.stream:
            return _refusal(400, "stream: this server answers in one piece; leave it out")
        self.stats.models[asked.model] += 1
        self.stats.roles[read(asked.messages).role or "unknown"] += 1
        if self.latency:
            await asyncio.sleep(self.latency)
        limit = asked.max_completion_tokens or asked.max_tokens
        reply = respond(asked.model, asked.messages, self._seed(asked), limit)
        cached = self.prefixes.cached(asked.messages)
        self.stats.input_tokens += reply.input_tokens
        self.stats.cached_tokens += cached
        self.stats.output_tokens += reply.output_tokens
        return web.json_response(completion(self.stats.requests, asked.model, reply, cached))

    def _seed(self, asked: CompletionRequest) -> int | None:
        if asked.seed is not None:
            return asked.seed
        if asked.temperature == 0:
            return self.seed
        return self.samples.seed(asked.model, asked.messages) + (self.seed or 0) * 1_000_003

    async def _models(self, request: web.Request) -> web.Response:
        data = [{"id": model, "object": "model", "owned_by": "simulated"} for model in MODELS]
        return web.json_response({"object": "list", "data": data})

    async def _stats(self, request: web.Request) -> web.Response:
        return web.json_response(self.stats.as_json())


def completion(number: int, model: str, reply: SimulatedReply, cached: int) -> dict[str, Any]:
    """The body of a chat completion in OpenAI's form."""
    calls = {"tool_calls": list(reply.tool_calls)} if reply.tool_calls else {}
    return {
        "id": f"chatcmpl-simulated-{number}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": reply.content, **calls},
                "finish_reason": reply.finish_reason,
            }
        ],
        "usage": {
            "prompt_tokens": reply.input_tokens,
            "completion_tokens": reply.output_tokens,
            "total_tokens": reply.input_tokens + reply.output_tokens,
            "prompt_tokens_details": {"cached_tokens": min(cached, reply.input_tokens)},
        },
    }


@asynccontextmanager
async def serve(
    server: Server | None = None, host: str = "127.0.0.1", port: int = 0
) -> AsyncIterator[Server]:
    """A running server; `base_url` of the value says where (port 0: a free one).

    Raises NotLoopback for a host that other machines could reach, OSError for a taken port.
    """
    if not is_loopback(host):
        raise NotLoopback(
            f"{host} is not a loopback address: the simulated server listens on 127.0.0.1, ::1 or "
            "localhost only"
        )
    server = server or Server()
    runner = web.AppRunner(server.app(), access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
        bound = runner.addresses[0][1]
        shown = f"[{host}]" if ":" in host else host
        server.base_url = f"http://{shown}:{bound}/v1"
        yield server
    finally:
        await runner.cleanup()


def is_loopback(host: str) -> bool:
    """True for localhost and loopback addresses."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


async def _answered(handler: Any, request: web.Request) -> web.StreamResponse:
    response: web.StreamResponse = await handler(request)
    return response


def _refusal(status: int, message: str, **headers: str) -> web.Response:
    kind = "invalid_request_error" if status < 500 else "server_error"
    body: Mapping[str, Any] = {"error": {"message": message, "type": kind, "code": status}}
    return web.json_response(body, status=status, headers=headers)
