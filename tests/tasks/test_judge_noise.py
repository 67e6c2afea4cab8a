"""The judge's share of the noise: found where it was declared, and what follows from it."""

from math import sqrt
from random import Random
from statistics import fmean

import pytest

from autodata.tasks.judge_noise import (
    LEAST_DOCUMENTS,
    MOST_REPEATS,
    AuditedExample,
    Judged,
    MarkPairs,
    agreement,
    audit_of,
    cheapest,
    family,
    judge_noise,
    judge_share,
    kappa,
    pairs_of,
    pooled,
    repeated_pairs,
    sampled,
    sums_of,
)

SPREAD = 0.15  # of once-judged attempts


def drawn(share: float, documents: int, rng: Random) -> list[list[Judged]]:
    """Documents of one or two rounds, both sides, two or three attempts judged two or three times;
    of the variance within a side the share is the judge's."""
    judge, answers = SPREAD * sqrt(share), SPREAD * sqrt(1 - share)

    def side() -> list[list[float]]:
        middle = rng.uniform(0.2, 0.8)
        worth = [middle + rng.gauss(0, answers) for _ in range(rng.randint(2, 3))]
        return [[true + rng.gauss(0, judge) for _ in range(rng.randint(2, 3))] for true in worth]

    return [[side() for _ in range(2 * rng.randint(1, 2))] for _ in range(documents)]


@pytest.mark.parametrize("share", [0.05, 0.41, 0.8])
def test_the_declared_share_is_found_and_the_interval_covers_it(share: float) -> None:
    rng = Random(5)
    found = [judge_noise(drawn(share, 12, rng), 1, 1) for _ in range(100)]
    noises = [noise for noise in found if noise]
    assert len(noises) == 100
    assert fmean(noise.share for noise in noises) == pytest.approx(share, abs=0.02)
    covered = sum(noise.interval.low <= share <= noise.interval.high for noise in noises)
    assert 90 <= covered <= 99
    assert all(noise.least <= noise.repeats <= noise.most for noise in noises)


def test_a_judge_that_never_differs_makes_none_of_it_and_one_that_only_differs_all() -> None:
    steady: list[list[Judged]] = [[[[0.2, 0.2], [0.6, 0.6]]]] * LEAST_DOCUMENTS
    moody: list[list[Judged]] = [[[[0.2, 0.6], [0.6, 0.2]]]] * LEAST_DOCUMENTS
    first, second = judge_noise(steady, 1, 1), judge_noise(moody, 1, 1)
    assert first
    assert second
    assert (first.share, first.repeats) == (0.0, 1)
    assert (second.share, second.repeats) == (1.0, MOST_REPEATS)


def test_variances_are_found_by_hand() -> None:
    """Means .3, .5 and .8 around .5333; squares within .02 + .02 + .08 with three degrees."""
    found = sums_of([[[0.2, 0.4], [0.4, 0.6], [0.6, 1.0], [0.9]]])
    assert found == pytest.approx((0.12, 3, 0.126667, 2, 1.0), abs=1e-6)
    judge = 0.04
    answers = (0.126667 - judge) / 2
    assert judge_share([found]) == pytest.approx(judge / (judge + answers), abs=1e-5)


def test_too_few_documents_and_attempts_judged_once_say_nothing() -> None:
    rng = Random(1)
    assert judge_noise(drawn(0.5, LEAST_DOCUMENTS - 1, rng), 1, 1) is None
    assert judge_noise(drawn(0.5, LEAST_DOCUMENTS, rng), 1, 1)
    once = [[[scores[:1] for scores in side] for side in sides] for sides in drawn(0.5, 30, rng)]
    assert judge_noise(once, 1, 1) is None
    alone = [[side[:1] for side in sides] for sides in drawn(0.5, 30, rng)]
    assert judge_noise(alone, 1, 1) is None
    assert judge_noise([[[[0.5, 0.5], [0.5, 0.5]]]] * 30, 1, 1) is None


@pytest.mark.parametrize(
    ("share", "answer", "judgement", "repeats"),
    [  # Cochran's rule: m is right where m(m − 1) ≤ the square of the optimum ≤ m(m + 1)
        (0.5, 1, 1, 1),
        (0.66, 1, 1, 1),
        (0.67, 1, 1, 2),
        (0.41, 10, 1, 3),
        (0.41, 1, 10, 1),
        (0.41, 1, 0, 9),
        (0.41, 0, 1, 1),
        (0.0, 1, 1, 1),
        (1.0, 1, 1, 9),
    ],
)
def test_the_cheapest_number_of_judgements_is_cochrans(
    share: float, answer: float, judgement: float, repeats: int
) -> None:
    assert cheapest(share, answer, judgement) == repeats
    if share < 1 and judgement:
        square = share / (1 - share) * answer / judgement
        assert max(repeats * (repeats - 1), 0) <= square or repeats == 1
        assert square <= repeats * (repeats + 1)


def test_kappa_is_cohens() -> None:
    """His own kind of table: they agree on 35 of 50, and would on half by chance."""
    found = agreement([MarkPairs(20, 5, 10, 15)])
    assert found is not None
    assert (found.pairs, found.share, found.interval, found.kappa_interval) == (50, 0.7, None, None)
    assert found.kappa == pytest.approx(0.4)
    assert kappa([MarkPairs(9, 0, 0, 0)]) == 1
    assert kappa([MarkPairs(3, 1, 0, 0)]) == 0


def test_pairs_of_marks_are_counted_of_two_judges_and_of_a_repeated_one() -> None:
    assert pairs_of([True, True, False], [True, False, False]) == (1, 1, 0, 1)
    assert repeated_pairs([True, False, True]) == (1, 1, 1, 0)
    assert repeated_pairs([True]).made == 0
    assert agreement([repeated_pairs([True])]) is None


def test_agreement_lies_in_its_intervals_as_often_as_they_say() -> None:
    """Documents differ in how hard they are to mark; the truth is that of very many of them."""
    rng = Random(3)

    def document() -> MarkPairs:
        slips = rng.choice((0.02, 0.1, 0.3))
        first = [rng.random() < 0.6 for _ in range(40)]
        return pairs_of(first, [mark != (rng.random() < slips) for mark in first])

    truth = agreement([pooled(document() for _ in range(20_000))])
    assert truth is not None
    found = [agreement([document() for _ in range(12)]) for _ in range(60)]
    shares = [f.interval for f in found if f and f.interval]
    kappas = [f.kappa_interval for f in found if f and f.kappa_interval]
    assert sum(low <= truth.share <= high for low, high in shares) >= 53
    assert sum(low <= truth.kappa <= high for low, high in kappas) >= 53
    few = agreement([document() for _ in range(LEAST_DOCUMENTS - 1)])
    assert few is not None
    assert few.interval is not None
    assert few.kappa_interval is None


def test_share_and_kappa_tell_one_story_and_perfect_agreement_no_false_certainty() -> None:
    """Ends of the share, put through kappa, are about those of kappa; where all agree, draws do."""
    found = agreement([MarkPairs(46 - n % 4, n % 4, 3, 47) for n in range(20)])
    assert found is not None
    assert found.interval is not None
    assert found.kappa_interval is not None
    ends = [2 * end - 1 for end in found.interval]  # half of the marks are met: chance agrees on ½
    assert ends == pytest.approx([*found.kappa_interval], abs=0.005)
    sure = agreement([MarkPairs(3, 0, 0, 2)] * 12)
    assert sure is not None
    assert (sure.share, sure.kappa, sure.kappa_interval) == (1.0, 1.0, None)
    assert sure.interval is not None
    assert sure.interval.low < 0.9


def test_an_interval_with_a_negative_end_is_read_as_one() -> None:
    found = agreement([MarkPairs(0, n % 2, (n + 1) % 3 % 2, 9) for n in range(12)])
    assert found is not None
    assert found.kappa_interval is not None
    assert found.kappa_interval.low < 0
    assert f"({found.kappa_interval.low:z.2f} to " in found.said


def test_a_tie_of_the_first_judge_is_half_a_mark() -> None:
    assert pairs_of([0.5, 0.5, 1.0], [True, False, False]) == (0.5, 1.5, 0.5, 0.5)


def test_a_second_judge_is_summed_up_by_document_and_named_where_it_is_hardly_another() -> None:
    """Passages of one text count as one document; where nothing can be told nothing is counted."""
    found = [
        AuditedExample("a", "text", MarkPairs(4, 1, 0, 5), (-0.1, 0.0), True),
        AuditedExample("b", "text", MarkPairs(5, 0, 0, 5), (0.0,), False),
        AuditedExample("c", "other", MarkPairs(3, 1, 1, 5), (0.2, 0.1), None),
        AuditedExample("d", "compared", MarkPairs(0, 0, 0, 0), (), True),
    ]
    assert [one.disagreement for one in found] == pytest.approx([0.1, 0, 0.2, None])
    audit = audit_of("audit", "openai/gpt-5-mini", "local/Qwen/Qwen3.5-4B", found)
    assert (audit.examples, audit.otherwise, audit.told) == (4, 1, 2)
    assert "on 3 of 4 examples (the others had no mark to compare): agrees on 90 %" in audit.said
    assert audit.agreement
    assert audit.agreement.share == pytest.approx(0.9)
    assert audit.difference == pytest.approx(0.04)
    assert audit.interval
    assert audit.interval.low < 0.04 < audit.interval.high
    assert not audit.warning
    kin = audit._replace(second="azure/gpt-5")
    assert "of the judge's own family" in kin.said
    assert "the same model" in audit._replace(second="azure/gpt-5-mini").said
    alone = audit_of("audit", "x/a", "x/b", found[3:])
    assert "nothing that a judge had marked" in alone.said
    untold = audit_of("audit", "x/a", "y/b", found[2:])
    assert "what the gate would decide cannot be told" in untold.said


@pytest.mark.parametrize(
    ("model", "name"),
    [("openai/gpt-5", "gpt"), ("openai/o3-mini", "gpt"), ("local/Qwen/Qwen3.5-4B", "qwen"),
     ("x/claude-opus-4", "claude"), ("x/4b", "4b")],
)  # fmt: skip
def test_families_go_by_the_first_letters_of_a_name(model: str, name: str) -> None:
    assert family(model) == name


def test_a_sample_holds_its_share_and_a_larger_one_holds_it() -> None:
    ids = [f"{n:016x}-r1" for n in range(4000)]
    some, more = ({id for id in ids if sampled(id, share)} for share in (0.2, 0.5))
    assert some < more
    assert len(some) / 4000 == pytest.approx(0.2, abs=0.02)
    assert all(sampled(id, 1.0) for id in ids)
    assert not any(sampled(id, 0.0) for id in ids)
