"""Replies: the schema that goes out, and the one place that reads what comes back.

`read` takes a body from bytes to an answer or a WireError; nobody behind it sees a raw body. What
an answer does not need may be odd: surplus choices and fields, an unknown role, token counts that
are none. `parse` takes an answer's text to a checked value, tolerant in wrapping (code fences,
words around the object, a comma too many) and in nothing else: the reply's types are strict.
"""

import asyncio
import json
import re
import struct
from array import array
from base64 import b64decode, b64encode
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Generic, TypeVar

import json_repair
import orjson
from pydantic import BaseModel, ValidationError

from autodata.models.errors import WireError
from autodata.tasks.types import Frozen, digest

R = TypeVar("R", bound=BaseModel)

REASKS = 2  # times that a malformed or cut off reply is asked for again, with its fault
WINDOW_FULL = "the full context window"
BEGINNING = 300  # characters of a reply that was cut off, as a reminder
EXCERPT = 500  # characters of a server's words that are worth repeating
HIDDEN = "[hidden]"  # in place of a key that a server repeats
LARGE = 2**17  # bytes or characters that are not read on the event loop
MENDED = 2**13  # characters; mending takes a second at the worst, and four for twice as many
DEPTH = 64  # levels of a tool call's arguments
REASONING = ("reasoning_content", "reasoning")  # vLLM, DeepSeek, … and OpenRouter, newer vLLM
_THINKING = re.compile(r"\s*<think(?:ing)?>")
_THOUGHT = re.compile(r"</think(?:ing)?>")
SHOWN = 4  # problems listed in one re-ask
_FENCE = re.compile(r"```(?:json)?[ \t]*\n(.*?)```", re.DOTALL)
# A LaTeX command whose backslash was not doubled: JSON reads \frac as a form feed and "rac". Form
# feeds and backspaces are never meant; a tab or line break is not before the rest of such a name.
_LATEX = re.compile(
    r"(?<!\\)((?:\\\\)*)\\(?="
    r"[bf][A-Za-z]"
    r"|(?:tau|tan|tanh|text\w*|theta|times|tilde|to|top|triangle\w*|nabla|neg?|neq|nu|not|notin"
    r"|rho|right\w*|rangle|rceil|rfloor|underline|upsilon|union|uparrow|underbrace)(?![A-Za-z]))"
)
# A string, or a comma too many.
_COMMA = re.compile(r'("(?:[^"\\]|\\.)*")|,(?=\s*[}\]])', re.DOTALL)
# A brace, or a string with the colon that makes it a key.
_TOKEN = re.compile(r'[{}]|"(?P<key>(?:[^"\\]|\\.)*)"\s*:|"(?:[^"\\]|\\.)*"', re.DOTALL)
_UNSENT = ("default", "title")  # keywords of a JSON schema that tell a model nothing
# Keywords that bound a value: a model that is held to them cannot go round in circles. Endpoints
# differ in which they take; the reply is checked here whatever was sent.
BOUNDS = (
    *("minItems", "maxItems", "uniqueItems", "minLength", "maxLength", "pattern"),
    *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
)


@dataclass(frozen=True, slots=True)
class Reading:
    """An answer; token counts are None where the endpoint did not state them."""

    text: str = ""
    reasoning: str = ""
    finish_reason: str = ""
    input_tokens: int | None = None
    cached_tokens: int | None = None
    output_tokens: int | None = None
    reasoned: bool = False  # whether hidden reasoning came before the answer

    @property
    def cut_off(self) -> bool:
        """Ended by the token limit, or by reasoning that never came to an answer."""
        return self.finish_reason == "length" or (not self.text and self.reasoned)

    def without(self, secrets: Iterable[str]) -> "Reading":
        """The answer with none of these texts in it."""
        said = (self.text, self.reasoning, self.finish_reason)
        found = [secret for secret in secrets if any(secret in words for words in said)]
        if not found:
            return self
        text, reasoning, finish_reason = (hide(words, found) for words in said)
        return replace(self, text=text, reasoning=reasoning, finish_reason=finish_reason)

    def check(self) -> None:
        """Raises WireError for silence: a model that says nothing at all is unwell."""
        if not self.text and not self.cut_off:
            raise WireError(f"an empty reply (finish_reason {self.finish_reason!r})", status=200)


def hide(text: str, secrets: Iterable[str]) -> str:
    """The text with none of the secrets in it."""
    for secret in secrets:
        text = text.replace(secret, HIDDEN)
    return text


async def read(raw: bytes) -> Reading:
    """The answer in the body of a chat completion, free of lone surrogates; calls of tools become
    text. Whatever the body is, it is an answer or raises WireError."""
    return _read(raw) if len(raw) < LARGE else await asyncio.to_thread(_read, raw)


def _read(raw: bytes) -> Reading:
    try:
        return _reading(completion(raw))
    except RecursionError as error:
        raise WireError("the answer is nested too deeply", status=200) from error


def _reading(body: Mapping[str, Any]) -> Reading:
    choices = body.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(choice, dict):
        raise WireError("the answer holds no choices", status=200)
    message = choice.get("message")
    if not isinstance(message, dict):
        raise WireError("the answer's first choice holds no message", status=200)
    thought, text = split_thinking(clean(words(message.get("content"))))
    hidden = next((h for name in REASONING if isinstance(h := message.get(name), str) and h), "")
    reasoning = clean(hidden or thought)
    usage = _object(body.get("usage"))
    of_output = _object(usage.get("completion_tokens_details"))
    refusal = message.get("refusal")
    return Reading(
        text=clean(_with_calls(text, message.get("tool_calls")))
        or (clean(refusal) if isinstance(refusal, str) else ""),
        reasoning=reasoning,
        finish_reason=clean(str(choice.get("finish_reason") or ""))[:EXCERPT],
        input_tokens=_count(usage.get("prompt_tokens")),
        cached_tokens=_count(_object(usage.get("prompt_tokens_details")).get("cached_tokens")),
        output_tokens=_count(usage.get("completion_tokens")),
        reasoned=bool(reasoning or _count(of_output.get("reasoning_tokens"))),
    )


LARGEST = 1e30  # of a vector's numbers, which are kept in four bytes each
Vector = Sequence[float]


def text_key(text: str) -> str:
    """What a text's vector is kept under."""
    return digest(text)[:32]


def embedded(body: Mapping[str, Any], texts: Sequence[str]) -> Reading:
    """The vectors of these texts in the body of an embeddings reply, as `vectors` reads them.

    Raises WireError unless there is one for each, of finite numbers, all of one length.
    """
    data = body.get("data")
    rows = [_object(row) for row in data] if isinstance(data, list) else []
    found: dict[int, bytes] = {}
    for place, row in enumerate(rows):
        stated, vector = row.get("index"), row.get("embedding")
        good = isinstance(vector, list) and all(_is_number(value) for value in vector)
        if vector and good:
            at = stated if type(stated) is int else place
            found[at] = struct.pack(f"<{len(vector)}f", *vector)
    if set(found) != set(range(len(texts))) or len(set(map(len, found.values()))) != 1:
        raise WireError(f"the answer is no list of {len(texts)} vectors of one length", status=200)
    kept = {text_key(text): b64encode(found[n]).decode() for n, text in enumerate(texts)}
    usage = _object(body.get("usage"))
    sent = usage.get("prompt_tokens", usage.get("total_tokens"))
    return Reading(text=json.dumps(kept), input_tokens=_count(sent), output_tokens=0)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and -LARGEST < value < LARGEST


def vectors(answers: Iterable[str]) -> dict[str, Vector]:
    """The vectors that recorded answers hold, by the keys of their texts."""
    kept = {key: b64decode(text) for said in answers for key, text in json.loads(said).items()}
    return {key: array("f", struct.unpack(f"<{len(b) // 4}f", b)) for key, b in kept.items()}


def completion(raw: bytes) -> dict[str, Any]:
    """The JSON object of a 200 that is no error after all. Raises WireError."""
    body = json_object(raw)
    if stated := body.get("error"):
        raise WireError(f"the answer is an error: {str(stated)[:EXCERPT]}", status=200)
    return body


def json_object(raw: bytes) -> dict[str, Any]:
    """The JSON object in a body. Raises WireError: half a body or a web page may pass next time."""
    try:
        body = _json(raw)
    except (ValueError, RecursionError) as error:
        start = raw[:80].decode("utf-8", "replace")
        raise WireError(f"the answer is not JSON: {start!r}", status=200) from error
    if not isinstance(body, dict):
        raise WireError(f"the answer is not a JSON object but a {type(body).__name__}", status=200)
    return body


def split_thinking(text: str) -> tuple[str, str]:
    """Reasoning and answer of a reply whose endpoint left the reasoning in, between tags.

    The opening tag may be missing (chat templates that end in it) and so may the closing one (cut
    off while thinking). Tags further inside an answer are part of it.
    """
    begins = _THINKING.match(text)
    ends = list(_THOUGHT.finditer(text))
    if ends and (begins or "<think" not in text):
        return text[begins.end() if begins else 0 : ends[-1].start()], text[
            ends[-1].end() :
        ].strip()
    return (text[begins.end() :], "") if begins else ("", text)


def _json(raw: bytes) -> Any:
    """orjson is strict: escapes of half a character, which models write, need the other one."""
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        return json.loads(raw)


def words(content: Any) -> str:
    """The text of a message: a string, nothing, or a list of parts of which some are text.

    Raises WireError for anything else.
    """
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list):
        raise WireError("the answer's message is not in words", status=200)
    texts = [part if isinstance(part, str) else _object(part).get("text") for part in content]
    return "".join(text for text in texts if isinstance(text, str))


def _with_calls(text: str, calls: Any) -> str:
    """A reply in one text: its words, or JSON when the message calls tools besides.

    A call whose arguments are no JSON becomes a call with the argument `malformed`, so that the
    tool's own complaint tells the model.
    """
    if not calls:
        return text
    if not isinstance(calls, list):
        raise WireError("the answer's tool calls are not a list", status=200)
    made = [_call(call, number) for number, call in enumerate(calls, 1)]
    return json.dumps({"content": text, "tool_calls": made}, ensure_ascii=False)


def _call(call: Any, number: int) -> dict[str, Any]:
    function = _object(_object(call).get("function"))
    name, written, id_ = function.get("name"), function.get("arguments"), _object(call).get("id")
    if not isinstance(name, str):
        raise WireError("the answer calls a tool without a name", status=200)
    arguments = written or {}
    if isinstance(written, str) and written:
        try:
            arguments = json.loads(written)
        except (ValueError, RecursionError):
            arguments = None
    if not isinstance(arguments, dict) or not _within(arguments, DEPTH):
        arguments = {"malformed": written if isinstance(written, str) else "no object of values"}
    return {
        "name": name,
        "args": arguments,
        "id": id_ if isinstance(id_, str) else f"call-{number}",
    }


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _within(value: Any, depth: int) -> bool:
    """Whether a value is nested in no more than so many levels."""
    inner = value.values() if isinstance(value, dict) else value
    if inner is value and not isinstance(value, list):
        return True
    return depth > 0 and all(_within(part, depth - 1) for part in inner)


def _count(value: Any) -> int | None:
    """The endpoint's token count, as far as it is one."""
    return value if type(value) is int and 0 <= value < 2**53 else None


class TextReply(Frozen):
    """A reply in words; `truncated` by the token limit or the context window, as the `problem`
    says (then `text` may be empty)."""

    text: str
    truncated: bool
    problem: str = ""
    call_id: int


class StructuredReply(Frozen, Generic[R]):
    """A structured reply; without a `value` the `problem` says what stayed wrong with it."""

    value: R | None
    problem: str = ""
    call_id: int


def faulted(text: str, problem: str, cut_off: bool) -> tuple[dict[str, str], dict[str, str]]:
    """A reply and what is wrong with it, as the conversation goes on.

    Of one that was cut off its beginning is enough, and a shorter one is wanted: a small context
    holds no two of them.
    """
    said, in_full = text, "in full"
    if cut_off:
        said, in_full = f"{text[:BEGINNING]}…", "in full but much shorter"
    return (
        {"role": "assistant", "content": said},
        {
            "role": "user",
            "content": f"This reply cannot be used: {problem}. Reply once more, {in_full}, with "
            "one JSON object of the form that was asked for and nothing else.",
        },
    )


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


async def parse(text: str, reply: type[R]) -> R:
    """The reply in a model's words. Raises Malformed.

    JSON that breaks off is not mended: what is missing would be guessed. What is long or needs
    mending is read in a thread.
    """
    if len(text) < LARGE:
        found = _json_in(text)
        value = _strictly(found, reply)
        return value if value is not None else await asyncio.to_thread(_mended, found, reply)
    return await asyncio.to_thread(_parse, text, reply)


def _parse(text: str, reply: type[R]) -> R:
    found = _json_in(text)
    value = _strictly(found, reply)
    return value if value is not None else _mended(found, reply)


def _json_in(text: str) -> str:
    found = unwrap(text)
    return _LATEX.sub(r"\1\\\\", found) if "\\" in found else found


def _strictly(found: str, reply: type[R]) -> R | None:
    """The reply, None when the text is no JSON. Raises Malformed for JSON that does not fit."""
    try:
        value = reply.model_validate_json(found)
        json.loads(found, object_pairs_hook=_once_each)
    except ValidationError as error:
        if any(problem["type"] != "json_invalid" for problem in error.errors()):
            raise Malformed(_complaint(error)) from error
        return None
    except Malformed:
        raise
    except (ValueError, RecursionError) as error:
        raise Malformed(f"it cannot be read: {error}") from error
    return value


def _mended(found: str, reply: type[R]) -> R:
    """The reply in what is almost JSON. Raises Malformed."""
    if any(found.count(opening) > found.count(closing) for opening, closing in ("{}", "[]")):
        raise Malformed("it is JSON that breaks off before its end")
    _check_keys(found)
    if (value := _strictly(_COMMA.sub(_kept, found), reply)) is not None:
        return value
    if len(found) > MENDED:
        raise Malformed("it is not JSON")
    try:
        repaired = json.dumps(_clean(json_repair.loads(found)), allow_nan=False)
        return reply.model_validate_json(repaired)
    except ValidationError as error:
        raise Malformed(_complaint(error)) from error
    except (ValueError, RecursionError) as error:
        raise Malformed(f"it is not JSON: {error}") from error


def _kept(found: re.Match[str]) -> str:
    return found[1] or ""


def _once_each(pairs: list[tuple[str, Any]]) -> None:
    """Raises Malformed for an object that says a thing twice: nobody knows which one is meant."""
    seen: set[str] = set()
    for key, _ in pairs:
        _add(key, seen)


def _check_keys(almost: str) -> None:
    """As `_once_each`, for what is not quite JSON."""
    open_: list[set[str]] = [set()]
    for token in _TOKEN.finditer(almost):
        if token[0] == "{":
            open_.append(set())
        elif token[0] == "}" and len(open_) > 1:
            open_.pop()
        elif token["key"] is not None:
            _add(token["key"], open_[-1])


def _add(key: str, seen: set[str]) -> None:
    if key in seen:
        raise Malformed(f"the key {key[:EXCERPT]!r} stands twice in one object")
    seen.add(key)


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
    return {k: _strict(v) for k, v in schema.items() if k not in _UNSENT}


def without(keywords: Container[str], schema: Any) -> Any:
    """The schema without these keywords; properties may well be called so."""
    if isinstance(schema, list):
        return [without(keywords, item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: {name: without(keywords, part) for name, part in value.items()}
        if key in ("properties", "$defs")
        else without(keywords, value)
        for key, value in schema.items()
        if key not in keywords
    }


def keywords(schema: Any) -> set[str]:
    """The bounding keywords that a schema holds."""
    if isinstance(schema, list):
        return set().union(*map(keywords, schema))
    if not isinstance(schema, dict):
        return set()
    below = set().union(*map(keywords, schema.values()))
    return below | {key for key in BOUNDS if key in schema}
