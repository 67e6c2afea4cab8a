"""Procedural: families, the dial, honest reading of answers, and rounds that fail by form alone."""

import datetime
import re
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autodata.tasks import TASKS
from autodata.tasks.acceptance import Acceptance, next_batch, scores
from autodata.tasks.item_families import DAYS, ITEM_FAMILIES
from autodata.tasks.procedural import (
    TASK,
    challenge,
    compare,
    dial,
    final_answer,
    generator,
    instruct,
    make_criteria,
    problems,
    worked,
)
from autodata.tasks.task import Unreadable, final_filters, objections_on_record, screen
from autodata.tasks.types import (
    FORMAT_NOTE,
    Attempt,
    Candidate,
    Code,
    Document,
    Objection,
    Round,
    Verdict,
)
from tests.tasks.rounds import attempts

EVERY = [(name, at) for name, family in ITEM_FAMILIES.items() for at in range(family.hardest + 1)]


def text(family: str, setting: int = 0, seed: int = 1) -> str:
    return f"about: for a test\nfamily: {family}\nsetting: {setting}\nseed: {seed}\n"


def item(document: str, rounds: tuple[Round, ...] = ()) -> Candidate:
    made = challenge(document, rounds)
    assert isinstance(made, Candidate)
    return made


def ended(number: int, *codes: Code) -> Round:
    return Round(number=number, objections=tuple(Objection(code=c, message="…") for c in codes))


def by_hand(context: str, question: str) -> str:
    """The answer as somebody works it out who has not seen the product's way."""
    if sum_or_product := re.fullmatch(r"What is ([\d +×]+)\?", question):
        return str(eval(sum_or_product[1].replace("×", "*")))
    if person := re.search(r"does (\w+) have", question):
        words = context.replace(".", "").split()
        return words[words.index(person[1]) + 2]
    if "largest" in question:
        return sorted(re.findall(r"\d+", question), key=int)[-1]
    if "box" in question:
        start, *moves = context.split(". ")
        red, blue = map(int, re.findall(r"\d+", start))
        for move in moves:
            coins = int(re.findall(r"\d+", move)[0]) * (1 if "to the red" in move else -1)
            red, blue = red + coins, blue - coins
        return str(red if "the red box hold" in question else blue)
    if "letter" in question:
        letter, row = re.findall(r"letter (\w) stand in this row: (.*)\?", question)[0]
        return str(row.count(letter))
    if "Today" in question:
        today, ahead = re.findall(r"Today is (\w+)\..* in (\d+) day", question)[0]
        monday = datetime.date(2026, 11, 23)
        then = monday + datetime.timedelta(days=DAYS.index(today) + int(ahead))
        return then.strftime("%A")
    if ";" in question:
        *told, asked = question.split(";")
        found: dict[str, int] = {}
        for label, rest in (line.split("=") for line in told):
            found[label] = eval(rest, {}, found) % 10
        return str(found[asked[:-1]])
    return sorted(re.findall(r"\w+", question.partition(":")[2]))[0]


@pytest.mark.parametrize(("family", "setting"), EVERY)
def test_every_item_has_the_answer_that_others_work_out_and_passes_every_check(
    family: str, setting: int
) -> None:
    for seed in range(25):
        document = text(family, setting, seed)
        made = item(document)
        assert made.reference_answer == by_hand(made.context, made.question), made
        assert problems(document, made) == ()
        assert screen(TASK, made, None) == ()
        assert final_filters(TASK, made, Document.of("generator.txt", document)) == ()


@pytest.mark.parametrize(("family", "setting"), EVERY)
def test_worked_examples_are_right_and_never_the_very_item(family: str, setting: int) -> None:
    for seed in range(10):
        document = text(family, setting, seed)
        asked, shown = item(document), worked(document, (), 4)
        assert len(shown) == 4
        for context, question, answer in shown:
            assert (context, question) != (asked.context, asked.question)
            made = asked.model_copy(update={"context": context, "question": question})
            made = made.model_copy(update={"reference_answer": by_hand(context, question)})
            assert compare(answer, made) is True


def test_the_same_seed_makes_the_same_items_and_another_makes_others() -> None:
    first = [item(text("sums", 3, 7)), item(text("sums", 3, 7), (ended(1, "QUALITY"),))]
    again = [item(text("sums", 3, 7)), item(text("sums", 3, 7), (ended(1, "LEAK"),))]
    assert first == again
    assert first[0] != first[1]  # a new item each round
    assert item(text("sums", 3, 8)) != first[0]


def test_what_was_drawn_stays_what_it_was() -> None:
    """Runs on record hold these items; another version must make the same."""
    asked = {name: item(text(name, 2, 5)).question for name in ("sums", "weekdays")}
    assert asked == {
        "sums": "What is 92 + 51 + 48?",
        "weekdays": "Today is Tuesday. Which day of the week is it in 2 days?",
    }


@pytest.mark.parametrize(
    ("codes", "stands"),
    [
        ((), 2),
        (("TOO_EASY",), 3),
        (("STRONG_FAILED",), 1),
        (("FORMAT",), 2),  # a failure of form says nothing about difficulty
        (("QUALITY", "TOO_EASY"), 3),
        (("TOO_EASY",) * 9, 5),
        (("STRONG_FAILED",) * 9, 0),
        (("STRONG_FAILED",) * 9 + ("TOO_EASY",), 1),
    ],
)
def test_the_dial_follows_the_objections_and_stays_in_range(
    codes: tuple[Code, ...], stands: int
) -> None:
    rounds = tuple(ended(n, code) for n, code in enumerate(codes, 1))
    named = generator(text("letters", 2))
    assert not isinstance(named, Objection)
    assert dial(named, rounds) == stands
    assert f"setting {stands} of 5" in item(text("letters", 2), rounds).angle


def test_the_procedure_says_what_it_does_and_why() -> None:
    said = instruct(text("boxes", 1), (ended(1, "STRONG_FAILED", "TRUNCATED"),))
    assert said.startswith("STRONG_FAILED, TRUNCATED: the dial from 1 to 0; setting 0 of 5")
    assert "the dial stays at 1" in instruct(text("boxes", 1), (ended(1, "FORMAT"),))


@pytest.mark.parametrize(
    ("document", "why"),
    [
        ("An essay on the use of dice in teaching.", "YAML with family, setting, seed and about"),
        ("family: riddles", "there is no family 'riddles'; there are sums, products"),
        ("family: sums\nsetting: 6", "setting 6 of sums: 0 … 5 are declared"),
        ("family: sums\nsetting: -1", "setting is no whole number from 0 on"),
        ("family: sums\nlevel: 3", "level is not known"),
        ("seed: 3", "family is missing"),
        ("family: 3", "family is no text"),
        ("family: [", "not YAML"),
        ("", "YAML with family"),
        ("family: sums\nabout: 2026-13-45", "a date, number or tag that cannot be read"),
        ("family: sums\nseed: " + "7" * 5000, "a date, number or tag that cannot be read"),
        ("family: sums\nseed: " + "7" * 2000, "seed is too large"),
        ("family: sums\nabout: " + "[" * 3000, "nested too deeply"),
        ("family: !!bool maybe", "a date, number or tag that cannot be read"),
        ("family: !!timestamp never", "a date, number or tag that cannot be read"),
    ],
)
def test_a_document_that_names_no_generator_says_why(document: str, why: str) -> None:
    found = challenge(document, ())
    assert isinstance(found, Objection)
    assert found.code == "UNSUITABLE"
    assert why in found.message


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"reference_answer": "0"}, "not 0"),
        ({"question": "What is the sum of all that?"}, "not of this family"),
        ({"rubric": ()}, "criterion"),
    ],
)
def test_an_item_that_was_tampered_with_fails_its_check(changed: dict, why: str) -> None:
    document = text("sums", 1)
    [said] = problems(document, item(document).model_copy(update=changed))
    assert why in said


def test_what_is_recorded_was_worked_out_once_more() -> None:
    """Verdicts can be put in by hand, and are no proof that the answer is right."""
    document = Document.of("sums.txt", text("sums", 1))
    wrong = item(document.text).model_copy(
        update={"reference_answer": "0", "rubric": make_criteria("0")}
    )
    passed = Verdict(passed=True, fingerprint=wrong.fingerprint)
    round = Round(number=1, candidate=wrong, verdict=passed, final_verdict=passed)
    found = objections_on_record(TASK, POLICY, document, round, {})
    assert "not 0" in " ".join(o.message for o in found)


NUMBERS = [
    ("Answer: 12", "12"),
    ("12", "12"),
    ("The answer is 'twelve'.", "12"),
    ("the answer is **12**", "12"),
    ("It is forty-two.", "42"),
    ("The letter stands twice in this row.", "2"),
    ("9 + 3 = 12", "12"),
    ("9 + 3 = 12\n\nThe answer is 12.", "12"),
    ("9 + 3 = 11, no: 9 + 3 = 12", "12"),
    ("9 plus 3 equals 12", "12"),
    ("9 and 3 is 12", "12"),
    ("Ben has 12 shells.", "12"),
    ("The answer is 5. Gus has 12 pears.", "5"),  # what it calls its answer is its answer
    ("Answer: 1,200", "1200"),
    ("Answer: 12.0", "12"),
    ("Answer: 12.5", "12.5"),
    ("", None),
    ("I would rather not say.", None),
    ("It could be 11 or 12.", None),  # nothing is guessed into an answer
    ("The answer is 11 or 12.", None),
    ("Ben: 5, Ada: 12", None),
    # A calculation is no answer, what it comes to is.
    ("Answer: 15 × 8 = 120", "120"),
    ("The answer is 15 × 8 = 120.", "120"),
    ("The answer to 15 × 8 is 120.", "120"),
    ("Final answer: 10 × 8 + 5 × 8 = 120", "120"),
    ("Answer: $15 \\times 8 = 120$", "120"),
    ("The answer is 12 = 9 + 3.", "12"),
    ("Answer: 15 times 8 is 120", "120"),
    ("Answer: 5 and 7 equals 12", "12"),
    ("Answer: 9 + 3 = 12, and 5 of them are red", "12"),
    ("Answer: 15 × 8", None),
    # What may be one value or another is not read as the first of them.
    ("To find the answer, multiply 15 by 8: 120", None),
    ("The answer is between 3 and 5.", None),
    ("The answer is not 41 but 42.", None),
    ("Answer: 11, 12, 13", None),
    ("I added 5 and 7 for the answer.\nAnswer: 12", "12"),
    # Reasons that follow an answer take nothing away from it.
    ("The answer is 12 because Ben has 5 and Ada 7.", "12"),
    ("The answer is 97, which is larger than 45.", "97"),
    ("Answer: **12** (5 and 7)", "12"),
    ("Answer: 12\n- 5 of Ben\n- 7 of Ada", "12"),
    # Signs, leading zeros and larger numbers of words.
    ("Answer: −5", "-5"),
    ("Answer: 0042", "42"),
    ("Answer: 0", "0"),
    ("15 − 3 = 12", "12"),
    ("The answer is twenty one.", "21"),
    ("The answer is two hundred.", None),
    ("The answer is 2 thousand and five. Gus has 12 pears.", None),
    ("It is a dozen.", None),
]


@pytest.mark.parametrize(("said", "read"), NUMBERS)
def test_numbers_are_read_leniently_and_never_guessed(said: str, read: str | None) -> None:
    assert final_answer(said) == read


@pytest.mark.parametrize(
    ("said", "read"),
    [
        ("Answer: thursday", "Thursday"),
        ("It will be Thursday.", "Thursday"),
        ("Today is Monday, so in 3 days it will be Thursday.\nAnswer: Thursday", "Thursday"),
        ("Today is Monday, so in 3 days it will be Thursday.", None),
        ("In 3 days.", None),
        ("Answer: Thursday (3 days after Monday)", "Thursday"),
        ("The answer is Thursday, because today is Monday.", "Thursday"),
        ("The answer is between Monday and Thursday.", None),
    ],
)
def test_choices_are_read_likewise(said: str, read: str | None) -> None:
    assert final_answer(said, DAYS) == read


def test_an_echo_of_the_question_is_not_taken_for_an_answer() -> None:
    asked = item(text("largest", 1))
    assert compare(f"{asked.question}\n{asked.reference_answer}", asked) is True
    assert isinstance(compare(asked.question, asked), Unreadable)


def formed(side: str, how: str) -> tuple[Attempt, ...]:
    """Attempts by letters: r right, w wrong, f without a final answer, c cut off."""
    made = attempts(side, [float(letter == "r") for letter in how])  # type: ignore[arg-type]
    return tuple(
        a.model_copy(
            update={"note": FORMAT_NOTE + "none" if h == "f" else "", "truncated": h == "c"}
        )
        for a, h in zip(made, how, strict=True)
    )


POLICY = TASK.policy(Acceptance(), 4, 4)


@pytest.mark.parametrize(
    ("weak", "strong", "codes"),
    [
        ("wwww", "rrr", []),
        ("rwww", "rrrw", []),
        ("rr", "", ["TOO_EASY"]),
        ("ffww", "rrr", []),
        ("fffw", "", ["FORMAT"]),
        ("cccc", "", ["FORMAT"]),
        ("rffw", "", ["FORMAT"]),
        ("wwww", "rrww", ["STRONG_FAILED"]),
        ("wwww", "rrfw", ["STRONG_FAILED"]),
        ("wwww", "rfff", ["FORMAT"]),
        ("wwww", "rccf", ["FORMAT"]),
    ],
)
def test_a_round_that_fails_by_form_is_not_called_hard(
    weak: str, strong: str, codes: list[str]
) -> None:
    round = Round(number=1, weak=formed("weak", weak), strong=formed("strong", strong))
    assert [o.code for o in POLICY.objections(round)][: len(codes) or None] == codes


@given(st.text("rwfc", min_size=4, max_size=4), st.text("rwfc", min_size=4, max_size=4))
def test_attempts_that_are_spared_would_have_changed_nothing(weak: str, strong: str) -> None:
    def early(side: str, how: str, settled) -> tuple[Attempt, ...]:
        made = 0
        while size := next_batch(settled, scores(formed(side, how[:made])), 4):
            made += size
        return formed(side, how[:made])

    def decided(weak: tuple[Attempt, ...], strong: tuple[Attempt, ...]) -> list[str]:
        if found := POLICY.weak_objections(weak):
            return [o.code for o in found]
        return [o.code for o in POLICY.objections(Round(number=1, weak=weak, strong=strong))][:1]

    some = early("weak", weak, POLICY.weak_settled)
    few = early("strong", strong, lambda made: POLICY.strong_settled(scores(some), made))
    assert decided(some, few) == decided(formed("weak", weak), formed("strong", strong))
    assert all(isinstance(score, Fraction) for score in scores(some))


def test_nobody_but_the_solvers_is_asked() -> None:
    assert [role for role in ("challenger", "judge", "weak_solver") if TASK.asks(role)] == [
        "weak_solver"
    ]
    assert TASKS["cs"].asks("challenger")
