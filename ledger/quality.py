"""What the accepted examples of runs are as a set: whether they repeat each other, what they draw
on, and whether their criteria can tell answers apart."""

import json
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby, islice
from pathlib import Path
from typing import Any, NamedTuple

from autodata.ledger.ledger import Ledger
from autodata.ledger.rows import Example, from_text
from autodata.ledger.summary import SOURCE, Figure, mean_by_source, proportion, share, within
from autodata.tasks.diversity import (
    AcceptedQuestion,
    Benchmark,
    DiversityError,
    Overlap,
    Shingles,
    asked,
    compound,
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
    shared,
    shingles,
    skeleton,
)
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


class Quality(Frozen):
    """A set of accepted examples in numbers.

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
    few = "1 source" if len(found.by_source) == 1 else f"{len(found.by_source)} sources"
    even = f"as concentrated as {found.effective_sources:.1f} equal ones (no interval)"
    yield "sources", f"{few}, {largest}; {even}"
    yield "criteria", found.compound.said("state more than one proposition")
    if found.alike.of:
        yield "", found.alike.said("are met by weak and strong attempts alike")


def read_benchmark_file(path: Path) -> Benchmark:
    """The items of a file, as `read_benchmark` reads them. Raises DiversityError, also at what is
    no text, and OSError."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DiversityError(f"{path} is no UTF-8 text; give .jsonl, .json or text") from error
    return Benchmark(read_benchmark(path.name, text))


def contaminated(examples: Sequence[Example], benchmark: Benchmark) -> list[Overlap]:
    """The examples that share words in a row with an item of the benchmark."""
    found = (benchmark.overlap(n, example.candidate) for n, example in enumerate(examples))
    return [overlap for overlap in found if overlap]
