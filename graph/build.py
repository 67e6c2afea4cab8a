"""Every edge of the loop: where to go next, and the graph, which reads like its drawing.

Routers are pure functions of the state, one per conditional edge. They are `async` only because
LangGraph sends plain functions to a worker thread, which costs more than all of them together.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from inspect import iscoroutinefunction
from typing import Any, Literal

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


def _attempted(state: State) -> Literal["loop_judge", "decide"]:
    """After both sides."""
    return "loop_judge" if task_of(state).judged_by_loop else "decide"


async def after_prepare(state: State) -> Literal["extractor", "challenger"]:
    """Legal documents are extracted first."""
    return "extractor" if task_of(state).extracts else "challenger"


async def after_extractor(state: State) -> Literal["challenger", "record"]:
    """An unsuitable document is skipped before anything is paid for."""
    return "record" if state.decision else "challenger"


async def after_challenger(state: State) -> Literal["verifier", "orchestrator", "record"]:
    """A reply without a readable candidate ends the round."""
    return _ended(state) if state.decision else "verifier"


async def after_verifier(
    state: State,
) -> Literal["orchestrator", "record"] | Sequence[Literal["weak_solver", "strong_solver"]]:
    """A failed candidate goes back; a good one to the weak side first, or to both at once."""
    if state.decision:
        return _ended(state)
    return ["weak_solver", "strong_solver"] if sides_together(state) else ["weak_solver"]


async def after_weak_solver(
    state: State,
) -> Literal["strong_solver", "loop_judge", "decide", "orchestrator", "record"]:
    """The weak gate: when the weak side has failed already, no strong attempt is paid for."""
    if state.decision:
        return _ended(state)
    together = sides_together(state)
    return _attempted(state) if together or not _asks("strong", state) else "strong_solver"


async def after_strong_solver(state: State) -> Literal["weak_solver", "loop_judge", "decide"]:
    """A policy may want the weak side again. Legal rounds are read before they are decided."""
    together = sides_together(state)
    return _attempted(state) if together or not _asks("weak", state) else "weak_solver"


def _asks(side: Side, state: State) -> bool:
    """Whether a side is asked next; a new round's strong side always has its first turn."""
    return next_side(state) == side


async def after_decide(
    state: State,
) -> Literal["confirm", "final_verifier", "orchestrator", "record"]:
    """A candidate without objections is confirmed, where that is asked for, and frozen."""
    if state.decision:
        return _ended(state)
    return "confirm" if state.choices.confirm else "final_verifier"


async def after_confirm(state: State) -> Literal["final_verifier", "orchestrator", "record"]:
    """What fresh attempts do not bear out goes back; the rest is verified once more."""
    return _ended(state) if state.decision else "final_verifier"


async def after_final_verifier(state: State) -> Literal["review", "orchestrator", "record"]:
    """A failure here is an objection like any other; what passed waits for a person, where that is
    asked for."""
    return "review" if state.choices.review and not state.decision else _ended(state)


async def after_review(state: State) -> Literal["verifier", "orchestrator", "record"]:
    """What a person edited is verified and attempted afresh; what is sent back is revised."""
    return _ended(state) if state.decision else "verifier"


def _telling(node: Callable[..., Any]) -> Callable[..., Any]:
    """The node, which also says what it found: each new line of the document's story on the
    `custom` stream, and all of them in the state, with the round that they have come to."""

    def said(state: State, found: Mapping[str, Any]) -> dict[str, Any]:
        lines, new = told(state, found)
        write = get_stream_writer()
        for line in new:
            write(line)
        return {"number": state.number, **found, "summary": "\n".join(lines)}

    @wraps(node)
    async def asking(state: State, **given: Any) -> dict[str, Any]:
        with labelled(round=state.number):
            return said(state, await node(state, **given))

    @wraps(node)
    def filing(state: State, **given: Any) -> dict[str, Any]:
        return said(state, node(state, **given))

    return asking if iscoroutinefunction(node) else filing


def build(context: Callable[[], RunContext], checkpointer: Any = None) -> Loop:
    """The compiled loop over one document.

    `context` is called by the first node that runs, so building and drawing touch nothing. Bulk
    runs pass no checkpointer: the call log replays.
    """
    nodes = Nodes(context)
    graph = StateGraph(State, context_schema=RunChoices, input_schema=Input)
    for node in (
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
    ):
        graph.add_node(node.__name__, _telling(node))

    graph.add_edge(START, "prepare")
    graph.add_conditional_edges("prepare", after_prepare)
    graph.add_conditional_edges("extractor", after_extractor)
    graph.add_conditional_edges("challenger", after_challenger)
    graph.add_conditional_edges(
        "verifier",
        after_verifier,
        ["weak_solver", "strong_solver", "orchestrator", "record"],
    )
    graph.add_conditional_edges("weak_solver", after_weak_solver)
    graph.add_conditional_edges("strong_solver", after_strong_solver)
    graph.add_edge("loop_judge", "decide")
    graph.add_conditional_edges("decide", after_decide)
    graph.add_conditional_edges("confirm", after_confirm)
    graph.add_conditional_edges("final_verifier", after_final_verifier)
    graph.add_conditional_edges("review", after_review)
    graph.add_edge("orchestrator", "challenger")
    graph.add_edge("record", END)
    compiled = graph.compile(name="autodata", checkpointer=checkpointer)
    return compiled.with_config(recursion_limit=RECURSION_LIMIT)
