"""Files, folders and globs as Documents."""

import glob
import hashlib
import os
import re
import stat
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from io import IOBase
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias
from zipfile import BadZipFile, ZipFile

from autodata.documents.formats import (
    DEFAULT_LIMITS,
    MEGABYTE,
    TABLES,
    BadRow,
    Converter,
    Limits,
    read,
)
from autodata.documents.text import BUDGET, FormatError, stated_license
from autodata.tasks.types import Document, digest

# As ledger.FILE: rooms side by side do not import each other.
RUN_FILE = "run.db"

SHORTEST = 60
"""Characters of the shortest text worth a question: a sentence."""


TEXT_FROM = 1_000  # characters that make a string a text, not a path
TITLE = 60  # characters of a text's beginning that name it
FRONT = 8_192  # bytes of a file in which it states its licence
LABELS = ("name", "title", "source")  # what names a document, in mappings and in metadata
Documents: TypeAlias = str | Path | Mapping[str, Any] | Document | Iterable[Any]

LEAVES = "a link out of the folder: name its target to have it read"


class Skipped(NamedTuple):
    """A file, row or path that gave no document, and why."""

    path: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


class Copied(Skipped):
    """A file, row or passage that was named twice or has the text of another: nothing is lost."""

    def __str__(self) -> str:
        return f"{super().__str__()}; worked on once"


class CorpusError(ValueError):
    """Nothing could be read; the message lists each path and why."""


class Ingest:
    """The documents of a corpus, read file by file as they are iterated, once.

    `skipped` names what gave no document; it is complete when the iteration is.
    """

    def __init__(self, found: Iterator[Document | Skipped]) -> None:
        self.skipped: list[Skipped] = []
        self._documents = self._once_each(found)
        first = next(self._documents, None)
        if first is None:
            reasons = "".join(f"\n  {skipped}" for skipped in self.skipped)
            raise CorpusError(f"no documents to work on:{reasons or ' no path was given'}")
        self._documents = chain([first], self._documents)

    def __iter__(self) -> Iterator[Document]:
        return self._documents

    def _once_each(self, found: Iterator[Document | Skipped]) -> Iterator[Document]:
        names: dict[str, str] = {}
        for item in found:
            if isinstance(item, Skipped):
                self.skipped.append(item)
            elif item.id in names:
                self.skipped.append(Copied(item.name, f"the same text as {names[item.id]}"))
            else:
                names[item.id] = item.name
                yield item


def ingest(
    paths: Iterable[str | Path | Document],
    *,
    per_document: int = 1,
    budget: int = BUDGET,
    shortest: int = SHORTEST,
    limits: Limits = DEFAULT_LIMITS,
) -> Ingest:
    """The documents under these paths in a fixed order, long ones cut into passages.

    A path is a file, a folder (with its subfolders, without hidden files and without links that
    lead out of it), a glob of files, or a Document: a text at hand under its name. `per_document`
    passages of at most `budget` tokens are taken from each text; a text is taken once, and one of
    fewer than `shortest` characters is skipped. A file that is named again is not read again.
    Reads as far as the first document and raises CorpusError when there is none.
    """

    def found() -> Iterator[Document | Skipped]:
        names: dict[str, str] = {}
        with Converter(limits) as converter:
            for file in chain.from_iterable(map(_files, paths)):
                if isinstance(file, Skipped):
                    yield file
                elif isinstance(file, Document):
                    yield from _passages(file, per_document, budget, shortest)
                elif (real := os.path.realpath(file.path)) in names:
                    yield Copied(file.name, f"the same text as {names[real]}")
                else:
                    names[real] = file.name
                    yield from _documents(file, converter, per_document, budget, shortest)

    return Ingest(found())


def other_passages(
    of: Iterable[Document], known: Collection[str], *, budget: int = BUDGET
) -> tuple[list[Document], dict[str, str]]:
    """Another passage, drawn at random, of the file of each of these documents, and by the name of
    each document that has none the reason.

    `known` are ids of passages that are no other ones; no passage is taken twice. A file is read
    where the document was read from it, and cut as then into passages of at most `budget` tokens.
    """
    found, lacking, taken = list[Document](), dict[str, str](), {*known}
    for document in of:
        passages = _passages_beside(document, budget)
        if isinstance(passages, str):
            lacking[document.name] = passages
            continue
        left = sorted((p for p in passages if p.id not in taken), key=lambda p: digest(p.id))
        if not left:
            lacking[document.name] = "no other passage"
            continue
        taken.add(left[0].id)
        found.append(left[0])
    return found, lacking


def _passages_beside(document: Document, budget: int) -> list[Document] | str:
    """All passages of the text that a document is a passage of, or why they cannot be had."""
    meta = document.meta
    path, total = str(meta.get("source", "")), meta.get("passages", 1)
    if total == 1:
        return "no other passage"
    if not meta.get("source_sha256") or not os.path.isfile(path):
        return f"no other passage can be read: {path or 'its file'} is not here"
    try:
        read = list(ingest([path], per_document=total, budget=budget))
    except CorpusError:
        return f"no other passage can be read: {path} cannot be read any more"
    if any(one.meta["source_sha256"] != meta["source_sha256"] for one in read):
        return f"no other passage can be read: {path} has changed since"
    name = document.name.removesuffix(f" [{meta['passage']}/{total}]")
    return [
        one.model_copy(update={"name": f"{name} [{one.meta['passage']}/{total}]"})
        for one in read
        if one.meta.get("row") == meta.get("row")
    ]


class File(NamedTuple):
    """A file to read, and the name that its documents bear."""

    path: Path
    name: str


def _files(path: str | Path | Document) -> Iterator[File | Document | Skipped]:
    """The files behind a path, in order; a text at hand as it is."""
    if isinstance(path, Document):
        yield path
        return
    root = Path(path)
    if path == "":  # which is this very folder as a path, and rather a variable without a value
        yield Skipped('""', "neither a path nor a text: it is empty")
    elif os.path.isdir(root):
        yield from _walk(root)
    elif os.path.exists(root):
        yield File(root, _shown(Path(root.name)))
    elif glob.has_magic(str(path)):
        found = [
            match for match in map(Path, glob.glob(str(path), recursive=True)) if match.is_file()
        ]
        yield from (File(match, _shown(Path(match.name))) for match in sorted(found))
        if not found:
            yield Skipped(str(path), "no file matches")
    else:
        yield Skipped(str(path), "there is no such file or folder")


def _walk(root: Path) -> Iterator[File | Skipped]:
    """The files below a folder. Links within it are followed, but no folder twice; links that leave
    it are named, since whoever gave the folder may not know where they lead. No run folder."""
    seen: set[str] = set()
    unread: list[OSError] = []
    inside = Path(os.path.realpath(root))
    empty = True
    for folder, subfolders, names in os.walk(root, followlinks=True, onerror=unread.append):
        real = os.path.realpath(folder)
        if real in seen:
            subfolders.clear()
            continue
        seen.add(real)
        if RUN_FILE in names:  # a run folder: its exports and cards are no documents
            subfolders.clear()
            continue
        shown = [name for name in sorted(subfolders) if not name.startswith(".")]
        subfolders[:] = [name for name in shown if not _leaves(Path(folder, name), inside)]
        leaving = [name for name in shown if name not in subfolders]
        for path in (Path(folder, n) for n in sorted(names) if not n.startswith((".", "~$"))):
            if _leaves(path, inside):
                leaving.append(path.name)
            else:
                empty = False
                yield File(path, _shown(path.relative_to(root)))
        for name in leaving:
            yield Skipped(_shown(Path(folder, name)), LEAVES)
        empty = empty and not leaving
    yield from (
        Skipped(str(error.filename), f"cannot be read: {error.strerror}") for error in unread
    )
    if empty and not unread:
        yield Skipped(str(root), "the folder holds no files to read")


def _leaves(path: Path, inside: Path) -> bool:
    """Whether a path is a link to something outside a folder; a broken link leads nowhere."""
    if not path.is_symlink() or not path.exists():
        return False
    return not Path(os.path.realpath(path)).is_relative_to(inside)


def _documents(
    file: File, converter: Converter, take: int, budget: int, shortest: int
) -> Iterator[Document | Skipped]:
    """The passages of one file. What is wrong with it, or with a row, is an item like another."""
    path = _shown(file.path)
    empty = True
    try:
        _check(file.path, converter.limits)
        source = {"source": path, "source_sha256": _sha256(file.path), **_license(file.path)}
        for text in read(file.path, converter):
            empty = False
            row = f":{text.row}" if text.row else ""
            if isinstance(text, BadRow):
                yield Skipped(path + row, text.reason)
            elif too_little := _too_little(text.text, shortest):
                yield Skipped(path + row, too_little)
            else:
                meta = source | ({"row": text.row, **text.meta} if text.row else {})
                for passage in cut(text.text, budget=budget, take=take):
                    yield _document(file.name + row, passage, meta)
        if empty:
            yield Skipped(path, "empty: no rows in it")
    except FormatError as error:
        yield Skipped(path, str(error))
    except OSError as error:
        yield Skipped(path, f"cannot be read: {error.strerror or error}")


def _license(path: Path) -> dict[str, str]:
    """The licence that the file states of itself, if any; rows of a table state theirs in a
    field."""
    if path.suffix.lower() in TABLES:
        return {}
    with path.open("rb") as file:
        begins = file.read(FRONT).decode("utf-8-sig", "replace").replace("\r\n", "\n")
    license = stated_license(begins)
    return {"license": license} if license else {}


def _passages(
    given: Document, take: int, budget: int, shortest: int
) -> Iterator[Document | Skipped]:
    """The passages of a text at hand."""
    if too_little := _too_little(given.text, shortest):
        yield Skipped(given.name, too_little)
        return
    for passage in cut(given.text, budget=budget, take=take):
        yield _document(given.name, passage, given.meta)


def _too_little(text: str, shortest: int) -> str:
    """Why a text is too little to ask about; "" when it is not."""
    length = len(text.strip())
    if not length:
        return "empty: no text in it"
    if length < shortest:
        return f"too little text: {length} of at least {shortest} characters"
    return ""


def _check(path: Path, limits: Limits) -> None:
    """Raises FormatError for what must not even be opened, and OSError where nothing is."""
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise FormatError("not a regular file but a pipe, socket or device")
    suffix = path.suffix.lower()
    most = limits.table_bytes if suffix in TABLES else limits.file_bytes
    if found.st_size > most:
        raise FormatError(f"too large: {_megabytes(found.st_size)} of at most {_megabytes(most)}")
    if suffix == ".docx":
        try:
            with ZipFile(path) as packed:
                unpacked = sum(entry.file_size for entry in packed.infolist())
        except BadZipFile as error:
            raise FormatError(f"not a Word document: {error}") from error
        if unpacked > limits.unpacked_bytes:
            raise FormatError(
                f"too large: it unpacks to {_megabytes(unpacked)} of at most "
                f"{_megabytes(limits.unpacked_bytes)}"
            )


def _megabytes(size: int) -> str:
    return f"{size / MEGABYTE:,.0f} MB"


def _document(name: str, passage: "Passage", meta: Mapping[str, Any]) -> Document:
    part = f" [{passage.number}/{passage.total}]" if passage.total > 1 else ""
    where = {"section": passage.section, "passage": passage.number, "passages": passage.total}
    return Document.of(name + part, passage.text, **{**meta, **where})


def _shown(path: Path) -> str:
    """A path as text for people: bytes that are no UTF-8 are replaced."""
    return path.as_posix().encode("utf-8", "replace").decode()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sources(documents: Documents) -> Iterable[str | Path | Document]:
    """What a caller gives, as `ingest` takes it. Raises TypeError at what is no document.

    One document or an iterable of them: paths; texts, strings of several lines or of more than
    1,000 characters; Documents; mappings with a `text`; objects with a `page_content` and
    `metadata`, as LangChain's.
    """
    if _is_one(documents):
        return [_one(documents)]
    if isinstance(documents, bytes | IOBase) or not isinstance(documents, Iterable):
        raise TypeError(f"documents are paths, texts or objects with a text, not {documents!r:.99}")
    return map(_one, documents)


def _is_one(given: object) -> bool:
    return isinstance(given, str | Path | Mapping | Document) or hasattr(given, "page_content")


def _one(given: Any) -> str | Path | Document:
    if isinstance(given, Path | Document):
        return given
    if isinstance(given, str):
        return _text(given, {}) if "\n" in given or len(given) > TEXT_FROM else given
    if isinstance(given, Mapping):
        text, meta = given.get("text"), {k: v for k, v in given.items() if k != "text"}
        if text is None and "text" in given:  # a row like others of its dataset, without a text
            text = ""
    else:  # as LangChain's documents are
        text, meta = getattr(given, "page_content", None), getattr(given, "metadata", {})
    if not isinstance(text, str):
        raise TypeError(f"a document has no text: {given!r:.200}")
    return _text(text, meta)


def _text(text: str, meta: Mapping[str, Any]) -> Document:
    """A text under its name, or else that of its first line."""
    first = next(iter(text.strip().splitlines()), "").lstrip("# ")[:TITLE].strip()
    name = next((meta[key] for key in LABELS if isinstance(meta.get(key), str)), first or "a text")
    kept = {
        key: value
        for key, value in meta.items()
        if isinstance(key, str)
        and isinstance(value, str | int | float | bool)
        and key not in Document.model_fields
    }
    return Document.of(name, text, **kept)


CHARACTERS_PER_TOKEN = 4
"""The usual estimate for prose in Latin script; a tokenizer would be a download."""


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
