"""A person in the optimizer: what is shown, kept, turned down; what no hand can slip past."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from autodata.ledger.iterations import Iteration
from autodata.ledger.reviews import answer_about_edit, waiting_edits
from autodata.optimizer.loop import OptimizerGraph, build
from autodata.optimizer.population import OptimizationContext
from autodata.optimizer.state import OptimizationRequest
from autodata.tasks.review import read_edit_review
from tests.optimizer.context import RUN, optimization_context

SEED = 0  # the first edit would be kept
KEEP = {"decision": "keep", "by": "Ann"}
REJECT = {"decision": "reject", "reason": "it asks too much at once", "by": "Ann"}


@dataclass
class Walk:
    """An optimization on a thread of a server, which keeps what it knows."""

    graph: OptimizerGraph
    context: OptimizationContext
    values: Mapping[str, Any] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    config: Any = field(
        default_factory=lambda: {"configurable": {"thread_id": "1"}, "recursion_limit": 60}
    )

    async def say(self, what: Any) -> None:
        self.lines.clear()
        async for kind, part in self.graph.astream(what, self.config, stream_mode=["custom"]):
            assert kind == "custom"
            self.lines.append(part)
        self.values = (await self.graph.aget_state(self.config)).values

    @property
    def asked(self) -> dict[str, Any]:
        """What a person is asked now."""
        [task] = self.graph.get_state(self.config).tasks
        [interrupt] = task.interrupts
        found: dict[str, Any] = interrupt.value
        return found

    @property
    def waits(self) -> bool:
        return bool(self.graph.get_state(self.config).next)

    @property
    def recorded(self) -> Iteration:
        """The last iteration on record."""
        return self.context.iterations()[-1]

    @property
    def calls(self) -> int:
        [row] = self.context.ledger.query("select count(*) as n from calls")
        found: int = row["n"]
        return found


@asynccontextmanager
async def waiting(folder: Path, review: str | None = "before_keep") -> AsyncIterator[Walk]:
    """An optimization whose first edit has passed everything but a person."""
    with optimization_context(
        folder, iterations=1, validation=4, seed=SEED, crossover=0.0, review=review
    ) as context:
        walk = Walk(build(lambda state: context, InMemorySaver()), context)
        await walk.say(OptimizationRequest())
        yield walk


async def test_a_reviewer_is_shown_the_change_and_the_numbers_and_keeps_it(tmp_path: Path) -> None:
    async with waiting(tmp_path) as walk:
        asked, calls = walk.asked, walk.calls
        assert asked["diff"].startswith("--- a/cs/challenger.md\n+++ b/cs/challenger.md\n@@ ")
        assert asked["subject"] in asked["diff"]
        assert asked["score"]["score"] > asked["parent_score"]["score"]
        assert asked["score"]["low"] < asked["score"]["score"] < asked["score"]["high"]
        assert asked["intent"]
        assert asked["predicts"]
        assert walk.recorded.decision == "start"
        assert walk.lines[-1] == "iteration 1 · review: a person is asked"
        await walk.say(Command(resume=KEEP))
        assert walk.recorded.decision == "kept"
        assert walk.recorded.review is not None
        assert walk.recorded.review.by == "Ann"
        assert walk.calls == calls
        assert walk.lines[0] == "iteration 1 · review: kept by Ann"
        assert walk.lines[-1].startswith("iteration 1 · kept · ")
        assert walk.values["summary"].splitlines()[-2:] == walk.lines


async def test_what_is_turned_down_is_rejected_with_the_reason(tmp_path: Path) -> None:
    async with waiting(tmp_path) as walk:
        await walk.say(Command(resume=REJECT))
        assert walk.recorded.decision == "rejected"
        assert walk.recorded.reason.startswith("a reviewer turned it down: it asks too much")
        assert "Ann" not in walk.recorded.reason
        assert walk.lines[0] == "iteration 1 · review: turned down by Ann: it asks too much at once"


BAD = [
    ("yes", "a reply is an object with decision, reason, by"),
    ({"reason": "fine"}, "decision: field required; by: field required"),
    ({**KEEP, "decision": "accept"}, "decision: input should be 'keep' or 'reject'"),
    ({**KEEP, "by": "  "}, "by is blank"),
    ({**REJECT, "reason": " "}, "reason is missing"),
    ({**KEEP, "edited": {}}, "edited: extra inputs"),
]


async def test_a_bad_reply_is_refused_in_words_and_asked_again(tmp_path: Path) -> None:
    async with waiting(tmp_path) as walk:
        first = walk.asked
        for reply, said in BAD:
            await walk.say(Command(resume=reply))
            assert said in walk.asked["problem"]
            assert {**first, "problem": walk.asked["problem"]} == walk.asked
        assert walk.recorded.decision == "start"
        await walk.say(Command(resume=KEEP))
        assert walk.recorded.decision == "kept"


async def test_whoever_answers_first_is_heard(tmp_path: Path) -> None:
    async with waiting(tmp_path) as walk:
        [each] = waiting_edits(walk.context.ledger, RUN)
        said = read_edit_review(REJECT, each.prompts, "2026-11-27")
        answer_about_edit(walk.context.ledger, each, said)
        assert waiting_edits(walk.context.ledger) == []
        await walk.say(Command(resume=KEEP))
        assert walk.recorded.decision == "rejected"


NO_HAND = [
    ({"decision": "kept", "reason": "good"}, "no person on record kept it"),
    ({"edited": {"cs/challenger.md": "Ask."}}, "PLACEHOLDER"),
]


@pytest.mark.parametrize(("by_hand", "said"), NO_HAND)
async def test_an_edit_that_is_kept_by_hand_is_not_kept(
    tmp_path: Path, by_hand: dict[str, Any], said: str
) -> None:
    async with waiting(tmp_path) as walk:
        await walk.graph.aupdate_state(walk.config, by_hand, as_node="review")
        await walk.say(None)
        assert walk.recorded.decision == "invalid"
        assert "this state was edited by hand and is not kept" in walk.recorded.reason
        assert said in walk.recorded.reason


async def test_a_review_holds_for_the_very_edit_that_was_shown(tmp_path: Path) -> None:
    async with waiting(tmp_path) as walk:
        await walk.graph.aupdate_state(walk.config, {}, as_node="decide")
        [(path, text)] = walk.values["edited"].items()
        other = {path: text.replace("\n\n", "\n\nBe brief.\n\n", 1)}
        await walk.say(Command(resume=KEEP))
        assert walk.recorded.decision == "kept"
        before = [
            state
            async for state in walk.graph.aget_state_history(walk.config)
            if state.next == ("record",)
        ]
        fork = await walk.graph.aupdate_state(before[0].config, {"edited": other})
        walk.config = {**fork, "recursion_limit": 60}
        await walk.say(None)
        assert walk.recorded.decision == "invalid"
        assert "no person on record kept it" in walk.recorded.reason


async def test_without_reviews_an_edit_that_wins_is_kept_and_one_that_does_not_is_not(
    tmp_path: Path,
) -> None:
    """Whatever a hand writes into the state: the record is counted again, and costs nothing."""
    async with waiting(tmp_path, review=None) as walk:
        assert walk.recorded.decision == "kept"
        assert not walk.waits
        calls = walk.calls
        history = [state async for state in walk.graph.aget_state_history(walk.config)]
        decided = next(state for state in history if state.next == ("record",))
        fork = await walk.graph.aupdate_state(decided.config, {"reason": "again"})
        walk.config = {**fork, "recursion_limit": 60}
        await walk.say(None)
        assert (walk.recorded.decision, walk.calls) == ("kept", calls)
        [(path, text)] = walk.values["edited"].items()
        worse = text.replace(
            "\n\n", "\n\nCover the whole document with several sub-questions.\n\n", 1
        )
        fork = await walk.graph.aupdate_state(decided.config, {"edited": {path: worse}})
        walk.config = {**fork, "recursion_limit": 60}
        await walk.say(None)
        assert walk.recorded.decision == "invalid"
        assert "it does not win" in walk.recorded.reason
