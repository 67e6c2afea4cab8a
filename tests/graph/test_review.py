"""A person in the loop: what is accepted, sent back and edited, and what no hand can slip past."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from autodata.graph.build import Loop, build
from autodata.graph.context import RunContext
from autodata.graph.run import Batch, run_documents
from autodata.graph.state import Input, RunChoices
from autodata.ledger.ledger import Ledger
from autodata.ledger.reviews import WaitingRound, all_waiting, answer
from autodata.tasks import TASKS
from autodata.tasks.review import read_review
from autodata.tasks.types import Review, Round
from tests.graph.scripted import (
    CS,
    DOCUMENT,
    FAIL,
    GOOD,
    PASS,
    ScriptedModels,
    marks,
    scripted_context,
)

ACCEPT = {"decision": "accept", "by": "Ann"}
REJECT = {"decision": "reject", "reason": "two questions in one", "by": "Ann"}
BETTER = "Which of its entries survive the first heartbeat of the new leader?"
EDIT = {"decision": "edit", "candidate": {"question": BETTER}, "reason": "sharper", "by": "Bo"}
ALWAYS = {**CS, "judge": [*[marks(1)] * 2, *[marks(7)] * 3, *[marks(1)] * 2, marks(7)]}


@dataclass
class Thread:
    """One document on a thread of a server, which keeps what it knows."""

    loop: Loop
    context: RunContext
    models: ScriptedModels
    choices: RunChoices
    values: Mapping[str, Any]

    config: Any = None

    async def say(self, what: Any) -> None:
        self.values = await self.loop.ainvoke(what, self.config, context=self.choices)

    async def reply(self, reply: Any) -> None:
        await self.say(Command(resume=reply))

    @property
    def asked(self) -> dict[str, Any]:
        """What a person is asked now."""
        [interrupt] = self.values["__interrupt__"]
        found: dict[str, Any] = interrupt.value
        return found

    @property
    def rounds(self) -> list[Round]:
        found: list[Round] = self.values["rounds"]
        return found

    @property
    def story(self) -> list[tuple[str | None, list[str]]]:
        return [(r.decision, [o.code for o in r.objections]) for r in self.rounds]

    @property
    def ledger(self) -> Ledger:
        return self.context.ledger


@asynccontextmanager
async def waiting(
    folder: Path, script: Mapping[str, Any] = ALWAYS, **choices: Any
) -> AsyncIterator[Thread]:
    """A document that has passed everything but a person."""
    async with scripted_context(folder, script) as (context, models):
        loop = build(lambda: context, InMemorySaver())
        chosen = RunChoices(review="before_accept", **choices)
        thread = Thread(loop, context, models, chosen, {}, {"configurable": {"thread_id": "1"}})
        await thread.say(Input(document_id=DOCUMENT.id, task="cs"))
        yield thread


async def test_a_reviewer_is_shown_what_is_needed_and_accepts(tmp_path: Path) -> None:
    async with waiting(tmp_path) as thread:
        asked = thread.asked
        assert asked["document"] == {"id": DOCUMENT.id, "name": "log.md"}
        assert asked["candidate"]["question"] == GOOD["question"]
        assert len(asked["candidate"]["rubric"]) == 11
        assert [a["score"] for a in asked["weak"]] == [0.125, 0.125]
        assert asked["strong"][0]["answer"] == "an argument"
        assert asked["strong"][0]["marks"][0]["met"] is True
        assert 0 < asked["certainty"] < 1
        assert set(asked["reply"]) == {"decision", "reason", "candidate", "by"}
        assert thread.ledger.outcomes("run") == {}
        await thread.reply(ACCEPT)
        assert thread.story == [("accepted", [])]
        example = thread.ledger.example("run", DOCUMENT.id)
        assert example is not None
        review = thread.rounds[0].review
        assert review is not None
        assert (example.reviewed_by, example.reviewed_at) == ("Ann", review.at)
        assert (example.edited_by, example.edited_at) == (None, None)
        assert thread.ledger.rounds("run", DOCUMENT.id) == tuple(thread.rounds)


async def test_what_is_sent_back_teaches_the_next_question(tmp_path: Path) -> None:
    async with waiting(tmp_path) as thread:
        await thread.reply(REJECT)
        assert thread.story == [("revise", ["REVIEWED"])]
        feedback = next(m for role, m in thread.models.messages if role == "orchestrator")[1]
        assert "## Sent back by a reviewer" in feedback.content
        assert "two questions in one" in feedback.content
        assert "Ann" not in feedback.content
        assert thread.asked["round"] == 2
        assert thread.asked["objections"] == [
            {"round": 1, "code": "REVIEWED", "message": "two questions in one"}
        ]
        await thread.reply(ACCEPT)
        assert thread.story == [("revise", ["REVIEWED"]), ("accepted", [])]
        example = thread.ledger.example("run", DOCUMENT.id)
        assert example is not None
        assert (example.reviewed_by, example.edited_by) == ("Ann", None)


async def test_sent_back_in_the_last_round_rejects_the_document(tmp_path: Path) -> None:
    async with waiting(tmp_path, rounds=1) as thread:
        await thread.reply(REJECT)
        assert thread.story == [("rejected", ["REVIEWED"])]
        assert thread.ledger.outcomes("run") == {DOCUMENT.id: "rejected"}


async def test_an_edited_candidate_is_verified_and_attempted_afresh_and_asked_about_again(
    tmp_path: Path,
) -> None:
    """Even where the rounds are used up."""
    async with waiting(tmp_path, rounds=1) as thread:
        before = dict(thread.models.asked)
        await thread.reply(EDIT)
        assert thread.story == [("revise", ["REVIEWED"])]
        assert thread.asked["candidate"]["question"] == BETTER
        assert thread.asked["round"] == 2
        made = {role: n - before[role] for role, n in thread.models.asked.items()}
        assert made["challenger"] == made.get("orchestrator", 0) == 0
        assert made["verifier"] == made["final_verifier"] == 1
        assert made["weak_solver"] == 2
        await thread.reply(ACCEPT)
        assert thread.story == [("revise", ["REVIEWED"]), ("accepted", [])]
        example = thread.ledger.example("run", DOCUMENT.id)
        assert example is not None
        assert example.candidate.question == BETTER
        assert (example.edited_by, example.reviewed_by) == ("Bo", "Ann")


@pytest.mark.parametrize("rounds", [1, 3])
async def test_an_edited_candidate_that_fails_is_no_example(tmp_path: Path, rounds: int) -> None:
    """With rounds left, a new question is asked for."""
    async with waiting(
        tmp_path, {**ALWAYS, "verifier": [PASS, FAIL, PASS]}, rounds=rounds
    ) as thread:
        await thread.reply(EDIT)
        ended = "rejected" if rounds == 1 else "revise"
        assert thread.story[:2] == [("revise", ["REVIEWED"]), (ended, ["QUALITY"])]
        assert ("__interrupt__" in thread.values) is (rounds > 1)
        if rounds > 1:
            await thread.reply(ACCEPT)
            example = thread.ledger.example("run", DOCUMENT.id)
            assert example is not None
            assert (example.candidate.question, example.edited_by) == (GOOD["question"], None)


LIGHT = [{"criterion": "derives step 0", "weight": 0}]
BAD = [
    ("yes", "a reply is an object with decision, reason, candidate, by"),
    (5, "a reply is an object with"),
    ({"reason": "fine"}, "decision: field required; by: field required"),
    ({**ACCEPT, "decision": "maybe"}, "decision: input should be 'accept', 'reject' or 'edit'"),
    ({**ACCEPT, "by": " "}, "by is blank"),
    ({**REJECT, "reason": " "}, "reason is missing: say why"),
    ({**ACCEPT, "candidate": {"question": "?"}}, "a candidate goes with edit alone"),
    ({**EDIT, "candidate": {}}, "the edit changes nothing"),
    ({**EDIT, "candidate": {"question": GOOD["question"]}}, "the edit changes nothing"),
    ({**EDIT, "candidate": {"question": " "}}, "candidate.question is blank"),
    ({**EDIT, "candidate": {"question": "q " * 60_000}}, "of at most 100,000"),
    ({**EDIT, "candidate": {"questoin": "?"}}, "candidate.questoin: extra inputs"),
    ({**EDIT, "candidate": {"rubric": "all"}}, "candidate.rubric: input should be a valid"),
    ({**EDIT, "candidate": {"rubric": LIGHT}}, "weight"),
    ({**EDIT, "candidate": {"question": "As the document says, what is kept?"}}, "gives the sour"),
]


@pytest.mark.parametrize(("reply", "said"), BAD)
async def test_a_bad_reply_is_refused_in_words_and_asked_again(
    tmp_path: Path, reply: Any, said: str
) -> None:
    async with waiting(tmp_path) as thread:
        first = thread.asked
        await thread.reply(reply)
        assert said in thread.asked["problem"]
        assert {**first, "problem": thread.asked["problem"]} == thread.asked
        await thread.reply({**ACCEPT, "decision": "well"})
        assert "'accept', 'reject' or 'edit'" in thread.asked["problem"]
        assert thread.ledger.outcomes("run") == {}
        await thread.reply(ACCEPT)
        assert thread.story == [("accepted", [])]


FORGED = Review(decision="accept", by="Eve", at="2026-11-27", fingerprint="f")


@pytest.mark.parametrize("review", [None, FORGED])
async def test_an_acceptance_by_hand_that_no_person_gave_is_not_accepted(
    tmp_path: Path, review: Review | None
) -> None:
    async with waiting(tmp_path) as thread:
        state = (await thread.loop.aget_state(thread.config)).values
        ended = Round(
            number=1,
            **{name: state[name] for name in ("candidate", "verdict", "weak", "strong")},
            final_verdict=state["final_verdict"],
            review=review,
            decision="accepted",
        )
        by_hand = {"decision": "accepted", "rounds": [ended]}
        await thread.loop.aupdate_state(thread.config, by_hand, as_node="review")
        await thread.say(None)
        assert thread.story == [("rejected", ["REVIEWED"])]
        assert "no person on record accepted it" in thread.rounds[0].objections[0].message
        assert thread.ledger.example("run", DOCUMENT.id) is None


async def test_an_acceptance_holds_for_the_very_candidate_that_was_accepted(tmp_path: Path) -> None:
    async with waiting(tmp_path) as thread:
        await thread.reply(ACCEPT)
        [ended] = thread.rounds
        assert ended.candidate is not None
        other = ended.candidate.model_copy(update={"question": BETTER})
        changed = {"rounds": [ended.model_copy(update={"candidate": other})]}
        await thread.loop.aupdate_state(thread.config, changed, as_node="review")
        await thread.say(None)
        assert thread.rounds[0].decision == "rejected"
        assert "REVIEWED" in [o.code for o in thread.rounds[0].objections]


def filed(ledger: Ledger, reply: Mapping[str, Any], each: WaitingRound | None = None) -> Review:
    """What a person says in the terminal; what is on record then."""
    each = each or all_waiting(ledger, "run")[0]
    said = read_review(TASKS["cs"], DOCUMENT, each.candidate, reply, "2026-11-27")
    return answer(ledger, each, said)


async def test_whoever_answers_first_is_heard(tmp_path: Path) -> None:
    async with waiting(tmp_path) as thread:
        [each] = all_waiting(thread.ledger)
        assert filed(thread.ledger, ACCEPT, each).decision == "accept"
        assert filed(thread.ledger, REJECT, each).decision == "accept"
        assert all_waiting(thread.ledger) == []
        await thread.reply(REJECT)
        assert thread.story == [("accepted", [])]


async def test_a_waiting_document_is_put_down_and_taken_up_when_it_was_reviewed(
    tmp_path: Path,
) -> None:
    """Without a checkpointer, as a run of many documents has it."""
    async with scripted_context(tmp_path, ALWAYS) as (context, models):
        told: list[str | None] = []
        for said in (None, EDIT, ACCEPT):
            if said:
                filed(context.ledger, said)
            models.asked.clear()  # the call log of a real run answers from the start
            batch = Batch("cs", RunChoices(review="before_accept"), [DOCUMENT.id], in_flight=1)
            await run_documents(context, batch, lambda _, decision: told.append(decision))
        assert told == [None, None, "accepted"]
        rounds = context.ledger.rounds("run", DOCUMENT.id)
        assert [r.decision for r in rounds] == ["revise", "accepted"]
        assert rounds[1].candidate is not None
        assert rounds[1].candidate.question == BETTER


async def test_what_waits_counts_for_the_target(tmp_path: Path) -> None:
    batch = Batch("cs", RunChoices(review="before_accept"), ["a", "b", "c"], 1, target=1)
    assert not batch.enough
    batch.waiting.add("a")
    assert batch.enough
    assert batch.unreviewed
    batch.decided["b"] = "accepted"
    assert not batch.unreviewed
