"""What limits the yield of a pilot: raise one thing at a time, and see which moves it."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from math import log, sqrt, tanh
from statistics import fmean
from typing import Literal, NamedTuple

from autodata.tasks.forecast import PilotDocument
from autodata.tasks.measurement import (
    Bounds,
    Estimate,
    Interval,
    bootstrap,
    newcombe,
    wilson,
)
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
UNEVEN_FROM = 0.1
"""Gap that the best attempts add on the strong side beyond what they add on the weak one, from
which the strong side may be uneven: half the paper's least gap of .20."""
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
    came to their end, the `roomier` ones in place of others; `best_strong` and `best_weak` say the
    same where one side is its best attempt alone.
    """

    source: str
    weak: tuple[float, ...]
    strong: tuple[float, ...]
    roomier: tuple[float, ...] = ()
    cut: int = 0
    differing: int = 0
    judged: int = 0
    criteria: tuple[Right, ...] = ()
    best_strong: tuple[Right, ...] = ()
    best_weak: tuple[Right, ...] = ()


UNSEEN = 3
"""Times the share of rounds that give an example, which must be out of reach before it is said that
nothing was found: less may stay unseen where a pilot is small."""
TRIED_ROUNDS = 12
"""Rounds in which another challenger, another passage and other documents are tried; the pilot's
are cut so."""

TriedRounds = Sequence[tuple[int, int]]
"""Rounds of each document, and whether one of them gave an example (1 or 0)."""


class Ceiling(NamedTuple):
    """What limits the yield, why in words, and what was measured, each with its interval or None.

    `gap` is strong − weak on fresh attempts at `questions`; `reachable` the widest gap that these
    models can show at any difficulty, `reachable_best` that of the best strong attempt at each
    question, and `best_adds` what the best attempt adds to it beyond what the best of the weak side
    does; `room` and `best_of` what more tokens and the best of the attempts add to the strong
    mean; `disagreement` the share of criteria on which two judgements of one answer differ;
    `challenger`, `passages` and `documents` what another challenger, another passage of sources
    that gave none, and other documents add to the share of rounds that give an example, in so many
    `tried_rounds`. `without_passage` counts documents that gave no example and whose source has no
    other passage; None: nobody looked.
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
    passages: Estimate | None = None
    reachable_best: Estimate | None = None
    best_adds: Estimate | None = None
    tried_rounds: Mapping[str, int] = {}
    without_passage: int | None = None


_Texts = defaultdict[str, list[ProbedQuestion]]


def find_ceiling(
    probed: Sequence[ProbedQuestion],
    bounds: Bounds,
    pilot: TriedRounds,
    challenger: TriedRounds = (),
    documents: TriedRounds = (),
    passages: TriedRounds = (),
) -> Ceiling:
    """What limits the yield: the first of these that can be told, since each hides the next.

    Elicitation: strong answers are cut off, and with more room the strong mean gains MATTERS or
    more, distinguishably. Judge noise: two judgements differ so often that more than LOST of each
    gap is gone, whatever the models can. Elicitation again: by the best strong attempts the models
    show a gap that they do not by all (`_best_of_k`). What another challenger, another passage, or
    other documents, add to the share of rounds that give an example, where each was tried: who can
    do better there is no limit; rounds on other `passages` are counted by source. The models: the
    widest gap that they can show is below the gate's. Nothing found: nothing of this moved it, and
    UNSEEN times as much is out of reach.
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
    ways = {"challenger": challenger, "passages": passages, "documents": documents}
    found = _shown_by(questions, list(texts.values()))._replace(
        challenger=_added(pilot, challenger),
        passages=_added_by_passages(pilot, passages),
        documents=_added(pilot, documents),
        tried_rounds={name: sum(rounds for rounds, _ in way) for name, way in ways.items()},
    )
    limit = _elicited(found, questions) or _noisy(found) or _best_of_k(found, questions, bounds)
    if not limit:
        rate, others = _rate(pilot), len(passages)
        limit = _moved(found, others) or _models(found, bounds) or _unseen(found, others, rate)
    return found._replace(limit=limit[0], because=limit[1])


def _shown_by(
    questions: Sequence[ProbedQuestion], texts: Sequence[Sequence[ProbedQuestion]]
) -> Ceiling:
    """What the attempts at these questions show, by text; nothing is named yet."""

    def of(
        each: Callable[[ProbedQuestion], tuple[float, float]],
        figure: Callable[[float, float], float] = _share,
    ) -> Estimate:
        return _by_text([_sums(map(each, text)) for text in texts], figure)

    return Ceiling(
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
        reachable_best=of(lambda q: _ahead(q.best_strong), _widest),
        best_adds=_best_adds(texts),
    )


_Named = tuple[Limit, str]


def _elicited(found: Ceiling, questions: Sequence[ProbedQuestion]) -> _Named | None:
    """Whether strong answers lack room."""
    room = found.room
    cut, answers = sum(q.cut for q in questions), sum(len(q.strong) for q in questions)
    if room and room.mean >= MATTERS and room.interval.low > 0:
        return "elicitation", f"with more tokens the strong side gains {room.mean:.2f} a question"
    if room and not room.mean and wilson(cut, answers).low > MOST_CUT:
        return "elicitation", f"{cut} of {answers} strong answers are cut off"
    return None


def _noisy(found: Ceiling) -> _Named | None:
    noise = found.disagreement
    if noise and lost_to_noise(noise.interval.low) > LOST:
        share = lost_to_noise(noise.mean)
        return "judge noise", f"it swallows {100 * share:.0f} % of every gap between the models"
    return None


def _best_of_k(
    found: Ceiling, questions: Sequence[ProbedQuestion], bounds: Bounds
) -> _Named | None:
    """Whether the strong side can do it and does not always: the widest gap is below the gate's,
    and that of its best attempts is not, distinguishably.

    The best of several attempts adds to any model's, and as much to two that are equally able. So
    it must add more to the strong side than to the weak one, distinguishably, too.
    """
    most, best, adds = found.reachable, found.reachable_best, found.best_adds
    assert most
    assert best
    assert adds
    if most.mean >= bounds.gap_min or best.interval.low < bounds.gap_min or adds.interval.low <= 0:
        return None
    k = max(len(question.strong) for question in questions)
    return "elicitation", (
        f"the best of {k} strong attempts could show a gap of {best.mean:.2f}, all of them one of "
        f"{most.mean:.2f}"
    )


def _moved(found: Ceiling, others: int) -> _Named | None:
    """Which other way gives an example more often, if any; `others` are the sources of which
    another passage was tried."""
    moved: list[tuple[float, Limit, str]] = []
    if found.challenger and found.challenger.interval.low > 0:
        because = "another challenger's rounds give an example more often"
        moved.append((found.challenger.mean, "challenger", because))
    if found.passages and others >= LEAST_TEXTS and found.passages.interval.low > 0:
        because = "rounds on another passage of the same sources give an example more often"
        moved.append((found.passages.mean, "documents", because))
    if found.documents and found.documents.interval.low > 0:
        because = "rounds on other documents give an example more often"
        moved.append((found.documents.mean, "documents", because))
    return max(moved)[1:] if moved else None


def _models(found: Ceiling, bounds: Bounds) -> _Named | None:
    most, best, adds, gap_min = (
        found.reachable,
        found.reachable_best,
        found.best_adds,
        bounds.gap_min,
    )
    if not most or not best or not adds or most.mean >= gap_min:
        return None
    if adds.mean >= UNEVEN_FROM and best.interval.high >= gap_min:
        because = "the strong side may be uneven, and its best attempts show the gap that is wanted"
        return "cannot be told", because
    if most.interval.high < gap_min:
        return "the gap between the models", f"no question could show one of {gap_min:.2f}"
    return "cannot be told", "the gap between the models may be the limit, or may be enough"


def _unseen(found: Ceiling, others: int, rate: float) -> _Named:
    """What is left to say where nothing was named: whether as much as UNSEEN times the pilot's
    share of rounds that give an example is out of reach."""
    if not found.challenger or not found.documents:
        what = "another challenger" if found.documents else "other documents"
        return "cannot be told", f"models and judge do not limit it; {what} was not tried"
    ways = [
        (found.challenger.interval.high, "another challenger", "challenger"),
        (found.documents.interval.high, "other documents", "documents"),
    ]
    if found.passages and others >= LEAST_TEXTS:
        ways.append((found.passages.interval.high, "another passage", "passages"))
    most, what, name = max(ways)
    if most > (UNSEEN - 1) * rate:
        because = f"{what} may bring {UNSEEN} times the examples of a round"
        return "cannot be told", f"{because}, which {found.tried_rounds[name]} rounds hide"
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


def _best_adds(texts: Sequence[Sequence[ProbedQuestion]]) -> Estimate:
    """What the best attempts add to the widest gap on the strong side, less what they would add on
    the weak one."""
    each = [
        (*_sums(map(_ahead, text)), *_sums(_ahead(q.best_strong) for q in text),
         *_sums(_ahead(q.best_weak) for q in text))
        for text in texts
    ]  # fmt: skip

    def more(drawn: Sequence[tuple[float, ...]]) -> float:
        sums = [sum(column) for column in zip(*drawn, strict=True)]
        return _widest(*sums[2:4]) + _widest(*sums[4:]) - 2 * _widest(*sums[:2])

    return Estimate(more(each), bootstrap(each, more))


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


def _rate(tried: TriedRounds) -> float:
    """The share of rounds that gave an example."""
    return _share(sum(gave for _, gave in tried), sum(rounds for rounds, _ in tried))


def _added(pilot: TriedRounds, other: TriedRounds) -> Estimate | None:
    """What another way adds to the share of rounds that give an example. Rounds are taken for
    independent, since a document's own weighs little against the luck of each."""
    if not pilot or not other:
        return None
    before, after = ((sum(g for _, g in way), sum(n for n, _ in way)) for way in (pilot, other))
    if not before[1] or not after[1]:
        return None
    return Estimate(after[0] / after[1] - before[0] / before[1], newcombe(before, after))


def _added_by_passages(pilot: TriedRounds, other: TriedRounds) -> Estimate | None:
    """What another passage adds to the share of rounds that give an example; None below two
    sources.

    Others are tried where the pilot's gave none, and these were chosen by that: their own rounds
    are no yardstick, so that all of the pilot's are. Sources that gave none are rather the worse
    ones, so that it rather says too little. The interval is the wider of two: of rounds as if they
    were independent, and by source.
    """
    added = _added(pilot, other)
    if not added or len(other) < 2:
        return None
    before = _rate(pilot)
    one, two = added.interval, bootstrap(other, lambda drawn: _rate(drawn) - before)
    return Estimate(added.mean, Interval(min(one.low, two.low), max(one.high, two.high)))


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
    whole = [one for one in (*made, *roomier) if one.marks and not one.truncated]
    return ProbedQuestion(
        source, weak, strong, wide, cut_off(made), differing, len(voted), _criteria(whole),
        _criteria(whole, "strong"), _criteria(whole, "weak"),
    )  # fmt: skip


_RIGHT: tuple[tuple[Side, bool], ...] = (
    ("weak", True),
    ("weak", False),
    ("strong", True),
    ("strong", False),
)


def _criteria(whole: Sequence[Attempt], best: Side | None = None) -> tuple[Right, ...]:
    """Who is right on each positive criterion; where a side is to be its `best` attempt, that one
    alone. Errors that others name are made by few, so that hardly more than the judge's own errors
    shows there.

    The first judgement says which attempt is the best and the second what is right in it, so that
    a judge who errs upwards is not believed twice.
    """
    own = [one for one in whole if one.solver == best]
    chosen = max(own, key=lambda one: by_judgement(one.marks)[0], default=None)
    counted = [one for one in whole if one.solver != best or one is chosen]
    found = []
    for marks in zip(*(one.marks for one in counted), strict=True):
        if marks[0].weight < 0:
            continue
        right = Counter(
            (one.solver, (mark.votes or (mark.met,))[:2][-(one is chosen)])
            for one, mark in zip(counted, marks, strict=True)
        )
        found.append(Right(*(right[key] for key in _RIGHT)))
    return tuple(found)


def first_rounds(documents: Iterable[PilotDocument]) -> list[tuple[int, int]]:
    """Their first rounds, as many as others are tried for, and whether one gave an example."""
    return [
        (min(one.rounds, TRIED_ROUNDS), int(one.accepted and one.rounds <= TRIED_ROUNDS))
        for one in documents
    ]


def rounds_by_source(documents: Iterable[PilotDocument]) -> list[tuple[int, int]]:
    """First rounds and examples of each source, all of its passages together."""
    found = defaultdict[str, tuple[int, int]](lambda: (0, 0))
    for document in documents:
        [(rounds, gave)] = first_rounds([document])
        found[document.source] = (found[document.source][0] + rounds,
                                  found[document.source][1] + gave)  # fmt: skip
    return list(found.values())


def asked_beforehand(
    pilot: Sequence[PilotDocument], fresh: int, ways: Mapping[str, int], rounds: int
) -> Iterator[str]:
    """What a search will ask for at the most, in lines: `fresh` calls at questions of the pilot,
    and `rounds` for each of so many documents by way. Money where the pilot's is known."""
    calls, tokens = sum(one.calls for one in pilot), sum(one.tokens for one in pilot)
    each = _share(calls, sum(one.rounds for one in pilot))
    total = 1.5 * fresh
    yield f"{fresh:,} calls for fresh attempts, half as many again where strong ones are cut off"
    for what, documents in ways.items():
        most = documents * rounds
        total += most * each
        yield f"{most * each:,.0f} calls for up to {most:,} rounds {what}"
    paid = [one.usd for one in pilot if one.usd]
    known, part = all(one.usd is not None for one in pilot), _share(total, calls)
    cost = f", ${sum(paid) * part:,.2f}" if paid and known else ""
    yield (
        f"in all {total:,.0f} calls, {tokens * part:,.0f} tokens{cost}, as the pilot's calls and "
        "rounds took on average (no interval)"
    )
