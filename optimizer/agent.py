"""An agent at work: a role's model with tools, until it is done or out of calls or tokens.

The tools look at files in memory: what is not among them does not exist for the agent.
"""

import re
from collections.abc import Callable, Coroutine, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from langchain.agents import create_agent
from langchain.agents.middleware import (
    AgentMiddleware,
    AgentState,
    hook_config,
)
from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import BaseTool, StructuredTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from langgraph.runtime import Runtime
from pydantic import ConfigDict

from autodata.models.client import Models
from autodata.prompt_store.prompt import Message
from autodata.tasks.types import Frozen


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


CHARACTERS = 4  # per token, roughly, for English
LAST_CALLS = 5  # calls left at which an agent is told to finish,
LAST_TOKENS = 0.9  # or the share of its tokens that its conversation has used


class AgentLimits(Frozen):
    """How long an agent may work: calls of its model, and tokens of its conversation."""

    calls: int = 40
    tokens: int = 120_000


class _Pace(AgentMiddleware[AgentState[Any], Any]):
    """Ends the work when it is done or out of calls or tokens, having said shortly before that
    it will. A reply without a tool call is answered once; `reason` says what ended the work."""

    def __init__(self, done: Callable[[], bool], ends: str, limits: AgentLimits) -> None:
        super().__init__()
        self.reason = ""
        self._done = done
        self._limits = limits
        self._hurry = f"Little is left of your calls or your room: end the work with `{ends}` now."
        self._use_tools = (
            f"Only tool calls count. Go on with the tools; `{ends}` is what ends the work."
        )

    @hook_config(can_jump_to=["end"])
    def before_model(self, state: AgentState[Any], runtime: Runtime[Any]) -> dict[str, Any] | None:
        messages, limits = state["messages"], self._limits
        calls = sum(isinstance(message, AIMessage) for message in messages)
        tokens = sum(len(message.text) for message in messages) / CHARACTERS
        if self._done():
            return {"jump_to": "end"}
        if calls >= limits.calls:
            self.reason = f"it was still at work after {limits.calls} calls"
            return {"jump_to": "end"}
        if tokens > limits.tokens:
            self.reason = f"its conversation grew past {limits.tokens:,} tokens"
            return {"jump_to": "end"}
        hurry = limits.calls - calls <= LAST_CALLS or tokens > LAST_TOKENS * limits.tokens
        return _once(messages, self._hurry) if hurry else None

    @hook_config(can_jump_to=["end", "model"])
    def after_model(self, state: AgentState[Any], runtime: Runtime[Any]) -> dict[str, Any] | None:
        reply = state["messages"][-1]
        if isinstance(reply, AIMessage) and reply.tool_calls:
            return None
        if nudge := _once(state["messages"], self._use_tools):
            return {**nudge, "jump_to": "model"}
        self.reason = "it answered in words instead of using its tools, even when told so"
        return {"jump_to": "end"}


def _once(messages: Sequence[BaseMessage], words: str) -> dict[str, Any] | None:
    """The words as the next message, unless they were said before."""
    said = any(isinstance(m, HumanMessage) and m.text == words for m in messages)
    return None if said else {"messages": [HumanMessage(words)]}


async def work(
    models: Models,
    role: str,
    scope: str,
    prompt: Sequence[Message],
    tools: Sequence[BaseTool],
    *,
    done: Callable[[], bool],
    ends: str,
    limits: AgentLimits,
) -> str:
    """Lets a role work with its tools until `done`; what it achieved is in what the tools hold.

    `ends` names the tool that ends the work. Returns why the work ended before it was done, ""
    when it was done. Raises what `Models.chat` raises.
    """
    system, user = prompt
    pace = _Pace(done, ends, limits)
    agent = create_agent(
        RoleChat(models=models, role=role, scope=scope),
        list(tools),
        system_prompt=system.content,
        middleware=[pace],
        name=role,
    )
    # Between two calls each node of the graph runs at most once: calls end the work, never steps.
    steps = (limits.calls + 1) * len(agent.get_graph().nodes)
    await agent.ainvoke(
        {"messages": [HumanMessage(user.content)]},
        {"recursion_limit": steps, "callbacks": []},
    )
    return pace.reason


READ_LINES = 200  # that one `read` shows at most
SEARCH_HITS = 30  # that one `search` shows at most
LINE_WIDTH = 400  # characters of a line that are shown

Tool = Callable[..., Coroutine[Any, Any, str]]


class FileTools:
    """Path → text, with the tools to look around in it. A tool's complaint is its reply."""

    def __init__(self, files: Mapping[str, str]) -> None:
        self.files = dict(files)

    def tools(self) -> list[BaseTool]:
        """What an agent is given."""
        return [tool(self.list_files), tool(self.read), tool(self.search)]

    async def list_files(self, under: str = "") -> str:
        """List the files, each with its number of lines; `under` is a path prefix such as
        documents/."""
        found = [path for path in sorted(self.files) if path.startswith(under.lstrip("./"))]
        lines = [f"{path} ({self.files[path].count(chr(10)) + 1} lines)" for path in found]
        return "\n".join(lines) or self.missing(under)

    async def read(self, path: str, first_line: int = 1) -> str:
        """Read a file from a line on, at most 200 lines at a time."""
        if path not in self.files:
            return self.missing(path)
        lines = self.files[path].splitlines()
        start = max(first_line, 1) - 1
        shown = lines[start : start + READ_LINES]
        left = len(lines) - start - len(shown)
        more = (
            [f"… {left} more lines; read on from line {start + READ_LINES + 1}"] if left > 0 else []
        )
        return "\n".join([*shown, *more])

    async def search(self, words: str, under: str = "") -> str:
        """Find lines that contain these words, in any case; `under` is a path prefix."""
        wanted, hits = " ".join(words.split()).casefold(), []
        for path, text in sorted(self.files.items()):
            if path.startswith(under.lstrip("./")):
                hits += [
                    f"{path}:{number}: {line.strip()[:LINE_WIDTH]}"
                    for number, line in enumerate(text.splitlines(), 1)
                    if wanted in " ".join(line.split()).casefold()
                ]
        more = [f"… {len(hits) - SEARCH_HITS} more"] if len(hits) > SEARCH_HITS else []
        return "\n".join([*hits[:SEARCH_HITS], *more]) or f"nowhere: {words}"

    def holds(self, path: str, quote: str) -> bool:
        """Whether a file contains the quote, whatever its line breaks."""
        return _flat(quote) in _flat(self.files.get(path, "")) if quote.strip() else False

    def missing(self, path: str) -> str:
        """What to say about a path that is not there."""
        near = get_close_matches(path, self.files, n=3) or sorted(self.files)[:3]
        return f"no such file: {path}; there are {', '.join(near)}, …"


def tool(method: Tool) -> BaseTool:
    """A method as a tool; its docstring is what the model reads."""
    return StructuredTool.from_function(coroutine=method, name=method.__name__)


def _flat(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip().casefold()
