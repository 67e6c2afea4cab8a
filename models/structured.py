"""Structured replies: the schema that goes out, and the tolerant reading of what comes back.

Tolerant means wrapping: code fences, words around the object, a comma too many.
Values are not interpreted: the reply's types are strict.
"""

import json
import re
from functools import cache
from typing import Any, TypeVar

import json_repair
from pydantic import BaseModel, ValidationError

R = TypeVar("R", bound=BaseModel)

SHOWN = 4  # problems listed in one re-ask
_FENCE = re.compile(r"```(?:json)?[ \t]*\n(.*?)\n?[ \t]*```", re.DOTALL)
# A LaTeX command whose backslash was not doubled: JSON reads \frac as a form feed and "rac". Form
# feeds and backspaces are never meant; a tab or line break is not before the rest of such a name.
_LATEX = re.compile(
    r"(?<!\\)((?:\\\\)*)\\(?="
    r"[bf][A-Za-z]"
    r"|(?:tau|tan|tanh|text\w*|theta|times|tilde|to|top|triangle\w*|nabla|neg?|neq|nu|not|notin"
    r"|rho|right\w*|rangle|rceil|rfloor|underline|upsilon|union|uparrow|underbrace)(?![A-Za-z]))"
)
# JSON schema keywords that OpenAI's strict mode refuses; the reply is checked for them here.
_LOOSE = ("default", "title", "minLength", "maxLength", "minItems", "maxItems")


class Malformed(ValueError):
    """A reply that does not fit its schema; the message tells the model what to put right."""


@cache
def response_format(reply: type[BaseModel]) -> dict[str, Any]:
    """The `response_format` that asks for this reply by JSON schema, strict."""
    schema = _strict(reply.model_json_schema())
    return {
        "type": "json_schema",
        "json_schema": {"name": reply.__name__, "strict": True, "schema": schema},
    }


def parse(text: str, reply: type[R]) -> R:
    """The reply in a model's words. Raises Malformed.

    JSON that breaks off is not mended: what is missing would be guessed.
    """
    found = _LATEX.sub(r"\1\\\\", unwrap(text)) if "\\" in text else unwrap(text)
    try:
        return reply.model_validate_json(found)
    except ValidationError as error:
        if any(problem["type"] != "json_invalid" for problem in error.errors()):
            raise Malformed(_complaint(error)) from error
    if any(found.count(opening) > found.count(closing) for opening, closing in ("{}", "[]")):
        raise Malformed("it is JSON that breaks off before its end")
    try:
        repaired = json.dumps(_clean(json_repair.loads(found)), allow_nan=False)
        return reply.model_validate_json(repaired)
    except ValidationError as error:
        raise Malformed(_complaint(error)) from error
    except (ValueError, RecursionError) as error:
        raise Malformed(f"it is not JSON: {error}") from error


def unwrap(text: str) -> str:
    """The JSON object inside a code fence or chatter; the text if there is none."""
    text = text.strip()
    if text.startswith("{"):
        return text
    if fenced := _FENCE.findall(text):
        return str(fenced[-1]).strip()
    start, end = text.find("{"), text.rfind("}")
    return text[start : end + 1] if 0 <= start < end else text


def clean(text: str) -> str:
    """The text without lone surrogates, which no database and no wire takes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, list):
        return [_clean(item) for item in value]
    if isinstance(value, dict):
        return {clean(key): _clean(item) for key, item in value.items()}
    return value


def _complaint(error: ValidationError) -> str:
    problems = error.errors(include_url=False, include_input=False, include_context=False)
    said = [
        f"{'.'.join(str(part) for part in problem['loc']) or 'the reply'}: {problem['msg']}"
        for problem in problems[:SHOWN]
    ]
    if len(problems) > SHOWN:
        said.append(f"and {len(problems) - SHOWN} more")
    return "; ".join(said)


def _strict(schema: Any) -> Any:
    """The schema with every key required and no others allowed, as strict mode wants it."""
    if isinstance(schema, list):
        return [_strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if isinstance(schema.get("properties"), dict):
        properties = {name: _strict(value) for name, value in schema["properties"].items()}
        others = {k: _strict(v) for k, v in schema.items() if k in ("$defs", "description")}
        return {
            "type": "object",
            "properties": properties,
            "required": list(properties),
            "additionalProperties": False,
            **others,
        }
    return {k: _strict(v) for k, v in schema.items() if k not in _LOOSE}
