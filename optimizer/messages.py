"""Commit messages of the optimizer: what the rule is, why, and the facts at decision time."""

import textwrap
import unicodedata
from collections.abc import Mapping, Sequence

from autodata.ledger.iterations import Iteration
from autodata.optimizer.acceptance import Rule

WIDTH = 72
Message = tuple[str, str, dict[str, str]]


def message(run: str, rule: Rule, iteration: Iteration, quotes: Sequence[str]) -> Message:
    """Subject, body and trailers of the commit of an iteration."""
    parts = [
        _wrapped(iteration.intent),
        *(["Cause", _wrapped(iteration.cause)] if iteration.cause else []),
        *(["Evidence", "\n".join(_wrapped(quote, "> ") for quote in quotes)] if quotes else []),
        _wrapped(f"{iteration.decision.capitalize()}: {iteration.reason}"),
    ]
    trailers = {
        "Autodata-Run": run,
        "Autodata-Iteration": str(iteration.number),
        "Autodata-Decision": iteration.decision,
        "Autodata-Score": score(iteration.score, iteration.pass_count),
        "Autodata-Parent-Score": score(iteration.parent_score, iteration.parent_pass_count),
        "Autodata-Rule": rule,
        "Autodata-Evaluation": iteration.evaluation(),
        "Autodata-Predicts": iteration.predicts,
    }
    body = "\n\n".join(part for part in parts if part)
    return visible(iteration.subject), visible(body), trailers


def visible(text: str) -> str:
    """The text with characters that show nothing, or reorder what is shown, written as escapes."""
    return "".join(
        c if c in "\n\t" or unicodedata.category(c) not in ("Cf", "Cc") else f"\\u{ord(c):04x}"
        for c in text
    )


def score(value: float | None, count: Mapping[str, int]) -> str:
    """A score with the counts behind it: `0.520 (13 of 25)`; nothing when not evaluated."""
    if value is None:
        return ""
    accepted = count.get("accepted", 0)
    counted = f"{value:.3f} ({accepted} of {accepted + count.get('failed', 0)})"
    return f"{counted}, {count['missing']} missing" if count.get("missing") else counted


def _wrapped(text: str, lead: str = "") -> str:
    """Paragraphs and list items wrapped as git's readers expect."""
    lines = []
    for line in text.strip().splitlines():
        bullet = "  " if line.lstrip().startswith(("- ", "* ")) else ""
        lines += textwrap.wrap(
            line, WIDTH, initial_indent=lead, subsequent_indent=lead + bullet
        ) or [lead.rstrip()]
    return "\n".join(lines)
