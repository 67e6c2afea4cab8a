"""One file of any supported format as one or more texts in plain Markdown."""

import csv
import importlib
import io
import json
import logging
import math
import re
import resource
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple
from xml.parsers.expat import ExpatError
from zipfile import BadZipFile

import mammoth
from bs4 import BeautifulSoup, Comment, Tag
from markdownify import markdownify
from pypdf import PdfReader
from pypdf.errors import PyPdfError

from autodata.documents.latex import latex
from autodata.documents.text import FormatError, decode, markdown, rst, tidy

TableRow = Mapping[str, Any]

TEXT_COLUMNS = ("text", "content", "document", "body")
"""A row's document, looked for in this order; a row without is rendered field by field."""

# Where a row came from, not what it says: kept in meta and out of a rendered text.
_PROVENANCE = re.compile(
    r"(?:.*_)?(?:id|ids|uuid|sha|sha256|hash|url|uri|path|file|filename|commit|repo|repository"
    r"|licen[cs]e|source|module|split|date|created_at|updated_at|timestamp)",
    re.IGNORECASE,
)
_LONGEST_FIELD = 2**31 - 1  # characters; csv's own limit of 131,072 is less than a chapter


def jsonl(path: Path) -> Iterator[TableRow | FormatError]:
    """One row per line; a line that is text is a row with a text."""
    for line in decode(path.read_bytes()).split("\n"):  # splitlines would cut at U+2028 in a text
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (RecursionError, ValueError) as error:
            yield FormatError(f"not JSON: {error}")
            continue
        if isinstance(row, str):
            row = {"text": row}
        yield row if isinstance(row, dict) else FormatError("a row is neither an object nor text")


def csv_rows(path: Path) -> Iterator[TableRow | FormatError]:
    """One row per record under the header line; commas, semicolons or tabs between fields."""
    csv.field_size_limit(_LONGEST_FIELD)
    text = decode(path.read_bytes())
    header = text.partition("\n")[0]
    separator = max(",;\t", key=header.count)
    try:
        yield from csv.DictReader(io.StringIO(text, newline=""), delimiter=separator, restkey="")
    except csv.Error as error:
        raise FormatError(f"not CSV: {error}") from error


def parquet(path: Path) -> Iterator[TableRow | FormatError]:
    """One row per record, read in batches. Raises FormatError when pyarrow is not installed."""
    try:
        arrow = importlib.import_module("pyarrow")
        files = importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise FormatError("Parquet needs an extra: pip install 'autodata-loop[parquet]'") from error
    try:
        with files.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=256):
                yield from batch.to_pylist()
    except arrow.ArrowException as error:
        raise FormatError(f"damaged Parquet: {error}") from error


TABLES = {".jsonl": jsonl, ".ndjson": jsonl, ".csv": csv_rows, ".parquet": parquet}


def text_of(row: TableRow) -> tuple[str, dict[str, Any]]:
    """A row's document in Markdown, and its other fields, with the column that it came from.

    Raises FormatError for a row without text.
    """
    rest = {str(name): value for name, value in row.items() if _is_plain(value)}
    named = {str(name).lower(): str(name) for name in row}
    for column in filter(None, map(named.get, TEXT_COLUMNS)):
        text = row[column]
        if isinstance(text, str) and text.strip():
            rest.pop(column)
            return text, {"column": column, "fields": rest}
    spoken = {
        name: value
        for name, value in rest.items()
        if isinstance(value, str) and value.strip() and not _PROVENANCE.fullmatch(name)
    }
    if not spoken:
        raise FormatError(f"no text in the fields {', '.join(map(str, row)) or '(none)'}")
    text = "\n\n".join(f"**{name}:** {value.strip()}" for name, value in spoken.items())
    fields = {name: value for name, value in rest.items() if name not in spoken}
    return text, {"column": ", ".join(spoken), "fields": fields}


def _is_plain(value: object) -> bool:
    """Whether a field may stand in meta: JSON's own scalars."""
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, str | int)


LONGEST_ROW = 1_000_000
"""Characters of a row's text: a book of 150,000 words. Rows are converted in this process."""


class Text(NamedTuple):
    """One text of a file in Markdown: all of it, or one row (counted from 1) with its fields."""

    text: str
    row: int | None = None
    meta: Mapping[str, Any] = {}


class BadRow(NamedTuple):
    """A row that holds no text, and why."""

    row: int
    reason: str


def convert(path: Path) -> str:
    """The text of one file of a format in CONVERTERS. Raises FormatError, and OSError."""
    try:
        return tidy(CONVERTERS[path.suffix.lower()](path.read_bytes()))
    except RecursionError as error:
        raise FormatError("nested too deeply") from error


def read(path: Path, converted: Callable[[Path], str] = convert) -> Iterator[Text | BadRow]:
    """The texts of one file, row by row where it is a table.

    `converted` converts a file that is one text. Raises FormatError when the file as a whole
    cannot be read, and OSError as opening it does.
    """
    suffix = path.suffix.lower()
    if suffix in TABLES:
        for number, row in enumerate(TABLES[suffix](path), start=1):
            yield _of_row(number, row)
    elif suffix in CONVERTERS:
        yield Text(converted(path))
    else:
        raise FormatError(
            f"unsupported format {suffix}" if suffix else "no suffix names its format"
        )


def _of_row(number: int, row: TableRow | FormatError) -> Text | BadRow:
    if isinstance(row, FormatError):
        return BadRow(number, str(row))
    try:
        text, meta = text_of(row)
    except FormatError as error:
        return BadRow(number, str(error))
    if len(text) > LONGEST_ROW:
        return BadRow(number, f"too long: {len(text):,} of at most {LONGEST_ROW:,} characters")
    return Text(tidy(markdown(tidy(text))), number, meta)


# Plain text, PDF, Word, HTML

_NUMERAL = r"(?:[IVX]{1,5}|[A-H])\.?"
_NAMED = r"(?:Chapter|CHAPTER|Section|SECTION|Article|ARTICLE|Part|PART) +[\dIVXLC]+\b[^\n]{0,80}"
_STATUTE = r"(?:Sec\.|§) *\d[\w.-]*\. +\S[^\n]*"
_HEADING = re.compile(
    rf"(?:(?<=\n)|\A) *({_NUMERAL}) *(?=\n|\Z)"
    rf"|(?:(?<=\n\n)|\A) *({_NAMED}(?=\n\n)|{_STATUTE}(?=\n|\Z))"
)


def plain(text: str) -> str:
    """Plain text with the headings it has (lone numerals, `Section 3`, `Sec. 4. …`) as Markdown."""
    if re.search(r"^#{1,6} ", text, re.MULTILINE):
        return markdown(text)
    return _HEADING.sub(lambda match: f"\n## {(match[1] or match[2]).strip()}\n", text)


def pdf(data: bytes) -> str:
    """The text of a PDF. Raises FormatError when it is damaged, locked or has no text."""
    logging.getLogger("pypdf").setLevel(logging.ERROR)  # it warns of each flaw that it repairs
    try:
        pages = [page.extract_text() for page in PdfReader(io.BytesIO(data)).pages]
    except (
        PyPdfError,
        ArithmeticError,
        LookupError,
        RecursionError,
        TypeError,
        ValueError,
    ) as error:
        raise FormatError(f"damaged or locked PDF: {error}") from error
    if not any(page.strip() for page in pages):
        raise FormatError("a PDF without text: scanned pages need OCR first")
    return plain(tidy("\f".join([*pages, ""])))


def docx(data: bytes) -> str:
    """The text of a Word document. Raises FormatError when it is none."""
    try:
        converted = mammoth.convert_to_html(
            io.BytesIO(data), convert_image=mammoth.images.img_element(lambda _: {})
        )
    except (BadZipFile, ExpatError, LookupError, ValueError) as error:
        raise FormatError(f"not a Word document: {error}") from error
    return html(converted.value)


_NOISE = (
    "script, style, nav, header nav, footer, aside, form, svg, noscript, template, iframe, button, "
    "select, dt-cite, dt-byline, dt-appendix, .katex-html, .references, .toc, #toc, [hidden], "
    "[aria-hidden=true], [style*='display:none'], [style*='display: none']"
)


def html(text: str) -> str:
    """The main matter of a page: headings, prose, code and TeX maths; captions for figures."""
    with warnings.catch_warnings():  # bs4 guesses at addresses and XML; we know what we have
        warnings.simplefilter("ignore")
        soup = BeautifulSoup(text, "html.parser")
    for comment in soup.find_all(string=lambda string: isinstance(string, Comment)):
        comment.extract()
    for maths in soup.find_all(["dt-math", "d-math"]):
        _set_maths(maths, maths.get_text(), display=maths.has_attr("block"))
    for script in soup.find_all("script", type=re.compile("^math/tex")):
        _set_maths(script, script.get_text(), display="display" in str(script["type"]))
    for annotation in soup.find_all("annotation", encoding="application/x-tex"):
        if whole := annotation.find_parent("math"):
            _set_maths(whole, annotation.get_text(), display=whole.get("display") == "block")
    for noise in soup.select(_NOISE):
        noise.decompose()
    for note in soup.find_all("dt-fn"):
        note.replace_with(f" ({note.get_text().strip()})")
    for figure in soup.find_all("figure"):
        caption = figure.find("figcaption")
        if isinstance(caption, Tag):
            caption.name = "p"
            figure.replace_with(caption)
        else:
            figure.decompose()
    main = soup.find(["article", "main", "dt-article", "d-article"]) or soup.find("body") or soup
    return markdown(_markdown_of(main, soup.title))


def _set_maths(tag: Tag, formula: str, *, display: bool) -> None:
    formula = formula.strip()
    tag.replace_with(f"\n\n$$\n{formula}\n$$\n\n" if display else f"${formula}$")


def _markdown_of(main: Any, title: Tag | None) -> str:
    text: str = markdownify(
        str(main),
        heading_style="ATX",
        bullets="-",
        strip=["a", "img"],
        escape_asterisks=False,
        escape_underscores=False,
        escape_misc=False,
    )
    if title and not re.search(r"^# ", text, re.MULTILINE):
        return f"# {title.get_text().strip()}\n\n{text}"
    return text


def _of_bytes(convert: Callable[[str], str]) -> Callable[[bytes], str]:
    return lambda data: convert(tidy(decode(data)))


CONVERTERS: dict[str, Callable[[bytes], str]] = {
    ".md": _of_bytes(markdown),
    ".txt": _of_bytes(plain),
    ".rst": _of_bytes(rst),
    ".tex": _of_bytes(latex),
    ".html": _of_bytes(html),
    ".pdf": pdf,
    ".docx": docx,
}
CONVERTERS |= {".markdown": CONVERTERS[".md"], ".htm": CONVERTERS[".html"]}


# Conversion in a process of its own, so that no file can hang a run or eat all memory.

MEGABYTE = 1_000_000


class Limits(NamedTuple):
    """What one file may take. Tables, which are read row by row, may be `table_bytes` long."""

    file_bytes: int = 64 * MEGABYTE  # a thousand pages of text are 3 MB
    table_bytes: int = 1000 * MEGABYTE
    unpacked_bytes: int = 256 * MEGABYTE  # of what a .docx holds, by its own directory
    seconds: float = 60.0  # a PDF of a thousand pages takes 20
    memory_bytes: int = 2000 * MEGABYTE
    here_bytes: int = 64_000  # shorter texts cannot take long and are converted in this process


DEFAULT_LIMITS = Limits()
PACKED = frozenset({".pdf", ".docx"})  # formats whose size on disk says little


class Converter:
    """Converts files to Markdown within limits: `with Converter() as convert: convert(path)`.

    One worker process is started for the first file that needs it. Those of `multiprocessing` would
    run the caller's script once more, to its end, where it lacks `if __name__ == "__main__":`.
    """

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        self.limits = limits
        self._worker: subprocess.Popen[bytes] | None = None
        self._asked: Connection | None = None

    def __enter__(self) -> "Converter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._end()

    def __call__(self, path: Path) -> str:
        """The file's text. Raises FormatError, with the limit that it goes beyond, and OSError."""
        if path.suffix.lower() not in PACKED and path.stat().st_size <= self.limits.here_bytes:
            return convert(path)
        asked = self._asked or self._start()
        try:
            asked.send(path.absolute())
            if not asked.poll(self.limits.seconds):
                self._end()
                seconds = f"{self.limits.seconds:g} s"
                raise FormatError(f"reading it takes longer than {seconds}: split it")
            answer: str | FormatError | OSError | MemoryError = asked.recv()
        except (EOFError, ConnectionError) as error:  # it was killed, or failed without a word
            if self._end(patience=10) == 1:
                raise RuntimeError(f"{path}: converting it failed, as said above") from error
            answer = MemoryError()
        if isinstance(answer, MemoryError):
            memory = f"{self.limits.memory_bytes / MEGABYTE:,.0f} MB"
            raise FormatError(f"reading it takes more than {memory} of memory") from answer
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _start(self) -> Connection:
        """Starts the worker, apart from the terminal's signals. Raises OSError."""
        here, there = Pipe()
        places = [str(place) for place in sys.path]
        program = (
            f"import sys; sys.path[:] = {places!r}; from autodata.documents.formats import serve; "
            f"serve({there.fileno()}, {self.limits.memory_bytes})"
        )
        with there:
            self._worker = subprocess.Popen(
                [sys.executable, "-c", program],
                stdin=subprocess.DEVNULL,
                pass_fds=[there.fileno()],
                start_new_session=True,
            )
        self._asked = here
        try:
            here.recv()  # its imports are not the first file's time
        except (EOFError, ConnectionError) as error:
            self._end()
            raise OSError("the process that converts files does not start") from error
        return here

    def _end(self, patience: float = 0) -> int | None:
        """Ends the worker, or lets it end for so many seconds; returns its exit code."""
        worker, self._worker, asked, self._asked = self._worker, None, self._asked, None
        if asked is not None:
            asked.close()
        if worker is None:
            return None
        with suppress(subprocess.TimeoutExpired):
            return worker.wait(patience)
        worker.kill()
        return worker.wait()


def serve(file: int, memory_bytes: int) -> None:
    """Converts the files whose paths come over a connection, within so much memory, until it is
    closed: the work of `Converter`'s process."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, hard))
    with Connection(file) as asking:
        asking.send(None)
        while True:
            try:
                path = asking.recv()
            except (EOFError, ConnectionError):
                return
            try:
                asking.send(convert(path))
            except (FormatError, OSError, MemoryError) as error:
                asking.send(error.with_traceback(None))
