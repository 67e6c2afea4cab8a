"""Whether questions repeat each other, and what they ask about: near-duplicates, templates,
sources, sections, and overlap with benchmarks. Words are compared; meanings are where a model has
made embeddings of the texts."""

import importlib
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from heapq import nsmallest
from itertools import combinations, pairwise
from math import log, sqrt
from operator import mul
from pathlib import PurePath
from typing import Any, NamedTuple
from zlib import crc32

from autodata.tasks.types import Attempt, Candidate, Criterion, Objection, Round

NEAR = 0.7
"""Jaccard similarity of two texts' shingles from which they are near-duplicates. On the corpus runs
different questions of real prose stay below 0.6 (`benchmarks/duplicates.py`)."""
IN_FULL = 1_000  # texts up to which every pair is compared; beyond it MinHash proposes the pairs
PERMUTATIONS, BANDS = 128, 32
"""Of MinHash. A pair at the threshold 0.7 shares one of 32 bands of 4 with probability
1 − (1 − 0.7⁴)³² = 0.9998; what is proposed is compared in full, so no estimate decides."""
SEMANTIC = 0.85
"""Cosine of two texts' embeddings from which they are near-duplicates in meaning. It depends on the
model: with all-MiniLM-L6-v2 85 % of the paraphrases of the corpus run of cs have it, and 1 % of its
different questions (`benchmarks/duplicates.py`)."""
IN_PYTHON = 200  # embeddings up to which a pair's 50 µs are no matter
OPENING = 4  # words of a question's opening
SHORTEST_GRAM, LONGEST_GRAM = 8, 13
"""Words in a row that two texts share by no accident: as for GPT-3 (Brown et al. 2020, appendix C)
the 5th percentile of the benchmark's lengths in words, at least 8 and at most 13."""
SECTION = 200  # words from which a paragraph without headings begins a new section
DRAWN_ON = 0.5  # of the best section's overlap, from which a question draws on a section, too

SAME_TEXT = 0.5
"""Jaccard similarity of two texts' runs of COMPARED words from which they are the same text in two
forms. On the corpus an article as HTML and as text reaches 0.8; others stay below 0.1."""
COMPARED, SKETCHED, LEAST_COMPARED = 5, 128, 50  # words in a row; hashes kept; words of a text

QUESTIONS_TOLD, LONGEST_TOLD = 20, 300  # of what was asked before: questions, characters of each

Shingles = frozenset[str]

_NUMBERS = re.compile(
    "zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|(?:thir|four|fif|six|"
    "seven|eigh|nine)teen|(?:twen|thir|for|fif|six|seven|eigh|nine)ty|hundred|thousand|million"
)
_LETTERS = re.compile(r"\w+")
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*|\d+(?:[.,:/]\d+)*")
_CLAUSE = re.compile(r"[.,;:?!()“”\"]+(?=\s|$)|\n+|[—–]|\s-\s|(?<=\s)[(“\"]")
_HEADING = re.compile(
    r"^(?:#{1,6}\s.+|\\(?:chapter|(?:sub)*section)\*?\{.*|.+\n(?:={3,}|-{3,}|~{3,}|\^{3,}))$",
    re.MULTILINE,
)
_FILLED = re.compile(r"«[^»]*»|\$[^$]*\$|“[^”]*”|\"[^\"]*\"|`[^`]*`|\d+(?:[.,]\d+)*")


class AcceptedQuestion(NamedTuple):
    """What an accepted example asked: its document, that one's source, and its text."""

    document_id: str
    source: str
    question: str
    text: Shingles


class DiversityError(ValueError):
    """What was asked cannot be found out; the message says why and what to do."""


class NearDuplicate(NamedTuple):
    """Two texts by their places (first < second), and their similarity, up to 1."""

    first: int
    second: int
    similarity: float


class Overlap(NamedTuple):
    """An example that shares words in a row with a benchmark: their places, and these words."""

    example: int
    item: int
    words: str


def asked(candidate: Candidate) -> str:
    """What a solver reads of a candidate: its context and its question."""
    return f"{candidate.context}\n{candidate.question}"


def words(text: str) -> list[str]:
    """The words of a text in lower case, numbers as `0`, in digits or in words, one for several in
    a row; single letters keep their case, since they are symbols."""
    found: list[str] = []
    for word in _WORD.findall(unicodedata.normalize("NFKC", text)):
        plain = word if len(word) == 1 else word.casefold()
        if plain[0].isdigit() or _NUMBERS.fullmatch(plain):
            plain = "0"
        if plain != "0" or found[-1:] != ["0"]:
            found.append(plain)
    return found


def shingles(text: str) -> Shingles:
    """The pairs of neighbouring words within each clause of a text, and lone words of clauses.

    So neither the order of sentences and clauses nor any number tells two texts apart.
    """
    found: set[str] = set()
    for clause in _CLAUSE.split(text):
        said = words(clause)
        found.update(map(" ".join, pairwise(said)) if len(said) > 1 else said)
    return frozenset(found)


def similarity(first: Shingles, second: Shingles) -> float:
    """Their Jaccard similarity, 0 … 1; 0 where both are empty: nothing says they are alike."""
    common = len(first & second)
    return common / (len(first) + len(second) - common) if common else 0.0


def most_similar(text: Shingles, others: Iterable[Shingles]) -> tuple[int, float] | None:
    """The place of the first near-duplicate among the others, and its similarity."""
    for place, other in enumerate(others):
        if NEAR * len(text) <= len(other) and NEAR * len(other) <= len(text):
            alike = similarity(text, other)
            if alike >= NEAR:
                return place, alike
    return None


def near_duplicates(texts: Sequence[Shingles]) -> list[NearDuplicate]:
    """All pairs of near-duplicates, in order.

    Up to `IN_FULL` texts are compared pair by pair. For more, pairs are proposed by MinHash
    (locality-sensitive hashing) and compared in full; this needs the extra `quality`. Raises
    DiversityError where it is missing.
    """
    full = len(texts) <= IN_FULL
    pairs = combinations(range(len(texts)), 2) if full else _proposed(texts)
    found = []
    for first, second in pairs:
        one, other = texts[first], texts[second]
        if NEAR * len(one) <= len(other) and NEAR * len(other) <= len(one):
            alike = similarity(one, other)
            if alike >= NEAR:
                found.append(NearDuplicate(first, second, alike))
    return found


def semantic_duplicates(
    embeddings: Sequence[Sequence[float]], least: float = SEMANTIC
) -> list[NearDuplicate]:
    """All pairs whose embeddings have a cosine from `least` on, in order; the embeddings are of one
    length, and one that is zero is like no other.

    Up to `IN_PYTHON` are compared by Python alone. More need numpy, of the extra `quality`. Raises
    DiversityError where it is missing.
    """
    if len(embeddings) > IN_PYTHON:
        return _by_blocks(embeddings, least)
    lengths = [sqrt(sum(map(mul, one, one))) or 1.0 for one in embeddings]
    units = [[x / length for x in one] for one, length in zip(embeddings, lengths, strict=True)]
    cosines = (
        NearDuplicate(first, second, min(1.0, sum(map(mul, units[first], units[second]))))
        for first, second in combinations(range(len(units)), 2)
    )
    return [pair for pair in cosines if pair.similarity >= least]


def _by_blocks(embeddings: Sequence[Sequence[float]], least: float) -> list[NearDuplicate]:
    numpy = _extra("numpy", IN_PYTHON)
    units = numpy.array(embeddings, dtype=numpy.float32)
    lengths = numpy.linalg.norm(units, axis=1, keepdims=True)
    units /= numpy.where(lengths > 0, lengths, 1)
    found = []
    for start in range(0, len(units), IN_FULL):  # a block of cosines at a time, by those after it
        cosines = numpy.triu(units[start : start + IN_FULL] @ units[start:].T, 1)
        for row, column in numpy.argwhere(cosines >= least).tolist():
            alike = min(1.0, float(cosines[row, column]))
            found.append(NearDuplicate(start + row, start + column, alike))
    return found


def _extra(name: str, without: int) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise DiversityError(
            f"to compare more than {without:,} examples needs an extra: pip install "
            "'autodata-loop[quality]'"
        ) from error


def _proposed(texts: Sequence[Shingles]) -> list[tuple[int, int]]:
    rensa = _extra("rensa", IN_FULL)
    filled = [place for place, text in enumerate(texts) if text]  # empty ones would all be alike
    hashed = rensa.RMinHash.from_token_sets(
        [sorted(texts[place]) for place in filled], num_perm=PERMUTATIONS, seed=0
    )
    index = rensa.RMinHashLSH(threshold=NEAR, num_perm=PERMUTATIONS, num_bands=BANDS)
    pairs = set[tuple[int, int]]()
    for place, signature in zip(filled, hashed, strict=True):
        pairs.update((other, place) for other in index.query(signature))
        index.insert(place, signature)
    return sorted(pairs)


def repeated(count: int, pairs: Iterable[NearDuplicate]) -> list[int]:
    """The places of texts, of so many, that would go if one of each group of near-duplicates were
    kept: all of a group but its first. Groups are what pairs connect."""
    root = list(range(count))

    def of(place: int) -> int:
        while root[place] != place:
            root[place] = place = root[root[place]]
        return place

    for pair in pairs:
        first, second = sorted((of(pair.first), of(pair.second)))
        root[second] = first
    return [place for place in range(count) if of(place) != place]


# Whole texts, such as an article in two formats.


def same_texts(texts: Iterable[str]) -> list[tuple[int, int]]:
    """Pairs of places (first < second) that connect all texts which are nearly the same.

    The similarity is estimated from the least SKETCHED hashes of each (A. Broder, On the
    resemblance and containment of documents, 1997), within 0.1 of the true one nearly always. A
    text of fewer than LEAST_COMPARED words is no other's; an excerpt of a text is not found.
    """
    found, sketches, last = list[tuple[int, int]](), list[frozenset[int]](), dict[int, int]()
    for place, text in enumerate(texts):
        own = _sketch(text)
        # The latest with each hash is enough: what it is like was connected with it before.
        for other in sorted({last[value] for value in own if value in last}):
            least = sorted(own | sketches[other])[:SKETCHED]
            if len(own & sketches[other] & set(least)) >= SAME_TEXT * len(least):
                found.append((other, place))
        sketches.append(own)
        last.update(dict.fromkeys(own, place))
    return found


def _sketch(text: str) -> frozenset[int]:
    said = _LETTERS.findall(text.casefold())
    if len(said) < LEAST_COMPARED:
        return frozenset()
    runs = (" ".join(said[n : n + COMPARED]) for n in range(len(said) - COMPARED + 1))
    return frozenset(nsmallest(SKETCHED, {crc32(run.encode("utf-8", "replace")) for run in runs}))


# While a run goes: what was asked before is objected to, and told.


def repeats_earlier(candidate: Candidate, rounds: Sequence[Round]) -> tuple[Objection, ...]:
    """DUPLICATE where the candidate nearly repeats that of one of these rounds of its document."""
    before = [(round.number, round.candidate) for round in rounds if round.candidate]
    others = [shingles(asked(other)) for _, other in before]
    found = most_similar(shingles(asked(candidate)), others)
    return _duplicate(f"that of round {before[found[0]][0]}", found[1]) if found else ()


def repeats_accepted(
    candidate: Candidate, accepted: Sequence[AcceptedQuestion]
) -> tuple[Objection, ...]:
    """DUPLICATE where the candidate nearly repeats one of these accepted examples of its run."""
    found = most_similar(shingles(asked(candidate)), (one.text for one in accepted))
    if found is None:
        return ()
    said = " ".join(accepted[found[0]].question.split())
    return _duplicate(f"an accepted example of another document (“{said}”)", found[1])


def _duplicate(what: str, alike: float) -> tuple[Objection, ...]:
    message = (
        f"the question nearly repeats {what}, numbers apart ({alike:.2f} of their words in pairs); "
        "ask about something else in the document, in another form"
    )
    return (Objection(code="DUPLICATE", message=message),)


def asked_before(questions: Sequence[str]) -> str:
    """The latest of these questions, for whoever writes the next; empty without any."""
    told = [" ".join(question.split())[:LONGEST_TOLD] for question in questions[-QUESTIONS_TOLD:]]
    listed = "\n".join(f"- {question}" for question in dict.fromkeys(told))
    return f"Asked of this document before; ask about something else:\n{listed}" * bool(told)


# Templates: how much of a question's form is shared.


def skeleton(question: str) -> str:
    """The question without what a template is filled with: quoted words, formulas, numbers, and
    lists of these."""
    bare = _FILLED.sub(" 0 ", question)
    said = [word for word in words(bare)]
    kept = [w for i, w in enumerate(said) if not (w in {"and", "or"} and said[i - 1 : i] == ["0"])]
    return " ".join(w for i, w in enumerate(kept) if w != "0" or kept[i - 1 : i] != ["0"])


def opening(question: str) -> str:
    """The first words of the question's skeleton."""
    return " ".join(skeleton(question).split()[:OPENING])


def shared(forms: Sequence[str]) -> int:
    """How many of these forms are also the form of another."""
    return sum(n for n in Counter(forms).values() if n > 1)


def distinct_n(texts: Iterable[str], n: int = 2) -> float | None:
    """distinct-n (Li et al. 2016): different n-grams by all n-grams of the texts, 0 … 1; it falls
    as texts are added, so only sets of one size compare. None where there is no n-gram."""
    grams: Counter[tuple[str, ...]] = Counter()
    for text in texts:
        said = words(text)
        grams.update(zip(*(said[i:] for i in range(n)), strict=False))
    return len(grams) / grams.total() if grams else None


# Sources and their sections.


def effective_number(counts: Iterable[int]) -> float | None:
    """How many equally frequent sources would be as concentrated: 1 / Σ p² (inverse Simpson index,
    Hill number of order 2); 1 … the number of sources. None without any."""
    found = [count for count in counts if count]
    return sum(found) ** 2 / sum(count * count for count in found) if found else None


def sections(text: str) -> list[str]:
    """A document by its headings (Markdown, LaTeX, underlined), or, where it has fewer than two, by
    paragraphs of 200 words and more."""
    starts = [found.start() for found in _HEADING.finditer(text)]
    if len(starts) > 1:
        parts = [text[a:b] for a, b in pairwise([0, *starts, len(text)])]
        return [part for part in parts if len(part.split()) > OPENING]
    parts, size = [""], 0
    for paragraph in re.split(r"\n\s*\n", text):
        if size >= SECTION:
            parts, size = [*parts, ""], 0
        parts[-1] += f"{paragraph}\n\n"
        size += len(paragraph.split())
    return [part for part in parts if part.strip()]


def drawn_on(candidate: Candidate, parts: Sequence[str]) -> list[int]:
    """The places of the sections that a question draws on: those whose words it, its context and
    its reference answer share, rare ones of the document counting more (log(n / sections with it)).

    The section with most, and each with half as much; none where no section shares a word that
    others lack.
    """
    if len(parts) == 1:
        return [0]
    found = [frozenset(words(part)) for part in parts]
    frequency = Counter(word for part in found for word in part)
    own = frozenset(words(f"{asked(candidate)}\n{candidate.reference_answer}"))
    weight = {word: log(len(parts) / frequency[word]) for word in own if word in frequency}
    scores = [sum(weight[word] for word in part & weight.keys()) for part in found]
    best = max(scores, default=0.0)
    return [n for n, score in enumerate(scores) if score >= DRAWN_ON * best] if best > 0 else []


# Criteria.


def met_alike(
    criteria: Sequence[Criterion], weak: Sequence[Attempt], strong: Sequence[Attempt]
) -> list[bool]:
    """For each criterion whether weak and strong attempts meet it at the same rate, so that it
    does not tell them apart; empty where a side has no marks."""
    sides = [[a.marks for a in side if len(a.marks) == len(criteria)] for side in (weak, strong)]
    if not all(sides):
        return []
    met = [[[marks[n].met for marks in side] for side in sides] for n in range(len(criteria))]
    return [sum(w) * len(s) == sum(s) * len(w) for w, s in met]


# Benchmarks.


def read_benchmark(name: str, text: str) -> list[str]:
    """The items of a benchmark file: of `.jsonl` one a line and of `.json` a list, with all text
    within each; of any other file the paragraphs. Raises DiversityError at what is no JSON and at a
    file without items."""
    kind = PurePath(name).suffix.lower()
    if kind == ".jsonl":
        lines = enumerate(text.splitlines(), 1)
        items = [" \n".join(_texts(_json(name, line, n))) for n, line in lines if line.strip()]
    elif kind == ".json":
        rows = _json(name, text, 1)
        items = [" \n".join(_texts(row)) for row in (rows if isinstance(rows, list) else [rows])]
    else:
        items = re.split(r"\n\s*\n", text)
    found = [item for item in items if item.strip()]
    if not found:
        raise DiversityError(f"{name} holds no text to compare with; give .jsonl, .json or text")
    return found


def _json(name: str, text: str, line: int) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        at = f"line {line + error.lineno - 1}"
        raise DiversityError(f"{name}, {at}: no JSON ({error.msg}); mend that line") from error


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list):
        for inner in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(inner)


class Benchmark:
    """Benchmark items, each text by its runs of n words; n is chosen as `SHORTEST_GRAM` says."""

    def __init__(self, items: Sequence[str]) -> None:
        said = [_bare(item) for item in items]
        lengths = sorted(map(len, said))
        least = lengths[len(lengths) // 20] if lengths else LONGEST_GRAM
        self.n = min(max(least, SHORTEST_GRAM), LONGEST_GRAM)
        self.items = len(items)
        self.too_short = sum(length < self.n for length in lengths)  # never found
        self._grams: dict[str, int] = {}
        for place, spoken in enumerate(said):
            for gram in _grams(spoken, self.n):
                self._grams.setdefault(gram, place)

    def overlap(self, place: int, candidate: Candidate) -> Overlap | None:
        """The first words in a row that a candidate's context, question or reference answer shares
        with an item; None where there are none."""
        for text in (candidate.question, candidate.context, candidate.reference_answer):
            for gram in _grams(_bare(text), self.n):
                if gram in self._grams:
                    return Overlap(place, self._grams[gram], gram)
        return None


def _bare(text: str) -> list[str]:
    """The words as they are: lower case, without punctuation; numbers stay themselves here."""
    return re.findall(r"\w+", unicodedata.normalize("NFKC", text).casefold())


def _grams(said: Sequence[str], n: int) -> Iterator[str]:
    return (" ".join(said[at : at + n]) for at in range(len(said) - n + 1))
