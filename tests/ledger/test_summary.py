"""A run in numbers, by hand: what its figures are, and how sure they make us."""

import json
from collections.abc import Mapping
from io import StringIO
from math import inf
from pathlib import Path
from random import Random

import pytest

from autodata.ledger.calls import Call, CallLog
from autodata.ledger.cards import card
from autodata.ledger.filters import Chosen, ExportOptions
from autodata.ledger.ledger import FILE, Ledger
from autodata.ledger.records import EXPORT_FORMATS
from autodata.ledger.rows import RunRow
from autodata.ledger.summary import Summary, cost_interval, summarize
from autodata.screen import Screen, print_summary
from autodata.tasks.judge_noise import cheapest
from autodata.tasks.measurement import mean_interval, wilson
from autodata.tasks.rubric import majority, score
from autodata.tasks.types import Attempt, Candidate, Document, Mark, Round, Side

RUN = RunRow(id="run", task="cs", prompts_revision="seed", models={"weak_solver": "e/m"})
BOTH: tuple[Side, ...] = ("weak", "strong")
QUESTION = Candidate(context="", question="Why?", reference_answer="So.", rubric=())


def attempt(side: Side, score: float) -> Attempt:
    return Attempt(solver=side, number=1, answer="a", score=score)


def ended(gap: float | None) -> tuple[Round, ...]:
    """One round: accepted with this gap, or rejected without one."""
    if gap is None:
        return (
            Round(number=1, candidate=QUESTION, weak=(attempt("weak", 0.9),), decision="rejected"),
        )
    attempts = {"weak": (attempt("weak", 0.25),), "strong": (attempt("strong", 0.25 + gap),)}
    return (Round(number=1, candidate=QUESTION, decision="accepted", **attempts),)


async def told(folder: Path, documents: list[tuple[Document, float | None, int]]) -> Summary:
    """Documents, each with its gap, where it was accepted, and the tokens that it took."""
    with Ledger.open(folder) as ledger:
        ledger.add_documents(document for document, _, _ in documents)
        ledger.start_run(RUN)
        log = CallLog(folder / FILE)
        for document, gap, tokens in documents:
            call = Call(document.id, "weak_solver", "e", "m", "k", 1, "ok", input_tokens=tokens)
            await log.record(call)
            ledger.record("run", document.id, ended(gap))
        log.close()
        return summarize(ledger)


def documents(*found: tuple[float | None, int]) -> list[tuple[Document, float | None, int]]:
    return [(Document.of(f"{n}.md", f"Text {n}."), *one) for n, one in enumerate(found)]


async def test_yield_gap_and_cost_of_five_documents(tmp_path: Path) -> None:
    given = documents((0.25, 100), (0.5, 300), (None, 900), (0.75, 200), (None, 500))
    found = await told(tmp_path, given)
    assert (found.pass_rate.value, found.pass_rate.interval) == (0.6, wilson(3, 5))
    assert found.gap.value == 0.5
    assert found.gap.interval == mean_interval([[0.25], [0.5], [0.75]], least=-1.0)
    tokens = found.per_example["tokens_per_example"]
    assert tokens.value == pytest.approx(2000 / 3)
    assert tokens.interval == cost_interval([(100, 1), (300, 1), (900, 0), (200, 1), (500, 0)])
    plain = found.plain()
    assert plain["tokens_per_example_interval"] == [pytest.approx(tokens.interval[0]), None]
    assert plain["usd_per_example"] is plain["usd_per_example_interval"] is None  # no price


async def test_passages_of_one_text_are_one_document(tmp_path: Path) -> None:
    """24 passages of eight texts, where those of a text agree, say as much as eight texts."""
    gaps = [0.0625 * n for n in range(1, 9)]
    passages = [
        (Document.of(f"{n}-{part}", f"{n} {part}", source=f"{n}.md", part=part), gap, 10)
        for n, gap in enumerate(gaps)
        for part in (1, 2, 3)
    ]
    found = await told(tmp_path, passages)
    assert found.gap.interval == mean_interval([[gap] for gap in gaps], least=-1.0)
    calls = found.per_example["calls_per_example"]
    assert (calls.value, calls.interval) == (1.0, cost_interval([(3, 3)] * 8))


async def test_a_single_document_has_figures_and_no_interval(tmp_path: Path) -> None:
    found = await told(tmp_path, documents((0.5, 100)))
    assert (found.pass_rate.value, found.gap.value) == (1.0, 0.5)
    figures = (found.pass_rate, found.rounds, found.gap, *found.per_example.values())
    assert {figure.interval for figure in figures} == {None}


async def test_without_examples_nothing_is_told_of_them(tmp_path: Path) -> None:
    found = await told(tmp_path, documents((None, 100), (None, 100)))
    assert found.pass_rate.interval == wilson(0, 2)
    assert found.gap.value is found.per_example["calls_per_example"].value is None


LINES = ("derives it", "names it", "bounds it", "claims the contrary")


def judged(side: Side, number: int, rng: Random, repeats: int) -> Attempt:
    """An attempt of which the judge finds one thing surely and the others by a throw of dice."""
    votes = [
        tuple(rng.random() < rate for _ in range(repeats)) for rate in (1.0, 0.5, rng.random(), 0.2)
    ]
    marks = tuple(
        Mark(
            criterion=line,
            weight=4,
            met=majority(given),
            votes=given if repeats > 1 else (),
        )
        for line, given in zip(LINES, votes, strict=True)
    )
    return Attempt(solver=side, number=number, answer="a", score=float(score(marks)), marks=marks)


async def of_a_judge(folder: Path, repeats: int, prices: Mapping[str, float | None]) -> Summary:
    """Twelve accepted documents, three attempts a side; each role called once at its price."""
    rng = Random(3)
    with Ledger.open(folder) as ledger:
        ledger.start_run(RUN)
        log = CallLog(folder / FILE)
        for n in range(12):
            document = Document.of(f"{n}.md", f"Text {n}.")
            ledger.add_documents([document])
            sides = {
                side: tuple(judged(side, number, rng, repeats) for number in (1, 2, 3))
                for side in BOTH
            }
            ended = Round(number=1, candidate=QUESTION, decision="accepted", **sides)
            ledger.record("run", document.id, (ended,))
        for role, usd in prices.items():
            await log.record(Call("0", role, "e", "m", role, 1, "ok", input_tokens=9, usd=usd))
        log.close()
        return summarize(ledger)


def told_of(found: Summary) -> list[str]:
    console = Screen(file=StringIO(), width=200)
    print_summary(console, found, "done")
    assert isinstance(console.file, StringIO)
    said = console.file.getvalue().splitlines()
    return [line.removeprefix("judge       ") for line in said if line.startswith("judge ")]


async def test_the_judges_share_of_the_noise_and_the_cheapest_judgements_are_told(
    tmp_path: Path,
) -> None:
    unknown = {"weak_solver": None, "strong_solver": 0.1, "judge": 0.1}
    found = await of_a_judge(tmp_path / "calls", 3, unknown)
    assert found.judge
    share, (low, high) = found.judge.share, found.judge.interval
    assert 0.5 < low < share < high <= 1
    assert found.judge.repeats == cheapest(share, 1, 1)
    between = f"{100 * share:.0f} % ({100 * low:.0f}–{100 * high:.0f})"
    least, most = cheapest(low, 1, 1), cheapest(high, 1, 1)
    assert told_of(found) == [
        f"makes {between} of the attempts' variance; asking it {found.judge.repeats} times "
        f"({least}–{most}) per answer is cheapest, counted in calls (models.judge.repeats)"
    ]
    assert json.loads(json.dumps(found.plain()["judge"])) == {
        "share": share,
        "interval": [low, high],
        "repeats": found.judge.repeats,
        "least": least,
        "most": most,
        "cheapest_by": "calls",
    }
    with Ledger.open(tmp_path / "calls") as ledger:
        form, none = EXPORT_FORMATS["jsonl"], Chosen((), {})
        said = card(ledger, [ledger.run()], form, {"train": "x.jsonl"}, none, ExportOptions())
    assert f"| judge | makes {between} of the variance of once-judged attempts |" in said
    dear = {"weak_solver": 0.1, "strong_solver": 0.3, "judge": 2.0}
    priced = await of_a_judge(tmp_path / "priced", 3, dear)
    assert priced.judge
    assert (priced.judge.share, priced.judge.repeats) == (share, cheapest(share, 0.2, 2.0))
    [line] = told_of(priced)
    assert "asking it once (1–" in line
    assert "cheapest, at these prices" in line


async def test_nothing_is_told_of_a_judge_that_was_asked_once(tmp_path: Path) -> None:
    found = await of_a_judge(tmp_path, 1, {"judge": 0.1})
    assert found.judge is None
    assert "judge" not in found.plain()
    assert told_of(found) == []


def test_a_cost_per_example_counts_documents_that_gave_none() -> None:
    """20 of 40 accepted at 20 each, the others cost 100: tails of .019 (Φ of −2.023 √(40/39)),
    and P(X ≤ 13) is .0192 of a binomial, so that 13 or 14 and 26 or 27 are accepted at the ends."""
    low, high = cost_interval([(100, 0), (20, 1)] * 20)
    assert low == pytest.approx(20 + 100 * 14 / 26, rel=0.05)
    assert high == pytest.approx(20 + 100 * 26 / 14, rel=0.1)
    # Of three draws none may have an example.
    assert cost_interval([(100, 0), (100, 0), (20, 1)]) == (20, inf)
    # Three of three say that 44 % and more give one.
    assert cost_interval([(8, 1)] * 3) == pytest.approx((8, 8 / wilson(3, 3).low))
