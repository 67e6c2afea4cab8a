"""Examples measured afresh: attempts that no gate has seen, and what they come to.

A remeasurement is a run of kind `remeasurement`. What the run's own models show fills the
`confirmed` columns of its examples, in place of what the gate's own fresh attempts came to, which
stay on record with the round; what other models show is kept beside it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from autodata.ledger.ledger import OWN_MEASUREMENT, Ledger
from autodata.ledger.rows import Row, RunRow, attempt_row, from_text, read_attempt, read_run
from autodata.ledger.summary import SOURCE, Figure, mean_by_source
from autodata.tasks.measured import Measurement
from autodata.tasks.measurement import Bounds, wilson
from autodata.tasks.types import Attempt, Frozen, Side

SCORES = ("weak", "strong", "gap")
MEASURED = f"""
select e.id as example_id, e.document_id, documents.name, {SOURCE} as source,
  e.weak_mean, e.strong_mean, e.gap as gap_mean,
  m.weak_attempts, m.strong_attempts, m.weak, m.strong, m.gap, m.holds
from examples as e
join documents on documents.id = e.document_id
join measurements as m on m.example_id = e.id and m.run_id = ?1
where ?2 is null or e.document_id = ?2
order by documents.rowid
"""


class Confirmed(NamedTuple):
    """What fresh attempts of the run's own models show of an example: whether the thresholds hold,
    and scores, 0 … 1; None where there are none. `by_gate`: by these it was accepted, too."""

    holds: bool | None
    weak: float | None
    strong: float | None
    gap: float | None
    by_gate: bool = False


class MeasuredExample(Frozen):
    """One example as the gate saw it (`shown`) and as fresh attempts show it; scores are 0 … 1.

    `source` is the same for passages of one text.
    """

    example_id: str
    document_id: str
    name: str
    source: str
    shown: Measurement
    fresh: Measurement


def accepted(ledger: Ledger, run_id: str) -> list[tuple[str, str]]:
    """The examples of a run, each with its document, in the order of the documents."""
    rows = ledger.query(
        "select examples.id, document_id from examples join documents on documents.id = document_id"
        " where run_id = ? order by documents.rowid",
        [run_id],
    )
    return [(row["id"], row["document_id"]) for row in rows]


def confirmed(ledger: Ledger, run_id: str) -> dict[str, Confirmed]:
    """How the examples of a run stand afresh, by document."""
    rows = ledger.query(
        "select document_id, confirmed, confirmed_weak, confirmed_strong, confirmed_gap,"
        " confirmed is not null and own.holds is null as by_gate"
        f" from examples as e left join {OWN_MEASUREMENT} where e.run_id = ?",
        [run_id],
    )
    found = (list(row.values()) for row in rows)
    return {id: Confirmed(None if holds is None else bool(holds), *at) for id, holds, *at in found}


def measured(
    ledger: Ledger, remeasurement: str, document_id: str | None = None
) -> list[MeasuredExample]:
    """What a remeasurement found so far, of all documents in their order or of one."""
    return [_measured(row) for row in ledger.query(MEASURED, [remeasurement, document_id])]


def remeasurements(ledger: Ledger, run_id: str) -> list[RunRow]:
    """The remeasurements of a run that found something, oldest first."""
    rows = ledger.query(
        "select * from runs where id in (select m.run_id from measurements as m"
        " join examples as e on e.id = m.example_id where e.run_id = ?) order by rowid",
        [run_id],
    )
    return [read_run(row) for row in rows]


def measured_run(ledger: Ledger, remeasurement: RunRow) -> RunRow:
    """The run whose examples a remeasurement measures; itself while it has found nothing."""
    rows = ledger.query(
        "select e.run_id from measurements as m join examples as e on e.id = m.example_id"
        " where m.run_id = ? limit 1",
        [remeasurement.id],
    )
    return ledger.run(rows[0]["run_id"]) if rows else remeasurement


def last_numbers(ledger: Ledger, document_id: str) -> dict[Side, int]:
    """The highest number of an attempt that any gate of the folder saw of this document, by side,
    0 for none."""
    rows = ledger.query(
        "select solver, max(attempts.number) as last from attempts join rounds"
        " on rounds.id = round_id where document_id = ? group by solver",
        [document_id],
    )
    last: dict[Side, int] = {"weak": 0, "strong": 0}
    last.update((row["solver"], row["last"]) for row in rows)
    return last


def fresh_attempts(ledger: Ledger, remeasurement: str, example_id: str) -> tuple[Attempt, ...]:
    """The fresh attempts at one example, by side and number."""
    rows = ledger.query(
        "select *, 1 as fresh from fresh_attempts where run_id = ? and example_id = ?"
        " order by solver desc, number",
        [remeasurement, example_id],
    )
    return tuple(map(read_attempt, rows))


def count_fresh(ledger: Ledger, remeasurement: str) -> dict[str, int]:
    """How many fresh attempts each example has on the side that has fewer, by example."""
    rows = ledger.query(
        "select example_id, min(sum(solver = 'weak'), sum(solver = 'strong')) as made"
        " from fresh_attempts where run_id = ? group by example_id",
        [remeasurement],
    )
    return {row["example_id"]: row["made"] for row in rows}


def record_measurement(
    ledger: Ledger,
    remeasurement: str,
    example_id: str,
    fresh: Sequence[Attempt],
    found: Measurement,
    *,
    confirms: bool,
) -> None:
    """Store all fresh attempts at an example and what they come to, in one transaction.

    With `confirms` it is the run's own measurement, and fills the example's `confirmed` columns.
    """
    where: Row = {"run_id": remeasurement, "example_id": example_id}
    with ledger.writing() as database:
        database.table("fresh_attempts").insert_all(
            [where | attempt_row(attempt) for attempt in fresh], ignore=True
        )
        database.table("measurements").upsert(where | found._asdict(), pk=("run_id", "example_id"))
        if confirms and found.holds is not None:
            columns = {
                "confirmed": found.holds,
                "confirmed_weak": found.weak,
                "confirmed_strong": found.strong,
                "confirmed_gap": found.gap,
            }
            database.table("examples").update(example_id, columns)


def _measured(row: Row) -> MeasuredExample:
    shown = Measurement(0, 0, row["weak_mean"], row["strong_mean"], row["gap_mean"], True)
    fresh = Measurement(**{name: row[name] for name in Measurement._fields})
    return MeasuredExample(
        example_id=row["example_id"],
        document_id=row["document_id"],
        name=from_text(row["name"]),
        source=row["source"],
        shown=shown,
        fresh=fresh,
    )


@dataclass(frozen=True)
class Result:
    """What the fresh attempts of a remeasurement show of the `found` examples of a `run`.

    `attempts` are asked for on each side, and `made` are those of each example that has some;
    `examples` counts all that the run accepted. With `confirms` it is the run's own measurement.
    """

    run: RunRow
    remeasurement: RunRow
    confirms: bool
    attempts: int
    examples: int
    made: Sequence[int]
    found: Sequence[MeasuredExample]
    bounds: Bounds

    @property
    def fewer(self) -> int:
        """How many examples have some fresh attempts, but fewer than are asked for."""
        return sum(made < self.attempts for made in self.made)

    @property
    def decided(self) -> list[MeasuredExample]:
        """Those with a score on both sides."""
        return [one for one in self.found if one.fresh.holds is not None]

    @property
    def passed(self) -> int:
        """How many passed again: the thresholds hold on their fresh means."""
        return sum(one.fresh.holds is True for one in self.found)

    def shown(self, score: str) -> float | None:
        """The mean that the gate saw, of the examples with a fresh one."""
        values = [value for _, value in self._values(score, lambda one: one.shown)]
        return sum(values) / len(values) if values else None

    def fresh(self, score: str) -> Figure:
        """The fresh mean and its interval, by document."""
        least = -1.0 if score == "gap" else 0.0
        return mean_by_source(self._values(score, lambda one: one.fresh), least)

    def _values(
        self, score: str, of: Callable[[MeasuredExample], Measurement]
    ) -> Iterator[tuple[str, float]]:
        for one in self.decided:
            value = getattr(of(one), score)
            if value is not None:
                yield one.source, value

    def plain(self) -> dict[str, Any]:
        """All of it as JSON values."""
        decided, passed = len(self.decided), self.passed
        low, high = wilson(passed, decided)
        return {
            "run": self.run.id,
            "remeasurement": self.remeasurement.id,
            "task": self.run.task,
            "status": self.remeasurement.status,
            "own_models": self.confirms,
            "models": dict(self.remeasurement.models),
            "simulated": self.remeasurement.simulated,
            "attempts": self.attempts,
            "attempts_made": {
                "least": min(self.made, default=0),
                "most": max(self.made, default=0),
                "fewer": self.fewer,
            },
            "examples": self.examples,
            "measured": decided,
            "shown": {score: self.shown(score) for score in SCORES},
            "fresh": {score: _plain(self.fresh(score)) for score in SCORES},
            "passed_again": {
                "examples": passed,
                "share": passed / decided if decided else None,
                "low": low,
                "high": high,
            },
            "each": [_each(one) for one in self.found],
        }


def _plain(found: Figure) -> dict[str, float | None] | None:
    if found.value is None:
        return None
    low, high = found.interval or (None, None)
    return {"mean": found.value, "low": low, "high": high}


def _each(one: MeasuredExample) -> dict[str, Any]:
    """One example as JSON values."""
    return {
        "example": one.example_id,
        "document": one.name,
        "shown": {score: getattr(one.shown, score) for score in SCORES},
        "fresh": {score: getattr(one.fresh, score) for score in SCORES},
        "attempts": {"weak": one.fresh.weak_attempts, "strong": one.fresh.strong_attempts},
        "passed_again": one.fresh.holds,
    }
