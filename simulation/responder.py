"""One function answers every request: it reads who is asked, and answers as that role would."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Literal

from autodata.simulation import optimizer
from autodata.simulation.messages import ChatMessages, plain, read
from autodata.simulation.rng import Rng
from autodata.simulation.roles import Role, roles
from autodata.simulation.scenario import GENERAL

# Domains with a module of their own here, by the title of their prompts. Every other one, also one
# that nobody here has heard of, is practised with the general scenario.
OWN = ("legal", "science", "procedural")
CHARACTERS_PER_TOKEN = 4  # the usual rule of thumb for English
OUTPUT_MAX = 8192  # tokens that a reply may have when the request states no limit

Finish = Literal["stop", "length", "tool_calls"]


@dataclass(frozen=True)
class SimulatedReply:
    """What a simulated model answers, with the tokens that it counts.

    `tool_calls` are in OpenAI's form.
    """

    content: str
    finish_reason: Finish
    input_tokens: int
    output_tokens: int
    tool_calls: Sequence[Mapping[str, Any]] = ()


def respond(
    model: str, messages: ChatMessages, seed: int | None = None, max_tokens: int | None = None
) -> SimulatedReply:
    """The reply of `model` to chat messages ({"role", "content"}).

    It follows from (messages, model, seed) alone. A text longer than `max_tokens` (by default
    8,192) is cut there and finishes with "length".
    """
    texts = [plain(message.get("content")) for message in messages]
    asked = sum(map(tokens, texts))
    brief = read(messages, model)
    if agent := optimizer.AGENTS.get(brief.role):
        # What an agent is up to follows from its brief alone, whatever it has done so far.
        step = agent(brief, Rng(model, *texts[:2]))
        calls = _in_openai_form(step.calls, len(brief.done))
        said = tokens(step.text + "".join(call["function"]["arguments"] for call in calls))
        return SimulatedReply(step.text, "tool_calls" if calls else "stop", asked, said, calls)
    answer = _roles(brief.domain).get(brief.role)
    role = f" “{brief.role}”" if brief.role else ""
    text = f"This is a simulated model. It knows no role{role}."
    if answer:
        text = answer(brief, Rng(model, seed, *texts))
    limit = max_tokens or OUTPUT_MAX
    if tokens(text) <= limit:
        return SimulatedReply(text, "stop", asked, tokens(text))
    text = text[: limit * CHARACTERS_PER_TOKEN]
    return SimulatedReply(text, "length", asked, tokens(text))


def tokens(text: str) -> int:
    """How many tokens a text counts for."""
    return -(-len(text) // CHARACTERS_PER_TOKEN)


@cache
def _roles(domain: str) -> Mapping[str, Role]:
    """Who answers in a domain. Imported when first asked: computer algebra takes a second."""
    general = roles(GENERAL)
    module = f"autodata.simulation.{domain}"
    if domain not in OWN or find_spec(module) is None:
        return general
    return {**general, **import_module(module).RESPONDERS}


def _in_openai_form(
    calls: Sequence[tuple[str, Mapping[str, Any]]], before: int
) -> list[dict[str, Any]]:
    """The calls as a chat completion carries them; `before` were made earlier."""
    return [
        {
            "id": f"call-{place}",
            "type": "function",
            "function": {"name": name, "arguments": json.dumps(arguments, ensure_ascii=False)},
        }
        for place, (name, arguments) in enumerate(calls, before + 1)
    ]
