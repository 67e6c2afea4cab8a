"""The experiment: students trained on arms of equal size, and what each arm made of them.

What is fixed before anything is trained stands in `LabSettings`; everything here is a function of
them and of the items that the loop accepted. The student is the unit: arms are compared within a
student, and intervals are of the mean over students.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from statistics import fmean, stdev
from typing import Any, NamedTuple

from scipy.stats import t as students_t

from autodata.lab.training import (
    LEVELS,
    Chain,
    GrpoSettings,
    GrpoStep,
    accuracy,
    drawn,
    grpo,
)
from autodata.lab.transformer import Model
from autodata.tasks.procedural import challenge
from autodata.tasks.types import Round

UNTRAINED, ONE_SHOT = "untrained", "one-shot"
LAB_ARMS = {
    ONE_SHOT: "the first question of each document, whatever it is like",
    "length-matched": "one-shot questions, as long as those of paper",
    "paper": "accepted by the loop: at most 1 of 4 weak and at least 3 of 4 strong attempts right",
    "equal time": "more one-shot questions, and as many steps as paper takes with its loop",
    "measured": "accepted by the loop: the true shares are measured to keep the thresholds",
    "mixed": "half one-shot, half paper",
}
TESTS = {
    ONE_SHOT: "fresh ones, drawn as first questions are",
    "agentic": "what paper accepted for this student, from documents that its arm has none of",
    "neutral": "chains of every level, drawn alike",
}
FEWEST_QUESTIONS = 8  # questions of an arm: a step's worth
SPARE = 1.3  # documents for each question that is wanted: enough where eight of ten yield one
STARTS = (0, 1, 2)  # where dials stand at first, in turn: one-shot questions have 1 to 3 steps
SAME_SCORE = 1e-9  # scores that are closer are the same but for rounding
FIRST_LEVELS = tuple(start + 1 for start in STARTS)


class LabSettings(NamedTuple):
    """What is fixed beforehand. The rates were chosen per arm, on the neutral questions of a
    student that takes no part, by `benchmarks/lab.py rates`."""

    students: int = 5
    rows: int = 48  # of each arm
    held_out: int = 32  # accepted questions that are kept for the agentic test
    asked: int = 96  # questions of the other two tests
    attempts: int = 3  # at each test question: mean@3
    steps: int = 20
    most_time: float = 4.0  # times the steps of the others, that equal time may take
    seed: int = 0
    rates: Mapping[str, float] = {
        ONE_SHOT: 1e-4,
        "length-matched": 1e-4,
        "paper": 3e-4,
        "equal time": 1e-4,
        "measured": 1e-4,
        "mixed": 3e-4,
    }


QUICK_LAB = LabSettings(students=2, rows=10, held_out=4, asked=32, steps=4, most_time=2.0)


class TooFewQuestions(ValueError):
    """The loop accepted too few questions to train a student on them."""


@dataclass(frozen=True)
class Looped:
    """What a run of the loop gave for a student: accepted questions in the order of documents, and
    what it took. `seconds` are of the processor, models included."""

    accepted: Sequence[Chain]
    seconds: float
    calls: int
    rounds: int
    documents: int
    objections: Mapping[str, int]
    transcript: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True)
class ArmResult:
    """A student after an arm: mean@k on each test question, and how it was trained."""

    scores: Mapping[str, Sequence[float]]  # by test, one per question, 0 … 1
    levels: Mapping[str, Sequence[float]]  # mean of each level on the neutral test
    cut: float  # share of neutral answers that were cut off
    formless: float  # share without a final answer
    tokens: float  # of a neutral answer
    curve: Sequence[GrpoStep] = ()
    steps: int = 0
    seconds: float = 0.0  # of the processor, training alone


@dataclass(frozen=True)
class StudentResult:
    """All of one student, as it is kept in `student-<n>.json`."""

    student: int
    arms: Mapping[str, ArmResult]
    loops: Mapping[str, Looped]
    lengths: Mapping[str, float] = field(default_factory=dict)  # mean length of an arm's questions
    rows: int = 0  # questions of an arm, the one at equal time apart; 0 where it was not kept


def generators(how: LabSettings, number: int) -> list[dict[str, str]]:
    """Generators of chains, their dials in turn at the settings of one-shot questions."""
    count = round(SPARE * (how.rows + how.held_out))
    return [
        {
            "name": f"chains-{n:03}",
            "text": f"about: chains of steps for student {number} of the lab, generator {n}\n"
            f"family: chains\nsetting: {STARTS[n % len(STARTS)]}\n"
            f"seed: {how.seed * 1_000_000 + number * 10_000 + n}\n",
        }
        for n in range(count)
    ]


def first_items(documents: Sequence[Mapping[str, str]]) -> list[Chain]:
    """The first question of each document: what the loop would begin with."""
    return [chain_of(challenge(document["text"], ())) for document in documents]


def chain_of(candidate: Any) -> Chain:
    """The chain that a candidate of the loop holds."""
    level = int(candidate.angle.split()[1]) + 1  # as the procedure words it: “setting 1 of 5 …”
    return Chain(candidate.question, candidate.reference_answer, level)


def transcript(told: Sequence[Sequence[Round]]) -> list[Mapping[str, Any]]:
    """What was asked and said in the rounds of the accepted document that took most of them."""
    accepted = [rounds for rounds in told if rounds and rounds[-1].decision == "accepted"]
    return [
        {
            "question": round.candidate.question if round.candidate else "",
            "weak": [attempt.score for attempt in round.weak],
            "strong": [attempt.score for attempt in round.strong],
            "said": [objection.code for objection in round.objections] or ["accepted"],
        }
        for round in max(accepted, key=len, default=())
    ]


def distinct(draw: Random, levels: Sequence[int], count: int, apart: set[str]) -> list[Chain]:
    """Chains whose levels take turns; none twice, none of those `apart`, which they join."""
    found: list[Chain] = []
    while len(found) < count:
        item, _ = drawn(draw, levels[len(found) % len(levels)])
        if item.question not in apart:
            apart.add(item.question)
            found.append(item)
    return found


def length_matched(pool: Sequence[Chain], wanted: Sequence[Chain]) -> list[Chain]:
    """For each question that is wanted one of the pool of the nearest length, none twice."""
    left, found = list(pool), []
    for item in sorted(wanted, key=lambda item: -len(item.question)):
        nearest = min(left, key=lambda other: abs(len(other.question) - len(item.question)))
        left.remove(nearest)
        found.append(nearest)
    return found


def arms_of(
    how: LabSettings, first: Sequence[Chain], loops: Mapping[str, Looped], draw: Random
) -> tuple[dict[str, list[Chain]], dict[str, list[Chain]]]:
    """The questions of each arm and of each test: shuffled before they are cut to size, no test
    question in any arm and none twice in one, though a first question may be accepted at once.
    Where a run accepted fewer than are wanted, all arms are as small as that.

    Raises TooFewQuestions where one accepted next to nothing.
    """
    shuffled = {name: draw.sample(run.accepted, len(run.accepted)) for name, run in loops.items()}
    held = shuffled["paper"][: how.held_out]
    kept_out = {item.question for item in held}
    paper = shuffled["paper"][how.held_out :]
    measured = [item for item in shuffled["measured"] if item.question not in kept_out]
    count = min(how.rows, len(paper), len(measured))
    if count < FEWEST_QUESTIONS:
        found = ", ".join(f"{name} {len(items)}" for name, items in shuffled.items())
        raise TooFewQuestions(f"the loop accepted too few questions to train on: {found}")
    apart = {item.question for run in loops.values() for item in run.accepted}
    apart |= {item.question for item in first}
    unlike = {item.question: item for item in first if item.question not in kept_out}
    plain = [*unlike.values()][:count]
    half = plain[: count // 2]
    rest = [item for item in paper if item not in half]
    tests = {
        ONE_SHOT: distinct(draw, FIRST_LEVELS, how.asked, apart),
        "agentic": held,
        "neutral": distinct(draw, LEVELS, how.asked, apart),
    }
    arms = {
        ONE_SHOT: plain,
        "length-matched": length_matched(
            distinct(draw, FIRST_LEVELS, 20 * count, apart), paper[:count]
        ),
        "paper": paper[:count],
        "equal time": distinct(draw, FIRST_LEVELS, round(count * how.most_time), apart),
        "measured": measured[:count],
        "mixed": [*half, *rest[: count - count // 2]],
    }
    return arms, tests


def study(
    how: LabSettings,
    student: int,
    model: Model,
    first: Sequence[Chain],
    loops: Mapping[str, Looped],
    clock: Callable[[], float],
) -> StudentResult:
    """Trains a student on each arm, and asks it each test before and after.

    `clock` counts seconds of the processor.
    """
    arms, tests = arms_of(how, first, loops, Random(f"arms {how.seed} {student}"))
    results = {UNTRAINED: _measured(model, tests, how)}
    for rate in dict.fromkeys(how.rates.values()):
        grpo(model, first, GrpoSettings(rate), 1, seed=0)  # compiled before the clock
    for name in LAB_ARMS:
        steps = how.steps
        if name == "equal time":
            share = len(arms["paper"]) / len(loops["paper"].accepted)
            looping = share * loops["paper"].seconds  # the others are asked in its test
            steps = _steps_in_time(how, looping, results[ONE_SHOT], results["paper"])
        before = clock()
        settings = GrpoSettings(how.rates[name])
        trained, curve = grpo(model, arms[name], settings, steps, seed=how.seed + 1)
        took = clock() - before
        found = _measured(trained, tests, how)
        results[name] = ArmResult(
            **{**vars(found), "curve": curve, "steps": steps, "seconds": took}
        )
    lengths = {name: fmean(len(item.question) for item in some) for name, some in arms.items()}
    return StudentResult(student, results, loops, lengths, len(arms["paper"]))


def _steps_in_time(how: LabSettings, looping: float, first: ArmResult, paper: ArmResult) -> int:
    """Steps on one-shot questions in the time that `paper` took: for its questions, `looping`
    seconds, and for its steps."""
    a_step = first.seconds / first.steps
    return min(round((looping + paper.seconds) / a_step), round(how.most_time * how.steps))


def _measured(model: Model, tests: Mapping[str, Sequence[Chain]], how: LabSettings) -> ArmResult:
    found = {
        name: accuracy(model, items, how.attempts, how.seed + 2) for name, items in tests.items()
    }
    neutral, items = found["neutral"], tests["neutral"]
    per_item = neutral.right.mean(axis=1)
    levels = {
        str(level): [float(per_item[n]) for n, item in enumerate(items) if item.level == level]
        for level in LEVELS
    }
    return ArmResult(
        scores={name: [float(x) for x in s.right.mean(axis=1)] for name, s in found.items()},
        levels={level: [fmean(shares)] if shares else [] for level, shares in levels.items()},
        cut=float(neutral.cut.mean()),
        formless=float(neutral.formless.mean()),
        tokens=float(neutral.tokens.mean()),
    )


# What is said of all students.


class ArmDifference(NamedTuple):
    """An arm less another on a test, over students: mean, 95 % interval of it, and in how many
    students it is above 0. The interval is of Student's t, and None of fewer than two students and
    where all are alike: nothing says then how far apart others would be."""

    mean: float
    low: float | None
    high: float | None
    above: int
    students: int


def mean_of(values: Sequence[float]) -> ArmDifference:
    """The mean over students, each with one value, and its interval."""
    middle, count = fmean(values), len(values)
    above = sum(value > 0 for value in values)
    if count < 2 or stdev(values) < SAME_SCORE:
        return ArmDifference(middle, None, None, above, count)
    half = float(students_t.ppf(0.975, count - 1)) * stdev(values) / count**0.5
    return ArmDifference(middle, middle - half, middle + half, above, count)


def score(result: StudentResult, arm: str, test: str) -> float:
    """mean@k of a student on a test after an arm, 0 … 1."""
    return fmean(result.arms[arm].scores[test])


def difference(
    results: Sequence[StudentResult], arm: str, test: str, other: str = ONE_SHOT
) -> ArmDifference:
    """How much higher students score on a test after one arm than after another."""
    return mean_of([score(r, arm, test) - score(r, other, test) for r in results])


def alike(result: StudentResult, arm: str) -> float:
    """The share of a training's groups whose answers were all right or all wrong."""
    return fmean(step.alike for step in result.arms[arm].curve)
