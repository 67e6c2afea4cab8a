"""One request: what is asked of whom, and the key under which its answer is remembered."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from pydantic import BaseModel

from agents.cast import Player
from agents.structured import response_format
from tasks.types import digest

KINDS = {"system": SystemMessage, "user": HumanMessage, "assistant": AIMessage}
KEY = 32  # hex digits: 128 bits tell any two requests apart
SEEDS = 2**31  # what every endpoint takes as a seed lies below


@dataclass(frozen=True, slots=True)
class Request:
    """A request to one player. `options` are the parameters that differ from call to call."""

    player: Player
    scope: str
    sample: int
    messages: Sequence[Mapping[str, str]]
    reply: type[BaseModel] | None
    key: str
    options: Mapping[str, Any]

    @classmethod
    def of(
        cls,
        player: Player,
        messages: Sequence[Mapping[str, str]],
        *,
        scope: str,
        sample: int,
        reply: type[BaseModel] | None = None,
        again: int = 0,
        seed: int | None = None,
    ) -> "Request":
        """The request with its key and, when the run has a seed, a seed of its own.

        `again` counts how often the reply had to be asked for again: a model that repeats its
        mistake is asked in the same words, and still anew.

        The key covers everything that shapes the answer and nothing that only carries it: not the
        address, and not what the endpoint turned out to take.
        """
        said = digest(messages)
        options: dict[str, Any] = {}
        if seed is not None:
            options["seed"] = int(digest(seed, player.role, said, sample, again)[:12], 16) % SEEDS
        if reply is not None:
            options["response_format"] = response_format(reply)
        schema = _schema(reply) if reply else ""
        model = (player.config.endpoint, player.config.model, player.parameters)
        key = digest(player.role, model, said, options.get("seed"), sample, schema, again)[:KEY]
        return cls(player, scope, sample, messages, reply, key, options)

    @property
    def letters(self) -> int:
        """Length of the prompt in characters."""
        return sum(len(message["content"]) for message in self.messages)

    def converted(self) -> list[BaseMessage]:
        """The messages as LangChain's."""
        return [KINDS[message["role"]](message["content"]) for message in self.messages]


@cache
def _schema(reply: type[BaseModel]) -> str:
    return digest(response_format(reply))
