"""A run in numbers: what became of each document, why, and what it cost."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from math import isfinite
from statistics import fmean
from typing import Any

from autodata.ledger.database import from_text
from autodata.ledger.ledger import Ledger
from autodata.ledger.rows import Row, RunRow
from autodata.tasks.judge_noise import Judged, JudgeNoise, judge_noise
from autodata.tasks.measurement import (
    Interval,
    bootstrap,
    cost_interval,
    cost_per_example,
    mean_interval,
    wilson,
)
from autodata.tasks.rubric import by_judgement
from autodata.tasks.types import FORMAT_NOTE, Decision, Frozen, Mark

# Passages of one text count as one document; rows of one table do not.
SOURCE = """coalesce(json_extract(documents.meta, '$.source') || ':'
  || ifnull(json_extract(documents.meta, '$.row'), ''), documents.id)"""

OUTCOMES = f"""
select documents.id as document_id, {SOURCE} as source, documents.name,
  last.decision, last.number as rounds, last.weak_mean, last.strong_mean, last.gap,
  json_extract(last.objections, '$[0].code') as code,
  json_extract(last.objections, '$[0].message') as message
from documents
left join rounds as last
  on last.document_id = documents.id and last.run_id = :run
  and last.decision in ('accepted', 'rejected', 'skipped')
{{where}}
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

# Attempts with several judgements, for which the judge was asked more than once.
JUDGED_AGAIN = f"""
select {SOURCE} as source, round_id, solver, marks from attempts
join rounds on rounds.id = round_id join documents on documents.id = document_id
where run_id = ? and json_array_length(marks, '$[0].votes') > 1 order by attempts.rowid
"""

_CALLS = "count(*) filter (where status != 'failed') as calls"
_USD = """case when count(*) filter (
    where usd is null and (status != 'failed' or lost_tokens > 0 and lost_usd = 0)) = 0
    then total(usd) + total(lost_usd) end as usd"""

USAGE = f"""
select role, {_CALLS},
  total(input_tokens) as input_tokens, total(output_tokens) as output_tokens,
  total(lost_tokens) as lost_tokens, {_USD},
  sum(failures) as failures,
  count(*) filter (where estimated or lost_tokens > 0) as estimated
from calls group by role having calls > 0 or lost_tokens > 0 order by min(id)
"""

COSTS = f"""
select scope as document_id, {_CALLS},
  total(input_tokens) + total(output_tokens) + total(lost_tokens) as tokens, {_USD}
from calls group by scope
"""

# What attempts that no gate has seen show of the examples.
AFRESH = f"""
select {SOURCE} as source, confirmed, confirmed_gap as gap
from examples join documents on documents.id = document_id
where run_id = ? and confirmed is not null order by documents.rowid
"""


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


class Figure(Frozen):
    """A figure of a run and its 95 % interval, by document; None where there is nothing to average,
    and no interval of a single document. An upper end may be infinite."""

    value: float | None = None
    interval: Interval | None = None

    def plain(self, name: str) -> dict[str, Any]:
        """Both as JSON values, null for no upper end."""
        ends = [end if isfinite(end) else None for end in self.interval or ()]
        return {name: self.value, f"{name}_interval": ends or None}


class Summary(Frozen):
    """One run in numbers.

    `documents` counts total, accepted, rejected, skipped and undecided; `objections` counts rounds
    by their first objection, `attempts` those of each side. The pass rate is of documents accepted
    or rejected. Means and gap are those of accepted examples as the gate saw them, 0 … 1;
    `confirmed` of the examples were measured afresh, of which `passed_again` is the share that
    passed and `fresh_gap` the mean gap. `rounds` is the mean of the `with_rounds` documents that
    were decided in a round, not before the first one. `per_example` says what an example took in
    calls, tokens and US dollars (`usd`), documents that gave none included. `judge` says how noisy
    the judge is, where it was asked several times and there is enough to say, and `judge_priced`
    whether what is cheapest there is so in US dollars, not in calls.
    """

    run: RunRow
    documents: Mapping[str, int]
    objections: Mapping[str, int]
    attempts: Mapping[str, AttemptCount]
    pass_rate: Figure
    rounds: Figure
    with_rounds: int = 0
    weak: Figure
    strong: Figure
    gap: Figure
    confirmed: int
    passed_again: Figure
    fresh_gap: Figure
    per_example: Mapping[str, Figure]
    usage: Mapping[str, RoleUsage]
    judge: JudgeNoise | None = None
    judge_priced: bool = False

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
        names = ("documents", "objections", "attempts", "with_rounds", "confirmed", "usage")
        return {
            **self.run.model_dump(mode="json", exclude={"config"}),
            **self.pass_rate.plain("pass_rate"),
            **self.rounds.plain("rounds_mean"),
            **self.weak.plain("weak_mean"),
            **self.strong.plain("strong_mean"),
            **self.gap.plain("gap_mean"),
            **self.passed_again.plain("passed_again"),
            **self.fresh_gap.plain("fresh_gap_mean"),
            **{k: v for n, cost in self.per_example.items() for k, v in cost.plain(n).items()},
            **self.model_dump(mode="json", include=set(names)),
            **self._judge(),
            "calls": self.calls,
            "tokens": self.tokens,
            "usd": self.usd,
            "estimated": self.estimated,
        }

    def _judge(self) -> dict[str, Any]:
        """Nothing where nothing is known of the judge's noise."""
        by = "usd" if self.judge_priced else "calls"
        return {"judge": {**self.judge._asdict(), "cheapest_by": by}} if self.judge else {}


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
    afresh = ledger.query(AFRESH, [run.id])
    usage = {row.pop("role"): RoleUsage.model_validate(row) for row in ledger.query(USAGE)}
    judge, priced = _judge(ledger, run.id, usage)
    return Summary(
        run=run,
        documents={"total": len(found), **{name: counted[name] for name in names}},
        objections={row["code"]: row["rounds"] for row in ledger.query(OBJECTIONS, [run.id])},
        attempts=_attempts(ledger, run.id),
        pass_rate=_share(counted["accepted"], counted["accepted"] + counted["rejected"]),
        rounds=mean_rounds([outcome.rounds for outcome in found if outcome.rounds]),
        with_rounds=sum(bool(outcome.rounds) for outcome in found),
        weak=mean_by_source((outcome.source, outcome.weak_mean) for outcome in accepted),
        strong=mean_by_source((outcome.source, outcome.strong_mean) for outcome in accepted),
        gap=mean_by_source(((outcome.source, outcome.gap) for outcome in accepted), least=-1.0),
        confirmed=len(afresh),
        passed_again=_share(sum(row["confirmed"] for row in afresh), len(afresh)),
        fresh_gap=mean_by_source(((row["source"], row["gap"]) for row in afresh), least=-1.0),
        per_example=_per_example(ledger, found),
        usage=usage,
        judge=judge,
        judge_priced=priced,
    )


def _judge(
    ledger: Ledger, run_id: str, usage: Mapping[str, RoleUsage]
) -> tuple[JudgeNoise | None, bool]:
    """How noisy the judge is, and whether what is cheapest was found by US dollars; else by calls,
    since a price is unknown or nothing was paid."""
    answer = _usd_per_call(usage, "weak_solver", "strong_solver")
    judgement = _usd_per_call(usage, "judge")
    documents = judged_again(ledger, run_id)
    if not documents:
        return None, False
    if answer is None or judgement is None or not answer + judgement:
        return judge_noise(documents, 1.0, 1.0), False
    return judge_noise(documents, answer, judgement), True


def judged_again(ledger: Ledger, run_id: str) -> list[list[Judged]]:
    """The attempts of a run that were judged several times, by document and side at a question."""
    by_source: dict[str, dict[tuple[str, str], list[list[float]]]] = {}
    for row in ledger.query(JUDGED_AGAIN, [run_id]):
        marks = [Mark.model_validate(mark) for mark in json.loads(row["marks"])]
        sides = by_source.setdefault(row["source"], {})
        found = [float(score) for score in by_judgement(marks)]
        sides.setdefault((row["round_id"], row["solver"]), []).append(found)
    return [list(sides.values()) for sides in by_source.values()]


def _usd_per_call(usage: Mapping[str, RoleUsage], *roles: str) -> float | None:
    asked = [usage[role] for role in roles if role in usage]
    spent = [used.usd for used in asked if used.usd is not None]
    calls = sum(used.calls for used in asked)
    return sum(spent) / calls if calls and len(spent) == len(asked) else None


def _attempts(ledger: Ledger, run_id: str) -> dict[str, AttemptCount]:
    rows = ledger.query(FORM, [run_id, FORMAT_NOTE])
    return {row.pop("solver"): AttemptCount.model_validate(row) for row in rows}


def _share(successes: int, trials: int) -> Figure:
    if not trials:
        return Figure()
    return Figure(
        value=successes / trials, interval=wilson(successes, trials) if trials > 1 else None
    )


def mean_rounds(numbers: Sequence[int]) -> Figure:
    """The mean of numbers of rounds, one of each document. No interval where all are alike, since
    draws of them would claim that every other document is, too."""
    if not numbers:
        return Figure()
    within = bootstrap(numbers, fmean) if len(set(numbers)) > 1 else None
    return Figure(value=fmean(numbers), interval=within)


def mean_by_source(values: Iterable[tuple[str, float | None]], least: float = 0.0) -> Figure:
    """The mean of values from `least` to 1, each with the source of its document."""
    by_source: dict[str, list[float]] = {}
    for source, value in values:
        if value is not None:
            by_source.setdefault(source, []).append(value)
    if not by_source:
        return Figure()
    drawn = list(by_source.values())
    within = mean_interval(drawn, least) if len(drawn) > 1 else None
    return Figure(value=fmean(value for one in drawn for value in one), interval=within)


def _per_example(ledger: Ledger, found: Sequence[Outcome]) -> dict[str, Figure]:
    """What an example took of each kind, of the documents that are decided."""
    spent = {row["document_id"]: row for row in ledger.query(COSTS)}
    nothing = {"calls": 0, "tokens": 0, "usd": 0.0}
    decided = [outcome for outcome in found if outcome.decision]
    return {
        f"{kind}_per_example": _cost(
            (outcome, spent.get(outcome.document_id, nothing)[kind]) for outcome in decided
        )
        for kind in nothing
    }


def _cost(costs: Iterable[tuple[Outcome, float | None]]) -> Figure:
    by_source: dict[str, tuple[float, int]] = {}
    for outcome, cost in costs:
        if cost is None:  # a price is unknown
            return Figure()
        before, gave = by_source.get(outcome.source, (0.0, 0))
        by_source[outcome.source] = (before + cost, gave + (outcome.decision == "accepted"))
    parts = list(by_source.values())
    value = cost_per_example(parts)
    if not isfinite(value):
        return Figure()
    return Figure(value=value, interval=cost_interval(parts) if len(parts) > 1 else None)


def _outcome(row: Row) -> Outcome:
    return Outcome.model_validate(row | {"name": from_text(row["name"])})
