"""The simulated models behind LangChain's chat model interface, in this process."""

import json
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ToolCall,
    convert_to_openai_messages,
)
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import PrivateAttr

from autodata.simulation.brain import SimulatedReply, respond
from autodata.simulation.samples import Samples

ROLES = {"human": "user", "ai": "assistant"}


class SimulatedChat(BaseChatModel):
    """A simulated model; it reads nothing but the messages, its name and the parameters.

    `seed` makes a reply repeatable; without one the n-th repeat of a request gets the n-th sample
    (temperature 0: always the first). `response_format` is accepted: replies are JSON anyway.
    """

    model: str = "simulated"
    temperature: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    _samples: Samples = PrivateAttr(default_factory=Samples)

    @property
    def _llm_type(self) -> str:
        return "simulated"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model": self.model, "temperature": self.temperature, "seed": self.seed}

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        asked = convert_to_openai_messages(messages) if "tools" in kwargs else _plain(messages)
        model = kwargs.get("model", self.model)
        seed = kwargs.get("seed", self.seed)
        if seed is None and kwargs.get("temperature", self.temperature) != 0:
            seed = self._samples.seed(model, asked)
        limit = kwargs.get("max_completion_tokens") or kwargs.get("max_tokens", self.max_tokens)
        return _result(model, respond(model, asked, seed, limit))

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return self._generate(messages, stop, None, **kwargs)


def _plain(messages: list[BaseMessage]) -> list[dict[str, Any]]:
    return [{"role": ROLES.get(m.type, m.type), "content": m.content} for m in messages]


def _result(model: str, reply: SimulatedReply) -> ChatResult:
    message = AIMessage(
        content=reply.content,
        tool_calls=[
            ToolCall(
                name=call["function"]["name"],
                args=json.loads(call["function"]["arguments"]),
                id=call["id"],
            )
            for call in reply.tool_calls
        ],
        response_metadata={"finish_reason": reply.finish_reason, "model_name": model},
        usage_metadata=UsageMetadata(
            input_tokens=reply.input_tokens,
            output_tokens=reply.output_tokens,
            total_tokens=reply.input_tokens + reply.output_tokens,
        ),
    )
    return ChatResult(generations=[ChatGeneration(message=message)])
