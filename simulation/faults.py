"""Declared troubles of an endpoint: slowness, refusals, and answers that are none.

Which request meets which fault follows from the seed and the number of the request.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, PositiveInt, model_validator

from autodata.simulation.rng import Rng

Fault = Literal[
    "rate_limited",  # 429, with Retry-After when `retry_after` is set
    "unavailable",  # 503, likewise
    "error",  # 500
    "reset",  # the connection is cut before anything is sent
    "hang",  # nothing is sent for `hang` seconds, then the connection is cut
    "truncated_body",  # half of the body, then the connection is cut
    "wrong_json",  # 200 with a body that is not JSON
    "refusal",  # 200 with a refusal instead of content
    "empty",  # 200 with empty content
    "length",  # 200 with half of the content and finish_reason "length"
    "other_model",  # 200 in the name of another model
]
Share = Annotated[float, Field(ge=0, le=1)]
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
    models: tuple[str, ...] = ()
    seed: int = 0

    @model_validator(mode="after")
    def rates_leave_room(self) -> Self:
        """At most every request can meet a fault."""
        if sum(self.rates.values()) > 1:
            raise ValueError(f"the rates add up to {sum(self.rates.values()):g}, more than 1")
        return self

    def fault(self, number: int) -> Fault | None:
        """What is wrong with request `number`, counted from 0."""
        if number < len(self.script):
            return self.script[number]
        drawn = Rng("fault", self.seed, number).random()
        for name, rate in self.rates.items():
            drawn -= rate
            if drawn < 0:
                return name
        return None

    def seconds(self, number: int) -> float:
        """How long the completion of request `number` takes."""
        rng = Rng("latency", self.seed, number)
        return self.latency.median * rng.lognormvariate(0.0, self.latency.sigma)


def spoilt(fault: Fault | None, body: dict[str, Any]) -> dict[str, Any]:
    """The body of a completion with its content or model spoilt, if that is the fault."""
    (choice,) = body["choices"]
    if fault == "other_model":
        body["model"] += "-of-another-maker"
    elif fault == "refusal":
        choice["message"] |= {"content": None, "refusal": "I can't help with that."}
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
