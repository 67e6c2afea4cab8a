"""What a pilot says of the rest: counts, costs, rounds and a student's headroom."""

from math import inf
from random import Random

import pytest

from autodata.tasks.forecast import (
    Outset,
    PilotDocument,
    forecast,
    headroom,
    predicted_successes,
    predicted_trials,
    yield_curve,
)


def document(
    accepted: bool, rounds: int, source: str, weak: tuple[float, ...] = (), usd: float | None = 0.0
) -> PilotDocument:
    calls = 7 * rounds
    return PilotDocument(accepted, rounds, calls, 1_700 * calls, usd, 2.0 * rounds, source, weak)


def corpus(size: int, seed: int) -> list[PilotDocument]:
    """Documents that differ in how often a round of theirs gives an example; of twelve rounds."""
    draw, made = Random(seed), []
    for number in range(size):
        chance = draw.betavariate(0.7, 3)
        gave = next((n for n in range(1, 13) if draw.random() < chance), None)
        made.append(document(gave is not None, gave or 12, str(number)))
    return made


@pytest.mark.parametrize(
    ("accepted", "tried", "more", "expected"),
    [(0, 8, 52, (0, 20)), (8, 8, 52, (32, 52)), (5, 8, 52, (11, 49)), (3, 8, 0, (0, 0)),
     (300, 600, 10, (2, 8))],
)  # fmt: skip
def test_the_next_documents_succeed_within_an_exact_interval(
    accepted: int, tried: int, more: int, expected: tuple[int, int]
) -> None:
    assert predicted_successes(accepted, tried, more) == expected


def test_the_exact_interval_covers_what_it_says_whatever_the_true_share() -> None:
    for share in (0.1, 0.5, 0.9):
        draw, within = Random(5), 0
        for _ in range(400):
            accepted = sum(draw.random() < share for _ in range(8))
            low, high = predicted_successes(accepted, 8, 20)
            within += low <= sum(draw.random() < share for _ in range(20)) <= high
        assert within / 400 >= 0.94


def test_documents_needed_are_the_inverse_of_examples_given() -> None:
    low, high = predicted_trials(5, 8, 20)
    assert (
        predicted_successes(5, 8, int(low) - 1).high
        < 20
        <= predicted_successes(5, 8, int(low)).high
    )
    assert (
        predicted_successes(5, 8, int(high) - 1).low
        < 20
        <= predicted_successes(5, 8, int(high)).low
    )
    assert predicted_trials(0, 8, 20).high == inf  # a pilot without an example promises none


def test_eight_documents_foretell_what_the_other_52_give_and_take() -> None:
    hits = dict.fromkeys(("examples", "calls", "rounds"), 0)
    for seed in range(20):
        made = corpus(60, seed)
        rest = made[8:]
        found = forecast(made[:8], Outset(52, None, 12, 8))
        gave = sum(one.accepted for one in rest)
        hits["examples"] += found.examples.low <= gave <= found.examples.high
        for kind in ("calls", "rounds"):
            at, took = found.costs[kind], sum(getattr(one, kind) for one in rest)  # type: ignore[index]
            hits[kind] += at.low <= took <= at.high
    assert min(hits.values()) >= 18, hits


def test_a_pilot_that_accepted_all_still_reckons_with_rejected_ones() -> None:
    sure = [document(True, 1, str(n)) for n in range(8)]
    found = forecast(sure, Outset(52, None, 12, 8))
    assert found.examples.low == 32
    assert found.costs["rounds"].high > 100  # some will go on for all twelve rounds


def test_so_many_examples_take_documents_and_money_without_end_where_none_was_accepted() -> None:
    none = [document(False, 12, str(n), usd=None) for n in range(8)]
    found = forecast(none, Outset(52, 10, 12, 8))
    assert found.documents.high == inf
    assert found.enough is not None
    assert found.enough < 0.1
    assert "usd" not in found.costs  # a price is unknown
    assert {cost.high for cost in found.costs.values()} == {inf}


def test_a_forecast_of_very_many_is_that_of_fewer_in_proportion() -> None:
    pilot = corpus(8, 5)
    more = forecast(pilot, Outset(10**9, None, 12, 8))
    assert more.documents == (10**9, 10**9, 10**9)
    fewer = forecast(pilot, Outset(10_000, None, 12, 8))
    for one, other in ((more.examples, fewer.examples), (more.costs["usd"], fewer.costs["usd"])):
        assert one == pytest.approx([end * 10**5 for end in other])
    wanted = forecast(pilot, Outset(52, 10**8, 12, 8))
    assert wanted.examples.value == pytest.approx(10**8)
    assert wanted.documents.low > 10**8
    assert wanted.costs["calls"].low > 7 * wanted.documents.low
    assert wanted.enough == 0


def test_costs_cover_where_passages_of_one_text_are_alike() -> None:
    """Pilots of four passages of six texts each, and what they said of the next twenty texts."""
    draw, within = Random(3), 0
    for _ in range(12):
        kinds = [draw.random() for _ in range(26)]
        passages = [
            document(kind < 0.6, min(12, 2 + int(kind * 17)), str(n))
            for n, kind in enumerate(kinds)
            for _ in range(4)
        ]
        pilot, rest = passages[:24], passages[24:]
        low, high = forecast(pilot, Outset(80, None, 12, 8)).costs["calls"][1:]
        within += low <= sum(one.calls for one in rest) <= high
    assert within >= 11


def test_how_likely_a_number_is_reached_counts_passages_of_one_text_as_one() -> None:
    apart = [document(n < 6, 6, str(n)) for n in range(8)]
    together = [document(n < 6, 6, str(n // 2)) for n in range(8)]
    sure, less_sure = (forecast(p, Outset(52, 30, 12, 8)).enough for p in (apart, together))
    assert sure is not None
    assert less_sure is not None
    assert 0.5 < less_sure < sure - 0.02


def test_passages_of_one_text_say_less_than_as_many_texts() -> None:
    apart = [document(n % 2 == 0, 6, str(n)) for n in range(8)]
    together = [document(n % 4 < 2, 6, str(n // 2)) for n in range(8)]
    wide = forecast(together, Outset(52, None, 12, 8)).examples
    narrow = forecast(apart, Outset(52, None, 12, 8)).examples
    assert wide.high - wide.low > narrow.high - narrow.low


def test_documents_side_by_side_take_less_time_but_never_less_than_the_longest() -> None:
    pilot = corpus(12, 1)
    alone, eight, many = (
        forecast(pilot, Outset(48, None, 12, n)).costs["seconds"].value for n in (1, 8, 4800)
    )
    assert alone > 5 * eight > 5 * many > 0


def test_a_plateau_is_named_only_where_later_rounds_give_distinguishably_less() -> None:
    stops = [document(True, 1 + n % 2, str(n)) for n in range(12)]
    stops += [document(False, 12, f"hard {n}") for n in range(8)]
    found = yield_curve(stops)
    assert found.plateau == 2
    assert [point.gave for point in found.points] == [6, 6] + [0] * 10
    assert found.points[-1].share == 0.6
    steady = [document(True, 1 + n % 12, str(n)) for n in range(24)]
    assert yield_curve(steady).plateau is None
    assert yield_curve(stops[:2] + stops[-1:]).plateau is None  # ten later rounds are too few here


def test_headroom_counts_questions_that_are_neither_always_failed_nor_always_solved() -> None:
    pilot = [
        document(True, 1, "a", (0.0, 0.0, 0.0)),
        document(True, 1, "b", (0.25, 0.5)),
        document(True, 1, "c", (0.0, 1.0)),
        document(False, 12, "d"),
    ]
    found = headroom(pilot)
    assert found is not None
    assert (found.questions, round(found.open, 3)) == (3, 0.667)
    assert found.variance == pytest.approx((0 + 4 * 0.375 * 0.625 + 1) / 3)
    assert found.open_interval.low < found.open < found.open_interval.high
    assert headroom(pilot[3:]) is None


def test_one_document_foretells_nothing() -> None:
    with pytest.raises(ValueError, match="at least 2"):
        forecast(corpus(1, 1), Outset(5, None, 12, 8))
