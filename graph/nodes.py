"""The nodes, each thin: read the state, ask once, return what changed.

`async def` asks a model or only thinks; plain `def` touches SQLite, and runs in a thread.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, TypeVar

from langgraph.config import get_stream_writer
from langgraph.runtime import Runtime
from langgraph.types import interrupt
from pydantic import BaseModel

from autodata.agents.challenger import challenge
from autodata.agents.extractor import extract
from autodata.agents.judge import marked, sample_of, score
from autodata.agents.loop_judge import judge_round
from autodata.agents.orchestrator import instruct
from autodata.agents.replies import JudgementReply, VerdictReply, marks_reply
from autodata.agents.solver import solve
from autodata.agents.verifier import numbered, verdict, verify
from autodata.graph.context import RunContext
from autodata.graph.state import (
    FRESH_DOCUMENT,
    FRESH_ROUND,
    RunChoices,
    State,
    attempts_wanted,
    closed,
    earlier,
    in_force,
    judgements,
    kept,
    measuring,
    policy_of,
    round_so_far,
    sides_together,
    task_of,
)
from autodata.ledger.reviews import WaitingRound, answer, ask, on_record
from autodata.ledger.rows import now
from autodata.models.chat import labelled
from autodata.models.errors import CutOff
from autodata.models.replies import Malformed, parse
from autodata.prompt_store.prompt import locked, policy_text
from autodata.tasks.acceptance import scores, verdict_objections
from autodata.tasks.diversity import repeats_accepted, repeats_earlier
from autodata.tasks.measured import confirmation
from autodata.tasks.measurement import Posterior, Prior
from autodata.tasks.review import ReviewError, read_review, shown
from autodata.tasks.task import Worked, final_filters, objections_on_record, screen
from autodata.tasks.types import (
    Attempt,
    Candidate,
    Decision,
    Document,
    Objection,
    Review,
    Round,
    Side,
    Verdict,
)

T = TypeVar("T")
R = TypeVar("R", bound=BaseModel)
Update = dict[str, Any]


async def all_done(work: list[Coroutine[Any, Any, T]]) -> list[T]:
    """The results in order. All work ends before the first error is raised: calls in flight are
    paid for, so they are recorded, not cancelled."""
    results = await asyncio.gather(*work, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return [r for r in results if not isinstance(r, BaseException)]


async def _unless_cut_off(work: Coroutine[Any, Any, T], cut: list[CutOff]) -> T | None:
    """The result; None when the reply never came to its end, which is `cut` down: others beside it
    may have come to theirs."""
    try:
        return await work
    except CutOff as error:
        cut.append(error)
        return None


async def attempt(
    context: RunContext, state: State, side: Side, number: int, *, scope: str
) -> Attempt:
    """One answer to the state's candidate, and its marks; the calls are filed under `scope`."""
    document, candidate = await context.document(state.document_id), _chosen(state)
    with labelled(side=side, attempt=number):
        said = await solve(
            context.models,
            locked(state.task, "solver"),
            candidate,
            side,
            number,
            scope=scope,
            worked=_worked(state, document, side),
        )
        return await score(
            context.models,
            task_of(state),
            candidate,
            said,
            side,
            number,
            scope=scope,
            comparisons=context.comparisons,
            repeats=judgements(state.choices),
        )


@dataclass(frozen=True)
class Nodes:
    """The nodes of one run context, which is opened when the first of them runs."""

    context: Callable[[], RunContext]

    def prepare(self, state: State, runtime: Runtime[RunChoices]) -> Update:
        """Takes up the document, and nothing of an earlier one on the same thread.

        Pins the run's choices and the prompt revision. Raises ValueError at an input without a
        document and at choices that its task does not have or nothing keeps, LedgerError at an
        unknown id.
        """
        context = self.context()
        document_id = state.document_id
        if state.document is not None:
            document = Document.of(state.document.name, state.document.text)
            context.ledger.add_documents([document])
            document_id = document.id
        if not document_id:
            raise ValueError(
                "no document: give document: {name, text}, or the document_id of one on record"
            )
        context.take_up(document_id)
        task, choices = in_force(state.task, context.choices, runtime.context)
        context.check_task(task.name)
        begun = state.model_copy(update={"task": task.name, "choices": choices, "prior": None})
        policy_of(begun)  # raises where nothing could be accepted, before anybody is asked
        return FRESH_DOCUMENT | {
            "document": None,
            "document_id": document_id,
            "task": task.name,
            "choices": choices,
            "prompts_revision": context.prompts.revision_of(task.name),
            "prior": self._prior(context, begun, document_id),
        }

    def _prior(self, context: RunContext, state: State, document_id: str) -> Prior | None:
        """What the run's questions look like when a document begins, where that decides: the same
        at each resume, whatever was learned since."""
        if state.choices.preset != "measured":
            return None
        run_id, measures = context.run_of(state.task, state.choices), measuring(state)
        found = context.prior(run_id, measures.prior, measures.noise)
        return context.ledger.prior_of(run_id, document_id, found)

    async def extractor(self, state: State) -> Update:
        """Reads the case once; an unsuitable document is skipped before anything else is paid."""
        context, document = await self._at_hand(state)
        found = await extract(context.models, locked(state.task, "extractor"), document)
        if isinstance(found, str):
            return {"case_file": found}
        return _ended_early(found, "skipped" if found.code == "UNSUITABLE" else "rejected")

    async def challenger(self, state: State) -> Update:
        """Writes new candidates: one, or several from different angles in parallel.

        Where the task has a procedure for it, that makes one, or skips the document.
        """
        context, document = await self._at_hand(state)
        if procedure := task_of(state).procedure:
            made = procedure.challenge(document.text, earlier(state))
            if isinstance(made, Candidate):
                return {**FRESH_ROUND, "candidates": (made,)}
            return {**FRESH_ROUND, **_ended_early(made, "skipped")}
        prompt = context.prompts.prompt(state.task, "challenger")
        ask = partial(challenge, context.models, prompt, task_of(state), document)
        cut: list[CutOff] = []
        written = await all_done(
            [
                _unless_cut_off(ask(sample=i, **brief), cut)
                for i, brief in enumerate(await self._briefs(context, state), 1)
            ]
        )
        candidates = tuple(c for c in written if isinstance(c, Candidate))
        fresh = {**FRESH_ROUND, "candidates": candidates}
        if candidates:
            return fresh
        objections = tuple(dict.fromkeys(c for c in written if isinstance(c, Objection)))
        if not objections:
            raise cut[0]
        return fresh | closed(state.model_copy(update=fresh), objections)

    async def _briefs(self, context: RunContext, state: State) -> list[dict[str, str]]:
        """What each challenger of the round is told besides the document."""
        said = [state.instruction, await asyncio.to_thread(context.asked_before, state)]
        instruction = "\n\n".join(filter(None, said))
        brief = {"instruction": instruction, **_rubric_policy(context, state.task)}
        if task_of(state).extracts:
            brief["case_file"] = state.case_file
        angles = context.prompts.angles(state.task)
        if not angles:
            return [brief]
        writers = state.choices.challengers or task_of(state).challengers
        first = (state.number - 1) * writers
        return [{**brief, "angle": angles[(first + i) % len(angles)]} for i in range(writers)]

    async def verifier(self, state: State) -> Update:
        """Screens by code, then asks; the first candidate that passes is evaluated."""
        context, document = await self._at_hand(state)
        task, rubric = task_of(state), context.prompts.rubric_policy(state.task)
        failed: list[Update] = []
        for candidate in state.candidates:
            screened = screen(task, candidate, rubric)
            found = _once(screened, final_filters(task, candidate, document))
            found = found or await self._repetitions(state, candidate, "verifier")
            if found:
                failed.append({"candidate": candidate, "objections": found})
                continue
            reply = await self._verdict(context, state, document, candidate)
            if isinstance(reply, Verdict) and reply.passed:
                return {"candidate": candidate, "verdict": reply}
            failed.append({"candidate": candidate, **_objected(reply)})
        return closed(state, **failed[0])

    async def _repetitions(
        self, state: State, candidate: Candidate, step: str
    ) -> tuple[Objection, ...]:
        """What code objects to before anybody is asked about a question: it was asked before."""
        if not state.choices.diversity:
            return ()
        accepted = await asyncio.to_thread(self.context().accepted_before, state, step)
        return repeats_earlier(candidate, earlier(state)) or repeats_accepted(candidate, accepted)

    async def _verdict(
        self, context: RunContext, state: State, document: Document, candidate: Candidate
    ) -> Verdict | Objection:
        """The verifier's finding, or the procedure's own where code makes the candidates."""
        if procedure := task_of(state).procedure:
            return procedure.verdict(document, candidate)
        prompt = context.prompts.prompt(state.task, "verifier")
        values = _rubric_values(context, state.task, candidate)
        return await verify(context.models, prompt, document, candidate, values)

    async def weak_solver(self, state: State) -> Update:
        """Weak attempts, judged; when they settle the round, no strong attempt is made."""
        weak = await self.context().to_the_end(self._attempts(state, "weak"))
        objections = policy_of(state).weak_objections(weak)
        if objections and not state.strong and not sides_together(state):
            return closed(state, objections, weak=weak)
        return {"weak": weak}

    async def strong_solver(self, state: State) -> Update:
        """Strong attempts on byte-identical input, judged."""
        strong = await self.context().to_the_end(self._attempts(state, "strong"))
        return {"strong": strong}

    async def _attempts(self, state: State, side: Side) -> tuple[Attempt, ...]:
        """A side's attempts so far and those that the decision still needs, in the smallest batches
        that can settle it."""
        made = {"weak": list(state.weak), "strong": list(state.strong)}
        own = made[side]
        while not any(a.score is None for a in own):
            batch = attempts_wanted(state, side, made["weak"], made["strong"])
            if not batch:
                break
            numbers = range(len(own) + 1, len(own) + batch + 1)
            own += await all_done([self._attempt(state, side, number) for number in numbers])
        return tuple(own)

    async def _attempt(self, state: State, side: Side, number: int) -> Attempt:
        made = await attempt(self.context(), state, side, number, scope=state.document_id)
        most = policy_of(state).weak_planned if side == "weak" else policy_of(state).strong_planned
        counted = f"{number} of {most}" if number <= most else f"{number - most} afresh"
        get_stream_writer()(f"round {state.number} · {side} {counted} · {made.said}")
        return made

    async def loop_judge(self, state: State) -> Update:
        """Reads all attempts of the round: is the difficulty learnable?"""
        context, prompt = self.context(), locked(state.task, "loop_judge")
        measures = state.choices.preset == "measured"
        known = measuring(state).known(scores(state.weak), scores(state.strong))
        judgement = await judge_round(
            context.models,
            prompt,
            _chosen(state),
            state.weak,
            state.strong,
            scope=state.document_id,
            known=known if measures else None,
        )
        if isinstance(judgement, Objection):
            return {"objections": (judgement,)}
        return {"judgement": judgement}

    async def decide(self, state: State) -> Update:
        """The policy's objections; none sends the candidate to the final verifier."""
        objections = state.objections + policy_of(state).objections(round_so_far(state))
        return closed(state, objections) if objections else {}

    async def confirm(self, state: State) -> Update:
        """Fresh attempts of both sides, which the gate has not seen, decide."""
        wanted, policy = state.choices.confirm or 0, policy_of(state)
        planned: dict[Side, int] = {"weak": policy.weak_planned, "strong": policy.strong_planned}
        work = [
            self._attempt(state, side, most + number)
            for side, most in planned.items()
            for number in range(1, wanted + 1)
        ]
        made = await self.context().to_the_end(all_done(work))
        fresh = tuple(attempt.model_copy(update={"fresh": True}) for attempt in made)
        objections = confirmation(measuring(state).bounds, wanted, fresh)
        return closed(state, objections, fresh=fresh) if objections else {"fresh": fresh}

    async def final_verifier(self, state: State) -> Update:
        """The frozen candidate passes the locked filters and the locked verifier, once."""
        context, document = await self._at_hand(state)
        candidate = _chosen(state)
        objections = final_filters(task_of(state), candidate, document)
        objections = objections or await self._repetitions(state, candidate, "final_verifier")
        if objections:
            return closed(state, objections)
        reply: Verdict | Objection
        if procedure := task_of(state).procedure:
            reply = procedure.verdict(document, candidate)
        else:
            prompt = locked(state.task, "final_verifier")
            values = _rubric_values(context, state.task, candidate)
            asked = (context.models, prompt, document, candidate, values)
            reply = await verify(*asked, "final_verifier")
        found = _objected(reply)
        if state.choices.review and not found["objections"]:
            return {"final_verdict": reply}
        return closed(state, found["objections"], final_verdict=found.get("verdict"))

    def review(self, state: State) -> Update:
        """A person accepts what has passed everything else, edits it or sends it back.

        What was said of it is on record; where nothing was, the graph stops here, and is resumed
        with a reply, or comes by again when there is an answer.
        """
        context, candidate = self.context(), _chosen(state)
        run_id, last = context.run_of(state.task, state.choices), round_so_far(state)
        known = self._known(context, state, run_id, last)
        waiting = WaitingRound(
            run_id=run_id,
            document_id=state.document_id,
            rounds=(*earlier(state), last),
            certainty=known and known.holds,
        )
        found = ask(context.ledger, waiting)
        document = context.ledger.document(state.document_id)
        asked = shown(document, waiting.rounds, waiting.certainty)
        while found is None:
            reply = interrupt(asked)
            try:
                said = read_review(task_of(state), document, candidate, reply, now())
                found = answer(context.ledger, waiting, said)
            except ReviewError as error:
                asked = {**asked, "problem": str(error)}
        return _reviewed(state, found)

    async def orchestrator(self, state: State) -> Update:
        """Turns the grouped objections into the instruction for the next round."""
        context, document = await self._at_hand(state)
        if procedure := task_of(state).procedure:
            instruction = procedure.instruct(document.text, state.rounds)
        else:
            prompt = context.prompts.prompt(state.task, "orchestrator")
            instruction = await instruct(
                context.models, prompt, state.rounds, scope=state.document_id
            )
        return {**FRESH_ROUND, "instruction": instruction, "number": state.number + 1}

    def record(self, state: State, runtime: Runtime[RunChoices]) -> Update:
        """Decides once more from what is on record, and files what it finds in one transaction."""
        context, thread = self.context(), runtime.execution_info
        ended = self._found(context, state, edited=bool(thread and thread.thread_id))
        run_id = context.run_of(state.task, state.choices)
        known = self._known(context, state, run_id, ended) if ended.decision == "accepted" else None
        with context.ledger.writing():  # so that nothing is accepted between look and record
            ended = context.unless_repeated(state, run_id, ended)
            rounds = kept(state.rounds, [ended])
            known = known if ended.decision == "accepted" else None
            context.ledger.record(run_id, state.document_id, rounds, known=known)
        context.put_down(state.document_id)
        if ended in state.rounds:
            return {}
        return {"decision": ended.decision, "objections": ended.objections, "rounds": [ended]}

    def _known(
        self, context: RunContext, state: State, run_id: str, round: Round
    ) -> Posterior | None:
        """What all attempts at an example say of its true scores, by what is on record so far; see
        `estimate_anew`."""
        measures = measuring(state)
        prior = measures.prior
        if not state.prior:
            prior = context.prior(run_id, measures.prior, measures.noise)
        sides = ([a for a in round.attempts if a.solver == side] for side in ("weak", "strong"))
        return measures.estimated(prior, *map(scores, sides))

    def _found(self, context: RunContext, state: State, *, edited: bool) -> Round:
        """The last round, accepted only where the record bears it out; a person can edit a state.

        Where one may have `edited` it, since a thread keeps it, what models said is looked up, too.

        A round that was decided by hand and never closed is closed here.
        """
        last = state.rounds[-1] if state.rounds else None
        if last is None or last.decision in (None, "revise"):
            by_hand = {"objections": state.objections, "decision": state.decision}
            last = round_so_far(state).model_copy(update=by_hand)
        if last.decision in ("rejected", "skipped"):
            return last
        document = context.ledger.document(state.document_id)
        answers = context.ledger.answers(last)
        found = objections_on_record(task_of(state), policy_of(state), document, last, answers)
        if wanted := state.choices.confirm:
            found += confirmation(measuring(state).bounds, wanted, last.fresh)
        if state.choices.review and not self._accepted_by_a_person(context, state, last):
            found += (Objection(code="REVIEWED", message="no person on record accepted it"),)
        if edited and not found:
            unsaid = _unsaid(context, state, last)
            found = tuple(Objection(code="MALFORMED", message=reason) for reason in unsaid)
        if last.decision == "accepted" and not found:
            return last
        why = "this state was edited by hand and is not accepted"
        objections = [o.model_copy(update={"message": f"{why}: {o.message}"}) for o in found]
        undecided = Objection(code="MALFORMED", message=f"{why}: it was sent off undecided")
        return last.model_copy(
            update={"objections": tuple(objections) or (undecided,), "decision": "rejected"}
        )

    def _accepted_by_a_person(self, context: RunContext, state: State, last: Round) -> bool:
        """Whether the review that the round carries is on record, of its very candidate."""
        if last.candidate is None or last.review is None or last.review.decision != "accept":
            return False
        run_id = context.run_of(state.task, state.choices)
        this = WaitingRound(run_id=run_id, document_id=state.document_id, rounds=(last,))
        return on_record(context.ledger, this) == last.review

    async def _at_hand(self, state: State) -> tuple[RunContext, Document]:
        """The context, and the document of the state."""
        context = self.context()
        context.check_task(state.task)
        return context, await context.document(state.document_id)


def _unsaid(context: RunContext, state: State, last: Round) -> Iterator[str]:
    """What the round says of marks and verdicts, and those on record about it say otherwise."""
    candidate, document_id = _chosen(state), state.document_id

    @cache
    def asked(role: str) -> list[tuple[int, str, str]]:
        """What the role was asked about this question: sample, request, reply."""
        calls = (
            (sample, "\n".join(message["content"] for message in context.log.request(call)), text)
            for call, sample, text in context.ledger.replies(document_id, role)
        )
        return [found for found in calls if candidate.question in found[1]]

    def said(role: str, shape: type[R], about: str) -> dict[int, R]:
        """The role's replies to requests that hold this text, by sample."""
        found: dict[int, R] = {}
        for sample, request, text in asked(role):
            if about in request:
                with suppress(Malformed):  # about another candidate with this question in it
                    found[sample] = asyncio.run(parse(text, shape))
        return found

    for attempt in last.attempts:
        given = said("judge", marks_reply(len(candidate.rubric)), attempt.answer)
        samples = [sample_of(attempt.number, n) for n in range(1, judgements(state.choices) + 1)]
        replies = [given[sample] for sample in samples if sample in given]
        if replies and [m.met for m in marked(candidate, *replies)] != [
            m.met for m in attempt.marks
        ]:
            yield f"the judge marked {attempt.solver} attempt {attempt.number} otherwise"
    for role in ("verifier", "final_verifier"):
        verdicts = said(role, VerdictReply, candidate.reference_answer).values()
        if verdicts and not any(verdict(reply, candidate).passed for reply in verdicts):
            yield f"the {role.replace('_', ' ')} did not pass it"
    if found := last.judgement:
        worth = found.verdict, found.grpo_suitability
        read = said("loop_judge", JudgementReply, "").values()
        if not any((r.verdict, r.grpo_suitability) == worth for r in read):
            yield "the loop judge did not say so"


def _ended_early(found: Objection, decision: Decision) -> Update:
    """What is decided about a document before its first round."""
    ended = Round(number=0, objections=(found,), decision=decision)
    return {"objections": (found,), "decision": decision, "rounds": [ended]}


def _reviewed(state: State, review: Review) -> Update:
    """What a person's review comes to: the round is closed. An edited candidate begins the next
    one, even where the rounds are used up, and is verified and attempted like any other."""
    if review.decision == "accept":
        return closed(state, (), review=review)
    edited = f"a reviewer edited the candidate{': ' if review.reason else ''}{review.reason}"
    said = Objection(code="REVIEWED", message=edited if review.edited else review.reason)
    if review.edited is None:
        return closed(state, (said,), review=review)
    ended = round_so_far(state).model_copy(
        update={"review": review, "objections": (said,), "decision": "revise"}
    )
    begun = {"candidates": (review.edited,), "instruction": "", "number": state.number + 1}
    return {**FRESH_ROUND, **begun, "rounds": [ended]}


def _worked(state: State, document: Document, side: Side) -> tuple[Worked, ...]:
    """The solved items that a side is shown, as its model is configured."""
    procedure, choices = task_of(state).procedure, state.choices
    count = (choices.weak_examples if side == "weak" else choices.strong_examples) or 0
    return procedure.worked(document.text, earlier(state), count) if procedure else ()


def _chosen(state: State) -> Candidate:
    """The candidate under evaluation, which the verifier chose; a person can edit a state. Raises
    ValueError."""
    if state.candidate is None:
        raise ValueError(
            "this state was edited by hand and has no candidate to evaluate; put it back, or go on "
            "from the challenger"
        )
    return state.candidate


def _once(
    screened: tuple[Objection, ...], filtered: tuple[Objection, ...]
) -> tuple[Objection, ...]:
    """What was objected to, each thing once: the locked filters count a rubric's criteria again."""
    malformed = any(o.code == "MALFORMED" for o in screened)
    more = (o for o in filtered if not (malformed and o.code == "MALFORMED"))
    return tuple(dict.fromkeys((*screened, *more)))


def _objected(reply: Verdict | Objection) -> Update:
    """A verifier's reply as what it found: its verdict where there is one, and the objections."""
    if isinstance(reply, Objection):
        return {"objections": (reply,)}
    return {"verdict": reply, "objections": verdict_objections(reply)}


def _rubric_policy(context: RunContext, task: str) -> dict[str, str]:
    """The rubric policy as a prompt value, for tasks that have one."""
    policy = context.prompts.rubric_policy(task)
    return {"rubric_policy": policy_text(policy)} if policy else {}


def _rubric_values(context: RunContext, task: str, candidate: Candidate) -> dict[str, str]:
    """What verifiers see of the rubric: the policy and the numbered criteria."""
    policy = _rubric_policy(context, task)
    return {**policy, "rubric": numbered(candidate)} if policy else {}
