"""Legal: judged suitability. Layer 1 is code and overrides; layer 2 is the loop judge."""

import re

from autodata.tasks.acceptance import Acceptance, JudgedPolicy, Policy
from autodata.tasks.task import Task
from autodata.tasks.types import Candidate, Objection

BODY_MAX_CHARACTERS = 1000  # paper, section 2

# Case recaps and exam questions, which clients do not write (paper, section 2, layer 1).
PATTERNS: dict[str, re.Pattern[str]] = {
    "a court level": re.compile(
        r"\b(?:supreme court|district court|circuit court|court of appeals?|appellate court"
        r"|trial court|lower court|high court)\b",
        re.IGNORECASE,
    ),
    "“in re”": re.compile(r"\bin re\b", re.IGNORECASE),
    "“on appeal”": re.compile(r"\bon appeal\b", re.IGNORECASE),
    "a role-play opener": re.compile(
        r"^\W*(?:you are|imagine (?:you|that you)|assume (?:you are|the role)|act as|acting as"
        r"|suppose you(?:'re| are)|as (?:a|an|the) (?:attorney|lawyer|judge|law clerk))\b",
        re.IGNORECASE | re.MULTILINE,
    ),
    "a drafting order": re.compile(
        r"\b(?:draft|write|prepare|compose)\s+(?:me\s+)?(?:a|an|the)\s+(?:\w+\s+){0,2}"
        r"(?:memo|memorandum|brief|opinion|motion|complaint|essay)\b",
        re.IGNORECASE,
    ),
    "a year of long ago": re.compile(r"\b(?:18\d\d|19[0-3]\d)\b"),
}


def layer_1(candidate: Candidate) -> tuple[Objection, ...]:
    """What code alone objects to in a client's message; each finding sends it back."""
    body = f"{candidate.context}\n{candidate.question}".strip()
    found = []
    if len(body) > BODY_MAX_CHARACTERS:
        message = f"the message has {len(body)} characters, at most {BODY_MAX_CHARACTERS} allowed"
        found.append(Objection(code="QUALITY", message=message))
    for what, pattern in PATTERNS.items():
        if hit := pattern.search(body):
            message = f"“{hit.group(0).strip()}” is {what}: a client does not write like that"
            found.append(Objection(code="QUALITY", message=message))
    return tuple(found)


def policy(acceptance: Acceptance, weak_attempts: int, strong_attempts: int) -> Policy:
    """The loop judge decides; no threshold of `acceptance` applies."""
    return JudgedPolicy(weak_planned=weak_attempts, strong_planned=strong_attempts)


# 5 weak and 3 strong attempts every round, at most 15 rounds (paper, section 2).
TASK = Task(
    name="legal",
    title="legal",
    weak_attempts=5,
    strong_attempts=3,
    rounds=15,
    policy=policy,
    extracts=True,
    judged_by_loop=True,
    screen=layer_1,
)
