"""The simulated legal roles: a client's voice, a case file from the text, spread not averages."""

from pathlib import Path
from statistics import fmean

import pytest

from autodata.agents.challenger import candidate
from autodata.agents.replies import CaseFileReply, JudgementReply
from autodata.prompt_store.prompt import locked
from autodata.simulation.scenario import sentences
from autodata.tasks.legal import TASK, layer_1
from tests.models.asking import candidates, document, reply

LOCKOUT = document("legal", "marsh-lane")
CASE_FILE = "Principle: A landlord who makes premises unfit ends the duty to pay rent."
CORPUS = Path(__file__).parents[3] / "shared" / "corpus" / "legal"


def extracted(text: str) -> CaseFileReply:
    messages = locked("legal", "extractor").render(document=text)
    return next(c for seed in range(9) if (c := reply(messages, CaseFileReply, seed)))


def test_a_reasoned_opinion_becomes_a_case_file_in_its_own_words():
    file = extracted(LOCKOUT)
    assert file.suitable
    assert file.facts
    assert file.holdings
    assert {file.principle, *file.facts, *file.issues, *file.holdings} <= set(sentences(LOCKOUT))


def test_a_bare_disposition_is_unsuitable_and_the_reason_says_why():
    file = extracted(document("legal", "in-re-petition"))
    assert not file.suitable
    assert "without a principle" in file.reason


def test_clients_write_like_clients_mostly():
    found = [layer_1(candidate(TASK, c)) for c in candidates("legal", LOCKOUT, 80, case_file="")]
    assert 0.02 < fmean(bool(objections) for objections in found) < 0.35
    messages = " ".join(o.message for objections in found for o in objections)
    assert "characters" in messages
    assert "a client does not write like that" in messages


def test_a_rubric_has_bands_and_kinds_of_its_domain():
    for c in candidates("legal", LOCKOUT, 20, case_file=CASE_FILE):
        assert {line.category for line in c.rubric} <= {
            "issue",
            "rule",
            "application",
            "consequence",
            "error",
        }
        heavy = [line for line in c.rubric if line.category == "application"]
        assert all(8 <= line.weight <= 10 for line in heavy)


def judgement(weak: str, strong: str) -> JudgementReply:
    messages = locked("legal", "loop_judge").render(
        context="The lock was changed.",
        question="What becomes of «the boiler»?",
        rubric="1. [+9] One\n2. [+6] Two\n3. [+3] Three",
        weak_attempts=weak,
        strong_attempts=strong,
    )
    return next(j for seed in range(9) if (j := reply(messages, JudgementReply, seed)))


def attempts(*met: list[int]) -> str:
    weights = {1: 9, 2: 6, 3: 3}
    return "\n\n".join(
        f"Attempt {number}: score {sum(weights[i] for i in hits) / 18:.2f}, "
        f"criteria met: {hits}\nSome advice."
        for number, hits in enumerate(met, 1)
    )


GOOD = attempts([1, 2], [1, 2, 3], [1, 2])


@pytest.mark.parametrize(
    ("weak", "strong", "suggested"),
    [
        (attempts([], [], [], [], []), GOOD, "plain view"),
        (attempts([1, 2], [1, 2, 3], [1], [1, 2], [1, 2]), GOOD, "tempting shortcut"),
        (attempts([3], [2], [], [2], [3]), attempts([2], [3], []), "plain view"),
        (attempts([2], [2], [2], [2], [2]), GOOD, "within reach"),
    ],
    ids=["all fail", "all succeed", "strong fails", "no spread"],
)
def test_a_round_that_cannot_teach_is_sent_back_with_what_to_change(
    weak: str, strong: str, suggested: str
):
    found = judgement(weak, strong)
    assert (found.verdict, found.grpo_suitability) == ("improve", "low")
    assert suggested in found.suggestion_for_writer
    assert "as demanding as they are" in found.suggestion_for_writer


def test_a_round_whose_weak_attempts_differ_is_accepted_and_the_criteria_named():
    found = judgement(attempts([1], [], [2], [1, 2], []), GOOD)
    assert (found.verdict, found.grpo_suitability) == ("accept", "high")
    assert "1 and 2 separate them" in found.weak_pattern
    assert found.suggestion_for_writer == ""


@pytest.mark.skipif(not CORPUS.is_dir(), reason="the shared corpus is not there")
def test_real_opinions_are_suitable_and_the_real_disposition_is_not():
    suitable = {
        path.name: extracted(path.read_text(encoding="utf-8")).suitable
        for path in CORPUS.glob("*.txt")
    }
    assert suitable
    assert {name for name, fit in suitable.items() if not fit} == {
        name for name in suitable if name.startswith("unsuitable")
    }
