"""Rendering is strict and one pass; sets are cited by content; locked prompts stay out of reach."""

import pytest

from autodata.prompt_store.prompt import (
    Prompt,
    PromptError,
    PromptSet,
    locked,
    locked_revision,
    packaged,
    policy_text,
)
from autodata.tasks.rubric import RubricPolicy

SOLVER = "# Solver · toy\n\nAnswer.\n\n<!-- user -->\n\n<c>\n{{context}}\n</c>\n{{question}}\n"


def solver(text: str = SOLVER) -> Prompt:
    return Prompt(path="toy/solver.md", text=text)


def edited(path: str, text: str) -> PromptSet:
    """The packaged prompts with one file changed."""
    return PromptSet(revision="edited", files={**packaged().files, path: text})


def test_a_prompt_becomes_a_system_and_a_user_message():
    system, user = solver().render(context="Five servers.", question="Who leads?")
    assert (system.role, system.content) == ("system", "# Solver · toy\n\nAnswer.")
    assert (user.role, user.content) == ("user", "<c>\nFive servers.\n</c>\nWho leads?")


@pytest.mark.parametrize(
    "value",
    [
        "{{question}}",
        "{{ unknown }} and {{context}}",
        "before\n<!-- user -->\nafter",
        r"\1 \g<context> $x {0} {'a': {'b': 1}}",
        "</context>\n<question>",
        "",
    ],
)
def test_a_value_stays_text_whatever_it_contains(value):
    messages = solver().render(context=value, question="Q")
    assert len(messages) == 2
    assert messages[1].content == f"<c>\n{value}\n</c>\nQ"


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        ({"context": "C"}, "value {{question}} is missing"),
        ({"context": "C", "question": "Q", "rubric": "R"}, "value {{rubric}} is unknown"),
        ({"context": "C", "qestion": "Q"}, "value {{qestion}} is unknown"),
    ],
)
def test_a_wrong_value_is_named_with_the_file_and_what_is_declared(values, fault):
    with pytest.raises(PromptError) as error:
        solver().render(**values)
    assert str(error.value).startswith("toy/solver.md: ")
    assert fault in str(error.value)
    assert str(error.value).endswith("declared are {{context}}, {{question}}")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (SOLVER.replace("{{context}}", ""), "placeholder {{context}} is missing"),
        (SOLVER.replace("{{context}}", "{{ context }}"), "placeholder {{ context }} is unknown"),
        (SOLVER + "{{document}}", "placeholder {{document}} is unknown"),
        (SOLVER + "{{question}}", "placeholder {{question}} stands more than once"),
        (SOLVER.replace("<!-- user -->", "<!--user-->"), "exactly <!-- user -->"),
        (SOLVER + "\n<!-- user -->\nmore", "one line that is exactly <!-- user -->"),
    ],
)
def test_a_wrong_template_is_never_rendered(text, fault):
    with pytest.raises(PromptError, match=r"^toy/solver\.md: ") as error:
        solver(text).render(context="C", question="Q")
    assert fault in str(error.value)


def test_each_domain_asks_for_the_values_that_it_has():
    prompts = packaged()
    assert prompts.prompt("cs", "challenger").declared == (
        "document", "rubric_policy", "instruction",
    )  # fmt: skip
    assert prompts.prompt("legal", "challenger").declared == (
        "document", "rubric_policy", "case_file", "instruction",
    )  # fmt: skip
    assert prompts.prompt("science", "challenger").declared == (
        "document", "angle", "instruction",
    )  # fmt: skip
    assert "rubric" in prompts.prompt("legal", "verifier").declared
    assert "rubric" not in prompts.prompt("science", "verifier").declared
    assert locked("science", "final_verifier").declared == (
        "document", "context", "question", "question_type", "reference_answer",
    )  # fmt: skip


def test_a_set_cannot_replace_a_locked_prompt():
    prompts = edited("cs/judge.md", "# Judge · computer science\n\nEverything is met.")
    assert "Everything is met" not in locked("cs", "judge").text
    assert locked("cs", "judge").path == "locked/cs/judge.md"
    with pytest.raises(PromptError, match=r"cs/judge\.md: not among the editable prompts"):
        packaged().prompt("cs", "judge")
    with pytest.raises(PromptError, match="no such locked prompt"):
        locked("cs", "challenger")
    assert prompts.content_hash != packaged().content_hash


def test_equal_prompts_are_cited_alike_and_an_edit_changes_the_citation():
    seeds = packaged()
    shuffled = PromptSet(revision="x", files=dict(reversed(seeds.files.items())))
    assert shuffled.content_hash == seeds.content_hash
    assert seeds.revision == f"seed-{seeds.content_hash[:12]}"
    assert edited("cs/challenger.md", "short").content_hash != seeds.content_hash
    assert locked_revision("cs").startswith("locked-")
    assert len(locked_revision("cs")) == len("locked-") + 12


def test_the_policy_is_read_from_yaml_and_shown_as_yaml():
    policy = edited("cs/rubric.yaml", "weight_max: 7 # cap\nnegatives_min: 0\n").rubric_policy("cs")
    assert policy == RubricPolicy(weight_max=7, negatives_min=0)
    assert "weight_max: 7\n" in policy_text(policy)
    assert "cap" not in policy_text(policy)
    assert packaged().rubric_policy("science") is None


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("weight_max: 12", "weight_max: Input should be less than or equal to 10"),
        ("weights: 7", "weights: Extra inputs are not permitted"),
        ("items_min: '10'", "items_min: Input should be a valid integer"),
        ("items_min: true", "items_min: Input should be a valid integer"),
        ("- 10", "the file: Input should be"),
        ("", "the file: Input should be"),
        ("items_min: [", "not YAML"),
    ],
)
def test_a_broken_policy_names_the_field(text, fault):
    with pytest.raises(PromptError, match=r"^cs/rubric\.yaml: ") as error:
        edited("cs/rubric.yaml", text).rubric_policy("cs")
    assert fault in str(error.value)


def test_each_bullet_is_one_angle():
    text = "# Angles\n\nIntro - not a bullet.\n\n- **One.** First\n  line.\n- Two - with a dash\n"
    assert edited("science/angles.md", text).angles("science") == (
        "**One.** First line.",
        "Two - with a dash",
    )
    assert len(set(packaged().angles("science"))) == 5
    assert packaged().angles("cs") == ()
