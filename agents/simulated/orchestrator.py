"""The simulated orchestrator: turns grouped feedback into the next instruction."""

from agents.simulated.chance import Chance
from agents.simulated.reading import Brief
from agents.simulated.writing import spoilt

BAD_JSON = 0.01

# What the feedback mentions → what to ask for next. It never interprets the document.
ADVICE = (
    (
        "too easy",
        "Earlier questions were too easy. Ask for a decision, an interaction or a contradiction, "
        "and let one more changed condition bear on the outcome.",
    ),
    (
        "strong",
        "An earlier question failed on strong attempts. Keep the reasoning, but let fewer "
        "conditions bear on it.",
    ),
    ("leak", "The context leaked the answer: state the setup and nothing that follows from it."),
    ("rubric policy", "Follow the rubric policy: recount before you reply."),
    ("general knowledge", "Build on a mechanism that only the source explains."),
    ("recall", "Do not ask for definitions."),
)


def instruct(brief: Brief, chance: Chance) -> str:
    """The instruction for the next round, as JSON."""
    feedback = brief.section("feedback").casefold()
    lines = [advice for sign, advice in ADVICE if sign in feedback]
    lines.append("Write an entirely new question from another angle; do not repair an earlier one.")
    return spoilt({"instruction": " ".join(lines)}, BAD_JSON * 0.3**brief.reasked, chance)
