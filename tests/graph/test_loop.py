"""Stories of one document, over the real graph, prompts and ledger with scripted models."""

import asyncio
import sqlite3
from pathlib import Path

import pytest

from autodata.graph.state import RunChoices
from autodata.models.errors import CutOff, Paused
from autodata.tasks.types import Round
from tests.graph.scripted import CS, FAIL, GOOD, PASS, marks, play


def story(rounds: tuple[Round, ...]) -> list[tuple[str | None, list[str]]]:
    return [(r.decision, [o.code for o in r.objections]) for r in rounds]


async def test_a_good_candidate_is_accepted_in_its_first_round(tmp_path: Path) -> None:
    rounds, models = await play(tmp_path, CS)
    assert story(rounds) == [("accepted", [])]
    (round,) = rounds
    assert [a.score for a in round.weak] == [0.125, 0.125]  # a third could not change the decision
    assert round.final_verdict is not None
    assert models.asked["orchestrator"] == 0


async def test_feedback_leads_to_a_new_question_until_one_is_accepted(tmp_path: Path) -> None:
    better = {**GOOD, "question": "Which leader wins when both halves voted?"}
    script = {
        **CS,
        "challenger": [GOOD, better],
        "judge": [marks(8), marks(8), marks(1), marks(1), marks(7)],
    }
    rounds, models = await play(tmp_path, script)
    assert story(rounds) == [("revise", ["TOO_EASY"]), ("accepted", [])]
    assert rounds[1].instruction == "ask from another angle"
    feedback = next(m for role, m in models.messages if role == "orchestrator")[1].content
    assert "Too easy" in feedback
    assert GOOD["question"] in feedback
    second = [m for role, m in models.messages if role == "challenger"][1]
    assert "ask from another angle" in second[1].content


async def test_no_strong_attempt_is_paid_for_when_the_weak_side_has_failed(tmp_path: Path) -> None:
    rounds, models = await play(tmp_path, {**CS, "judge": marks(8)}, choices=RunChoices(rounds=1))
    assert story(rounds) == [("rejected", ["TOO_EASY"])]
    assert models.asked["strong_solver"] == 0
    assert models.asked["weak_solver"] == 2


async def test_all_attempts_of_both_sides_are_made_when_asked_for(tmp_path: Path) -> None:
    choices = RunChoices(rounds=1, attempts="all")
    rounds, models = await play(tmp_path, {**CS, "judge": marks(8)}, choices=choices)
    assert story(rounds) == [("rejected", ["TOO_EASY"])]
    assert (models.asked["weak_solver"], models.asked["strong_solver"]) == (3, 3)


async def test_parallel_attempts_keep_the_weak_gate(tmp_path: Path) -> None:
    choices = RunChoices(rounds=1, attempts="parallel")
    _, models = await play(tmp_path, {**CS, "judge": marks(8)}, choices=choices)
    assert (models.asked["weak_solver"], models.asked["strong_solver"]) == (3, 0)


async def test_both_solvers_get_byte_identical_input_and_nothing_secret(tmp_path: Path) -> None:
    _, models = await play(tmp_path, CS)
    weak = {m for role, m in models.messages if role == "weak_solver"}
    strong = {m for role, m in models.messages if role == "strong_solver"}
    assert weak == strong
    ((system, user),) = weak
    assert GOOD["reference_answer"] not in system.content + user.content
    assert "derives step" not in system.content + user.content
    judged = next(m for role, m in models.messages if role == "judge")
    assert GOOD["reference_answer"] not in judged[0].content + judged[1].content


async def test_a_failed_quality_check_costs_no_solver(tmp_path: Path) -> None:
    rounds, models = await play(tmp_path, {**CS, "verifier": [FAIL, PASS]})
    assert story(rounds) == [("revise", ["QUALITY"]), ("accepted", [])]
    assert "two things" in rounds[0].objections[0].message
    assert models.asked["weak_solver"] == 2


async def test_a_verifier_that_passes_against_its_own_findings_is_not_believed(
    tmp_path: Path,
) -> None:
    rounds, _ = await play(
        tmp_path, {**CS, "verifier": {**PASS, "leak": True}}, choices=RunChoices(rounds=1)
    )
    assert story(rounds) == [("rejected", ["LEAK"])]


async def test_a_malformed_candidate_is_an_objection_and_the_loop_goes_on(tmp_path: Path) -> None:
    rounds, _ = await play(tmp_path, {**CS, "challenger": ["no JSON in the reply", GOOD]})
    assert story(rounds) == [("revise", ["MALFORMED"]), ("accepted", [])]
    assert rounds[0].candidate is None


async def test_a_rubric_against_the_policy_is_refused_before_anyone_is_asked(
    tmp_path: Path,
) -> None:
    heavy = {**GOOD, "rubric": [{"criterion": f"step {i}", "weight": 11} for i in range(12)]}
    rounds, models = await play(tmp_path, {**CS, "challenger": heavy}, choices=RunChoices(rounds=1))
    assert set(story(rounds)[0][1]) == {"MALFORMED"}
    assert models.asked["verifier"] == 0


async def test_the_final_verifier_is_asked_once_and_its_failure_is_an_objection(
    tmp_path: Path,
) -> None:
    played = [marks(1), marks(1), marks(7), marks(7), marks(7)]
    script = {**CS, "final_verifier": [FAIL, PASS], "judge": played * 2}
    rounds, models = await play(tmp_path, script)
    assert story(rounds) == [("revise", ["QUALITY"]), ("accepted", [])]
    assert rounds[0].final_verdict is not None
    assert not rounds[0].final_verdict.passed
    assert models.asked["final_verifier"] == 2  # one per accepted candidate


async def test_out_of_rounds_the_document_is_rejected_with_its_reasons(tmp_path: Path) -> None:
    rounds, models = await play(tmp_path, {**CS, "judge": marks(8)}, choices=RunChoices(rounds=3))
    assert [r.decision for r in rounds] == ["revise", "revise", "rejected"]
    assert models.asked["orchestrator"] == 2


async def test_marks_that_stay_malformed_reach_the_record(tmp_path: Path) -> None:
    rounds, _ = await play(
        tmp_path, {**CS, "judge": "met is not a boolean"}, choices=RunChoices(rounds=1)
    )
    assert story(rounds)[0][1] == ["MALFORMED", "MALFORMED"]
    assert rounds[0].weak[0].score is None


async def test_an_endpoint_that_is_down_never_rejects_a_document(tmp_path: Path) -> None:
    down = Paused("the endpoint is down", "start it")
    with pytest.raises(Paused):
        await play(tmp_path, {**CS, "weak_solver": down})


CASE = {
    "suitable": True,
    "reason": "a reasoned principle",
    "principle": "notice must reach its reader",
    "facts": ["a letter was lost"],
    "issues": ["is posting enough?"],
    "holdings": ["it is not"],
}
SCENARIO = {
    **GOOD,
    "context": "My landlord posted a notice while I was abroad; it came back to him unread in May.",
    "question": "He now keeps my deposit. Do I have to accept that?",
    "rubric": [
        *({"criterion": f"sees point {i}", "weight": 5} for i in range(16)),
        {"criterion": "calls posting enough", "weight": -5},
    ],
}
JUDGED = {
    "weak_pattern": "misses receipt in 3 of 5",
    "strong_pattern": "sees receipt in all",
    "gap_interpretation": "skill",
    "grpo_suitability": "high",
    "verdict": "accept",
    "verdict_reason": "the weak side varies",
}
LEGAL = {
    **CS,
    "extractor": CASE,
    "challenger": SCENARIO,
    "judge": marks(6, of=17),
    "loop_judge": JUDGED,
}


async def test_an_unsuitable_opinion_is_skipped_before_solvers_are_paid(tmp_path: Path) -> None:
    unsuitable = {**CASE, "suitable": False, "reason": "a bare disposition"}
    rounds, models = await play(tmp_path, {**LEGAL, "extractor": unsuitable}, task="legal")
    assert story(rounds) == [("skipped", ["UNSUITABLE"])]
    assert rounds[0].number == 0
    assert dict(models.asked) == {"extractor": 1}


async def test_legal_makes_every_attempt_and_asks_the_loop_judge(tmp_path: Path) -> None:
    rounds, models = await play(tmp_path, LEGAL, task="legal")
    assert story(rounds) == [("accepted", [])]
    assert (models.asked["weak_solver"], models.asked["strong_solver"]) == (5, 3)
    assert rounds[0].judgement is not None
    written = next(m for role, m in models.messages if role == "challenger")[1].content
    assert "notice must reach its reader" in written


async def test_a_side_that_fails_does_not_cost_the_calls_of_the_other(tmp_path: Path) -> None:
    """Both sides run at once; LangGraph cancels one when the other's endpoint goes down."""

    asked = asyncio.Semaphore(0)

    async def slow() -> str:
        asked.release()
        for _ in range(100):
            await asyncio.sleep(0)
        return "an argument"

    async def down() -> Paused:
        for _ in range(3):  # all strong attempts are in flight by then
            await asked.acquire()
        for _ in range(5):
            asked.release()
        return Paused("the endpoint is down", "start it")

    with pytest.raises(Paused):
        await play(tmp_path, {**LEGAL, "weak_solver": down, "strong_solver": slow}, task="legal")
    with sqlite3.connect(tmp_path / "run.db") as db:
        [[paid]] = db.execute("select count(*) from calls where role = 'strong_solver'")
    assert paid == 3


async def test_the_loop_judges_suggestion_goes_to_the_writer_unchanged(tmp_path: Path) -> None:
    improve = {**JUDGED, "verdict": "improve", "suggestion_for_writer": "let her read it late"}
    rounds, models = await play(tmp_path, {**LEGAL, "loop_judge": [improve, JUDGED]}, task="legal")
    assert story(rounds) == [("revise", ["NOT_LEARNABLE"]), ("accepted", [])]
    assert rounds[1].instruction == "let her read it late"
    assert models.asked["orchestrator"] == 0
    assert models.asked["extractor"] == 1


INTEGRAL = {
    **GOOD,
    "context": "Let a be a positive constant.",
    "question": r"Find $\int 2 x (x^2 + a)\,dx$ with the constant of integration left out.",
    "reference_answer": r"Final answer: $\frac{(x^2+a)^2}{2}$",
    "rubric": [],
}
SCIENCE = {
    **CS,
    "challenger": INTEGRAL,
    "weak_solver": "Final answer: $x^2+a$",
    "strong_solver": r"Final answer: $\frac{1}{2}(a^2 + 2 a x^2 + x^4)$",
}


async def test_science_counts_equivalent_formulas_without_asking_a_judge(tmp_path: Path) -> None:
    rounds, models = await play(tmp_path, SCIENCE, task="science")
    assert story(rounds) == [("accepted", [])]
    assert models.asked["judge"] == 0
    assert models.asked["challenger"] == 3  # parallel challengers
    assert models.asked["verifier"] == 1  # the first that passes is evaluated
    assert [a.score for a in rounds[0].weak] == [0.0, 0.0, 0.0]
    assert [a.score for a in rounds[0].strong] == [1.0, 1.0, 1.0]


async def test_parallel_challengers_write_from_different_angles(tmp_path: Path) -> None:
    _, models = await play(tmp_path, SCIENCE, task="science")
    asked = [m[1].content for role, m in models.messages if role == "challenger"]
    assert len(set(asked)) == 3


async def test_a_truncated_answer_is_wrong_and_marked_so(tmp_path: Path) -> None:
    rounds, _ = await play(
        tmp_path,
        {**SCIENCE, "strong_solver": None},
        task="science",
        choices=RunChoices(rounds=1),
    )
    assert story(rounds) == [("rejected", ["STRONG_FAILED", "TRUNCATED"])]
    assert all(a.truncated and a.score == 0 for a in rounds[0].strong)


async def test_a_formula_that_cannot_be_compared_goes_to_the_judge(tmp_path: Path) -> None:
    script = {**SCIENCE, "weak_solver": "I think it grows.", "judge": marks(0, of=1)}
    rounds, models = await play(tmp_path, script, task="science")
    assert story(rounds) == [("accepted", [])]
    assert models.asked["judge"] == 3


async def test_a_document_full_of_braces_stays_text(tmp_path: Path) -> None:
    from autodata.tasks.types import Document

    nasty = 'Set {{instruction}} and {"passed": true} \\begin{cases} x \\end{cases} ' * 30
    rounds, models = await play(tmp_path, CS, document=Document.of("nasty.md", nasty))
    assert story(rounds) == [("accepted", [])]
    written = next(m for role, m in models.messages if role == "challenger")[1].content
    assert nasty.strip() in written


NEVER_ENDS = CutOff("a reply never came to its end", "Raise max_tokens")


async def test_a_challenger_whose_reply_never_ends_leaves_the_floor_to_the_others(
    tmp_path: Path,
) -> None:
    script = {**SCIENCE, "challenger": [NEVER_ENDS, SCIENCE["challenger"], NEVER_ENDS]}
    rounds, _ = await play(tmp_path, script, task="science")
    assert story(rounds) == [("accepted", [])]


async def test_a_reply_that_never_ends_rejects_no_document(tmp_path: Path) -> None:
    for role in ("challenger", "verifier", "judge"):
        rounds, _ = await play(tmp_path / role, {**CS, role: NEVER_ENDS})
        assert rounds == ()


async def test_an_instruction_that_never_ends_is_done_without(tmp_path: Path) -> None:
    script = {**CS, "verifier": [FAIL, PASS], "orchestrator": NEVER_ENDS}
    rounds, _ = await play(tmp_path, script)
    assert story(rounds) == [("revise", ["QUALITY"]), ("accepted", [])]
    assert "two things" in rounds[1].instruction


async def test_what_is_wrong_with_a_candidate_is_said_once(tmp_path: Path) -> None:
    few = {**GOOD, "rubric": [*GOOD["rubric"][:2], GOOD["rubric"][0]]}
    rounds, _ = await play(tmp_path, {**CS, "challenger": few}, choices=RunChoices(rounds=1))
    said = [objection.message for objection in rounds[0].objections]
    assert [m for m in said if m.startswith("3 criteria")] == [
        "3 criteria; the rubric policy asks for 10 to 20"
    ]
    assert said.count("two criteria say the same") == 1


async def test_parallel_challengers_that_fail_alike_object_once(tmp_path: Path) -> None:
    script = {**SCIENCE, "challenger": "it is not JSON"}
    rounds, _ = await play(tmp_path, script, task="science", choices=RunChoices(rounds=1))
    assert story(rounds) == [("rejected", ["MALFORMED"])]


async def test_a_science_challenger_is_asked_for_no_rubric(tmp_path: Path) -> None:
    _, models = await play(tmp_path, SCIENCE, task="science")
    assert "rubric" not in models.shapes["challenger"].model_fields
    asked = next(m for role, m in models.messages if role == "challenger")
    assert '"rubric"' not in asked[0].content
