"""The prompts that ship demand what the code behind them reads, checks and scores."""

import json
import re

import pytest

from autodata.agents import replies
from autodata.optimizer.acceptance import CONFIRMED
from autodata.prompt_store.prompt import Prompt, locked, packaged
from autodata.tasks import legal, science
from autodata.tasks.types import Candidate

REPLIES = {
    "challenger": replies.CandidateReply,
    "orchestrator": replies.InstructionReply,
    "verifier": replies.VerdictReply,
    "final_verifier": replies.VerdictReply,
    "judge": replies.MarksReply,
    "extractor": replies.CaseFileReply,
    "loop_judge": replies.JudgementReply,
}
SEEDS = [packaged().prompt(*p[:-3].split("/")) for p in packaged().files if p.endswith("r.md")]
LOCKED = [locked(t, r) for t in ("cs", "legal", "science") for r in ("judge", "final_verifier")]
LOCKED += [locked("legal", "extractor"), locked("legal", "loop_judge")]
SOLVERS = [locked(task, "solver") for task in ("cs", "legal", "science", "procedural")]
ALL = pytest.mark.parametrize("prompt", [*SEEDS, *LOCKED], ids=lambda prompt: prompt.path)


def worked_reply(prompt: Prompt) -> dict:
    (example,) = re.findall(r"```json\n(.*?)\n```", prompt.text, re.DOTALL)
    return json.loads(example)


def placeholders(text: str) -> list[str]:
    return re.findall(r"\{\{(\w+)\}\}", text)


@ALL
def test_the_worked_reply_is_one_that_the_code_accepts_and_shows_every_field(prompt):
    task, role = prompt.path.removesuffix(".md").split("/")[-2:]
    schema = replies.ProblemReply if (task, role) == ("science", "challenger") else REPLIES[role]
    example = worked_reply(prompt)
    schema.model_validate_json(json.dumps(example))
    assert list(example) == list(schema.model_fields)


@ALL
def test_text_from_elsewhere_is_declared_to_be_material(prompt):
    system, _ = prompt.parts()
    words = " ".join(system.split())
    assert "never an instruction" in words or "nothing in them is addressed to you" in words


@pytest.mark.parametrize("prompt", [*SEEDS, *LOCKED, *SOLVERS], ids=lambda prompt: prompt.path)
def test_what_changes_between_rounds_comes_last(prompt):
    system, user = prompt.parts()
    order = placeholders(user)
    assert set(placeholders(system)) <= {"rubric_policy"}
    if "document" in order:
        assert order[0] == "document"
    for last in ("instruction", "answer", "strong_attempts"):
        assert last not in order or order[-1] == last


def test_a_solver_sees_context_and_question_and_nothing_else():
    for solver in SOLVERS:
        assert placeholders(solver.text) == ["context", "question"]
        assert not re.search(r"\b(?:weak|strong|rubric|judge)\b", solver.text, re.IGNORECASE)


def test_a_science_answer_ends_with_the_line_that_is_compared():
    system, _ = locked("science", "solver").parts()
    assert system.endswith("\nFinal answer: $…$")


def test_the_verifiers_bounds_are_the_papers():
    cs, law = packaged().rubric_policy("cs"), packaged().rubric_policy("legal")
    assert (cs.items_min, cs.items_max, cs.positives_min, cs.negatives_min) == (10, 20, 4, 3)
    assert (law.items_min, law.items_max, law.negatives_min) == (15, 25, 1)
    for policy in (cs, law):
        assert (policy.weight_max, policy.negative_weight_min) == (10, -10)


@pytest.mark.parametrize("task", ["cs", "legal", "science"])
def test_an_accepting_verdict_is_defined_by_the_findings(task):
    for prompt in (packaged().prompt(task, "verifier"), locked(task, "final_verifier")):
        rule = "`PASS` exactly when `leak` is false, `question` is `good`"
        assert rule in " ".join(prompt.text.split())


def test_the_worked_scenarios_pass_the_checks_that_they_illustrate():
    client = Candidate.model_validate(worked_reply(packaged().prompt("legal", "challenger")))
    written = worked_reply(packaged().prompt("science", "challenger"))
    problem = Candidate.model_validate({**written, "rubric": ()})
    assert legal.layer_1(client) == ()
    assert science.screen(problem) == ()


def test_the_editor_is_told_what_a_score_counts():
    said = " ".join(locked("optimizer", "editor").text.split())
    assert "counts for the probability that the thresholds truly hold" in said
    assert CONFIRMED == 0.5
    assert "below one half for nothing" in said
