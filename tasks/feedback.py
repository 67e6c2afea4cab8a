"""What finished rounds teach the next one: verdicts to objections, objections to groups."""

from collections.abc import Sequence

from autodata.tasks.acceptance import summary
from autodata.tasks.types import Code, Objection, Round, Verdict

# The three groups of the paper, section 1; a group without members is left out.
GROUPS: dict[str, frozenset[Code]] = {
    "Too easy": frozenset({"TOO_EASY", "STRONG_SATURATED"}),
    "Failed on strong": frozenset({"STRONG_FAILED", "GAP_TOO_SMALL", "TRUNCATED"}),
    "Not learnable": frozenset({"NOT_LEARNABLE", "WEAK_ALL_ZERO"}),
    "Failed quality check": frozenset({"QUALITY", "MALFORMED", "LEAK"}),
}


def verdict_objections(verdict: Verdict) -> tuple[Objection, ...]:
    """A failed verdict as objections: LEAK when the context gives the answer, else QUALITY."""
    if verdict.passed:
        return ()
    reasons = "; ".join(verdict.problems) or "the verifier gave no reason"
    fixes = f" Fix: {'; '.join(verdict.fixes)}" if verdict.fixes else ""
    return (Objection(code="LEAK" if verdict.leak else "QUALITY", message=reasons + fixes),)


def group_of(round: Round) -> str | None:
    """The group a round falls into, by its first objection; None when there is no objection."""
    if not round.objections:
        return None
    code = round.objections[0].code
    return next((name for name, codes in GROUPS.items() if code in codes), None)


def feedback(rounds: Sequence[Round]) -> str:
    """The rounds that were objected to, grouped, as Markdown for the orchestrator."""
    grouped: dict[str, list[Round]] = {name: [] for name in GROUPS}
    for round in rounds:
        if name := group_of(round):
            grouped[name].append(round)
    parts = [f"## {name}\n" + "\n".join(map(_line, rs)) for name, rs in grouped.items() if rs]
    return "\n\n".join(parts)


def _line(round: Round) -> str:
    """One round: what kind of question, what was scored, what was objected to."""
    candidate, numbers = round.candidate, summary(round)
    kind = candidate.question_type if candidate and candidate.question_type else "unreadable"
    scored = ", ".join(
        f"{name.replace('_mean', '')} {value:.2f}"
        for name, value in numbers.items()
        if value is not None
    )
    asked = f"\n  Question: {' '.join(candidate.question.split())}" if candidate else ""
    objected = "".join(f"\n  {o.code}: {o.message}" for o in round.objections)
    return f"- Round {round.number} ({kind}{'; ' + scored if scored else ''}){asked}{objected}"
