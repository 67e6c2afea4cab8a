"""The simulated legal extractor: looks for reasons in the text, and takes its sentences from it."""

import re

from autodata.simulation.chance import Chance
from autodata.simulation.documents import sentences
from autodata.simulation.reading import Brief
from autodata.simulation.writing import spoilt

WORDS_MIN = 250  # a bare disposition is shorter
REASONS_MIN = 3  # sentences that give a reason or an order, at least
BAD_JSON = 0.01
ENTRIES = 3  # facts, issues and holdings each

_REASON = re.compile(
    r"\b(?:because|therefore|thus|hence|it follows|we (?:hold|conclude|believe|think|agree)"
    r"|the (?:reason|rule|test|principle|standard|burden)|unless|provided that|shall|must)\b",
    re.IGNORECASE,
)
_HOLDING = re.compile(r"\bwe (?:\w+ )?(?:hold|conclude|agree|reject)\b|\bshall be\b", re.IGNORECASE)
_ISSUE = re.compile(r"\bwhether\b|\bthe (?:question|issue)\b|\bmay\b", re.IGNORECASE)
_FACT = re.compile(
    r"\b(?:petitioners?|respondents?|plaintiffs?|defendants?|signed|filed|agreed|installed|sought"
    r"|party|parties|claimed)\b",
    re.IGNORECASE,
)


def extract(brief: Brief, chance: Chance) -> str:
    """A case file as JSON; unsuitable when the text gives hardly any reasons."""
    document = brief.section("document")
    said = sentences(document)
    reasons = [s for s in said if _REASON.search(s)]
    words = len(document.split())
    if words < WORDS_MIN or len(reasons) < REASONS_MIN:
        reason = (
            f"The text has {words} words and {len(reasons)} sentences that give a reason: it "
            "disposes of a case without a principle that could be applied to another."
        )
        reply = {"suitable": False, "reason": reason, "principle": ""}
        return spoilt({**reply, "facts": [], "issues": [], "holdings": []}, 0.0, chance)
    holdings = [s for s in said if _HOLDING.search(s)] or reasons
    told = [s for s in said if s not in reasons]
    facts = [s for s in told if _FACT.search(s)]
    reply = {
        "suitable": True,
        "reason": f"The text gives reasons in {len(reasons)} sentences and states a rule.",
        "principle": holdings[0],
        "facts": (facts or told)[:ENTRIES],
        "issues": [s for s in said if _ISSUE.search(s)][:ENTRIES],
        "holdings": holdings[:ENTRIES],
    }
    return spoilt(reply, BAD_JSON * 0.3**brief.reasked, chance)
