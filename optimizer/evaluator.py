"""Documents under one set of prompts: run once, remembered in the ledger, never paid for twice.

An evaluation is a run of its own, named after everything that shapes it. What it finds out about a
document stands; asking again reads it. What was accepted counts if it stands up to an audit,
whatever the prompts say: the guard reads the edit, the audit what the edit made the agents do.
"""

import asyncio
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from autodata.agents.comparison import ComparisonPool
from autodata.graph.context import RunContext
from autodata.graph.run import Batch, run_documents
from autodata.graph.state import RunChoices, State, TaskName, measuring, policy_of
from autodata.ledger.calls import CallLog
from autodata.ledger.iterations import EvaluationId
from autodata.ledger.ledger import Ledger
from autodata.ledger.rows import RunRow
from autodata.models.client import Models
from autodata.models.config import resolve
from autodata.models.errors import Interrupted
from autodata.optimizer.acceptance import EvaluationOutcome, PassCount, Scoring, certainties
from autodata.optimizer.evidence import Trajectory
from autodata.optimizer.guard import directives
from autodata.prompt_store.prompt import PromptSet, locked
from autodata.tasks import TASKS, Task
from autodata.tasks.acceptance import JudgedPolicy
from autodata.tasks.task import final_filters, unscored_by_us, unverified
from autodata.tasks.types import Attempt, Candidate, Document, Round, digest

SentTo = Mapping[int, Sequence[Mapping[str, str]]]
"""Call id → the messages that were sent."""

_LENGTH = re.compile(
    r"\b(?:words?|characters?|lines?|pages?|paragraphs?) (?:long|short|or (?:more|fewer|less))\b"
    r"|\b(?:at (?:least|most)|more than|fewer than|under|over|within) (?:\w+ )?"
    r"(?:words|characters|sentences|lines|paragraphs|pages)\b"
    r"|\b(?:the )?(?:answer|response|reply)s? (?:is|are|be|stays?|remains?) (?:\w+ )?"
    r"(?:long|short|brief|concise|detailed|lengthy|verbose)\b"
    r"|\bin one (?:word|sentence)\b",
    re.IGNORECASE,
)


def doubts(
    task: str, choices: RunChoices, document: Document, round: Round, sent: SentTo
) -> list[str]:
    """Why an accepted round does not count, each as a sentence; empty when it stands.

    Acceptance is computed again from the marks, the solvers must have been sent the locked prompt
    byte by byte, and an example that directs solver or judge, or pays for length, does not count.
    `sent` holds what each attempt's solver was sent.
    """
    if round.candidate is None or round.decision != "accepted":
        return ["the round has no accepted candidate"]
    return [
        *_recomputed(TASKS[task], choices, round),
        *unverified(round),
        *_misdirected(round.candidate),
        *_tampered(task, round.candidate, round.attempts, sent),
        *(str(o.message) for o in final_filters(TASKS[task], round.candidate, document)),
    ]


def _recomputed(task: Task, choices: RunChoices, round: Round) -> Iterable[str]:
    """Scores from marks, and the policy's decision from scores."""
    yield from unscored_by_us(round)
    policy = task.policy(
        choices,
        choices.weak_attempts or task.weak_attempts,
        choices.strong_attempts or task.strong_attempts,
    )
    yield from (f"the gate objects: {o.message}" for o in policy.objections(round))


def _misdirected(candidate: Candidate) -> Iterable[str]:
    """Directives to solver or judge in what they read, and criteria that pay for length."""
    for directive in directives(f"{candidate.context}\n\n{candidate.question}"):
        yield f"the question gives a directive to the {directive.addressee}: “{directive.words}”"
    for criterion in candidate.rubric:
        if any(directive.addressee == "judge" for directive in directives(criterion.criterion)):
            yield f"a criterion gives a directive to the judge: “{criterion.criterion[:60]}”"
        if _LENGTH.search(criterion.criterion):
            yield f"a criterion pays for length: “{criterion.criterion[:60]}”"


def _tampered(
    task: str, candidate: Candidate, attempts: Sequence[Attempt], sent: SentTo
) -> Iterable[str]:
    """Every solver must have been sent the locked prompt with this question, and nothing else."""
    messages = locked(task, "solver").render(context=candidate.context, question=candidate.question)
    expected = [{"role": m.role, "content": m.content} for m in messages]
    for attempt in attempts:
        if attempt.call_id is not None and list(sent.get(attempt.call_id, ())) != expected:
            yield f"{attempt.solver} attempt {attempt.number} was sent something else"


LOOP_ROLES = (
    "challenger",
    "orchestrator",
    "verifier",
    "weak_solver",
    "strong_solver",
    "judge",
    "loop_judge",
    "extractor",
    "final_verifier",
)
OPTIMIZATION_STOPPED = Interrupted(
    "the optimization was stopped", "Its finished documents and calls are kept"
)


@dataclass
class Evaluator:
    """Evaluates prompts on documents of the ledger, for one optimization (`run`).

    `in_flight` documents are worked on at once in each evaluation. Setting `stop` ends all of them
    when their documents in flight have ended. `score` says what an accepted document counts for.
    `doubted` collects accepted examples that the audit
    did not let count: evaluation and document → why.
    """

    run: RunRow
    task: TaskName
    choices: RunChoices
    models: Models
    ledger: Ledger
    log: CallLog
    in_flight: int
    score: Scoring = "certainty"
    comparisons: ComparisonPool = field(default_factory=ComparisonPool)
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    doubted: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    _outcomes: dict[tuple[str, str], EvaluationOutcome] = field(default_factory=dict)
    _certainties: dict[tuple[str, str, tuple[str, ...]], dict[str, float]] = field(
        default_factory=dict
    )
    _one_at_a_time: defaultdict[str, asyncio.Lock] = field(
        default_factory=lambda: defaultdict(asyncio.Lock)
    )

    def content(self, prompts: Mapping[str, str]) -> str:
        """Identity (12 hex digits) of what an evaluation depends on beside document and replicate:
        the task's prompts, the locked prompts, the models and the choices."""
        mine = sorted((p, text) for p, text in prompts.items() if p.startswith(f"{self.task}/"))
        models = [resolve(role, self.models.registry.models).model_dump() for role in LOOP_ROLES]
        shape = [self.choices.model_dump(mode="json"), self.run.seed]
        return digest(self.task, mine, self.run.locked_revision, models, shape)[:12]

    def name(self, prompts: PromptSet, replicate: int) -> str:
        """The run under which an evaluation is recorded."""
        return str(EvaluationId(self.content(prompts.files), replicate))

    async def evaluate(
        self,
        prompts: PromptSet,
        document_ids: Sequence[str],
        replicate: int,
        tell: Callable[[str], None] = lambda line: None,
    ) -> dict[str, EvaluationOutcome]:
        """What became of each document; those not run yet are run now, and told of.

        Raises Paused, Interrupted among it, with everything finished on record.
        """
        name = self.name(prompts, replicate)
        async with self._one_at_a_time[name]:
            known = await asyncio.to_thread(self.known, name)
            if waiting := [d for d in document_ids if d not in known]:
                await self._run(name, prompts, waiting, replicate, tell)
        known = await asyncio.to_thread(self.known, name)
        return {d: known.get(d, "missing") for d in document_ids}

    async def count(
        self,
        prompts: PromptSet,
        document_ids: Sequence[str],
        replicate: int,
        tell: Callable[[str], None] = lambda line: None,
    ) -> PassCount:
        """What the documents came to under these prompts; tells and raises as `evaluate`."""
        await self.evaluate(prompts, document_ids, replicate, tell)
        return await self.on_record(prompts, document_ids, replicate)

    async def on_record(
        self, prompts: PromptSet, document_ids: Sequence[str], replicate: int
    ) -> PassCount:
        """As `count`, of what is on record already; nothing is run."""
        name = self.name(prompts, replicate)
        known = await asyncio.to_thread(self.known, name)
        outcomes: list[EvaluationOutcome] = [known.get(d, "missing") for d in document_ids]
        found = await asyncio.to_thread(self.certainties, name, document_ids)
        return PassCount.of(outcomes, None if found is None else found.values())

    async def compared(
        self, one: PromptSet, other: PromptSet, document_ids: Sequence[str], replicate: int
    ) -> tuple[dict[str, EvaluationOutcome], dict[str, EvaluationOutcome]]:
        """As `evaluate` under two sets of prompts, but what was accepted and counts for nothing has
        failed; what is supposed of the questions is the same for both."""
        outcomes = [await self.evaluate(p, document_ids, replicate) for p in (one, other)]
        names = [self.name(p, replicate) for p in (one, other)]
        found = [
            await asyncio.to_thread(self.certainties, name, document_ids, beside)
            for name, beside in (names, names[::-1])
        ]
        before, after = (
            {d: "failed" if certain and certain.get(d) == 0 else o for d, o in each.items()}
            for each, certain in zip(outcomes, found, strict=True)
        )
        return before, after

    def certainties(
        self, name: str, document_ids: Sequence[str], beside: str = ""
    ) -> dict[str, float] | None:
        """What each accepted one of these documents counts for, 0 … 1; None where each counts in
        full: by the optimization's choice, or because its gate is a judgement without thresholds.

        What other documents of the evaluation came to has no part in it; what these came to in the
        evaluation `beside`, with which it is compared, has. Blocks on SQLite.
        """
        state = State(task=self.task, choices=self.choices)
        if self.score == "accepted" or isinstance(policy_of(state), JudgedPolicy):
            return None
        outcomes = self.known(name)
        tried = tuple(sorted(d for d in document_ids if d in outcomes))
        if (name, beside, tried) not in self._certainties:
            last = {d: self.ledger.rounds(name, d)[-1] for d in tried if outcomes[d] == "accepted"}
            seen = self.ledger.scored(name, document_ids=tried)
            others = self.ledger.scored(beside, document_ids=document_ids)
            found = certainties(measuring(state), seen, last, beside=others)
            self._certainties[name, beside, tried] = found
        return self._certainties[name, beside, tried]

    async def trajectories(
        self, prompts: PromptSet, document_ids: Sequence[str], replicate: int
    ) -> list[Trajectory]:
        """How each document went that has an outcome, in this order."""
        return await asyncio.to_thread(
            self._trajectories, self.name(prompts, replicate), document_ids
        )

    async def _run(
        self,
        name: str,
        prompts: PromptSet,
        waiting: Sequence[str],
        replicate: int,
        tell: Callable[[str], None],
    ) -> None:
        models = self.models.apart(name, replicate)
        context = RunContext(
            models=models,
            prompts=prompts.model_copy(
                update={"revision": f"prompts-{EvaluationId.of(name).content}"}
            ),
            ledger=self.ledger,
            log=self.log,
            run_id=name,
            comparisons=self.comparisons,
        )
        await asyncio.to_thread(self._begin, name, context.prompts.revision)
        batch = Batch(
            task=self.task,
            choices=self.choices,
            document_ids=waiting,
            in_flight=min(self.in_flight, len(waiting)),
            stop=self.stop,
        )
        names = await asyncio.to_thread(lambda: {d: self.ledger.document(d).name for d in waiting})
        try:
            await run_documents(context, batch, lambda d, decision: tell(f"{names[d]}: {decision}"))
        finally:
            for document_id in waiting:
                models.forget(document_id)
        if self.stop.is_set() and len(batch.decided) + len(batch.refused) < len(waiting):
            raise OPTIMIZATION_STOPPED

    def _begin(self, name: str, revision: str) -> None:
        """The evaluation's row. It is never looked at as a run, so it is simply there."""
        if not self.ledger.query("select id from runs where id = ?", [name]):
            update = {"id": name, "kind": "evaluation", "prompts_revision": revision}
            ended = {"config": {}, "status": "done"}
            self.ledger.start_run(self.run.model_copy(update=update | ended))

    def known(self, name: str) -> dict[str, EvaluationOutcome]:
        """The outcomes on record. What was accepted counts if it stands up to the audit."""
        found: dict[str, EvaluationOutcome] = {}
        for document_id, decision in self.ledger.outcomes(name).items():
            key = (name, document_id)
            if key not in self._outcomes:
                stands = decision == "accepted" and self._stands(name, document_id)
                self._outcomes[key] = "accepted" if stands else "failed"
            found[document_id] = self._outcomes[key]
        return found

    def _stands(self, name: str, document_id: str) -> bool:
        last = self.ledger.rounds(name, document_id)[-1]
        found = doubts(
            self.task, self.choices, self.ledger.document(document_id), last, self._sent(last)
        )
        if found:
            self.doubted[name, document_id] = found
        return not found

    def _sent(self, round: Round) -> dict[int, list[dict[str, str]]]:
        calls = {a.call_id for a in round.attempts} - {None}
        return {call: self.log.request(call) for call in calls if call is not None}

    def _trajectories(self, name: str, document_ids: Sequence[str]) -> list[Trajectory]:
        found = [
            Trajectory(document=self.ledger.document(d), rounds=self.ledger.rounds(name, d))
            for d in document_ids
        ]
        return [trajectory for trajectory in found if trajectory.rounds]
