"""What the accepted examples of runs are as a set: whether they repeat each other, what they draw
on, and whether their criteria can tell answers apart; and which set other thresholds would make."""

import json
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby, islice
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from autodata.ledger.ledger import Ledger
from autodata.ledger.rows import Example, Outcome, from_text
from autodata.ledger.summary import (
    SOURCE,
    Figure,
    mean_by_source,
    number,
    proportion,
    share,
    within,
    would_show,
)
from autodata.tasks.diversity import (
    AcceptedQuestion,
    Benchmark,
    DiversityError,
    NearDuplicate,
    Overlap,
    Shingles,
    asked,
    distinct_n,
    drawn_on,
    effective_number,
    met_alike,
    most_similar,
    near_duplicates,
    opening,
    read_benchmark,
    repeated,
    sections,
    semantic_duplicates,
    shared,
    shingles,
    skeleton,
)
from autodata.tasks.measured import AcceptedGap, Redecision, RedecisionCount
from autodata.tasks.measurement import Pairs, in_percent, newcombe_paired
from autodata.tasks.rubric import compound
from autodata.tasks.types import Candidate, Frozen

READ_IN_FULL = 500
"""Documents whose text and rounds are read: at 20,000 words each that takes some seconds."""

SOURCES = f"""
select documents.id as document_id, documents.name, {SOURCE} as source
from documents join rounds on rounds.document_id = documents.id
where run_id in (select value from json_each(?)) and decision in ('accepted', 'rejected')
order by documents.rowid
"""

CANDIDATES = """
select document_id, run_id, candidate from rounds
where run_id in (select value from json_each(?1)) and candidate is not null
  and document_id in (select value from json_each(?2))
order by run_id, document_id, number
"""


ACCEPTED = f"""
select e.document_id, {SOURCE} as source, e.context, e.question
from examples as e join documents on documents.id = e.document_id
where e.run_id = ? order by e.rowid limit -1 offset ?
"""


class AcceptedQuestions:
    """What the accepted examples of runs ask, in the order in which they were accepted; each is
    read once. Usable from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runs: dict[str, list[AcceptedQuestion]] = {}

    def so_far(self, ledger: Ledger, run_id: str, document_id: str) -> list[AcceptedQuestion]:
        """Those of all other documents of the run, up to now."""
        begin = len(self._runs.get(run_id, ()))
        rows = ledger.query(ACCEPTED, [run_id, begin])  # no lock but the ledger's meanwhile
        with self._lock:
            known = self._runs.setdefault(run_id, [])
            for row in rows[len(known) - begin :]:  # another thread may have read some of them
                question, context = from_text(row["question"]), from_text(row["context"])
                text = shingles(f"{context}\n{question}")
                known.append(AcceptedQuestion(row["document_id"], row["source"], question, text))
            return [one for one in known if one.document_id != document_id]

    def before(
        self, ledger: Ledger, run_id: str, document_id: str, number: int, step: str
    ) -> list[AcceptedQuestion]:
        """As `so_far`, as it was when this step of this round was first taken: a replay finds the
        same, whatever was accepted since. Example rows are never deleted, so a count says which."""
        now = self.so_far(ledger, run_id, document_id)
        with ledger.writing() as database:
            database.table("compared").insert(
                {
                    "run_id": run_id,
                    "document_id": document_id,
                    "number": number,
                    "step": step,
                    "examples": len(now),
                },
                ignore=True,
            )
        [row] = ledger.query(
            "select examples from compared where run_id = ? and document_id = ? and number = ?"
            " and step = ?",
            [run_id, document_id, number, step],
        )
        return now[: row["examples"]]


def source_of(ledger: Ledger, document_id: str) -> str:
    """What the passages of one text have in common."""
    [row] = ledger.query(f"select {SOURCE} as source from documents where id = ?", [document_id])
    return str(row["source"])


class CountedShare(Frozen):
    """How many of so many; the interval is Wilson's, or by document where `clustered` says so."""

    found: int
    of: int
    clustered: Figure | None = None

    @property
    def figure(self) -> Figure:
        """The share and its 95 % interval, 0 … 1."""
        return self.clustered or proportion(self.found, self.of)

    def said(self, what: str) -> str:
        """`3 of 79 repeat another (4 %, 1–11)`."""
        if self.clustered is None or self.clustered.value is None:
            return share(self.found, self.of, what)
        between = within(self.clustered.interval, lambda end: f"{100 * end:.0f}")
        said = f"{100 * self.clustered.value:.0f} %{between.replace(' (', ', ').rstrip(')')}"
        return f"{self.found} of {self.of} {what} ({said})"

    def plain(self, name: str) -> dict[str, Any]:
        """All of it as JSON values."""
        return {name: {"found": self.found, "of": self.of, **self.figure.plain("share")}}


class SourceCoverage(NamedTuple):
    """One source: its accepted examples, its sections, and how many of these examples draw on."""

    name: str
    examples: int
    sections: int
    drawn_on: int


class SemanticDuplicates(NamedTuple):
    """Texts that say nearly what others do: the places of those that have embeddings, of `texts`,
    and the pairs of these from a cosine of `least` on by this model."""

    model: str
    least: float
    texts: int
    places: Sequence[int]
    pairs: Sequence[NearDuplicate]

    @property
    def repeated(self) -> CountedShare:
        """Those that would go if one of each group were kept."""
        return CountedShare(found=len(repeated(self.texts, self.pairs)), of=len(self.places))

    @property
    def said(self) -> str:
        """`3 of 79 … (4 %, 1–11), by a cosine from 0.85 of here/m`, and how many have none."""
        lacking, by = self.texts - len(self.places), f"by a cosine from {self.least:g} of"
        more = f"; {lacking} that it did not take are not compared" * bool(lacking)
        found = self.repeated.said("examples mean nearly what an earlier one does")
        return f"{found}, {by} {self.model}{more}"

    def plain(self, names: Sequence[str]) -> dict[str, Any]:
        """All of it as JSON values; the texts have these names."""
        return {
            "model": self.model,
            "cosine_from": self.least,
            "without_embeddings": self.texts - len(self.places),
            **self.repeated.plain("repeated"),
            "pairs": [
                {"first": names[one], "second": names[other], "cosine": round(alike, 4)}
                for one, other, alike in self.pairs
            ],
        }


def semantic(
    model: str, texts: Sequence[str], embeddings: Mapping[str, Sequence[float]], least: float
) -> SemanticDuplicates:
    """The texts that say nearly what others do, by their embeddings. Raises DiversityError where
    the extra for so many is missing."""
    places = [place for place, text in enumerate(texts) if text in embeddings]
    found = semantic_duplicates([embeddings[texts[place]] for place in places], least)
    pairs = [NearDuplicate(places[one], places[other], alike) for one, other, alike in found]
    return SemanticDuplicates(model, least, len(texts), places, pairs)


class Quality(Frozen):
    """A set of accepted examples in numbers, of so many `sources`.

    `near_duplicates` are those that repeat an earlier one, None where the extra for so many is
    missing (`problem` says so); `repeated_rounds` are rounds whose question repeats one of an
    earlier round of its document, of all that had one before. `same_opening` and `same_skeleton`
    count questions that share it with another. `sections` are those of documents that were accepted
    or rejected, over the first `READ_IN_FULL` of these. `effective_sources` is 1 … the number of
    sources. `compound` and `alike` count criteria. `distinct_2` has no interval: it depends on the
    number of examples.
    """

    examples: int
    near_duplicates: CountedShare | None
    problem: str = ""
    pairs: tuple[tuple[str, str, float], ...]
    repeated_rounds: CountedShare
    same_opening: CountedShare
    same_skeleton: CountedShare
    openings: Mapping[str, int]
    distinct_2: float | None
    sections: CountedShare
    documents_read: int
    by_source: tuple[SourceCoverage, ...]
    sources: int
    largest_source: CountedShare
    effective_sources: float | None
    compound: CountedShare
    alike: CountedShare

    def plain(self) -> dict[str, Any]:
        """All of it as JSON values."""
        near = self.near_duplicates
        return {
            "examples": self.examples,
            **(near.plain("near_duplicates") if near else {"near_duplicates": None}),
            "near_duplicate_pairs": [
                {"first": first, "second": second, "similarity": round(alike, 4)}
                for first, second, alike in self.pairs
            ],
            **self.repeated_rounds.plain("repeated_rounds"),
            **self.same_opening.plain("same_opening"),
            **self.same_skeleton.plain("same_skeleton"),
            "openings": dict(self.openings),
            "distinct_2": self.distinct_2,
            **self.sections.plain("sections_drawn_on"),
            "documents_read": self.documents_read,
            "sources": self.sources,
            "by_source": [one._asdict() for one in self.by_source],
            **self.largest_source.plain("largest_source"),
            "effective_sources": self.effective_sources,
            **self.compound.plain("compound_criteria"),
            **self.alike.plain("criteria_met_alike"),
        }


class _Read(NamedTuple):
    """What is kept of one example."""

    id: str
    document_id: str
    text: Shingles
    candidate: Candidate
    alike: list[bool]


def quality(
    ledger: Ledger, run_ids: Sequence[str], examples: Iterable[Example] | None = None
) -> Quality:
    """The examples of these runs, or some `examples` of theirs, as a set. Reads each once."""
    given = json.dumps(list(run_ids))
    chosen = examples
    if chosen is None:
        chosen = (example for run_id in run_ids for example in ledger.examples(run_id))
    found = [
        _Read(e.id, e.document_id, shingles(asked(e.candidate)), e.candidate, _alike(e))
        for e in chosen
    ]
    tried = {row["document_id"]: row for row in ledger.query(SOURCES, [given])}
    source = {id: row["source"] for id, row in tried.items()}
    pairs, near, problem = _repetitions(found)
    questions = [one.candidate.question for one in found]
    openings, skeletons = list(map(opening, questions)), list(map(skeleton, questions))
    read = list(islice(tried, READ_IN_FULL))
    covered = _coverage(ledger, read, tried, found)
    by_source = Counter(source.get(one.document_id, one.document_id) for one in found)
    return Quality(
        examples=len(found),
        near_duplicates=near,
        problem=problem,
        pairs=pairs,
        repeated_rounds=_repeated_rounds(ledger, given, read),
        same_opening=CountedShare(found=shared(openings), of=len(found)),
        same_skeleton=CountedShare(found=shared(skeletons), of=len(found)),
        openings={form: n for form, n in Counter(openings).most_common(10) if n > 1},
        distinct_2=distinct_n(questions),
        sections=CountedShare(
            found=sum(one.drawn_on for one in covered), of=sum(one.sections for one in covered)
        ),
        documents_read=len(read),
        by_source=covered,
        sources=len(by_source),
        largest_source=CountedShare(found=max(by_source.values(), default=0), of=len(found)),
        effective_sources=effective_number(by_source.values()),
        compound=_criteria(
            (source.get(one.document_id, ""), compound(c))
            for one in found
            for c in one.candidate.rubric
        ),
        alike=_criteria(
            (source.get(one.document_id, ""), same) for one in found for same in one.alike
        ),
    )


def _alike(example: Example) -> list[bool]:
    return met_alike(example.candidate.rubric, example.weak, example.strong)


def _criteria(found: Iterable[tuple[str, bool]]) -> CountedShare:
    """How many criteria of all, each with its source: those of one document are alike."""
    listed = list(found)
    figure = mean_by_source((source, float(so)) for source, so in listed)
    return CountedShare(found=sum(so for _, so in listed), of=len(listed), clustered=figure)


def _repetitions(
    found: Sequence[_Read],
) -> tuple[tuple[tuple[str, str, float], ...], CountedShare | None, str]:
    try:
        pairs = near_duplicates([one.text for one in found])
    except DiversityError as error:
        return (), None, str(error)
    named = tuple((found[one].id, found[other].id, alike) for one, other, alike in pairs)
    return named, CountedShare(found=len(repeated(len(found), pairs)), of=len(found)), ""


def _repeated_rounds(ledger: Ledger, run_ids: str, document_ids: Sequence[str]) -> CountedShare:
    rows = ledger.query(CANDIDATES, [run_ids, json.dumps(list(document_ids))])
    repeats = later = 0
    for _, group in groupby(rows, key=lambda row: (row["run_id"], row["document_id"])):
        before: list[Shingles] = []
        for row in group:
            text = shingles(asked(Candidate.model_validate_json(row["candidate"])))
            repeats += most_similar(text, before) is not None
            later += bool(before)
            before.append(text)
    return CountedShare(found=repeats, of=later)


def _coverage(
    ledger: Ledger,
    read: Sequence[str],
    tried: Mapping[str, Mapping[str, Any]],
    found: Sequence[_Read],
) -> tuple[SourceCoverage, ...]:
    """The sources in the order of their documents; the passages of one text are one source."""
    by_document: dict[str, list[Candidate]] = {}
    for one in found:
        by_document.setdefault(one.document_id, []).append(one.candidate)
    sources: dict[str, SourceCoverage] = {}
    for id in read:
        parts = sections(ledger.document(id).text)
        candidates = by_document.get(id, [])
        drawn = {place for candidate in candidates for place in drawn_on(candidate, parts)}
        key = tried[id]["source"]
        name = from_text(tried[id]["name"]).rpartition(" [")[0] or from_text(tried[id]["name"])
        known = sources.get(key, SourceCoverage(name, 0, 0, 0))
        sources[key] = SourceCoverage(
            known.name,
            known.examples + len(candidates),
            known.sections + len(parts),
            known.drawn_on + len(drawn),
        )
    return tuple(sources.values())


def quality_rows(found: Quality) -> Iterator[tuple[str, str]]:
    """A name and what is said of it, for screens, pages and cards."""
    if not found.examples:
        return
    near = found.near_duplicates
    said = near.said("nearly repeat an earlier example") if near else found.problem
    yield "repeated", said
    if found.repeated_rounds.of:
        yield "rounds", found.repeated_rounds.said("ask nearly what an earlier one of theirs asked")
    yield "templates", found.same_opening.said("questions open like another")
    yield "", found.same_skeleton.said("are another one, filled in otherwise")
    if found.distinct_2 is not None:
        yield "distinct-2", f"{found.distinct_2:.2f} (no interval: falls as examples are added)"
    some = f"sections of {found.documents_read} documents are drawn on"
    yield "sections", found.sections.said(some)
    largest = found.largest_source.said("examples are of the largest")
    few = "1 source gave" if found.sources == 1 else f"{found.sources} sources gave"
    even = f"as concentrated as {found.effective_sources:.1f} equal ones (no interval)"
    yield "sources", f"{few} examples, {largest}; {even}"
    yield "criteria", found.compound.said("state more than one proposition")
    if found.alike.of:
        yield "", found.alike.said("are met by weak and strong attempts alike")


def read_benchmark_file(path: Path) -> Benchmark:
    """The items of a file, as `read_benchmark` reads them. Raises DiversityError, also at what is
    no text and where every item is too short to be found, and OSError."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DiversityError(f"{path} is no UTF-8 text; give .jsonl, .json or text") from error
    found = Benchmark(read_benchmark(str(path), text))
    if found.too_short == found.items:
        raise DiversityError(
            f"{path}: no item has {found.n} words, so that none could be found in an example; "
            "give the questions in full, one item a line (.jsonl) or a paragraph"
        )
    return found


def read_benchmark_files(paths: Iterable[Path]) -> dict[str, Benchmark]:
    """Benchmarks by the names of their files, by their whole paths where names are alike; each
    file once. Raises as `read_benchmark_file`."""
    files = list(dict.fromkeys(paths))
    alike = Counter(path.name for path in files)
    return {
        path.name if alike[path.name] == 1 else str(path): read_benchmark_file(path)
        for path in files
    }


def contaminated(examples: Sequence[Example], benchmark: Benchmark) -> list[Overlap]:
    """The examples that share words in a row with an item of the benchmark."""
    found = (benchmark.overlap(n, example.candidate) for n, example in enumerate(examples))
    return [overlap for overlap in found if overlap]


# The set that other thresholds would have made of a run's record: how large, and with what gap.

GapKind = Literal["shown", "fresh", "estimated"]
ESTIMATED_MARK = "≈"


class Axis(NamedTuple):
    """A threshold and the values that it is given; `own` is the one in force."""

    key: str
    values: tuple[float, ...]
    own: float | None

    def said(self, value: float) -> str:
        """`0.50*` where it is the one in force."""
        said = f"{value:.2f}" if isinstance(value, float) else str(value)
        return f"{said}{'*' if value == self.own else ''}"


@dataclass
class Cell:
    """One set of thresholds, `at` these values of the axes, and what they make of each document."""

    at: tuple[float, ...]
    found: list[tuple[Outcome, Redecision]] = field(default_factory=list)
    gaps: list[tuple[str, AcceptedGap]] = field(default_factory=list)  # by source

    @property
    def count(self) -> RedecisionCount:
        """What became of all documents."""
        counted = Counter(new.decision for _, new in self.found)
        return RedecisionCount(counted["accepted"], counted["rejected"], counted["open"])

    def gap(self, kind: GapKind) -> Figure:
        """The mean gap of what would be accepted, by document; nothing where none would be."""
        return mean_by_source(((source, getattr(gap, kind)) for source, gap in self.gaps), -1.0)

    @property
    def kind(self) -> GapKind:
        """Which gap is told: the fresh one where every accepted one has it, else the estimate."""
        return "fresh" if all(gap.fresh is not None for _, gap in self.gaps) else "estimated"

    @property
    def share_said(self) -> str:
        """`50 % (22–78)`, or `38–75 % (14–93)` where some are open."""
        count = self.count
        least, most = (f"{100 * end:.0f}" for end in (count.least, count.most))
        between = f" ({in_percent(count.interval)})" if count.documents > 1 else ""
        return f"{least if least == most else f'{least}–{most}'} %{between}"

    def gap_said(self, kind: GapKind) -> str:
        """`0.37 (0.26–0.48)`, marked where it is an estimate."""
        found = self.gap(kind)
        mark = ESTIMATED_MARK if kind == "estimated" and self.gaps else ""
        return f"{mark}{number(found.value)}{within(found.interval)}"

    def compared(self) -> Iterator[str]:
        """The counts, the pass rates, and whether their difference may be chance."""
        before = Counter(outcome.decision for outcome, _ in self.found)
        after = self.count
        yield (
            f"{after.documents} decided documents: {before['accepted']} accepted as recorded; by "
            f"these thresholds {after.accepted} accepted, {after.rejected} rejected, "
            f"{after.open} open"
        )
        seen = Counter(
            (outcome.decision == "accepted", new.decision == "accepted")
            for outcome, new in self.found
            if new.decision != "open"
        )
        pairs = Pairs(seen[True, True], seen[True, False], seen[False, True], seen[False, False])
        if pairs.documents < 2:
            return
        yield f"as recorded  {share(pairs.both + pairs.lost, pairs.documents)}"
        if pairs.lost or pairs.gained:
            yield f"by these     {share(pairs.both + pairs.gained, pairs.documents)}"
            yield f"difference   {_difference(pairs)}"

    def plain(self, axes: Sequence[Axis]) -> dict[str, Any]:
        """All of it as JSON values; each document where there are no axes."""
        count = self.count
        told = [count.least, count.most, list(count.interval)] if count.documents else [None] * 3
        plain: dict[str, Any] = {
            **{axis.key: value for axis, value in zip(axes, self.at, strict=True)},
            **count._asdict(),
            **dict(zip(("share_least", "share_most", "share_interval"), told, strict=True)),
            "gap_from": self.kind if self.gaps else None,
            "fresh_examples": sum(gap.fresh is not None for _, gap in self.gaps),
        }
        for kind in get_args(GapKind):
            plain |= self.gap(kind).plain(f"{kind}_gap")
        if not axes:
            plain["documents"] = [
                {"document": o.document_id, "name": o.name, "was": o.decision, **new._asdict()}
                for o, new in self.found
            ]
        return plain


def _difference(pairs: Pairs) -> str:
    """In points, with its interval; where it may be chance, which one would show."""
    n, (low, high) = pairs.documents, newcombe_paired(pairs)
    points = f"{100 * (pairs.gained - pairs.lost) / n:+z.0f} points"
    found = f"{points} ({100 * low:+z.0f} to {100 * high:+z.0f})"
    if low > 0 or high < 0:
        return found
    fewer = (pairs.both + min(pairs.lost, pairs.gained)) / n
    return f"{found}, may be chance: {would_show(fewer, n)}"


@dataclass(frozen=True)
class Grid:
    """The cells of a preset: across by the first axis, down by the second, where there are any."""

    preset: str
    axes: Sequence[Axis]
    cells: Sequence[Cell]

    def rows(self) -> Iterator[tuple[str, list[Cell]]]:
        """The cells of each value of the second axis, and how it is headed."""
        if len(self.axes) < 2:
            yield "", list(self.cells)
        for value in self.axes[1].values if len(self.axes) > 1 else ():
            yield self.axes[1].said(value), [cell for cell in self.cells if cell.at[1] == value]

    def notes(self) -> Iterator[str]:
        """What a reader of the cells must know."""
        if any(cell.count.open for cell in self.cells):
            yield (
                "Two shares: were every open document rejected, and were every one accepted. Open "
                "is where the record does not say"
            )
        kinds = {cell.kind for cell in self.cells if cell.gaps}
        if "fresh" in kinds:
            yield "Gaps are those of fresh attempts, which do not decide here"
        if "estimated" in kinds:
            yield (
                f"{ESTIMATED_MARK} true gaps as all attempts at the run's questions let one "
                "estimate them: not every example has fresh attempts. As shown to the gate, gaps "
                "are larger"
            )
        n = self.cells[0].count.documents
        yield f"Intervals are of 95 %, of {n} document{'' if n == 1 else 's'}"

    def plain(self) -> dict[str, Any]:
        """All of it as JSON values."""
        return {
            "preset": self.preset,
            "axes": {axis.key: list(axis.values) for axis in self.axes},
            "in_force": {axis.key: axis.own for axis in self.axes},
            "cells": [cell.plain(self.axes) for cell in self.cells],
        }
