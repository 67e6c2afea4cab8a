"""What a form shows, and when two ways to state the same are one."""

import pytest

from autodata.graph.state import RunChoices, as_configured, of_one_preset, spelled_out
from autodata.tasks import TASKS

CS, SCIENCE = TASKS["cs"], TASKS["science"]
PAPER = {"weak_max": 0.5, "weak_best_max": 1.0, "strong_min": 0.65, "gap_min": 0.2}


@pytest.mark.parametrize(
    ("task", "stated", "shown"),
    [
        ("cs", {}, {"rounds": 12, "weak_attempts": 3, **PAPER, "zero_rule": "off"}),
        ("cs", {"rounds": 4, "weak_max": 0.4}, {"rounds": 4, "weak_max": 0.4, "gap_min": 0.2}),
        ("cs", {"preset": "deployed"}, {"weak_max": 0.65, "strong_max": 0.95, "zero_rule": "any"}),
        ("cs", {"preset": "measured"}, PAPER),
        ("science", {}, {"weak_attempts": 4, "challengers": 3, "weak_max": None}),
        ("legal", {}, {"weak_attempts": 5, "weak_max": None}),
    ],
)
def test_a_form_shows_the_numbers_in_force(
    task: str, stated: dict[str, object], shown: dict[str, object]
) -> None:
    found = spelled_out(TASKS[task], RunChoices.model_validate(stated))
    assert {name: getattr(found, name) for name in shown} == shown


@pytest.mark.parametrize(
    "configured",
    [RunChoices(), RunChoices(rounds=4, weak_max=0.4), RunChoices(preset="deployed", rounds=12)],
)
def test_a_form_that_is_sent_as_it_is_makes_no_other_run(configured: RunChoices) -> None:
    form = spelled_out(CS, configured).model_copy(update={"task": "cs"})
    assert as_configured(CS, form, configured) == configured
    other = form.model_copy(update={"gap_min": 0.3})
    assert as_configured(CS, other, configured) == configured.model_copy(update={"gap_min": 0.3})


def test_thresholds_of_another_preset_are_other_thresholds() -> None:
    choices = RunChoices(preset="deployed", weak_max=0.5)
    assert as_configured(CS, choices, RunChoices()) == choices


def test_a_form_whose_preset_alone_was_changed_is_refused() -> None:
    form = spelled_out(CS, RunChoices())
    with pytest.raises(ValueError, match="still those of paper: leave out weak_max, weak_best_max"):
        of_one_preset(CS, form.model_copy(update={"preset": "deployed"}), RunChoices())
    for fine in (
        form,
        form.model_copy(update={"preset": "measured"}),  # which has the thresholds of paper
        form.model_copy(update={"preset": "deployed", "weak_max": 0.6}),
        RunChoices(preset="deployed"),
    ):
        assert of_one_preset(CS, fine, RunChoices()) == fine
    counts = spelled_out(SCIENCE, RunChoices()).model_copy(update={"preset": "deployed"})
    assert of_one_preset(SCIENCE, counts, RunChoices()) == counts
