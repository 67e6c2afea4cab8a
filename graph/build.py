"""Every edge of the loop. Reads like its drawing."""

from collections.abc import Callable
from typing import Any

from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph

from autodata.graph import routing
from autodata.graph.context import RunContext
from autodata.graph.nodes import Nodes
from autodata.graph.state import Input, RunChoices, State

# Supersteps of one document: 100 rounds of at most 9 nodes, a change of side at each of 128
# attempts, and the ends.
RECURSION_LIMIT = 14_000

Loop = CompiledStateGraph[State, RunChoices, Input, State]


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
        nodes.orchestrator,
        nodes.record,
    ):
        graph.add_node(node.__name__, node)

    graph.add_edge(START, "prepare")
    graph.add_conditional_edges("prepare", routing.after_prepare)
    graph.add_conditional_edges("extractor", routing.after_extractor)
    graph.add_conditional_edges("challenger", routing.after_challenger)
    graph.add_conditional_edges(
        "verifier",
        routing.after_verifier,
        ["weak_solver", "strong_solver", "orchestrator", "record"],
    )
    graph.add_conditional_edges("weak_solver", routing.after_weak_solver)
    graph.add_conditional_edges("strong_solver", routing.after_strong_solver)
    graph.add_edge("loop_judge", "decide")
    graph.add_conditional_edges("decide", routing.after_decide)
    graph.add_conditional_edges("confirm", routing.after_confirm)
    graph.add_conditional_edges("final_verifier", routing.after_final_verifier)
    graph.add_edge("orchestrator", "challenger")
    graph.add_edge("record", END)
    compiled = graph.compile(name="autodata", checkpointer=checkpointer)
    return compiled.with_config(recursion_limit=RECURSION_LIMIT)
