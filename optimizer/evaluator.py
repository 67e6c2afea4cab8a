"""Documents under one set of prompts: run once, remembered in the ledger, never paid for twice.

An evaluation is a run of its own, named after everything that shapes it. What it finds out about a
document stands; asking again reads it.
"""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from autodata.agents.equivalence import Equivalence
from autodata.graph.context import RunContext
from autodata.graph.run import Batch, run_documents
from autodata.graph.state import RunChoices, TaskName
from autodata.ledger.calls import CallLog
from autodata.ledger.ledger import Ledger
from autodata.ledger.rows import RunRow
from autodata.models.client import Models
from autodata.models.config import resolve
from autodata.models.errors import Interrupted
from autodata.optimizer.acceptance import Outcome
from autodata.optimizer.audit import doubts
from autodata.optimizer.evidence import Trajectory
from autodata.prompt_store.prompt import PromptSet
from autodata.tasks.types import Round, digest

ROLES = (
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
STOPPED = Interrupted("the optimization was stopped", "Its finished documents and calls are kept")


@dataclass
class Evaluator:
    """Evaluates prompts on documents of the ledger, for one optimization (`run`).

    `in_flight` documents are worked on at once in each evaluation. Setting `stop` ends all of them
    when their documents in flight have ended. `doubted` collects accepted examples that the audit
    did not let count: evaluation and document → why.
    """

    run: RunRow
    task: TaskName
    choices: RunChoices
    models: Models
    ledger: Ledger
    log: CallLog
    in_flight: int
    equivalence: Equivalence = field(default_factory=Equivalence)
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    doubted: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    _outcomes: dict[tuple[str, str], Outcome] = field(default_factory=dict)
    _one_at_a_time: defaultdict[str, asyncio.Lock] = field(
        default_factory=lambda: defaultdict(asyncio.Lock)
    )

    def content(self, prompts: Mapping[str, str]) -> str:
        """Identity (12 hex digits) of what an evaluation depends on beside document and replicate:
        the task's prompts, the locked prompts, the models and the choices."""
        mine = sorted((p, text) for p, text in prompts.items() if p.startswith(f"{self.task}/"))
        models = [resolve(role, self.models.registry.models).model_dump() for role in ROLES]
        shape = [self.choices.model_dump(mode="json"), self.run.seed]
        return digest(self.task, mine, self.run.locked_revision, models, shape)[:12]

    def name(self, prompts: PromptSet, replicate: int) -> str:
        """The run under which an evaluation is recorded."""
        return f"{self.content(prompts.files)}-{replicate}"

    async def evaluate(
        self, prompts: PromptSet, document_ids: Sequence[str], replicate: int
    ) -> dict[str, Outcome]:
        """What became of each document; those not run yet are run now.

        Raises Paused, Interrupted among it, with everything finished on record.
        """
        name = self.name(prompts, replicate)
        async with self._one_at_a_time[name]:
            known = await asyncio.to_thread(self.known, name)
            if waiting := [d for d in document_ids if d not in known]:
                await self._run(name, prompts, waiting, replicate)
        known = await asyncio.to_thread(self.known, name)
        return {d: known.get(d, "missing") for d in document_ids}

    async def trajectories(
        self, prompts: PromptSet, document_ids: Sequence[str], replicate: int
    ) -> list[Trajectory]:
        """How each document went that has an outcome, in this order."""
        return await asyncio.to_thread(
            self._trajectories, self.name(prompts, replicate), document_ids
        )

    async def _run(
        self, name: str, prompts: PromptSet, waiting: Sequence[str], replicate: int
    ) -> None:
        models = self.models.apart(name, replicate)
        context = RunContext(
            models=models,
            prompts=prompts.model_copy(update={"revision": f"prompts-{name.partition('-')[0]}"}),
            ledger=self.ledger,
            log=self.log,
            run_id=name,
            equivalence=self.equivalence,
        )
        await asyncio.to_thread(self._begin, name, context.prompts.revision)
        batch = Batch(
            task=self.task,
            choices=self.choices,
            document_ids=waiting,
            in_flight=min(self.in_flight, len(waiting)),
            stop=self.stop,
        )
        try:
            await run_documents(context, batch)
        finally:
            for document_id in waiting:
                models.forget(document_id)
        if self.stop.is_set() and len(batch.decided) + len(batch.refused) < len(waiting):
            raise STOPPED

    def _begin(self, name: str, revision: str) -> None:
        """The evaluation's row. It is never looked at as a run, so it is simply there."""
        if not self.ledger.query("select id from runs where id = ?", [name]):
            update = {"id": name, "kind": "evaluation", "prompts_revision": revision}
            ended = {"config": {}, "status": "done"}
            self.ledger.start_run(self.run.model_copy(update=update | ended))

    def known(self, name: str) -> dict[str, Outcome]:
        """The outcomes on record. What was accepted counts if it stands up to the audit."""
        found: dict[str, Outcome] = {}
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
        calls = {a.call_id for a in (*round.weak, *round.strong)} - {None}
        return {call: self.log.request(call) for call in calls if call is not None}

    def _trajectories(self, name: str, document_ids: Sequence[str]) -> list[Trajectory]:
        found = [
            Trajectory(document=self.ledger.document(d), rounds=self.ledger.rounds(name, d))
            for d in document_ids
        ]
        return [trajectory for trajectory in found if trajectory.rounds]
