"""LangChain's ChatOpenAI over our own transport: its interface and tracing, a fifth of its cost.

ChatOpenAI takes any object as its client. Ours posts through the endpoint's shared session, in the
model's dialect; answers become LangChain messages by ChatOpenAI's own code, without its hop to a
worker thread, and keep the hidden reasoning that it drops.
"""

from collections.abc import Mapping
from functools import cached_property
from typing import Any, cast

from langchain_core.callbacks import AsyncCallbackManager, AsyncCallbackManagerForLLMRun
from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_core.outputs import ChatResult
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import ensure_config
from langchain_openai import ChatOpenAI

from autodata.models.config import ModelConfig
from autodata.models.dialect import Dialect
from autodata.models.errors import WireError
from autodata.models.request import REQUEST_ID
from autodata.models.transport import Transport

REASONING = ("reasoning_content", "reasoning")  # vLLM, DeepSeek, … and OpenRouter, newer vLLM

SPEAKERS: Mapping[type, str] = {SystemMessage: "system", HumanMessage: "user"}
COUNTS = ("prompt_tokens", "completion_tokens", "total_tokens")
DETAILS = ("prompt_tokens_details", "completion_tokens_details")


class Completions:
    """`POST /chat/completions`, put in one model's dialect."""

    def __init__(self, transport: Transport, dialect: Dialect, extra: Mapping[str, Any]) -> None:
        self.transport = transport
        self.dialect = dialect
        self.extra = extra

    async def create(self, **payload: Any) -> dict[str, Any]:
        """The response body. Raises WireError, which carries what was sent."""
        request_id = payload.pop(REQUEST_ID, "")
        sent = self.dialect.shape({**payload, **self.extra})
        try:
            body = await self.transport.complete(sent, request_id)
            _check(body)
        except WireError as error:
            error.sent = sent
            raise
        return body


class EndpointChat(ChatOpenAI):
    """A chat model of one endpoint; built by `chat`."""

    async def ainvoke(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AIMessage:
        """As ChatOpenAI's. Words that no callback listens to are put into the request as they are:
        LangChain's preparations take half of a call's CPU time."""
        words = _in_words(input)
        if words is None or stop or "tools" in kwargs or _listening(config):
            return await super().ainvoke(input, config, stop=stop, **kwargs)
        body = await self.async_client.create(**self._parameters, **kwargs, messages=words)
        generation = self._create_chat_result(body).generations[0]
        message = cast(AIMessage, generation.message)
        message.response_metadata.update(generation.generation_info or {})
        return message

    @cached_property
    def _parameters(self) -> dict[str, Any]:
        """What every request carries beside its messages, as LangChain puts it."""
        payload = self._get_request_payload([])
        return {name: payload[name] for name in payload if name not in ("messages", "stream")}

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        payload = self._get_request_payload(messages, stop=stop, **kwargs)
        payload.pop("stream", None)
        return self._create_chat_result(await self.async_client.create(**payload))

    def _create_chat_result(
        self, response: Any, generation_info: dict[str, Any] | None = None
    ) -> ChatResult:
        result = super()._create_chat_result(response, generation_info)
        for choice, generation in zip(response["choices"], result.generations, strict=True):
            said = choice["message"]
            for name in REASONING:
                if said.get(name):
                    generation.message.additional_kwargs["reasoning_content"] = said[name]
            if said.get("refusal"):
                generation.message.additional_kwargs["refusal"] = said["refusal"]
        return result


def chat(config: ModelConfig, transport: Transport, dialect: Dialect) -> EndpointChat:
    """The chat model of one role. Retries and time-outs are not its business."""
    client = Completions(transport, dialect, config.extra)
    return EndpointChat(
        model=config.model,
        temperature=config.temperature,
        max_tokens=config.max_tokens,
        base_url=transport.base_url,
        client=client,
        async_client=client,
        root_client=client,
        root_async_client=client,
        max_retries=0,
        disable_streaming=True,
        cache=False,
        use_responses_api=False,
    )


def _in_words(input: LanguageModelInput) -> list[dict[str, Any]] | None:
    """The messages as they are sent, when all are plain words of system and user."""
    if not isinstance(input, list) or any(type(message) not in SPEAKERS for message in input):
        return None
    return [{"role": SPEAKERS[type(m)], "content": m.content} for m in input]


def _listening(config: RunnableConfig | None) -> bool:
    """Whether a callback or a tracer waits for news of a run in this context."""
    callbacks = ensure_config(config).get("callbacks")
    return bool(AsyncCallbackManager.configure(callbacks).handlers)


def _check(body: dict[str, Any]) -> None:
    """Raises WireError for a 200 that holds no message: the server is unwell."""
    choices = body.get("choices")
    if not (isinstance(choices, list) and choices and isinstance(choices[0], dict)):
        raise WireError("the answer holds no choices", status=200)
    message = choices[0].get("message")
    if not isinstance(message, dict) or not isinstance(message.get("content") or "", str):
        raise WireError("the answer's first choice holds no message in words", status=200)
    body["usage"] = _usage(body.get("usage"))


def _usage(stated: Any) -> dict[str, Any] | None:
    """The endpoint's token counts, as far as they are counts."""
    if not isinstance(stated, dict):
        return None
    counted: dict[str, Any] = {n: stated[n] for n in COUNTS if _is_count(stated.get(n))}
    for name in DETAILS:
        if isinstance(details := stated.get(name), dict):
            counted[name] = {n: value for n, value in details.items() if _is_count(value)}
    return counted


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**53
