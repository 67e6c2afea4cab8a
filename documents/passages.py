"""Long documents cut at their section borders, and the passages worth asking about chosen."""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

CHARACTERS_PER_TOKEN = 4
"""The usual estimate for prose in Latin script; a tokenizer would be a download."""

BUDGET = 6_000
"""Tokens per passage: fits beside prompts and answers into an 8,192-token context and up."""


class Passage(NamedTuple):
    """Part `number` (from 1) of `total` of a document, with the heading that it begins under."""

    text: str
    section: str
    number: int
    total: int


class Section(NamedTuple):
    """A heading (level 1 … 6, its title) with the text below it, the heading line included.

    What stands before the first heading is a section of level 0 without a title.
    """

    level: int
    title: str
    text: str


def tokens(text: str) -> int:
    """How many tokens a text has, estimated."""
    return -(-len(text) // CHARACTERS_PER_TOKEN)


def cut(text: str, *, budget: int = BUDGET, take: int = 1) -> list[Passage]:
    """Up to `take` passages of at most `budget` tokens, spread over the document's substance.

    Contents, references, licences and the like are left out unless there is nothing else. One
    passage is the first; several are equally spaced and in order.
    """
    parts = _pack(_substance(sections(text)), budget)
    take = min(take, len(parts))
    chosen = [n * len(parts) // take for n in range(take)]
    return [Passage(*parts[n], number=n + 1, total=len(parts)) for n in chosen]


_HEADING = re.compile(r"(#{1,6})\s+(.*?)\s*#*\s*$")
_FENCE = re.compile(r"^ *(`{3,}|~{3,})", re.MULTILINE)


def sections(text: str) -> list[Section]:
    """The sections of a Markdown text in order; headings inside code are none."""
    found: list[Section] = []
    level, title, lines, fence = 0, "", list[str](), ""
    for line in text.splitlines():
        marker = _FENCE.match(line)
        if marker and not fence:
            fence = marker[1]
        elif marker and marker[1].startswith(fence):
            fence = ""
        heading = None if fence else _HEADING.match(line)
        if heading:
            found.append(Section(level, title, "\n".join(lines).strip("\n")))
            level, title, lines = len(heading[1]), heading[2], []
        lines.append(line)
    found.append(Section(level, title, "\n".join(lines).strip("\n")))
    return [section for section in found if section.text]


_INSUBSTANTIAL = re.compile(
    r"(?:[\dA-Z]{1,3}(?:\.\d+)*\.?\s+)?(?:"
    r"(?:table of )?contents|toc|references?|bibliography|works cited|literature|further reading"
    r"|see also|external links|acknowledge?ments?|licen[cs]e|copyright(?: notice)?|foot ?notes"
    r"|endnotes|change ?log|revision history|implementation history|about the authors?|authors?"
    r"|contributors|how to cite|citation|index|release signoff checklist)",
    re.IGNORECASE,
)
_SENTENCE = re.compile(r"\b(?:[^\W\d_][\w'’-]*[,;:]?\s+){7,}[^\W\d_][\w'’)-]*")
_TABULAR = re.compile(r"^[^\n]*\S[ \t]{3,}\S[^\n]*$", re.MULTILINE)


def _substance(found: Sequence[Section]) -> list[Section]:
    """The sections worth reading; all of them when none is."""
    kept: list[Section] = []
    below = 7  # the level of the section left out last: what is nested in it goes with it
    for section in found:
        if section.level > below:
            continue
        below = section.level if _INSUBSTANTIAL.fullmatch(section.title) else 7
        if below == 7 and not (section.level == 0 and _is_debris(section.text)):
            kept.append(section)
    return kept if any(_SENTENCE.search(section.text) for section in kept) else list(found)


def _is_debris(text: str) -> bool:
    """Whether what precedes the first heading is labels or a table instead of prose."""
    lines = [line for line in text.splitlines() if line.strip()]
    return not _SENTENCE.search(text) or len(_TABULAR.findall(text)) * 3 > len(lines)


def _pack(found: Sequence[Section], budget: int) -> list[tuple[str, str]]:
    """Neighbouring sections joined into passages of similar size, as (text, title)."""
    total, size = sum(len(section.text) + 2 for section in found), budget * CHARACTERS_PER_TOKEN
    # A tenth of slack keeps most passages within the budget when sections fall over a border.
    share = total if total <= size else total / -(-total // (size * 9 // 10))
    pieces = [(piece, s.title) for s in found for piece in _split(s.text, int(share), size)]
    packed: list[tuple[str, str]] = []
    at, bin_before = 0, -1
    for piece, title in pieces:
        # Each piece goes to the share that its middle falls into.
        bin = int((at + len(piece) / 2) / share)
        at += len(piece) + 2
        joined = f"{packed[-1][0]}\n\n{piece}" if packed else piece
        if bin == bin_before and tokens(joined) <= budget:
            packed[-1] = (joined, packed[-1][1] or title)
        else:
            packed.append((piece, title))
        bin_before = bin
    return packed


def _split(text: str, share: int, size: int) -> Iterator[str]:
    """A section as it is, or its paragraphs when it is longer than a share; code stays whole."""
    if len(text) <= share:
        yield text
        return
    waiting = ""
    for paragraph in text.split("\n\n"):
        waiting += f"\n\n{paragraph}" if waiting else paragraph
        if len(_FENCE.findall(waiting)) % 2 == 0 or len(waiting) > size:
            yield from _slices(waiting, size)
            waiting = ""
    yield from _slices(waiting, size)


def _slices(paragraph: str, size: int) -> Iterator[str]:
    """A paragraph of more than `size` characters cut after a line, a sentence or a word."""
    while len(paragraph) > size:
        borders = (paragraph.rfind(border, size // 2, size) + 1 for border in ("\n", ". ", " "))
        end = next(filter(None, borders), size)
        yield paragraph[:end].rstrip()
        paragraph = paragraph[end:].lstrip()
    if paragraph:
        yield paragraph
