"""What another policy would have decided about recorded rounds. Asks nobody, changes nothing."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from autodata.tasks.acceptance import Policy, missing, scores, unscored
from autodata.tasks.measured import MeasuredPolicy, confirmation
from autodata.tasks.measurement import Bounds
from autodata.tasks.types import Attempt, Code, Round

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
