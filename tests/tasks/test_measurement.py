"""Intervals and the exact test give the figures that their authors published."""

import pytest

from autodata.tasks.measurement import (
    Interval,
    Pairs,
    exact_paired,
    newcombe,
    newcombe_paired,
    wilson,
)


def near(low: float, high: float) -> object:
    return pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [  # Newcombe, Statistics in Medicine 17 (1998) 857–872, table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_a_share_has_wilsons_interval(successes: int, trials: int, low: float, high: float) -> None:
    assert wilson(successes, trials) == near(low, high)


@pytest.mark.parametrize(
    ("second", "first", "low", "high"),
    [  # Newcombe, Statistics in Medicine 17 (1998) 873–890, table II, method 10
        ((56, 70), (48, 80), 0.0524, 0.3339),
        ((9, 10), (3, 10), 0.1705, 0.8090),
        ((6, 7), (2, 7), 0.0582, 0.8062),
        ((5, 56), (0, 29), -0.0381, 0.1926),
        ((0, 10), (0, 20), -0.1611, 0.2775),
        ((0, 10), (0, 10), -0.2775, 0.2775),
        ((10, 10), (0, 20), 0.6791, 1.0000),
        ((10, 10), (0, 10), 0.6075, 1.0000),
    ],
)
def test_a_difference_of_shares_has_newcombes_interval(
    second: tuple[int, int], first: tuple[int, int], low: float, high: float
) -> None:
    assert newcombe(first, second) == near(low, high)


@pytest.mark.parametrize(
    ("pairs", "low", "high"),
    [
        # Newcombe, Statistics in Medicine 17 (1998) 2635–2650, method 10
        (Pairs(both=36, gained=12, lost=2, neither=0), 0.0569, 0.3404),
        (Pairs(both=20, gained=12, lost=2, neither=16), 0.0562, 0.3292),
        # Altman et al., Statistics with Confidence (2000), table 6.2: 0.011 to 0.226
        (Pairs(both=14, gained=5, lost=0, neither=22), 0.0115, 0.2265),
        # Bentur et al. 2009 in Fagerland et al., Statistics in Medicine 33 (2014): −0.507, −0.026
        (Pairs(both=1, gained=1, lost=7, neither=12), -0.5069, -0.0256),
    ],
)
def test_the_same_documents_twice_have_newcombes_paired_interval(
    pairs: Pairs, low: float, high: float
) -> None:
    assert newcombe_paired(pairs) == near(low, high)


@pytest.mark.parametrize(
    ("pairs", "chance"),
    [
        # Cavo et al. 2012 and Bentur et al. 2009, as above: 0.0525 and 0.0703
        (Pairs(both=59, gained=16, lost=6, neither=80), 0.0525),
        (Pairs(both=1, gained=1, lost=7, neither=12), 0.0703),
        (Pairs(gained=6), 0.03125),
        (Pairs(gained=5), 0.0625),  # five documents can never say it
        (Pairs(both=7, neither=9), 1.0),
        (Pairs(gained=1), 1.0),
    ],
)
def test_uneven_change_is_judged_by_the_exact_sign_test(pairs: Pairs, chance: float) -> None:
    assert exact_paired(pairs) == pytest.approx(chance, abs=5e-5)
    swapped = pairs._replace(lost=pairs.gained, gained=pairs.lost)
    assert exact_paired(swapped) == exact_paired(pairs)


def test_one_document_makes_nobody_sure() -> None:
    low, high = newcombe_paired(Pairs(gained=1))
    assert low < 0.3
    assert high == 1.0
    assert wilson(1, 1).low < 0.3


def test_what_was_never_tried_may_be_anything() -> None:
    assert wilson(0, 0) == Interval(0.0, 1.0)
    assert newcombe((0, 0), (3, 4)) == newcombe_paired(Pairs()) == Interval(-1.0, 1.0)
    with pytest.raises(ValueError, match="5 of 4 is no share"):
        wilson(5, 4)
