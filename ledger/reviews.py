"""What waits for a person and what a person said: the memory of reviews, wherever they are made.

A row is filed when a candidate, or a prompt edit, has passed everything else. Whoever answers first
is heard, in the terminal, in Studio or over the API; the loop reads the answer when it comes by
again.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import TypeAdapter

from autodata.ledger.ledger import Ledger
from autodata.ledger.rows import Row, from_text, now, to_json, to_text
from autodata.tasks.review import EditReview
from autodata.tasks.types import Candidate, Frozen, Review, Round

_ROUNDS = TypeAdapter(list[Round])
_KEY = "run_id = ? and document_id = ? and number = ? and fingerprint = ?"


class WaitingRound(Frozen):
    """The last of a document's `rounds` so far, of which a person is asked.

    `certainty` is how likely the thresholds truly hold, None where it is not known.
    """

    run_id: str
    document_id: str
    rounds: tuple[Round, ...]
    certainty: float | None = None
    asked_at: str = ""

    @property
    def candidate(self) -> Candidate:
        """What is to be judged."""
        candidate = self.rounds[-1].candidate
        assert candidate is not None  # it has passed everything else
        return candidate

    @property
    def place(self) -> str:
        """Under what it is named: the document."""
        return self.document_id

    @property
    def key(self) -> tuple[str, str, int, str]:
        """Run, document, number of the round and fingerprint of the candidate."""
        last = self.rounds[-1].number
        return self.run_id, self.document_id, last, self.candidate.fingerprint


def ask(ledger: Ledger, waiting: WaitingRound) -> Review | None:
    """What a person said of it; files that it waits where nobody has said anything."""
    run_id, document_id, number, fingerprint = waiting.key
    row = {
        "run_id": run_id,
        "document_id": document_id,
        "number": number,
        "fingerprint": fingerprint,
        "rounds": to_json(_ROUNDS.dump_python(list(waiting.rounds), mode="json")),
        "certainty": waiting.certainty,
        "asked_at": now(),
    }
    with ledger.writing() as database:
        database.table("reviews").insert(row, ignore=True)
    return on_record(ledger, waiting)


def answer(ledger: Ledger, waiting: WaitingRound, review: Review) -> Review:
    """Files what a person said and returns what is on record: whoever answered first is heard."""
    edited = review.edited and to_json(review.edited.model_dump(mode="json"))
    with ledger.writing() as database:
        database.execute(
            "update reviews set decision = ?, reason = ?, edited = ?, by = ?, at = ?"
            f" where decision is null and {_KEY}",
            [review.decision, to_text(review.reason), edited, review.by, review.at, *waiting.key],
        )
    found = on_record(ledger, waiting)
    assert found is not None  # nothing is answered that was not asked
    return found


def on_record(ledger: Ledger, waiting: WaitingRound) -> Review | None:
    """What a person said of this very candidate in this round."""
    for row in ledger.query(
        f"select * from reviews where decision is not null and {_KEY}", waiting.key
    ):
        return Review(
            decision=row["decision"],
            reason=from_text(row["reason"]),
            edited=row["edited"] and Candidate.model_validate(json.loads(row["edited"])),
            by=row["by"],
            at=row["at"],
            fingerprint=row["fingerprint"],
        )
    return None


def all_waiting(ledger: Ledger, run_id: str | None = None) -> list[WaitingRound]:
    """All that waits for a person, of one run or of the folder, in the order of its documents."""
    rows = ledger.query(
        "select * from waiting where ?1 is null or run_id = ?1 order by place, number", [run_id]
    )
    return [read_waiting(row) for row in rows]


def waiting_documents(ledger: Ledger, run_id: str) -> set[str]:
    """The documents of a run that wait for a person."""
    rows = ledger.query("select document_id from waiting where run_id = ?", [run_id])
    return {row["document_id"] for row in rows}


def read_waiting(row: Row) -> WaitingRound:
    """What a row of `reviews` or `waiting` asks about."""
    return WaitingRound(
        run_id=row["run_id"],
        document_id=row["document_id"],
        rounds=_ROUNDS.validate_python(json.loads(row["rounds"])),
        certainty=row["certainty"],
        asked_at=row["asked_at"],
    )


# The same of prompt edits.

_EDIT = "run_id = ? and number = ? and prompts = ?"


class WaitingEdit(Frozen):
    """An edit that would be kept, of which a person is asked.

    `number` is that of its iteration, `prompts` the content hash of the prompts that it makes;
    `shown` is what a reviewer needs, as JSON values.
    """

    run_id: str
    number: int
    prompts: str
    shown: Mapping[str, Any]
    asked_at: str = ""

    @property
    def place(self) -> str:
        """Under what it is named: the iteration."""
        return str(self.number)

    @property
    def key(self) -> tuple[str, int, str]:
        """Run, iteration, and content hash of the prompts."""
        return self.run_id, self.number, self.prompts

    def told(self, *, full: bool) -> Iterator[str]:
        """What a reviewer is shown, line by line; in `full` with the diagnosis."""
        found = self.shown
        yield f"Iteration {self.number}: {found['subject']}"
        yield from ("", found["intent"], "")
        if full:
            yield from (*found["cause"].splitlines(), "")
        yield f"predicts   {found['predicts']}"
        yield f"validated  {found['score']['said']}"
        yield f"parent     {found['parent_score']['said']}"
        moved = ", ".join(f"{code} {by:+.2f}" for code, by in found["moved"].items())
        yield f"moved      {moved or 'nothing'} (per document)"
        yield from ("", *found["diff"].splitlines())


def ask_about_edit(ledger: Ledger, waiting: WaitingEdit) -> EditReview | None:
    """What a person said of it; files that it waits where nobody has said anything."""
    row = waiting.model_dump() | {"shown": to_json(waiting.shown), "asked_at": now()}
    with ledger.writing() as database:
        database.table("edit_reviews").insert(row, ignore=True)
    return edit_review(ledger, *waiting.key)


def answer_about_edit(ledger: Ledger, waiting: WaitingEdit, review: EditReview) -> EditReview:
    """Files what a person said and returns what is on record: whoever answered first is heard."""
    with ledger.writing() as database:
        database.execute(
            "update edit_reviews set decision = ?, reason = ?, by = ?, at = ?"
            f" where decision is null and {_EDIT}",
            [review.decision, to_text(review.reason), review.by, review.at, *waiting.key],
        )
    found = edit_review(ledger, *waiting.key)
    assert found is not None  # nothing is answered that was not asked
    return found


def edit_review(ledger: Ledger, run_id: str, number: int, prompts: str) -> EditReview | None:
    """What a person said of this very edit."""
    sql = f"select * from edit_reviews where decision is not null and {_EDIT}"
    for row in ledger.query(sql, [run_id, number, prompts]):
        said = {name: row[name] for name in ("decision", "by", "at", "prompts")}
        return EditReview.model_validate({**said, "reason": from_text(row["reason"])})
    return None


def waiting_edits(ledger: Ledger, run_id: str | None = None) -> list[WaitingEdit]:
    """All edits that wait for a person, of one optimization or of the folder, oldest first."""
    rows = ledger.query(
        "select run_id, number, prompts, shown, asked_at from waiting_edits"
        " where ?1 is null or run_id = ?1 order by asked_at, number",
        [run_id],
    )
    return [WaitingEdit.model_validate(row | {"shown": json.loads(row["shown"])}) for row in rows]
