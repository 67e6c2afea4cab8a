"""One model of an endpoint at work: its messages out in its dialect, its answer in.

OpenAI-compatible servers differ: some refuse a temperature, a seed, `max_tokens` or a JSON schema.
A refusal that names such a parameter changes how every later request is put; what is asked, and
with it the request's key, stays the same.

Messages are words by role, as the call log keeps them; calls of tools and their results are text,
too. ChatOpenAI takes any object as its client: ours posts through the endpoint's transport, in the
model's dialect. Its messages, tools and callbacks are LangChain's: LangSmith, LangGraph's streams
and Studio hear of every call. Words that nobody listens to are put into the request as they are:
LangChain's preparations take longer than all of our own.
"""

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cached_property
from types import MappingProxyType
from typing import Any, TypeGuard

from langchain_core.callbacks import AsyncCallbackManager, AsyncCallbackManagerForLLMRun
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolCall,
    ToolMessage,
)
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables.config import ensure_config
from langchain_core.tracers._streaming import _StreamingCallbackHandler
from langchain_core.utils.utils import LC_ID_PREFIX
from langchain_openai import ChatOpenAI
from pydantic import PrivateAttr

from autodata.models.config import ModelConfig, Streaming
from autodata.models.errors import TIMED_OUT, WireError
from autodata.models.replies import Reading, clean, embedded, hide, keywords, read, without
from autodata.models.transport import LISTENER, VECTORS, HttpTransport, Listener, Transport

Messages = Sequence[Mapping[str, str]]

LIMIT_NAMES = ("max_tokens", "max_completion_tokens")
FORMATS = ("json_schema", "json_object", "plain")  # how a structured reply is asked for
FORMAT_WORDS = ("response_format", "json_schema", "json_object", "schema", "guided", "grammar")
OPTIONS = ("temperature", "seed")  # what a model may refuse without the request losing its sense
UNKNOWN = ("unsupported", "not supported", "unknown", "unrecognized", "not permitted", "instead")
SOON = 0.1  # of the time-out: an answer within it is no sign of slowness
KEYS = {"content", "tool_calls"}
REQUEST_ID = "request_id"  # an option that names the request within the run; it is not sent
HEARD = "heard"  # one that takes the answer word by word; it is not sent either

# What the calls of the running task are about, for those who listen.
NO_LABELS: Mapping[str, str | int] = MappingProxyType({})
_LABELS: ContextVar[Mapping[str, str | int]] = ContextVar("_LABELS", default=NO_LABELS)


@contextmanager
def labelled(**labels: str | int) -> Iterator[None]:
    """What is asked inside carries these labels, where somebody listens: as tags and as metadata of
    its messages in LangChain."""
    before = _LABELS.set({**_LABELS.get(), **labels})
    try:
        yield
    finally:
        _LABELS.reset(before)


def labels() -> Mapping[str, str | int]:
    """What the calls of the running task are about."""
    return _LABELS.get()


class Dialect:
    """Shapes payloads for one model; `learn` after each refusal with status 400 or 422."""

    def __init__(
        self, limit: str = LIMIT_NAMES[0], stream: Streaming = "never", patience: float = math.inf
    ) -> None:
        """`patience` is in seconds, those of silence after which a request counts as hung."""
        self.limit = limit
        self.stream = stream
        self.streaming = stream != "never"  # whether the next answer is taken word by word
        self.counts_streams = True  # whether it tells, on request, what a streamed answer used
        self._soon = SOON * patience
        self.format = FORMATS[0]
        self.left_out: set[str] = set()
        self.unbounded: set[str] = set()  # keywords of a JSON schema that it does not take
        self.system_role = True
        self._limit_refused = False

    def shape(self, payload: Mapping[str, Any], heard: bool = False) -> dict[str, Any]:
        """The payload as this model takes it; streamed, if it can be, for an answer that is
        `heard`."""
        shaped = {k: v for k, v in payload.items() if k not in self.left_out}
        for name in LIMIT_NAMES:
            if name in shaped and name != self.limit:
                shaped[self.limit] = shaped.pop(name)
        if not self.system_role:
            shaped["messages"] = _without_system(shaped["messages"])
        if self.unbounded and "response_format" in shaped:
            shaped["response_format"] = without(self.unbounded, shaped["response_format"])
        if self.format != "json_schema" and "response_format" in shaped:
            del shaped["response_format"]
            asked = payload["response_format"]["json_schema"]["schema"]
            shaped["messages"] = _with_schema(shaped["messages"], asked)
            if self.format == "json_object":
                shaped["response_format"] = {"type": "json_object"}
        if self.streaming or (heard and self.stream != "never"):
            shaped.setdefault("stream", True)
            if self.counts_streams and shaped["stream"]:
                shaped.setdefault("stream_options", {"include_usage": True})
        return shaped

    def answered(self, seconds: float) -> None:
        """Take note of how long an answer took: what comes soon need not come word by word."""
        if self.stream == "auto":
            self.streaming = seconds > self._soon

    def too_slow(self, failed: WireError, now: float) -> None:
        """Take note of a failure: what may have been slow is taken word by word from now on, and
        only silence from now on is one. `now` is by the monotonic clock."""
        unheard = failed.code == TIMED_OUT and not failed.sent.get("stream")
        if unheard and self.stream == "auto" and not self.streaming:
            self.streaming = True
            failed.heard = now

    def learn(self, refused: WireError) -> bool:
        """Whether putting the request differently may help; it then will be, from now on."""
        if refused.status not in (400, 422):
            return False
        text, sent = refused.message.casefold(), refused.sent
        return (
            self._learn_bounds(text, sent)
            or self._learn_format(text, sent)
            or self._learn_limit(text, sent)
            or self._learn_option(text, sent)
            or self._learn_stream(text, sent)
            or self._learn_roles(text, sent)
        )

    def _learn_bounds(self, text: str, sent: Mapping[str, Any]) -> bool:
        """A schema is refused for the keywords that are named; for any of them where none is."""
        asked = sent.get("response_format") or {}
        bounds = keywords(asked.get("json_schema"))
        named = {keyword for keyword in bounds if keyword.casefold() in text}
        about_all = "invalid schema" not in text and any(word in text for word in FORMAT_WORDS[:2])
        about_some = any(word in text for word in ("schema", "grammar", "guided"))
        refused = named or (bounds if about_some and not about_all else set())
        self.unbounded |= refused
        return bool(refused)

    def _learn_format(self, text: str, sent: Mapping[str, Any]) -> bool:
        asked = sent.get("response_format")
        if asked is None or not any(word in text for word in FORMAT_WORDS):
            return False
        lower = FORMATS.index(asked["type"]) + 1
        self.format = FORMATS[max(FORMATS.index(self.format), lower)]
        return True

    def _learn_limit(self, text: str, sent: Mapping[str, Any]) -> bool:
        used = next((name for name in LIMIT_NAMES if name in sent), None)
        if used is None or used not in text or not any(word in text for word in UNKNOWN):
            return False
        if used == self.limit and not self._limit_refused:
            self.limit = next(name for name in LIMIT_NAMES if name != used)
            self._limit_refused = True
        return used != self.limit

    def _learn_option(self, text: str, sent: Mapping[str, Any]) -> bool:
        named = {name for name in OPTIONS if name in sent and name in text}
        self.left_out |= named
        return bool(named)

    def _learn_stream(self, text: str, sent: Mapping[str, Any]) -> bool:
        if "stream" not in text or "stream" not in sent:
            return False
        if self.counts_streams and ("stream_options" in text or "include_usage" in text):
            self.counts_streams = False
        else:
            self.stream, self.streaming = "never", False
        return True

    def _learn_roles(self, text: str, sent: Mapping[str, Any]) -> bool:
        messages: Any = sent.get("messages", ())
        refused = "system" in text and "role" in text
        if not refused or not any(m["role"] == "system" for m in messages):
            return False
        self.system_role = False
        return True


class Completions:
    """What ChatOpenAI takes for its client: one endpoint, spoken to in one model's dialect."""

    def __init__(
        self,
        config: ModelConfig,
        transport: Transport,
        dialect: Dialect,
        secrets: Callable[[], Sequence[str]],
    ) -> None:
        """`secrets` gives the texts that no answer and no error may repeat."""
        self.extra = config.extra
        self.secrets = secrets
        self.transport = transport
        self.dialect = dialect

    async def create(self, **payload: Any) -> Reading:
        """The answer. Raises WireError, which carries what was sent."""
        request_id, heard = payload.pop(REQUEST_ID), payload.pop(HEARD, None)
        sent = self.dialect.shape({**payload, **self._extra_for(payload)}, heard is not None)
        began = time.monotonic()
        try:
            with _heard_by(heard):
                raw = await self.transport.complete(sent, request_id)
            reading = await read(raw)
        except WireError as error:
            error.sent = sent
            self.dialect.too_slow(error, time.monotonic())
            error.say(hide(error.message, self.secrets()))
            raise
        self.dialect.answered(time.monotonic() - began)
        return reading.without(self.secrets())

    def _extra_for(self, payload: Mapping[str, Any]) -> Mapping[str, Any]:
        """What is sent along; a limit in it gives way to a higher one of this request."""
        asked = payload.get("max_tokens") or 0
        lower = {
            name
            for name in LIMIT_NAMES
            if isinstance(limit := self.extra.get(name), int) and limit < asked
        }
        return {k: v for k, v in self.extra.items() if k not in lower} if lower else self.extra


@contextmanager
def _heard_by(listener: Listener | None) -> Iterator[None]:
    before = LISTENER.set(listener)
    try:
        yield
    finally:
        LISTENER.reset(before)


class Telling:
    """Tells LangChain's callbacks an answer while it is made. A secret is never told: what may be
    the beginning of one is held back until it is known to be none."""

    def __init__(self, run: AsyncCallbackManagerForLLMRun, secrets: Sequence[str]) -> None:
        self.id = f"{LC_ID_PREFIX}-{run.run_id}"  # by which chunks and answer are known as one
        self.begun = False
        self._run, self._secrets = run, secrets
        self._held = ("", "")

    async def hear(self, text: str, reasoning: str) -> None:
        """Takes new words, and tells those that may be told."""
        new = [clean(h + n) for h, n in zip(self._held, (text, reasoning), strict=True)]
        (text, held_text), (reasoning, held_reasoning) = map(self._sayable, new)
        self._held = held_text, held_reasoning
        if text or reasoning:
            await self._tell(AIMessageChunk(content=text), reasoning)

    async def end(self, answer: AIMessage) -> None:
        """Tells what is left, with all that is known of the answer besides its words."""
        if self.begun:
            text, reasoning = self._held
            last = AIMessageChunk(
                content=text,
                usage_metadata=answer.usage_metadata,
                response_metadata=answer.response_metadata,
                chunk_position="last",
            )
            await self._tell(last, reasoning)

    async def _tell(self, chunk: AIMessageChunk, reasoning: str) -> None:
        self.begun, chunk.id = True, self.id
        if reasoning:
            chunk.additional_kwargs["reasoning_content"] = reasoning
        await self._run.on_llm_new_token(chunk.text, chunk=ChatGenerationChunk(message=chunk))

    def _sayable(self, text: str) -> tuple[str, str]:
        """What may be told of a text now, and what may be the beginning of a secret."""
        text = hide(text, self._secrets)
        ends = (n for s in self._secrets for n in range(1, len(s)) if text.endswith(s[:n]))
        end = len(text) - max(ends, default=0)
        return text[:end], text[end:]


class EndpointEmbeddings:
    """An embedding model of one endpoint: what is asked in words is answered in vectors."""

    def __init__(
        self, config: ModelConfig, http: HttpTransport, secrets: Callable[[], Sequence[str]]
    ) -> None:
        self._config, self._http, self._secrets = config, http, secrets

    async def ask(self, messages: Messages, options: Mapping[str, Any], request_id: str) -> Reading:
        """One vector for each message. Parameters of words, and the name of the request, are not
        sent. Raises WireError, which carries what was sent."""
        texts = [message["content"] for message in messages]
        sent = {**self._config.extra, "model": self._config.model, "input": texts}
        try:
            return embedded(await self._http.post(VECTORS, sent), texts)
        except WireError as error:
            error.sent = sent
            error.say(hide(error.message, self._secrets()))
            raise


class Answered(ChatGeneration):
    """An answer as LangChain's callbacks see it, with what was read beside it for us alone."""

    _reading: Reading = PrivateAttr()


class EndpointChat(ChatOpenAI):
    """A chat model of one endpoint, in a role; built by `chat_model`."""

    role: str = ""

    async def ask(self, messages: Messages, options: Mapping[str, Any], request_id: str) -> Reading:
        """The answer. `options` are parameters of this request, `request_id` names it within the
        run. Raises WireError, which carries what was sent."""
        heard = ensure_config()
        callbacks, named = heard.get("callbacks"), {**options, REQUEST_ID: request_id}
        if "tools" not in options and not AsyncCallbackManager.configure(callbacks).handlers:
            client: Completions = self.async_client
            payload = {**self._parameters, **named, "messages": list(messages)}
            return await client.create(**payload)
        about = {"role": self.role, **labels()}
        result = await self.agenerate(
            [[MESSAGES[message["role"]](message["content"]) for message in messages]],
            callbacks=callbacks,
            tags=[*heard.get("tags", ()), *_tags(about)],
            metadata={**heard.get("metadata", {}), **about},
            run_name=self.role or None,
            **named,
        )
        [[answered]] = result.generations
        assert isinstance(answered, Answered)
        return answered._reading

    @cached_property
    def _parameters(self) -> dict[str, Any]:
        """What every request carries beside its messages."""
        stated = {
            "model": self.model_name,
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
        }
        return {name: value for name, value in stated.items() if value is not None}

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        payload = self._get_request_payload(messages, stop=stop, **kwargs)
        payload.pop("stream", None)
        client: Completions = self.async_client
        telling = Telling(run_manager, client.secrets()) if _streams(run_manager) else None
        if telling:
            payload[HEARD] = telling.hear
        reading = await client.create(**payload)
        answer = _answer(reading)
        if telling:
            answer.id = telling.id
            await telling.end(answer)
        generation = Answered(message=answer)
        generation._reading = reading
        return ChatResult(generations=[generation])


def _streams(run: AsyncCallbackManagerForLLMRun | None) -> TypeGuard[AsyncCallbackManagerForLLMRun]:
    """Whether somebody listens who wants an answer while it is made, as LangGraph's streams do; a
    trace does not."""
    return run is not None and any(isinstance(h, _StreamingCallbackHandler) for h in run.handlers)


def _tags(labels: Mapping[str, str | int]) -> list[str]:
    """`weak_solver`, `weak`, `attempt 2`."""
    return [said if isinstance(said, str) else f"{name} {said}" for name, said in labels.items()]


def chat_model(
    config: ModelConfig,
    transport: Transport,
    dialect: Dialect,
    secrets: Callable[[], Sequence[str]],
    role: str,
) -> EndpointChat:
    """The chat model of one role. Retries and time-outs are not its business."""
    client = Completions(config, transport, dialect, secrets)
    return EndpointChat(
        model=config.model,
        temperature=config.temperature,
        max_tokens=config.max_tokens,
        base_url=transport.base_url,
        client=client,
        async_client=client,
        root_client=client,
        root_async_client=client,
        role=role,
        max_retries=0,
        disable_streaming=True,
        cache=False,
        use_responses_api=False,
    )


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


def decode(text: str) -> AIMessage:
    """The reply as LangChain's message, with the tool calls that its text holds."""
    said = _parsed(text)
    if said is None:
        return AIMessage(text)
    calls = [ToolCall(name=c["name"], args=c["args"], id=c["id"]) for c in said["tool_calls"]]
    return AIMessage(said["content"], tool_calls=calls)


def tool_message(text: str) -> ToolMessage:
    """A tool's result, from the text that `plain` made of it."""
    call_id, _, content = text.partition("\n")
    return ToolMessage(content, tool_call_id=call_id)


def plain(message: BaseMessage) -> dict[str, str]:
    """A message of a conversation as the log keeps it."""
    if isinstance(message, AIMessage):
        return {"role": "assistant", "content": _encode(message)}
    if isinstance(message, ToolMessage):
        return {"role": "tool", "content": f"{message.tool_call_id}\n{message.text}"}
    return {"role": "system" if message.type == "system" else "user", "content": message.text}


def _encode(message: AIMessage) -> str:
    calls = [{"name": c["name"], "args": c["args"], "id": c["id"]} for c in message.tool_calls]
    if not calls:
        return message.text
    return json.dumps({"content": message.text, "tool_calls": calls}, ensure_ascii=False)


def _parsed(text: str) -> Any:
    """The words and the tool calls that one text holds; None when it is words alone."""
    try:
        said: Any = json.loads(text) if text.startswith("{") else None
    except (ValueError, RecursionError):
        return None
    if not isinstance(said, dict) or said.keys() != KEYS or not isinstance(said["content"], str):
        return None
    calls = said["tool_calls"]
    good = isinstance(calls, list) and all(
        isinstance(c, dict)
        and isinstance(c.get("name"), str)
        and isinstance(c.get("args"), dict)
        and isinstance(c.get("id"), str)
        for c in calls
    )
    return said if calls and good else None


MESSAGES: Mapping[str, Callable[[str], BaseMessage]] = {
    "system": SystemMessage,
    "user": HumanMessage,
    "assistant": decode,
    "tool": tool_message,
}


def _answer(reading: Reading) -> AIMessage:
    """An answer as LangChain's message."""
    message = decode(reading.text)
    message.response_metadata = {"finish_reason": reading.finish_reason}
    if reading.reasoning:
        message.additional_kwargs["reasoning_content"] = reading.reasoning
    if reading.input_tokens is not None and reading.output_tokens is not None:
        message.usage_metadata = {
            "input_tokens": reading.input_tokens,
            "output_tokens": reading.output_tokens,
            "total_tokens": reading.input_tokens + reading.output_tokens,
        }
    return message
