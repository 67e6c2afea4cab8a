"""A gain on validation documents is called real only when the sealed ones show it, too."""

import pytest

from autodata.ledger.iterations import Final, Iteration
from autodata.optimization_screen import findings, verdict
from autodata.report.curve import curve


def final(number: int, place: int, accepted: int, test_accepted: int, of: int = 100) -> Final:
    return Final(
        number=number,
        place=place,
        evaluations=5,
        accepted=accepted,
        decided=125,
        test_accepted=test_accepted,
        test_decided=of,
    )


@pytest.mark.parametrize(
    ("winner", "expected"),
    [
        (final(7, 1, 75, 60), "The gain is real: +28.0% on the sealed test"),
        (final(7, 1, 75, 33), "The validation gain of +28.0% is not shown to be real: +1.0%"),
        (final(7, 1, 75, 20), "is not shown to be real: -12.0%"),
        (final(7, 1, 75, 6, of=10), "is within noise"),  # ten documents cannot tell
        (final(0, 1, 40, 32), "No edit beat the prompts that the run started from"),
    ],
)
def test_the_verdict_trusts_sealed_documents_only(winner: Final, expected: str) -> None:
    assert expected in verdict(final(0, 0, 40, 32), winner)


def test_without_sealed_documents_nothing_is_claimed() -> None:
    unsealed = {"test_accepted": None, "test_decided": None}
    pair = [final(0, 0, 40, 0), final(3, 1, 80, 0)]
    said = findings([], [f.model_copy(update=unsealed) for f in pair])
    assert said[-1] == "No test documents were given, so nothing says whether the gain is real."


def test_what_an_edit_says_cannot_break_out_of_the_page() -> None:
    attack = "</title><script>alert(1)</script>"
    i = Iteration(number=0, decision="start", revision="a", prompts="p", score=0.5, subject=attack)
    drawn = curve([i], {0: (1, 2)})
    assert "<script>" not in drawn
    assert "&lt;script&gt;" in drawn
