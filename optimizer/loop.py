"""Every edge of the outer loop, and lanes that walk it side by side."""

from collections.abc import Callable
from typing import Any, Literal

from langgraph.graph import START, StateGraph
from langgraph.graph.state import CompiledStateGraph

from autodata.graph.nodes import all_done
from autodata.optimizer.context import OptimizationContext
from autodata.optimizer.finals import settle
from autodata.optimizer.nodes import OptimizerNodes
from autodata.optimizer.state import Lane, OptimizerState

STEPS = 10  # of the graph in one iteration, at most

OptimizerGraph = CompiledStateGraph[OptimizerState, None, Lane, OptimizerState]


def after_start(state: OptimizerState) -> Literal["select", "__end__"]:
    """A lane may have nothing left to do."""
    return "select" if state.number <= state.last else "__end__"


def after_select(state: OptimizerState) -> Literal["evaluate", "guard"]:
    """A crossover needs no diagnosis: both edits have proved themselves."""
    return "evaluate" if state.other_parent is None else "guard"


def after_evaluate(state: OptimizerState) -> Literal["analyse", "record"]:
    """Without a trajectory there is nothing to study."""
    return "record" if state.decision else "analyse"


def after_analyse(state: OptimizerState) -> Literal["edit", "record"]:
    """Without a diagnosis there is nothing to edit for."""
    return "record" if state.decision else "edit"


def after_edit(state: OptimizerState) -> Literal["guard", "record"]:
    """An editor may come to no edit."""
    return "record" if state.decision else "guard"


def after_guard(state: OptimizerState) -> Literal["validate", "record"]:
    """A blocked edit costs no evaluation."""
    return "record" if state.decision else "validate"


def build(context: Callable[[], OptimizationContext], checkpointer: Any = None) -> OptimizerGraph:
    """The compiled outer loop. `context` is called by the first node that runs."""
    nodes = OptimizerNodes(context)
    graph = StateGraph(OptimizerState, input_schema=Lane)
    for node in (
        nodes.start,
        nodes.select,
        nodes.evaluate,
        nodes.analyse,
        nodes.edit,
        nodes.guard,
        nodes.validate,
        nodes.decide,
        nodes.record,
    ):
        graph.add_node(node.__name__, node)
    graph.add_edge(START, "start")
    graph.add_conditional_edges("start", after_start)
    graph.add_conditional_edges("select", after_select)
    graph.add_conditional_edges("evaluate", after_evaluate)
    graph.add_conditional_edges("analyse", after_analyse)
    graph.add_conditional_edges("edit", after_edit)
    graph.add_conditional_edges("guard", after_guard)
    graph.add_edge("validate", "decide")
    graph.add_edge("decide", "record")
    graph.add_conditional_edges("record", after_start)
    return graph.compile(name="optimizer", checkpointer=checkpointer)


async def optimize(context: OptimizationContext) -> None:
    """Makes every iteration of the plan that is not on record, then settles who won.

    Raises Paused (Interrupted among it) with everything finished on record: calling it again goes
    on where it stopped.
    """
    loop, plan = build(lambda: context), context.plan

    async def lane(first: int) -> None:
        steps = STEPS * (plan.iterations // plan.parallel + 2)
        try:
            await loop.ainvoke(Lane(number=first, last=plan.iterations), {"recursion_limit": steps})
        except BaseException:
            context.evaluator.stop.set()
            await context.next_turn()
            raise

    await all_done([lane(first) for first in range(1, plan.parallel + 1)])
    await settle(context)
