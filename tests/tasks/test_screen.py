"""Code objects before anything is paid for: legal layer 1, the screens and the locked filters."""

import pytest

from autodata.tasks import TASKS
from autodata.tasks.legal import layer_1
from autodata.tasks.rubric import RubricPolicy
from autodata.tasks.science import make_criteria
from autodata.tasks.task import final_filters, screen
from autodata.tasks.types import Candidate, Document
from tests.tasks.rounds import CANDIDATE

CLIENT = CANDIDATE.model_copy(
    update={
        "context": "My landlord changed the locks last week while I was in hospital.",
        "question": "He says my notice came a day late. Where do I stand with the deposit?",
    }
)


def test_a_client_in_a_persons_voice_passes_layer_1() -> None:
    assert layer_1(CLIENT) == ()


@pytest.mark.parametrize(
    "line",
    [
        "The Supreme Court held for the other side.",
        "I read about In re Gault yesterday.",
        "You are a lawyer in a small town.",
        "Imagine you are my counsel.",
        "Please draft a short memo on this.",
        "We lost on appeal.",
        "It was agreed in 1887.",
        "The deed is from 1923.",
        "x" * 1000,
    ],
)
def test_exam_patterns_override_every_judge(line: str) -> None:
    (found, *_) = layer_1(CLIENT.model_copy(update={"context": line}))
    assert found.code == "QUALITY"


def test_years_of_living_memory_are_fine() -> None:
    assert (
        layer_1(CLIENT.model_copy(update={"context": "We signed in 1947 and again in 2019."})) == ()
    )


DOCUMENT = Document.of("raft.md", "text", title="In Search of an Understandable Consensus")


@pytest.mark.parametrize(
    "context",
    [
        "According to the paper, elections time out at random. " * 3,
        "As this document explains, logs never shrink by themselves. " * 3,
        "The authors argue that terms act as a clock in the system. " * 3,
        "In search of an understandable consensus, five servers elect a leader. " * 3,
    ],
)
def test_an_item_that_gives_its_source_away_is_dropped(context: str) -> None:
    candidate = CANDIDATE.model_copy(update={"context": context})
    assert "LEAK" in [o.code for o in final_filters(TASKS["cs"], candidate, DOCUMENT)]


def test_a_document_store_is_not_its_source() -> None:
    context = "The document store keeps this text index in memory, one shard for each of the hosts."
    candidate = CANDIDATE.model_copy(update={"context": context})
    assert "LEAK" not in [o.code for o in final_filters(TASKS["cs"], candidate, DOCUMENT)]


def test_a_context_that_repeats_the_answer_leaks() -> None:
    answer = "the follower keeps its vote because its own log is longer than the candidate's log"
    candidate = CANDIDATE.model_copy(
        update={"reference_answer": answer, "context": f"Five servers run. Then {answer}."}
    )
    assert "LEAK" in [o.code for o in final_filters(TASKS["cs"], candidate, DOCUMENT)]


def test_short_contexts_and_broken_rubrics_are_dropped() -> None:
    candidate = CANDIDATE.model_copy(update={"context": "Five servers."})
    codes = [o.code for o in final_filters(TASKS["cs"], candidate, DOCUMENT)]
    # One criterion is below both locked minimums: ten in all, four positive.
    assert codes == ["QUALITY", "MALFORMED", "MALFORMED"]


def test_the_rubric_policy_is_screened_by_code() -> None:
    found = screen(TASKS["cs"], CANDIDATE, RubricPolicy())
    assert {o.code for o in found} == {"MALFORMED"}


@pytest.mark.parametrize(
    ("answer", "code"),
    [("Final answer: $42$", "QUALITY"), (r"$\frac{a}{b+1}$", "LEAK"), (r"$\frac{a}{b}$", None)],
)
def test_science_refuses_bare_integers_and_answers_in_the_question(
    answer: str, code: str | None
) -> None:
    candidate = Candidate(
        context=r"Let the ratio \frac{a}{b+1} be given for positive a and b, in reduced units.",
        question="Find the limit.",
        reference_answer=answer,
        rubric=make_criteria(answer),
    )
    found = screen(TASKS["science"], candidate, None)
    assert [o.code for o in found] == ([code] if code else [])
