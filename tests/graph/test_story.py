"""What a document says of itself while it is worked on: to whoever streams it, and in its state."""

from pathlib import Path
from typing import Any

from tests.graph.scripted import CS, GOOD, PASS, marks, streamed

BETTER = {**GOOD, "question": "Which leader wins when both halves voted?"}
SCRIPT = {
    **CS,
    "challenger": [GOOD, BETTER],
    "judge": [marks(8), marks(8), marks(1), marks(1), marks(7), marks(7), marks(7)],
}
STORY = [
    "round 1 · question: Which of its entries does the cluster keep once it rejoins?",
    "round 1 · verifier: passed",
    "round 1 · weak 1.00 (1.00, 1.00)",
    "round 1 · revise · TOO_EASY: weak mean 1.00, wanted below 0.50",
    "round 2 · asked for: ask from another angle",
    "round 2 · question: Which leader wins when both halves voted?",
    "round 2 · verifier: passed",
    "round 2 · weak 0.12 (0.12, 0.12)",
    "round 2 · strong 0.88 (0.88, 0.88, 0.88)",
    "round 2 · gap +0.75",
    "round 2 · final check: passed",
    "round 2 · accepted",
]


async def test_a_document_tells_its_story_as_it_goes(tmp_path: Path) -> None:
    said, summary = await streamed(tmp_path, SCRIPT)
    assert summary.splitlines() == STORY
    attempts = [line for line in said if " of 3 · " in line]
    assert [line for line in said if line not in attempts] == STORY
    assert attempts[:3] == [
        "round 1 · weak 1 of 3 · 1.00",
        "round 1 · weak 2 of 3 · 1.00",
        "round 2 · weak 1 of 3 · 0.12",
    ]
    assert said.index("round 2 · weak 1 of 3 · 0.12") > said.index(STORY[6])


async def test_an_attempt_without_a_score_says_why(tmp_path: Path) -> None:
    said, _ = await streamed(tmp_path, {**CS, "weak_solver": None}, rounds=1)
    assert "round 1 · weak 1 of 3 · 0.00 cut off" in said


async def test_what_is_confirmed_afresh_is_told_apart(tmp_path: Path) -> None:
    script = {**CS, "judge": [*[marks(1)] * 2, *[marks(7)] * 3, *[marks(1)] * 2, marks(7)]}
    said, summary = await streamed(tmp_path, script, confirm=2)
    assert "round 1 · weak 2 afresh · 0.12" in said
    assert "round 1 · afresh strong 0.88 (0.88, 0.88)" in summary.splitlines()
    assert summary.endswith("round 1 · final check: passed\nround 1 · accepted")


async def test_a_failed_check_is_told_with_its_reason(tmp_path: Path) -> None:
    failed: dict[str, Any] = {**PASS, "single_focus": False, "problems": ["two"], "verdict": "FAIL"}
    said, _ = await streamed(tmp_path, {**CS, "verifier": failed}, rounds=1)
    assert said[1] == "round 1 · verifier: failed"
    assert said[2].startswith("round 1 · rejected · QUALITY: the question asks more than one thing")
