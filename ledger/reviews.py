"""What waits for a person and what a person said: the memory of reviews, wherever they are made.

A row is filed when a candidate has passed everything else. Whoever answers first is heard, in the
terminal, in Studio or over the API; the loop reads the answer when it comes by again.
"""

import json

from pydantic import TypeAdapter

from autodata.ledger.database import from_text, to_json, to_text
from autodata.ledger.ledger import Ledger
from autodata.ledger.rows import Row, now
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
