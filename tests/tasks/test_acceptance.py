"""The gates of the paper, section 2, as tables; and proof that early stopping changes nothing."""

from collections.abc import Callable
from fractions import Fraction
from functools import cache, partial
from itertools import product
from typing import Any

import pytest

from autodata.tasks import TASKS, cs, legal, procedural, science
from autodata.tasks.acceptance import Acceptance, Policy, Scores, exact, next_batch, scores, summary
from autodata.tasks.types import Round
from tests.tasks.rounds import attempts, judgement, played

PAPER = cs.policy(Acceptance(), 3, 3)
DEPLOYED = cs.policy(Acceptance(preset="deployed"), 3, 3)
COUNTS = science.policy(Acceptance(), 4, 4)


def codes(policy: Policy, weak: list[float], strong: list[float]) -> list[str]:
    return [o.code for o in policy.objections(played(weak, strong))]


@pytest.mark.parametrize(
    ("weak", "strong", "expected"),
    [
        ([0.4, 0.5, 0.3], [0.8, 0.7, 0.9], []),
        ([0.5, 0.5, 0.5], [0.9, 0.9, 0.9], ["TOO_EASY"]),  # weak mean must be below 0.50
        ([0.49, 0.49, 0.49], [0.69, 0.69, 0.69], []),  # gap is exactly 0.20
        ([0.4, 0.4, 0.4], [0.65, 0.65, 0.65], []),  # strong mean may be exactly 0.65
        ([0.3, 0.3, 0.3], [0.64, 0.64, 0.64], ["STRONG_FAILED"]),
        ([0.46, 0.46, 0.46], [0.65, 0.65, 0.65], ["GAP_TOO_SMALL"]),
        ([0.0, 0.0, 0.0], [1.0, 1.0, 1.0], []),  # the prose knows no zero rule and no ceiling
        ([0.677] * 3, [0.696] * 3, ["TOO_EASY"]),  # the paper's one-shot means
        ([0.458] * 3, [0.772] * 3, []),  # the paper's agentic means
    ],
)
def test_the_paper_preset_reads_like_the_prose(
    weak: list[float], strong: list[float], expected: list[str]
) -> None:
    assert codes(PAPER, weak, strong) == expected


@pytest.mark.parametrize(
    ("weak", "strong", "expected"),
    [
        ([0.65, 0.65, 0.65], [0.9, 0.9, 0.9], []),  # weak mean may be exactly 0.65
        ([0.66, 0.66, 0.66], [0.9, 0.9, 0.9], ["TOO_EASY"]),
        ([0.76, 0.3, 0.3], [0.9, 0.9, 0.9], ["TOO_EASY"]),  # best at most 0.75
        ([0.75, 0.3, 0.3], [0.9, 0.9, 0.9], []),
        ([0.0, 0.3, 0.3], [0.9, 0.9, 0.9], ["WEAK_ALL_ZERO"]),
        ([0.3, 0.3, 0.3], [0.95, 0.95, 0.95], ["STRONG_SATURATED"]),
        ([0.3, 0.3, 0.3], [0.9, 0.9, 0.0], ["STRONG_FAILED"]),
        ([0.3, 0.3, 0.3], [0.59, 0.59, 0.59], ["STRONG_FAILED"]),
        ([0.6, 0.6, 0.6], [0.7, 0.7, 0.7], ["GAP_TOO_SMALL"]),
    ],
)
def test_the_deployed_preset_reads_like_the_prompt_that_ran(
    weak: list[float], strong: list[float], expected: list[str]
) -> None:
    assert codes(DEPLOYED, weak, strong) == expected


@pytest.mark.parametrize(
    ("rule", "weak", "passes"),
    [
        ("any", [0.0, 0.4, 0.4], False),
        ("all", [0.0, 0.4, 0.4], True),
        ("all", [0.0, 0.0, 0.0], False),
        ("off", [0.0, 0.0, 0.0], True),
    ],
)
def test_the_zero_rule_can_be_chosen(rule: str, weak: list[float], passes: bool) -> None:
    acceptance = Acceptance.model_validate({"preset": "deployed", "zero_rule": rule})
    assert (not codes(cs.policy(acceptance, 3, 3), weak, [0.8, 0.8, 0.8])) is passes


def test_scores_are_compared_exactly() -> None:
    acceptance = Acceptance(weak_max=0.7, gap_min=0.2)
    assert 0.7 - 0.5 < 0.2  # what a float would have decided
    assert codes(cs.policy(acceptance, 3, 3), [0.5] * 3, [0.7] * 3) == []
    assert exact(1 / 3) * 3 == 1


def test_a_score_just_short_of_a_limit_does_not_read_as_if_it_reached_it() -> None:
    [failed] = DEPLOYED.objections(played([0.1, 0.1, 0.1], [0.6, 0.6, 0.59]))
    assert failed.message == "strong mean 0.5967, wanted at least 0.60"
    [reached] = PAPER.objections(played([0.5, 0.5, 0.5]))
    assert reached.message == "weak mean 0.50, wanted below 0.50"


def test_a_threshold_can_be_changed_alone() -> None:
    stricter = cs.policy(Acceptance(weak_max=0.45), 3, 3)
    assert codes(stricter, [0.46] * 3, [0.9] * 3) == ["TOO_EASY"]
    assert codes(PAPER, [0.46] * 3, [0.9] * 3) == []


WIDE = cs.policy(Acceptance(gap_min=0.6), 3, 3)
WIDE_AND_CAPPED = cs.policy(Acceptance(preset="deployed", gap_min=0.6), 3, 3)


@pytest.mark.parametrize(
    ("policy", "weak", "said"),
    [
        (WIDE, [0.45] * 3, "weak mean 0.45, wanted at most 0.40 for a gap of 0.60"),
        (WIDE, [0.4] * 3, None),  # strong answers without a fault have a gap of exactly 0.60
        (WIDE_AND_CAPPED, [0.35] * 3, "weak mean 0.35, wanted below 0.35 for a gap of 0.60"),
        (WIDE_AND_CAPPED, [0.34] * 3, None),
    ],
)
def test_a_gap_that_no_strong_score_reaches_is_objected_to_before_the_strong_side_is_asked(
    policy: Policy, weak: list[float], said: str | None
) -> None:
    found = policy.weak_objections(attempts("weak", weak))
    assert [(o.code, o.message) for o in found] == ([("GAP_TOO_SMALL", said)] if said else [])


@pytest.mark.parametrize(
    ("preset", "changes", "wrong"),
    [
        ("paper", {"weak_max": 0}, "weak_max is 0"),
        ("paper", {"strong_max": 0.65}, "strong_min is 0.65"),
        ("paper", {"strong_max": 0.7, "gap_min": 0.7}, "gap_min is 0.7"),
        ("paper", {"gap_min": 1, "zero_rule": "all"}, "gap_min is 1"),
        ("deployed", {"weak_max": 0}, "weak_max is 0"),
        ("deployed", {"weak_best_max": 0}, "weak_best_max is 0"),
        ("deployed", {"strong_min": 0.95}, "strong_min is 0.95"),
        ("deployed", {"gap_min": 0.95}, "gap_min is 0.95"),
        ("measured", {"weak_max": 0}, "weak_max is 0"),
        ("measured", {"strong_min": 1}, "strong_min is 1"),
        ("measured", {"strong_max": 0.5}, "strong_min is 0.65"),
        ("measured", {"gap_min": 1}, "gap_min is 1"),
    ],
)
def test_thresholds_that_no_scores_keep_are_refused(
    preset: str, changes: dict[str, object], wrong: str
) -> None:
    acceptance = Acceptance.model_validate({"preset": preset, **changes})
    with pytest.raises(ValueError, match=rf"acceptance\.{wrong}.*: nothing could be accepted"):
        cs.policy(acceptance, 3, 3)


@pytest.mark.parametrize(
    ("changes", "weak", "strong"),
    [
        ({"gap_min": 1}, 0, 1),
        ({"strong_min": 1}, 0.4, 1),
        ({"strong_max": 0.7, "gap_min": 0.69}, 0, 0.695),
        ({"preset": "deployed", "zero_rule": "off", "weak_max": 0}, 0, 0.9),
    ],
)
def test_thresholds_that_few_scores_keep_are_not_refused(
    changes: dict[str, object], weak: float, strong: float
) -> None:
    policy = cs.policy(Acceptance.model_validate(changes), 3, 3)
    assert codes(policy, [weak] * 3, [strong] * 3) == []


@pytest.mark.parametrize(
    "policy",
    [
        PAPER,
        COUNTS,
        WIDE,
        cs.policy(Acceptance(strong_min=0, gap_min=0), 3, 3),
        science.policy(Acceptance(weak_correct_max=4, strong_correct_min=0), 4, 4),
        procedural.policy(Acceptance(strong_correct_min=0), 4, 4),
    ],
)
def test_each_side_is_asked_before_anything_is_accepted(policy: Policy) -> None:
    assert policy.batch("weak", (), ()) > 0
    assert policy.batch("strong", (Fraction(0),) * policy.weak_planned, ()) > 0
    assert codes(policy, [], [1] * policy.strong_planned) == ["MALFORMED"]
    assert codes(policy, [0] * policy.weak_planned, []) == ["MALFORMED"]


@pytest.mark.parametrize(
    ("weak", "strong", "expected"),
    [
        ([1, 0, 0, 0], [1, 1, 1, 0], []),
        ([0, 0, 0, 0], [1, 1, 1, 1], []),
        ([1, 1, 0, 0], [1, 1, 1, 1], ["TOO_EASY"]),
        ([1, 0, 0, 0], [1, 1, 0, 0], ["STRONG_FAILED"]),
    ],
)
def test_science_counts_exactly(
    weak: list[float], strong: list[float], expected: list[str]
) -> None:
    assert codes(COUNTS, weak, strong) == expected


@pytest.mark.parametrize(
    ("verdict", "suitability", "expected"),
    [
        ("accept", "high", []),
        ("accept", "medium", []),
        ("accept", "low", ["NOT_LEARNABLE"]),  # unsure means improve
        ("improve", "high", ["NOT_LEARNABLE"]),
    ],
)
def test_legal_is_decided_by_the_loop_judge(
    verdict: str, suitability: str, expected: list[str]
) -> None:
    policy = legal.policy(Acceptance(), 5, 3)
    round = played([0.9] * 5, [0.1] * 3)
    judged = round.model_copy(
        update={"judgement": judgement(verdict, suitability, "vary the notice date")}
    )
    objections = policy.objections(judged)
    assert [o.code for o in objections] == expected
    assert all(o.message == "vary the notice date" for o in objections)


def test_marks_that_stay_malformed_are_an_objection_and_never_a_zero() -> None:
    for policy in (PAPER, DEPLOYED, COUNTS):
        assert [o.code for o in policy.weak_objections(attempts("weak", [0.1, None]))] == [
            "MALFORMED"
        ]
        broken = played([0.1, 0.1, 0.1, 0.1], [0.9, None])
        assert "MALFORMED" in [o.code for o in policy.objections(broken)]


def test_truncated_strong_answers_are_named_beside_the_failure() -> None:
    cut = tuple(
        a.model_copy(update={"truncated": True}) for a in attempts("strong", [0.0, 0.0, 1.0, 0.0])
    )
    round = played([0, 0, 0, 0]).model_copy(update={"strong": cut})
    assert [o.code for o in COUNTS.objections(round)] == ["STRONG_FAILED", "TRUNCATED"]


VARIANTS = [
    pytest.param(PAPER, (3, 3), (0, 0.25, 0.5, 0.75, 1), id="paper"),
    pytest.param(DEPLOYED, (3, 3), (0, 0.25, 0.6, 0.8, 1), id="deployed"),
    pytest.param(
        cs.policy(Acceptance(preset="deployed", zero_rule="all"), 3, 3),
        (3, 3),
        (0, 0.3, 0.65, 0.76, 0.95),
        id="deployed-zero-all",
    ),
    pytest.param(
        cs.policy(Acceptance(gap_min=0.45, weak_max=0.6), 3, 3),
        (3, 3),
        (0, 0.2, 0.6, 0.65, 1),
        id="wide-gap",
    ),
    pytest.param(
        cs.policy(Acceptance(gap_min=0.75), 3, 3), (3, 3), (0, 0.2, 0.4, 0.75, 1), id="widest-gap"
    ),
    pytest.param(COUNTS, (4, 4), (0, 1), id="counts"),
    pytest.param(
        science.policy(Acceptance(weak_correct_max=4, strong_correct_min=0), 4, 4),
        (4, 4),
        (0, 1),
        id="counts-that-all-keep",
    ),
]


@pytest.mark.parametrize(("policy", "planned", "values"), VARIANTS)
def test_early_stopping_decides_as_the_full_evaluation_does(
    policy: Policy, planned: tuple[int, int], values: tuple[float, ...]
) -> None:
    """Over all combinations of scores, asked for in the batches that the nodes ask for."""
    rounds = {
        (side, given): attempts(side, given)
        for side in ("weak", "strong")
        for size in range(5)
        for given in product(values, repeat=size)
    }

    @cache
    def objected(weak: tuple[float, ...], strong: tuple[float, ...]) -> bool:
        sides = {"weak": rounds["weak", weak], "strong": rounds["strong", strong]}
        return bool(policy.objections(Round.model_construct(number=1, judgement=None, **sides)))

    @cache
    def asked_strong(weak: tuple[float, ...], strong: tuple[float, ...]) -> tuple[float, ...]:
        if policy.weak_objections(rounds["weak", weak]):
            return ()
        return _asked(partial(policy.strong_settled, scores(rounds["weak", weak])), strong)

    for weak in product(values, repeat=planned[0]):
        asked_weak = _asked(policy.weak_settled, weak)
        for strong in product(values, repeat=planned[1]):
            asked = asked_weak, asked_strong(asked_weak, strong)
            assert objected(*asked) == objected(weak, strong), (weak, strong, asked)


def _asked(settled: Callable[[Scores], bool], planned: tuple[float, ...]) -> tuple[float, ...]:
    """The scores that are asked for, one batch after the other."""
    made = 0
    while size := next_batch(settled, [exact(s) for s in planned[:made]], len(planned)):
        made += size
    return planned[:made]


@pytest.mark.parametrize(
    ("policy", "scored", "spared"),
    [
        (PAPER, (1.0, 1.0, 0.0), 1),  # two high attempts end it
        (PAPER, (0.0, 0.0, 1.0), 1),  # two zeros: the third cannot lift the mean to 0.50
        (PAPER, (0.0, 1.0, 0.0), 0),
        (DEPLOYED, (0.8, 0.1, 0.1), 2),  # one attempt above `best` ends it
        (DEPLOYED, (0.0, 0.1, 0.1), 2),  # so does a zero
        (COUNTS, (1, 1, 0, 0), 2),
        (COUNTS, (0, 0, 0, 1), 1),
    ],
)
def test_early_stopping_spares_attempts(
    policy: Policy, scored: tuple[float, ...], spared: int
) -> None:
    assert len(scored) - len(_asked(policy.weak_settled, scored)) == spared


def test_a_round_is_summed_up_with_exact_means() -> None:
    assert summary(played([0.2, 0.4], [0.9, 0.7])) == {
        "weak_mean": pytest.approx(0.3),
        "strong_mean": pytest.approx(0.8),
        "gap": float(Fraction(1, 2)),
    }
    assert summary(played()) == {"weak_mean": None, "strong_mean": None, "gap": None}


def test_each_task_carries_the_attempts_of_the_paper() -> None:
    planned = {n: (t.weak_attempts, t.strong_attempts) for n, t in TASKS.items()}
    assert planned == {"cs": (3, 3), "legal": (5, 3), "science": (4, 4), "procedural": (4, 4)}


@pytest.mark.parametrize(
    ("task", "changed", "unread"),
    [
        ("cs", {"weak_max": 0.4, "gap_min": 0.3}, []),
        ("cs", {"weak_max": 0.5}, []),  # the preset's own value
        ("cs", {"weak_correct_max": 2, "certainty": 0.9}, ["weak_correct_max", "certainty"]),
        ("cs", {"preset": "measured", "certainty": 0.9, "zero_rule": "any"}, ["zero_rule"]),
        ("legal", {"weak_max": 0.4}, ["weak_max"]),
        ("science", {"weak_max": 0.4, "weak_correct_max": 2}, ["weak_max"]),
        ("science", {"preset": "measured", "weak_max": 0.4, "attempts_max": 8}, ["weak_max"]),
    ],
)
def test_a_threshold_that_a_domain_does_not_use_is_known(
    task: str, changed: dict[str, Any], unread: list[str]
) -> None:
    assert TASKS[task].unread(Acceptance(**changed)) == unread
