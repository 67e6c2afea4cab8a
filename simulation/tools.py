"""Tool calls of simulated agents: what was done so far, and what to do next."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from autodata.simulation.reading import plain


@dataclass(frozen=True)
class Done:
    """One tool call of the conversation and what came of it."""

    name: str
    arguments: Mapping[str, Any]
    result: str


@dataclass(frozen=True)
class Step:
    """What an agent says next: words, or calls as (tool name, arguments)."""

    text: str = ""
    calls: tuple[tuple[str, Mapping[str, Any]], ...] = field(default=())


def call(name: str, **arguments: Any) -> Step:
    """A step that calls one tool."""
    return Step(calls=((name, arguments),))


def done(messages: Sequence[Mapping[str, Any]]) -> list[Done]:
    """The tool calls of a conversation in OpenAI's form, in order, each with its result."""
    results = {m.get("tool_call_id"): plain(m.get("content")) for m in messages}
    return [
        Done(
            made["function"]["name"],
            json.loads(made["function"]["arguments"]),
            results.get(made["id"], ""),
        )
        for message in messages
        for made in message.get("tool_calls") or ()
    ]


def in_openai_form(
    calls: Sequence[tuple[str, Mapping[str, Any]]], before: int
) -> list[dict[str, Any]]:
    """The calls as a chat completion carries them; `before` were made earlier."""
    return [
        {
            "id": f"call-{number}",
            "type": "function",
            "function": {"name": name, "arguments": json.dumps(arguments, ensure_ascii=False)},
        }
        for number, (name, arguments) in enumerate(calls, before + 1)
    ]
