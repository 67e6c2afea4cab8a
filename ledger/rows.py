"""The ledger's own values, and how values become rows and rows become values again."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any, Literal, TypeVar

from pydantic import Field

from autodata.ledger.database import ESTIMATED
from autodata.tasks.acceptance import mean, scores
from autodata.tasks.judge_noise import AuditedExample, MarkPairs, pairs_of, pooled
from autodata.tasks.measurement import Posterior
from autodata.tasks.types import (
    Attempt,
    Candidate,
    Decision,
    Document,
    Frozen,
    Judgement,
    Review,
    Round,
    Side,
    Verdict,
)

RunStatus = Literal["running", "done", "paused", "interrupted"]
Kind = Literal["documents", "optimization", "evaluation", "remeasurement", "audit"]
Row = dict[str, Any]
V = TypeVar("V", bound=Frozen)

_SURROGATE = re.compile("[\ud800-\udfff]")


def now() -> str:
    """The time as the ledger writes it: ISO 8601 in UTC, whole seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def to_text(text: str) -> str | bytes:
    """Text as SQLite takes it. A text with lone surrogates is no UTF-8 and becomes a BLOB."""
    return text.encode("utf-8", "surrogatepass") if _SURROGATE.search(text) else text


def from_text(value: str | bytes) -> str:
    """The text that `to_text` stored."""
    return value.decode("utf-8", "surrogatepass") if isinstance(value, bytes) else value


def to_json(value: Any) -> str:
    """JSON for a column: readable Unicode, with lone surrogates escaped. NaN is a ValueError."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    return _SURROGATE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


class RunRow(Frozen):
    """One run: what was asked for and how it stands.

    `kind` says whether it runs documents for their examples, optimizes prompts, is one of the
    evaluations that an optimization consists of, measures another run's examples afresh, or puts
    them to a second judge.

    `config` is the resolved configuration without secrets; `models` says which model
    (`endpoint/model`) played each role; times are ISO 8601 in UTC.
    """

    id: str
    kind: Kind = "documents"
    task: str
    prompts_revision: str
    locked_revision: str = ""
    config: Mapping[str, Any] = Field(default_factory=dict)
    models: Mapping[str, str] = Field(default_factory=dict)
    seed: int | None = None
    simulated: bool = False
    version: str = ""
    status: RunStatus = "running"
    started_at: str = Field(default_factory=now)
    finished_at: str | None = None

    @property
    def baseline(self) -> str | None:
        """The one-shot method by which it makes its examples; None for the loop."""
        found: str | None = self.config.get("run", {}).get("baseline")
        return found


class Example(Frozen):
    """An accepted candidate with the attempts that calibrated it.

    Means and gap are 0 … 1; `rounds_used` counts the accepted round; `meta` is what `record` was
    given to keep. `certainty` is how likely the thresholds truly hold, and the nine after it say
    what the true scores are: posterior means and 95 % intervals. `confirmed` and the three after it
    come from attempts that the gate has not seen: of a remeasurement, or else those by which the
    gate confirmed it (`confirmed_by_gate`). `disagreement` is the share of marks, 0 … 1, that the
    latest second judge gives otherwise. `reviewed_by` and the three after it say who accepted
    and who edited it, and when. None where nothing was measured, and nobody did.
    """

    id: str
    run_id: str
    round_id: str
    document_id: str
    document_name: str
    task: str
    candidate: Candidate
    weak: tuple[Attempt, ...]
    strong: tuple[Attempt, ...]
    weak_mean: float | None
    strong_mean: float | None
    gap: float | None
    rounds_used: int
    prompts_revision: str
    simulated: bool
    certainty: float | None = None
    weak_estimate: float | None = None
    weak_low: float | None = None
    weak_high: float | None = None
    strong_estimate: float | None = None
    strong_low: float | None = None
    strong_high: float | None = None
    gap_estimate: float | None = None
    gap_low: float | None = None
    gap_high: float | None = None
    confirmed: bool | None = None
    confirmed_weak: float | None = None
    confirmed_strong: float | None = None
    confirmed_gap: float | None = None
    confirmed_by_gate: bool = False
    disagreement: float | None = None
    reviewed_by: str | None = None
    reviewed_at: str | None = None
    edited_by: str | None = None
    edited_at: str | None = None
    meta: Mapping[str, Any] = Field(default_factory=dict)


class RoleUsage(Frozen):
    """What one role has used; `usd` is None when the price of one of its calls is unknown.

    `failures` counts requests that brought no answer, `lost_tokens` what these may have used at
    most. `estimated` calls are counted at their worst case, at least in part: then tokens and `usd`
    are upper bounds.
    """

    calls: int
    input_tokens: int
    output_tokens: int
    usd: float | None
    lost_tokens: int = 0
    failures: int = 0
    estimated: int = 0


def usd_per_call(usage: Mapping[str, RoleUsage], *roles: str) -> float | None:
    """US dollars of a call of these roles on average; None where a price is unknown."""
    asked = [usage[role] for role in roles if role in usage]
    spent = [used.usd for used in asked if used.usd is not None]
    calls = sum(used.calls for used in asked)
    return sum(spent) / calls if calls and len(spent) == len(asked) else None


class AttemptCount(Frozen):
    """How many attempts a side made, how many ended without an answer to compare, or cut off."""

    made: int
    format_errors: int
    cut_off: int


class Outcome(Frozen):
    """What became of one document; `decision` is None while there is none.

    `source` is the same for passages of one text. Means are 0 … 1, those of the last round; `code`
    and `message` are its first objection.
    """

    document_id: str
    source: str
    name: str
    decision: Decision | None
    rounds: int | None
    weak_mean: float | None
    strong_mean: float | None
    gap: float | None
    code: str | None
    message: str | None


def document_row(document: Document) -> Row:
    return {
        "id": document.id,
        "name": to_text(document.name),
        "text": to_text(document.text),
        "meta": to_json(dict(document.meta)),
    }


def run_row(run: RunRow) -> Row:
    texts = {"config": to_json(run.config), "models": to_json(run.models)}
    return run.model_dump() | texts


def round_row(id: str, run_id: str, document_id: str, round: Round) -> Row:
    weak, strong = mean(scores(round.weak)), mean(scores(round.strong))
    gap = strong - weak if weak is not None and strong is not None else None
    return {
        "id": id,
        "run_id": run_id,
        "document_id": document_id,
        "number": round.number,
        "decision": round.decision,
        "instruction": to_text(round.instruction),
        "candidate": _json_of(round.candidate),
        "verdict": _json_of(round.verdict),
        "judgement": _json_of(round.judgement),
        "final_verdict": _json_of(round.final_verdict),
        "review": _json_of(round.review),
        "objections": to_json([objection.model_dump() for objection in round.objections]),
        "weak_mean": _real(weak),
        "strong_mean": _real(strong),
        "gap": _real(gap),
    }


def attempt_rows(round_id: str, attempts: Iterable[Attempt]) -> list[Row]:
    return [
        {
            "id": f"{round_id}-{attempt.solver}-{attempt.number}",
            "round_id": round_id,
            **attempt_row(attempt),
            "fresh": attempt.fresh,
        }
        for attempt in attempts
    ]


def attempt_row(attempt: Attempt) -> Row:
    """An attempt, wherever it is filed."""
    return {
        "solver": attempt.solver,
        "number": attempt.number,
        "answer": to_text(attempt.answer),
        "score": attempt.score,
        "marks": to_json([mark.model_dump() for mark in attempt.marks]),
        "truncated": attempt.truncated,
        "call_id": attempt.call_id,
        "note": to_text(attempt.note),
    }


def example_row(run: RunRow, round: Row, candidate: Candidate, meta: Mapping[str, Any]) -> Row:
    """The example of an accepted round, given as its row."""
    return {
        "id": round["id"],
        "run_id": run.id,
        "document_id": round["document_id"],
        "round_id": round["id"],
        "task": run.task,
        "question_type": to_text(candidate.question_type),
        "skills": to_json(candidate.skills),
        "question": to_text(candidate.question),
        "context": to_text(candidate.context),
        "reference_answer": to_text(candidate.reference_answer),
        "rubric": to_json([criterion.model_dump() for criterion in candidate.rubric]),
        "weak_mean": round["weak_mean"],
        "strong_mean": round["strong_mean"],
        "gap": round["gap"],
        "rounds_used": round["number"],
        "prompts_revision": run.prompts_revision,
        "simulated": run.simulated,
        "meta": to_json(dict(meta)),
    }


def known_row(known: Posterior | None) -> Row:
    """What is known of an example's true scores, as its columns."""
    if known is None:
        return {}
    row: Row = {"certainty": known.holds}
    for side, found in (("weak", known.weak), ("strong", known.strong), ("gap", known.gap)):
        values = (found.mean, *found.interval)
        row |= {f"{side}_{part}": v for part, v in zip(ESTIMATED, values, strict=True)}
    return row


def confirmed_row(fresh: Sequence[Attempt]) -> Row:
    """What attempts that the gate has not seen show; an example that was accepted is confirmed."""
    weak, strong = (
        mean(scores([a for a in fresh if a.solver == side])) for side in ("weak", "strong")
    )
    if weak is None or strong is None:
        return {}
    return {
        "confirmed": True,
        "confirmed_weak": float(weak),
        "confirmed_strong": float(strong),
        "confirmed_gap": float(strong - weak),
    }


def reviewed_row(rounds: Sequence[Round]) -> Row:
    """Who accepted the last round, and who edited its candidate in the round before it."""
    row: Row = {}
    if accepted := rounds[-1].review:
        row |= {"reviewed_by": accepted.by, "reviewed_at": accepted.at}
    before = rounds[-2].review if len(rounds) > 1 else None
    if before and before.edited:
        row |= {"edited_by": before.by, "edited_at": before.at}
    return row


def read_document(row: Row) -> Document:
    return Document(
        id=row["id"],
        name=from_text(row["name"]),
        text=from_text(row["text"]),
        meta=json.loads(row["meta"]),
    )


def read_run(row: Row) -> RunRow:
    values = {"config": json.loads(row["config"]), "models": json.loads(row["models"])}
    return RunRow.model_validate(row | values)


def read_round(row: Row, attempts: Sequence[Row]) -> Round:
    return Round(
        number=row["number"],
        instruction=from_text(row["instruction"]),
        candidate=_value_of(Candidate, row["candidate"]),
        verdict=_value_of(Verdict, row["verdict"]),
        weak=read_attempts(attempts, "weak"),
        strong=read_attempts(attempts, "strong"),
        judgement=_value_of(Judgement, row["judgement"]),
        fresh=read_attempts(attempts, "weak", fresh=True)
        + read_attempts(attempts, "strong", fresh=True),
        final_verdict=_value_of(Verdict, row["final_verdict"]),
        review=_value_of(Review, row["review"]),
        objections=json.loads(row["objections"]),
        decision=row["decision"],
    )


def read_attempts(rows: Iterable[Row], solver: Side, fresh: bool = False) -> tuple[Attempt, ...]:
    """The attempts of one side among the rows of a round, in their order: those that the gate saw,
    or the fresh ones."""
    return tuple(
        read_attempt(row) for row in rows if row["solver"] == solver and bool(row["fresh"]) == fresh
    )


def read_attempt(row: Row) -> Attempt:
    return Attempt(
        solver=row["solver"],
        number=row["number"],
        answer=from_text(row["answer"]),
        score=row["score"],
        marks=json.loads(row["marks"]),
        truncated=row["truncated"],
        call_id=row["call_id"],
        note=from_text(row["note"]),
        fresh=row["fresh"],
    )


def read_audited(rows: Sequence[Row]) -> AuditedExample:
    """What a second judge says of one example, by rows of its attempts, each with the marks and the
    score of both judges. One that could not be read says nothing; of several judgements of the
    first judge, what most of them found counts, and a tie as half of each."""
    both = [row for row in rows if row["score"] is not None and row["score_again"] is not None]
    marks = ((json.loads(row["marks"]), json.loads(row["marks_again"])) for row in both)
    pairs = (
        pairs_of(map(_found_met, one), (mark["met"] for mark in other)) for one, other in marks
    )
    holds = rows[0]["holds"]
    return AuditedExample(
        example_id=rows[0]["example_id"],
        source=rows[0]["document_id"],
        pairs=pooled([MarkPairs(0, 0, 0, 0), *pairs]),
        differences=[row["score_again"] - row["score"] for row in both],
        holds=None if holds is None else bool(holds),
    )


def _found_met(mark: Mapping[str, Any]) -> float:
    """1 where a mark is met, 0 where it is not, ½ where its judgements are evenly divided."""
    votes = mark.get("votes") or (mark["met"],)
    return 0.5 if 2 * sum(votes) == len(votes) else float(mark["met"])


def read_example(row: Row, attempts: Sequence[Row]) -> Example:
    """The example of a row with an `Example`'s plain fields and its round's `candidate`."""
    values = {
        "document_name": from_text(row["document_name"]),
        "candidate": _value_of(Candidate, row["candidate"]),
        "weak": read_attempts(attempts, "weak"),
        "strong": read_attempts(attempts, "strong"),
        "meta": json.loads(row["meta"]),
    }
    return Example.model_validate(row | values)


def read_outcome(row: Row) -> Outcome:
    """The outcome of a row with its columns, and with its first objection as JSON: SQLite cannot
    hand over a text of it that holds a lone surrogate."""
    first = json.loads(row.pop("objection") or "{}")
    said = {name: first.get(name) for name in ("code", "message")}
    return Outcome.model_validate(row | said | {"name": from_text(row["name"])})


def _json_of(value: Frozen | None) -> str | None:
    return None if value is None else to_json(value.model_dump())


def _value_of(kind: type[V], text: str | None) -> V | None:
    return None if text is None else kind.model_validate(json.loads(text))


def _real(value: Fraction | None) -> float | None:
    return None if value is None else float(value)
