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
    ModelCallLimitMiddleware,
    hook_config,
)
from langchain_core.messages import HumanMessage
from langchain_core.tools import BaseTool, StructuredTool
from langgraph.runtime import Runtime

from autodata.models.client import Models
from autodata.models.role_chat import RoleChat
from autodata.prompt_store.prompt import Message
from autodata.tasks.types import Frozen

CHARACTERS = 4  # per token, roughly, for English


class Limits(Frozen):
    """How long an agent may work: calls of its model, and tokens of its conversation."""

    calls: int = 40
    tokens: int = 120_000


class _End(AgentMiddleware[AgentState[Any], Any]):
    """Ends the work when it is done or the conversation has grown too long."""

    def __init__(self, done: Callable[[], bool], tokens: int) -> None:
        super().__init__()
        self._done = done
        self._letters = tokens * CHARACTERS

    @hook_config(can_jump_to=["end"])
    def before_model(self, state: AgentState[Any], runtime: Runtime[Any]) -> dict[str, Any] | None:
        letters = sum(len(message.text) for message in state["messages"])
        return {"jump_to": "end"} if self._done() or letters > self._letters else None


async def work(
    models: Models,
    role: str,
    scope: str,
    prompt: Sequence[Message],
    tools: Sequence[BaseTool],
    done: Callable[[], bool],
    limits: Limits,
) -> None:
    """Lets a role work with its tools until `done`; what it achieved is in what the tools hold.

    Raises what `Models.chat` raises.
    """
    system, user = prompt
    limiting: list[AgentMiddleware[Any, Any, Any]] = [
        _End(done, limits.tokens),
        ModelCallLimitMiddleware(run_limit=limits.calls, exit_behavior="end"),
    ]
    agent = create_agent(
        RoleChat(models=models, role=role, scope=scope),
        list(tools),
        system_prompt=system.content,
        middleware=limiting,
        name=role,
    )
    await agent.ainvoke(
        {"messages": [HumanMessage(user.content)]},
        {"recursion_limit": 4 * limits.calls + 10, "callbacks": []},
    )


LINES = 200  # that one `read` shows at most
HITS = 30  # that one `search` shows at most
WIDTH = 400  # characters of a line that are shown

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
        shown = lines[start : start + LINES]
        left = len(lines) - start - len(shown)
        more = [f"… {left} more lines; read on from line {start + LINES + 1}"] if left > 0 else []
        return "\n".join([*shown, *more])

    async def search(self, words: str, under: str = "") -> str:
        """Find lines that contain these words, in any case; `under` is a path prefix."""
        wanted, hits = " ".join(words.split()).casefold(), []
        for path, text in sorted(self.files.items()):
            if path.startswith(under.lstrip("./")):
                hits += [
                    f"{path}:{number}: {line.strip()[:WIDTH]}"
                    for number, line in enumerate(text.splitlines(), 1)
                    if wanted in " ".join(line.split()).casefold()
                ]
        more = [f"… {len(hits) - HITS} more"] if len(hits) > HITS else []
        return "\n".join([*hits[:HITS], *more]) or f"nowhere: {words}"

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
