"""What goes over the wire, in the form of OpenAI's chat completions, and the simulated models in
this process as what carries requests to an endpoint; with the troubles that are declared for it:
slowness, refusals, and answers that are none. Which request meets which follows from the seed and
the number of the request."""

import json
import time
from collections import Counter
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from aiohttp import web
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)

from autodata.simulation.messages import Rng, number, plain
from autodata.simulation.roles import SimulatedReply, respond

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

    @property
    def limit(self) -> int | None:
        """Tokens that the reply may have, None for the model's own limit."""
        return self.max_completion_tokens or self.max_tokens


def completion(number: int, model: str, reply: SimulatedReply) -> dict[str, Any]:
    """The body of a chat completion."""
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
        },
    }


def streamed(body: Mapping[str, Any]) -> bytes:
    """The same completion as a stream of events, one for each line of its text."""
    (choice,) = body["choices"]
    message = dict(choice["message"])
    first, *lines = (message["content"] or "").splitlines(keepends=True) or [message["content"]]
    deltas = [{**message, "content": first}, *({"content": line} for line in lines)]
    if calls := message.get("tool_calls"):
        deltas[0]["tool_calls"] = [call | {"index": at} for at, call in enumerate(calls)]
    pieces = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
    pieces[-1]["finish_reason"] = choice["finish_reason"]
    head = {**body, "object": "chat.completion.chunk", "usage": None}
    events = [head | {"choices": [piece]} for piece in pieces]
    events[-1]["usage"] = body["usage"]
    said = [json.dumps(event) for event in events]
    return "".join(f"data: {event}\n\n" for event in [*said, "[DONE]"]).encode()


def complaint(error: ValidationError) -> str:
    """What is wrong with a JSON body, field by field."""
    return "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())


class Samples:
    """Numbers the repeats of a request 0, 1, 2, …: without a seed, repeats differ."""

    def __init__(self) -> None:
        self._seen: Counter[int] = Counter()

    def seed(self, asked: CompletionRequest) -> int | None:
        """The seed of a request: its own, at temperature 0 none, else how often it came before."""
        if asked.seed is not None or asked.temperature == 0:
            return asked.seed
        key = number(asked.model, *(plain(message.get("content")) for message in asked.messages))
        self._seen[key] += 1
        return self._seen[key] - 1


class SimulatedTransport:
    """Answers at once, and in the same form as the server.

    A request's `seed` makes its reply repeatable; without one the n-th repeat of a request gets the
    n-th sample (temperature 0: always the first).
    """

    base_url = "in this process"

    def __init__(self) -> None:
        self._samples = Samples()
        self._number = 0

    async def complete(self, payload: Mapping[str, Any], request_id: str) -> bytes:
        """The body of a chat completion. Raises pydantic.ValidationError for what is none."""
        asked = CompletionRequest.model_validate(payload)
        self._number += 1
        reply = respond(asked.model, asked.messages, self._samples.seed(asked), asked.limit)
        return json.dumps(completion(self._number, asked.model, reply)).encode()

    async def aclose(self) -> None:
        """There is nothing to let go of."""
