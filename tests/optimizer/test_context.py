"""Kept edits of different files are merged; what was lost on the way is not held against anyone."""

from fractions import Fraction
from pathlib import Path

from autodata.ledger.iterations import Iteration, record_iteration
from autodata.models.client import Models
from autodata.models.config import EndpointConfig, ModelConfig
from autodata.optimizer.acceptance import Harness
from autodata.optimizer.population import OptimizationContext, made
from tests.models.scripted_server import refuses, scripted
from tests.optimizer.context import RUN, optimization_context


def kept(context: OptimizationContext, number: int, parent: int, **edits: str) -> Iteration:
    """An iteration that was kept; `edits` maps a role to the sentence added to its prompt."""
    seen = {i.number: i for i in context.iterations()}
    files = dict(context.population.prompts(seen[parent].revision).files)
    for role, sentence in edits.items():
        files[f"cs/{role}.md"] += f"\n{sentence}\n"
    draft = Iteration(
        number=number,
        decision="kept",
        parent=parent,
        revision="",
        prompts=context.evaluator.content(files),
        subject=f"Say something to the {', '.join(edits)}",
    )
    revision = context.population.commit(draft, files, [])
    recorded = draft.model_copy(update={"revision": revision})
    record_iteration(context.ledger, RUN, recorded)
    return recorded


def begun(context: OptimizationContext) -> None:
    start = context.population.store.read("main")
    first = Iteration(
        number=0,
        decision="start",
        revision=start.revision,
        prompts=context.evaluator.content(start.files),
    )
    record_iteration(context.ledger, RUN, first)


def scored(*scores: float) -> list[Harness]:
    return [
        Harness(number=n, score=Fraction(str(score)), by_document={})
        for n, score in enumerate(scores)
    ]


def test_edits_of_different_files_are_merged_the_better_one_first(tmp_path: Path) -> None:
    with optimization_context(tmp_path) as context:
        begun(context)
        kept(context, 1, 0, challenger="Ask one thing.")
        kept(context, 2, 0, verifier="Read slowly.")
        assert context.population.crossing(context.iterations(), scored(0.2, 0.3, 0.4)) == (2, 1)
        seen = {i.number: i.revision for i in context.iterations()}
        files = context.population.merged(seen[2], seen[1])
        assert files
        assert "Ask one thing." in files["cs/challenger.md"]
        assert "Read slowly." in files["cs/verifier.md"]


def test_edits_of_one_file_or_of_one_line_of_descent_are_not(tmp_path: Path) -> None:
    with optimization_context(tmp_path) as context:
        begun(context)
        kept(context, 1, 0, challenger="Ask one thing.")
        kept(context, 2, 0, challenger="Ask another thing.")
        kept(context, 3, 1, verifier="Read slowly.")
        pairs = context.population.crossing(context.iterations(), scored(0.2, 0.3, 0.2, 0.5))
        assert pairs is None


def test_a_pair_is_merged_once(tmp_path: Path) -> None:
    with optimization_context(tmp_path) as context:
        begun(context)
        kept(context, 1, 0, challenger="Ask one thing.")
        kept(context, 2, 0, verifier="Read slowly.")
        tried = kept(context, 3, 2, orchestrator="Merge.")
        merged = tried.model_copy(update={"other_parent": 1, "decision": "rejected"})
        record_iteration(context.ledger, RUN, merged)
        assert context.population.crossing(context.iterations(), scored(0.2, 0.3, 0.4)) is None


def test_refs_of_an_iteration_that_was_killed_while_recorded_are_repaired(tmp_path: Path) -> None:
    with optimization_context(tmp_path) as context:
        begun(context)
        mutant = kept(context, 1, 0, challenger="Ask one thing.")
        assert f"refs/autodata/{RUN}/pop/1" not in context.population.store.refs()
        context.population.repair()
        assert context.population.store.refs()[f"refs/autodata/{RUN}/pop/1"] == mutant.revision


def test_the_more_often_a_harness_was_a_parent_the_better_it_is_known() -> None:
    start = Iteration(number=0, decision="start", revision="a", prompts="p")
    child = start.model_copy(update={"number": 1, "parent": 0, "parent_evaluations": 2})
    blocked = child.model_copy(update={"number": 2, "parent_evaluations": 0})
    assert made([start], 0) == 1
    assert made([start, child, blocked], 0) == 2


async def test_a_document_that_an_endpoint_refuses_is_missing_and_tried_again(
    tmp_path: Path,
) -> None:
    with optimization_context(tmp_path) as context:
        prompts, documents = context.population.store.read("main"), context.validation_order()[:2]
        simulated = context.evaluator.models
        async with scripted(otherwise=refuses(400, "prompt is too long")) as server:
            config = ModelConfig(endpoint="local", model="m")
            context.evaluator.models = Models(
                log=context.evaluator.log,
                endpoints={"local": EndpointConfig(base_url=server.url)},
                models={r: config for r in ("challenger", "weak_solver", "strong_solver")},
            )
            outcomes = await context.evaluator.evaluate(prompts, documents, 1)
            assert list(outcomes.values()) == ["missing", "missing"]
            await context.evaluator.models.aclose()
        context.evaluator.models = simulated
        outcomes = await context.evaluator.evaluate(prompts, documents, 1)
        assert "missing" not in outcomes.values()
