"""What an optimization did, one row per iteration: figures to plot, and words to learn from."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from pydantic import Field

from autodata.ledger.ledger import Ledger
from autodata.ledger.rows import Row, from_text, now, to_json, to_text
from autodata.tasks.review import EditReview
from autodata.tasks.types import Frozen

EditDecision = Literal["start", "kept", "rejected", "invalid", "indecisive"]

_TEXTS = ("reason", "subject", "cause", "intent", "predicts", "outcome")
_DETAILS = (
    "parent_pass_count",
    "pass_count",
    "chances",
    "minibatch",
    "rates_before",
    "rates_after",
    "checks",
    "review",
)


class EvaluationId(NamedTuple):
    """What one evaluation is called, as a run of its own in the ledger.

    `content` is the identity of what was evaluated (hex digits), `replicate` counts from 1.
    """

    content: str
    replicate: int

    def __str__(self) -> str:
        return f"{self.content}-{self.replicate}"

    @classmethod
    def of(cls, run_id: str) -> "EvaluationId":
        """The parts of the id of an evaluation's run; ValueError for any other."""
        content, _, replicate = run_id.rpartition("-")
        return cls(content, int(replicate))


class Iteration(Frozen):
    """One iteration as decided.

    `parent` and `other_parent` are numbers of iterations; `revision` is the commit and `prompts`
    the content hash of the task's prompts. Scores are 0 … 1; pass counts are documents by outcome,
    and what those accepted count for where that is less (`confirmed`). `chances` says how likely
    each harness was to become the parent; `rates_before` and `rates_after` are objections per
    document, on the same documents. `review` is what a person said, who was asked.
    """

    number: int
    decision: EditDecision
    reason: str = ""
    parent: int | None = None
    other_parent: int | None = None
    revision: str
    prompts: str
    subject: str = ""
    cause: str = ""
    intent: str = ""
    predicts: str = ""
    outcome: str = ""
    parent_score: float | None = None
    parent_evaluations: int = 0
    score: float | None = None
    tried: int = 0
    parent_pass_count: Mapping[str, int | float] = Field(default_factory=dict)
    pass_count: Mapping[str, int | float] = Field(default_factory=dict)
    chances: Mapping[int, float] = Field(default_factory=dict)
    minibatch: tuple[str, ...] = ()
    rates_before: Mapping[str, float] = Field(default_factory=dict)
    rates_after: Mapping[str, float] = Field(default_factory=dict)
    checks: Mapping[str, Any] = Field(default_factory=dict)
    review: EditReview | None = None
    finished_at: str = Field(default_factory=now)

    def evaluation(self, replicate: int = 1) -> str:
        """The run under which this iteration's prompts were evaluated for the n-th time."""
        return str(EvaluationId(self.prompts, replicate))


def record_iteration(ledger: Ledger, run_id: str, iteration: Iteration) -> None:
    """Store one iteration; what stands under its number is replaced."""
    row: Row = {"run_id": run_id, **iteration.model_dump(exclude=set(_DETAILS))}
    row |= {name: to_text(row[name]) for name in _TEXTS}
    row["details"] = to_json(iteration.model_dump(mode="json", include=set(_DETAILS)))
    with ledger.writing() as database:
        database.table("iterations").upsert(row, pk=("run_id", "number"))


def iterations(ledger: Ledger, run_id: str) -> list[Iteration]:
    """All iterations of a run that were decided, by number."""
    rows = ledger.query("select * from iterations where run_id = ? order by number", [run_id])
    return [_read(row) for row in rows]


class Final(Frozen):
    """One of the best harnesses, evaluated again when the iterations were over.

    `place` 1 is the winner; the prompts that the run started from have 1 or, beaten, 0. Counts are
    documents: `accepted` of `decided` over all `evaluations`, and what they count for together
    (`confirmed`; None where each counts in full); of the test documents those with an outcome under
    winner and start, the only two scored on them, and of these `test_accepted` those that count at
    all. `test_gained` do so under the winner alone, `test_lost` under the start alone; None before
    these were recorded.
    `test_seen` says who looked at results on these test documents earlier; nobody when empty.
    """

    number: int
    place: int
    evaluations: int
    accepted: int
    decided: int
    confirmed: float | None = None
    test_accepted: int | None = None
    test_decided: int | None = None
    test_gained: int | None = None
    test_lost: int | None = None
    test_seen: str = ""

    @property
    def score(self) -> float:
        """What the validation documents count for on average, 0 … 1."""
        counting = self.accepted if self.confirmed is None else self.confirmed
        return counting / self.decided if self.decided else 0.0


def record_finals(ledger: Ledger, run_id: str, finals: Sequence[Final]) -> None:
    """Store the final evaluation of a run, in place of an earlier one."""
    with ledger.writing() as database:
        database.table("finals").delete_where("run_id = ?", [run_id])
        database.table("finals").insert_all({"run_id": run_id, **f.model_dump()} for f in finals)


def finals(ledger: Ledger, run_id: str) -> list[Final]:
    """The final evaluation, the start first and then by place; empty until it was made."""
    rows = ledger.query("select * from finals where run_id = ? order by place", [run_id])
    return [Final.model_validate({n: row[n] for n in Final.model_fields}) for row in rows]


def _read(row: Row) -> Iteration:
    values = {name: row[name] for name in Iteration.model_fields if name in row}
    values |= {name: from_text(row[name]) for name in _TEXTS}
    return Iteration.model_validate(values | json.loads(row["details"]))
