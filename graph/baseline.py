"""The one-shot baselines of the paper (section 2): the loop's own nodes, without its feedback.

Same document, one question, both sides asked whatever they score, same final filters. These alone
choose; what the gate objects to stands on record with the round and decides nothing.

- `self-instruct` writes the question straight from the document.
- `cot` reasons about the document first, in the same reply.
- `evol` writes one as `self-instruct` does, and evolves it EVOLUTIONS times, by operators that
  follow from the document's id. A step that cannot be read is left out.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal

from langgraph.runtime import Runtime

from autodata.agents.challenger import challenge
from autodata.agents.verifier import numbered
from autodata.graph.build import Loop, after_extractor, after_prepare, attempted, drawn
from autodata.graph.context import RunContext
from autodata.graph.nodes import Nodes, all_done
from autodata.graph.state import (
    FRESH_ROUND,
    Baseline,
    RunChoices,
    State,
    closed,
    judgements,
    one_shot_choices,
    planned,
    policy_of,
    round_so_far,
    task_of,
)
from autodata.models.errors import CutOff
from autodata.prompt_store.prompt import PromptSet, policy_text
from autodata.tasks import TASKS
from autodata.tasks.acceptance import unscored
from autodata.tasks.task import Task, objections_to_one_shot, screen
from autodata.tasks.types import Attempt, Candidate, Objection, Round, Side, digest

Update = dict[str, Any]

EVOLUTIONS = 2
"""Steps by which `evol` changes its first question. Evol-Instruct (arXiv 2304.12244) takes four, of
which it drops failed ones; two are as many calls as a refined round of the loop."""


def build_baseline(method: Baseline, context: Callable[[], RunContext]) -> Loop:
    """The compiled graph of a method over one document; `context` as in `build`."""
    nodes = OneShotNodes(context, method)
    graph = drawn(
        context,
        (
            nodes.prepare,
            nodes.extractor,
            nodes.challenger,
            nodes.evolve,
            nodes.weak_solver,
            nodes.strong_solver,
            nodes.loop_judge,
            nodes.decide,
            nodes.final_verifier,
            nodes.record,
        ),
        (
            after_prepare,
            after_extractor,
            after_challenger,
            after_evolve,
            after_weak_solver,
            after_strong_solver,
            after_decide,
        ),
    )
    graph.add_edge("loop_judge", "decide")
    graph.add_edge("final_verifier", "record")
    return graph.compile(name=f"baseline {method}")


Solvers = list[Literal["weak_solver", "strong_solver"]]


def _asked(state: State) -> Any:
    """A question is evolved while an operator is left, then both sides are asked at once."""
    if state.decision:
        return "record"
    return "evolve" if state.instruction else ["weak_solver", "strong_solver"]


def after_challenger(state: State) -> Literal["evolve", "record"] | Solvers:
    """A reply without a question that can be asked and scored ends the document."""
    found: Literal["evolve", "record"] | Solvers = _asked(state)
    return found


def after_evolve(state: State) -> Literal["evolve"] | Solvers:
    """The next operator, or the solvers."""
    found: Literal["evolve"] | Solvers = _asked(state)
    return found


def after_weak_solver(state: State) -> Literal["loop_judge", "decide"]:
    """Whatever it scored. Legal attempts are read, for the gate that they do not face."""
    return attempted(state)


def after_strong_solver(state: State) -> Literal["loop_judge", "decide"]:
    """Likewise."""
    return attempted(state)


def after_decide(state: State) -> Literal["final_verifier", "record"]:
    """A question whose attempts were all scored goes to the final filters."""
    return "record" if state.decision else "final_verifier"


@dataclass(frozen=True)
class OneShotNodes(Nodes):
    """The loop's nodes where a baseline does otherwise."""

    method: Baseline

    def prepare(self, state: State, runtime: Runtime[RunChoices]) -> Update:
        """As the loop's, with the choices as a baseline has them."""
        found = super().prepare(state, runtime)
        return found | {"choices": one_shot_choices(found["choices"])}

    async def challenger(self, state: State) -> Update:
        """Writes the question; for `evol` also names the first operator, as the instruction."""
        context, document = await self._at_hand(state)
        written = await challenge(
            context.models,
            context.prompts.prompt(state.task, "one_shot"),
            task_of(state),
            document,
            self.method == "cot",
            sample=1,
            **_policy(context.prompts, state.task),
        )
        if isinstance(written, Objection):
            return {**FRESH_ROUND, **closed(state, (written,))}
        if unusable := _unusable(task_of(state), written):
            return {**FRESH_ROUND, **closed(state, (unusable,), candidate=written)}
        first = next(iter(self._operators(context.prompts, state)), "")
        return {**FRESH_ROUND, **_taken((), written), "instruction": first}

    async def evolve(self, state: State) -> Update:
        """The question, changed by the operator in hand; a reply that is no use changes nothing."""
        context, document = await self._at_hand(state)
        prompts, task, before = context.prompts, task_of(state), state.candidates[-1]
        written: Candidate | Objection = before
        with suppress(CutOff):  # as if it could not be read
            written = await challenge(
                context.models,
                prompts.prompt(state.task, "evolve"),
                task,
                document,
                sample=len(state.candidates) + 1,
                instruction=state.instruction,
                context=before.context,
                question=before.question,
                question_type=before.question_type,
                reference_answer=before.reference_answer,
                rubric=numbered(before),
                **_policy(prompts, state.task),
            )
        operators, done = self._operators(prompts, state), len(state.candidates)
        left = operators[done] if done < len(operators) else ""
        if isinstance(written, Objection) or _unusable(task, written):
            written = before
        return {**_taken(state.candidates, written), "instruction": left}

    def _operators(self, prompts: PromptSet, state: State) -> tuple[str, ...]:
        """The operators that a document's question is evolved by, the same at each resume."""
        if self.method != "evol":
            return ()
        ways = list(combinations(prompts.bullets(state.task, "operators"), EVOLUTIONS))
        return ways[int(digest(state.document_id, self.method), 16) % len(ways)]

    async def _attempts(self, state: State, side: Side) -> tuple[Attempt, ...]:
        """All attempts of a side at once, as many as are planned per question."""
        weak, strong = planned(state)
        numbers = range(1, (weak if side == "weak" else strong) + 1)
        return tuple(await all_done([self._attempt(state, side, number) for number in numbers]))

    async def decide(self, state: State) -> Update:
        """Notes what the loop would object to: its screen, its gate. An attempt without marks ends
        the document, since it has no score to record."""
        task, rubric = task_of(state), self.context().prompts.rubric_policy(state.task)
        round = round_so_far(state)
        said = (
            *(screen(task, round.candidate, rubric) if round.candidate else ()),
            *state.objections,
            *policy_of(state).objections(round),
        )
        unmarked = unscored(round.attempts)
        return closed(state, (*unmarked, *said)) if unmarked else {"objections": said}

    async def final_verifier(self, state: State) -> Update:
        """The locked filters and the locked verifier decide; what the gate says stands below."""
        found = await super().final_verifier(state)
        [ended] = found["rounds"]
        said = tuple(dict.fromkeys((*ended.objections, *state.objections)))
        ended = ended.model_copy(update={"objections": said})
        return {**found, "objections": said, "rounds": [ended]}

    def _found(self, context: RunContext, state: State, *, edited: bool) -> Round:
        last = state.rounds[-1] if state.rounds else None
        if last is None or last.decision != "accepted":
            return super()._found(context, state, edited=edited)
        document, answers = context.ledger.document(state.document_id), context.ledger.answers(last)
        wrong = objections_to_one_shot(task_of(state), document, last, answers)
        if not wrong:
            return last
        return last.model_copy(update={"objections": wrong, "decision": "rejected"})


def _taken(before: tuple[Candidate, ...], candidate: Candidate) -> Update:
    """The candidate as the one to be asked; `candidates` keeps each step."""
    return {"candidates": (*before, candidate), "candidate": candidate}


def _unusable(task: Task, written: Candidate) -> Objection | None:
    """Why no answer to the candidate could be scored."""
    if task.has_rubric and not any(criterion.weight > 0 for criterion in written.rubric):
        message = "the rubric has no positive criterion: no answer can be scored"
        return Objection(code="MALFORMED", message=message)
    return None


def _policy(prompts: PromptSet, task: str) -> dict[str, str]:
    policy = prompts.rubric_policy(task)
    return {"rubric_policy": policy_text(policy)} if policy else {}


def calls_of_baseline(method: Baseline, task: str, choices: RunChoices) -> float:
    """Calls that a document takes: all of them are made, but for documents that are skipped."""
    own = TASKS[task]
    attempts = (choices.weak_attempts or own.weak_attempts) + (
        choices.strong_attempts or own.strong_attempts
    )
    written = 1 + (EVOLUTIONS if method == "evol" else 0)
    read = own.extracts + own.judged_by_loop
    return written + read + attempts * (1 + judgements(choices)) + 1
