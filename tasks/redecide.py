"""What recorded rounds bear out, by their own policy or another. Asks nobody, changes nothing."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

from autodata.tasks.acceptance import Policy, scores
from autodata.tasks.rubric import score as rubric_score
from autodata.tasks.task import Task, final_filters
from autodata.tasks.types import Attempt, Candidate, Code, Document, Objection, Round

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
        "TRUNCATED",
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
        if missing := _missing(policy, round):
            return Redecision("open", round.number, missing)
        return Redecision("accepted", round.number, "")
    return Redecision("rejected", rounds[-1].number, _objection(policy, rounds[-1]))


def _objection(policy: Policy, round: Round) -> str:
    """Why the round would be sent back; "" when it would not, as far as the record goes."""
    stands = [o for o in round.objections if o.code not in BY_POLICY]
    if stands or not round.weak:
        return stands[0].message if stands else "no attempt was made"
    weak, strong = scores(round.weak), scores(round.strong)
    found = policy.weak_objections(round.weak) if policy.weak_settled(weak) else ()
    if not found and policy.strong_settled(weak, strong):
        found = policy.objections(round)
    return found[0].message if found else ""


def _missing(policy: Policy, round: Round) -> str:
    """What would have been asked for and is not on record."""
    weak, strong = scores(round.weak), scores(round.strong)
    if not policy.weak_settled(weak):
        return "more weak attempts would have been made"
    if not policy.strong_settled(weak, strong):
        return "more strong attempts would have been made"
    return "" if round.final_verdict else "the final check was not made"


def objections_on_record(
    task: Task, policy: Policy, document: Document, round: Round, answers: Mapping[int, str]
) -> tuple[Objection, ...]:
    """Every reason why what is on record does not bear out an acceptance; empty when it does.

    Both verdicts passed this very candidate, each score follows from marks on its rubric, each
    answer is one that its solver gave (`answers`: call id → text), no attempt is missing, and
    neither the locked filters nor the policy object.
    """
    if round.candidate is None:
        return (Objection(code="MALFORMED", message="there is no candidate"),)
    missing = [*unverified(round), *unscored_by_us(round), *_unheard(round, answers)]
    if not missing and task.judged_by_loop and round.judgement is None:
        missing = ["the loop judge did not read the round"]
    objections = tuple(Objection(code="MALFORMED", message=reason) for reason in missing)
    objections += final_filters(task, round.candidate, document) + policy.objections(round)
    if not objections and (lacking := _missing(policy, round)):
        objections = (Objection(code="MALFORMED", message=lacking),)
    return objections


def unverified(round: Round) -> Iterator[str]:
    """Both verdicts must be there, passed, and about this very candidate."""
    asked = round.candidate.fingerprint if round.candidate else ""
    for who, verdict in (("verifier", round.verdict), ("final verifier", round.final_verdict)):
        if verdict is None or not verdict.passed:
            yield f"the {who} did not pass it"
        elif verdict.fingerprint != asked:
            yield f"the {who} passed another candidate"


def unscored_by_us(round: Round) -> Iterator[str]:
    """Each side was attempted, and scores follow from marks on the candidate's rubric."""
    for side, attempts in (("weak", round.weak), ("strong", round.strong)):
        if [(a.solver, a.number) for a in attempts] != [
            (side, number) for number in range(1, len(attempts) + 1)
        ]:
            yield f"the {side} attempts are not numbered as they were made"
        if not attempts:
            yield f"there is no {side} attempt"
    for attempt in (*round.weak, *round.strong):
        name = f"{attempt.solver} attempt {attempt.number}"
        if attempt.score is None or not attempt.marks:
            yield f"{name} has no marks"
        elif [(mark.criterion, mark.weight) for mark in attempt.marks] != _agreed(round.candidate):
            yield f"{name} was marked by another rubric"
        elif attempt.score != float(rubric_score(attempt.marks)):
            yield f"{name} scored {attempt.score}, its marks come to another score"


def _agreed(candidate: Candidate | None) -> list[tuple[str, int]]:
    return [(c.criterion, c.weight) for c in candidate.rubric] if candidate else []


def _unheard(round: Round, answers: Mapping[int, str]) -> Iterator[str]:
    """Answers that no solver's recorded call gave; a lone surrogate is recorded as a `?`."""
    attempt: Attempt
    for attempt in (*round.weak, *round.strong):
        given = attempt.answer.encode("utf-8", "replace").decode()
        if attempt.call_id is None or answers.get(attempt.call_id) != given:
            yield f"{attempt.solver} attempt {attempt.number} is not an answer on record"
