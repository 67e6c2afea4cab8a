"""Declared troubles of an endpoint: slowness, refusals, and answers that are none.

Switched on by flags, and while the server runs by `POST /faults` with the JSON of a `Faults`.
Which request meets which fault follows from the seed and the number of the request.
"""

import asyncio
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from aiohttp import web
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    PositiveInt,
    model_validator,
)

from autodata.simulation.rng import Rng

Fault = Literal[
    "rate_limited",  # 429, with Retry-After when `retry_after` is set
    "unavailable",  # 503, likewise
    "error",  # 500
    "reset",  # the connection is cut before anything is sent
    "hang",  # nothing is sent for `hang` seconds, then the connection is cut
    "truncated_body",  # half of the body, then the connection is cut
    "drip",  # the whole body, in pieces, over `drip` seconds
    "wrong_json",  # 200 with a body that is not JSON
    "refusal",  # 200 with a refusal instead of content
    "empty",  # 200 with empty content
    "length",  # 200 with half of the content and finish_reason "length"
    "other_model",  # 200 in the name of another model
]
Share = Annotated[float, Field(ge=0, le=1)]
PIECES = 20  # of a dripping body
REFUSED = "I'm sorry, but I can't help with that."


REFUSALS: Mapping[Fault | None, tuple[int, str, str]] = {
    "rate_limited": (429, "Rate limit reached.", "rate_limit_exceeded"),
    "unavailable": (503, "The server is overloaded.", "overloaded"),
    "error": (500, "The server had an error.", "server_error"),
}


class Latency(BaseModel):
    """Seconds per completion: log-normal around `median`; with `sigma` 0 always the median."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    median: NonNegativeFloat = 0.0
    sigma: NonNegativeFloat = 0.0

    def draw(self, rng: Rng) -> float:
        """The seconds that one completion takes."""
        return self.median * rng.lognormvariate(0.0, self.sigma)


class Faults(BaseModel):
    """What is wrong with an endpoint.

    `script` is worked off first, one entry per request (null: nothing wrong); then each fault
    happens at its rate, the share of requests it hits (0 … 1, together at most 1). More than
    `capacity` requests at once wait for their turn with `queue`, and get a 429 without. A model
    that is not in `models` gets a 404.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    rates: Mapping[Fault, Share] = Field(default_factory=dict)
    script: tuple[Fault | None, ...] = ()
    latency: Latency = Latency()
    capacity: PositiveInt | None = None
    queue: bool = False
    retry_after: NonNegativeFloat | None = Field(None, description="seconds")
    hang: NonNegativeFloat = Field(3600.0, description="seconds")
    drip: NonNegativeFloat = Field(10.0, description="seconds")
    models: tuple[str, ...] = ()
    seed: int = 0

    @model_validator(mode="after")
    def rates_leave_room(self) -> Self:
        """At most every request can meet a fault."""
        if sum(self.rates.values()) > 1:
            raise ValueError(f"the rates add up to {sum(self.rates.values()):g}, more than 1")
        return self

    def fault(self, number: int) -> Fault | None:
        """What is wrong with request `number`, counted from 0 since these faults were set."""
        if number < len(self.script):
            return self.script[number]
        drawn = Rng("fault", self.seed, number).random()
        for name, rate in self.rates.items():
            drawn -= rate
            if drawn < 0:
                return name
        return None


class Trouble:
    """The faults of one server at work: which request is next, and who waits."""

    def __init__(self, faults: Faults) -> None:
        self.faults = faults
        self._number = 0
        self._turns = asyncio.Semaphore(faults.capacity or 1)

    def next(self) -> tuple[Fault | None, float]:
        """What is wrong with the next request, and how many seconds it takes."""
        number, self._number = self._number, self._number + 1
        seconds = self.faults.latency.draw(Rng("latency", self.faults.seed, number))
        return self.faults.fault(number), seconds

    async def serve(self, seconds: float) -> bool:
        """Take the time of one completion; False when there was no room for it."""
        if self.faults.capacity is None:
            await asyncio.sleep(seconds)
            return True
        if self._turns.locked() and not self.faults.queue:
            return False
        async with self._turns:
            await asyncio.sleep(seconds)
        return True

    async def cut(self, fault: Fault | None, request: web.Request) -> bool:
        """Cut the connection without an answer, at once or after a while, if that is the fault."""
        if fault not in ("reset", "hang"):
            return False
        await asyncio.sleep(self.faults.hang if fault == "hang" else 0)
        if request.transport is not None:
            request.transport.abort()
        return True

    def refusal(self, fault: Fault | None) -> web.Response:
        """What a fault of `REFUSALS` amounts to."""
        wait = None if fault == "error" else self.faults.retry_after
        return refusal(*REFUSALS[fault], wait)

    async def send(
        self, fault: Fault | None, body: dict[str, Any], request: web.Request
    ) -> web.StreamResponse:
        """The answer, or what the fault makes of it."""
        if fault == "wrong_json":
            raw = b"<html>502 Bad Gateway</html>"
        else:
            raw = json.dumps(spoilt(fault, body)).encode()
        if fault not in ("truncated_body", "drip"):
            return web.Response(body=raw, content_type="application/json")
        response = web.StreamResponse(headers={"Content-Length": str(len(raw))})
        response.content_type = "application/json"
        await response.prepare(request)
        if fault == "truncated_body":
            await response.write(raw[: len(raw) // 2])
            if request.transport is not None:
                request.transport.close()
            return response
        for start in range(0, len(raw), size := -(-len(raw) // PIECES)):
            await response.write(raw[start : start + size])
            await asyncio.sleep(self.faults.drip / PIECES)
        return response


def spoilt(fault: Fault | None, body: dict[str, Any]) -> dict[str, Any]:
    """The body of a completion with its content or model spoilt, if that is the fault."""
    (choice,) = body["choices"]
    if fault == "other_model":
        body["model"] += "-of-another-maker"
    elif fault == "refusal":
        choice["message"] |= {"content": None, "refusal": REFUSED}
    elif fault == "empty":
        choice["message"]["content"] = ""
    elif fault == "length":
        text = choice["message"]["content"]
        choice["message"]["content"] = text[: len(text) // 2]
        choice["finish_reason"] = "length"
    return body


def refusal(
    status: int, message: str, code: str | None = None, retry_after: float | None = None
) -> web.Response:
    """An error body with its status; `retry_after` is in seconds."""
    kind = "invalid_request_error" if status < 500 else "server_error"
    headers = {} if retry_after is None else {"Retry-After": f"{retry_after:g}"}
    body = {"error": {"message": message, "type": kind, "code": code or str(status)}}
    return web.json_response(body, status=status, headers=headers)
