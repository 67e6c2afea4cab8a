"""One request: what is asked of whom, and the key under which its answer is remembered."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from typing import Any

from pydantic import BaseModel

from autodata.models.registry import RoleModel
from autodata.models.replies import response_format
from autodata.tasks.types import digest

KEY = 32  # hex digits: 128 bits tell any two requests apart
BYTES = 3  # of UTF-8 per token, at the least, in ordinary text of any script
FRAME = 16  # tokens that a chat template puts around a message, at the most
WORDING = 256  # tokens that a schema or tools are introduced with, at the most
SEEDS = 2**31  # what every endpoint takes as a seed lies below


@dataclass(frozen=True, slots=True)
class Request:
    """A request to one role_model. `options` are the parameters that differ from call to call."""

    role_model: RoleModel
    scope: str
    sample: int
    messages: Sequence[Mapping[str, str]]
    reply: type[BaseModel] | None
    key: str
    options: Mapping[str, Any]

    @classmethod
    def of(
        cls,
        role_model: RoleModel,
        messages: Sequence[Mapping[str, str]],
        *,
        scope: str,
        sample: int,
        reply: type[BaseModel] | None = None,
        again: int = 0,
        tools: Sequence[Mapping[str, Any]] = (),
        seed: int | None = None,
    ) -> "Request":
        """The request with its key and, when the run has a seed, a seed of its own.

        `tools` are those that the model may call, as OpenAI's function schemas.

        `again` counts how often the reply had to be asked for again: a model that repeats its
        mistake is asked in the same words, and still anew.

        The key covers everything that shapes the answer and nothing that only carries it: not the
        address, and not what the endpoint turned out to take.
        """
        said = _digest(messages)
        options: dict[str, Any] = {}
        if seed is not None:
            options["seed"] = (
                int(digest(seed, role_model.role, said, sample, again)[:12], 16) % SEEDS
            )
        if reply is not None:
            options["response_format"] = response_format(reply)
        if tools:
            options["tools"] = list(tools)
        schema = _schema(reply) if reply else ""
        shape = [sample, schema, again, *([digest(tools)] if tools else [])]
        key = digest(role_model.identity, said, options.get("seed"), *shape)[:KEY]
        return cls(role_model, scope, sample, messages, reply, key, options)

    @property
    def id(self) -> str:
        """What names the request within the run."""
        return digest(self.scope, self.key)[:KEY]

    @property
    def tokens(self) -> int:
        """Length of the prompt in tokens, rather too high: for rates, not for counts."""
        said = sum(_bytes(message["content"]) // BYTES + 1 + FRAME for message in self.messages)
        return said + self._attached // BYTES

    @property
    def most_tokens(self) -> int:
        """Length of the prompt in tokens, at the very most: one per byte."""
        said = sum(_bytes(message["content"]) + FRAME for message in self.messages)
        attached = self._attached
        return said + (attached + WORDING if attached else 0)

    @property
    def _attached(self) -> int:
        """Bytes of the schema and the tools, about."""
        tools = self.options.get("tools")
        return (_schema_bytes(self.reply) if self.reply else 0) + (
            _bytes(str(tools)) if tools else 0
        )


def _digest(messages: Sequence[Mapping[str, str]]) -> str:
    """SHA-256 of the messages, straight from their text: they may be long."""
    found = sha256()
    for message in messages:
        text = message["content"].encode("utf-8", "surrogatepass")
        found.update(f"{message['role']} {len(text)} ".encode())
        found.update(text)
    return found.hexdigest()


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))


@cache
def _schema(reply: type[BaseModel]) -> str:
    return digest(response_format(reply))


@cache
def _schema_bytes(reply: type[BaseModel]) -> int:
    return _bytes(str(response_format(reply)))
