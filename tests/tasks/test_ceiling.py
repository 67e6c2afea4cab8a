"""What limits a yield, of worlds that are made so that one thing does: by item response, seeded."""

from math import exp
from random import Random

import pytest

from autodata.tasks.ceiling import (
    Ceiling,
    ProbedQuestion,
    Right,
    TriedRounds,
    asked_beforehand,
    cut_off,
    find_ceiling,
    lost_to_noise,
    probed_question,
    reachable_gap,
    rounds_by_source,
)
from autodata.tasks.forecast import PilotDocument
from autodata.tasks.measurement import Bounds
from autodata.tasks.types import Attempt, Mark, Side

BOUNDS = Bounds(weak_max=0.5, strong_min=0.65, strong_max=1.0, gap_min=0.2)
HARD = [(6, 0)] * 9 + [(3, 1)]  # rounds of each document, and whether one gave an example
EASY = [(3, 1)] * 8 + [(6, 0)] * 2
NONE = [(12, 0)] * 12


def asked(
    weak: float,
    strong: float,
    *,
    seed: int,
    error: float = 0.04,
    cut: float = 0.0,
    easy: float = 0,
    lapse: float = 0.0,
    weak_lapse: float = 0.0,
) -> list[ProbedQuestion]:
    """Two questions about each of ten texts, three attempts a side, ten criteria each; abilities in
    logits, the judge's error, the share of strong answers that are cut off and the shares of all
    answers that get everything wrong. Each answer is judged twice."""
    draw, made = Random(seed), []
    for number in range(20):
        difficulty = [draw.gauss(-easy, 1.2) for _ in range(10)]

        def answers(
            ability: float, lapses: float, difficulty: list[float] = difficulty
        ) -> list[list[tuple[bool, bool]]]:
            found = []
            for _ in "abc":
                fails = lapses > 0 and draw.random() < lapses
                found.append([_judged(draw, 1 / (1 + exp(d - ability)) * (not fails), error)
                              for d in difficulty])  # fmt: skip
            return found

        whole, low = answers(strong, lapse), answers(weak, weak_lapse)
        stops = [draw.random() < cut for _ in whole]
        first = [_first(one) for one in whole]
        high = [[False] * 10 if stop else one for one, stop in zip(first, stops, strict=True)]
        noise = 2 * error * (1 - error)
        made.append(
            ProbedQuestion(
                source=str(number // 2),
                weak=tuple(sum(_first(one)) / 10 for one in low),
                strong=tuple(sum(one) / 10 for one in high),
                roomier=tuple(sum(one) / 10 for one in first) if any(stops) else (),
                cut=sum(stops),
                differing=sum(draw.random() < noise for _ in range(60)),
                judged=60,
                criteria=_rights([_first(one) for one in low], first),
                best_strong=_rights([_first(one) for one in low], [_best(whole)]),
                best_weak=_rights([_best(low)], first),
            )
        )
    return made


def _judged(draw: Random, chance: float, error: float) -> tuple[bool, bool]:
    right = draw.random() < chance
    return right != (draw.random() < error), right != (draw.random() < error)


def _first(answer: list[tuple[bool, bool]]) -> list[bool]:
    return [first for first, _ in answer]


def _best(answers: list[list[tuple[bool, bool]]]) -> list[bool]:
    return [again for _, again in max(answers, key=lambda one: sum(_first(one)))]


def _rights(weak: list[list[bool]], strong: list[list[bool]]) -> tuple[Right, ...]:
    return tuple(
        Right(sum(w), len(w) - sum(w), sum(s), len(s) - sum(s))
        for w, s in zip(zip(*weak, strict=True), zip(*strong, strict=True), strict=True)
    )


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
    ("elicitation", {"weak": -0.6, "strong": 2.5, "lapse": 0.5}, HARD, (), ()),
    ("the gap between the models", {"weak": 0.5, "strong": 0.5, "lapse": 0.5, "weak_lapse": 0.5},
     HARD, (), ()),
    ("judge noise", {"weak": -0.6, "strong": 2.5, "lapse": 0.5, "error": 0.25}, HARD, (), ()),
]  # fmt: skip


@pytest.mark.parametrize(("limit", "world", "pilot", "challenger", "documents"), WORLDS)
def test_the_limit_of_a_world_is_named(
    limit: str,
    world: dict[str, float],
    pilot: TriedRounds,
    challenger: TriedRounds,
    documents: TriedRounds,
) -> None:
    found = find_ceiling(asked(**world, seed=3), BOUNDS, pilot, challenger, documents)  # type: ignore[arg-type]
    assert found.limit == limit, found
    for name in ("gap", "reachable", "reachable_best", "best_adds", "best_of", "disagreement"):
        at = getattr(found, name)
        assert at.interval.low <= at.mean <= at.interval.high, name


def test_best_attempts_that_may_suffice_leave_the_gap_untold() -> None:
    uneven = asked(-0.6, 1.6, seed=3, lapse=0.6)
    found = find_ceiling(uneven, BOUNDS, HARD, HARD, HARD)
    assert (found.limit, "uneven" in found.because) == ("cannot be told", True), found
    unlike = [question._replace(best_strong=question.criteria) for question in uneven]
    told = find_ceiling(unlike, BOUNDS, HARD, HARD, HARD)
    assert told.limit == "the gap between the models"


def test_what_the_best_attempt_adds_to_both_sides_alike_is_no_elicitation() -> None:
    alike = [
        question._replace(
            criteria=(Right(2, 2, 2, 2),),
            best_strong=(Right(2, 2, 1, 0),),
            best_weak=(Right(1, 0, 2, 2),),
        )
        for question in asked(0.5, 0.5, seed=3)
    ]
    found = find_ceiling(alike, BOUNDS, HARD, HARD, HARD)
    assert found.reachable_best is not None
    assert found.reachable_best.interval.low > BOUNDS.gap_min
    assert found.limit == "the gap between the models"


HONEST = {"weak": -0.6, "strong": 1.6, "easy": 2.5}


def test_another_passage_is_a_limit_where_the_interval_says_so_and_sources_are_enough() -> None:
    questions = asked(**HONEST, seed=3)  # type: ignore[arg-type]

    def found(pilot: TriedRounds, passages: TriedRounds) -> Ceiling:
        return find_ceiling(questions, BOUNDS, pilot, NONE, NONE, passages)

    gives = [(4, 1)] * 7 + [(12, 0)] * 5
    named = found(NONE, gives)
    assert (named.limit, "another passage" in named.because) == ("documents", True)
    assert named.tried_rounds["passages"] == 88
    assert found(NONE, gives[:4]).limit == "cannot be told"  # of too few sources
    assert found(NONE, [(4, 1)] + [(12, 0)] * 11).limit == "cannot be told"
    hidden = found([(4, 1)] * 3 + [(12, 0)] * 9, [(4, 1)] * 2 + [(12, 0)] * 5)
    assert hidden.limit == "cannot be told"
    assert hidden.because == (
        "another passage may bring 3 times the examples of a round, which 68 rounds hide"
    )


def test_sources_that_gave_none_by_bad_luck_name_no_limit() -> None:
    """The same chance in every round: of 15 such pilots the passages of what failed, chosen because
    it failed, name documents in at most two."""
    draw, questions = Random(5), asked(-0.6, 1.6, seed=3)[:20]

    def tried(times: int) -> list[tuple[int, int]]:
        return [
            next(((n, 1) for n in range(1, 13) if draw.random() < 0.08), (12, 0))
            for _ in range(times)
        ]

    wrong = 0
    for _ in range(15):
        pilot = tried(12)
        passages = tried(sum(not gave for _, gave in pilot))
        wrong += find_ceiling(questions, BOUNDS, pilot, (), (), passages).limit == "documents"
    assert wrong <= 2


def _pilot(source: str, rounds: int, accepted: bool, usd: float | None = 0.5) -> PilotDocument:
    return PilotDocument(accepted, rounds, 10 * rounds, 1000 * rounds, usd, 1.0, source)


def test_rounds_on_passages_of_one_source_are_counted_together() -> None:
    made = [_pilot("a", 3, True), _pilot("a", 20, True), _pilot("b", 12, False)]
    assert rounds_by_source(made) == [(15, 1), (12, 0)]  # an example of round 20 comes too late


def test_what_a_search_asks_for_is_said_beforehand() -> None:
    pilot = [_pilot("a", 4, True), _pilot("b", 12, False)]
    fresh, tried, whole = asked_beforehand(pilot, 40, {"on demo documents": 2}, 12)
    assert fresh.startswith("40 calls for fresh attempts")
    assert tried == "240 calls for up to 24 rounds on demo documents"
    assert whole.startswith("in all 300 calls, 30,000 tokens, $1.88, as the pilot's")
    *_, unpriced = asked_beforehand([_pilot("a", 4, True, None)], 40, {}, 12)
    assert "$" not in unpriced


def test_too_few_questions_name_no_limit() -> None:
    few = asked(0.5, 0.5, seed=3)[:9]
    assert find_ceiling(few, BOUNDS, HARD).limit == "cannot be told"
    one_text = [question._replace(source="one") for question in asked(0.5, 0.5, seed=3)]
    found = find_ceiling(one_text, BOUNDS, HARD)
    assert found == Ceiling("cannot be told", found.because, 20)
    assert "1 texts" in found.because


def test_easy_questions_hide_a_gap_but_not_what_the_models_could_show() -> None:
    easy = find_ceiling(asked(-0.6, 1.6, seed=5, easy=3.0, error=0.0), BOUNDS, HARD)
    assert easy.gap is not None
    assert easy.reachable is not None
    assert easy.gap.mean < 0.2 < 0.35 < easy.reachable.mean


def test_answers_that_can_be_given_no_more_room_are_a_limit_where_many_are_cut() -> None:
    cut = [q._replace(roomier=()) for q in asked(-0.6, 1.6, seed=3, cut=0.5)]
    found = find_ceiling(cut, BOUNDS, HARD)
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
    assert found.best_strong == (
        Right(0, 1, 1, 0),
    )  # the attempt of which both judgements are good
    assert found.best_weak == (Right(1, 0, 2, 0),)  # by the second judgement
