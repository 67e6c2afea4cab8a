"""A winner has to be measured with the ruler that its parent was measured with."""

import pytest

from autodata.optimizer.checks import drifted


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ([0.1, -0.2, 0.05, 0.0, -0.1, 0.15, 0.1, -0.05], False),  # noise around zero
        ([-0.3, -0.25, -0.35, -0.3, -0.28, -0.31, -0.33, -0.26], True),  # the solver got weaker
        ([0.5, 0.4, 0.45, 0.5, 0.42, 0.48, 0.4, 0.5], True),  # or better
        ([-0.9, 0.4, -0.8, 0.3, -0.9, 0.2, -0.7, 0.1], False),  # too noisy to say
        ([-0.5, -0.5, -0.5], False),  # too few to say
        ([], False),
    ],
)
def test_only_what_noise_does_not_explain_is_drift(changes: list[float], expected: bool) -> None:
    assert drifted(changes) is expected
