"""How simulated models put words together: lists, sentences, JSON, and JSON gone wrong."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from autodata.simulation.chance import Chance


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


def as_json(reply: Mapping[str, Any]) -> str:
    """A reply as models write it."""
    return json.dumps(reply, ensure_ascii=False, indent=1)


def spoilt(reply: Mapping[str, Any], rate: float, chance: Chance) -> str:
    """The reply as JSON; at the given rate broken off, wordy, or with a field of the wrong type."""
    text = as_json(reply)
    if not chance.happens(rate):
        return text
    way = chance.choice(("broken off", "no object", "wrong type", "missing field"))
    if way == "broken off":
        return text[: len(text) * 3 // 5]
    if way == "no object":
        return "Here is an example that I think works well. Shall I write it out as JSON?"
    if way == "wrong type":
        return as_json({**reply, "question": [reply.get("question", "")]})
    return as_json({name: value for name, value in reply.items() if name != "reference_answer"})
