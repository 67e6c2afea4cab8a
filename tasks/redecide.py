"""What another policy would have decided about recorded rounds. Asks nobody, changes nothing."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from autodata.tasks.acceptance import Policy, missing, scores
from autodata.tasks.types import Code, Round

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


def redecide(policy: Policy, rounds: Sequence[Round]) -> Redecision:
    """The document's decision under the policy: that of the first round it would not send back.

    `rounds` are those of one document, in order, at least one.
    """
    for round in rounds:
        reason = _objection(policy, round)
        if reason:
            continue
        if lacking := missing(policy, round):
            return Redecision("open", round.number, lacking)
        return Redecision("accepted", round.number, "")
    return Redecision("rejected", rounds[-1].number, _objection(policy, rounds[-1]))


def _objection(policy: Policy, round: Round) -> str:
    """Why the round would be sent back; "" when it would not, as far as the record goes."""
    stands = [o for o in round.objections if o.code not in BY_POLICY]
    if stands or not round.weak:
        return stands[0].message if stands else "no attempt was made"
    weak, strong = scores(round.weak), scores(round.strong)
    found = () if policy.batch("weak", weak, ()) else policy.weak_objections(round.weak)
    if not found and not policy.batch("strong", weak, strong):
        found = policy.objections(round)
    return found[0].message if found else ""
