"""The gate that knows what it does not know: thresholds on true scores, and fresh attempts.

The thresholds are the paper's. They are held against what the attempts say of the scores that ever
more attempts would tend to (tasks/measurement.py), or against attempts that the gate has not seen.
At the end stands what a gate would have made of recorded rounds that another one decided.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, Self

from autodata.tasks.acceptance import (
    Acceptance,
    CountPolicy,
    Policy,
    Scores,
    Thresholds,
    exact,
    mean,
    missing,
    scores,
    truncated,
    unscored,
    wanted,
)
from autodata.tasks.measurement import (
    SCEPTICAL,
    Bounds,
    Estimate,
    Interval,
    Noise,
    Posterior,
    Prior,
    Sides,
    posterior,
    respread,
    wilson,
)
from autodata.tasks.types import Attempt, Code, Frozen, Objection, Round, Side

LEAST_ATTEMPTS = 2  # of each side before anything is accepted: one says nothing of its own spread


class MeasuredPolicy(Frozen):
    """The thresholds, on the true scores: accepts where they hold with enough certainty.

    One attempt at a time is asked for, of the side that is less settled, until the thresholds hold
    with `certainty` after LEAST_ATTEMPTS of each side, until a new candidate is as likely to pass
    as this one, or until both sides have had all their attempts. A reader who knows nothing of the
    run must be as certain, so that a wrong prior lets nothing in.
    """

    bounds: Bounds
    noise: Noise = "scores"
    prior: Prior = Prior()
    certainty: float = 0.80
    weak_planned: int = 16
    strong_planned: int = 16

    @classmethod
    def of_counts(
        cls, acceptance: Acceptance, weak_attempts: int, strong_attempts: int, prior: Prior
    ) -> Self:
        """Counts of correct attempts as bounds on their true shares.

        A share lies between the last count that passes and the first that does not: at most 1 of 4
        correct is a share below 1.5 / 4. Then the gap follows. Raises ValueError as CountPolicy.of.
        """
        counts = CountPolicy.of(acceptance, weak_attempts, strong_attempts)
        weak_max = (counts.weak_correct_max + 0.5) / weak_attempts
        strong_min = (counts.strong_correct_min - 0.5) / strong_attempts
        return cls(
            bounds=Bounds(weak_max, strong_min, 1.0, max(strong_min - weak_max, 0.0)),
            noise="counts",
            prior=prior,
            certainty=acceptance.certainty,
            weak_planned=acceptance.attempts_max,
            strong_planned=acceptance.attempts_max,
        )

    @property
    def both_sides(self) -> bool:
        return False

    def known(self, weak: Scores, strong: Scores) -> Posterior:
        """What these attempts say of the true scores, to whom of both readers is less certain."""
        doubting = SCEPTICAL.model_copy(
            update=self.prior.model_dump(include={"spread", "attempts"})
        )
        readers = (self.believed(prior, weak, strong) for prior in (self.prior, doubting))
        return min(readers, key=lambda known: known.holds)

    def believed(self, prior: Prior, weak: Scores, strong: Scores) -> Posterior:
        """What they say under a prior."""
        sides = (tuple(map(float, side)) for side in (weak, strong))
        return posterior(prior, self.bounds, *sides, self.noise)

    def estimated(self, prior: Prior, weak: Scores, strong: Scores) -> Posterior:
        """What all attempts at an example say of its true scores under a prior; it `holds` as to
        whom of both readers is less certain."""
        known = self.model_copy(update={"prior": prior}).known(weak, strong)
        return self.believed(prior, weak, strong)._replace(holds=known.holds)

    def after(self, rounds: Sequence[Sides]) -> Self:
        """The policy of a document's next round: the scores of its earlier ones tell how attempts
        scatter, for documents that begin together have no others to learn from."""
        return self.model_copy(update={"prior": respread(self.prior, rounds)})

    def _certain(self, weak: Scores, strong: Scores, known: Posterior) -> bool:
        tried = min(len(weak), len(strong)) >= LEAST_ATTEMPTS
        return tried and known.holds >= self.certainty

    def _hopeless(self, known: Posterior) -> bool:
        """No better than a new candidate, of which nothing is known but the prior."""
        return not known.holds or known.holds < self.known((), ()).holds

    def batch(self, side: Side, weak: Scores, strong: Scores) -> int:
        """One attempt of the less settled side, while it may decide."""
        return int(side == self._turn(weak, strong))

    def _turn(self, weak: Scores, strong: Scores) -> Side | None:
        if not weak:
            return "weak"
        known = self.known(weak, strong)
        left: dict[Side, bool] = {
            "weak": len(weak) < self.weak_planned,
            "strong": len(strong) < self.strong_planned,
        }
        if self._certain(weak, strong, known) or self._hopeless(known) or not any(left.values()):
            return None
        side = known.unsettled
        if known.holds >= self.certainty:
            side = "weak" if len(weak) < len(strong) else "strong"
        return side if left[side] else next(other for other in left if left[other])

    def weak_objections(self, weak: Sequence[Attempt]) -> tuple[Objection, ...]:
        made = scores(weak)
        if unscored(weak) or not made or self._turn(made, ()):
            return unscored(weak)
        found = self._objections(self.known(made, ()))
        # Of the strong side nothing is known yet but what was supposed of it.
        return tuple(o for o in found if o.code == "TOO_EASY") or found

    def objections(self, round: Round) -> tuple[Objection, ...]:
        found = unscored(round.weak) + unscored(round.strong)
        weak, strong = scores(round.weak), scores(round.strong)
        known = self.known(weak, strong)
        if found or not weak or self._certain(weak, strong, known):
            return found
        failed = self._objections(known)
        cut = failed[0].code == "STRONG_FAILED"
        return failed + (truncated(round.strong, "strong") if cut else ())

    def _objections(self, known: Posterior) -> tuple[Objection, ...]:
        """The bounds that probably fail, the worst first; or what stayed undecided."""
        bounds = sorted(_bounds(self.bounds, known), key=lambda bound: bound.holds)
        failed = [bound for bound in bounds if bound.holds < 0.5]
        if self._hopeless(known) and failed:
            return tuple(Objection(code=b.code, message=b.message) for b in failed)
        message = (
            f"undecided: the thresholds hold with probability {known.holds:.2f}, wanted at least "
            f"{self.certainty:.2f}; least sure is the {bounds[0].message}: move it away from there"
        )
        return (Objection(code="NOT_CONFIRMED", message=message),)


class _Bound(NamedTuple):
    """One bound on a true score: what its failure is called, and how likely it holds."""

    code: Code
    holds: float
    message: str


def _bounds(bounds: Bounds, known: Posterior) -> list[_Bound]:
    def said(what: str, at: Estimate, wanted: str) -> str:
        low, high = at.interval
        return f"{what} {at.mean:z.2f} ({low:z.2f} to {high:z.2f}), wanted {wanted}"

    weak, gap = f"below {bounds.weak_max:.2f}", f"at least {bounds.gap_min:.2f}"
    strong = f"at least {bounds.strong_min:.2f}"
    easy = known.strong.mean > bounds.strong_max
    if easy:
        strong = f"below {bounds.strong_max:.2f}"
    return [
        _Bound("TOO_EASY", known.weak_holds, said("weak score", known.weak, weak)),
        _Bound(
            "STRONG_SATURATED" if easy else "STRONG_FAILED",
            known.strong_holds,
            said("strong score", known.strong, strong),
        ),
        _Bound("GAP_TOO_SMALL", known.gap_holds, said("gap", known.gap, gap)),
    ]


def measured(gate: Thresholds, acceptance: Acceptance) -> MeasuredPolicy:
    """The gate's thresholds on true scores of rubrics."""
    most = gate.strong_max if gate.strong_max is not None else 1.0
    return MeasuredPolicy(
        bounds=Bounds(gate.weak_max, gate.strong_min, most, gate.gap_min, gate.weak_max_inclusive),
        certainty=acceptance.certainty,
        weak_planned=acceptance.attempts_max,
        strong_planned=acceptance.attempts_max,
    )


def confirmation(bounds: Bounds, number: int, fresh: Sequence[Attempt]) -> tuple[Objection, ...]:
    """What attempts that the gate has not seen object to; `number` are asked for on each side."""
    if found := unscored(fresh):
        return found
    weak, strong = (scores([a for a in fresh if a.solver == side]) for side in ("weak", "strong"))
    low, high = mean(weak), mean(strong)
    if low is None or high is None or min(len(weak), len(strong)) < number:
        return (Objection(code="MALFORMED", message="it was not confirmed by fresh attempts"),)
    weak_max, most = exact(bounds.weak_max), exact(bounds.strong_max)
    bounded = "at most" if bounds.weak_inclusive else "below"
    low_enough = low < weak_max or (bounds.weak_inclusive and low == weak_max)
    failed = [
        f"{what} {wanted(value, relation, limit)}"
        for what, value, relation, limit, holds in (
            ("weak mean", low, bounded, bounds.weak_max, low_enough),
            ("strong mean", high, "at least", bounds.strong_min, high >= exact(bounds.strong_min)),
            ("strong mean", high, "below", bounds.strong_max, most >= 1 or high < most),
            ("gap", high - low, "at least", bounds.gap_min, high - low >= exact(bounds.gap_min)),
        )
        if not holds
    ]
    if not failed:
        return ()
    message = f"on {number} fresh attempts a side: {'; '.join(failed)}"
    return (Objection(code="NOT_CONFIRMED", message=message),)


class Measurement(NamedTuple):
    """What attempts that the gate has not seen say of a question.

    Attempts are those that could be scored; means and gap are 0 … 1, None where a side has none.
    `holds`: whether the thresholds hold on these means.
    """

    weak_attempts: int
    strong_attempts: int
    weak: float | None
    strong: float | None
    gap: float | None
    holds: bool | None


def measurement(bounds: Bounds, fresh: Sequence[Attempt]) -> Measurement:
    """What fresh attempts say, in any number; marks that stayed malformed say nothing."""
    read = [attempt for attempt in fresh if attempt.score is not None]
    weak, strong = (scores([a for a in read if a.solver == side]) for side in ("weak", "strong"))
    low, high = mean(weak), mean(strong)
    return Measurement(
        len(weak),
        len(strong),
        None if low is None else float(low),
        None if high is None else float(high),
        None if low is None or high is None else float(high - low),
        None if low is None or high is None else not confirmation(bounds, 1, read),
    )


# What another policy would have decided about recorded rounds. Asks nobody, changes nothing.

# open: the record does not say, because attempts or the final check were not needed at the time.
NewDecision = Literal["accepted", "rejected", "open"]

# What policies object to; any other objection stands whatever the thresholds are.
BY_POLICY: frozenset[Code] = frozenset(
    {
        "TOO_EASY",
        "STRONG_FAILED",
        "STRONG_SATURATED",
        "GAP_TOO_SMALL",
        "WEAK_ALL_ZERO",
        "NOT_LEARNABLE",
        "NOT_CONFIRMED",
        "TRUNCATED",
        "FORMAT",
    }
)


class Redecision(NamedTuple):
    """What would have become of a document, in which round, and why it was not accepted."""

    decision: NewDecision
    round: int
    reason: str


class RedecisionCount(NamedTuple):
    """What became of all documents. The share accepted lies between `least`, were every open one
    rejected, and `most`, were every one accepted: 0 … 1, of at least one document."""

    accepted: int
    rejected: int
    open: int

    @property
    def documents(self) -> int:
        """How many were decided anew."""
        return sum(self)

    @property
    def least(self) -> float:
        """The share accepted where no open document would be."""
        return self.accepted / self.documents

    @property
    def most(self) -> float:
        """The share accepted where all open documents would be."""
        return (self.accepted + self.open) / self.documents

    @property
    def interval(self) -> Interval:
        """From the lower end of the one (`wilson`) to the upper end of the other."""
        n = self.documents
        return Interval(wilson(self.accepted, n).low, wilson(self.accepted + self.open, n).high)


class Confirm(NamedTuple):
    """That `number` fresh attempts a side decide as well, by these bounds."""

    number: int
    bounds: Bounds


def redecide(policy: Policy, rounds: Sequence[Round], confirm: Confirm | None = None) -> Redecision:
    """The document's decision under the policy: that of the first round it would not send back.

    `rounds` are those of one document, in order, at least one. Fresh attempts count where `confirm`
    asks for them, as many as it asks for.
    """
    reason = ""
    for number, round in enumerate(rounds):
        gate = policy
        if isinstance(policy, MeasuredPolicy):
            gate = policy.after([earlier.scored for earlier in rounds[:number]])
        reason = _objection(gate, round)
        fresh = _fresh(round, confirm.number) if confirm else ()
        if confirm and fresh and not reason:
            found = confirmation(confirm.bounds, confirm.number, fresh)
            reason = found[0].message if found else ""
        if reason:
            continue
        lacking = missing(gate, round)
        if confirm and not fresh:
            lacking = "it was not confirmed by fresh attempts"
        return Redecision("open" if lacking else "accepted", round.number, lacking)
    return Redecision("rejected", rounds[-1].number, reason)


def _fresh(round: Round, number: int) -> list[Attempt]:
    """The first so many fresh attempts of each side; none where a side has fewer."""
    sides = [[a for a in round.fresh if a.solver == side] for side in ("weak", "strong")]
    enough = min(map(len, sides)) >= number
    return [attempt for made in sides for attempt in made[:number]] if enough else []


def _objection(policy: Policy, round: Round) -> str:
    """Why the round would be sent back; "" when it would not, as far as the record goes and
    whatever fresh attempts say."""
    by_fresh = unscored(round.fresh)
    stands = [o for o in round.objections if o.code not in BY_POLICY and o not in by_fresh]
    if stands or not round.weak:
        return stands[0].message if stands else "no attempt was made"
    weak, strong = scores(round.weak), scores(round.strong)
    found = () if policy.batch("weak", weak, ()) else policy.weak_objections(round.weak)
    if not found and not policy.batch("strong", weak, strong):
        found = policy.objections(round)
    return found[0].message if found else ""


class AcceptedGap(NamedTuple):
    """The gap of an example that would be accepted, −1 … 1: on the attempts that the gate saw, on
    attempts that do not decide, and as all attempts let one estimate the true one."""

    shown: float
    fresh: float | None
    estimated: float


def accepted_gap(round: Round, known: MeasuredPolicy, afresh: float | None) -> AcceptedGap:
    """The gap of an accepted round, and `afresh` on a remeasurement's attempts, where there is one.

    Attempts by which a gate confirmed are not fresh: a round that they sent back has no final check
    on record, so that it is never accepted here. `known` estimates under its own prior. Raises
    ValueError where a side has no score.
    """
    weak, strong = mean(scores(round.weak)), mean(scores(round.strong))
    if weak is None or strong is None:
        raise ValueError(f"round {round.number} was not attempted by both sides")
    made = ([a for a in round.attempts if a.solver == side] for side in ("weak", "strong"))
    estimated = known.believed(known.prior, *map(scores, made)).gap.mean
    return AcceptedGap(float(strong - weak), afresh, estimated)


# Several values of one threshold.

_RANGE = re.compile(r"(\d*\.?\d+)\.\.(\d*\.?\d+)(?:/(\d*\.?\d+))?")  # 0.3..0.6/0.1
RANGE_STEP = 0.05  # where a range states none
VALUES_AT_MOST = 12


def several(given: object) -> tuple[float, ...] | None:
    """The numbers of a list, or of a range: `0.3..0.6`, or `0.3..0.6/0.1` with its step. None where
    it is neither. Raises ValueError, in words, where it holds no or too many numbers."""
    if isinstance(given, list):
        if not all(isinstance(one, int | float) and not isinstance(one, bool) for one in given):
            raise ValueError("a list of numbers is wanted")
        found = list(dict.fromkeys(given))
    elif isinstance(given, str) and (said := _RANGE.fullmatch(given)):
        first, last, step = (float(part or RANGE_STEP) for part in said.groups())
        if not step:
            raise ValueError("the step of a range is above 0")
        count = min(int((last - first) / step + 1 + 1e-9), VALUES_AT_MOST + 1)
        found = [_short(first + n * step) for n in range(count)]
    else:
        return None
    if not 1 <= len(found) <= VALUES_AT_MOST:
        raise ValueError(f"1 to {VALUES_AT_MOST} numbers are wanted, from the least to the largest")
    return tuple(found)


def around(own: float) -> tuple[float, ...]:
    """A threshold and values on either side of it, a tenth apart, between 0 and 1."""
    tried = (_short(own + n / 10) for n in range(-2, 3))
    return tuple(value for value in tried if 0 < value < 1 or value == own)


def _short(value: float) -> float:
    """Without what binary fractions add; a whole number as such, as counts are."""
    near = round(value, 6)
    return int(near) if near == int(near) else near


def marked_again(round: Round, marked: Mapping[tuple[Side, int], Attempt]) -> Round:
    """The round with these attempts, by side and number, in place of its own."""
    sides = {
        name: tuple(marked.get((a.solver, a.number), a) for a in made)
        for name, made in (("weak", round.weak), ("strong", round.strong), ("fresh", round.fresh))
    }
    return round.model_copy(update=sides)


def accepts(policy: Policy, round: Round, confirm: Confirm | None = None) -> bool | None:
    """Whether the policy accepts by a round's attempts; None where an attempt has no score, where
    it would have asked for more, and where objections did not decide at the time (a baseline)."""
    if round.objections or any(attempt.score is None for attempt in round.attempts):
        return None
    decision = redecide(policy, (round,), confirm).decision
    return None if decision == "open" else decision == "accepted"
