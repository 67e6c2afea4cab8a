"""How simulated models put words together: lists, sentences, JSON, and JSON gone wrong."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from autodata.simulation.rng import Rng

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
