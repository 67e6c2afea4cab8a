"""An OpenAI-compatible server on loopback that answers by script and remembers its requests."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer


@dataclass(frozen=True)
class Reply:
    """One scripted answer after `seconds`; `hang` never answers, `reset` cuts the connection.

    `pieces` are sent as a stream of events, each after `seconds`; then `hang` and `reset` say how
    it ends.
    """

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    hang: bool = False
    reset: bool = False
    pieces: Sequence[bytes] = ()


Script = Callable[[dict[str, Any]], Reply]


def says(
    text: str | None,
    *,
    finish_reason: str = "stop",
    usage: Any = None,
    **message: Any,
) -> Reply:
    """A chat completion with this text; `message` adds fields such as `reasoning_content`."""
    counted = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    choice = {
        "index": 0,
        "finish_reason": finish_reason,
        "message": {"role": "assistant", "content": text, **message},
    }
    body = {"id": "1", "model": "m", "choices": [choice], "usage": usage or counted}
    return Reply(json.dumps(body).encode())


def streams(
    *tokens: str,
    seconds: float = 0.0,
    finish_reason: str | None = "stop",
    usage: Any = None,
    **ends: bool,
) -> Reply:
    """The same text word by word, each `seconds` after the one before; without a `finish_reason`
    it breaks off. `ends` are `hang` and `reset`."""
    deltas: list[tuple[dict[str, Any], str | None]] = [({"content": t}, None) for t in tokens]
    if finish_reason:
        deltas.append(({}, finish_reason))
    chunks: list[Any] = [
        {"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}
        for delta, reason in deltas
    ]
    if usage:
        chunks.append({"choices": [], "usage": usage})
    pieces = [f"data: {json.dumps(chunk)}\n\n".encode() for chunk in chunks]
    if finish_reason:
        pieces.append(b"data: [DONE]\n\n")
    return Reply(seconds=seconds, pieces=pieces, **ends)


def embeds(request: dict[str, Any]) -> Reply:
    """A vector for each text, the last one first: numbers of its words and letters, and 1."""
    vectors = [[len(text.split()), len(text), 1.0] for text in request["input"]]
    data = [{"index": n, "embedding": vector} for n, vector in enumerate(vectors)]
    used = sum(len(text) // 4 for text in request["input"])
    usage = {"prompt_tokens": used, "total_tokens": used}
    return Reply(json.dumps({"data": data[::-1], "usage": usage}).encode())


def refuses(status: int, message: str = "no", code: str = "", **headers: str) -> Reply:
    """An error as OpenAI words it; `retry_after="1"` becomes the header Retry-After."""
    body = {"error": {"message": message, "type": "error", "code": code or None}}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(json.dumps(body).encode(), status, named)


class ScriptedServer:
    """`steps` are answered in order, and what comes after them by `otherwise`."""

    def __init__(self, steps: Sequence[Reply | Script], otherwise: Reply | Script) -> None:
        self.steps = list(steps)
        self.otherwise = otherwise
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.models: list[str] = ["m"]
        self.says_of_models: dict[str, Any] = {}  # such as {"max_model_len": 4096}
        self.props: dict[str, Any] | None = None  # as llama.cpp has them
        self.in_flight = 0
        self.most_in_flight = 0
        self.url = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            payload = await request.json()
            self.requests.append(payload)
            self.keys.append(request.headers.get("Authorization"))
            step = self.steps.pop(0) if self.steps else self.otherwise
            reply = step(payload) if callable(step) else step
            if reply.pieces:
                return await self._stream(reply, request)
            await asyncio.sleep(reply.seconds)
            if reply.hang:
                await asyncio.Event().wait()
            if reply.reset:
                assert request.transport is not None
                request.transport.abort()
            return web.Response(
                body=reply.body,
                status=reply.status,
                headers={"Content-Type": "application/json", **reply.headers},
            )
        finally:
            self.in_flight -= 1

    async def _stream(self, reply: Reply, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for piece in reply.pieces:
            await asyncio.sleep(reply.seconds)
            await response.write(piece)
        if reply.hang:
            await asyncio.Event().wait()
        if reply.reset:
            assert request.transport is not None
            request.transport.abort()
        return response

    async def list_models(self, request: web.Request) -> web.Response:
        said = self.says_of_models
        return web.json_response({"data": [{"id": name} | said for name in self.models]})

    async def show_props(self, request: web.Request) -> web.Response:
        return web.json_response(self.props or {}, status=200 if self.props else 404)


@asynccontextmanager
async def scripted(
    *steps: Reply | Script, otherwise: Reply | Script | None = None
) -> AsyncIterator[ScriptedServer]:
    """A running server; `server.url` is its base_url."""
    server = ScriptedServer(steps, otherwise or says("fine"))
    app = web.Application()
    app.router.add_post("/v1/chat/completions", server.answer)
    app.router.add_post("/v1/embeddings", server.answer)
    app.router.add_get("/v1/models", server.list_models)
    app.router.add_get("/props", server.show_props)
    async with TestServer(app, host="127.0.0.1", shutdown_timeout=0) as running:
        server.url = str(running.make_url("/v1"))
        yield server
