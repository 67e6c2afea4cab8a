"""The wire: what carries requests to an endpoint, and the one that carries them over HTTP.

JSON goes over one shared aiohttp session per endpoint, failures come as `WireError`. Such a session
costs a tenth of the OpenAI SDK's CPU time per call and shows status, headers and fields as they
came. Retries, limits and meaning are not known here.

A streamed answer is put together from its chunks into the body that it would have come in at once.
What the chunks hold is read as leniently as an answer in one piece: surplus choices and fields do
not matter, and a stream that ends before its answer does is none.
"""

import asyncio
import json
import os
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from email.utils import parsedate_to_datetime
from types import MappingProxyType
from typing import Any, Protocol
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import orjson

from autodata.models.config import OPENAI, EndpointConfig
from autodata.models.errors import (
    CONTEXT_FULL,
    LONGEST_ASKED,
    TIMED_OUT,
    TOO_LARGE,
    Unauthorized,
    WireError,
)
from autodata.models.replies import EXCERPT, HIDDEN, REASONING, completion, json_object, words

EVENT = b"data:"
ENDS = b"[DONE]"
SAID = ("content", *REASONING, "refusal")  # what a chunk may add words to

# Takes new words of an answer, and of its reasoning, as they arrive.
Listener = Callable[[str, str], Awaitable[None]]
# Who listens to the answer that the running task asks for.
LISTENER: ContextVar[Listener | None] = ContextVar("LISTENER", default=None)


class AnswerStream:
    """The answer so far: `feed` what arrives, then take its `body`."""

    def __init__(self) -> None:
        self.size = 0  # bytes of words so far
        self.chunks = 0
        self.ended = False
        self._rest = b""  # of a line that is not complete yet
        self._said: dict[str, list[str]] = {name: [] for name in SAID}
        self._told = dict.fromkeys(SAID, 0)  # how many of the pieces `news` has given out
        self._calls: dict[int, dict[str, str]] = {}
        self._finish_reason: str | None = None
        self._usage: Any = None
        self._error: Any = None

    def feed(self, part: bytes) -> bool:
        """Take in what arrived; whether it held news, comments being none. Raises WireError."""
        *lines, self._rest = (self._rest + part).split(b"\n")
        before = self.chunks
        for line in lines:
            self._line(line)
        return self.chunks > before

    def news(self) -> tuple[str, str]:
        """The words of the answer, and of its reasoning, that came since this was last asked."""
        new = {name: "".join(said[self._told[name] :]) for name, said in self._said.items()}
        self._told = {name: len(said) for name, said in self._said.items()}
        return new["content"], "".join(new[name] for name in REASONING)

    @property
    def pending(self) -> int:
        """Bytes of the line that is not complete yet."""
        return len(self._rest)

    def body(self) -> dict[str, Any]:
        """The chat completion. Raises WireError for a stream that broke off."""
        self._line(self._rest)
        self._rest = b""
        if self._error is not None:
            return {"error": self._error}
        if not (self.ended or self._finish_reason):
            raise WireError("the stream broke off before the answer's end")
        message: dict[str, Any] = {name: "".join(said) for name, said in self._said.items() if said}
        if self._calls:
            message["tool_calls"] = [_call(made) for _, made in sorted(self._calls.items())]
        choice = {"message": message, "finish_reason": self._finish_reason}
        return {"choices": [choice], "usage": self._usage}

    def _line(self, line: bytes) -> None:
        if not line.startswith(EVENT):
            return
        data = line[len(EVENT) :].strip()
        if data == ENDS:
            self.ended = True
        elif data:
            self.chunks += 1
            self._chunk(json_object(data))

    def _chunk(self, chunk: Mapping[str, Any]) -> None:
        self._usage = chunk.get("usage") or self._usage
        self._error = chunk.get("error") or self._error
        for choice in _objects(chunk.get("choices")):
            if choice.get("index"):
                continue
            if isinstance(reason := choice.get("finish_reason"), str):
                self._finish_reason = reason
            delta = choice.get("delta")
            if isinstance(delta, dict):
                self._add(delta)

    def _add(self, delta: Mapping[str, Any]) -> None:
        for name, said in self._said.items():
            if more := delta.get(name):
                text = words(more)
                said.append(text)
                self.size += len(text)
        for number, call in enumerate(_objects(delta.get("tool_calls"))):
            at = call.get("index")
            made = self._calls.setdefault(at if isinstance(at, int) else number, {})
            function = call.get("function")
            named = {**(function if isinstance(function, dict) else {}), "id": call.get("id")}
            for name in ("id", "name", "arguments"):
                if isinstance(more := named.get(name), str):
                    made[name] = made.get(name, "") + more
                    self.size += len(more)


def _call(made: Mapping[str, str]) -> dict[str, Any]:
    function = {name: made[name] for name in ("name", "arguments") if name in made}
    return {"id": made.get("id"), "type": "function", "function": function}


def _objects(value: Any) -> Iterator[Mapping[str, Any]]:
    """Those parts of a list that are objects; none of what is no list."""
    if isinstance(value, list):
        yield from (part for part in value if isinstance(part, dict))


JSON = {"Content-Type": "application/json"}
EVENTS = "text/event-stream"  # content type of a streamed answer
COMPLETIONS = "/chat/completions"
VECTORS = "/embeddings"
EXCEEDED = "exceed_context_size_error"  # llama.cpp's type of a refusal
# Where servers state it: vLLM and SGLang, OpenRouter, Groq.
WINDOWS = ("max_model_len", "context_length", "context_window")
_CONTEXT_SIZE = re.compile(
    r"context (?:length|window|size)(?:\D{0,20}?(?P<size>\d{3,9}) tokens)?", re.IGNORECASE
)
SECRET = 8  # characters that a key has at the least; shorter ones are words, such as "none"
COMPLAINT = 2**16  # bytes of an error that are read
CONNECT = 20.0  # seconds to open a connection; a host that takes longer is not there
ENDLESS = aiohttp.ClientTimeout(None, sock_connect=CONNECT)
NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class Transport(Protocol):
    """What carries requests to one endpoint."""

    base_url: str  # where it is reached, for people

    async def complete(self, payload: Mapping[str, Any], request_id: str) -> bytes:
        """The body of the chat completion for a payload, unread; `request_id` names the request
        within the run. Raises WireError, Paused."""

    async def aclose(self) -> None:
        """Let go of connections; a later call opens new ones."""


class HttpTransport:
    """One endpoint's connections. The session is made in the event loop that first needs it."""

    def __init__(self, name: str, config: EndpointConfig) -> None:
        self.name = name
        self.config = config
        self.base_url = config.address
        self._session: aiohttp.ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._key = ""
        self._heard = 0.0  # when a piece of a streamed answer last arrived; monotonic clock

    @property
    def largest(self) -> int:
        """Bytes that a reply may have."""
        return int(self.config.max_reply_mb * 2**20)

    async def complete(self, payload: Mapping[str, Any], request_id: str) -> bytes:
        """The body of a chat completion, put together where it was streamed.

        Raises WireError; Unauthorized when there is no key.
        """
        if payload.get("stream"):
            return await self._streamed(COMPLETIONS, encode(payload))
        return await self.exchange("POST", COMPLETIONS, encode(payload), JSON)

    async def post(self, path: str, payload: Mapping[str, Any]) -> dict[str, Any]:
        """The reply to a JSON payload. Raises WireError; Unauthorized when there is no key."""
        return completion(await self.exchange("POST", path, encode(payload), JSON))

    async def get(self, path: str) -> dict[str, Any]:
        """A JSON resource. Raises WireError; Unauthorized when there is no key."""
        return completion(await self.exchange("GET", path))

    async def exchange(
        self,
        method: str,
        path: str,
        body: bytes | aiohttp.FormData | None = None,
        headers: Mapping[str, str] | None = None,
        most: int | None = None,
        base: str | None = None,
    ) -> bytes:
        """The body of a 200, of at most `most` bytes (default: what a reply may have), from a path
        below `base` (default: the base_url).

        Raises WireError; Unauthorized when there is no key. Our own key is not repeated.
        """
        session, url = self._open(), (self.base_url if base is None else base) + path
        with self._wire_errors():
            async with session.request(
                method, url, data=body, headers=headers, allow_redirects=False, proxy=self._proxy
            ) as response:
                return await self._whole(response, most or self.largest)

    async def _streamed(self, path: str, body: bytes) -> bytes:
        """As `exchange`, of an answer that is sent while it is made: it may take as long as it
        likes, and no silence in it longer than the time-out."""
        session, url, silence = self._open(), self.base_url + path, self.config.timeout
        loop, hear = asyncio.get_running_loop(), LISTENER.get()
        with self._wire_errors() as begun:
            async with (
                asyncio.timeout(silence) as patience,
                session.post(
                    url,
                    data=body,
                    headers=JSON,
                    allow_redirects=False,
                    proxy=self._proxy,
                    timeout=ENDLESS,
                ) as response,
            ):
                if response.status != 200 or response.content_type != EVENTS:
                    return await self._whole(response, self.largest)
                begun.append(answer := AnswerStream())
                async for part in response.content.iter_any():
                    if answer.feed(part):
                        self._heard = time.monotonic()
                        patience.reschedule(loop.time() + silence)
                        if hear:
                            await hear(*answer.news())
                    if max(answer.size, answer.pending) > self.largest:
                        raise self.too_large()
                    if answer.ended:
                        break
        return self._hidden(encode(answer.body()))

    @contextmanager
    def _wire_errors(self) -> Iterator[list[AnswerStream]]:
        """Says what goes wrong inside as a WireError; takes the streams that have begun."""
        begun: list[AnswerStream] = []
        try:
            yield begun
        except WireError as error:
            error.heard = max(error.heard, self._heard)
            raise
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise WireError(str(error) or type(error).__name__, reached=False) from error
        except TimeoutError as error:
            message = f"no answer within {self.config.timeout:g} s"
            if any(answer.chunks for answer in begun):
                message = f"silent for {self.config.timeout:g} s in the midst of an answer"
            raise WireError(message, code=TIMED_OUT, heard=self._heard) from error
        except (aiohttp.ClientError, OSError) as error:
            message = str(error) or type(error).__name__
            raise WireError(message, heard=self._heard) from error

    async def _whole(self, response: aiohttp.ClientResponse, most: int) -> bytes:
        """The body of a response that is a 200 of at most `most` bytes. Raises WireError."""
        good = response.status == 200
        limit = most if good else COMPLAINT
        raw = await _body(response, limit)
        if len(raw) > limit:
            response.close()  # the rest is not waited for
        if good and len(raw) > limit:
            raise self.too_large()
        raw = self._hidden(raw)
        if not good:
            raise refusal(response.status, raw, response.headers)
        return raw

    def _hidden(self, raw: bytes) -> bytes:
        """The body without our own key."""
        if len(self._key) < SECRET:
            return raw
        return raw.replace(self._key.encode(), HIDDEN.encode())

    async def window(self, model: str) -> int | None:
        """The context window of a model in tokens, as far as the server says.

        Raises WireError; Unauthorized when there is no key.
        """
        listed = _named(model, (await self.get("/models")).get("data"))
        if (stated := stated_window(listed)) or self.base_url == OPENAI:
            return stated
        raw = await self.exchange("GET", "/props", base=self.base_url.removesuffix("/v1"))
        return stated_window({"meta": completion(raw).get("default_generation_settings")})

    async def aclose(self) -> None:
        """Close the connections; a later call opens new ones."""
        session, self._session = self._session, None
        if session is not None and self._loop is asyncio.get_running_loop():
            await session.close()

    def _open(self) -> aiohttp.ClientSession:
        loop = asyncio.get_running_loop()
        if self._session is None or self._loop is not loop:
            self._loop = loop
            scheme, host = urlsplit(self.base_url)[:2]
            self._proxy = None if proxy_bypass(host) else getproxies().get(scheme)
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self.config.max_concurrency),
                timeout=aiohttp.ClientTimeout(self.config.timeout, sock_connect=CONNECT),
                headers=self._authorization(),
                skip_auto_headers=("User-Agent",),
            )
        return self._session

    def _authorization(self) -> dict[str, str]:
        variable = self.config.key_env
        if variable is None:
            return {}
        key = os.environ.get(variable, "").strip()
        if not key:
            raise Unauthorized(
                f"endpoint {self.name} ({self.base_url}) needs a key, and the environment variable "
                f"{variable} is not set",
                f"export {variable}=… and resume",
            )
        if not key.isprintable():
            raise Unauthorized(
                f"the key of endpoint {self.name} ({self.base_url}) holds a line break or another "
                "character that no key has",
                f"Set {variable} to the key alone and resume",
            )
        self._key = key
        return {"Authorization": f"Bearer {key}"}

    def too_large(self) -> WireError:
        """What to raise for a reply beyond `largest`."""
        allowed = f"{self.config.max_reply_mb:g} MiB"
        return WireError(
            f"the reply is larger than {allowed} (endpoints.{self.name}.max_reply_mb)",
            status=200,
            code=TOO_LARGE,
        )


def secrets(endpoints: Iterable[EndpointConfig]) -> tuple[str, ...]:
    """The keys of these endpoints that are set, which nobody is to see."""
    variables = {config.key_env for config in endpoints} - {None}
    keys = (os.environ.get(str(variable), "").strip() for variable in variables)
    return tuple(key for key in keys if len(key) >= SECRET)


def _named(model: str, listed: Any) -> Mapping[str, Any]:
    """What a list of models says of one; of the only one, whatever it is called."""
    entries = listed if isinstance(listed, list) else ()
    known = [entry for entry in entries if isinstance(entry, dict)]
    named = [entry for entry in known if entry.get("id") == model]
    return next(iter(named or (known if len(known) == 1 else ())), {})


async def _body(response: aiohttp.ClientResponse, most: int) -> bytes:
    """What the server sends, until it is more than `most` bytes."""
    parts, size = [], 0
    async for part in response.content.iter_any():
        parts.append(part)
        size += len(part)
        if size > most:
            break
    return parts[0] if len(parts) == 1 else b"".join(parts)


def encode(payload: Mapping[str, Any]) -> bytes:
    """A payload as JSON in UTF-8; lone surrogates have no place on a wire."""
    try:
        return orjson.dumps(payload)  # the standard library takes as long as a tenth of a call
    except orjson.JSONEncodeError:
        text = json.dumps(payload, ensure_ascii=False, separators=(",", ":"))
        return text.encode("utf-8", "replace")


def refusal(status: int, raw: bytes, headers: Mapping[str, str] = NO_HEADERS) -> WireError:
    """What a server said with an error status, in OpenAI's form or any other."""
    text = raw.decode("utf-8", "replace").strip()
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        body = None
    found = body.get("error", body) if isinstance(body, dict) else None
    details = found if isinstance(found, dict) else {}
    words = (details.get("message"), details.get("detail"), found, text)
    message = next((word for word in words if isinstance(word, str) and word), "")
    if 300 <= status < 400 and (elsewhere := headers.get("Location")):
        message = f"a redirect, which is not followed, to {elsewhere}"
    error = WireError(
        " ".join(message.split())[:EXCERPT] or "an answer without a word",
        status=status,
        code=str(details.get("code") or ""),
        retry_after=retry_after(headers),
    )
    _note_context(error, details)
    return error


def _note_context(error: WireError, details: Mapping[str, Any]) -> None:
    """Knows a refusal for the context window by its kind or its words, and the sizes in it."""
    stated = _CONTEXT_SIZE.search(error.message)
    if not (stated or error.code == CONTEXT_FULL or details.get("type") == EXCEEDED):
        return
    error.code = CONTEXT_FULL
    sizes = details.get("n_ctx"), int(stated["size"]) if stated and stated["size"] else None
    error.window = next((size for size in sizes if isinstance(size, int) and size > 0), None)
    if isinstance(prompt := details.get("n_prompt_tokens"), int) and error.window:
        error.say(f"{error.message} (prompt {prompt:,} tokens, context {error.window:,})")


def stated_window(model: Mapping[str, Any]) -> int | None:
    """The context window, in tokens, in what a server says of a model; None where it says none."""
    meta = model.get("meta")
    places = (*((model, name) for name in WINDOWS), (meta, "n_ctx"))
    found = (place.get(name) for place, name in places if isinstance(place, Mapping))
    return next((size for size in found if type(size) is int and size > 0), None)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait by `retry-after-ms` or `Retry-After` (seconds or an HTTP date), if sent;
    0 … LONGEST_ASKED."""
    try:
        if milliseconds := headers.get("retry-after-ms"):
            seconds = float(milliseconds) / 1000
        elif not (value := headers.get("Retry-After")):
            return None
        elif value.strip().replace(".", "", 1).isdigit():
            seconds = float(value)
        else:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
    except (ValueError, OverflowError):
        return None
    return min(max(0.0, seconds), LONGEST_ASKED)
