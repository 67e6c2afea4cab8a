"""Every edge of the loop: where to go next, and the graph, which reads like its drawing.

Routers are pure functions of the state, one per conditional edge.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import wraps
from inspect import iscoroutinefunction
from typing import Any, Literal, get_args, get_type_hints

from langchain_core.runnables import Runnable, RunnableConfig
from langgraph.config import get_stream_writer
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph

from autodata.graph.context import RunContext
from autodata.graph.nodes import Nodes
from autodata.graph.state import (
    Input,
    RunChoices,
    State,
    next_side,
    sides_together,
    task_of,
    told,
)
from autodata.models.chat import labelled
from autodata.tasks.types import Side

# Supersteps of one document: 100 rounds of at most 10 nodes, a change of side at each of 128
# attempts, the ends, and more rounds for what a person edits.
RECURSION_LIMIT = 15_000

Loop = CompiledStateGraph[State, RunChoices, Input, State]
Ended = Literal["orchestrator", "record"]


def _ended(state: State) -> Ended:
    """After a closed round: revise goes back through the orchestrator, anything else is final."""
    return "orchestrator" if state.decision == "revise" else "record"


def attempted(state: State) -> Literal["loop_judge", "decide"]:
    """After both sides."""
    return "loop_judge" if task_of(state).judged_by_loop else "decide"


def after_prepare(state: State) -> Literal["extractor", "challenger"]:
    """Legal documents are extracted first."""
    return "extractor" if task_of(state).extracts else "challenger"


def after_extractor(state: State) -> Literal["challenger", "record"]:
    """An unsuitable document is skipped before anything is paid for."""
    return "record" if state.decision else "challenger"


def after_challenger(state: State) -> Literal["verifier", "orchestrator", "record"]:
    """A reply without a readable candidate ends the round."""
    return _ended(state) if state.decision else "verifier"


def after_verifier(
    state: State,
) -> Literal["orchestrator", "record"] | Sequence[Literal["weak_solver", "strong_solver"]]:
    """A failed candidate goes back; a good one to the weak side first, or to both at once."""
    if state.decision:
        return _ended(state)
    return ["weak_solver", "strong_solver"] if sides_together(state) else ["weak_solver"]


def after_weak_solver(
    state: State,
) -> Literal["strong_solver", "loop_judge", "decide", "orchestrator", "record"]:
    """The weak gate: when the weak side has failed already, no strong attempt is paid for."""
    if state.decision:
        return _ended(state)
    together = sides_together(state)
    return attempted(state) if together or not _asks("strong", state) else "strong_solver"


def after_strong_solver(state: State) -> Literal["weak_solver", "loop_judge", "decide"]:
    """A policy may want the weak side again. Legal rounds are read before they are decided."""
    together = sides_together(state)
    return attempted(state) if together or not _asks("weak", state) else "weak_solver"


def _asks(side: Side, state: State) -> bool:
    """Whether a side is asked next; a new round's strong side always has its first turn."""
    return next_side(state) == side


def after_decide(
    state: State,
) -> Literal["confirm", "final_verifier", "orchestrator", "record"]:
    """A candidate without objections is confirmed, where that is asked for, and frozen."""
    if state.decision:
        return _ended(state)
    return "confirm" if state.choices.confirm else "final_verifier"


def after_confirm(state: State) -> Literal["final_verifier", "orchestrator", "record"]:
    """What fresh attempts do not bear out goes back; the rest is verified once more."""
    return _ended(state) if state.decision else "final_verifier"


def after_final_verifier(state: State) -> Literal["review", "orchestrator", "record"]:
    """A failure here is an objection like any other; what passed waits for a person, where that is
    asked for."""
    return "review" if state.choices.review and not state.decision else _ended(state)


def after_review(state: State) -> Literal["verifier", "orchestrator", "record"]:
    """What a person edited is verified and attempted afresh; what is sent back is revised."""
    return _ended(state) if state.decision else "verifier"


class BothWays(Runnable[State, Any]):
    """A node or a router, for callers with an event loop and for those without.

    LangGraph would send a plain router to a worker thread, which costs more than all routers
    together, and refuses to invoke an async node without an event loop.
    """

    def __init__(
        self, name: str, func: Callable[[State], Any], afunc: Callable[[State], Awaitable[Any]]
    ) -> None:
        self.name, self.func, self.afunc = name, func, afunc

    def invoke(self, input: State, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        return self.func(input)

    async def ainvoke(
        self, input: State, config: RunnableConfig | None = None, **kwargs: Any
    ) -> Any:
        return await self.afunc(input)


def telling(
    node: Callable[..., Any],
    around: Callable[[Any], AbstractContextManager[None]],
    told: Callable[[Any, Mapping[str, Any]], tuple[list[str], list[str]]] = told,
) -> Callable[..., Any]:
    """The node at work `around` its state, which also says what it found: each new line of the
    story on the `custom` stream, and all of them in the state, with the number that they have come
    to. `told` gives both: all lines, and those that are new."""

    def said(state: Any, found: Mapping[str, Any]) -> dict[str, Any]:
        lines, new = told(state, found)
        write = get_stream_writer()
        for line in new:
            write(line)
        return {"number": state.number, **found, "summary": "\n".join(lines)}

    @wraps(node)
    async def asking(state: Any, **given: Any) -> dict[str, Any]:
        with around(state):
            return said(state, await node(state, **given))

    @wraps(node)
    def filing(state: Any, **given: Any) -> dict[str, Any]:
        with around(state):
            return said(state, node(state, **given))

    return asking if iscoroutinefunction(node) else filing


def _watched(
    name: str, context: Callable[[], RunContext]
) -> Callable[[State], AbstractContextManager[None]]:
    """What is about a node at work: its calls say of which round they are, who listens is told."""

    @contextmanager
    def watched(state: State) -> Iterator[None]:
        with (
            labelled(round=state.number),
            context().watched("node", name, state.document_id) as facts,
        ):
            facts["round"] = state.number
            yield

    return watched


def _both_ways(node: Callable[..., Any], context: Callable[[], RunContext]) -> Any:
    if not iscoroutinefunction(node):
        return node
    return BothWays(node.__name__, lambda state: context().wait_for(node(state)), node)


def _route(graph: StateGraph[Any, Any, Any, Any], router: Callable[[State], Any]) -> None:
    """Adds the edges from the node that a router comes after to those that it may name."""

    async def routed(state: State) -> Any:
        return router(state)

    ends = _named(get_type_hints(router)["return"])
    both = BothWays(router.__name__, router, routed)
    graph.add_conditional_edges(router.__name__.removeprefix("after_"), both, ends)


def _named(kind: Any) -> list[str]:
    """The names that a `Literal` holds, or those inside of a union of them and lists."""
    if isinstance(kind, str):
        return [kind]
    return list(dict.fromkeys(name for part in get_args(kind) for name in _named(part)))


def build(context: Callable[[], RunContext], checkpointer: Any = None) -> Loop:
    """The compiled loop over one document.

    `context` is called by the first node that runs, so building and drawing touch nothing. Bulk
    runs pass no checkpointer: the call log replays. With one, `invoke` takes InMemorySaver and
    SqliteSaver, `ainvoke` InMemorySaver and AsyncSqliteSaver.
    """
    nodes = Nodes(context)
    graph = drawn(
        context,
        (
            nodes.prepare,
            nodes.extractor,
            nodes.challenger,
            nodes.verifier,
            nodes.weak_solver,
            nodes.strong_solver,
            nodes.loop_judge,
            nodes.decide,
            nodes.confirm,
            nodes.final_verifier,
            nodes.review,
            nodes.orchestrator,
            nodes.record,
        ),
        (
            after_prepare,
            after_extractor,
            after_challenger,
            after_verifier,
            after_weak_solver,
            after_strong_solver,
            after_decide,
            after_confirm,
            after_final_verifier,
            after_review,
        ),
    )
    graph.add_edge("loop_judge", "decide")
    graph.add_edge("orchestrator", "challenger")
    compiled = graph.compile(name="autodata", checkpointer=checkpointer)
    return compiled.with_config(recursion_limit=RECURSION_LIMIT)


def drawn(
    context: Callable[[], RunContext],
    nodes: Sequence[Callable[..., Any]],
    routers: Sequence[Callable[[State], Any]],
) -> StateGraph[State, RunChoices, Input, State]:
    """A graph over one document, from `prepare` to `record`: these nodes, which say what they find,
    and the edges of these routers, each named `after_<node>`."""
    graph = StateGraph(State, context_schema=RunChoices, input_schema=Input)
    for node in nodes:
        told_of = telling(node, _watched(node.__name__, context))
        graph.add_node(node.__name__, _both_ways(told_of, context))
    for router in routers:
        _route(graph, router)
    graph.add_edge(START, "prepare")
    graph.add_edge("record", END)
    return graph


class OpenLoop:
    """The loop and what it works with, opened by `with` for `invoke` or by `async with` for
    `ainvoke`, and closed again."""

    def __init__(
        self, held: Callable[[], AbstractContextManager[RunContext]], checkpointer: Any
    ) -> None:
        """`held` opens the run context and keeps its folder meanwhile; it need not close it."""
        self._held, self._checkpointer = held, checkpointer
        self._open = ExitStack()

    def __enter__(self) -> Loop:
        context = self._open.enter_context(self._held())
        self._open.callback(context.close)
        return build(lambda: context, self._checkpointer)

    def __exit__(self, *error: object) -> None:
        self._open.close()

    async def __aenter__(self) -> Loop:
        context = await asyncio.to_thread(self._open.enter_context, self._held())
        self._context = context
        return build(lambda: context, self._checkpointer)

    async def __aexit__(self, *error: object) -> None:
        with self._open:
            await self._context.loose_ends()
            await self._context.aclose()
