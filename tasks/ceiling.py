"""What limits the yield of a pilot: raise one thing at a time, and see which moves it."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from math import log, sqrt, tanh
from statistics import fmean
from typing import Literal, NamedTuple

from autodata.tasks.forecast import PilotDocument
from autodata.tasks.measurement import Estimate, bootstrap, newcombe, wilson
from autodata.tasks.rubric import by_judgement
from autodata.tasks.types import Attempt, Side

Limit = Literal[
    "elicitation",
    "judge noise",
    "the gap between the models",
    "challenger",
    "documents",
    "nothing found",
    "cannot be told",
]

LEAST_QUESTIONS, LEAST_TEXTS = 10, 5
"""Questions, and texts that they are about, below which no limit is named: of fewer texts the
bootstrap covers less than it says."""
MATTERS = 0.05
"""Gain of a mean score, 0 … 1, that is worth naming: a third of the way from the paper's weak bound
(.50) to its strong one (.65)."""
LOST = 0.2
"""Share of every gap that a judge may swallow before its noise is named a limit: at the paper's
least gap of .20 that is a true one of .25."""
MOST_CUT = 0.1
"""Share of strong answers that may be cut off where they could not be given more room."""


class Right(NamedTuple):
    """How many weak and strong answers are right on one criterion, and how many are not."""

    weak: int
    weak_not: int
    strong: int
    strong_not: int


class ProbedQuestion(NamedTuple):
    """A question of the pilot, attempted afresh by both sides whatever the gate had said of it.

    Scores are 0 … 1, by one judgement each. `roomier` are those of the strong side with more tokens
    where some of its answers were `cut` off. Of `judged` criteria of all answers, two judgements of
    the same answer disagree on `differing`. `criteria` say who was right on each, of answers that
    came to their end, the `roomier` ones in place of others.
    """

    source: str
    weak: tuple[float, ...]
    strong: tuple[float, ...]
    roomier: tuple[float, ...] = ()
    cut: int = 0
    differing: int = 0
    judged: int = 0
    criteria: tuple[Right, ...] = ()


UNSEEN = 3
"""Times the share of rounds that give an example, which must be out of reach before it is said that
nothing was found: less may stay unseen where a pilot is small."""
TRIED_ROUNDS = 12
"""Rounds in which another challenger, and other documents, are tried; the pilot's are cut so."""

TriedRounds = Sequence[tuple[int, int]]
"""Rounds of each document, and whether one of them gave an example (1 or 0)."""


class Ceiling(NamedTuple):
    """What limits the yield, why in words, and what was measured, each with its interval or None.

    `gap` is strong − weak on fresh attempts at `questions`; `reachable` the widest gap that these
    models can show at any difficulty; `room` and `best_of` what more tokens and the best of the
    attempts add to the strong mean; `disagreement` the share of criteria on which two judgements of
    one answer differ; `challenger` and `documents` what another challenger, and other documents,
    add to the share of rounds that give an example.
    """

    limit: Limit
    because: str
    questions: int
    gap: Estimate | None = None
    reachable: Estimate | None = None
    room: Estimate | None = None
    best_of: Estimate | None = None
    disagreement: Estimate | None = None
    challenger: Estimate | None = None
    documents: Estimate | None = None


_Texts = defaultdict[str, list[ProbedQuestion]]


def find_ceiling(
    probed: Sequence[ProbedQuestion],
    gap_min: float,
    pilot: TriedRounds,
    challenger: TriedRounds = (),
    documents: TriedRounds = (),
) -> Ceiling:
    """What limits the yield: the first of these that can be told, since each hides the next.

    Elicitation: strong answers are cut off, and with more room the strong mean gains MATTERS or
    more, distinguishably. Judge noise: two judgements differ so often that more than LOST of each
    gap is gone, whatever the models can. What another challenger, or other documents, add to the
    share of rounds that give an example, where either was tried: who can do better there is no
    limit. The models: the widest gap that they can show is below the gate's `gap_min`. Nothing
    found: nothing of this moved it, and UNSEEN times as much is out of reach.
    """
    questions, texts = [one for one in probed if one.weak and one.strong], _Texts(list)
    for one in questions:
        texts[one.source].append(one)
    if len(questions) < LEAST_QUESTIONS or len(texts) < LEAST_TEXTS:
        because = (
            f"{len(questions)} questions about {len(texts)} texts were attempted; it takes "
            f"{LEAST_QUESTIONS} about {LEAST_TEXTS}"
        )
        return Ceiling("cannot be told", because, len(questions))
    drawn = list(texts.values())

    def of(
        each: Callable[[ProbedQuestion], tuple[float, float]],
        figure: Callable[[float, float], float] = _share,
    ) -> Estimate:
        return _by_text([_sums(map(each, text)) for text in drawn], figure)

    found = Ceiling(
        "cannot be told",
        "",
        len(questions),
        gap=of(lambda q: (fmean(q.strong) - fmean(q.weak), 1)),
        reachable=of(_ahead, _widest),
        room=of(_gained) if any(one.cut for one in questions) else None,
        best_of=of(lambda q: (max(q.strong) - fmean(q.strong), 1)),
        disagreement=of(lambda q: (q.differing, q.judged))
        if any(q.judged for q in questions)
        else None,
        challenger=_added(pilot, challenger),
        documents=_added(pilot, documents),
    )
    gave, rounds = sum(g for _, g in pilot), sum(n for n, _ in pilot)
    limit, because = _limit(found, questions, gap_min, _share(gave, rounds))
    return found._replace(limit=limit, because=because)


def _limit(
    found: Ceiling, questions: Sequence[ProbedQuestion], gap_min: float, rate: float
) -> tuple[Limit, str]:
    room, noise, most = found.room, found.disagreement, found.reachable
    cut, answers = sum(q.cut for q in questions), sum(len(q.strong) for q in questions)
    if room and room.mean >= MATTERS and room.interval.low > 0:
        return "elicitation", f"with more tokens the strong side gains {room.mean:.2f} a question"
    if room and not room.mean and wilson(cut, answers).low > MOST_CUT:
        return "elicitation", f"{cut} of {answers} strong answers are cut off"
    if noise and lost_to_noise(noise.interval.low) > LOST:
        share = lost_to_noise(noise.mean)
        return "judge noise", f"it swallows {100 * share:.0f} % of every gap between the models"
    moved: list[tuple[float, Limit, str]] = []
    if found.challenger and found.challenger.interval.low > 0:
        because = "another challenger's rounds give an example more often"
        moved.append((found.challenger.mean, "challenger", because))
    if found.documents and found.documents.interval.low > 0:
        because = "rounds on other documents give an example more often"
        moved.append((found.documents.mean, "documents", because))
    if moved:
        return max(moved)[1:]
    if most and most.interval.high < gap_min:
        return "the gap between the models", f"no question could show one of {gap_min:.2f}"
    if most and most.mean < gap_min:
        return "cannot be told", "the gap between the models may be the limit, or may be enough"
    if not found.challenger or not found.documents:
        what = "another challenger" if found.documents else "other documents"
        return "cannot be told", f"models and judge do not limit it; {what} was not tried"
    most_added = max(found.challenger.interval.high, found.documents.interval.high)
    if most_added > (UNSEEN - 1) * rate:
        because = f"{UNSEEN} times the examples of a round may be had, which so few rounds hide"
        return "cannot be told", because
    return "nothing found", "nothing that was raised moved the yield distinguishably"


TextSums = tuple[float, float]


def _by_text(texts: Sequence[TextSums], figure: Callable[[float, float], float]) -> Estimate:
    """A figure of two sums over all questions, and its interval: texts are drawn again."""

    def of(drawn: Sequence[TextSums]) -> float:
        return figure(*_sums(drawn))

    return Estimate(of(texts), bootstrap(texts, of))


def _sums(pairs: Iterable[TextSums]) -> TextSums:
    first = second = 0.0
    for one, other in pairs:
        first, second = first + one, second + other
    return first, second


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def _gained(question: ProbedQuestion) -> TextSums:
    """What more room adds to the strong mean; nothing where no answer was cut off."""
    wide = question.roomier
    return fmean(wide) - fmean(question.strong) if wide else 0.0, 1


def reachable_gap(criteria: Sequence[Right]) -> float:
    """The widest gap that two models can show, −1 … 1, by who is right on which criteria.

    In an item-response model (G. Rasch, 1960) the sides differ by as many logits Δ on every
    criterion, and the gap is widest, tanh(Δ / 4), where both are as far from one half. Δ is the log
    of the common odds ratio of N. Mantel and W. Haenszel (1959), which no criterion's difficulty
    biases; half an answer on either side keeps it finite.
    """
    return _widest(*_ahead(criteria))


def _ahead(asked: ProbedQuestion | Sequence[Right]) -> TextSums:
    """Pairs of answers in which only the strong one is right, and in which only the weak one is, by
    the answers to a criterion."""
    criteria = asked.criteria if isinstance(asked, ProbedQuestion) else asked
    return _sums(
        (c.strong * c.weak_not / max(sum(c), 1), c.weak * c.strong_not / max(sum(c), 1))
        for c in criteria
    )


def _widest(ahead: float, behind: float) -> float:
    return tanh(log((ahead + 0.5) / (behind + 0.5)) / 4)


def lost_to_noise(disagreement: float) -> float:
    """The share of every gap, 0 … 1, that a judge swallows whose two judgements of one answer
    differ on this share of criteria: who errs on a share e of them, either way, differs on
    2e(1 − e), and shows 1 − 2e of what lies between two answers."""
    return 1 - sqrt(max(1 - 2 * disagreement, 0.0))


def _added(pilot: TriedRounds, other: TriedRounds) -> Estimate | None:
    """What another way adds to the share of rounds that give an example. Rounds are taken for
    independent, since a document's own weighs little against the luck of each."""
    if not pilot or not other:
        return None
    before, after = ((sum(g for _, g in way), sum(n for n, _ in way)) for way in (pilot, other))
    if not before[1] or not after[1]:
        return None
    return Estimate(after[0] / after[1] - before[0] / before[1], newcombe(before, after))


def cut_off(made: Sequence[Attempt]) -> int:
    """How many of the strong answers ran into the token limit."""
    return sum(one.truncated for one in made if one.solver == "strong")


def probed_question(
    source: str, made: Sequence[Attempt], roomier: Sequence[Attempt]
) -> ProbedQuestion:
    """What fresh attempts say of a question, each by its first judgement."""
    voted = [mark.votes for one in made for mark in one.marks if len(mark.votes) > 1]
    weak, strong, wide = (
        tuple(float(by_judgement(one.marks)[0]) for one in side if one.score is not None)
        for side in (
            [one for one in made if one.solver == "weak"],
            [one for one in made if one.solver == "strong"],
            roomier,
        )
    )
    differing = sum(votes[0] != votes[1] for votes in voted)
    criteria = _criteria([one for one in (*made, *roomier) if one.marks and not one.truncated])
    return ProbedQuestion(
        source, weak, strong, wide, cut_off(made), differing, len(voted), criteria
    )


_RIGHT: tuple[tuple[Side, bool], ...] = (
    ("weak", True),
    ("weak", False),
    ("strong", True),
    ("strong", False),
)


def _criteria(whole: Sequence[Attempt]) -> tuple[Right, ...]:
    """Who is right on each positive criterion. Errors that others name are made by few, so that
    hardly more than the judge's own errors shows there."""
    found = []
    for marks in zip(*(one.marks for one in whole), strict=True):
        if marks[0].weight < 0:
            continue
        right = Counter(
            (one.solver, (mark.votes or (mark.met,))[0])
            for one, mark in zip(whole, marks, strict=True)
        )
        found.append(Right(*(right[key] for key in _RIGHT)))
    return tuple(found)


def first_rounds(documents: Iterable[PilotDocument]) -> TriedRounds:
    """Their first rounds, as many as others are tried for, and whether one gave an example."""
    return [
        (min(one.rounds, TRIED_ROUNDS), int(one.accepted and one.rounds <= TRIED_ROUNDS))
        for one in documents
    ]
