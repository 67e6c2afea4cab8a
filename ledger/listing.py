"""What a run holds, a page at a time: lists that stay quick over many thousands of documents."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Generic, Literal, NamedTuple, TypeVar

from autodata.ledger.database import LedgerError
from autodata.ledger.ledger import Ledger
from autodata.ledger.reviews import (
    WaitingEdit,
    WaitingRound,
    edit_review,
    on_record,
    read_waiting,
    waiting_edits,
)
from autodata.ledger.rows import Example, Outcome, Row, RunRow, from_text, read_outcome
from autodata.ledger.summary import ANSWERED, COST_USD, SOURCE
from autodata.tasks.review import EditReview
from autodata.tasks.types import Frozen, Review

_ENDED = "('accepted', 'rejected', 'skipped')"
MOST_ROUNDS = 1_000_000  # a number that somebody wrote into an address may be larger
RECENT = 2_000  # calls, the latest, that say how endpoints do

OutcomeKind = Literal["accepted", "rejected", "skipped", "undecided", ""]  # empty: all
Shown = Literal["", "passed", "failed", "unmeasured"]  # examples by what fresh attempts show
ExampleOrder = Literal["document", "gap", "fresh", "certainty", "rounds"]

# The rows of one page are chosen by columns of indices, and only these are read in full.
_DECIDED = """
select documents.rowid as place, last.rowid as ended
from rounds as last join documents on documents.id = last.document_id
where last.run_id = :run and last.decision {decision}
  and (:objection = '' or json_extract(last.objections, '$[0].code') = :objection)
  {named}
"""
_UNDECIDED = """
select documents.rowid as place, null as ended from documents
where not exists (select 1 from rounds as last where last.document_id = documents.id
  and +last.run_id = :run and last.decision in ('accepted', 'rejected', 'skipped'))
  {named}
"""
_EVERY = """
select documents.rowid as place, null as ended from documents where true {named}
"""
_NAMED = """and (instr(lower(documents.name), lower(:text)) > 0
  or substr(documents.id, 1, length(:text)) = lower(:text))"""
_OUTCOMES = f"""
select documents.id as document_id, {SOURCE} as source, documents.name,
  last.decision, last.number as rounds, last.weak_mean, last.strong_mean, last.gap,
  json_extract(last.objections, '$[0]') as objection
from ({{chosen}} order by place limit :limit offset :offset) as chosen
join documents on documents.rowid = chosen.place
left join rounds as last on {{last}}
order by chosen.place
"""
# The plus leaves `run_id` out of the choice of an index: that of the document finds a few rows.
_LAST = f"""last.document_id = documents.id and +last.run_id = :run
  and last.decision in {_ENDED}"""
_ORDERS: Mapping[ExampleOrder, str] = {
    "document": "documents.rowid",
    "gap": "examples.gap desc, documents.rowid",
    "fresh": "examples.confirmed_gap desc, documents.rowid",
    "certainty": "examples.certainty desc, documents.rowid",
    "rounds": "examples.rounds_used desc, documents.rowid",
}
_SHOWN: Mapping[Shown, str] = {
    "": "true",
    "passed": "examples.confirmed",
    "failed": "not examples.confirmed",
    "unmeasured": "examples.confirmed is null",
}
_EXAMPLES = """
from examples join documents on documents.id = examples.document_id
where examples.run_id = :run and {shown} and (:kind is null or question_type = :kind)
  and (:text = '' or instr(lower(question), lower(:text)) > 0
    or instr(lower(documents.name), lower(:text)) > 0)
"""
WAITING_REVIEWS = """
select (select count(*) from waiting where run_id = ?1)
  + (select count(*) from waiting_edits where run_id = ?1) as n
"""
_LISTED = """
with chosen as (
  select document_id, number, fingerprint, place from waiting where run_id = :run
  order by place, number, fingerprint limit :limit offset :offset
)
select reviews.run_id, reviews.document_id, certainty, asked_at, documents.name,
  json_array(json_extract(rounds, '$[#-1]')) as rounds
from chosen join documents on documents.rowid = chosen.place
join reviews on reviews.run_id = :run and reviews.document_id = chosen.document_id
  and reviews.number = chosen.number and reviews.fingerprint = chosen.fingerprint
order by chosen.place, chosen.number, chosen.fingerprint
"""
_HEALTH = """
select endpoint || '/' || model as model, count(*) filter (where status != 'failed') as answered,
  total(failures) as failures, count(*) filter (where status = 'malformed') as malformed,
  count(*) filter (where status = 'truncated') as cut_off,
  avg(seconds) filter (where status != 'failed') as seconds, max(started_at) as latest,
  max(id) filter (where status = 'failed') as failed,
  max(id) filter (where status != 'failed') as good
from calls where id > (select ifnull(max(id), 0) from calls) - :recent
group by endpoint, model order by min(id)
"""
_CALLS = """
select calls.id, scope, role, endpoint || '/' || model as model, status, input_tokens,
  output_tokens, usd, seconds, started_at, error, documents.name
from calls left join documents on documents.id = scope
where {which} order by calls.id desc limit :limit
"""


# What the documents of a run took, fresh attempts at them included; all of its folder's calls where
# it is an optimization.
_RUN_COST = f"""
select {ANSWERED},
  total(input_tokens) + total(output_tokens) + total(lost_tokens) as tokens, {COST_USD}
from calls where {{whose}}
"""
_ITS_DOCUMENTS = """scope in (select distinct document_id from rounds where run_id = ?1
  union select distinct document_id || '/fresh' from rounds where run_id = ?1)"""


class Health(Frozen):
    """How a model of an endpoint did in the latest calls: answers, requests that brought none, and
    answers that were no use. `seconds` is the mean of an answer, `error` the last failure's where
    nothing was answered since."""

    model: str
    answered: int
    failures: int
    malformed: int
    cut_off: int
    seconds: float | None
    latest: str
    error: str


class CallLine(Frozen):
    """One call in a list; `name` is its document's, empty where it was about none."""

    id: int
    scope: str
    role: str
    model: str
    status: str
    input_tokens: int | None
    output_tokens: int | None
    usd: float | None
    seconds: float
    started_at: str
    error: str
    name: str


class Neighbours(NamedTuple):
    """The documents of a run before and after one, by their ids; None at an end."""

    before: str | None
    after: str | None


class ListedReview(NamedTuple):
    """A document of this name that waits for a person, and what is asked about its last round; the
    others are left out."""

    name: str
    waiting: WaitingRound


# Document, number of the round, fingerprint of the candidate; or iteration, hash of the prompts.
ReviewKey = tuple[str | int, ...]
W = TypeVar("W", WaitingRound, WaitingEdit)


class AskedReview(NamedTuple, Generic[W]):
    """What a person is or was asked, and what stands on record about it.

    `waits` is false where it was answered, or its document decided in another way. Of all `total`
    that wait in the run, so many come up to this one (`place`); `before` and `after` wait, too.
    """

    waiting: W
    review: Review | EditReview | None
    waits: bool
    place: int
    total: int
    before: ReviewKey | None
    after: ReviewKey | None


def shown_runs(ledger: Ledger, limit: int) -> list[RunRow]:
    """The runs that are shown beside each other, newest first: those that people began, and the
    remeasurements of these."""
    rows = ledger.query(
        "select id from runs where kind != 'evaluation' order by rowid desc limit ?", [limit]
    )
    return [ledger.run(row["id"]) for row in rows]


def count_outcomes(ledger: Ledger, run: RunRow) -> dict[str, int]:
    """Documents in all and by outcome; of an evaluation only those that it tried."""
    rows = ledger.query(
        f"select decision, count(*) as n from rounds where run_id = ? and decision in {_ENDED}"
        " group by decision",
        [run.id],
    )
    found = {name: 0 for name in ("accepted", "rejected", "skipped")}
    found.update((row["decision"], row["n"]) for row in rows)
    decided = sum(found.values())
    if run.kind != "documents":
        return {"total": decided, **found, "undecided": 0}
    [row] = ledger.query("select count(*) as n from documents")
    return {"total": row["n"], **found, "undecided": row["n"] - decided}


def first_objections(ledger: Ledger, run_id: str) -> dict[str, int]:
    """Rejected and skipped documents by the first objection of their last round."""
    rows = ledger.query(
        "select json_extract(objections, '$[0].code') as code, count(*) as n from rounds"
        " where run_id = ? and decision in ('rejected', 'skipped') group by code"
        " order by n desc, code",
        [run_id],
    )
    return {row["code"]: row["n"] for row in rows if row["code"]}


def list_outcomes(
    ledger: Ledger,
    run: RunRow,
    *,
    kind: OutcomeKind = "",
    objection: str = "",
    text: str = "",
    offset: int = 0,
    limit: int = 50,
) -> tuple[list[Outcome], int]:
    """One page of the documents of a run in the order they were added, and how many there are in
    all: of one outcome, with this first objection, with this text in their name."""
    named, last = _NAMED if text else "", _LAST
    if kind == "undecided":
        chosen = _UNDECIDED.format(named=named)
    elif kind or objection or run.kind != "documents":
        decision = f"= '{kind}'" if kind else f"in {_ENDED}"
        chosen, last = _DECIDED.format(decision=decision, named=named), "last.rowid = chosen.ended"
    else:
        chosen = _EVERY.format(named=named)
    params: dict[str, Any] = {"run": run.id, "objection": objection, "text": text}
    if text or objection or kind == "undecided":
        [counted] = ledger.query(f"select count(*) as n from ({chosen})", params)
        total = counted["n"]
    else:
        total = count_outcomes(ledger, run)[kind or "total"]
    rows = ledger.query(
        _OUTCOMES.format(chosen=chosen, last=last), params | {"offset": offset, "limit": limit}
    )
    return [read_outcome(row) for row in rows], total


def neighbours(ledger: Ledger, run: RunRow, document_id: str) -> Neighbours:
    """The decided documents of a run before and after one."""
    found = []
    for side, order in (("<", "desc"), (">", "asc")):
        rows = ledger.query(
            "select id from documents as d where rowid"
            f" {side} (select rowid from documents where id = :document) and exists (select 1"
            f" from rounds where +run_id = :run and document_id = d.id and decision in {_ENDED})"
            f" order by rowid {order} limit 1",
            {"run": run.id, "document": document_id},
        )
        found.append(rows[0]["id"] if rows else None)
    return Neighbours(*found)


def count_examples(ledger: Ledger, run_id: str) -> dict[str, int]:
    """Examples of a run in all, and by what fresh attempts show."""
    [row] = ledger.query(
        "select count(*) as total, total(confirmed) as passed, total(not confirmed) as failed,"
        " total(confirmed is null) as unmeasured from examples where run_id = ?",
        [run_id],
    )
    return {name: int(n) for name, n in row.items()}


def question_types(ledger: Ledger, run_id: str, most: int = 20) -> dict[str, int]:
    """The kinds of questions that a run's examples ask, the commonest first."""
    rows = ledger.query(
        "select question_type as kind, count(*) as n from examples where run_id = ?"
        " group by kind order by n desc, kind limit ?",
        [run_id, most],
    )
    return {from_text(row["kind"]): row["n"] for row in rows if row["kind"]}


def list_examples(
    ledger: Ledger,
    run_id: str,
    *,
    shown: Shown = "",
    kind: str = "",
    text: str = "",
    order: ExampleOrder = "document",
    offset: int = 0,
    limit: int = 20,
) -> tuple[list[Example], int]:
    """One page of the examples of a run, and how many there are in all."""
    chosen = _EXAMPLES.format(shown=_SHOWN[shown])
    params = {"run": run_id, "kind": kind or None, "text": text, "offset": offset, "limit": limit}
    [counted] = ledger.query(f"select count(*) as n {chosen}", params)
    rows = ledger.query(
        f"select examples.document_id as id {chosen} order by {_ORDERS[order]}"
        " limit :limit offset :offset",
        params,
    )
    found = (ledger.example(run_id, row["id"]) for row in rows)
    return [example for example in found if example], counted["n"]


def endpoint_health(ledger: Ledger, recent: int = RECENT) -> list[Health]:
    """How each model of each endpoint did in the latest calls of the folder."""
    return [_health(ledger, row) for row in ledger.query(_HEALTH, {"recent": recent})]


def _health(ledger: Ledger, row: Row) -> Health:
    failed, good = row.pop("failed"), row.pop("good")
    down = failed and (good is None or good < failed)
    said = ledger.query("select error from calls where id = ?", [failed]) if down else ()
    return Health.model_validate(row | {"error": (said[0]["error"] or "") if said else ""})


def cost_of(ledger: Ledger, run: RunRow | None = None) -> dict[str, Any]:
    """What a run took, or all of the folder: answered calls, tokens, US dollars (None where a price
    is unknown)."""
    alone = run is not None and run.kind != "optimization"
    whose = _ITS_DOCUMENTS if alone else "?1 is ?1"
    [row] = ledger.query(_RUN_COST.format(whose=whose), [run and run.id])
    return row | {"tokens": int(row["tokens"])}


def latest_calls(ledger: Ledger, limit: int = 20, *, bad: bool = False) -> list[CallLine]:
    """The latest calls of the folder, newest first; with `bad` those among the last two thousand
    that brought no answer, or one that was no use."""
    which = (
        f"status != 'ok' and calls.id > (select ifnull(max(id), 0) from calls) - {RECENT}"
        if bad
        else "true"
    )
    rows: Sequence[Row] = ledger.query(_CALLS.format(which=which), {"limit": limit})
    texts = ("error", "name")
    return [CallLine.model_validate(r | {t: from_text(r[t] or "") for t in texts}) for r in rows]


def count_waiting(ledger: Ledger, run_id: str) -> int:
    """How many reviews of a run wait for a person."""
    [row] = ledger.query(WAITING_REVIEWS, [run_id])
    return int(row["n"])


def asks_for_review(ledger: Ledger, run_id: str) -> bool:
    """Whether anything of this run ever waited for a person."""
    asked = "select 1 from {} where run_id = ?1"
    both = f"{asked.format('reviews')} union all {asked.format('edit_reviews')} limit 1"
    return bool(ledger.query(both, [run_id]))


def list_waiting(
    ledger: Ledger, run_id: str, *, offset: int = 0, limit: int = 50
) -> tuple[list[ListedReview], int]:
    """One page of what waits for a person, in the order of the documents, and how much there is."""
    rows = ledger.query(_LISTED, {"run": run_id, "limit": limit, "offset": offset})
    listed = [ListedReview(row.pop("name"), read_waiting(row)) for row in rows]
    return listed, count_waiting(ledger, run_id)


def waiting_of(ledger: Ledger, run_id: str, document_ids: Sequence[str]) -> dict[str, ReviewKey]:
    """Of these documents those that wait for a person, each with the last that is asked of it."""
    rows = ledger.query(
        "select document_id, number, fingerprint from waiting where run_id = ? and document_id in"
        f" ({', '.join('?' * len(document_ids))}) order by number",
        [run_id, *document_ids],
    )
    return {row["document_id"]: _key(row) for row in rows}


def asked_review(ledger: Ledger, run_id: str, key: ReviewKey) -> AskedReview[WaitingRound]:
    """What a person is or was asked. Raises LedgerError when nobody was."""
    asked = int(key[1]) <= MOST_ROUNDS and ledger.query(
        "select reviews.*, documents.rowid as place from reviews"
        " join documents on documents.id = document_id"
        " where run_id = ? and document_id = ? and number = ? and fingerprint = ?",
        [run_id, *key],
    )
    if not asked:
        raise LedgerError(f"nothing of the document {key[0]} waited for a person like that")
    waiting, at = read_waiting(asked[0]), (asked[0]["place"], *key[1:])
    order = "(place, number, fingerprint)"
    [counted] = ledger.query(
        f"select count(*) as total, total({order} <= (?, ?, ?)) as place,"
        f" total({order} = (?, ?, ?)) as this from waiting where run_id = ?",
        [*at, *at, run_id],
    )
    near = [
        ledger.query(
            f"select document_id, number, fingerprint from waiting where run_id = ? and {order}"
            f" {side} (?, ?, ?) order by place {to}, number {to}, fingerprint {to} limit 1",
            [run_id, *at],
        )
        for side, to in (("<", "desc"), (">", "asc"))
    ]
    return AskedReview(
        waiting,
        on_record(ledger, waiting),
        bool(counted["this"]),
        int(counted["place"]),
        counted["total"],
        *(_key(rows[0]) if rows else None for rows in near),
    )


def asked_about_edit(ledger: Ledger, run_id: str, key: ReviewKey) -> AskedReview[WaitingEdit]:
    """What a person is or was asked about an edit of the prompts. Raises LedgerError when nobody
    was."""
    number, prompts = int(key[0]), str(key[1])
    rows = number <= MOST_ROUNDS and ledger.query(
        "select run_id, number, prompts, shown, asked_at from edit_reviews"
        " where run_id = ? and number = ? and prompts = ?",
        [run_id, number, prompts],
    )
    if not rows:
        raise LedgerError(f"no edit of the iteration {number} waited for a person like that")
    asked = WaitingEdit.model_validate(rows[0] | {"shown": json.loads(rows[0]["shown"])})
    left = sorted(edit.key[1:] for edit in waiting_edits(ledger, run_id))
    before, after = ([k for k in left if k < key], [k for k in left if k > key])
    return AskedReview(
        asked,
        edit_review(ledger, run_id, number, prompts),
        key in left,
        len(before) + 1,
        len(left),
        before[-1] if before else None,
        after[0] if after else None,
    )


def _key(row: Row) -> ReviewKey:
    return row["document_id"], row["number"], row["fingerprint"]
