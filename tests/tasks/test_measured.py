"""The preset `measured`: who is asked next, what is accepted, what the challenger hears."""

import random
from fractions import Fraction

import pytest

from autodata.tasks import TASKS
from autodata.tasks.acceptance import (
    PRESETS,
    Acceptance,
    Preset,
    Scores,
    ThresholdPolicy,
    exact,
    missing,
    scores,
)
from autodata.tasks.measured import (
    LEAST_ATTEMPTS,
    MeasuredPolicy,
    confirmation,
    measurement,
    redecide,
)
from autodata.tasks.measured import measured as bounds_of
from autodata.tasks.measurement import Prior
from autodata.tasks.types import FORMAT_NOTE, Attempt, Round, Side
from tests.tasks.rounds import attempts

CHOICES = Acceptance(preset="measured")


def measured(task: str = "cs", prior: Prior | None = None) -> MeasuredPolicy:
    policy = TASKS[task].policy(CHOICES, 4, 4)
    assert isinstance(policy, MeasuredPolicy)
    return policy.model_copy(update={"prior": prior}) if prior else policy


def asked(policy: MeasuredPolicy, weak: float, strong: float, spread: float = 0.0) -> Round:
    """A round whose attempts scatter around the true scores, asked for as the policy wants them."""
    rng = random.Random(f"{weak} {strong}")
    made: dict[Side, list[Fraction]] = {"weak": [], "strong": []}
    truth: dict[Side, float] = {"weak": weak, "strong": strong}
    while side := next((s for s in made if policy.batch(s, made["weak"], made["strong"])), None):
        assert policy.batch(side, made["weak"], made["strong"]) == 1
        made[side].append(exact(min(max(round(rng.gauss(truth[side], spread), 2), 0), 1)))
    return round_of(made["weak"], made["strong"])


def round_of(weak: Scores, strong: Scores) -> Round:
    return Round(
        number=1,
        weak=tuple(attempts("weak", [float(score) for score in weak])),
        strong=tuple(attempts("strong", [float(score) for score in strong])),
    )


def codes(policy: MeasuredPolicy, round: Round) -> list[str]:
    return [o.code for o in policy.objections(round)]


def test_what_is_impossible_is_given_up_at_once() -> None:
    gate = PRESETS["measured"].model_copy(update={"gap_min": 1.0})
    policy = bounds_of(gate, CHOICES)
    round = asked(policy, 0.2, 0.9)
    assert (len(round.weak), len(round.strong)) == (1, 0)
    assert policy.weak_objections(round.weak)[0].code == "GAP_TOO_SMALL"


def test_a_clear_case_is_accepted_after_few_attempts_of_each_side() -> None:
    round = asked(measured(), 0.2, 0.9)
    assert codes(measured(), round) == []
    assert len(round.weak) + len(round.strong) == 2 * LEAST_ATTEMPTS


@pytest.mark.parametrize(
    ("weak", "strong", "code"),
    [(0.9, 0.95, "TOO_EASY"), (0.1, 0.2, "STRONG_FAILED")],
)
def test_a_hopeless_case_is_dropped_early_and_its_worst_bound_named(
    weak: float, strong: float, code: str
) -> None:
    round = asked(measured(), weak, strong)
    assert codes(measured(), round)[0] == code
    assert len(round.weak) + len(round.strong) <= 4


def test_a_case_on_the_line_stays_undecided_and_says_what_is_least_sure() -> None:
    policy = measured().model_copy(update={"weak_planned": 4, "strong_planned": 4})
    round = round_of([exact(0.48)] * 4, [exact(0.75)] * 4)
    assert policy.batch("weak", scores(round.weak), scores(round.strong)) == 0
    (objection,) = policy.objections(round)
    assert objection.code == "NOT_CONFIRMED"
    assert "wanted at least 0.80" in objection.message
    assert "weak score 0.4" in objection.message


def test_no_side_is_asked_beyond_its_attempts_and_every_round_ends() -> None:
    policy = measured()
    for weak, strong in ((0.45, 0.68), (0.4, 0.62), (0.49, 0.7), (0.3, 0.52)):
        round = asked(policy, weak, strong, spread=0.25)
        assert len(round.weak) <= policy.weak_planned
        assert len(round.strong) <= policy.strong_planned


def test_a_prior_that_expects_everything_to_pass_lets_nothing_in_by_itself() -> None:
    """A reader who knows nothing of the run must be as certain."""
    optimist = Prior(weak=0.2, weak_sd=0.05, strong=0.85, strong_sd=0.05)
    fooled, round = measured(prior=optimist), round_of([exact(0.5)] * 2, [exact(0.66)] * 2)
    assert fooled.believed(optimist, scores(round.weak), scores(round.strong)).holds > 0.8
    assert codes(fooled, round) != []


def test_two_right_answers_in_a_row_prove_nothing_and_eight_do() -> None:
    """Counts of right answers: science."""
    policy = measured("science")
    assert codes(policy, round_of([Fraction(0)] * 2, [Fraction(1)] * 2)) != []
    assert codes(policy, round_of([Fraction(0)] * 8, [Fraction(1)] * 8)) == []


def test_failures_of_form_are_no_difficulty() -> None:
    """Procedural: a weak side that never writes an answer proves nothing, however sure it fails."""
    policy = measured("procedural")
    clear = round_of([Fraction(0)] * 8, [Fraction(1)] * 8)
    assert codes(policy, clear) == []
    formless = tuple(a.model_copy(update={"note": FORMAT_NOTE + "none"}) for a in clear.weak)
    assert codes(policy, clear.model_copy(update={"weak": formless})) == ["FORMAT"]


def test_an_attempt_that_was_never_made_is_missed_on_record() -> None:
    round = round_of([exact(0.2)], [exact(0.9)])
    assert "more" in missing(measured(), round)


def test_a_recorded_round_is_decided_again_as_it_was() -> None:
    policy = measured()
    for weak, strong in ((0.2, 0.9), (0.9, 0.95), (0.3, 0.5), (0.45, 0.7)):
        round = asked(policy, weak, strong, spread=0.1)
        accepted = not policy.objections(round)
        again = redecide(policy, [round.model_copy(update={"objections": ()})])
        assert (again.decision != "rejected") == accepted


def fresh(weak: list[float | None], strong: list[float | None]) -> list[Attempt]:
    made = (*attempts("weak", weak), *attempts("strong", strong))
    return [attempt.model_copy(update={"fresh": True}) for attempt in made]


def test_what_everybody_solves_is_not_confirmed_where_a_gate_bounds_the_strong_side() -> None:
    always = fresh([0.2, 0.3], [1.0, 1.0])
    assert confirmation(measured().bounds, 2, always) == ()
    (objection,) = confirmation(measured().bounds._replace(strong_max=0.95), 2, always)
    assert "strong mean 1.00, wanted below 0.95" in objection.message


def test_fresh_attempts_confirm_what_they_bear_out_and_name_what_they_do_not() -> None:
    bounds = measured().bounds
    assert confirmation(bounds, 2, fresh([0.2, 0.3], [0.8, 0.9])) == ()
    (objection,) = confirmation(bounds, 2, fresh([0.6, 0.5], [0.7, 0.7]))
    assert objection.code == "NOT_CONFIRMED"
    assert "weak mean 0.55, wanted below 0.50" in objection.message
    assert "gap 0.15, wanted at least 0.20" in objection.message
    assert [o.code for o in confirmation(bounds, 3, fresh([0.2, 0.3], [0.8, 0.9]))] == ["MALFORMED"]


def test_fresh_attempts_may_reach_the_weak_bound_where_the_gate_lets_them() -> None:
    at = fresh([0.65] * 3, [0.9] * 3)
    inclusive: dict[Preset, bool] = {"deployed": True, "paper": False}
    for preset, lets in inclusive.items():
        gate = PRESETS[preset].model_copy(update={"weak_max": 0.65})
        bounds = bounds_of(gate, CHOICES).bounds
        policy = ThresholdPolicy(gate=gate, weak_planned=3, strong_planned=3)
        assert (policy.objections(round_of([exact(0.65)] * 3, [exact(0.9)] * 3)) == ()) == lets
        assert measurement(bounds, at).holds is lets
        assert (confirmation(bounds, 3, at) == ()) == lets
    (objection,) = confirmation(bounds._replace(weak_inclusive=True), 1, fresh([0.66], [0.9]))
    assert "weak mean 0.66, wanted at most 0.65" in objection.message


def test_a_measurement_says_whether_the_thresholds_hold_afresh() -> None:
    bounds = measured().bounds
    assert measurement(bounds, fresh([0.2, 0.3], [0.8, 0.9])) == (
        2, 2, 0.25, 0.85, pytest.approx(0.6), True
    )  # fmt: skip
    assert measurement(bounds, fresh([0.5], [0.9])).holds is False  # weak below 0.50 is wanted
    assert measurement(bounds, fresh([0.45], [0.65])).holds is True  # a gap of exactly 0.20


def test_marks_that_stayed_malformed_measure_nothing() -> None:
    bounds = measured().bounds
    unread = fresh([0.2, None], [0.8])
    assert measurement(bounds, unread)[:4] == (1, 1, 0.2, 0.8)
    assert measurement(bounds, unread).holds is True
    nothing = measurement(bounds, fresh([None, None], [0.8]))
    assert (nothing.weak, nothing.gap, nothing.holds) == (None, None, None)
