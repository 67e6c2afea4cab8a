"""Accepted examples as files for training, each with its dataset card."""

import importlib
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from autodata.ledger.cards import card
from autodata.ledger.ledger import Ledger
from autodata.ledger.records import (
    EXPORT_FORMATS,
    ExampleUsage,
    Format,
    Record,
    record_of,
    with_votes,
)
from autodata.ledger.rows import Example, RunRow, to_json
from autodata.ledger.summary import JUDGED_AGAIN

_BATCH = 256  # rows per Parquet row group: keeps memory flat


class ExportError(ValueError):
    """Nothing could be exported; the message says why and what to do."""


class Exported(NamedTuple):
    """The file, its dataset card, and how many rows it has."""

    path: Path
    card: Path
    rows: int


def export(
    ledger: Ledger,
    format: str,
    path: Path | None = None,
    run_id: str | None = None,
    *,
    confirmed: bool = False,
) -> Exported:
    """Write the examples of a run (by default of all runs) and a dataset card beside them.

    `path` may end in `.jsonl` or `.parquet` for any format, or be a folder; by default the file
    goes into the run folder under the format's name. With `confirmed` only examples that fresh
    attempts bear out are written. Both files appear whole or not at all. Raises
    ExportError when there is no such example, the folder does not exist, the format or suffix is
    unknown, or pyarrow is missing for Parquet.
    """
    latest = ledger.run(run_id)
    runs = [latest] if run_id else ledger.runs_with_examples() or [latest]
    chosen = _chosen(ledger, runs, format)
    path = _place(path, ledger.path.parent, f"{_STEMS.get(format, format)}{chosen.suffix}")
    write = _WRITERS.get(path.suffix)
    if write is None:
        raise ExportError(f"{path.name} must end in {' or '.join(_WRITERS)}")
    # x.jsonl and x.parquet may lie side by side.
    described = path.with_suffix(".md" if path.suffix == ".jsonl" else f"{path.suffix}.md")
    with _replaced(path) as data, _replaced(described) as text:
        count = write(data, chosen, _rows(ledger, runs, chosen, confirmed))
        if count == 0:
            raise ExportError(_nothing(ledger, latest, chosen, confirmed))
        described_as = card(ledger, runs, chosen, path.name, count, confirmed=confirmed)
        text.write_text(described_as, encoding="utf-8")
    return Exported(path, described, count)


def arrow_table(
    ledger: Ledger, format: str, run_id: str | None = None, *, confirmed: bool = False
) -> Any:
    """The rows that `export` would write, none included, as a `pyarrow.Table`. Raises ExportError
    when the format is unknown or pyarrow is missing."""
    runs = [ledger.run(run_id)] if run_id else ledger.runs_with_examples() or [ledger.run()]
    chosen = _chosen(ledger, runs, format)
    arrow, _ = _arrow()
    rows = _valid(list(_rows(ledger, runs, chosen, confirmed)))
    return arrow.Table.from_pylist(rows, schema=_schema(arrow, chosen))


def _chosen(ledger: Ledger, runs: Iterable[RunRow], format: str) -> Format:
    """The format of this name, with the judge's votes where there are any. Raises ExportError."""
    chosen = EXPORT_FORMATS.get(format)
    if chosen is None:
        raise ExportError(f"unknown format {format!r}; there are {', '.join(EXPORT_FORMATS)}")
    votes = any(ledger.query(f"{JUDGED_AGAIN} limit 1", [run.id]) for run in runs)
    return with_votes(chosen) if votes else chosen


def _place(asked: Path | None, run: Path, name: str) -> Path:
    """The file to write. No folder is made for it: a slip of the pen would leave it anywhere."""
    path = asked or run
    if path.is_dir():
        return path / name
    if not path.parent.is_dir():
        raise ExportError(f"there is no folder {path.parent}; make it, or name another place")
    return path


_STEMS = {"jsonl": "examples", "parquet": "examples"}


def _rows(
    ledger: Ledger, runs: Iterable[RunRow], format: Format, confirmed: bool
) -> Iterator[Record]:
    examples = (
        (run, example)
        for run in runs
        for example in ledger.examples(run.id)
        if example.confirmed or not confirmed
    )
    for index, (run, example) in enumerate(examples):
        yield from format.rows(record_of(example, run, _usage(ledger, example), index))


def _usage(ledger: Ledger, example: Example) -> ExampleUsage:
    """What the example's document cost, from the call log."""
    calls = ledger.query(
        "select id, iif(estimated, null, input_tokens) as input_tokens,"
        " iif(estimated, null, output_tokens) as output_tokens"
        " from calls where scope = ? and status != 'failed'",
        [example.document_id],
    )
    return ExampleUsage(
        calls=len(calls),
        input_tokens=sum(call["input_tokens"] or 0 for call in calls),
        output_tokens=sum(call["output_tokens"] or 0 for call in calls),
        by_call={call["id"]: call["output_tokens"] for call in calls},
        challenger_call_id=_written_by(ledger, example),
    )


def _written_by(ledger: Ledger, example: Example) -> int | None:
    """The call whose reply holds the example's question, the last before its attempts.

    None where no model wrote it, a person edited it, or the reply had to be mended to be read.
    """
    asked = [a.call_id for a in (*example.weak, *example.strong) if a.call_id]
    replies = ledger.replies(example.document_id, "challenger")
    question = example.candidate.question
    words = {to_json(question)[1:-1], json.dumps(question)[1:-1]}
    wrote = [
        id
        for id, _, text in replies
        if id < min(asked, default=id + 1) and any(said in text for said in words)
    ]
    return wrote[-1] if wrote else None


def _nothing(ledger: Ledger, run: RunRow, format: Format, confirmed: bool) -> str:
    found = [example.confirmed for example in ledger.examples(run.id)]
    if confirmed and found and found.count(None) == len(found):
        return (
            f"no example of run {run.id} was measured afresh; `autodata remeasure "
            f"{ledger.path.parent}` does it"
        )
    if confirmed and found and not any(found):
        return (
            f"fresh attempts bear out no example of run {run.id}: {found.count(False)} of "
            f"{len(found)} did not pass again, {found.count(None)} were not measured afresh"
        )
    if found:
        return f"no example of run {run.id} yields a row of {format.name}"
    outcomes = list(ledger.outcomes(run.id).values())
    return (
        f"run {run.id} has no accepted example: of {len(outcomes)} finished documents "
        f"{outcomes.count('rejected')} were rejected and {outcomes.count('skipped')} skipped; "
        f"`autodata status {ledger.path.parent}` says why"
    )


@contextmanager
def _replaced(path: Path) -> Iterator[Path]:
    """A file to write that takes the path's place when all went well."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield draft
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _write_jsonl(path: Path, format: Format, rows: Iterable[Record]) -> int:
    count = 0
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for row in rows:
            file.write(to_json(row) + "\n")
            count += 1
    return count


def _write_parquet(path: Path, format: Format, rows: Iterable[Record]) -> int:
    arrow, files = _arrow()
    schema = _schema(arrow, format)
    rows, count = iter(rows), 0
    with files.ParquetWriter(path, schema) as writer:
        while batch := list(islice(rows, _BATCH)):
            writer.write_table(arrow.Table.from_pylist(_valid(batch), schema=schema))
            count += len(batch)
    return count


def _arrow() -> tuple[Any, Any]:
    """pyarrow and its module for Parquet. Raises ExportError."""
    try:
        return importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise ExportError("Parquet needs an extra: pip install 'autodata-loop[parquet]'") from error


def _schema(arrow: Any, format: Format) -> Any:
    return arrow.schema([(name, _type(arrow, shape)) for name, shape in format.shape.items()])


_WRITERS = {".jsonl": _write_jsonl, ".parquet": _write_parquet}


def _type(arrow: Any, shape: Any) -> Any:
    """The Arrow type of a shape of ledger/records.py."""
    if isinstance(shape, dict):
        return arrow.struct([(name, _type(arrow, inner)) for name, inner in shape.items()])
    if isinstance(shape, list):
        return arrow.list_(_type(arrow, shape[0]))
    return {str: arrow.string(), int: arrow.int64(), float: arrow.float64(), bool: arrow.bool_()}[
        shape
    ]


def _valid(value: Any) -> Any:
    """The value with lone surrogates replaced: Parquet holds valid Unicode only."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {name: _valid(inner) for name, inner in value.items()}
    return [_valid(inner) for inner in value] if isinstance(value, list) else value
