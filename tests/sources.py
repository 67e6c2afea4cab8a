"""The pages that a reader follows, taken apart: code blocks, and what a console block shows."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_RUN_ID = re.compile(r"\b(cs|legal|science|procedural)-\d{8}-\d{6}\b")
_PROGRESS = re.compile(r"^… .*\n", re.MULTILINE)
_SECONDS = re.compile(r"\b\d+(\.\d+)? ?s\b")


@dataclass(frozen=True)
class Block:
    """One fenced block: its language, its text, and where it begins in its page."""

    page: Path
    language: str
    text: str
    line: int

    @property
    def name(self) -> str:
        return f"{self.page.name}:{self.line}"


def blocks(page: Path, *languages: str) -> list[Block]:
    """The page's blocks of these languages, in order."""
    text = page.read_text()
    return [
        Block(page, found[1], found[2], text.count("\n", 0, found.start()) + 1)
        for found in _BLOCK.finditer(text)
        if found[1] in languages
    ]


def commands(block: Block) -> Iterator[tuple[str, str]]:
    """Each `$ command` of a console block with the output shown under it."""
    for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        command, _, output = part.partition("\n")
        yield command, output


def steady(output: str) -> str:
    """Output without what differs from run to run: times, progress, and blanks at ends of lines."""
    output = _SECONDS.sub("0 s", _RUN_ID.sub(r"\1-20261122-120000", _PROGRESS.sub("", output)))
    return "\n".join(line.rstrip() for line in output.strip().splitlines()) + "\n"
