"""One model of an endpoint at work: its messages out in its dialect, its answer in.

LangChain's callbacks hear of every call, whoever they are: LangSmith, LangGraph's streams, Studio.
A call that nobody listens to has no part in that: LangChain's preparations take longer than all
of our own.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

from langchain_core.callbacks import AsyncCallbackManager
from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage
from langchain_core.outputs import ChatGeneration, LLMResult
from langchain_core.runnables.config import ensure_config

from autodata.models.config import ModelConfig
from autodata.models.dialect import Dialect
from autodata.models.errors import WireError
from autodata.models.reading import Reading, read
from autodata.models.tool_calls import decode, tool_message, wire
from autodata.models.transport import Transport

MESSAGES: Mapping[str, Callable[[str], BaseMessage]] = {
    "system": SystemMessage,
    "user": HumanMessage,
    "assistant": decode,
    "tool": tool_message,
}
Messages = Sequence[Mapping[str, str]]


class ChatModel:
    """Answers messages as the call log keeps them. Retries and time-outs are not its business."""

    def __init__(self, config: ModelConfig, transport: Transport, dialect: Dialect) -> None:
        self.config = config
        self.transport = transport
        self.dialect = dialect

    async def ask(self, messages: Messages, options: Mapping[str, Any], request_id: str) -> Reading:
        """The answer. `options` are parameters of this request, `request_id` names it within the
        run. Raises WireError, which carries what was sent."""
        context = ensure_config()
        listeners = AsyncCallbackManager.configure(
            context.get("callbacks"),
            inheritable_tags=context.get("tags"),
            inheritable_metadata=context.get("metadata"),
            local_metadata=self._described,
        )
        if not listeners.handlers:
            return await self._ask(messages, options, request_id)
        (run,) = await listeners.on_chat_model_start(
            {"name": "ChatModel", "id": ["autodata", "ChatModel"]},
            [[_message(message) for message in messages]],
            invocation_params={**self._parameters, **options},
        )
        try:
            reading = await self._ask(messages, options, request_id)
        except BaseException as error:
            await run.on_llm_error(error)
            raise
        await run.on_llm_end(LLMResult(generations=[[ChatGeneration(message=_answer(reading))]]))
        return reading

    async def _ask(
        self, messages: Messages, options: Mapping[str, Any], request_id: str
    ) -> Reading:
        payload = {
            **self._parameters,
            **options,
            **self.config.extra,
            "messages": [wire(message) for message in messages],
        }
        sent = self.dialect.shape(payload)
        try:
            return read(await self.transport.complete(sent, request_id))
        except WireError as error:
            error.sent = sent
            raise

    @cached_property
    def _parameters(self) -> dict[str, Any]:
        stated = {
            "model": self.config.model,
            "temperature": self.config.temperature,
            "max_tokens": self.config.max_tokens,
        }
        return {name: value for name, value in stated.items() if value is not None}

    @cached_property
    def _described(self) -> dict[str, Any]:
        """The model as tracers of LangChain name it."""
        named = {"ls_provider": self.config.endpoint, "ls_model_type": "chat"}
        return {**named, **{f"ls_{name}": value for name, value in self._parameters.items()}}


def _message(message: Mapping[str, str]) -> BaseMessage:
    return MESSAGES[message["role"]](message["content"])


def _answer(reading: Reading) -> BaseMessage:
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
