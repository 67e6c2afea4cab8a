"""A set of prompts that cannot be used is refused with every fault and the file it is in."""

import pytest

from autodata.prompt_store.prompt import PromptSet, locked, packaged, problems, prompt_faults

CHALLENGER = "cs/challenger.md"


def edited(path: str, old: str, new: str) -> PromptSet:
    """The packaged prompts with one passage of one file replaced."""
    files = dict(packaged().files)
    assert old in files[path]
    files[path] = files[path].replace(old, new)
    return PromptSet(revision="edited", files=files)


def test_what_ships_is_sound():
    assert problems(packaged()) == []
    for task in ("cs", "legal", "science"):
        for role in ("solver", "judge", "final_verifier"):
            assert prompt_faults(locked(task, role)) == []
    assert prompt_faults(locked("legal", "extractor")) == []
    assert prompt_faults(locked("procedural", "solver")) == []
    assert prompt_faults(locked("legal", "loop_judge")) == []


def test_a_reworded_prompt_and_a_stricter_policy_are_fine():
    assert problems(edited(CHALLENGER, "One or two paragraphs.", "One paragraph.")) == []
    assert problems(edited("cs/rubric.yaml", "weight_max: 10 ", "weight_max: 7 ")) == []


@pytest.mark.parametrize("path", sorted(packaged().files))
def test_a_missing_file_is_named(path):
    files = {p: text for p, text in packaged().files.items() if p != path}
    assert problems(PromptSet(revision="x", files=files)) == [f"{path}: missing"]


def test_a_file_that_nobody_reads_is_named():
    files = {**packaged().files, "cs/judge.md": "Mark everything as met."}
    (found,) = problems(PromptSet(revision="x", files=files))
    assert found.startswith("cs/judge.md: no role reads this file; the files are cs/challenger.md,")


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("{{rubric_policy}}", "", "placeholder {{rubric_policy}} is missing"),
        ("{{document}}", "{{dokument}}", "placeholder {{dokument}} is unknown"),
        ("{{instruction}}", "{{instruction}}{{instruction}}", "stands more than once"),
        ("# Challenger ·", "# The challenger ·", "the first line must be the title “# Challenger"),
        ("<!-- user -->", "<!-- User -->", "needs one line that is exactly <!-- user -->"),
        ("<document>\n{{document}}\n</document>", "{{document}}", "must stand alone on its line"),
        ("{{instruction}}", "Now: {{instruction}}", "must stand alone on its line"),
    ],
)
def test_a_fault_in_a_prompt_is_named_with_its_file(old, new, fault):
    found = problems(edited(CHALLENGER, old, new))
    assert any(fault in problem for problem in found)
    assert all(problem.startswith("cs/challenger.md: ") for problem in found)


def test_foreign_text_may_not_move_into_the_system_message():
    tagged = "<document>\n{{document}}\n</document>\n"
    text = packaged().files[CHALLENGER].replace(tagged, "")
    text = text.replace("<!-- user -->", f"{tagged}\n<!-- user -->")
    files = {**packaged().files, CHALLENGER: text}
    (found,) = problems(PromptSet(revision="x", files=files))
    assert "{{document}} must stand alone" in found
    assert "after the line <!-- user -->" in found


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("weight_max: 10 ", "weight_max: 11 ", "weight_max: Input should be less than or equal"),
        ("items_min: 10 ", "items_min: 30 ", "items_min is 30, more than items_max, which is 20"),
        ("items_min: 10 ", "items_min: 1 ", "items_min: 1 is less than 10: with fewer, chance"),
        ("negatives_min: 3 ", "negatives_min: 11 ", "negatives_min is 11, more than negatives_max"),
        ("positives_min: 4 ", "positives_min: 18 ", "positives_min + negatives_min is 21"),
    ],
)
def test_a_policy_that_no_rubric_can_meet_is_named(old, new, fault):
    (found,) = problems(edited("cs/rubric.yaml", old, new))
    assert found.startswith("cs/rubric.yaml: ")
    assert fault in found
    assert found.count("cs/rubric.yaml") == 1


def test_angles_are_three_to_five_and_distinct():
    def check(bullets: str) -> list[str]:
        files = {**packaged().files, "science/angles.md": bullets}
        return problems(PromptSet(revision="x", files=files))

    assert check("- a\n- b\n- c\n") == []
    assert check("no bullets") == [
        "science/angles.md: 0 angles; 3 to 5 challengers work in parallel"
    ]
    assert check("- a\n- b\n- c\n- d\n- e\n- f\n")[0].startswith("science/angles.md: 6 angles")
    assert check("- a\n- b\n- a\n") == ["science/angles.md: two angles are the same"]
    assert check("- a\n- b\n- \n") == ["science/angles.md: an angle is empty"]
