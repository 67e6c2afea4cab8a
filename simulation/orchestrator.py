"""The simulated orchestrator: turns grouped feedback into the next instruction."""

import re

from autodata.simulation.chance import Chance
from autodata.simulation.reading import Brief
from autodata.simulation.world import QUOTED
from autodata.simulation.writing import quoted, spoilt

BAD_JSON = 0.01
USED_UP = 8  # matters of earlier questions that are named so that they do not come back

_ROUND = re.compile(r"^- Round (\d+) \(([^;)]*)", re.MULTILINE)

# What the feedback mentions → what to ask for next. It never interprets the document.
ADVICE = (
    (
        "## too easy",
        "Earlier questions were too easy: let one more changed condition bear on the outcome, and "
        "ask for another kind of reasoning.",
    ),
    (
        "## failed on strong",
        "An earlier question failed on strong attempts: let fewer conditions bear on the outcome "
        "and state every one of them.",
    ),
    (
        "leak:",
        "The context leaked the answer: state the setup, and nothing that follows from it.",
    ),
    ("rubric policy", "The rubric policy was missed: recount before you reply."),
    ("asks for recall", "Definitions are used up."),
    ("could not be read", "The last reply was malformed: one JSON object and nothing around it."),
)


def instruct(brief: Brief, chance: Chance) -> str:
    """The instruction for the next round, as JSON: the advice, and what is used up."""
    feedback = brief.section("feedback")
    rounds = _ROUND.findall(feedback)
    lines = [advice for sign, advice in ADVICE if sign in feedback.casefold()]
    used = list(dict.fromkeys(QUOTED.findall(feedback)))[-USED_UP:]
    if used:
        lines.append(f"Leave {quoted(used)}: these are used up.")
    kinds = sorted({kind for _, kind in rounds})
    if kinds:
        lines.append(f"So far {len(rounds)} rounds were sent back ({', '.join(kinds)}).")
    lines.append("Write an entirely new question from another part of the document.")
    return spoilt({"instruction": " ".join(lines)}, BAD_JSON * 0.3**brief.reasked, chance)
