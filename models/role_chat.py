"""A role's model as LangChain's agents want it: tools bound, every call through `Models`."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import ConfigDict

from autodata.models.client import Models


class RoleChat(BaseChatModel):
    """One role in one conversation; its calls are logged, replayed and paid for like any other."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    models: Models
    role: str
    scope: str
    tools: tuple[Mapping[str, Any], ...] = ()

    @property
    def _llm_type(self) -> str:
        return "autodata-role"

    def bind_tools(
        self,
        tools: Sequence[Mapping[str, Any] | type | Callable[..., Any] | BaseTool],
        **kwargs: Any,
    ) -> "RoleChat":
        """The same role with these tools at hand."""
        schemas = tuple(convert_to_openai_tool(tool) for tool in tools)
        return self.model_copy(update={"tools": schemas})

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        raise NotImplementedError("models are asked from an event loop: use ainvoke")

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        said = await self.models.chat(self.role, messages, self.tools, scope=self.scope)
        return ChatResult(generations=[ChatGeneration(message=said)])
