"""Acceptance: when is an example at the right difficulty? Reads like the paper's table.

A policy is a value that answers four questions about the attempts of one round. Scores are
compared as exact fractions, so 0.8 − 0.6 counts as 0.20.
"""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import lru_cache, partial
from typing import Any, Literal, Protocol, Self

from pydantic import Field

from autodata.tasks.types import Attempt, Code, Frozen, Objection, Round, Side, Verdict

Preset = Literal["paper", "deployed", "measured"]
ZeroRule = Literal["any", "all", "off"]
Scores = Sequence[Fraction]


@lru_cache(maxsize=4096)
def exact(value: float) -> Fraction:
    """The rational that a float stands for.

    Scores are ratios of sums of at most 40 integer weights up to 10, or means of at most nine of
    these, and thresholds are short decimals, so the nearest fraction with a denominator up to
    10,000 is the intended one.
    """
    return Fraction(value).limit_denominator(10_000)


def scores(attempts: Sequence[Attempt]) -> tuple[Fraction, ...]:
    """The exact scores of the attempts that could be scored, in order."""
    return tuple(exact(a.score) for a in attempts if a.score is not None)


def mean(values: Scores) -> Fraction | None:
    """The exact mean, or None of nothing."""
    return sum(values, Fraction(0)) / len(values) if values else None


def wanted(value: Fraction, relation: str, limit: float) -> str:
    """`0.72, wanted below 0.50`; four decimals where two do not tell the value from the limit."""
    alike = value != exact(limit) and f"{float(value):.2f}" == f"{limit:.2f}"
    return f"{float(value):z.{4 if alike else 2}f}, wanted {relation} {limit:.2f}"


class Acceptance(Frozen):
    """What the configuration says about acceptance: a preset, and what to change in it.

    Means, best scores and the gap lie in 0 … 1; counts of correct attempts in 0 … attempts.
    """

    preset: Preset = Field(
        "paper",
        description="thresholds of the paper's prose, or as deployed; measured: the prose's, on "
        "what attempts say of the true scores",
    )
    weak_max: float | None = Field(None, ge=0, le=1, description="highest weak mean")
    weak_best_max: float | None = Field(None, ge=0, le=1, description="highest single weak score")
    strong_min: float | None = Field(None, ge=0, le=1, description="lowest strong mean")
    strong_max: float | None = Field(None, ge=0, le=1, description="strong mean stays below this")
    gap_min: float | None = Field(None, ge=0, le=1, description="lowest strong mean − weak mean")
    zero_rule: ZeroRule | None = Field(None, description="no single zero, not all zero, or off")
    weak_correct_max: int = Field(1, ge=0, description="counted: most correct weak attempts")
    strong_correct_min: int = Field(3, ge=0, description="counted: fewest correct strong attempts")
    certainty: float = Field(
        0.80, gt=0.5, lt=1, description="measured: least probability that the thresholds truly hold"
    )
    attempts_max: int = Field(
        16, ge=2, le=64, description="measured: most attempts of a side at one question"
    )
    confirm: int | None = Field(
        None, ge=2, le=64, description="fresh attempts a side, unseen by the gate, that decide"
    )


class Thresholds(Frozen):
    """A numeric gate. Every bound but `weak_max` (see its flag) and `strong_max` is inclusive."""

    weak_max: float
    weak_max_inclusive: bool
    weak_best_max: float = 1.0
    strong_min: float
    strong_max: float | None = None
    gap_min: float
    zero_rule: ZeroRule = "off"


# Paper, section 2: the prose (our default), and the prompt that ran.
_PROSE = Thresholds(weak_max=0.50, weak_max_inclusive=False, strong_min=0.65, gap_min=0.20)
PRESETS: dict[Preset, Thresholds] = {
    "paper": _PROSE,
    "measured": _PROSE,
    "deployed": Thresholds(
        weak_max=0.65,
        weak_max_inclusive=True,
        weak_best_max=0.75,
        strong_min=0.60,
        strong_max=0.95,
        gap_min=0.20,
        zero_rule="any",
    ),
}


def thresholds(acceptance: Acceptance) -> Thresholds:
    """The preset's thresholds with the configured changes."""
    changes = {
        name: value
        for name in Thresholds.model_fields
        if (value := getattr(acceptance, name, None)) is not None
    }
    return PRESETS[acceptance.preset].model_copy(update=changes)


def keepable(gate: Thresholds, *, truly: bool = False) -> Thresholds:
    """The gate, if some scores keep all its bounds. Raises ValueError where none can.

    `truly`: the bounds are on true scores, which are never exactly 0 or 1.
    """
    top = Fraction(1) if gate.strong_max is None else exact(gate.strong_max)
    below_top = truly or gate.strong_max is not None
    above_zero = truly or gate.zero_rule != "off"
    bound = "1" if gate.strong_max is None else f"acceptance.strong_max, {gate.strong_max:g}"
    wrong = ""
    if exact(gate.weak_max) == 0 and (above_zero or not gate.weak_max_inclusive):
        wrong = "acceptance.weak_max is 0, and no weak score is below that"
    elif exact(gate.weak_best_max) == 0 and gate.zero_rule != "off":
        wrong = "acceptance.weak_best_max is 0, and acceptance.zero_rule forbids zeros"
    elif below_top and exact(gate.strong_min) >= top:
        wrong = (
            f"acceptance.strong_min is {gate.strong_min:g}, and strong scores stay below {bound}"
        )
    elif (gap := exact(gate.gap_min)) > top or (gap == top and (below_top or above_zero)):
        wrong = f"acceptance.gap_min is {gate.gap_min:g}, and gaps stay below {bound}"
    if wrong:
        raise ValueError(f"{wrong}: nothing could be accepted")
    return gate


class Policy(Protocol):
    """Decides on the attempts of one round; a pure function of values throughout."""

    @property
    def weak_planned(self) -> int:
        """Most weak attempts at one question."""

    @property
    def strong_planned(self) -> int:
        """Most strong attempts at one question."""

    @property
    def both_sides(self) -> bool:
        """True when both solvers are asked every round, whatever the weak side scored."""

    def weak_objections(self, weak: Sequence[Attempt]) -> tuple[Objection, ...]:
        """What the weak attempts alone object to; empty lets the strong solver be asked."""

    def objections(self, round: Round) -> tuple[Objection, ...]:
        """Every reason not to accept the round; empty accepts it."""

    def batch(self, side: Side, weak: Scores, strong: Scores) -> int:
        """How many attempts of a side to ask for at once now: 0 where none of it can change the
        decision on the round, or where it is the other side's turn."""


class WeakFirst(Frozen):
    """The weak side is asked first, then the strong one, each until it is settled."""

    weak_planned: int
    strong_planned: int

    @abstractmethod
    def weak_settled(self, weak: Scores) -> bool:
        """True when no further weak attempt can change the decision on the round."""

    @abstractmethod
    def strong_settled(self, weak: Scores, strong: Scores) -> bool:
        """True when no further strong attempt can change the decision on the round."""

    def batch(self, side: Side, weak: Scores, strong: Scores) -> int:
        """The fewest attempts of a side after which it may be settled."""
        if side == "weak":
            return next_batch(self.weak_settled, weak, self.weak_planned)
        settled = partial(self.strong_settled, weak)
        return next_batch(settled, strong, self.strong_planned)


def next_batch(settled: Callable[[Scores], bool], made: Scores, planned: int) -> int:
    """How many attempts to ask for at once: the fewest after which `settled` may hold.

    Scores of 0 and 1 settle a side fastest, so no attempt asked for this way could have been
    spared by asking one at a time. Returns 0 when `made` is settled or complete; a side without an
    attempt never is.
    """
    left = planned - len(made)
    if left <= 0 or (made and settled(made)):
        return 0
    for size in range(1, left):
        if any(settled([*made, *[Fraction(end)] * size]) for end in (0, 1)):
            return size
    return left


def unscored(attempts: Sequence[Attempt]) -> tuple[Objection, ...]:
    """MALFORMED for each attempt that the judge could not mark: it is never a silent zero."""
    return tuple(
        Objection(
            code="MALFORMED",
            message=f"the judge's marks of {a.solver} attempt {a.number} stayed malformed: "
            f"{a.note}; write criteria that can be judged one by one",
        )
        for a in attempts
        if a.score is None
    )


def unattempted(round: Round) -> tuple[Objection, ...]:
    """MALFORMED for each side without an attempt: nothing is accepted unasked."""
    sides = (("weak", round.weak), ("strong", round.strong))
    return tuple(
        Objection(code="MALFORMED", message=f"there is no {side} attempt")
        for side, made in sides
        if not made
    )


def truncated(attempts: Sequence[Attempt], side: Side) -> tuple[Objection, ...]:
    """TRUNCATED when answers of a side ran into the token limit (they score 0)."""
    cut = sum(a.truncated for a in attempts)
    if not cut:
        return ()
    message = (
        f"{cut} of {len(attempts)} {side} answers ran into the token limit; ask for less to write"
    )
    return (Objection(code="TRUNCATED", message=message),)


def by_form(attempts: Sequence[Attempt], side: Side) -> tuple[Objection, ...]:
    """FORMAT when most failures of a side are of form: cut off, or no final answer to compare.

    Such a round says how a model writes, not how hard the question is.
    """
    failed = [a for a in attempts if a.score is not None and a.score < 1]
    formless = sum(a.format_error or a.truncated for a in failed)
    if 2 * formless <= len(failed):
        return ()
    message = (
        f"{formless} of {len(failed)} failed {side} attempts end without a final answer that can "
        "be read: that is no difficulty"
    )
    return (Objection(code="FORMAT", message=message),)


def _mean_bounds(made: Scores, planned: int) -> tuple[Fraction, Fraction]:
    left = max(planned - len(made), 0)
    total = sum(made, Fraction(0))
    return total / (len(made) + left), (total + left) / (len(made) + left)


class ThresholdPolicy(WeakFirst):
    """Rubric thresholds on the means of both sides."""

    gate: Thresholds

    @property
    def both_sides(self) -> bool:
        return False

    def _above_weak_max(self, value: Fraction) -> bool:
        limit = exact(self.gate.weak_max)
        return value > limit if self.gate.weak_max_inclusive else value >= limit

    def _gap_out_of_reach(self, weak: Fraction) -> bool:
        """True when no strong mean is far enough above this weak mean."""
        most, gap = self.gate.strong_max, exact(self.gate.gap_min)
        return 1 - weak < gap if most is None else exact(most) - weak <= gap

    def _zeros_forbid(self, made: Scores, planned: int) -> bool:
        """True when the zeros among `made` already break the zero rule."""
        if self.gate.zero_rule == "any":
            return 0 in made
        return self.gate.zero_rule == "all" and len(made) >= planned and not any(made)

    def weak_objections(self, weak: Sequence[Attempt]) -> tuple[Objection, ...]:
        made = scores(weak)
        average = mean(made)
        if average is None or unscored(weak):
            return unscored(weak)
        found = []
        if self._above_weak_max(average):
            relation = "at most" if self.gate.weak_max_inclusive else "below"
            message = f"weak mean {wanted(average, relation, self.gate.weak_max)}"
            found.append(Objection(code="TOO_EASY", message=message))
        if max(made) > exact(self.gate.weak_best_max):
            message = f"best weak score {wanted(max(made), 'at most', self.gate.weak_best_max)}"
            found.append(Objection(code="TOO_EASY", message=message))
        if self._zeros_forbid(made, self.weak_planned):
            message = f"{made.count(Fraction(0))} of {len(made)} weak attempts scored zero"
            found.append(Objection(code="WEAK_ALL_ZERO", message=message))
        if not found and self._gap_out_of_reach(average):
            most, gap = self.gate.strong_max, self.gate.gap_min
            relation, limit = ("at most", 1 - gap) if most is None else ("below", most - gap)
            message = f"weak mean {wanted(average, relation, limit)} for a gap of {gap:.2f}"
            found.append(Objection(code="GAP_TOO_SMALL", message=message))
        return tuple(found)

    def objections(self, round: Round) -> tuple[Objection, ...]:
        found = self.weak_objections(round.weak)
        weak, strong = mean(scores(round.weak)), mean(scores(round.strong))
        if found or weak is None or strong is None or unscored(round.strong):
            return found + unscored(round.strong) or unattempted(round)
        side = self._strong_objections(scores(round.strong), strong)
        if strong - weak < exact(self.gate.gap_min):
            gap = wanted(strong - weak, "at least", self.gate.gap_min)
            message = f"gap {gap} (strong {float(strong):.2f}, weak {float(weak):.2f})"
            side += (Objection(code="GAP_TOO_SMALL", message=message),)
        return side + (truncated(round.strong, "strong") if side else ())

    def _strong_objections(self, made: Scores, average: Fraction) -> tuple[Objection, ...]:
        gate = self.gate
        if average < exact(gate.strong_min):
            message = f"strong mean {wanted(average, 'at least', gate.strong_min)}"
            return (Objection(code="STRONG_FAILED", message=message),)
        if gate.strong_max is not None and average >= exact(gate.strong_max):
            message = f"strong mean {wanted(average, 'below', gate.strong_max)}"
            return (Objection(code="STRONG_SATURATED", message=message),)
        if self._zeros_forbid(made, self.strong_planned):
            message = f"{list(made).count(Fraction(0))} of {len(made)} strong attempts scored zero"
            return (Objection(code="STRONG_FAILED", message=message),)
        return ()

    def weak_settled(self, weak: Scores) -> bool:
        low, high = _mean_bounds(weak, self.weak_planned)
        best = max(weak, default=Fraction(0))
        if (
            self._above_weak_max(low)
            or self._gap_out_of_reach(low)
            or best > exact(self.gate.weak_best_max)
            or self._zeros_forbid(weak, self.weak_planned)
        ):
            return True
        if len(weak) >= self.weak_planned:
            return True
        open_rules = (
            self._above_weak_max(high)
            or exact(self.gate.weak_best_max) < 1
            or self.gate.zero_rule == "any"
            or (self.gate.zero_rule == "all" and not any(weak))
        )
        # The gap depends on the weak mean unless the strong minimum alone implies it.
        return not open_rules and exact(self.gate.strong_min) - high >= exact(self.gate.gap_min)

    def strong_settled(self, weak: Scores, strong: Scores) -> bool:
        low, high = _mean_bounds(strong, self.strong_planned)
        weak_low, weak_high = _mean_bounds(weak, self.weak_planned)
        gap, least = exact(self.gate.gap_min), exact(self.gate.strong_min)
        most = self.gate.strong_max
        fails = (
            high < least
            or high - weak_low < gap
            or (most is not None and low >= exact(most))
            or self._zeros_forbid(strong, self.strong_planned)
        )
        if fails or len(strong) >= self.strong_planned:
            return True
        zero_free = self.gate.zero_rule == "off" or (self.gate.zero_rule == "all" and any(strong))
        below_most = most is None or high < exact(most)
        return low >= least and low - weak_high >= gap and below_most and zero_free


class CountPolicy(WeakFirst):
    """Exact counts of correct attempts (a score of 1) on both sides."""

    weak_correct_max: int = 1
    strong_correct_min: int = 3
    weak_planned: int = 4
    strong_planned: int = 4

    @classmethod
    def of(cls, acceptance: Acceptance, weak_attempts: int, strong_attempts: int) -> Self:
        """The configured counts of so many attempts. Raises ValueError where they cannot be met."""
        if acceptance.strong_correct_min > strong_attempts:
            raise ValueError(
                f"acceptance.strong_correct_min is {acceptance.strong_correct_min} of "
                f"{strong_attempts} strong attempts: nothing could be accepted"
            )
        return cls(
            weak_correct_max=acceptance.weak_correct_max,
            strong_correct_min=acceptance.strong_correct_min,
            weak_planned=weak_attempts,
            strong_planned=strong_attempts,
        )

    @property
    def both_sides(self) -> bool:
        return False

    def weak_objections(self, weak: Sequence[Attempt]) -> tuple[Objection, ...]:
        correct = scores(weak).count(Fraction(1))
        if unscored(weak) or correct <= self.weak_correct_max:
            return unscored(weak)
        message = (
            f"{correct} of {len(weak)} weak attempts correct, "
            f"wanted at most {self.weak_correct_max} of {self.weak_planned}"
        )
        return (Objection(code="TOO_EASY", message=message),)

    def objections(self, round: Round) -> tuple[Objection, ...]:
        found = self.weak_objections(round.weak) + unscored(round.strong)
        correct = scores(round.strong).count(Fraction(1))
        if found or not round.strong or correct >= self.strong_correct_min:
            return found or unattempted(round)
        message = (
            f"{correct} of {len(round.strong)} strong attempts correct, "
            f"wanted at least {self.strong_correct_min} of {self.strong_planned}"
        )
        failed = Objection(code="STRONG_FAILED", message=message)
        return (failed, *truncated(round.strong, "strong"))

    def weak_settled(self, weak: Scores) -> bool:
        correct = list(weak).count(Fraction(1))
        left = self.weak_planned - len(weak)
        return correct > self.weak_correct_max or correct + left <= self.weak_correct_max

    def strong_settled(self, weak: Scores, strong: Scores) -> bool:
        correct = list(strong).count(Fraction(1))
        left = self.strong_planned - len(strong)
        return correct >= self.strong_correct_min or correct + left < self.strong_correct_min


class JudgedPolicy(WeakFirst):
    """No numeric gate; the loop judge's verdict decides, and every attempt is made."""

    weak_planned: int = 5
    strong_planned: int = 3

    @property
    def both_sides(self) -> bool:
        return True

    def weak_objections(self, weak: Sequence[Attempt]) -> tuple[Objection, ...]:
        return unscored(weak)

    def objections(self, round: Round) -> tuple[Objection, ...]:
        found = unscored(round.weak) + unscored(round.strong)
        judgement = round.judgement
        if found or judgement is None:
            return found
        if judgement.verdict == "accept" and judgement.grpo_suitability != "low":
            return ()
        message = judgement.suggestion_for_writer or judgement.verdict_reason
        return (Objection(code="NOT_LEARNABLE", message=message),)

    def weak_settled(self, weak: Scores) -> bool:
        return len(weak) >= self.weak_planned

    def strong_settled(self, weak: Scores, strong: Scores) -> bool:
        return len(strong) >= self.strong_planned


def missing(policy: Policy, round: Round) -> str:
    """What would have been asked for and is not on record."""
    weak, strong = scores(round.weak), scores(round.strong)
    for side in ("weak", "strong"):
        if policy.batch(side, weak, strong):
            return f"more {side} attempts would have been made"
    return "" if round.final_verdict else "the final check was not made"


def summary(round: Round) -> dict[str, Any]:
    """weak_mean, strong_mean and gap of a round as floats in −1 … 1; None where not scored."""
    weak, strong = mean(scores(round.weak)), mean(scores(round.strong))
    return {
        "weak_mean": None if weak is None else float(weak),
        "strong_mean": None if strong is None else float(strong),
        "gap": None if weak is None or strong is None else float(strong - weak),
    }


# What finished rounds teach the next one: verdicts to objections, objections to groups.

# The three groups of the paper, section 1, and ours; a group without members is left out.
GROUPS: dict[str, frozenset[Code]] = {
    "Too easy": frozenset({"TOO_EASY", "STRONG_SATURATED"}),
    "Failed on strong": frozenset({"STRONG_FAILED", "GAP_TOO_SMALL", "TRUNCATED"}),
    "Not learnable": frozenset({"NOT_LEARNABLE", "WEAK_ALL_ZERO"}),
    "Undecided": frozenset({"NOT_CONFIRMED"}),
    "Failed quality check": frozenset({"QUALITY", "MALFORMED", "LEAK"}),
    "Failed by form": frozenset({"FORMAT"}),
    "Sent back by a reviewer": frozenset({"REVIEWED"}),
    "Asked before": frozenset({"DUPLICATE"}),
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
        f"{name.replace('_mean', '')} {value:z.2f}"
        for name, value in numbers.items()
        if value is not None
    )
    asked = f"\n  Question: {' '.join(candidate.question.split())}" if candidate else ""
    objected = "".join(f"\n  {o.code}: {o.message}" for o in round.objections)
    return f"- Round {round.number} ({kind}{'; ' + scored if scored else ''}){asked}{objected}"
