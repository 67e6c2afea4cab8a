"""The preset `measured` and fresh attempts, over the real graph and ledger."""

from pathlib import Path

import pytest

from autodata.graph.state import RunChoices, State, measuring, policy_of
from autodata.ledger.ledger import Ledger
from autodata.tasks.acceptance import scores
from autodata.tasks.measurement import Prior
from autodata.tasks.types import Attempt, Round, Side
from tests.graph.scripted import CS, ByText, marks, play
from tests.graph.test_loop import LEGAL

JUDGE = ByText({"a guess": marks(2), "an argument": marks(7)})
MEASURED = RunChoices(preset="measured", rounds=1)


async def test_both_sides_are_asked_in_turn_until_the_thresholds_hold_for_sure(
    tmp_path: Path,
) -> None:
    (round,), models = await play(tmp_path, {**CS, "judge": JUDGE}, choices=MEASURED)
    assert round.decision == "accepted"
    assert (len(round.weak), len(round.strong)) == (2, 3)
    assert [a.number for a in (*round.weak, *round.strong)] == [1, 2, 1, 2, 3]
    solvers = [role for role, _ in models.messages if role.endswith("_solver")]
    assert solvers[0] == "weak_solver"
    with Ledger.open(tmp_path) as ledger:
        [row] = ledger.query("select * from examples")
    assert row["certainty"] >= 0.8
    assert row["weak_low"] < row["weak_estimate"] < row["weak_high"] < 0.6
    assert row["gap_low"] < row["gap_estimate"] < row["gap_high"]


async def test_a_hopeless_question_costs_no_strong_attempt(tmp_path: Path) -> None:
    judge = ByText({"a guess": marks(8), "an argument": marks(8)})
    (round,), models = await play(tmp_path, {**CS, "judge": judge}, choices=MEASURED)
    assert [o.code for o in round.objections] == ["TOO_EASY"]
    assert models.asked["strong_solver"] == 0


async def test_a_document_keeps_the_prior_under_which_it_was_begun(tmp_path: Path) -> None:
    await play(tmp_path, {**CS, "judge": JUDGE}, choices=MEASURED)
    with Ledger.open(tmp_path) as ledger:
        ((document, first),) = ledger.priors("run").items()
        learned = first.model_copy(update={"weak": 0.9})
        assert ledger.prior_of("run", document, learned) == first
        assert ledger.scored("run", 10) == [([0.25, 0.25], [0.875] * 3)]


def attempts(side: Side, *scores: float) -> tuple[Attempt, ...]:
    made = enumerate(scores, 1)
    return tuple(Attempt(solver=side, number=n, answer="…", score=score) for n, score in made)


def test_a_document_learns_from_its_own_rounds_how_attempts_scatter() -> None:
    """Documents that begin together have no others to learn from."""
    weak, strong = attempts("weak", 0.2, 0.2, 0.2), attempts("strong", 0.9, 0.9, 0.9)
    calm = Round(number=1, weak=attempts("weak", *[0.7] * 8), decision="revise")
    noisy = Round(number=1, weak=attempts("weak", *[0.4, 1.0] * 4), decision="revise")
    certain = []
    for before in (calm, noisy):
        state = State(choices=MEASURED, prior=Prior(), rounds=[before], number=2)
        certain.append(measuring(state).known(scores(weak), scores(strong)).holds)
        assert measuring(state).prior == policy_of(state).prior  # type: ignore[union-attr]
    assert certain[0] > 0.9 > 0.8 > certain[1]


def test_certainty_is_about_the_thresholds_in_force() -> None:
    assert measuring(State(choices=RunChoices())).bounds == (0.50, 0.65, 1.0, 0.20, False)
    deployed = measuring(State(choices=RunChoices(preset="deployed", gap_min=0.3)))
    assert deployed.bounds == (0.65, 0.60, 0.95, 0.30, True)


async def test_thresholds_that_nobody_keeps_are_refused_before_anybody_is_asked(
    tmp_path: Path,
) -> None:
    choices = RunChoices(weak_max=0)
    with pytest.raises(ValueError, match=r"acceptance\.weak_max is 0.*nothing could be accepted"):
        await play(tmp_path, {}, choices=choices)


async def test_what_the_paper_accepts_is_measured_as_well(tmp_path: Path) -> None:
    await play(tmp_path, {**CS, "judge": JUDGE})
    with Ledger.open(tmp_path) as ledger:
        [row] = ledger.query("select * from examples")
        assert ledger.priors("run") == {}
    assert 0 < row["certainty"] < 1
    assert row["confirmed"] is None


async def test_fresh_attempts_confirm_an_example(tmp_path: Path) -> None:
    (round,), models = await play(tmp_path, {**CS, "judge": JUDGE}, choices=RunChoices(confirm=3))
    assert round.decision == "accepted"
    assert len(round.weak) == 3
    assert [(a.solver, a.number) for a in round.fresh] == [
        (side, 3 + n) for side in ("weak", "strong") for n in (1, 2, 3)
    ]
    assert models.asked["weak_solver"] == 3 + 3
    with Ledger.open(tmp_path) as ledger:
        [row] = ledger.query("select * from examples")
        assert ledger.rounds("run", round_document(ledger)) == (round,)
    assert (row["confirmed"], row["confirmed_weak"]) == (1, 0.25)
    assert row["confirmed_gap"] == pytest.approx(0.625)


def round_document(ledger: Ledger) -> str:
    return str(ledger.query("select document_id from rounds")[0]["document_id"])


async def test_the_loop_judge_sees_how_little_the_attempts_tell(tmp_path: Path) -> None:
    """Legal: the judge decides, and is told the intervals where the preset asks for them."""
    for preset in ("paper", "measured"):
        choices = RunChoices.model_validate({"preset": preset, "rounds": 1})
        _, models = await play(tmp_path / preset, LEGAL, "legal", choices)
        judged = next(m for role, m in models.messages if role == "loop_judge")
        assert ("True mean score" in judged[1].content) == (preset == "measured")


async def test_luck_at_the_gate_is_found_out_by_fresh_attempts(tmp_path: Path) -> None:
    """Three weak attempts fail, as the gate sees them; the ones after them do not."""
    guesses = ["a guess", "a guess", "a guess", "a good guess"]
    judge = ByText({"a guess": marks(2), "a good guess": marks(6), "an argument": marks(7)})
    script = {**CS, "weak_solver": guesses, "judge": judge}
    (round,), _ = await play(tmp_path, script, choices=RunChoices(confirm=3, rounds=1))
    assert round.decision == "rejected"
    assert [o.code for o in round.objections] == ["NOT_CONFIRMED"]
    assert "3 fresh attempts" in round.objections[0].message
    assert round.final_verdict is None
