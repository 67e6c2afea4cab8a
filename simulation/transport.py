"""What goes over the wire, in the form of OpenAI's chat completions, and the simulated models in
this process as what carries requests to an endpoint."""

import json
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from autodata.simulation.messages import plain
from autodata.simulation.responder import SimulatedReply, respond
from autodata.simulation.rng import number


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
