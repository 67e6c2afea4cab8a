"""The simulated analyst: reads the index, a few rounds with the most frequent failure, reports."""

import re
from collections.abc import Mapping, Sequence

from autodata.simulation.chance import Chance
from autodata.simulation.reading import Brief
from autodata.simulation.tools import Done, Step, call

ROUNDS = 4  # that it reads before it reports
FAILURES = 2  # kinds that it reports on, the most frequent ones

_COUNT = re.compile(r"^\| ([A-Z_]+) \| (\d+) \| (\d+) \|$", re.MULTILINE)
_FOLDER = re.compile(r"^\| (documents/\S+) \| \w+ \| \d+ \| (.*) \|$", re.MULTILINE)
_OBJECTION = re.compile(r"^- ([A-Z_]+): (.+)$", re.MULTILINE)

# Objection → what it mostly comes from. General, as an analyst should be.
CAUSES: Mapping[str, str] = {
    "TOO_EASY": "The questions ask about common matters that every practitioner knows, or ask to "
    "explain; the weak solver answers from general knowledge. The prompt does not demand that the "
    "document be needed.",
    "STRONG_FAILED": "The questions pile up more conditions than anyone can keep in mind, so that "
    "both solvers fail alike.",
    "STRONG_SATURATED": "The questions are within everybody's reach.",
    "GAP_TOO_SMALL": "Too many criteria reward what the context states already, so that both "
    "solvers earn them alike.",
    "WEAK_ALL_ZERO": "The questions leave nothing that a weak solver could begin with.",
    "QUALITY": "Contexts give conclusions away, criteria repeat the context, negative criteria are "
    "worded so that they punish good answers.",
    "LEAK": "Contexts state the conclusion that the question asks for.",
    "MALFORMED": "Counts and weights of the rubric are not checked against the policy before the "
    "reply is written.",
    "NOT_LEARNABLE": "All weak attempts end alike; nothing within a group can be learned from.",
    "TRUNCATED": "Answers need more room than there is.",
}


def analyse(brief: Brief, before: Sequence[Done], chance: Chance) -> Step:
    """Reads first, then reports with quotes from what it has read."""
    read = [one for one in before if one.name == "read"]
    if before and before[-1].name == "report":
        return Step("My report was not accepted.")
    failures = [code for code, _, _ in _COUNT.findall(brief.section("index"))][:FAILURES]
    if not read:
        rounds = _rounds(brief.section("index"), failures)
        chosen = chance.sample(rounds, min(ROUNDS, len(rounds)))
        return Step(calls=tuple(("read", {"path": path}) for path in chosen))
    quotes = [
        {"path": one.arguments["path"], "words": f"{code}: {message[:160]}"}
        for one in read
        for code, message in _OBJECTION.findall(one.result)[:1]
    ]
    return call("report", analysis=_analysis(failures), quotes=quotes)


def _rounds(index: str, failures: Sequence[str]) -> list[str]:
    """Files of rounds with one of these failures; any files when there is none."""
    rounds = [
        (f"{folder}/round-{number}.md", objections)
        for folder, story in _FOLDER.findall(index)
        for number, objections in enumerate(story.split(", "), 1)
    ]
    hit = [path for path, objections in rounds if set(objections.split("+")) & set(failures)]
    return hit or [path for path, _ in rounds]


def _analysis(failures: Sequence[str]) -> str:
    if not failures:
        return "No failure stands out: the documents were accepted without detours."
    return "\n\n".join(
        f"## {code}\n\n{CAUSES.get(code, 'No common cause.')} A rule against it should make "
        f"{code} rarer."
        for code in failures
    )
