"""The rows of exported files: read and checked, shuffled, documents and questions kept apart."""

import json
import random
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

SCORED_BY = ("task", "context", "question", "question_type", "rubric", "reference_answer")


class RowsError(ValueError):
    """A file cannot be used: the message says which, where, and what to do."""


def read_rows(path: Path, columns: Sequence[str], format: str) -> list[dict[str, Any]]:
    """The rows of a file that `autodata export --format …` wrote, each with these columns, as they
    are written there, and a `meta` that names its document. Raises RowsError."""
    rows: list[dict[str, Any]] = []
    anew = _anew(path, format)
    for number, row in numbered_rows(path, format):
        if lacking := [name for name in (*columns, "meta") if name not in row]:
            raise RowsError(f"{path}, line {number} has no column {', '.join(lacking)}; {anew}")
        if not isinstance(row["meta"], dict) or row["meta"].get("document_id") in (None, ""):
            raise RowsError(f"{path}, line {number}: `meta` names no document_id; {anew}")
        if unfit := [name for name in row if not _fits(name, row[name])]:
            raise RowsError(f"{path}, line {number}: `{unfit[0]}` is not as exported; {anew}")
        rows.append(row)
    return rows


def numbered_rows(path: Path, format: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a file of JSON lines, whatever they hold, with the numbers of their lines from
    1. Raises RowsError for a file that is missing, empty or not such."""
    anew, found = _anew(path, format), False
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except FileNotFoundError:
        raise RowsError(f"there is no file {path}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise RowsError(f"{path} cannot be read as lines of JSON: {error}; {anew}") from None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            told = getattr(error, "msg", error)
            raise RowsError(f"{path}, line {number} is no JSON: {told}; {anew}") from None
        if not isinstance(row, dict):
            raise RowsError(f"{path}, line {number} is no JSON object; {anew}")
        found = True
        yield number, row
    if not found:
        raise RowsError(f"{path} is empty: the run accepted nothing, or a filter left nothing")


def _anew(path: Path, format: str) -> str:
    return f"write it anew with `autodata export RUN --format {format} -o {path}`"


def _fits(column: str, value: Any) -> bool:
    """Whether a column holds what exports write into it."""
    if column in ("prompt", "messages", "rubric"):
        words = ("criterion",) if column == "rubric" else ("role", "content")
        return (
            isinstance(value, list)
            and all(
                isinstance(each, dict)
                and all(isinstance(each.get(name), str) for name in words)
                and (column != "rubric" or type(each.get("weight")) in (int, float))
                for each in value
            )
            and bool(value or column == "rubric")
        )
    if column == "question_type":
        return value is None or isinstance(value, str)
    return column not in SCORED_BY or isinstance(value, str)


def document_of(row: Mapping[str, Any]) -> str:
    """The text that a row comes from: the same for its passages, and for texts that are nearly the
    same. In exports from before that column the id of the document."""
    return str(row["meta"].get("document_source") or row["meta"]["document_id"])


def shuffled(
    rows: Sequence[Mapping[str, Any]], seed: int, limit: int | None = None
) -> list[Mapping[str, Any]]:
    """The rows in an order drawn by the seed, then the first `limit` of them: a file is ordered by
    its documents, and its beginning is no sample of it."""
    drawn = list(rows)
    random.Random(seed).shuffle(drawn)
    return drawn[:limit]


def passes(count: int, length: int, seed: int) -> list[int]:
    """`length` numbers of rows, out of `count`: pass after pass, each in an order of its own. A
    longer list begins with the shorter one, so that steps can be added to a training."""
    found: list[int] = []
    number = 0
    while len(found) < length:
        order = list(range(count))
        random.Random(f"{seed}/{number}").shuffle(order)
        found += order
        number += 1
    return found[:length]


def refuse_overlap(
    train: Iterable[Mapping[str, Any]], others: Iterable[Mapping[str, Any]], other: str
) -> None:
    """Raises RowsError where questions stand on both sides, or documents do, unless all rows were
    split by question (`mix.py --split-by question`)."""
    train, others = list(train), list(others)
    documents = {document_of(row) for row in train} & {document_of(row) for row in others}
    by_question = all(row["meta"].get("split_by") == "question" for row in (*train, *others))
    if documents and not by_question:
        raise RowsError(
            f"{len(documents)} documents of {other} are trained on as well, such as "
            f"{min(documents)}: a score there would be remembered, not earned. Split by document: "
            "`autodata export --test-share 0.1`"
        )
    same = _asked(train) & _asked(others)
    if same:
        raise RowsError(f"questions of {other} are trained on as well, such as “{min(same)[:60]}”")


def _asked(rows: Iterable[Mapping[str, Any]]) -> set[str]:
    """What is asked, by the question and by the prompt, of which each format has one or both;
    without what only changes their look."""
    found: set[str] = set()
    for row in rows:
        turns = row.get("prompt") or row.get("messages") or ()
        prompt = " ".join(turn["content"] for turn in turns if turn["role"] != "assistant")
        question = f"{row.get('context', '')} {row.get('question', '')}"
        found |= {normalised(text) for text in (prompt, question)}
    return found - {""}


def normalised(text: str) -> str:
    """The words of a text: two that differ in case, spaces, punctuation or the form of their
    characters alone ask the same. Signs of mathematics stay."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(re.findall(r"\d+(?:[.,]\d+)+|\w+|[-+*/^=<>\\−×÷·|{}]", plain))
