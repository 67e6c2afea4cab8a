"""What one model on one endpoint does not take, learned from its refusals and remembered.

OpenAI-compatible servers differ: some refuse a temperature, a seed, `max_tokens` or a JSON schema.
A refusal that names such a parameter changes how every later request is put; what is asked, and
with it the request's key, stays the same.
"""

import json
from collections.abc import Mapping
from typing import Any

from autodata.models.errors import WireError

LIMITS = ("max_tokens", "max_completion_tokens")
FORMATS = ("json_schema", "json_object", "plain")  # how a structured reply is asked for
FORMAT_WORDS = ("response_format", "json_schema", "json_object", "schema", "guided", "grammar")
OPTIONS = ("temperature", "seed")  # what a model may refuse without the request losing its sense
UNKNOWN = ("unsupported", "not supported", "unknown", "unrecognized", "not permitted", "instead")


class Dialect:
    """Shapes payloads for one model; `learn` after each refusal with status 400 or 422."""

    def __init__(self, limit: str = LIMITS[0]) -> None:
        self.limit = limit
        self.format = FORMATS[0]
        self.left_out: set[str] = set()
        self.system_role = True
        self._limit_refused = False

    def shape(self, payload: Mapping[str, Any]) -> dict[str, Any]:
        """The payload as this model takes it."""
        shaped = {k: v for k, v in payload.items() if k not in self.left_out}
        for name in LIMITS:
            if name in shaped and name != self.limit:
                shaped[self.limit] = shaped.pop(name)
        if not self.system_role:
            shaped["messages"] = _without_system(shaped["messages"])
        if self.format != "json_schema" and "response_format" in shaped:
            asked = shaped.pop("response_format")["json_schema"]["schema"]
            shaped["messages"] = _with_schema(shaped["messages"], asked)
            if self.format == "json_object":
                shaped["response_format"] = {"type": "json_object"}
        return shaped

    def learn(self, refused: WireError) -> bool:
        """Whether putting the request differently may help; it then will be, from now on."""
        if refused.status not in (400, 422):
            return False
        text, sent = refused.message.casefold(), refused.sent
        return (
            self._learn_format(text, sent)
            or self._learn_limit(text, sent)
            or self._learn_option(text, sent)
            or self._learn_roles(text, sent)
        )

    def _learn_format(self, text: str, sent: Mapping[str, Any]) -> bool:
        asked = sent.get("response_format")
        if asked is None or not any(word in text for word in FORMAT_WORDS):
            return False
        lower = FORMATS.index(asked["type"]) + 1
        self.format = FORMATS[max(FORMATS.index(self.format), lower)]
        return True

    def _learn_limit(self, text: str, sent: Mapping[str, Any]) -> bool:
        used = next((name for name in LIMITS if name in sent), None)
        if used is None or used not in text or not any(word in text for word in UNKNOWN):
            return False
        if used == self.limit and not self._limit_refused:
            self.limit = next(name for name in LIMITS if name != used)
            self._limit_refused = True
        return used != self.limit

    def _learn_option(self, text: str, sent: Mapping[str, Any]) -> bool:
        named = {name for name in OPTIONS if name in sent and name in text}
        self.left_out |= named
        return bool(named)

    def _learn_roles(self, text: str, sent: Mapping[str, Any]) -> bool:
        messages: Any = sent.get("messages", ())
        refused = "system" in text and "role" in text
        if not refused or not any(m["role"] == "system" for m in messages):
            return False
        self.system_role = False
        return True


def _with_schema(messages: list[dict[str, Any]], schema: object) -> list[dict[str, Any]]:
    """The schema in words at the very end, where it leaves a cached prefix as it is."""
    *before, last = messages
    words = (
        "Reply with one JSON object that fits this JSON schema, and with nothing else:\n"
        + json.dumps(schema)
    )
    return [*before, {**last, "content": f"{last['content']}\n\n{words}"}]


def _without_system(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """System messages as the beginning of the first user message."""
    said = [m["content"] for m in messages if m["role"] == "system"]
    others = [m for m in messages if m["role"] != "system"]
    if not said or not others:
        return [{**m, "role": "user"} for m in messages]
    first, *rest = others
    return [{**first, "content": "\n\n".join([*said, first["content"]])}, *rest]
