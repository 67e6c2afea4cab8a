"""Finished rounds become feedback in the paper's groups; empty groups are left out."""

from autodata.tasks.acceptance import feedback, verdict_objections
from autodata.tasks.types import Code, Objection, Round, Verdict
from tests.tasks.rounds import played


def objected(number: int, code: Code, weak: list[float], strong: list[float]) -> Round:
    objection = Objection(code=code, message=f"because of {code}")
    return played(weak, strong, number).model_copy(update={"objections": (objection,)})


def test_feedback_is_grouped_and_quotes_question_and_scores() -> None:
    text = feedback(
        [
            objected(1, "TOO_EASY", [0.8, 0.7], []),
            objected(2, "QUALITY", [], []),
            objected(3, "STRONG_FAILED", [0.1, 0.1], [0.3, 0.3]),
            objected(4, "TOO_EASY", [0.6, 0.6], []),
        ]
    )
    easy, strong, quality = text.split("\n\n")
    assert easy.startswith("## Too easy\n- Round 1 (prediction; weak 0.75)")
    assert "- Round 4" in easy
    assert "Which entries survive" in easy
    assert "weak 0.10, strong 0.30, gap 0.20" in strong
    assert quality.startswith("## Failed quality check")
    assert "Not learnable" not in text


def test_a_leak_is_told_apart_from_other_quality_faults() -> None:
    verdict = Verdict(passed=False, leak=True, problems=("line 2 answers it",), fingerprint="f")
    assert [o.code for o in verdict_objections(verdict)] == ["LEAK"]
    plain = verdict.model_copy(update={"leak": False, "fixes": ("ask one thing",)})
    (objection,) = verdict_objections(plain)
    assert objection.code == "QUALITY"
    assert "Fix: ask one thing" in objection.message
    assert verdict_objections(verdict.model_copy(update={"passed": True})) == ()


def test_a_changed_weight_changes_what_a_verdict_is_bound_to() -> None:
    candidate = played().candidate
    assert candidate is not None
    (criterion,) = candidate.rubric
    heavier = candidate.model_copy(update={"rubric": (criterion.model_copy(update={"weight": 6}),)})
    assert heavier.fingerprint != candidate.fingerprint
