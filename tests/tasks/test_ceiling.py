"""What limits a yield, of worlds that are made so that one thing does: by item response, seeded."""

from math import exp
from random import Random

import pytest

from autodata.tasks.ceiling import (
    Ceiling,
    ProbedQuestion,
    Right,
    TriedRounds,
    cut_off,
    find_ceiling,
    lost_to_noise,
    probed_question,
    reachable_gap,
)
from autodata.tasks.types import Attempt, Mark, Side

GAP_MIN = 0.20
HARD = [(6, 0)] * 9 + [(3, 1)]  # rounds of each document, and whether one gave an example
EASY = [(3, 1)] * 8 + [(6, 0)] * 2


def asked(
    weak: float, strong: float, *, seed: int, error: float = 0.04, cut: float = 0.0, easy: float = 0
) -> list[ProbedQuestion]:
    """Two questions about each of ten texts, three attempts a side, ten criteria each; abilities in
    logits, the judge's error and the share of strong answers that are cut off."""
    draw, made = Random(seed), []
    for number in range(20):
        difficulty = [draw.gauss(-easy, 1.2) for _ in range(10)]

        def answers(ability: float, difficulty: list[float] = difficulty) -> list[list[bool]]:
            chances = [1 / (1 + exp(d - ability)) for d in difficulty]
            return [
                [(draw.random() < p) != (draw.random() < error) for p in chances] for _ in "abc"
            ]

        whole, low = answers(strong), answers(weak)
        stops = [draw.random() < cut for _ in whole]
        high = [[False] * 10 if stop else one for one, stop in zip(whole, stops, strict=True)]
        noise = 2 * error * (1 - error)
        made.append(
            ProbedQuestion(
                source=str(number // 2),
                weak=tuple(sum(one) / 10 for one in low),
                strong=tuple(sum(one) / 10 for one in high),
                roomier=tuple(sum(one) / 10 for one in whole) if any(stops) else (),
                cut=sum(stops),
                differing=sum(draw.random() < noise for _ in range(60)),
                judged=60,
                criteria=tuple(
                    Right(sum(w), 3 - sum(w), sum(s), 3 - sum(s))
                    for w, s in zip(zip(*low, strict=True), zip(*whole, strict=True), strict=True)
                ),
            )
        )
    return made


WORLDS: list[tuple[str, dict[str, float], TriedRounds, TriedRounds, TriedRounds]] = [
    ("elicitation", {"weak": -0.6, "strong": 1.6, "cut": 0.8}, HARD, (), ()),
    ("elicitation", {"weak": -0.6, "strong": 1.6, "cut": 0.3}, HARD, (), ()),
    ("judge noise", {"weak": -0.6, "strong": 1.6, "error": 0.25}, HARD, (), ()),
    ("judge noise", {"weak": -0.6, "strong": -0.6, "error": 0.25}, HARD, (), ()),
    ("the gap between the models", {"weak": 0.5, "strong": 0.5}, HARD, (), ()),
    ("the gap between the models", {"weak": -0.6, "strong": -0.4}, HARD, HARD, HARD),
    ("the gap between the models", {"weak": 1.0, "strong": 0.4}, HARD, (), ()),
    ("challenger", {"weak": -0.6, "strong": 1.6, "easy": 2.5}, HARD, EASY, HARD),
    ("documents", {"weak": -0.6, "strong": 1.6, "easy": 2.5}, HARD, HARD, EASY),
    ("nothing found", {"weak": -0.6, "strong": 1.6}, EASY, EASY, EASY),
    ("nothing found", {"weak": -0.6, "strong": 1.6, "easy": 1.0}, EASY * 3, EASY, EASY),
    ("cannot be told", {"weak": -0.6, "strong": 1.6, "easy": 1.0}, HARD, HARD, HARD),
    ("cannot be told", {"weak": -0.6, "strong": 1.6, "easy": 2.5}, HARD, (), HARD),
]


@pytest.mark.parametrize(("limit", "world", "pilot", "challenger", "documents"), WORLDS)
def test_the_limit_of_a_world_is_named(
    limit: str,
    world: dict[str, float],
    pilot: TriedRounds,
    challenger: TriedRounds,
    documents: TriedRounds,
) -> None:
    found = find_ceiling(asked(**world, seed=3), GAP_MIN, pilot, challenger, documents)  # type: ignore[arg-type]
    assert found.limit == limit, found
    for name in ("gap", "reachable", "best_of", "disagreement"):
        at = getattr(found, name)
        assert at.interval.low <= at.mean <= at.interval.high, name


def test_too_few_questions_name_no_limit() -> None:
    few = asked(0.5, 0.5, seed=3)[:9]
    assert find_ceiling(few, GAP_MIN, HARD).limit == "cannot be told"
    one_text = [question._replace(source="one") for question in asked(0.5, 0.5, seed=3)]
    found = find_ceiling(one_text, GAP_MIN, HARD)
    assert found == Ceiling("cannot be told", found.because, 20)
    assert "1 texts" in found.because


def test_easy_questions_hide_a_gap_but_not_what_the_models_could_show() -> None:
    easy = find_ceiling(asked(-0.6, 1.6, seed=5, easy=3.0, error=0.0), GAP_MIN, HARD)
    assert easy.gap is not None
    assert easy.reachable is not None
    assert easy.gap.mean < 0.2 < 0.35 < easy.reachable.mean


def test_answers_that_can_be_given_no_more_room_are_a_limit_where_many_are_cut() -> None:
    cut = [q._replace(roomier=()) for q in asked(-0.6, 1.6, seed=3, cut=0.5)]
    found = find_ceiling(cut, GAP_MIN, HARD)
    assert (found.limit, found.because[-7:]) == ("elicitation", "cut off")


def test_noise_is_what_two_judgements_show_of_it() -> None:
    assert lost_to_noise(2 * 0.1 * 0.9) == pytest.approx(0.2)
    assert lost_to_noise(0.0) == 0.0
    assert lost_to_noise(0.6) == 1.0  # worse than a coin


def test_the_widest_gap_of_two_models_lies_at_a_middle_difficulty() -> None:
    right, wrong = 750, 250  # logits of 1.1 and -1.1
    assert reachable_gap([Right(wrong, right, right, wrong)]) == pytest.approx(0.5, abs=0.01)
    assert reachable_gap([]) == 0.0


def test_a_question_is_read_by_first_judgements_and_whole_answers() -> None:
    def attempt(solver: Side, votes: tuple[bool, bool], truncated: bool = False) -> Attempt:
        good = Mark(criterion="a", weight=3, met=votes[0], votes=votes)
        bad = Mark(criterion="an error", weight=-1, met=False, votes=(False, False))
        marks = (good, bad) if not truncated else tuple(
            Mark(criterion=c, weight=w, met=False) for c, w in (("a", 3), ("an error", -1))
        )  # fmt: skip
        return Attempt(
            solver=solver, number=1, answer="", score=0.0, marks=marks, truncated=truncated
        )  # type: ignore[arg-type]

    made = [
        attempt("weak", (False, True)),
        attempt("strong", (True, True)),
        attempt("strong", (True, True), truncated=True),
    ]
    found = probed_question("text", made, [attempt("strong", (True, False))])
    assert (found.weak, found.strong, found.roomier) == ((0.0,), (1.0, 0.0), (1.0,))
    assert (found.cut, cut_off(made)) == (1, 1)
    assert (found.differing, found.judged) == (1, 4)
    assert found.criteria == (Right(0, 1, 2, 0),)
