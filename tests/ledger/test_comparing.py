"""Runs beside each other, by hand: what their figures are, and what may be said of differences."""

from collections.abc import Sequence
from math import hypot
from pathlib import Path

import pytest

from autodata.ledger.calls import Call, CallLog
from autodata.ledger.comparing import MEASURES, Measure, RunDifference, RunFigures, difference
from autodata.ledger.comparing import run_figures as figures_of
from autodata.ledger.ledger import FILE, Ledger
from autodata.ledger.rows import RunRow
from autodata.ledger.summary import cost_interval
from autodata.tasks.measurement import Pairs, mean_interval, newcombe, newcombe_paired, wilson
from autodata.tasks.types import Attempt, Candidate, Criterion, Document, Judgement, Round, Side

BY_NAME = {measure.name: measure for measure in MEASURES}


class Tried:
    """A document that was tried: its gap, None where it was rejected, and the tokens it took."""

    def __init__(
        self, document: Document, gap: float | None, tokens: int = 10, words: int = 3
    ) -> None:
        self.document, self.gap, self.tokens, self.words = document, gap, tokens, words

    @property
    def rounds(self) -> tuple[Round, ...]:
        if self.gap is None:
            return (Round(number=1, weak=made("weak", 0.9, 0.9), decision="rejected"),)
        candidate = Candidate(
            context="Given this.",
            question=" ".join(["why"] * self.words),
            reference_answer="So.",
            rubric=tuple(Criterion(criterion=c, weight=1) for c in "abc"),
        )
        return (
            Round(
                number=1,
                candidate=candidate,
                weak=made("weak", 0.125, 0.375),
                strong=made("strong", 0.25 + self.gap),
                judgement=JUDGED if self.words > 3 else None,
                decision="accepted",
            ),
        )


JUDGED = Judgement(
    weak_pattern="w",
    strong_pattern="s",
    gap_interpretation="g",
    grpo_suitability="high",
    verdict="accept",
    verdict_reason="r",
)


def made(side: Side, *scores: float) -> tuple[Attempt, ...]:
    return tuple(
        Attempt(solver=side, number=number, answer="a", score=score)
        for number, score in enumerate(scores, 1)
    )


async def figures(folder: Path, tried: Sequence[Tried], **settings: str) -> RunFigures:
    run = RunRow(id=folder.name, task="cs", prompts_revision="seed", config={"run": settings})
    with Ledger.open(folder) as ledger:
        ledger.add_documents(one.document for one in tried)
        ledger.start_run(run)
        log = CallLog(folder / FILE)
        for one in tried:
            call = Call(one.document.id, "judge", "e", "m", "k", 1, "ok", input_tokens=one.tokens)
            await log.record(call)
            ledger.record(run.id, one.document.id, one.rounds)
        log.close()
        return figures_of(ledger, run)


def texts(count: int, begin: int = 0) -> list[Document]:
    return [Document.of(f"{n}.md", f"Text {n}.") for n in range(begin, begin + count)]


def less(name: str, first: RunFigures, other: RunFigures) -> RunDifference:
    found = difference(BY_NAME[name], first, other.named_as(first))
    assert found is not None
    return found


GAPS = (0.25, 0.5, 0.375, 0.125, 0.25, 0.625, 0.5, 0.375, 0.25, 0.125, 0.25, 0.5)


async def test_figures_of_one_run_are_those_of_its_record(tmp_path: Path) -> None:
    given = zip(texts(4), (0.25, 0.5, None, 0.75), (100, 300, 900, 200), (3, 4, 3, 9), strict=True)
    run = await figures(tmp_path / "run", [Tried(*one) for one in given])

    def value(name: str) -> float | None:
        return run.figure(BY_NAME[name]).value

    assert run.documents == {"accepted": 3, "rejected": 1, "skipped": 0, "undecided": 0}
    assert run.figure(BY_NAME["yield"]).interval == wilson(3, 4)
    assert (value("weak"), value("gap"), value("rounds")) == (0.25, 0.5, 1.0)
    assert run.figure(BY_NAME["gap"]).interval == mean_interval([[0.25], [0.5], [0.75]], -1.0)
    assert value("last_weak") == pytest.approx((3 * 0.25 + 0.9) / 4)
    assert value("last_gap") == 0.5  # the strong side of the rejected one was not asked
    assert value("weak_spread") == pytest.approx(0.125 * 2**0.5)
    assert (value("question_words"), value("context_words")) == (pytest.approx(16 / 3), 2.0)
    assert (value("rubric_items"), value("suitability_high")) == (3.0, 1.0)
    assert (value("calls"), value("tokens")) == (pytest.approx(4 / 3), 500.0)
    tokens = [(100.0, 1), (300.0, 1), (900.0, 0), (200.0, 1)]
    assert run.figure(BY_NAME["tokens"]).interval == cost_interval(tokens)
    assert value("usd") is value("fresh_gap") is value("true_gap") is None  # no price, not measured
    assert (run.method, run.fresh_from) == ("agentic", "nothing")


async def test_where_documents_are_shared_a_difference_is_taken_document_by_document(
    tmp_path: Path,
) -> None:
    """Every gap is larger by an eighth: no doubt, although gaps of documents differ by far more."""
    documents = texts(12)
    first = await figures(tmp_path / "a", [Tried(*o) for o in zip(documents, GAPS, strict=True)])
    lower = [Tried(d, g - 0.125, 30, 5) for d, g in zip(documents, GAPS, strict=True)]
    other = await figures(tmp_path / "b", lower)
    gap = less("gap", first, other)
    assert (gap.value, gap.paired, gap.documents, gap.direction) == (-0.125, True, 12, "lower")
    assert gap.detectable is not None
    assert gap.interval is not None
    assert gap.detectable == pytest.approx(1.43 * (gap.interval.high - gap.value), rel=0.01)
    apart = await figures(
        tmp_path / "c",
        [Tried(d, g - 0.125) for d, g in zip(texts(12, 100), GAPS, strict=True)],
    )
    same = less("gap", first, apart)
    assert (same.value, same.paired, same.direction) == (-0.125, False, "may be chance")
    before, after = (run.figure(BY_NAME["gap"]).interval for run in (first, apart))
    assert before is not None
    assert after is not None
    assert same.interval is not None
    first_up, other_down = before.high - sum(GAPS) / 12, sum(GAPS) / 12 - 0.125 - after.low
    assert same.interval.low == pytest.approx(-0.125 - hypot(first_up, other_down))
    assert less("tokens", first, other).value == 20.0
    assert less("question_words", first, other)[:2] == (2.0, None)  # alike in all: no interval
    assert less("rubric_items", first, other).direction == "alike"


async def test_a_few_shared_documents_do_not_speak_for_all_others(tmp_path: Path) -> None:
    """Ten of forty are shared, and alike; the other thirty leave no doubt."""
    first = await figures(tmp_path / "a", [Tried(d, 0.5) for d in texts(40)])
    alike = [Tried(d, 0.5) for d in texts(10)]
    worse = [Tried(d, None) for d in texts(30, 100)]
    accepted = less("yield", first, await figures(tmp_path / "b", alike + worse))
    assert accepted.interval == pytest.approx(newcombe((40, 40), (10, 40)))
    assert (accepted.value, accepted.paired, accepted.direction) == (-0.75, False, "lower")
    half = [Tried(d, 0.5) for d in texts(20)] + worse[:20]
    accepted = less("yield", first, await figures(tmp_path / "c", half))
    assert (accepted.value, accepted.paired, accepted.documents) == (0.0, True, 20)


async def test_shares_are_compared_as_pairs_of_decisions(tmp_path: Path) -> None:
    documents = texts(12)
    some = [Tried(d, 0.5 if n < 4 else None) for n, d in enumerate(documents)]
    most = [Tried(d, 0.5 if n not in (3, 11) else None) for n, d in enumerate(documents)]
    first, other = await figures(tmp_path / "a", some), await figures(tmp_path / "b", most)
    accepted = less("yield", first, other)
    assert accepted.interval == newcombe_paired(Pairs(both=3, lost=1, gained=7, neither=1))
    assert (accepted.value, accepted.direction) == (0.5, "higher")
    new = [Tried(d, t.gap) for d, t in zip(texts(12, 50), most, strict=True)]
    accepted = less("yield", first, await figures(tmp_path / "c", new))
    assert accepted.interval == pytest.approx(newcombe((4, 12), (10, 12)))
    cost = less("tokens", first, other)
    assert cost.value == pytest.approx(12 - 30)
    assert cost.interval is not None
    assert cost.interval.low < -30  # a draw may hold few that gave an example


async def test_of_few_documents_nothing_is_told(tmp_path: Path) -> None:
    first = await figures(tmp_path / "a", [Tried(d, 0.125) for d in texts(9)])
    other = await figures(tmp_path / "b", [Tried(d, 0.75) for d in texts(9)])
    gap = less("gap", first, other)
    assert (gap.value, gap.paired, gap.documents) == (0.625, True, 9)
    assert gap.interval is not None
    assert gap.interval.low > 0
    assert gap.direction == "cannot be told"


async def test_a_file_is_the_same_document_wherever_it_lies_and_however_it_is_cut(
    tmp_path: Path,
) -> None:
    def passage(n: int, part: int, folder: str) -> Document:
        name, hashed = f"{folder}/{n}.md", f"hash {n}"
        return Document.of(name, f"{folder} {n}.{part}", source=name, source_sha256=hashed)

    cut = [Tried(passage(n, part, "here"), 0.25) for n in range(10) for part in (1, 2)]
    whole = [Tried(passage(n, 0, "there"), 0.5) for n in range(10)]
    first, other = await figures(tmp_path / "a", cut), await figures(tmp_path / "b", whole)
    assert less("gap", first, other)[2:] == (True, 10)
    assert first.figure(BY_NAME["gap"]).interval == mean_interval([[0.25, 0.25]] * 10, -1.0)
    # A file of the same name with another text is another document.
    one = await figures(tmp_path / "c", [Tried(Document.of("1.md", "x", source="1.md"), 0.25)])
    two = await figures(tmp_path / "d", [Tried(Document.of("1.md", "y", source="1.md"), 0.25)])
    assert not less("gap", one, two).paired


async def test_no_gate_chose_by_what_a_baseline_shows(tmp_path: Path) -> None:
    """So that its scores stand beside those of the loop that were measured afresh."""
    run = await figures(tmp_path / "a", [Tried(d, 0.5) for d in texts(3)], baseline="cot")
    assert (run.method, run.fresh_from) == ("cot", "no gate")
    assert run.figure(BY_NAME["fresh_gap"]) == run.figure(BY_NAME["gap"])


async def test_a_run_without_examples_has_figures_of_what_it_tried(tmp_path: Path) -> None:
    nothing = await figures(tmp_path / "a", [Tried(d, None) for d in texts(11)])
    some = await figures(tmp_path / "b", [Tried(d, 0.5) for d in texts(11)])
    empty = [m.name for m in MEASURES if nothing.figure(m).value is None]
    assert {"gap", "tokens", "question_words"} <= {*empty}
    assert nothing.figure(BY_NAME["yield"]).value == 0.0
    for measure in MEASURES:
        found: Measure = measure
        told = difference(found, nothing, some.named_as(nothing))
        assert (told is None) == (nothing.figure(found).value is None or found.name in empty)
    assert less("yield", nothing, some).value == 1.0
