"""A run in numbers: what became of each document, why, and what it cost."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from autodata.ledger.database import from_text
from autodata.ledger.ledger import Ledger
from autodata.ledger.rows import Row, RunRow
from autodata.tasks.measurement import Interval, mean_interval, wilson
from autodata.tasks.types import FORMAT_NOTE, Decision, Frozen

OUTCOMES = """
select documents.id as document_id, documents.name, last.decision, last.number as rounds,
  last.weak_mean, last.strong_mean, last.gap,
  json_extract(last.objections, '$[0].code') as code,
  json_extract(last.objections, '$[0].message') as message
from documents
left join rounds as last
  on last.document_id = documents.id and last.run_id = :run
  and last.decision in ('accepted', 'rejected', 'skipped')
{where}
order by documents.rowid
"""

# A round is counted under its first objection, as the feedback groups it.
OBJECTIONS = """
select json_extract(objections, '$[0].code') as code, count(*) as rounds
from rounds where run_id = ? and json_array_length(objections) > 0
group by code order by rounds desc, code
"""

# Attempts that failed by their form, of all that were made.
FORM = """
select solver, count(*) as made, sum(score is not null and note like ?2 || '%') as format_errors,
  sum(truncated) as cut_off
from attempts join rounds on rounds.id = round_id where run_id = ?1 group by solver
"""

USAGE = """
select role, count(*) filter (where status != 'failed') as calls,
  total(input_tokens) as input_tokens, total(output_tokens) as output_tokens,
  total(lost_tokens) as lost_tokens,
  case when count(*) filter (
    where usd is null and (status != 'failed' or lost_tokens > 0 and lost_usd = 0)) = 0
    then total(usd) + total(lost_usd) end as usd,
  sum(failures) as failures,
  count(*) filter (where estimated or lost_tokens > 0) as estimated
from calls group by role having calls > 0 or lost_tokens > 0 order by min(id)
"""


class Outcome(Frozen):
    """What became of one document; `decision` is None while there is none.

    Means are 0 … 1, those of the last round; `code` and `message` are its first objection.
    """

    document_id: str
    name: str
    decision: Decision | None
    rounds: int | None
    weak_mean: float | None
    strong_mean: float | None
    gap: float | None
    code: str | None
    message: str | None


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


class AttemptCount(Frozen):
    """How many attempts a side made, how many ended without an answer to compare, or cut off."""

    made: int
    format_errors: int
    cut_off: int


class Summary(Frozen):
    """One run in numbers.

    `documents` counts total, accepted, rejected, skipped and undecided; `objections` counts rounds
    by their first objection, `attempts` those of each side. Means and gap are those of accepted
    examples as the gate saw them, 0 … 1; `confirmed` of the examples were measured afresh.
    `rounds_mean` is over the `with_rounds` documents that were decided in a round, not before the
    first one. Each is None where there is nothing to average.
    """

    run: RunRow
    documents: Mapping[str, int]
    objections: Mapping[str, int]
    attempts: Mapping[str, AttemptCount]
    rounds_mean: float | None
    with_rounds: int = 0
    weak_mean: float | None
    strong_mean: float | None
    gap_mean: float | None
    gap_interval: Interval | None
    confirmed: int
    usage: Mapping[str, RoleUsage]

    @property
    def pass_rate(self) -> float | None:
        """Accepted documents of those tried."""
        tried = self.documents["accepted"] + self.documents["rejected"]
        return self.documents["accepted"] / tried if tried else None

    @property
    def pass_rate_interval(self) -> Interval | None:
        """The score interval of the pass rate."""
        accepted, rejected = self.documents["accepted"], self.documents["rejected"]
        return wilson(accepted, accepted + rejected) if accepted + rejected else None

    def per_example(self, spent: float | None) -> tuple[float | None, Interval | None]:
        """What an accepted example took of what was spent, and between what: as sure as the pass
        rate is."""
        accepted, within = self.documents["accepted"], self.pass_rate_interval
        if spent is None or not accepted or not within:
            return None, None
        tried = accepted + self.documents["rejected"]
        return spent / accepted, Interval(spent / tried / within.high, spent / tried / within.low)

    @property
    def calls(self) -> int:
        """Answered calls of all roles."""
        return sum(usage.calls for usage in self.usage.values())

    @property
    def tokens(self) -> int:
        """Tokens in and out of all roles."""
        return sum(u.input_tokens + u.output_tokens + u.lost_tokens for u in self.usage.values())

    @property
    def estimated(self) -> int:
        """Calls whose tokens and dollars are upper bounds: the endpoint did not count them."""
        return sum(usage.estimated for usage in self.usage.values())

    @property
    def usd(self) -> float | None:
        """US dollars spent, None when a price is unknown."""
        spent = [usage.usd for usage in self.usage.values()]
        return sum(usd for usd in spent if usd is not None) if None not in spent else None

    def plain(self) -> dict[str, Any]:
        """All of it as JSON values."""
        own = self.model_dump(mode="json", exclude={"run"})
        totals = {
            "calls": self.calls,
            "tokens": self.tokens,
            "usd": self.usd,
            "estimated": self.estimated,
        }
        run = self.run.model_dump(mode="json", exclude={"config"})
        rates: dict[str, Any] = {
            "pass_rate": self.pass_rate,
            "pass_rate_interval": self.pass_rate_interval,
        }
        for name, spent in (("calls", float(self.calls)), ("usd", self.usd)):
            each, within = self.per_example(spent)
            rates |= {f"{name}_per_example": each, f"{name}_per_example_interval": within}
        return {**run, **rates, **own, **totals}


def outcomes(ledger: Ledger, run_id: str, document_id: str | None = None) -> list[Outcome]:
    """The outcome of every document of the folder, or of one, in the order they were added."""
    one = "where documents.id = :document" if document_id else ""
    rows = ledger.query(OUTCOMES.format(where=one), {"run": run_id, "document": document_id})
    return [_outcome(row) for row in rows]


def summarize(ledger: Ledger, run_id: str | None = None) -> Summary:
    """A run, by default the latest. Raises LedgerError when there is none."""
    run = ledger.run(run_id)
    found = outcomes(ledger, run.id)
    accepted = [outcome for outcome in found if outcome.decision == "accepted"]
    counted: Counter[str] = Counter(outcome.decision or "undecided" for outcome in found)
    names = ("accepted", "rejected", "skipped", "undecided")
    return Summary(
        run=run,
        documents={"total": len(found), **{name: counted[name] for name in names}},
        objections={row["code"]: row["rounds"] for row in ledger.query(OBJECTIONS, [run.id])},
        attempts=_attempts(ledger, run.id),
        rounds_mean=_mean(outcome.rounds or None for outcome in found),
        with_rounds=sum(bool(outcome.rounds) for outcome in found),
        weak_mean=_mean(outcome.weak_mean for outcome in accepted),
        strong_mean=_mean(outcome.strong_mean for outcome in accepted),
        gap_mean=_mean(outcome.gap for outcome in accepted),
        gap_interval=_gap_interval([o.gap for o in accepted if o.gap is not None]),
        confirmed=_confirmed(ledger, run.id),
        usage={row.pop("role"): RoleUsage.model_validate(row) for row in ledger.query(USAGE)},
    )


def _attempts(ledger: Ledger, run_id: str) -> dict[str, AttemptCount]:
    rows = ledger.query(FORM, [run_id, FORMAT_NOTE])
    return {row.pop("solver"): AttemptCount.model_validate(row) for row in rows}


def _gap_interval(gaps: list[float]) -> Interval | None:
    """Of the mean gap, by document; None of a single one."""
    return mean_interval([[gap] for gap in gaps], least=-1.0) if len(gaps) > 1 else None


def _confirmed(ledger: Ledger, run_id: str) -> int:
    """Examples that were measured afresh."""
    sql = "select count(*) as n from examples where run_id = ? and confirmed is not null"
    return int(ledger.query(sql, [run_id])[0]["n"])


def _outcome(row: Row) -> Outcome:
    return Outcome.model_validate(row | {"name": from_text(row["name"])})


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
