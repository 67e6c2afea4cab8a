"""An agent at work, and the two there are: the analyst, evidence in and a root-cause analysis with
quotes out, and the editor, a diagnosis in and the smallest edit that addresses it out.

An agent is a role's model with tools, until it is done or out of calls or tokens. The tools look at
files in memory: what is not among them does not exist for it.
"""

import re
from collections.abc import Callable, Coroutine, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Literal

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
from pydantic import BaseModel, ConfigDict, Field

from autodata.models.client import Models
from autodata.optimizer.evidence import HISTORY, INDEX, Effect, Prediction
from autodata.optimizer.guard import Sources, faults
from autodata.prompt_store.prompt import Message, locked
from autodata.tasks.types import Code, Frozen


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


ANALYST_LIMITS = AgentLimits(calls=40, tokens=150_000)


class Quote(BaseModel):
    """Words that stand in a file of the evidence."""

    path: str = Field(description="the file")
    words: str = Field(description="the words, exactly as they stand there; a line or two")


class Diagnosis(Frozen):
    """What goes wrong again and again, and why; every quote stands in the evidence."""

    text: str
    quotes: tuple[tuple[str, str], ...]


class EvidenceTools(FileTools):
    """The evidence that the analyst may look at, and the diagnosis once it is reported."""

    diagnosis: Diagnosis | None = None

    def tools(self) -> list[BaseTool]:
        return [*super().tools(), tool(self.report)]

    async def report(self, analysis: str, quotes: list[Quote]) -> str:
        """End the work with the root-cause analysis (Markdown) and the quotes that bear it out,
        from at least two files."""
        wrong = [quote for quote in quotes if not self.holds(quote.path, quote.words)]
        if wrong:
            listed = "; ".join(f"{quote.path}: “{quote.words[:80]}”" for quote in wrong)
            return f"not reported: these quotes do not stand where you say: {listed}"
        if not analysis.strip() or len({quote.path for quote in quotes}) < 2:
            return "not reported: an analysis and quotes from at least two files are needed"
        self.diagnosis = Diagnosis(
            text=analysis.strip(), quotes=tuple((quote.path, quote.words) for quote in quotes)
        )
        return "reported"


async def analyse(
    models: Models, files: Mapping[str, str], *, scope: str, limits: AgentLimits = ANALYST_LIMITS
) -> Diagnosis | str:
    """The diagnosis, or why the analyst came to none.

    `files` are those of `evidence.evidence`. Raises Paused and CallRefused.
    """
    tools = EvidenceTools(files)
    prompt = locked("optimizer", "analyst").render(index=files[INDEX], history=files[HISTORY])
    reason = await work(
        models,
        "analyst",
        scope,
        prompt,
        tools.tools(),
        done=lambda: bool(tools.diagnosis),
        ends="report",
        limits=limits,
    )
    return tools.diagnosis or reason


EDITOR_LIMITS = AgentLimits(calls=40, tokens=100_000)


class Edit(Frozen):
    """A finished edit: the files that changed, what it says, what it is for, what it predicts."""

    files: Mapping[str, str]
    subject: str
    intent: str
    predicts: Prediction


class EditWorkspace(FileTools):
    """A task's editable prompts as the editor changes them, and the edit once finished."""

    edit: Edit | None = None

    def __init__(self, task: str, before: Mapping[str, str], sources: Sources) -> None:
        super().__init__({p: text for p, text in before.items() if p.startswith(f"{task}/")})
        self._task = task
        self._before = before
        self._sources = sources

    def tools(self) -> list[BaseTool]:
        changing: tuple[Tool, ...] = (self.replace, self.create, self.check, self.finish)
        return [*super().tools(), *map(tool, changing)]

    async def replace(self, path: str, old: str, new: str) -> str:
        """Replace a passage that stands in a file exactly once; give enough of it to be unique."""
        if path not in self.files:
            return self.missing(path)
        times = self.files[path].count(old) if old else 0
        if times != 1:
            return f"not replaced: the passage stands {times} times in {path}"
        self.files[path] = self.files[path].replace(old, new)
        return "replaced"

    async def create(self, path: str, text: str) -> str:
        """Write a whole file anew, such as a rubric.yaml; only the files listed may be written."""
        if path not in self.files:
            return self.missing(path)
        self.files[path] = text
        return "written"

    async def check(self) -> str:
        """Say whether the edit may stand as it is, and what is wrong with it if not."""
        found = faults(self._task, self._before, {**self._before, **self.files}, self._sources)
        return "\n".join(map(str, found)) or "the edit may stand"

    async def finish(
        self,
        subject: str,
        intent: str,
        predicted: Code | Literal["ACCEPTED"],
        effect: Effect,
    ) -> str:
        """End the work: what the new rule says in one line of at most 72 characters; which cause
        the edit addresses and how; which rate will move (an objection code, or ACCEPTED for the
        pass rate) and whether it rises or falls."""
        if not subject.strip() or not intent.strip():
            return "not finished: a subject and an intent are needed"
        changed = {p: text for p, text in self.files.items() if text != self._before[p]}
        self.edit = Edit(
            files=changed,
            subject=" ".join(subject.split()),
            intent=intent.strip(),
            predicts=Prediction(what=predicted, effect=effect),
        )
        return "finished"


async def edit(
    models: Models,
    task: str,
    before: Mapping[str, str],
    diagnosis: Diagnosis,
    history: str,
    sources: Sources,
    *,
    scope: str,
    limits: AgentLimits = EDITOR_LIMITS,
) -> Edit | str:
    """The edit, or why the editor finished none.

    It may be blocked: that is for the guard to say. Raises Paused and CallRefused.
    """
    workspace = EditWorkspace(task, before, sources)
    prompt = locked("optimizer", "editor").render(
        analysis=diagnosis.text, history=history, files=await workspace.list_files()
    )
    reason = await work(
        models,
        "editor",
        scope,
        prompt,
        workspace.tools(),
        done=lambda: bool(workspace.edit),
        ends="finish",
        limits=limits,
    )
    return workspace.edit or reason
