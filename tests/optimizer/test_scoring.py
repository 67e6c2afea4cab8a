"""An edit is credited with what is true: a noisier gate accepts more and scores no higher."""

import random
from pathlib import Path
from statistics import fmean

import pytest

from autodata.graph.state import RunChoices
from autodata.optimizer.acceptance import certainties
from autodata.optimizer.population import OptimizationContext
from autodata.prompt_store.prompt import PromptSet
from autodata.tasks.measurement import LEVEL, Pairs, exact_paired
from autodata.tasks.types import Candidate, Mark, Round
from tests.optimizer.context import optimization_context
from tests.optimizer.drawn import MEASURES, Evaluation, World, evaluated, evaluation, paired
from tests.optimizer.test_audit import CANDIDATE, accepted
from tests.optimizer.test_evaluator import SEEDS, edited, put_on_record
from tests.tasks.rounds import attempts

BEFORE = World()
NOISIER = {
    "one criterion": World(weights=(5,)),
    "three criteria": World(weights=(5,) * 3),
    "two criteria decide": World(weights=(10, 10, *[0.1] * 10)),
    "judges that disagree": World(leniency=0.25),
}
TIMES = 24  # evaluations of 25 documents


@pytest.mark.parametrize("rounds", [4, 12])
@pytest.mark.parametrize("noisier", NOISIER.values(), ids=NOISIER)
def test_an_edit_that_makes_the_gate_noisier_gains_nothing(noisier: World, rounds: int) -> None:
    before, after = (evaluated(world, TIMES, rounds) for world in (BEFORE, noisier))
    assert after.accepted > before.accepted
    assert after.truly < before.truly
    assert after.score < before.score


def test_one_criterion_lets_identical_solvers_pass_and_counts_for_nothing() -> None:
    same = World(gap=0.0, gap_sd=0.0, weak_sd=0.0)
    many, one = (evaluated(same._replace(weights=w), 4, 12) for w in ((5,) * 10, (5,)))
    assert one.accepted > 0.9
    assert one.accepted > many.accepted + 0.3
    assert one.score <= many.score + 0.02


def test_an_edit_that_truly_helps_gains() -> None:
    before, after = (evaluated(world, TIMES) for world in (BEFORE, World(gap=0.3)))
    assert after.truly > before.truly + 0.1
    assert after.score > before.score + 0.1


@pytest.mark.parametrize("world", [BEFORE, World(gap=0.3), World(gap=0.05)])
def test_the_score_is_near_the_share_that_truly_passes(world: World) -> None:
    found = evaluated(world, TIMES)
    assert abs(found.score - found.truly) < 0.1
    assert abs(found.accepted - found.truly) > 0.1


def sealed(before: World, after: World, times: int) -> list[Pairs]:
    """Sealed tests on 100 documents each."""
    chance = random.Random(f"{before} {after}")
    found = [evaluation(world, chance, 4, documents=100) for world in [before, after] * times]
    pairs = zip(found[::2], found[1::2], strict=True)
    return [paired(one.confirmed(other), other.confirmed(one), 100) for one, other in pairs]


def test_in_a_comparison_the_same_attempts_count_alike_on_both_sides() -> None:
    """Else what is supposed of all questions would move many documents at once, and a test on pairs
    would take chance for a change (`benchmarks/optimizer_scores.py --alarms`)."""
    chance, few = random.Random(1), World(gap=0.05, weights=(5,) * 8)
    apart, beside = [], []
    for _ in range(8):
        one, other = (evaluation(few, chance, 4, documents=100) for _ in range(2))
        apart.append(abs(certainty(one) - certainty(other)))
        beside.append(abs(certainty(one, other) - certainty(other, one)))
    assert max(beside) < 0.05
    assert fmean(beside) < fmean(apart) / 2


def certainty(found: Evaluation, other: Evaluation | None = None) -> float:
    """Of one document more, with attempts that leave room for doubt."""
    doubtful = Round(
        number=1,
        weak=attempts("weak", [0.375, 0.5, 0.25]),
        strong=attempts("strong", [0.75, 0.625, 0.875]),
    )
    beside = other.seen if other else ()
    return certainties(MEASURES, found.seen, {"": doubtful}, least=0.0, beside=beside)[""]


@pytest.mark.parametrize("noisier", NOISIER.values(), ids=NOISIER)
def test_a_noisier_gate_wins_no_sealed_test_and_a_real_gain_does(noisier: World) -> None:
    assert all(pairs.gained < pairs.lost for pairs in sealed(BEFORE, noisier, 4))
    better = sealed(BEFORE, World(gap=0.35), 4)
    assert sum(exact_paired(pairs) < LEVEL for pairs in better) >= 3
    assert all(pairs.gained > pairs.lost for pairs in better)


DECIDED_BY_TWO = CANDIDATE.model_copy(
    update={
        "rubric": tuple(
            c.model_copy(update={"weight": 10 if n < 2 else 1})
            for n, c in enumerate(CANDIDATE.rubric)
        )
    }
)


def marked(candidate: Candidate, weak: list[set[int]], strong: list[set[int]]) -> Round:
    """An accepted round in which the attempts of each side met these criteria."""
    whole = sum(c.weight for c in candidate.rubric)
    round = accepted(candidate)
    sides: dict[str, object] = {}
    for side, met in (("weak", weak), ("strong", strong)):
        sides[side] = tuple(
            attempt.model_copy(
                update={
                    "marks": tuple(
                        Mark(criterion=c.criterion, weight=c.weight, met=n in mine)
                        for n, c in enumerate(candidate.rubric)
                    ),
                    "score": sum(candidate.rubric[n].weight for n in mine) / whole,
                }
            )
            for attempt, mine in zip(getattr(round, side), met, strict=True)
        )
    return round.model_copy(update=sides)


CLEAR = marked(CANDIDATE, [{0, 1}, {1, 2}, {2}], [set(range(9)), set(range(8)), {*range(1, 10)}])
LUCKY = marked(DECIDED_BY_TWO, [{2}, {0, 2}, {1, 2, 3}], [{0, 1, 2}, {0, 1, 2, 3}, {0, 2, 3, 4, 5}])


async def test_what_two_criteria_decide_is_accepted_and_counts_for_nothing(tmp_path: Path) -> None:
    with optimization_context(tmp_path, validation=8) as context:
        clear, lucky = edited("clear"), edited("lucky")
        first = put_on_record(context.evaluator, clear, [CLEAR] * 6)
        second = put_on_record(context.evaluator, lucky, [LUCKY] * 8)
        true = await context.evaluator.count(clear, first, 1)
        luck = await context.evaluator.count(lucky, second, 1)
        assert (true.accepted, luck.accepted) == (6, 8)
        assert (true.confirmed or 0) > 4
        assert luck.confirmed == 0
        assert luck.score == 0
        before, after = await context.evaluator.compared(clear, lucky, first, 1)
        assert set(before.values()) == {"accepted"}
        assert set(after.values()) == {"failed"}


async def test_where_each_counts_in_full_the_pass_rate_is_the_score(tmp_path: Path) -> None:
    with optimization_context(tmp_path, validation=8, score="accepted") as context:
        documents = put_on_record(context.evaluator, edited("!"), [LUCKY] * 8)
        count = await context.evaluator.count(edited("!"), documents, 1)
        assert (count.accepted, count.confirmed, count.score) == (8, None, 1)


def counted(context: OptimizationContext, prompts: PromptSet, documents: list[str]) -> object:
    return context.evaluator.certainties(context.evaluator.name(prompts, 1), documents)


async def test_documents_that_were_only_studied_have_no_part_in_a_score(tmp_path: Path) -> None:
    """Which of them were run before depends on what else is under way; a score must not."""
    with optimization_context(tmp_path, validation=8) as context:
        documents = put_on_record(context.evaluator, SEEDS, [CLEAR] * 4 + [LUCKY] * 4)
        alone = counted(context, SEEDS, documents[:4])
        assert counted(context, SEEDS, documents) != alone
    with optimization_context(tmp_path / "other", validation=8) as context:
        again = put_on_record(context.evaluator, SEEDS, [CLEAR] * 4)
        assert counted(context, SEEDS, again) == alone


async def test_a_gate_that_is_a_judgement_has_no_thresholds_to_be_certain_of(
    tmp_path: Path,
) -> None:
    with optimization_context(tmp_path) as context:
        context.evaluator.task, context.evaluator.choices = "legal", RunChoices()
        assert counted(context, SEEDS, []) is None
