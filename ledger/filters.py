"""Which examples an export holds: conditions on their figures, a split by document, and lengths.

Draws follow hashes of what is drawn, so that they are the same in any order and on any machine.
"""

import hashlib
import operator
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from math import isfinite
from pathlib import Path
from statistics import fmean
from typing import Any, Literal, NamedTuple, Self, get_args

from pydantic import Field, ValidationError, field_validator

from autodata.ledger.summary import within
from autodata.tasks.judge_noise import MarkPairs, pooled, repeated_pairs
from autodata.tasks.measurement import bootstrap
from autodata.tasks.types import Frozen

Split = Literal["train", "test"]

LEAST_LENGTHS = 4
"""Questions whose lengths can be matched: fewer make no two bins."""

LENGTH_BINS = 5
"""Bins of question lengths unless stated otherwise, each with a fifth of the questions to match."""

_HASHED = 1 << 64  # hashes are read as whole numbers below
_SIGNS: Mapping[str, Callable[[float, float], bool]] = {
    ">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt, "=": operator.eq,
}  # fmt: skip
_CONDITION = re.compile(r"\s*([a-z_]+)\s*(>=|<=|==?|>|<)\s*(\S+)\s*")

# Two letters: ISO 639-1, as of 2024. Three are ISO 639-2 or -3, too many to list.
_TWO_LETTERS = """
aa ab ae af ak am an ar as av ay az ba be bg bi bm bn bo br bs ca ce ch co cr cs cu cv cy da de dv
dz ee el en eo es et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy hz ia id ie
ig ii ik io is it iu ja jv ka kg ki kj kk kl km kn ko kr ks ku kv kw ky la lb lg li ln lo lt lu lv
mg mh mi mk ml mn mr ms mt my na nb nd ne ng nl nn no nr nv ny oc oj om or os pa pi pl ps pt qu rm
rn ro ru rw sa sc sd se sg si sk sl sm sn so sq sr ss st su sv sw ta te tg th ti tk tl tn to tr ts
tt tw ty ug uk ur uz ve vi vo wa wo xh yi yo za zh zu
"""
_LANGUAGE = re.compile(r"([a-z]{2,3})(-[A-Z][a-z]{3})?(-[A-Z]{2}|-\d{3})?")


# Identifiers of licences that the dataset hub knows (its page "Licenses"); any other stands in the
# front matter as `other`, under its name.
_LICENSES = """
afl-3.0 agpl-3.0 apache-2.0 artistic-2.0 bsd bsd-2-clause bsd-3-clause bsl-1.0 c-uda cc cc-by-2.0
cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nc-nd-3.0
cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cc-by-nd-4.0 cc-by-sa-3.0
cc-by-sa-4.0 cc0-1.0 cdla-permissive-1.0 cdla-permissive-2.0 cdla-sharing-1.0 ecl-2.0 epl-1.0
epl-2.0 etalab-2.0 eupl-1.1 eupl-1.2 gfdl gpl gpl-2.0 gpl-3.0 isc lgpl lgpl-2.1 lgpl-3.0 lppl-1.3c
mit mpl-2.0 ms-pl ncsa odbl odc-by ofl-1.1 openrail pddl postgresql unknown unlicense wtfpl zlib
"""


HUB_CATEGORIES = {
    **dict.fromkeys(("jsonl", "parquet", "trl-grpo", "verl", "hf"), ("question-answering",)),
    "verifiers": ("question-answering",),
    "traces": (),
    "sft": (),
    "dpo": (),
}
"""What the dataset hub lists each format under, beside text-generation."""

HUB_TAGS = {
    "jsonl": ("datasets",),
    "parquet": ("datasets",),
    "trl-grpo": ("trl", "grpo", "reinforcement-learning"),
    "verl": ("verl", "grpo", "reinforcement-learning"),
    "sft": ("trl", "sft"),
    "dpo": ("trl", "dpo", "preference"),
    "hf": ("datasets",),
    "verifiers": ("verifiers", "rl-environment", "reinforcement-learning"),
    "traces": ("agent-traces",),
}
"""The libraries that read each format, and what for, as the dataset hub names them."""


class ExportError(ValueError):
    """Nothing could be exported; the message says why and what to do."""


class Condition(Frozen):
    """What a figure of an example must keep, such as `gap >= 0.3`."""

    column: str
    sign: str
    value: float

    @classmethod
    def parse(cls, text: str, columns: Sequence[str]) -> Self:
        """A condition in words, on one of these columns. Raises ExportError."""
        found = _CONDITION.fullmatch(text)
        if found is None:
            raise ExportError(
                f"{text!r} is no condition; write COLUMN SIGN NUMBER, such as 'gap >= 0.3', and in "
                f"a shell put it in quotes; signs are {', '.join(_SIGNS)}"
            )
        column, sign, said = found.groups()
        if column not in columns:
            raise ExportError(f"{text!r} names no column; there are {', '.join(columns)}")
        try:
            value = float(said)
        except ValueError as error:
            raise ExportError(f"{text!r}: {said} is no number") from error
        if not isfinite(value):
            raise ExportError(f"{text!r}: {said} is no number that a figure could reach")
        return cls(column=column, sign="=" if sign == "==" else sign, value=value)

    def holds(self, record: Mapping[str, Any]) -> bool | None:
        """Whether a record keeps it, in its columns or its `meta`; None where nothing was
        measured."""
        meta = record["meta"]
        found = record[self.column] if self.column in record else meta[self.column]
        return None if found is None else _SIGNS[self.sign](found, self.value)

    def __str__(self) -> str:
        return f"{self.column} {self.sign} {self.value:g}"


class ExportOptions(Frozen):
    """Which examples are exported, how they are dealt out, and what their card says of them.

    `where` holds conditions in words, all to be kept. Examples that share words in a row with an
    item of a benchmark file of `decontaminate` are left out. `test_share`, 0 … 1, of the documents
    go to `test`. `match_lengths` is the folder of a run whose distribution of question lengths the
    examples are drawn to have, in `length_bins` bins; with `stratify` as many are drawn of each
    length. `license` and `languages` are the data set's, for its card.
    """

    confirmed: bool = False
    where: tuple[str, ...] = ()
    decontaminate: tuple[Path, ...] = ()
    test_share: float = Field(0.0, ge=0, lt=1)
    match_lengths: Path | None = None
    stratify: Literal["length"] | None = None
    length_bins: int = Field(LENGTH_BINS, ge=2, le=100)
    license: str | None = None
    languages: tuple[str, ...] = ()

    @field_validator("where", "decontaminate", "languages", mode="before")
    @classmethod
    def _several(cls, given: Any) -> Any:
        """One of them may stand for a list of one; each counts once."""
        if isinstance(given, str | Path):
            return (given,)
        return tuple(dict.fromkeys(given)) if isinstance(given, list | tuple) else given

    @field_validator("languages")
    @classmethod
    def _known(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        for code in given:
            found = _LANGUAGE.fullmatch(code)
            if found is None or (len(found[1]) == 2 and found[1] not in _TWO_LETTERS.split()):
                raise ValueError(f"{code!r} is no language code; write en, pt-BR or zh-Hans")
        return given

    @field_validator("license")
    @classmethod
    def _named(cls, given: str | None) -> str | None:
        if given is not None and (not given.strip() or not given.isprintable()):
            raise ValueError("a licence has a name, such as cc-by-4.0")
        return given

    @classmethod
    def of(cls, *, arms: bool = False, **given: Any) -> Self:
        """Options that somebody typed, None for what was not; for `arms` of the length test, which
        draw, too. Raises ExportError."""
        try:
            options = cls(**{name: value for name, value in given.items() if value is not None})
        except ValidationError as error:
            first = error.errors()[0]
            said = first["msg"].removeprefix("Value error, ")
            if first["type"] == "extra_forbidden":
                said = f"there is no such option; there are {', '.join(cls.model_fields)}"
            raise ExportError(f"{first['loc'][0]}: {said}") from error
        if options.match_lengths and options.stratify:
            raise ExportError("match_lengths and stratify each say how lengths are drawn; take one")
        draws = arms or options.match_lengths or options.stratify
        if "length_bins" in options.model_fields_set and not draws:
            raise ExportError(
                "length_bins are of lengths that are drawn from, and nothing is drawn; add "
                "match_lengths, stratify or length_arms"
            )
        return options


def drawn(what: str, key: str) -> int:
    """A whole number from 0 to 2⁶⁴ − 1 for a draw of this kind: the same wherever it is made."""
    return int.from_bytes(hashlib.sha256(f"{what}:{key}".encode("utf-8", "replace")).digest()[:8])


def split_of(origin: str, test_share: float) -> Split:
    """Where a document goes, by the text that it comes from; what is in `test` at one share is so
    at every greater one."""
    return "test" if Fraction(drawn("split", origin), _HASHED) < Fraction(test_share) else "train"


def origin_of(id: str, name: str, meta: Mapping[str, Any]) -> str:
    """What passages of one text have in common, wherever it lies: the hash of its file, and its
    row. A row that is one passage is its own text, so that its table may grow."""
    row, whole = meta.get("row"), meta.get("passages", 1) == 1
    file = meta.get("source_sha256") or meta.get("source")
    if file is not None and not (row and whole):
        return f"{file}:{row or ''}"
    # Texts at hand have no file: those of one name are passages of one text.
    return id if whole else re.sub(r" \[\d+/\d+\]$", "", name)


def kept_together(origins: Sequence[str], same: Iterable[tuple[int, int]]) -> dict[str, str]:
    """Of each origin the least of those that pairs of places connect it with, over all passages: it
    says where all of them go."""
    least = {origin: origin for origin in origins}

    def of(origin: str) -> str:
        while least[origin] != origin:
            origin = least[origin]
        return origin

    for pair in same:
        low, high = sorted(of(origins[place]) for place in pair)
        least[high] = low
    return {origin: of(origin) for origin in least}


def words(text: str) -> int:
    """How long a question is."""
    return len(text.split())


def judge_agreement(attempts: Sequence[Mapping[str, Any]]) -> float | None:
    """How often two judgements of one answer find the same of a criterion: the share of all pairs
    that agree, 0 … 1. None where none was judged twice. Attempts as records hold them."""
    marks = [mark for attempt in attempts for mark in attempt["marks"]]
    pairs = pooled([_NO_PAIRS, *(repeated_pairs(mark.get("votes", ())) for mark in marks)])
    return pairs.alike / pairs.made if pairs.made else None


_NO_PAIRS = MarkPairs(0, 0, 0, 0)


class Sized(NamedTuple):
    """A question to draw: what its draw follows, and its words."""

    key: str
    words: int


class LengthBin(NamedTuple):
    """Question lengths in words, both ends inclusive; how many questions were there, and taken."""

    low: int
    high: int
    found: int = 0
    taken: int = 0

    def __str__(self) -> str:
        return f"{self.low}–{self.high}" if self.low < self.high else str(self.low)


class Resampled(NamedTuple):
    """Which questions were drawn, by their place, and from which bins of lengths."""

    kept: frozenset[int]
    bins: tuple[LengthBin, ...]


def quantile_bins(lengths: Sequence[int], most: int) -> list[LengthBin]:
    """Up to `most` bins that hold about as many of these lengths each, and two at least; equal
    lengths lie in one. Raises ValueError for none."""
    if not lengths:
        raise ValueError("there are no lengths to make bins of")
    ordered, number = sorted(lengths), max(1, min(most, len(lengths) // 2))
    ends = {ordered[-(-len(ordered) * k // number) - 1] for k in range(1, number + 1)}
    return _between(ordered[0], sorted(ends))


def even_bins(lengths: Sequence[int], most: int) -> list[LengthBin]:
    """Up to `most` bins that are equally wide between the tenths at both ends of these lengths,
    which lie in the outer ones. Raises ValueError for none."""
    if not lengths:
        raise ValueError("there are no lengths to make bins of")
    ordered, tenth = sorted(lengths), len(lengths) // 10
    low, high = ordered[tenth], ordered[-1 - tenth]
    inner = {low + (high - low) * k // most for k in range(1, most)}
    return _between(ordered[0], sorted({end for end in inner if end >= ordered[0]} | {ordered[-1]}))


def _between(low: int, ends: Sequence[int]) -> list[LengthBin]:
    starts = [low, *(end + 1 for end in ends[:-1])]
    return [LengthBin(start, end) for start, end in zip(starts, ends, strict=True)]


def matched(
    questions: Sequence[Sized], lengths: Sequence[int], bins: int, most: int | None = None
) -> Resampled:
    """As many of the questions as can have the distribution of these lengths, or `most` of them.

    The lengths' quantiles make the bins; of each its share is drawn, without replacement. Questions
    shorter or longer than all of them lie in none. Nothing is kept where a bin finds no question.
    Raises ValueError where there are no lengths.
    """
    borders = quantile_bins(lengths, bins)
    wanted, found = _places(borders, lengths), _places(borders, [q.words for q in questions])
    shares = [Fraction(len(places), len(lengths)) for places in wanted]
    able = int(min(len(have) / share for have, share in zip(found, shares, strict=True)))
    total = able if most is None else min(able, most)
    numbers = _apportioned(shares, total)
    return _drawn_from(questions, borders, found, numbers)


def stratified(questions: Sequence[Sized], bins: int) -> Resampled:
    """As many questions of each length: of every bin that holds any, as many as the least holds.

    Raises ValueError where there are no questions.
    """
    lengths = [question.words for question in questions]
    borders = even_bins(lengths, bins)
    found = _places(borders, lengths)
    least = min(len(places) for places in found if places)
    return _drawn_from(questions, borders, found, [least if places else 0 for places in found])


def _places(bins: Sequence[LengthBin], lengths: Sequence[int]) -> list[list[int]]:
    """The places of the lengths that lie in each bin."""
    return [[n for n, words in enumerate(lengths) if b.low <= words <= b.high] for b in bins]


def _apportioned(shares: Sequence[Fraction], total: int) -> list[int]:
    """Whole numbers that come to a total and lie next to its shares: largest remainders."""
    exact = [share * total for share in shares]
    numbers = [int(part) for part in exact]
    by_rest = sorted(range(len(exact)), key=lambda n: (numbers[n] - exact[n], n))
    for n in by_rest[: total - sum(numbers)]:
        numbers[n] += 1
    return numbers


def _drawn_from(
    questions: Sequence[Sized],
    bins: Sequence[LengthBin],
    found: Sequence[Sequence[int]],
    numbers: Sequence[int],
) -> Resampled:
    kept: set[int] = set()
    for places, number in zip(found, numbers, strict=True):
        order = sorted(places, key=lambda n: (drawn("length", questions[n].key), n))
        kept.update(order[:number])
    counted = [
        bin._replace(found=len(places), taken=number)
        for bin, places, number in zip(bins, found, numbers, strict=True)
    ]
    return Resampled(frozenset(kept), tuple(counted))


def lengths_table(bins: Sequence[LengthBin]) -> list[str]:
    """Which lengths of questions were drawn, in lines of Markdown; none without bins."""
    if not bins:
        return []
    rows = [f"| {bin} | {bin.found} | {bin.taken} |" for bin in bins]
    return ["| words of the question | found | taken |", "|---|---|---|", *rows, ""]


class ChosenExample(NamedTuple):
    """An example that is exported: its document, what it is drawn by, and where it goes.

    `origin` is the same for passages of one text, `source` for texts that are nearly the same, too.
    """

    id: str
    run_id: str
    document_id: str
    origin: str
    source: str
    split: Split
    question: Sized
    rows: int


class Chosen(NamedTuple):
    """What options chose: the examples in their order, how many each choice left out, in words, and
    the bins of lengths that they were drawn from."""

    examples: tuple[ChosenExample, ...]
    left_out: Mapping[str, int]
    bins: tuple[LengthBin, ...] = ()

    def rows(self, split: Split) -> int:
        """How many rows a split has."""
        return sum(each.rows for each in self.examples if each.split == split)

    def documents(self, split: Split) -> int:
        """How many texts the rows of a split come from; passages of one count once."""
        return len({each.origin for each in self.examples if each.split == split})

    def keeping(self, resampled: Resampled, why: str) -> "Chosen":
        """Those of the examples that were drawn; `why` the others were not."""
        kept = tuple(e for n, e in enumerate(self.examples) if n in resampled.kept)
        left_out = Counter(self.left_out)
        left_out[why] += len(self.examples) - len(kept)
        return Chosen(kept, dict(left_out), resampled.bins)


ARMS = {
    "1-one-shot": "the one-shot examples, lengths as they are",
    "2-one-shot-resampled": "the one-shot examples, drawn to have the agentic lengths",
    "3-agentic": "the agentic examples, lengths as they are",
    "4-agentic-resampled": "the agentic examples, drawn to have the one-shot lengths",
}
"""The four arms of the length test, by the names of their files."""


def length_arms(
    one_shot: Sequence[Sized], agentic: Sequence[Sized], bins: int
) -> dict[str, Resampled]:
    """What each arm of ARMS holds: as many questions of each run, by their own lengths and by those
    of the other. Nothing where a bin of either finds no question in the other. Raises ValueError
    where a run has none."""
    own, other = [q.words for q in one_shot], [q.words for q in agentic]
    drawn = [(one_shot, own), (one_shot, other), (agentic, other), (agentic, own)]
    most = min(len(matched(questions, lengths, bins).kept) for questions, lengths in drawn)
    return {
        arm: matched(questions, lengths, bins, most)
        for arm, (questions, lengths) in zip(ARMS, drawn, strict=True)
    }


def left_out_line(left_out: Mapping[str, int]) -> str:
    """`4 by gap >= 0.3, 2 by rounds <= 3`: how many examples each choice left out."""
    return ", ".join(f"{count} by {why}" for why, count in left_out.items())


class ArmRow(NamedTuple):
    """What a row of the length test holds: the text that it comes from, the words of its question,
    the characters that a student reads, and its mean scores, 0 … 1."""

    origin: str
    words: int
    characters: int
    weak: float | None
    strong: float | None

    @property
    def tokens(self) -> int:
        """Estimated, by the usual rule for English."""
        return -(-self.characters // 4)


def by_origin(worded: str, values: Sequence[tuple[str, float | None]]) -> str:
    """The mean of the rows' values and its interval by document; a dash where there are none."""
    by_origin: dict[str, list[float]] = {}
    for origin, value in values:
        if value is not None:
            by_origin.setdefault(origin, []).append(value)
    drawn = list(by_origin.values())
    if not drawn:
        return "–"

    def mean(documents: Sequence[Sequence[float]]) -> float:
        return fmean(value for one in documents for value in one)

    interval = bootstrap(drawn, mean) if len(drawn) > 1 else None
    return worded.format(mean(drawn)) + within(interval, worded.format)


def hub_license(name: str | None) -> dict[str, str]:
    """A licence as the dataset hub takes it."""
    if name is None:
        return {}
    known = name.strip().lower().replace(" ", "-")
    return (
        {"license": known}
        if known in _LICENSES.split()
        else {"license": "other", "license_name": name}
    )


def hub_configs(files: Mapping[Any, str], contents: str = "") -> list[dict[str, Any]]:
    """Which files the dataset hub shows: the splits of one set, or arms, a set each.

    `datasets` keeps what it read of a folder under the folder's name and these entries. Without the
    `contents` of `digest_of` it gives the rows of another folder of that name, or older ones.
    """
    told = {"description": f"rows {contents}"} if contents else {}
    if set(files) <= set(get_args(Split)):
        splits = [{"split": split, "path": name} for split, name in files.items()]
        where = splits if len(splits) > 1 else files["train"]
        return [{"config_name": "default", **told, "data_files": where}]
    return [{"config_name": arm, **told, "data_files": name} for arm, name in files.items()]


def digest_of(files: Iterable[Path]) -> str:
    """16 hex digits of what the files hold, in this order."""
    found = hashlib.sha256()
    for path in files:
        found.update(hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()[:16]


def hub_size(count: int) -> str:
    """The dataset hub's own classes of size."""
    bounds = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"))
    return next((name for bound, name in bounds if count < bound), "100K<n<1M")
