"""A run in numbers: what became of each document, why, what it cost, and how figures are worded."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from math import inf, isfinite
from statistics import fmean
from typing import Any

from autodata.ledger.ledger import OWN_MEASUREMENT, Ledger
from autodata.ledger.rows import (
    AttemptCount,
    Outcome,
    RoleUsage,
    RunRow,
    read_outcome,
    usd_per_call,
)
from autodata.tasks.acceptance import exact
from autodata.tasks.judge_noise import Agreement, JudgeAudit, Judged, JudgeNoise, judge_noise
from autodata.tasks.measurement import (
    Interval,
    bootstrap,
    detectable,
    in_percent,
    mean_interval,
    wilson,
)
from autodata.tasks.rubric import LintCount, by_judgement, count_findings
from autodata.tasks.types import FORMAT_NOTE, Frozen, Mark

# Passages of one text count as one document; rows of one table do not.
SOURCE = """coalesce(json_extract(documents.meta, '$.source') || ':'
  || ifnull(json_extract(documents.meta, '$.row'), ''), documents.id)"""

OUTCOMES = f"""
select documents.id as document_id, {SOURCE} as source, documents.name,
  last.decision, last.number as rounds, last.weak_mean, last.strong_mean, last.gap,
  json_extract(last.objections, '$[0]') as objection
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

WAITING = """select (select count(distinct document_id) from waiting where run_id = ?1)
  + (select count(*) from waiting_edits where run_id = ?1) as both"""

ANSWERED = "count(*) filter (where status != 'failed') as calls"
COST_USD = """case when count(*) filter (
    where usd is null and (status != 'failed' or lost_tokens > 0 and lost_usd = 0)) = 0
    then total(usd) + total(lost_usd) end as usd"""

USAGE = f"""
select role, {ANSWERED},
  total(input_tokens) as input_tokens, total(output_tokens) as output_tokens,
  total(lost_tokens) as lost_tokens, {COST_USD},
  sum(failures) as failures,
  count(*) filter (where estimated or lost_tokens > 0) as estimated
from calls group by role having calls > 0 or lost_tokens > 0 order by min(id)
"""

COSTS = f"""
select scope as document_id, {ANSWERED},
  total(input_tokens) + total(output_tokens) + total(lost_tokens) as tokens, {COST_USD}
from calls group by scope
"""

# What attempts that no gate has seen show of the examples.
AFRESH = f"""
select {SOURCE} as source, own.holds, own.gap
from examples as e join documents on documents.id = document_id join {OWN_MEASUREMENT}
where e.run_id = ? order by documents.rowid
"""

# Means of the attempts by which the gate confirmed an example `e`; these decided, too.
BY_GATE = {
    side: "(select avg(score) from attempts"
    f" where round_id = e.round_id and fresh and solver = '{side}')"
    for side in ("weak", "strong")
}
BY_GATE["gap"] = f"({BY_GATE['strong']} - {BY_GATE['weak']})"
CONFIRMED_BY_GATE = f"""
select {SOURCE} as source, {", ".join(f"{mean} as {name}" for name, mean in BY_GATE.items())}
from examples as e join documents on documents.id = document_id
where e.run_id = ? and confirmed is not null and {BY_GATE["gap"]} is not null
order by documents.rowid
"""


class Figure(Frozen):
    """A figure of a run and its 95 % interval, by document; None where there is nothing to average,
    and no interval of a single document. An upper end may be infinite."""

    value: float | None = None
    interval: Interval | None = None

    def plain(self, name: str) -> dict[str, Any]:
        """Both as JSON values, null for no upper end."""
        ends = [end if isfinite(end) else None for end in self.interval or ()]
        return {name: self.value, f"{name}_interval": ends or None}


class GateConfirmed(Frozen):
    """How many examples the gate confirmed on fresh attempts, and what these come to."""

    examples: int
    weak: Figure
    strong: Figure
    gap: Figure

    def plain(self) -> dict[str, Any]:
        """All of it as JSON values."""
        sides = {"weak": self.weak, "strong": self.strong, "gap": self.gap}
        means = [figure.plain(f"{name}_mean") for name, figure in sides.items()]
        return {"examples": self.examples, **means[0], **means[1], **means[2]}


class Summary(Frozen):
    """One run in numbers.

    `documents` counts total, accepted, rejected, skipped and undecided; `objections` counts rounds
    by their first objection, `attempts` those of each side. The pass rate is of documents accepted
    or rejected. Means and gap are those of accepted examples as the gate saw them, 0 … 1;
    `confirmed` of the examples were measured afresh, of which `passed_again` is the share that
    passed and `fresh_gap` the mean gap; `confirmed_by_gate` tells of those that fresh
    attempts confirmed at the gate. `rounds` is the mean of the `with_rounds` documents that were
    decided in a round, not before the first one. `per_example` says what an example took in
    calls, tokens and US dollars (`usd`), documents that gave none included. `judge` says how noisy
    the judge is, where it was asked several times and there is enough to say, and `judge_priced`
    whether what is cheapest there is so in US dollars, not in calls; `judge_agreement` how far its
    judgements of one answer agree. `rubrics` says what the linter finds of the accepted ones,
    `audits` what second judges do. `waiting` undecided documents, or edits, wait for a review.
    `unobjected` accepted ones have no objection on record: of a baseline, those that the gate would
    accept, too.
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
    confirmed_by_gate: GateConfirmed | None = None
    per_example: Mapping[str, Figure]
    usage: Mapping[str, RoleUsage]
    judge: JudgeNoise | None = None
    judge_priced: bool = False
    judge_agreement: Agreement | None = None
    rubrics: LintCount | None = None
    audits: Sequence[JudgeAudit] = ()
    waiting: int = 0
    unobjected: int = 0

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
        method = self.run.baseline
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
            "confirmed_by_gate": self.confirmed_by_gate and self.confirmed_by_gate.plain(),
            **{k: v for n, cost in self.per_example.items() for k, v in cost.plain(n).items()},
            **self.model_dump(mode="json", include=set(names)),
            **self._judge(),
            "calls": self.calls,
            "tokens": self.tokens,
            "usd": self.usd,
            "estimated": self.estimated,
            "waiting": self.waiting,
            **({"baseline": method, "unobjected": self.unobjected} if method else {}),
        }

    def _judge(self) -> dict[str, Any]:
        """Nothing where nothing is known of the judge's noise, or of rubrics."""
        by = "usd" if self.judge_priced else "calls"
        found: dict[str, Any] = {
            "judge": self.judge and {**self.judge._asdict(), "cheapest_by": by},
            "judge_agreement": self.judge_agreement and self.judge_agreement._asdict(),
            "rubrics": self.rubrics
            and {**self.rubrics._asdict(), "interval": self.rubrics.interval},
            "audits": [audit.plain() for audit in self.audits],
        }
        return {name: said for name, said in found.items() if said}


def outcomes(ledger: Ledger, run_id: str, document_id: str | None = None) -> list[Outcome]:
    """The outcome of every document of the folder, or of one, in the order they were added."""
    one = "where documents.id = :document" if document_id else ""
    rows = ledger.query(OUTCOMES.format(where=one), {"run": run_id, "document": document_id})
    return [read_outcome(row) for row in rows]


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
    sources = {outcome.document_id: outcome.source for outcome in found}
    return Summary(
        run=run,
        documents={"total": len(found), **{name: counted[name] for name in names}},
        objections={row["code"]: row["rounds"] for row in ledger.query(OBJECTIONS, [run.id])},
        attempts=_attempts(ledger, run.id),
        pass_rate=proportion(counted["accepted"], counted["accepted"] + counted["rejected"]),
        rounds=mean_rounds([outcome.rounds for outcome in found if outcome.rounds]),
        with_rounds=sum(bool(outcome.rounds) for outcome in found),
        weak=mean_by_source((outcome.source, outcome.weak_mean) for outcome in accepted),
        strong=mean_by_source((outcome.source, outcome.strong_mean) for outcome in accepted),
        gap=mean_by_source(((outcome.source, outcome.gap) for outcome in accepted), least=-1.0),
        confirmed=len(afresh),
        passed_again=proportion(sum(row["holds"] for row in afresh), len(afresh)),
        fresh_gap=mean_by_source(((row["source"], row["gap"]) for row in afresh), least=-1.0),
        confirmed_by_gate=_confirmed_by_gate(ledger, run.id),
        per_example=_per_example(ledger, found),
        usage=usage,
        judge=judge,
        judge_priced=priced,
        judge_agreement=ledger.judge_agreement(run.id, sources),
        rubrics=count_findings(ledger.accepted_rubrics(run.id)),
        audits=ledger.audits(run.id, sources),
        waiting=ledger.query(WAITING, [run.id])[0]["both"],
        unobjected=sum(outcome.code is None for outcome in accepted),
    )


def _confirmed_by_gate(ledger: Ledger, run_id: str) -> GateConfirmed | None:
    rows = ledger.query(CONFIRMED_BY_GATE, [run_id])
    if not rows:
        return None
    weak, strong, gap = (
        mean_by_source(((row["source"], row[name]) for row in rows), least)
        for name, least in (("weak", 0.0), ("strong", 0.0), ("gap", -1.0))
    )
    return GateConfirmed(examples=len(rows), weak=weak, strong=strong, gap=gap)


def _judge(
    ledger: Ledger, run_id: str, usage: Mapping[str, RoleUsage]
) -> tuple[JudgeNoise | None, bool]:
    """How noisy the judge is, and whether what is cheapest was found by US dollars; else by calls,
    since a price is unknown or nothing was paid."""
    answer = usd_per_call(usage, "weak_solver", "strong_solver")
    judgement = usd_per_call(usage, "judge")
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


def _attempts(ledger: Ledger, run_id: str) -> dict[str, AttemptCount]:
    rows = ledger.query(FORM, [run_id, FORMAT_NOTE])
    return {row.pop("solver"): AttemptCount.model_validate(row) for row in rows}


def proportion(successes: int, trials: int) -> Figure:
    """A share with its interval; nothing where nothing was tried."""
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


def cost_interval(documents: Sequence[tuple[float, int]]) -> Interval:
    """The interval of what an example costs: what each document cost, and the examples it gave.

    By `bootstrap`; documents that gave none cost, too. Without an upper end (infinite) where a draw
    may hold none that gave one. Where all did, draws cannot vary their share: then the end is that
    of its least by `wilson`. Raises ValueError below two documents.
    """
    low, high = bootstrap(documents, cost_per_example)
    n = len(documents)
    return Interval(low, high / wilson(n, n).low if all(gave for _, gave in documents) else high)


def cost_per_example(documents: Sequence[tuple[float, int]]) -> float:
    """What the documents cost for each example that they gave; infinite where they gave none."""
    examples = sum(gave for _, gave in documents)
    return sum(cost for cost, _ in documents) / examples if examples else inf


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


# How figures are worded, on every screen, page and card.

NOTICE = "Simulated models: these numbers show that the loop works, not how good a model is."

# What moves a cursor, clears a screen or sets a title; what turns the direction of writing round.
_COMMANDS = (*range(0x20), 0x7F, *range(0x80, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A))
_HARMLESS = {
    code: 0x2400 + code if code < 0x20 else 0xFFFD for code in _COMMANDS if chr(code) not in "\n\t"
}


def harmless(text: str) -> str:
    """The text with control characters made visible; line breaks and tabs stay."""
    return text if text.isprintable() else text.translate(_HARMLESS)


def number(value: float | None) -> str:
    """A score, mean or gap."""
    return "–" if value is None else f"{value:z.2f}"


def tokens(count: int, estimated: int) -> str:
    """A number of tokens; an upper bound when some calls are `estimated`."""
    return f"{'at most ' if estimated else ''}{count:,} tokens"


def cost(usd: float | None, models: Iterable[str], estimated: int = 0) -> str:
    """What calls of these models (`endpoint/model`) cost; an unknown price stays unknown.

    An upper bound when some calls are `estimated`, since the endpoint did not count their tokens.
    """
    if not usd and all("/simulated" in f"/{name}" for name in models):
        return "no cost (simulated)"
    if usd is None:
        return "cost unknown (state the missing price under `prices`)"
    return f"{'at most ' if estimated else ''}${usd:.4f}"


def rounds(count: int | None) -> str:
    """A number of rounds."""
    return f"{count or 0} round{'' if count == 1 else 's'}"


def waiting_line(count: int) -> str:
    """`4 wait for review`."""
    return f"{count} wait{'s' if count == 1 else ''} for review"


def one_line(text: str) -> str:
    """Text with its line breaks and repeated spaces made single spaces."""
    return " ".join(text.split())


def within(interval: Interval | None, worded: Callable[[float], str] = number) -> str:
    """` (0.33–0.51)`: the 95 % interval of a figure in brackets; nothing where there is none."""
    if interval is None:
        return ""
    low, high = interval
    return f" ({worded(low)}–{worded(high)})" if isfinite(high) else f" ({worded(low)} or more)"


def estimate(mean: float | None, low: float | None, high: float | None) -> str:
    """`0.41 (0.33–0.51)`: a true score with its 95 % interval."""
    return f"{number(mean)}{within(None if low is None or high is None else Interval(low, high))}"


def share(successes: int, trials: int, what: str = "accepted") -> str:
    """`12 of 31 accepted (39 %, 24–57)`; of a single trial nothing can be said."""
    within = in_percent(wilson(successes, trials)) if trials > 1 else ""
    rate = f" ({100 * successes / trials:.0f} %, {within})" if within else ""
    return f"{successes} of {trials} {what}{rate}"


def would_show(rate: float, documents: int) -> str:
    """Which difference from this rate so many documents would show."""
    gain = detectable(rate, documents)
    least = f"only a difference of {100 * gain:.0f} points" if gain else "no difference"
    return f"with {documents} document{'' if documents == 1 else 's'} {least} would show"


def attempts_each(made: Sequence[int]) -> str:
    """`3 to 9 attempts a side`: as many as examples have."""
    if not made:
        return "no attempt yet"
    least, most = min(made), max(made)
    counted = f"{least}" if least == most else f"{least} to {most}"
    return f"{counted} attempt{'' if most == 1 else 's'} a side"


def passed_again(passed: int, measured: int) -> str:
    """`27 of 52 passed again (52 %, 39–65)`."""
    if not measured:
        return "no example is measured afresh"
    return share(passed, measured, "passed again")


def ends(found: Interval | None) -> str:
    """`0.41 to 0.53`; a single document has none."""
    return "–" if found is None else f"{number(found.low)} to {number(found.high)}"


def told_from(value: float | None, limits: Sequence[float]) -> str:
    """`0.6496`: a score, with as many decimals as tell it from these."""
    said = number(value)
    alike = value is not None and any(
        said == number(limit) and exact(value) != exact(limit) for limit in limits
    )
    return f"{value:.4f}" if alike else said


def summary_rows(summary: Summary) -> Iterator[tuple[str, str]]:
    """All but the documents by their outcome: a name and what is said of it."""
    if summary.waiting:
        yield "review", f"{waiting_line(summary.waiting)}; `autodata review` asks you about each"
    yield from pass_rate_row(summary)
    if method := summary.run.baseline:
        what = "examples keep the thresholds, which chose none of them"
        kept = share(summary.unobjected, summary.documents["accepted"], what)
        yield "baseline", f"{method}, in one shot: {kept}"
    if summary.rounds.value is not None:
        each = f"{summary.rounds.value:.1f}{within(summary.rounds.interval, '{:.1f}'.format)}"
        none = summary.documents["total"] - summary.documents["undecided"] - summary.with_rounds
        apart = f", {none} without a round apart" if none else ""
        yield "rounds", f"{each} per document on average{apart}"
    if summary.objections:
        said = ", ".join(f"{code} {n}" for code, n in summary.objections.items())
        yield "objections", f"{said} (rounds, by their first objection)"
    yield from example_rows(summary)
    if any(count.format_errors for count in summary.attempts.values()):
        said = ", ".join(
            f"{side} {count.format_errors + count.cut_off} of {count.made}"
            for side, count in sorted(summary.attempts.items(), reverse=True)
        )
        yield "form", f"{said} attempts failed without a final answer that could be read"
    if summary.judge_agreement:
        yield "judgements", f"two of one answer agree on {summary.judge_agreement.said}"
    if summary.judge:
        yield "judge", summary.judge.said(priced=summary.judge_priced)
    for audit in summary.audits:
        yield "audit", audit.said
    if summary.rubrics and summary.rubrics.found:
        yield "rubrics", summary.rubrics.said
    spent = cost(summary.usd, summary.run.models.values(), summary.estimated)
    used = tokens(summary.tokens, summary.estimated)
    yield "calls", f"{summary.calls:,} with {used}, {spent}"
    if said := ", ".join(_each_took(summary)):
        yield "per example", said
    if summary.estimated:
        calls = "1 call" if summary.estimated == 1 else f"{summary.estimated:,} calls"
        yield "estimates", f"the tokens of {calls} are not known and taken at their most"
    yield "prompts", summary.run.prompts_revision


def pass_rate_row(summary: Summary) -> Iterator[tuple[str, str]]:
    """Its one row, or none where too few documents were decided to say anything."""
    accepted, rejected = summary.documents["accepted"], summary.documents["rejected"]
    if accepted + rejected > 1:
        yield "pass rate", share(accepted, accepted + rejected)


def example_rows(summary: Summary) -> Iterator[tuple[str, str]]:
    """What the gate saw of the examples, and what fresh attempts show."""
    if not summary.documents["accepted"]:
        return
    sides = {"weak": summary.weak, "strong": summary.strong, "gap": summary.gap}
    yield "shown", ", ".join(f"{name} {_score(figure)}" for name, figure in sides.items())
    if gate := summary.confirmed_by_gate:
        means = f"weak {_score(gate.weak)}, strong {_score(gate.strong)}, gap {_score(gate.gap)}"
        yield "confirmed", f"{gate.examples} by the gate on fresh attempts: {means}"
        yield "", "these decided, too, so that they flatter, if less"
    if summary.confirmed < summary.documents["accepted"]:
        seen = "of all attempts" if summary.run.baseline else "as the gate saw them"
        yield "", f"{seen}; `autodata remeasure` measures afresh"
    if summary.confirmed:
        passed = round(summary.confirmed * (summary.passed_again.value or 0.0))
        again = share(passed, summary.confirmed, "passed again")
        yield "afresh", f"{again}, gap {_score(summary.fresh_gap)}"


def _score(figure: Figure) -> str:
    return f"{number(figure.value)}{within(figure.interval)}"


def _each_took(summary: Summary) -> Iterator[str]:
    """What an example took in calls, and in money or, where there is no price, tokens."""
    calls, used, usd = (summary.per_example[f"{k}_per_example"] for k in ("calls", "tokens", "usd"))
    if calls.value is None or used.value is None:
        return
    whole = "{:,.0f}".format
    yield f"{whole(calls.value)} calls{within(calls.interval, whole)}"
    if usd.value:
        yield f"${usd.value:.4f}{within(usd.interval, '{:.4f}'.format)}"
    else:
        yield f"{whole(used.value)} tokens{within(used.interval, whole)}"
