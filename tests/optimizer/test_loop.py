"""An optimization from its first evaluation to its last: kept in git and in run.db alone."""

import asyncio
import os
import subprocess
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import NoReturn

import pytest

from autodata.ledger.iterations import Final, Iteration, finals
from autodata.optimizer.acceptance import Harness
from autodata.optimizer.finals import candidates
from autodata.optimizer.loop import build, optimize
from autodata.optimizer.population import OptimizationContext, pooled
from autodata.optimizer.state import OptimizerState
from autodata.prompt_store.store import Commit, StoreError, champion_ref
from autodata.simulation.server import serve
from autodata.tasks.measurement import in_percent, wilson
from tests.optimizer.context import RUN, optimization_context

ITERATIONS = 4
SEED = 0  # of a climb whose winner is found late
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def climbed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OptimizationContext]:
    """A finished optimization; it is only looked at."""
    folder = tmp_path_factory.mktemp("climb")
    with optimization_context(
        folder, iterations=ITERATIONS, validation=4, test=2, seed=SEED
    ) as context:
        asyncio.run(optimize(context))
        yield context


def commits(context: OptimizationContext) -> dict[str, Commit]:
    return {commit.sha: commit for commit in context.population.store.history()}


def tried(context: OptimizationContext) -> list[Iteration]:
    return context.iterations()[1:]


def test_every_iteration_is_a_commit_with_a_ref_that_says_what_became_of_it(
    climbed: OptimizationContext,
) -> None:
    refs, history = climbed.population.store.refs("refs/autodata/"), commits(climbed)
    assert len(refs) == ITERATIONS + 1
    assert {i.decision for i in tried(climbed)} >= {"kept", "rejected"}
    for i in tried(climbed):
        kind = {"kept": "pop", "invalid": "invalid"}.get(i.decision, "rejected")
        assert refs[f"refs/autodata/{RUN}/{kind}/{i.number}"] == i.revision
        trailers = history[i.revision].trailers
        assert trailers["Autodata-Run"] == RUN
        assert trailers["Autodata-Iteration"] == str(i.number)
        assert trailers["Autodata-Decision"] == i.decision
        assert trailers["Autodata-Scoring"] == "certainty"
        assert trailers["Autodata-Predicts"] == i.predicts


def test_a_commit_says_what_was_measured_with_its_interval(climbed: OptimizationContext) -> None:
    """A parent's several evaluations of the same documents are no more documents."""
    history, documents = commits(climbed), len(climbed.plan.validation)
    [i, *_] = [i for i in tried(climbed) if i.decision == "kept"]
    assert i.score is not None
    assert i.parent_score is not None
    assert i.parent_evaluations > 1
    own, parents = (wilson(s * documents, documents) for s in (i.score, i.parent_score))
    commit = history[i.revision]
    score, parent = (commit.trailers[f"Autodata-{name}Score"] for name in ("", "Parent-"))
    assert score.startswith(f"{i.score:.3f} ({own.low:.2f}–{own.high:.2f}), ")
    assert parent.startswith(f"{i.parent_score:.3f} ({parents.low:.2f}–{parents.high:.2f}), ")
    why = commit.body.split()
    assert f"{in_percent(own)})" in why
    assert f"{in_percent(parents)})" in why


def test_parent_and_child_are_parent_and_child_in_git(climbed: OptimizationContext) -> None:
    revisions = {i.number: i.revision for i in climbed.iterations()}
    history = commits(climbed)
    for i in tried(climbed):
        expected = [revisions[n] for n in (i.parent, i.other_parent) if n is not None]
        assert list(history[i.revision].parents) == expected


def test_only_strictly_better_prompts_join_the_population(climbed: OptimizationContext) -> None:
    for i in tried(climbed):
        if i.decision == "kept":
            assert i.score is not None
            assert i.parent_score is not None
            assert i.score > i.parent_score
            assert i.tried == len(climbed.plan.validation)
    joined = {0} | {i.number for i in tried(climbed) if i.decision == "kept"}
    assert {i.parent for i in tried(climbed)} <= joined


def test_main_stays_where_people_left_it_and_the_champion_is_a_branch(
    climbed: OptimizationContext,
) -> None:
    refs = climbed.population.store.refs()
    assert refs["refs/heads/main"] == climbed.iterations()[0].revision
    _, winner = _start_and_winner(climbed)
    [champion] = [i for i in climbed.iterations() if i.number == winner.number]
    assert refs[champion_ref(RUN)] == champion.revision


def test_the_winner_is_scored_again_and_once_on_sealed_documents(
    climbed: OptimizationContext,
) -> None:
    start, winner = _start_and_winner(climbed)
    assert winner.evaluations == 5
    assert winner.decided == 5 * len(climbed.plan.validation)
    assert winner.number
    assert winner.test_decided == start.test_decided == len(climbed.plan.test)
    assert winner.test_gained is not None
    assert winner.test_lost is not None
    gain = winner.test_gained - winner.test_lost
    assert (winner.test_accepted or 0) - (start.test_accepted or 0) == gain
    revision = next(i.revision for i in climbed.iterations() if i.number == winner.number)
    note = commits(climbed)[revision].note
    assert winner.confirmed is not None
    documents = len(climbed.plan.validation)
    within = in_percent(wilson(winner.confirmed / winner.evaluations, documents))
    said = f"{winner.accepted} of {winner.decided}, counting for {winner.confirmed:.1f} ("
    assert said in note
    assert f"%, {within}) over 5 evaluations" in note
    assert note.count("Sealed test, once, confirmed documents: ") == 1
    within = in_percent(wilson(winner.test_accepted or 0, winner.test_decided))
    assert f"{winner.test_accepted} of {winner.test_decided} (" in note
    assert f"%, {within})." in note


async def test_more_iterations_have_their_final_and_the_same_one(
    tmp_path: Path, climbed: OptimizationContext
) -> None:
    """The run that went on in two sessions ends like the one that never stopped, and says that its
    test documents were looked at in between."""
    for iterations in (1, ITERATIONS):
        with optimization_context(
            tmp_path, iterations=iterations, validation=4, test=2, seed=SEED
        ) as context:
            await optimize(context)
            held = finals(context.ledger, RUN)
            branch = context.population.store.resolve(champion_ref(RUN))
            known = {i.number: i.revision for i in context.iterations()}
    winner = next(f for f in held if f.place == 1)
    assert branch == known[winner.number]
    assert winner.number > 1
    assert winner.test_seen == "an earlier final of this run"
    unseen = [f.model_copy(update={"test_seen": ""}) for f in held]
    assert unseen == finals(climbed.ledger, RUN)


async def test_without_a_better_edit_nothing_is_offered_and_the_test_stays_sealed(
    tmp_path: Path,
) -> None:
    with optimization_context(tmp_path, iterations=0, validation=2, test=2) as context:
        await optimize(context)
        store = context.population.store
        [only] = finals(context.ledger, RUN)
        assert (only.number, only.place, only.test_decided) == (0, 1, None)
        assert "no edit beat: nothing to adopt" in store.history()[-1].note
        assert store.tested() == {}
        assert store.refs("refs/heads/autodata/") == {}
        with pytest.raises(StoreError, match="climb offers nothing to adopt: no edit beat"):
            store.read("autodata/climb/champion")


def test_the_start_is_in_the_final_however_many_scored_higher() -> None:
    population = [Harness(number=n, score=Fraction(n, 10), by_document={}) for n in range(8)]
    assert candidates(population) == [0, 3, 4, 5, 6, 7]


def test_the_chart_and_the_choice_of_parents_know_the_same_rates(
    climbed: OptimizationContext,
) -> None:
    recorded = climbed.iterations()
    known = {h.number: h.score for h in climbed.population.harnesses(recorded)}
    shown = pooled(recorded, climbed.plan.rule)
    assert {number: count.score for number, count in shown.items()} == known
    assert max(count.tried for count in shown.values()) > len(climbed.plan.validation)


def _start_and_winner(context: OptimizationContext) -> tuple[Final, Final]:
    found = finals(context.ledger, context.run_id)
    start = next(f for f in found if f.number == 0)
    return start, next(f for f in found if f.place == 1)


def test_analyst_and_editor_never_see_held_out_text(climbed: OptimizationContext) -> None:
    asked = climbed.ledger.query(
        "select id from calls where role in ('analyst', 'editor') order by id"
    )
    assert asked
    held_out = [climbed.ledger.document(d) for d in (*climbed.plan.validation, *climbed.plan.test)]
    sentences = {s for d in held_out for s in d.text.split(". ") if len(s) > 40}
    words = " ".join(
        message["content"] for row in asked for message in climbed.evaluator.log.request(row["id"])
    )
    files = [path.read_text() for path in (climbed.folder / "evidence").rglob("*.md")]
    assert files
    for text in (words, *files):
        assert not [sentence for sentence in sentences if sentence in text]


def test_no_call_is_made_twice(climbed: OptimizationContext) -> None:
    [row] = climbed.ledger.query(
        "select count(*) as made, count(distinct scope || request_key) as different from calls"
    )
    assert row["made"] == row["different"]


async def test_a_finished_optimization_asks_for_nothing_more(climbed: OptimizationContext) -> None:
    before = climbed.ledger.query("select count(*) as n from calls")
    await optimize(climbed)
    assert climbed.ledger.query("select count(*) as n from calls") == before


def test_plain_git_shows_the_history_of_good_edits(climbed: OptimizationContext) -> None:
    kept = [i for i in tried(climbed) if i.decision == "kept"]
    command = ["git", "log", "--format=%s", f"--glob=refs/autodata/{RUN}/pop"]
    shown = subprocess.run(
        command, cwd=climbed.population.store.path, capture_output=True, text=True
    )
    assert {i.subject[:60] for i in kept} <= {line[:60] for line in shown.stdout.splitlines()}
    assert (
        subprocess.run(["git", "fsck"], cwd=climbed.population.store.path, check=False).returncode
        == 0
    )


async def test_analyst_and_editor_work_over_a_real_wire(tmp_path: Path) -> None:
    async with serve() as server:
        with optimization_context(
            tmp_path, iterations=1, validation=2, url=server.base_url
        ) as context:
            await optimize(context)
            [_, edited] = context.iterations()
            await context.evaluator.models.aclose()
    assert edited.cause
    assert edited.predicts
    assert server.stats.roles["analyst"] == server.stats.roles["editor"] - 2 == 2


def unopened(state: OptimizerState) -> NoReturn:
    raise AssertionError("drawing opens no optimization")


def test_the_drawing_shows_the_way_of_an_edit() -> None:
    drawn = {(e.source, e.target) for e in build(unopened).get_graph().edges}
    way = ("start", "select", "evaluate", "analyse", "edit", "guard", "validate", "decide")
    assert set(pairwise((*way, "record", "select"))) <= drawn
    assert ("guard", "record") in drawn
    assert ("select", "guard") in drawn


def test_the_drawing_in_the_docs_is_up_to_date() -> None:
    """Run with AUTODATA_WRITE_DOCS=1 to draw it anew."""
    page = ROOT / "docs/optimizer.md"
    drawing = f"```mermaid\n{build(unopened).get_graph().draw_mermaid().strip()}\n```"
    before, _, rest = page.read_text().partition("<!-- graph -->\n")
    after = rest.partition("<!-- /graph -->")[2]
    drawn = f"{before}<!-- graph -->\n{drawing}\n<!-- /graph -->{after}"
    if os.environ.get("AUTODATA_WRITE_DOCS"):
        page.write_text(drawn)
    assert page.read_text() == drawn
