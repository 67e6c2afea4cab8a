"""What goes over the wire: requests and bodies in the form of OpenAI's chat completions."""

import time
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from autodata.simulation.brain import SimulatedReply


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


def completion(
    number: int, model: str, reply: SimulatedReply, cached: int | None = None
) -> dict[str, Any]:
    """The body of a chat completion; `cached` of its input tokens were a known prefix, None without
    a prefix cache."""
    hits = {} if cached is None else {"cached_tokens": min(cached, reply.input_tokens)}
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
            "prompt_tokens_details": hits,
        },
    }


def complaint(error: ValidationError) -> str:
    """What is wrong with a JSON body, field by field."""
    return "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
