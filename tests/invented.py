"""Invented documents, as many as a simulated run needs: for load, planning and benchmarks.

They read like design notes and mean nothing. What a simulated model makes of them is what it makes
of real ones: terms that recur, and sentences about them.
"""

from collections.abc import Iterator

from autodata.simulation.messages import Rng
from autodata.tasks.types import Document

PARAGRAPHS = 9
SENTENCES = 4
TERMS = 34  # matters of one document; few are shared with another

_KINDS = (
    "adaptive", "lazy", "shared", "sharded", "remote", "ordered", "partial", "sealed", "nested",
    "rolling", "pinned", "stale", "bounded", "mirrored", "deferred", "weighted", "leased", "cold",
    "hashed", "batched", "split", "global", "local", "sparse", "dense", "signed", "ranked",
)  # fmt: skip
_PARTS = (
    "lease", "quorum", "journal", "ledger", "cursor", "epoch", "token", "segment", "replica",
    "snapshot", "barrier", "queue", "cache", "index", "shard", "region", "buffer", "heap", "filter",
    "router", "ticket", "window", "backlog", "digest", "lock", "marker", "slab", "ring", "fence",
)  # fmt: skip
_ROLES = ("", " manager", " table", " budget", " limit", " rotation", " handover", " timeout")
_CLAIMS = (
    "The {a} grows with the {b} until the {c} is full.",
    "A {a} without a {b} falls behind whenever the {c} is moved.",
    "Whoever holds the {a} decides how long the {b} stays valid.",
    "The {b} bounds the {a}, and the {c} pays for it.",
    "Each {a} is checked against the {b} before the {c} may advance.",
    "Doubling the {a} halves the pressure on the {b} but wakes the {c}.",
    "The {c} hides a slow {a} as long as the {b} is warm.",
    "No {a} survives a {b} that was opened before the {c}.",
    "The {a} and the {b} are never adjusted in the same step.",
    "Operators watch the {a}, although the {c} is what fails.",
)


def invented(count: int, seed: int = 0) -> Iterator[Document]:
    """`count` documents that follow from the seed; no two are alike."""
    for number in range(1, count + 1):
        rng = Rng("library", seed, number)
        terms = [_term(rng) for _ in range(TERMS)]
        title = f"Notes on the {terms[0]} and the {terms[1]}"
        paragraphs = [_paragraph(terms, rng) for _ in range(PARAGRAPHS)]
        text = "\n\n".join([f"# {title}", *paragraphs]) + "\n"
        yield Document.of(f"invented-{seed}-{number:03}.md", text, title=title)


def _term(rng: Rng) -> str:
    return f"{rng.choice(_KINDS)} {rng.choice(_PARTS)}{rng.choice(_ROLES)}"


def _paragraph(terms: list[str], rng: Rng) -> str:
    said = []
    for claim in rng.sample(_CLAIMS, SENTENCES):
        a, b, c = rng.sample(terms, 3)
        said.append(claim.format(a=a, b=b, c=c))
    return " ".join(said)
