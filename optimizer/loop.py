"""Every edge of the outer loop, the story that it tells, and lanes that walk it side by side."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any, Literal

from langgraph.graph import START, StateGraph
from langgraph.graph.state import CompiledStateGraph

from autodata.graph.build import telling
from autodata.graph.nodes import all_done
from autodata.graph.run import INTERRUPT
from autodata.graph.state import shortened
from autodata.models.chat import labelled
from autodata.models.errors import ReviewsWait
from autodata.optimizer.finals import settle
from autodata.optimizer.nodes import OptimizerNodes
from autodata.optimizer.population import OptimizationContext, counts, visible
from autodata.optimizer.state import OptimizationRequest, OptimizerState

STEPS = 12  # of the graph in one iteration, at most
FREQUENT = 3  # failures that are named

OptimizerGraph = CompiledStateGraph[OptimizerState, None, OptimizationRequest, OptimizerState]


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


def after_decide(state: OptimizerState) -> Literal["review", "record"]:
    """A winner waits for a person, where that is asked for."""
    return "review" if state.asks and state.decision == "kept" else "record"


def told(state: OptimizerState, found: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """The story of the walk once a node has `found` what it did, and what of it is new."""
    known = state.summary.splitlines()
    # Who files an iteration goes on to the next one.
    number = state.number if "revision" in found else found.get("number", state.number)
    now = state.model_copy(update={**found, "number": number})
    head = f"iteration {number} · "
    began = [f"start · {now.begun}, with the prompts that the run started from"]
    before = [line for line in known if not line.startswith((head, "start · "))]
    own = [f"{head}{line}" for line in story(now)]
    lines = [*(began if now.begun else []), *before, *own]
    return lines, [line for line in lines if line not in known]


def _labelled(state: OptimizerState) -> AbstractContextManager[None]:
    """Calls inside say of which iteration they are."""
    return labelled(iteration=state.number)


def story(state: OptimizerState) -> list[str]:
    """The iteration so far, one line for each thing that was found out."""
    return [line for line in _lines(state) if line]


def _lines(state: OptimizerState) -> Iterator[str]:
    if state.other_parent is not None:
        yield f"merges the edits of iterations {state.parent} and {state.other_parent}"
    elif state.studying:
        likely = state.chances.get(state.parent)
        chance = "" if likely is None else f", drawn with P = {likely:.2f}"
        yield f"parent {state.parent}{chance}; training documents to study: {len(state.studying)}"
    if state.studied.tried:
        most = ", ".join(f"{code} {n}" for code, n in [*state.failures.items()][:FREQUENT])
        yield f"studied: {state.studied.accepted} of {state.studied.tried} accepted" + (
            f"; {most}" if most else ""
        )
    yield state.cause and f"cause: {shortened(state.cause.replace('#', ''))}"
    if state.edited:
        files = ", ".join(sorted(state.edited))
        yield f"edit of {files}: {shortened(visible(state.subject))}; predicts {state.predicts}"
    if state.pass_count.tried:
        documents = state.pass_count.tried + state.pass_count.missing
        ends = (state.pass_count, state.parent_pass_count)
        yield f"validated: {' against '.join(counts(count, documents) for count in ends)}"
    yield from _checked(state.checks)
    if state.reviewed:
        why = f": {shortened(state.reviewed.reason)}" if state.reviewed.reason else ""
        yield f"review: {state.reviewed.said}{why}"
    elif state.asks and state.decision == "kept" and state.reason:
        yield "review: a person is asked"
    if state.revision:
        yield f"{state.decision} · {shortened(state.reason)} · {state.revision[:12]}"


def _checked(found: Mapping[str, Any]) -> Iterator[str]:
    """What the checks of a winner said."""
    if not found:
        return
    change, second = found.get("control_change"), found.get("second_judge") or {}
    moved = "not asked" if change is None else f"{change:+.2f}"
    yield (
        f"checks: control questions {moved}, a second judge gives {second.get('differing', 0)} of "
        f"{second.get('marks', 0)} marks otherwise"
    )


def build(
    context: Callable[[OptimizerState], OptimizationContext], checkpointer: Any = None
) -> OptimizerGraph:
    """The compiled outer loop. `context` is called by the first node that runs."""
    nodes = OptimizerNodes(context)
    graph = StateGraph(OptimizerState, input_schema=OptimizationRequest)
    for node in (
        nodes.prepare,
        nodes.start,
        nodes.select,
        nodes.evaluate,
        nodes.analyse,
        nodes.edit,
        nodes.guard,
        nodes.validate,
        nodes.decide,
        nodes.review,
        nodes.record,
    ):
        graph.add_node(node.__name__, telling(node, _labelled, told))
    graph.add_edge(START, "prepare")
    graph.add_edge("prepare", "start")
    graph.add_conditional_edges("start", after_start)
    graph.add_conditional_edges("select", after_select)
    graph.add_conditional_edges("evaluate", after_evaluate)
    graph.add_conditional_edges("analyse", after_analyse)
    graph.add_conditional_edges("edit", after_edit)
    graph.add_conditional_edges("guard", after_guard)
    graph.add_edge("validate", "decide")
    graph.add_conditional_edges("decide", after_decide)
    graph.add_edge("review", "record")
    graph.add_conditional_edges("record", after_start)
    return graph.compile(name="optimizer", checkpointer=checkpointer)


async def optimize(context: OptimizationContext) -> None:
    """Makes every iteration of the plan that is not on record, then settles who won.

    Where edits wait for a person, `context.waiting` says of which iterations, and the final is not
    held. Raises Paused (Interrupted among it) with everything finished on record: calling it again
    goes on where it stopped.
    """
    loop, plan = build(lambda state: context), context.plan
    context.lanes = plan.parallel
    context.waiting.clear()

    async def lane(first: int) -> None:
        steps = STEPS * (plan.iterations // plan.parallel + 2)
        begun = OptimizationRequest(number=first, last=plan.iterations, iterations=plan.iterations)
        try:
            ended = await loop.ainvoke(begun, {"recursion_limit": steps})
        except ReviewsWait:  # of another lane, on which this one builds
            return
        except BaseException:
            context.evaluator.stop.set()
            await context.next_turn()
            raise
        if INTERRUPT in ended:
            context.waiting.add(ended["number"])
            await context.next_turn()

    await all_done([lane(first) for first in range(1, plan.parallel + 1)])
    if not context.waiting:
        await settle(context)
