"""A winner has to be measured with the ruler that its parent was measured with."""

from pathlib import Path

import pytest

from autodata.graph.state import RunChoices
from autodata.optimizer.finals import drifted, winner
from autodata.optimizer.loop import optimize
from tests.optimizer.context import optimization_context


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


async def test_control_questions_are_judged_as_often_as_those_that_they_are_held_against(
    tmp_path: Path,
) -> None:
    with optimization_context(tmp_path, iterations=0, validation=2) as context:
        context.evaluator.choices = RunChoices(rounds=1, judge_repeats=2)
        await optimize(context)
        start = context.population.prompts(context.evaluator.run.prompts_revision)
        await winner(context, 1, start)
        rows = context.ledger.query(
            "select distinct sample from calls where role = 'judge'"
            " and scope like 'iteration-1/control/%' order by sample"
        )
    assert [row["sample"] for row in rows] == [-12, 1]
