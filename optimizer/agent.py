"""An agent at work: a role's model with tools, until it is done or out of calls or tokens."""

from collections.abc import Callable, Sequence
from typing import Any

from langchain.agents import create_agent
from langchain.agents.middleware import (
    AgentMiddleware,
    AgentState,
    ModelCallLimitMiddleware,
    hook_config,
)
from langchain_core.messages import HumanMessage
from langchain_core.tools import BaseTool
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
