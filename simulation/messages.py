"""What a simulated model makes of the messages it is sent (its role, its sections, its orders), and
how it words its own: lists, sentences, JSON, and JSON gone wrong.

Nothing but messages reaches it: no side channel, the same in process and over a wire.
"""

import hashlib
import json
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")


def number(*parts: object) -> int:
    """A 64-bit integer that follows from the parts alone, on any machine."""
    text = "\x1f".join(map(str, parts)).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big")


class Rng(random.Random):
    """A stream of draws that follows from its parts alone."""

    def __init__(self, *parts: object) -> None:
        super().__init__(number(*parts))

    def happens(self, rate: float) -> bool:
        """True with probability `rate` (0 … 1)."""
        return self.random() < rate

    def weighted(self, weights: Mapping[T, float]) -> T:
        """One key, drawn in proportion to its weight (≥ 0, not all 0)."""
        return self.choices(list(weights), weights=list(weights.values()))[0]

    def shuffled(self, items: list[T]) -> list[T]:
        """The items in a random order; the list given stays as it is."""
        return self.sample(items, len(items))


def noise(sigma: float, *parts: object) -> float:
    """One draw from a normal distribution around 0; the same for the same parts."""
    return Rng(*parts).gauss(0.0, sigma)


ChatMessages = Sequence[Mapping[str, Any]]

# Sections in the order of the prompts. A document comes first and may contain anything, such as
# tags that look like ours: it ends at the last closing tag.
SECTIONS = (
    "document", "case_file", "angle", "feedback", "context", "question_type", "question",
    "reference_answer", "rubric", "answer", "weak_attempts", "strong_attempts", "instruction",
    "index", "history", "analysis", "files",
)  # fmt: skip
_TITLE = re.compile(r"^#\s+([A-Za-z ]+?)\s*(?:[·:–—-]\s*(.+?)\s*)?$", re.MULTILINE)
_TAGGED = {
    name: re.compile(rf"^<{name}>$(.*)^</{name}>$", re.MULTILINE | re.DOTALL) for name in SECTIONS
}
_POLICY = re.compile(r"^([a-z_]+): (-?\d+)$", re.MULTILINE)


@dataclass(frozen=True)
class Done:
    """One tool call of the conversation and what came of it."""

    name: str
    arguments: Mapping[str, Any]
    result: str


@dataclass(frozen=True)
class Brief:
    """One request, read: which `model` is asked, as which `role` in which `domain`, for what.

    `guidance` holds the prompt's own words on one line, without any section's; `reasked` counts the
    times that an earlier reply was sent back; `done` are the tool calls so far.
    """

    model: str
    role: str
    domain: str
    guidance: str
    sections: Mapping[str, str]
    policy: Mapping[str, int] = field(default_factory=dict)
    reasked: int = 0
    done: Sequence[Done] = ()

    def section(self, name: str) -> str:
        """The text of a section, or nothing."""
        return self.sections.get(name, "")


def read(messages: ChatMessages, model: str = "") -> Brief:
    """The brief that the messages (OpenAI's: {"role", "content", …}) contain."""
    texts = [(str(m.get("role", "user")), plain(m.get("content"))) for m in messages]
    system = "\n".join(text for role, text in texts if role == "system")
    users = [text for role, text in texts if role == "user"]
    title = _TITLE.search(system or (users[0] if users else ""))
    role, domain = (part.casefold() for part in title.groups("")) if title else ("", "")
    role = role.replace(" ", "_")
    worked = role == "solver"  # is asked once, at the end, after worked examples
    asked = users[-1 if worked else 0] if users else ""
    sections, rest = _sections(asked)
    guidance = " ".join([*system.split(), *rest.split()])
    policy = {name: int(value) for name, value in _POLICY.findall(system + "\n" + rest)}
    reasked = 0 if worked else max(len(users) - 1, 0)
    return Brief(model, role, domain, guidance, sections, policy, reasked, _done(messages))


def plain(content: Any) -> str:
    """The text of a message's content, whether a string or a list of text blocks."""
    if isinstance(content, list):
        return "".join(b if isinstance(b, str) else str(b.get("text", "")) for b in content)
    return "" if content is None else str(content)


def _sections(text: str) -> tuple[dict[str, str], str]:
    """The tagged sections, and what of the text stands outside them."""
    sections: dict[str, str] = {}
    for name in SECTIONS:
        if found := _TAGGED[name].search(text):
            sections[name] = found[1].strip()
            text = text[: found.start()] + text[found.end() :]
    return sections, text


def _done(messages: ChatMessages) -> list[Done]:
    """The tool calls of a conversation in OpenAI's form, in order, each with its result."""
    calls = [call for message in messages for call in message.get("tool_calls") or ()]
    results = {m.get("tool_call_id"): plain(m.get("content")) for m in messages} if calls else {}
    return [
        Done(
            call["function"]["name"],
            json.loads(call["function"]["arguments"]),
            results.get(call["id"], ""),
        )
        for call in calls
    ]


REASKED = 0.3  # how many of the malformed replies are left each time that one was sent back


def listed(items: Sequence[str]) -> str:
    """The items as they stand in a sentence: a, b and c."""
    *most, last = items
    return f"{', '.join(most)} and {last}" if most else last


def quoted(terms: Sequence[str]) -> str:
    """The terms in guillemets, as they stand in a sentence."""
    return listed([f"«{term}»" for term in terms])


def sentence(text: str) -> str:
    """The text with a capital first letter and a full stop."""
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "?", "!", "”")) else ".")


def excerpt(text: str, words: int = 14) -> str:
    """The first words of a text, as a short quote."""
    parts = text.split()
    return " ".join(parts[:words]) + (" …" if len(parts) > words else "")


def as_json(reply: Mapping[str, Any], malformed: float, reasked: int, rng: Rng) -> str:
    """A reply as models write it: at a rate (0 … 1) broken off, wordy, or with a field of the wrong
    type; less often after it was sent back `reasked` times."""
    text = _json(reply)
    if not rng.happens(malformed * REASKED**reasked):
        return text
    way = rng.choice(("broken off", "no object", "wrong type", "missing field"))
    if way == "broken off":
        return text[: len(text) * 3 // 5]
    if way == "no object":
        return "Here is an example that I think works well. Shall I write it out as JSON?"
    if way == "wrong type":
        return _json({**reply, "question": [reply.get("question", "")]})
    return _json({name: value for name, value in reply.items() if name != "reference_answer"})


def _json(reply: Mapping[str, Any]) -> str:
    return json.dumps(reply, ensure_ascii=False, indent=1)
