"""Accepted examples as files for training, each with its dataset card."""

import importlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, get_args

from autodata.ledger.cards import arms_card, card
from autodata.ledger.filters import (
    LEAST_LENGTHS,
    ArmRow,
    Chosen,
    ChosenExample,
    Condition,
    ExportError,
    ExportOptions,
    LengthBin,
    Resampled,
    Sized,
    Split,
    digest_of,
    kept_together,
    left_out_line,
    length_arms,
    matched,
    origin_of,
    split_of,
    stratified,
    words,
)
from autodata.ledger.ledger import Ledger
from autodata.ledger.packages import (
    Prompts,
    card_at,
    folder_for,
    write_data_set,
    write_sessions,
    write_taskset,
)
from autodata.ledger.quality import contaminated, read_benchmark_files
from autodata.ledger.records import (
    EXPORT_FORMATS,
    FOLDER_FORMATS,
    ROW_NUMBERS,
    ExampleUsage,
    Format,
    Record,
    record_of,
    takes,
    texts_of,
    with_votes,
)
from autodata.ledger.rows import Example, RunRow, from_text, to_json
from autodata.ledger.summary import JUDGED_AGAIN
from autodata.tasks.diversity import same_texts

EVERYTHING = ExportOptions()
"""All accepted examples, for training."""

_BATCH = 256  # rows per Parquet row group: keeps memory flat


class Exported(NamedTuple):
    """The file, its dataset card, and how many rows it has; of a split the file to train on.

    `documents` counts the texts that they come from. `test` is the other file of a split with
    `test_rows` from `test_documents`; `left_out` says how many examples each choice left out.
    """

    path: Path
    card: Path
    rows: int
    documents: int = 0
    test: Path | None = None
    test_rows: int = 0
    test_documents: int = 0
    left_out: Mapping[str, int] = {}
    bins: Sequence[LengthBin] = ()


class ExportedArms(NamedTuple):
    """The files of the length test's arms, each with so many rows, and their README."""

    paths: Sequence[Path]
    readme: Path
    rows: int


class SelectedRows(NamedTuple):
    """What is exported: rows of some runs' examples, in a format, as options chose them."""

    ledger: Ledger
    runs: Sequence[RunRow]
    format: Format
    options: ExportOptions
    chosen: Chosen

    def records(self, split: Split | None = None) -> Iterator[Record]:
        """The full examples of a split, or all, as `record_of` makes them: read one at a time."""
        kept = {
            each.id: each for each in self.chosen.examples if split is None or each.split == split
        }
        index = 0
        for run in self.runs:
            for example in self.ledger.examples(run.id):
                if one := kept.get(example.id):
                    usage = _usage(self.ledger, example)
                    wrote = usage._replace(challenger_call_id=_written_by(self.ledger, example))
                    yield record_of(example, run, wrote, index, one.source, one.split)
                    index += 1

    def rows(self, split: Split | None = None) -> Iterator[Record]:
        """The rows of a split, or all, in the shape of the format."""
        for record in self.records(split):
            yield from self.format.rows(record)

    def first_rows(self, seen: list[ArmRow]) -> Iterator[Record]:
        """The first row of each example, and what it holds noted in `seen`."""
        origins = {each.id: each.origin for each in self.chosen.examples}
        for record in self.records():
            row = next(self.format.rows(record))
            seen.append(
                ArmRow(
                    origin=origins[record["id"]],
                    words=record["meta"]["question_words"],
                    characters=sum(map(len, texts_of(record, row))),
                    weak=record["weak_pass_rate"],
                    strong=record["strong_pass_rate"],
                )
            )
            yield row


def export(
    ledger: Ledger,
    format: str,
    path: Path | None = None,
    run_id: str | None = None,
    options: ExportOptions = EVERYTHING,
    prompts: Prompts | None = None,
) -> Exported:
    """Write the examples of a run (by default of all runs) and a dataset card beside them.

    `path` may end in `.jsonl` or `.parquet` for any format, or be a folder; by default the file
    goes into the run folder under the format's name. The options choose examples; with a
    `test_share` there are two files, `x-train.jsonl` and `x-test.jsonl`, and one card. All files
    appear whole or not at all. A format of FOLDER_FORMATS is a folder with its card in README.md;
    `prompts` are those of solver and judge, for `verifiers`. Raises ExportError when no example is
    left, the folder does not exist, the format or suffix is unknown, or pyarrow is missing for
    Parquet.
    """
    selected = select(ledger, format, run_id, options)
    chosen, form = selected.chosen, selected.format
    if format in FOLDER_FORMATS:
        return _export_folder(selected, path, prompts)
    path = _place(path, ledger.path.parent, f"{_STEMS.get(format, format)}{form.suffix}")
    write = _WRITERS.get(path.suffix)
    if write is None:
        raise ExportError(f"{path.name} must end in {' or '.join(_WRITERS)}")
    # x.jsonl and x.parquet may lie side by side.
    described = card_at(path.with_suffix(".md" if path.suffix == ".jsonl" else f"{path.suffix}.md"))
    splits: tuple[Split, ...] = ("train", "test") if options.test_share else ("train",)
    files = {
        split: path.with_stem(f"{path.stem}-{split}") if options.test_share else path
        for split in splits
    }
    with ExitStack() as drafts:
        for split, file in files.items():
            write(drafts.enter_context(_replaced(file)), form, selected.rows(split))
        text = drafts.enter_context(_replaced(described))
        names = {split: file.name for split, file in files.items()}
        text.write_text(card(ledger, selected.runs, form, names, chosen, options), encoding="utf-8")
    return Exported(
        path=files["train"],
        card=described,
        rows=chosen.rows("train"),
        documents=chosen.documents("train"),
        test=files.get("test"),
        test_rows=chosen.rows("test"),
        test_documents=chosen.documents("test"),
        left_out=chosen.left_out,
        bins=chosen.bins,
    )


def _export_folder(selected: SelectedRows, path: Path | None, prompts: Prompts | None) -> Exported:
    ledger, runs, form, options, chosen = selected
    splits: tuple[Split, ...] = ("train", "test") if options.test_share else ("train",)
    rows = {split: selected.rows(split) for split in splits}

    tasks = "-".join(sorted({run.task for run in runs}))
    with folder_for(path, ledger.path.parent, form.name) as (place, draft):

        def described(names: Mapping[Split, str]) -> str:
            held = sorted(file for name in names.values() for file in draft.glob(name))
            return card(ledger, runs, form, names, chosen, options, digest_of(held))

        if form.name == "hf":
            names = write_data_set(draft, form, rows, described, _write_parquet)
        elif form.name == "traces":
            names = write_sessions(draft, form, rows, described, ledger)
        elif prompts is None:
            raise ExportError("a taskset holds the prompts of solver and judge; hand them over")
        else:
            name = place.name if place.name != form.name else f"autodata-{tasks}"
            names = write_taskset(draft, form, rows, described, _write_jsonl, name, prompts)
    return Exported(
        path=place,
        card=place / "README.md",
        rows=chosen.rows("train"),
        documents=chosen.documents("train"),
        test=place / names["test"].removesuffix("/*.jsonl") if options.test_share else None,
        test_rows=chosen.rows("test"),
        test_documents=chosen.documents("test"),
        left_out=chosen.left_out,
        bins=chosen.bins,
    )


def select(
    ledger: Ledger, format: str, run_id: str | None = None, options: ExportOptions = EVERYTHING
) -> SelectedRows:
    """The rows of a run, by default of all runs, that the options choose. Raises ExportError where
    none are left, in a split neither, and when the format is unknown."""
    selected = _selected(ledger, format, run_id, options)
    latest, chosen = ledger.run(run_id), selected.chosen
    if not chosen.examples:
        raise ExportError(_nothing(selected, latest))
    documents = [chosen.documents(split) for split in get_args(Split)]
    if options.test_share and 0 in documents:
        raise ExportError(
            f"a test share of {options.test_share:g} puts {documents[0]} documents in train and "
            f"{documents[1]} in test, since each is dealt by itself; more documents or another "
            "share give both some"
        )
    return selected


def export_arms(
    ledger: Ledger,
    one_shot: Path,
    format: str,
    folder: Path,
    run_id: str | None = None,
    options: ExportOptions = EVERYTHING,
) -> ExportedArms:
    """Write the four arms of the length test into a folder: this run's examples as the agentic
    ones, those of the run folder `one_shot`, and each drawn to have the other's lengths.

    A file of equally many rows for each arm, one of each example, and a README. Lengths are those
    of questions in words. Raises ExportError as `export`, where the runs have no lengths in common,
    and at options that draw or split.
    """
    if options.test_share or options.match_lengths or options.stratify:
        raise ExportError(
            "the length test draws by itself: without test_share, match_lengths and stratify"
        )
    if format in FOLDER_FORMATS:
        raise ExportError(f"an arm of the length test is a file, and {format} makes a folder")
    if not folder.is_dir() and not folder.parent.is_dir():
        raise ExportError(f"there is no folder {folder.parent}; make it, or name another place")
    with Ledger.open(one_shot, create=False) as other:
        given = (select(other, format, None, options), select(ledger, format, run_id, options))
        asked = [[each.question for each in one.chosen.examples] for one in given]
        names = (one_shot.name, ledger.path.parent.name)
        for questions, name in zip(asked, names, strict=True):
            _distributed([each.words for each in questions], name)
        arms = length_arms(asked[0], asked[1], options.length_bins)
        for n, drawn in enumerate(arms.values()):
            if any(not bin.found for bin in drawn.bins):
                raise ExportError(_no_length(drawn, asked[n // 2], names[1 - n // 2]))
        folder.mkdir(exist_ok=True)
        return _write_arms(given, arms, folder, options)


def _write_arms(
    given: Sequence[SelectedRows],
    arms: Mapping[str, Resampled],
    folder: Path,
    options: ExportOptions,
) -> ExportedArms:
    """The files of arms whose first half is drawn of the first run's rows, the rest of the other's,
    and their README: all, or none."""
    form, readme = given[0].format, card_at(folder / "README.md")
    held = dict[str, list[ArmRow]]()
    files = {arm: folder / f"{arm}{form.suffix}" for arm in arms}
    with ExitStack() as drafts:
        written = []
        for n, (arm, drawn) in enumerate(arms.items()):
            of = given[n // 2]
            one = of._replace(chosen=of.chosen.keeping(drawn, "draw"))
            held[arm] = []
            written.append(draft := drafts.enter_context(_replaced(files[arm])))
            _WRITERS[form.suffix](draft, of.format, one.first_rows(held[arm]))
        runs, contents = [*given[0].runs, *given[1].runs], digest_of(written)
        text = arms_card(runs, form, files, held, arms, options, contents)
        drafts.enter_context(_replaced(readme)).write_text(text, encoding="utf-8")
    return ExportedArms(tuple(files.values()), readme, len(held["3-agentic"]))


def arrow_table(
    ledger: Ledger, format: str, run_id: str | None = None, options: ExportOptions = EVERYTHING
) -> Any:
    """The rows that `export` would write, none included, as a `pyarrow.Table`; those of a split say
    so. Raises ExportError when the format is unknown or pyarrow is missing."""
    selected = _selected(ledger, format, run_id, options)
    arrow, _ = _arrow()
    rows = _valid(list(selected.rows()))
    return arrow.Table.from_pylist(rows, schema=_schema(arrow, selected.format))


def _selected(
    ledger: Ledger, format: str, run_id: str | None, options: ExportOptions
) -> SelectedRows:
    runs = [ledger.run(run_id)] if run_id else ledger.runs_with_examples() or [ledger.run()]
    form = _format(ledger, runs, format)
    chosen = _chosen(ledger, runs, form, options)
    chosen = chosen._replace(examples=_dealt(ledger, chosen.examples, options.test_share))
    return SelectedRows(ledger, runs, form, options, _of_lengths(chosen, options))


def _format(ledger: Ledger, runs: Iterable[RunRow], format: str) -> Format:
    """The format of this name, with the judge's votes where there are any. Raises ExportError."""
    formats = {**EXPORT_FORMATS, **FOLDER_FORMATS}
    chosen = formats.get(format)
    if chosen is None:
        raise ExportError(f"unknown format {format!r}; there are {', '.join(formats)}")
    votes = any(ledger.query(f"{JUDGED_AGAIN} limit 1", [run.id]) for run in runs)
    return with_votes(chosen) if votes else chosen


def _chosen(
    ledger: Ledger, runs: Iterable[RunRow], format: Format, options: ExportOptions
) -> Chosen:
    """The examples that yield rows of the format and keep the options' conditions."""
    conditions = [Condition.parse(text, ROW_NUMBERS) for text in options.where]
    read = read_benchmark_files(options.decontaminate)
    benchmarks = {f"words shared with {name}": benchmark for name, benchmark in read.items()}
    asked = ([_NOT_CONFIRMED] if options.confirmed else []) + list(map(str, conditions))
    asked += benchmarks
    kept, left_out = list[ChosenExample](), dict.fromkeys(asked, 0)
    unmeasured = Counter[str]()
    for run in runs:
        origins = _origins(ledger, run)
        for example in ledger.examples(run.id):
            origin = origins[example.document_id]
            record = record_of(example, run, _usage(ledger, example), 0, origin)
            rows = sum(1 for _ in format.rows(record))
            if options.confirmed and not example.confirmed:
                left_out[_NOT_CONFIRMED] += 1
            elif why := next((w for w, b in benchmarks.items() if contaminated([example], b)), ""):
                left_out[why] += 1
            elif failed := next((c for c in conditions if not c.holds(record)), None):
                left_out[str(failed)] += 1
                unmeasured[str(failed)] += failed.holds(record) is None
            elif not rows:
                why = f"{format.name}, which takes {takes(format)}"
                left_out[why] = left_out.get(why, 0) + 1
            else:
                kept.append(
                    ChosenExample(
                        id=example.id,
                        run_id=run.id,
                        document_id=example.document_id,
                        origin=origin,
                        source=origin,
                        split="train",
                        question=_sized(example.candidate.question),
                        rows=rows,
                    )
                )
    told = {
        f"{why} ({unmeasured[why]} of them not measured)" if unmeasured[why] else why: count
        for why, count in left_out.items()
    }
    return Chosen(tuple(kept), told)


def _dealt(
    ledger: Ledger, examples: Iterable[ChosenExample], test_share: float
) -> tuple[ChosenExample, ...]:
    """The examples, each with its source and its split. All documents of the folder are compared,
    one at a time in memory, so that no choice of examples moves one."""
    rows = ledger.query("select id, name, meta from documents order by id")
    origins = [origin_of(r["id"], from_text(r["name"]), json.loads(r["meta"])) for r in rows]
    leads = kept_together(origins, same_texts(ledger.document(r["id"]).text for r in rows))
    return tuple(
        e._replace(source=leads[e.origin], split=split_of(leads[e.origin], test_share))
        for e in examples
    )


_NOT_CONFIRMED = "confirmed"


def _origins(ledger: Ledger, run: RunRow) -> dict[str, str]:
    """Of each document of a run's examples, what passages of one text have in common."""
    rows = ledger.query(
        "select documents.id, name, documents.meta from documents"
        " join examples on document_id = documents.id where run_id = ?",
        [run.id],
    )
    return {
        row["id"]: origin_of(row["id"], from_text(row["name"]), json.loads(row["meta"]))
        for row in rows
    }


def _sized(question: str) -> Sized:
    return Sized(question, words(question))


def _of_lengths(chosen: Chosen, options: ExportOptions) -> Chosen:
    """Those of the examples that have the lengths asked for."""
    questions = [each.question for each in chosen.examples]
    if options.stratify and questions:
        drawn = stratified(questions, options.length_bins)
        return chosen.keeping(drawn, "as many of each length")
    if options.match_lengths is None or not questions:
        return chosen
    with Ledger.open(options.match_lengths, create=False) as other:
        lengths = question_lengths(other)
    _distributed(lengths, str(options.match_lengths))
    drawn = matched(questions, lengths, options.length_bins)
    if not drawn.kept:
        raise ExportError(_no_length(drawn, questions, str(options.match_lengths)))
    return chosen.keeping(drawn, f"the lengths of {options.match_lengths.name}")


def question_lengths(ledger: Ledger) -> list[int]:
    """The words of the questions of all examples of a run folder."""
    rows = ledger.query(
        "select question from examples where run_id in (select value from json_each(?))"
        " order by rowid",
        [to_json([run.id for run in ledger.runs_with_examples()])],
    )
    return [words(from_text(row["question"])) for row in rows]


def _distributed(lengths: Sequence[int], run: str) -> None:
    """Raises ExportError where lengths are too few to be matched."""
    if len(lengths) < LEAST_LENGTHS:
        raise ExportError(
            f"{run} has {len(lengths)} examples to match; {LEAST_LENGTHS} are the fewest whose "
            "lengths have a distribution"
        )


def _no_length(drawn: Resampled, questions: Sequence[Sized], other: str) -> str:
    lacking = ", ".join(str(bin) for bin in drawn.bins if not bin.found)
    have = sorted(question.words for question in questions)
    return (
        f"the {len(have)} questions ({have[0]}–{have[-1]} words) cannot have the lengths of "
        f"{other}: none has {lacking} words; fewer --length-bins than {len(drawn.bins)} match more "
        "coarsely"
    )


def _place(asked: Path | None, run: Path, name: str) -> Path:
    """The file to write. No folder is made for it: a slip of the pen would leave it anywhere."""
    path = asked or run
    if path.is_dir():
        return path / name
    if not path.parent.is_dir():
        raise ExportError(f"there is no folder {path.parent}; make it, or name another place")
    return path


_STEMS = {"jsonl": "examples", "parquet": "examples"}


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


def _nothing(selected: SelectedRows, run: RunRow) -> str:
    ledger, left_out = selected.ledger, selected.chosen.left_out
    found = [example.confirmed for example in ledger.examples(run.id)]
    if selected.options.confirmed and found and found.count(None) == len(found):
        return (
            f"no example of run {run.id} was measured afresh; `autodata remeasure "
            f"{ledger.path.parent}` does it"
        )
    if selected.options.confirmed and found and not any(found):
        return (
            f"fresh attempts bear out no example of run {run.id}: {found.count(False)} of "
            f"{len(found)} did not pass again, {found.count(None)} were not measured afresh"
        )
    if found and (selected.options.where or selected.options.decontaminate):
        return f"no example of run {run.id} is left: {left_out_line(left_out)}"
    if found:
        return f"no example of run {run.id} yields a row of {selected.format.name}"
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
