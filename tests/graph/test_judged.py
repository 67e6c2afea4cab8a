"""A judge that is asked several times about each answer, over real HTTP to a scripted endpoint."""

import json
from collections import Counter
from fractions import Fraction
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from autodata.agents.judge import sample_of
from autodata.graph.context import RunContext
from autodata.graph.run import Batch, run_documents
from autodata.graph.state import RunChoices
from autodata.ledger.calls import CallLog
from autodata.ledger.ledger import Ledger
from autodata.ledger.rows import RunRow
from autodata.models.client import Models
from autodata.models.config import ROLES, EndpointConfig, ModelConfig
from autodata.models.errors import CutOff
from autodata.prompt_store.prompt import packaged
from autodata.tasks.types import Round
from tests.graph.scripted import CS, DOCUMENT, marks
from tests.graph.scripted import play as scripted_play
from tests.graph.test_loop import SCIENCE, story
from tests.models.scripted_server import Reply, ScriptedServer, says, scripted

SHARES = {"weak": (1, 1, 2), "strong": (7, 7, 8)}  # criteria met of 8, by judgement


class Cast:
    """Every role; each answer is a new one, and the judge says of it now this and now that."""

    def __init__(self, unreadable: int = 0) -> None:
        self.unreadable = unreadable  # of the judgements of each answer, the last ones
        self.answers: Counter[str] = Counter()
        self.judged: Counter[str] = Counter()

    def __call__(self, payload: dict[str, Any]) -> Reply:
        role = payload["model"]
        if role.endswith("_solver"):
            self.answers[role] += 1
            return says(f"the {role.removesuffix('_solver')} answer {self.answers[role]}")
        return says(self._marks(payload) if role == "judge" else json.dumps(CS[role]))

    def _marks(self, payload: dict[str, Any]) -> str:
        asked = payload["messages"][1]["content"]
        judgement = self.judged[asked]
        if len(payload["messages"]) == 2:
            self.judged[asked] += 1
        if len(payload["messages"]) > 2 or judgement >= 3 - self.unreadable:
            return "I would rather not say"
        side = "weak" if "the weak answer" in asked else "strong"
        return json.dumps(marks(SHARES[side][judgement]))


async def play(
    folder: Path, server: ScriptedServer, repeats: int | None
) -> tuple[tuple[Round, ...], Ledger]:
    """One document through the real graph, ledger, call log and wire, as if it were undecided."""
    ledger = Ledger.open(folder)
    log = CallLog(ledger.path)
    models = {role: ModelConfig(endpoint="here", model=role) for role in ROLES}
    models["judge"] = models["judge"].model_copy(update={"repeats": repeats})
    asked = Models(
        log=log, endpoints={"here": EndpointConfig(base_url=server.url)}, models=models, seed=7
    )
    ledger.add_documents([DOCUMENT])
    if not ledger.runs():
        ledger.start_run(RunRow(id="run", task="cs", prompts_revision=packaged().revision))
    with ledger.writing() as database:  # as if it had been killed before it was decided
        for table in ("attempts", "examples", "rounds"):
            database.table(table).delete_where()
    context = RunContext(asked, packaged(), ledger, log, "run")
    choices = RunChoices(judge_repeats=repeats, confirm=2)
    try:
        await run_documents(context, Batch("cs", choices, [DOCUMENT.id], in_flight=1))
    finally:
        await context.aclose()
    kept = Ledger.open(folder)
    return kept.rounds("run", DOCUMENT.id), kept


def asked_by(server: ScriptedServer) -> Counter[str]:
    return Counter(request["model"] for request in server.requests)


async def test_every_judgement_counts_and_the_majority_says_what_was_met(tmp_path: Path) -> None:
    async with scripted(otherwise=Cast()) as server:
        (round,), ledger = await play(tmp_path, server, 3)
    assert round.decision == "accepted"
    assert asked_by(server)["judge"] == 3 * len(round.attempts)
    for attempt in round.attempts:
        met = SHARES[attempt.solver]
        assert attempt.score == float(Fraction(sum(met), 24))
        said = [mark.said for mark in attempt.marks]
        assert Counter(said) == {"met": min(met), "1 of 3": 1, "not met": 11 - min(met) - 1}
        assert [mark.met for mark in attempt.marks] == [s == "met" for s in said]
    rows = ledger.query("select sample from calls where role = 'judge' order by sample")
    samples = Counter(row["sample"] for row in rows)
    assert samples[1] == samples[-12] == samples[-13] == 2  # of attempt 1 on either side
    assert samples[4] == samples[-42] == samples[-43] == 2  # of a fresh one
    seeds = [request["seed"] for request in server.requests if request["model"] == "judge"]
    assert len(set(seeds)) == len(seeds)


async def test_a_killed_run_asks_for_no_judgement_twice(tmp_path: Path) -> None:
    async with scripted(otherwise=Cast()) as server:
        first, _ = await play(tmp_path, server, 3)
        needed = len(server.requests)
        again, _ = await play(tmp_path, server, 3)
        assert len(server.requests) == needed
    assert again == first


async def test_the_log_of_a_judge_that_was_asked_once_answers_for_the_first_judgement(
    tmp_path: Path,
) -> None:
    async with scripted(otherwise=Cast()) as server:
        (once,), ledger = await play(tmp_path, server, None)
        before = asked_by(server)
        assert "votes" not in str(ledger.query("select marks from attempts"))
        (thrice,), _ = await play(tmp_path, server, 3)
        attempts = len(once.attempts)
        assert asked_by(server) - before == {"judge": 2 * attempts}
    assert [a.answer for a in thrice.attempts] == [a.answer for a in once.attempts]
    for one, three in zip(once.attempts, thrice.attempts, strict=True):
        assert [mark.votes[0] for mark in three.marks] == [mark.met for mark in one.marks]


async def test_a_judgement_that_stays_unreadable_leaves_the_others_their_say(
    tmp_path: Path,
) -> None:
    async with scripted(otherwise=Cast(unreadable=1)) as server:
        (round,), _ = await play(tmp_path / "one", server, 3)
    assert round.decision == "accepted"
    for attempt in round.attempts:
        assert {len(mark.votes) for mark in attempt.marks} == {2}
        assert attempt.note.startswith("1 of 3 judgements could not be read: ")
    async with scripted(otherwise=Cast(unreadable=2)) as server:
        (round,), _ = await play(tmp_path / "two", server, 3)
    assert {mark.votes for attempt in round.attempts for mark in attempt.marks} == {()}
    assert round.weak[0].score == 0.125
    async with scripted(otherwise=Cast(unreadable=3)) as server:
        rounds, _ = await play(tmp_path / "all", server, 3)
    assert [attempt.score for attempt in rounds[0].weak] == [None, None]
    assert rounds[0].objections[0].code == "MALFORMED"


CUT = CutOff("a reply of the judge never came to its end", "State models.judge.max_tokens")


async def test_a_judgement_that_never_ends_leaves_the_others_their_say(tmp_path: Path) -> None:
    choices = RunChoices(judge_repeats=2)
    judge = [CUT, *[marks(1)] * 3, *[marks(7)] * 4]
    rounds, models = await scripted_play(tmp_path / "one", {**CS, "judge": judge}, choices=choices)
    assert story(rounds) == [("accepted", [])]
    assert "never came to its end" in rounds[0].weak[0].note
    assert models.asked["judge"] == 2 * len(rounds[0].attempts)
    rounds, _ = await scripted_play(tmp_path / "all", {**CS, "judge": CUT}, choices=choices)
    assert rounds == ()  # undecided, as where it is asked once


async def test_what_code_settles_is_put_to_no_judge(tmp_path: Path) -> None:
    choices = RunChoices(judge_repeats=3, rounds=1)
    rounds, models = await scripted_play(tmp_path, SCIENCE, task="science", choices=choices)
    assert story(rounds) == [("accepted", [])]
    assert models.asked["judge"] == 0


def test_no_judgement_has_the_number_of_an_attempt_or_of_another_judgement() -> None:
    attempts, judgements = range(1, 2000), range(1, 10)
    numbers = [sample_of(a, j) for a, j in product(attempts, judgements)]
    assert len(set(numbers)) == len(numbers)
    assert [sample_of(a, 1) for a in attempts] == list(attempts)
    assert all(sample_of(a, j) < 0 for a, j in product(attempts, judgements[1:]))


@pytest.mark.parametrize("repeats", [0, 10])
def test_the_judge_is_asked_from_one_to_nine_times(repeats: int) -> None:
    with pytest.raises(ValueError, match="judge_repeats"):
        RunChoices(judge_repeats=repeats)
    with pytest.raises(ValueError, match="repeats"):
        ModelConfig(endpoint="e", model="m", repeats=repeats)
