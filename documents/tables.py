"""Tables whose rows are documents: JSON Lines, CSV and Parquet."""

import csv
import importlib
import io
import json
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from autodata.documents.text import FormatError, decode

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
