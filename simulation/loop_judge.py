"""The simulated loop judge: reads marks and spread of all attempts of a legal round."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, pstdev

from autodata.simulation.chance import Chance
from autodata.simulation.reading import Brief
from autodata.simulation.world import QUOTED
from autodata.simulation.writing import listed, quoted, spoilt

SPREAD_HIGH = 0.14  # standard deviation of the weak scores, 0 … 0.5, from which a group teaches
SPREAD_LOW = 0.10  # below it the attempts hardly differ
WEAK_RANGE = (0.12, 0.50)  # weak means outside it: all fail, or all succeed
STRONG_MIN = 0.55  # the strong attempts handle the decisive steps
LEAD_MIN = 0.10  # strong mean − weak mean
DOUBT = 0.15  # share of acceptable rounds that are sent back: unsure means improve
BAD_JSON = 0.01

_ATTEMPT = re.compile(
    r"^Attempt (\d+): score (None|[\d.]+), criteria met: \[([\d, ]*)\]", re.MULTILINE
)

SUGGESTIONS = {
    "all fail": "Put the facts that decide the matter in plain view, and let fewer of them pull "
    "against each other.",
    "all succeed": "Break the tempting shortcut: add a fact that makes the first rule that comes "
    "to mind give the wrong advice.",
    "strong fails": "Put every fact on which the outcome turns in plain view; leave none to guess.",
    "no lead": "Break the tempting shortcut, so that only a reader who weighs the facts against "
    "each other sees it.",
    "no spread": "Let two of the points be within reach of a careful layman, and the others as "
    "demanding as before.",
    "unsure": "Keep the kind of difficulty, and let the facts differ more from each other.",
}


@dataclass(frozen=True)
class Side:
    """The attempts of one solver: scores (0 … 1) and the criteria that each met."""

    scores: tuple[float, ...]
    met: tuple[frozenset[int], ...]

    @property
    def mean(self) -> float:
        """The mean score, 0 without attempts."""
        return fmean(self.scores) if self.scores else 0.0

    @property
    def spread(self) -> float:
        """Standard deviation of the scores, 0 … 0.5."""
        return pstdev(self.scores) if self.scores else 0.0

    @property
    def shared(self) -> list[int]:
        """Criteria that every attempt meets."""
        return sorted(frozenset.intersection(*self.met)) if self.met else []

    @property
    def separating(self) -> list[int]:
        """Criteria that some attempts meet and others miss."""
        return sorted(frozenset().union(*self.met) - set(self.shared))

    def pattern(self, name: str) -> str:
        """What the attempts did, criterion by criterion."""
        parts = [
            f"{name} 1 to {len(self.scores)}: all meet {_numbers(self.shared)}",
            f"{_numbers(self.separating)} separate them",
        ]
        if self.scores:
            best = self.scores.index(max(self.scores))
            parts.append(
                f"attempt {best + 1} goes furthest, with {_numbers(sorted(self.met[best]))}"
            )
        return "; ".join(parts) + "."


def judge_round(brief: Brief, chance: Chance) -> str:
    """A judgement as JSON: patterns and spread, accept or improve with a suggestion."""
    weak, strong = (attempts(brief.section(f"{name}_attempts")) for name in ("weak", "strong"))
    finding = _finding(weak, strong)
    if finding == "" and chance.happens(DOUBT):
        finding = "unsure"
    suitability = "low"
    if finding in ("", "unsure"):
        suitability = "high" if weak.spread >= SPREAD_HIGH else "medium"
    only = [n for n in strong.shared if n not in weak.shared]
    reply = {
        "weak_pattern": weak.pattern("Weak"),
        "strong_pattern": strong.pattern("Strong"),
        "gap_interpretation": f"Every strong attempt meets {_numbers(only)}, which some weak "
        "attempt misses: the reasoning differs, not the wording.",
        "rubric_concerns": [],
        "grpo_suitability": suitability,
        "verdict": "improve" if finding else "accept",
        "verdict_reason": f"Weak attempts differ on {_numbers(weak.separating)}"
        + (f"; {finding}." if finding else " and the rest is within reach."),
        "suggestion_for_writer": _suggestion(finding, brief) if finding else "",
    }
    return spoilt(reply, BAD_JSON * 0.3**brief.reasked, chance)


def attempts(text: str) -> Side:
    """The attempts that a section describes; those without a score are left out."""
    found = [(s, met) for _, s, met in _ATTEMPT.findall(text) if s != "None"]
    return Side(
        scores=tuple(float(score) for score, _ in found),
        met=tuple(frozenset(map(int, re.findall(r"\d+", met))) for _, met in found),
    )


def _finding(weak: Side, strong: Side) -> str:
    """Why the round cannot teach, as a key of `SUGGESTIONS`; nothing when it can."""
    if weak.mean < WEAK_RANGE[0]:
        return "all fail"
    if weak.mean > WEAK_RANGE[1]:
        return "all succeed"
    if strong.mean < STRONG_MIN:
        return "strong fails"
    if strong.mean - weak.mean < LEAD_MIN:
        return "no lead"
    return "no spread" if weak.spread < SPREAD_LOW else ""


def _suggestion(finding: str, brief: Brief) -> str:
    used = list(dict.fromkeys(QUOTED.findall(brief.section("question"))))
    leave = f" Leave {quoted(used)}." if used else ""
    return (
        f"{SUGGESTIONS[finding]}{leave} Invent an entirely new scenario; keep the criteria as "
        "demanding as they are."
    )


def _numbers(numbers: Sequence[int]) -> str:
    return listed([str(number) for number in numbers]) if numbers else "none"
