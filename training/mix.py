# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
"""Makes the arms of a training experiment from exported files, and the tests they are put to.

    autodata export runs/loop --format trl-grpo -o agentic.jsonl
    autodata export runs/plain --format trl-grpo -o one-shot.jsonl
    python training/mix.py --one-shot one-shot.jsonl --agentic agentic.jsonl --out arms
    python training/mix.py --one-shot one-shot.jsonl --agentic agentic.jsonl --out arms \\
        --equal tokens --test-rows 100 --seed 1 --seed 2 --seed 3

Documents are dealt to test, validation and train by the hash that `autodata export --test-share`
goes by, so that no document is in two of them, whichever run its questions are from. A question
that is asked in a test or in validation is left out of train, and each question of an arm is asked
once. Rows are shuffled by the seed before an arm is cut to its size.

    arms/test/one-shot.jsonl          arms/ARM/train.jsonl
    arms/test/agentic.jsonl           arms/ARM/validation.jsonl       arms/manifest.json

Takes exports of the formats trl-grpo, jsonl and sft. The standard library is enough; `--tokenizer`
takes the package `tokenizers` as well (`uv run --with tokenizers training/mix.py …`).
"""

import argparse
import hashlib
import json
import random
import re
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from itertools import chain
from pathlib import Path
from statistics import fmean, quantiles
from typing import Any, Literal, NamedTuple

from rows import RowsError, normalised, numbered_rows
from sessions import positive

SOURCES = ("one-shot", "agentic")
ARMS = {
    "one-shot": "the one-shot examples",
    "agentic": "the agentic examples",
    "mixed": "both, half of each",
    "one-shot-matched": "the one-shot examples, drawn to have the agentic lengths",
    "agentic-matched": "the agentic examples, drawn to have the one-shot lengths",
    "mixed-double": "all of the arms one-shot and agentic: twice the data",
}
BINS = 5  # of question lengths, each with a fifth of the lengths to match: as `autodata export` has
CHARACTERS = 4  # per token: the usual rule for English, by which exports estimate as well
TEST_SHARE, VALIDATION_SHARE = 0.1, 0.1  # of the documents
_HASHED = 1 << 64  # hashes are read as whole numbers below

Part = Literal["test", "validation", "train"]
Count = Callable[[str], int]


class MixError(ValueError):
    """No arms can be made; the message says why and what to do."""


class Question(NamedTuple):
    """A row of an export and what it is dealt and drawn by.

    `asked` is what a student is asked, without what only changes its look; `place` is where its
    document lies among the hashes, 0 … 1; `document` is the same for passages of one text; `words`
    are those of the question, `tokens` those of all that a student reads of the row.
    """

    source: str
    asked: str
    place: Fraction
    document: str
    words: int
    tokens: int
    row: dict[str, Any]


def main(words: Sequence[str] | None = None) -> int:
    """Makes the arms as the command line says; 2 for what cannot be made, else 0."""
    options = _options().parse_args(words)
    try:
        for line in mix(options):
            print(line)
    except (MixError, RowsError) as error:
        print(f"mix.py: {error}", file=sys.stderr)
        return 2
    return 0


def mix(options: argparse.Namespace) -> list[str]:
    """Writes the arms of every seed, and says what they hold. Raises MixError and RowsError."""
    if options.test_share + options.validation_share >= 1:
        raise MixError("test and validation share leave nothing to train on; take less")
    count, how = counter(options.tokenizer)
    given = {"one-shot": options.one_shot, "agentic": options.agentic}
    found = {s: list(_questions(s, given[s], options.split_by, count)) for s in SOURCES if given[s]}
    if not found:
        raise MixError("name the files of --one-shot, of --agentic, or of both")
    if options.rows and options.equal == "tokens":
        raise MixError("--rows is for --equal rows; leave one of them out")
    _alike(found)
    if options.split_by == "document":
        found = _together(found)
    arms = _asked_for(options.arm, list(found))
    seeds = list(dict.fromkeys(options.seed or [0]))
    drawn_by = {}
    for seed in seeds:  # what cannot be made shows before earlier arms are gone
        parts, dropped = dealt(found, options, seed)
        drawn_by[seed] = equalised(arms, parts["train"], options, seed), parts, dropped
    out = _emptied(Path(options.out))
    said = []
    for seed, (sized, parts, dropped) in drawn_by.items():
        folder = out if len(seeds) == 1 else out / f"seed-{seed}"
        manifest = _written(folder, sized, parts, seed) | {
            "settings": {
                "seed": seed, "equal": options.equal, "rows": options.rows, "bins": options.bins,
                "test_share": options.test_share, "validation_share": options.validation_share,
                "test_rows": options.test_rows, "validation_rows": options.validation_rows,
            },
            "tokens_are": how,
            "split_by": _split_by(options.split_by, chain(*found.values())),
            "left_out": dropped,
            "inputs": {s: [_file(Path(path)) for path in given[s]] for s in found},
            "simulated": any(_meta(q).get("simulated") for q in chain(*found.values())),
        }  # fmt: skip
        text = json.dumps(manifest, indent=1, ensure_ascii=False)
        (folder / "manifest.json").write_text(f"{text}\n", encoding="utf-8")
        said += _told(folder, manifest)
    return said


def counter(tokenizer: str | None) -> tuple[Count, str]:
    """How tokens are counted, and the same in words. Raises MixError where there is no such file,
    or nothing that reads it."""
    if tokenizer is None:
        return lambda text: -(-len(text) // CHARACTERS), f"characters / {CHARACTERS}, rounded up"
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise MixError(
            "--tokenizer takes the package tokenizers: pip install tokenizers, or "
            "uv run --with tokenizers training/mix.py …"
        ) from error
    file = Path(tokenizer) / "tokenizer.json" if Path(tokenizer).is_dir() else Path(tokenizer)
    if not file.is_file():
        raise MixError(f"--tokenizer {tokenizer}: there is no {file}")
    reads = Tokenizer.from_file(str(file))
    return lambda text: len(reads.encode(text, add_special_tokens=False).ids), f"by {tokenizer}"


# Reading.


def _questions(
    source: str, paths: Sequence[str], split_by: str, count: Count
) -> Iterable[Question]:
    for path in map(Path, paths):
        for number, row in numbered_rows(path, "trl-grpo"):
            said = _texts(row)
            meta = row.get("meta")
            if said is None or not isinstance(meta, dict) or not _names_document(meta):
                raise MixError(
                    f"{path}, line {number}: no row of trl-grpo, jsonl or sft with its meta; write "
                    "the file anew with `autodata export RUN --format trl-grpo`"
                )
            asked = normalised(said[0])
            document, key = _dealt_by(meta)
            if split_by == "question":
                key = drawn("split", asked)
                row = {**row, "meta": {**meta, "split_by": split_by}}  # trainers refuse it else
            yield Question(
                source=source,
                asked=asked,
                place=Fraction(key, _HASHED),
                document=document,
                words=meta.get("question_words") or len(said[0].split()),
                tokens=sum(map(count, said)),
                row={"prompt": [{"role": "user", "content": said[0]}], **row}
                if "messages" not in row
                else row,
            )


def _texts(row: Mapping[str, Any]) -> list[str] | None:
    """What a student reads of a row, what it is asked first; None where it is no row of ours."""
    messages = row.get("prompt") or row.get("messages")
    if "chosen" in row:
        return None  # several rows ask the same there
    if isinstance(messages, list) and messages:
        if not all(isinstance(m, dict) and isinstance(m.get("content"), str) for m in messages):
            return None
        asked = [m["content"] for m in messages if m.get("role") != "assistant"]
        answered = [m["content"] for m in messages if m.get("role") == "assistant"]
        return ["\n\n".join(asked), *answered]
    if isinstance(row.get("question"), str):
        parts = (row.get("context") or "", row["question"])
        return ["\n\n".join(part for part in parts if part.strip())]
    return None


def drawn(what: str, key: str) -> int:
    """A whole number from 0 to 2⁶⁴ − 1 for a draw of this kind, as `autodata export` draws."""
    return int.from_bytes(hashlib.sha256(f"{what}:{key}".encode("utf-8", "replace")).digest()[:8])


def _names_document(meta: Mapping[str, Any]) -> bool:
    source = meta.get("document_source")
    hashed = not isinstance(source, str) or re.fullmatch("[0-9a-f]+", source)
    return bool(meta.get("document_id") and hashed)


def _dealt_by(meta: Mapping[str, Any]) -> tuple[str, int]:
    """What the passages of a text have in common, and the hash by which it is dealt."""
    source = meta.get("document_source")
    if isinstance(source, str):
        return source, int(source, 16)
    # An export from before the column: texts that are whole go by their id, as texts at hand do.
    name = str(meta.get("document_name", ""))
    text = re.sub(r" \[\d+/\d+\]$", "", name)
    key = str(meta["document_id"]) if text == name else text
    return key, drawn("split", key)


def _together(found: Mapping[str, Sequence[Question]]) -> dict[str, list[Question]]:
    """The questions, with one source for what either run says is of one text: which texts are
    nearly the same depends on what else lies in a run's folder."""
    least = {q.document: (q.place, q.document) for q in chain(*found.values())}

    def of(document: str) -> str:
        while least[document][1] != document:
            document = least[document][1]
        return document

    first: dict[str, str] = {}
    for question in chain(*found.values()):
        here = of(question.document)
        there = of(first.setdefault(str(_meta(question)["document_id"]), here))
        low, high = sorted((here, there), key=least.__getitem__)
        least[high] = least[low]
    return {
        source: [q._replace(document=of(q.document), place=least[of(q.document)][0]) for q in asked]
        for source, asked in found.items()
    }


def _split_by(split_by: str, questions: Iterable[Question]) -> str:
    if split_by == "question":
        return "question: sha256 of what is asked; documents are shared"
    if all("document_source" in _meta(question) for question in questions):
        return "document: meta.document_source, as `autodata export --test-share` deals them"
    return "document: sha256 of its id, since an export lacks meta.document_source"


def _alike(found: Mapping[str, Sequence[Question]]) -> None:
    """Trainers read one shape. Raises MixError where the sources have two, or several tasks."""
    shapes = {("messages" in q.row, "weak" in q.row) for q in chain(*found.values())}
    if len(shapes) > 1:
        raise MixError("the files are of several formats; export all with the same --format")
    tasks = {str(q.row.get("task")) for q in chain(*found.values())}
    if len(tasks) > 1:
        raise MixError(f"the files hold several tasks ({', '.join(sorted(tasks))}); mix one task")


def _meta(question: Question) -> Mapping[str, Any]:
    meta: Mapping[str, Any] = question.row["meta"]
    return meta


# Dealing and drawing.


def part_of(place: Fraction, test_share: float, validation_share: float) -> Part:
    """Where a document goes; what is in `test` at one share is so at every greater one."""
    test = Fraction(test_share)
    if place < test:
        return "test"
    return "validation" if place < test + Fraction(validation_share) else "train"


def dealt(
    found: Mapping[str, Sequence[Question]], options: argparse.Namespace, seed: int
) -> tuple[dict[Part, dict[str, list[Question]]], dict[str, int]]:
    """The questions of each part by source, shuffled, and how many were left out, by why.

    Tests are the same for every seed. Raises MixError where a source has none for a part.
    """
    parts: dict[Part, dict[str, list[Question]]] = {"test": {}, "validation": {}, "train": {}}
    dropped, seen = Counter[str](), dict[str, Part]()
    most = {"test": options.test_rows, "validation": options.validation_rows, "train": None}
    for part in parts:
        here: dict[str, Part] = {}
        for source, questions in found.items():
            kept: dict[str, Question] = {}
            for question in _shuffled(questions, 0 if part == "test" else seed):
                if part_of(question.place, options.test_share, options.validation_share) != part:
                    continue
                if question.asked in seen:
                    dropped[f"{part}: asked in {seen[question.asked]}"] += 1
                elif question.asked in kept:
                    dropped[f"{part}: asked twice by {source}"] += 1
                else:
                    kept[question.asked] = question
            parts[part][source] = list(kept.values())[: most[part]]
            here |= dict.fromkeys(kept, part)
        seen |= here
    wanted = {"test": options.test_share, "validation": options.validation_share, "train": 1}
    empty = [f"{part} ({s})" for part in parts for s, q in parts[part].items()
             if wanted[part] and not q]  # fmt: skip
    if empty:
        documents = len({question.document for question in chain(*found.values())})
        raise MixError(
            f"there is no question for {', '.join(empty)}: {documents} documents are dealt each by "
            "itself; more documents, other shares, or --split-by question where items of one "
            "document are drawn independently (procedural)"
        )
    return parts, dict(dropped)


def _shuffled(questions: Sequence[Question], seed: int) -> list[Question]:
    """In an order that follows from the seed and what is asked, not from the order of files."""
    ordered = sorted(questions, key=lambda question: question.asked)
    random.Random(seed).shuffle(ordered)
    return ordered


def _asked_for(arms: Sequence[str] | None, sources: Sequence[str]) -> list[str]:
    """The arms to make; by default all that the sources allow."""
    able = [arm for arm in ARMS if arm in sources or len(sources) == len(SOURCES)]
    if lacking := [arm for arm in arms or () if arm not in able]:
        raise MixError(f"the arm {lacking[0]} takes both --one-shot and --agentic")
    return [arm for arm in able if arm in arms] if arms else able


def equalised(
    arms: Sequence[str],
    train: Mapping[str, Sequence[Question]],
    options: argparse.Namespace,
    seed: int,
) -> dict[str, list[Question]]:
    """What each arm trains on: equally many rows, or as near to equal tokens as whole rows come.

    `mixed-double` holds the arms one-shot and agentic together. Raises MixError where an arm
    would be empty, or smaller than the rows asked for.
    """
    full = {arm: _full(arm, train, options.bins) for arm in arms if arm != "mixed-double"}
    if "mixed-double" in arms:  # the two arms that it holds, made or not
        full |= {s: list(train[s]) for s in SOURCES}
    if empty := [arm for arm, questions in full.items() if not questions]:
        raise MixError(
            f"the arm {empty[0]} would be empty: no question of one source is as long as those of "
            "the other; take fewer --bins, or name the arms to make with --arm"
        )
    if options.equal == "rows":
        least = min(full, key=lambda arm: len(full[arm]))
        most = len(full[least])
        if options.rows and options.rows > most:
            raise MixError(
                f"--rows {options.rows}: the arm {least} has {most} at most; name the others by "
                "--arm to make them without it"
            )
        rows = options.rows or most
        cut = {arm: _of_rows(arm, train, questions, rows, options.bins)
               for arm, questions in full.items()}  # fmt: skip
    else:
        budget = min(sum(q.tokens for q in questions) for questions in full.values())
        cut = {arm: _of_tokens(questions, budget) for arm, questions in full.items()}
    if "mixed-double" in arms:
        cut["mixed-double"] = _once([*cut["one-shot"], *cut["agentic"]])
    return {arm: _shuffled(cut[arm], seed) for arm in arms}


def _full(arm: str, train: Mapping[str, Sequence[Question]], bins: int) -> list[Question]:
    """All that an arm could train on, in the order of drawing."""
    if arm in SOURCES:
        return list(train[arm])
    if arm == "mixed":
        pairs = zip(*(train[source] for source in SOURCES), strict=False)
        return _once(chain.from_iterable(pairs))
    return _matched(arm, train, None, bins)


def _once(questions: Iterable[Question]) -> list[Question]:
    """Each question once, the first time."""
    return list({question.asked: question for question in reversed([*questions])}.values())[::-1]


def _of_rows(
    arm: str,
    train: Mapping[str, Sequence[Question]],
    questions: Sequence[Question],
    rows: int,
    bins: int,
) -> list[Question]:
    return _matched(arm, train, rows, bins) if arm.endswith("-matched") else list(questions[:rows])


def _of_tokens(questions: Sequence[Question], budget: int) -> list[Question]:
    """The first of the questions whose tokens come nearest to the budget; one at least."""
    kept, total = list[Question](), 0
    for question in questions:
        if kept and total + question.tokens - budget > budget - total:
            break
        kept.append(question)
        total += question.tokens
    return kept


def _matched(
    arm: str, train: Mapping[str, Sequence[Question]], rows: int | None, bins: int
) -> list[Question]:
    """As many questions of a source as can have the lengths of the other, or `rows` of them.

    The other's quantiles make the bins; of each its share is drawn, as by
    `autodata export --match-lengths`. None where a bin finds no question.
    """
    source = arm.removesuffix("-matched")
    [other] = [each for each in SOURCES if each != source]
    lengths = sorted(question.words for question in train[other])
    ends = _ends(lengths, bins)
    wanted = Counter(_bin(ends, words) for words in lengths)
    have: dict[int, list[Question]] = {place: [] for place in wanted}
    for question in train[source]:
        if lengths[0] <= question.words <= lengths[-1]:
            have[_bin(ends, question.words)].append(question)
    shares = {place: Fraction(wanted[place], len(lengths)) for place in sorted(wanted)}
    able = int(min(len(have[place]) / share for place, share in shares.items()))
    numbers = _apportioned(shares, able if rows is None else min(rows, able))
    taken = {id(q) for place, number in numbers.items() for q in have[place][:number]}
    return [question for question in train[source] if id(question) in taken]


def _ends(ordered: Sequence[int], most: int) -> list[int]:
    """The last length of each of up to `most` bins that hold about as many of these lengths."""
    number = max(1, min(most, len(ordered) // 2))
    return sorted({ordered[-(-len(ordered) * k // number) - 1] for k in range(1, number + 1)})


def _bin(ends: Sequence[int], words: int) -> int:
    return next(place for place, end in enumerate(ends) if words <= end)


def _apportioned(shares: Mapping[int, Fraction], total: int) -> dict[int, int]:
    """Whole numbers that come to a total and lie next to its shares: largest remainders."""
    numbers = {place: int(share * total) for place, share in shares.items()}
    rest = sorted(shares, key=lambda place: (numbers[place] - shares[place] * total, place))
    for place in rest[: total - sum(numbers.values())]:
        numbers[place] += 1
    return numbers


# Writing.


def _emptied(out: Path) -> Path:
    """The folder to write into, without the arms of an earlier call. Raises MixError where it holds
    anything that this script does not write."""
    files = {"manifest.json", *(f"test/{source}.jsonl" for source in SOURCES)}
    files |= {f"{arm}/{part}.jsonl" for arm in ARMS for part in ("train", "validation")}
    try:
        for path in [out] if out.is_file() else out.rglob("*"):
            name = re.sub(r"^seed-\d+/", "", path.relative_to(out).as_posix())
            if not path.is_dir() and name not in files:
                raise MixError(f"{out} holds other files ({path}); name a folder of its own")
        if out.is_dir():
            shutil.rmtree(out)
        out.mkdir(parents=True)
    except OSError as error:
        raise MixError(f"nothing can be written to --out {out}: {error}") from error
    return out


def _written(
    folder: Path,
    arms: Mapping[str, Sequence[Question]],
    parts: Mapping[Part, Mapping[str, Sequence[Question]]],
    seed: int,
) -> dict[str, Any]:
    """Writes the files of a seed, and what each holds."""
    tests = {
        source: _write(folder / "test" / f"{source}.jsonl", questions, "test")
        for source, questions in parts["test"].items()
        if questions
    }
    made = {}
    for arm, questions in arms.items():
        own = arm.removesuffix("-matched")
        sources = [own] if own in SOURCES else SOURCES
        checked = _once(chain.from_iterable(parts["validation"][source] for source in sources))
        made[arm] = {
            "holds": ARMS[arm],
            "train": _write(folder / arm / "train.jsonl", questions, "train"),
        }
        if checked:
            shuffled = _shuffled(checked, seed)
            made[arm]["validation"] = _write(
                folder / arm / "validation.jsonl", shuffled, "validation"
            )
    return {"tests": tests, "arms": made}


def _write(path: Path, questions: Sequence[Question], part: Part) -> dict[str, Any]:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = ({**question.row, "split": part} for question in questions)
    path.write_text(
        "".join(f"{json.dumps(r, ensure_ascii=False)}\n" for r in rows), "utf-8", "replace"
    )
    words, tokens = [q.words for q in questions], [q.tokens for q in questions]
    return {
        **_file(path),
        "rows": len(questions),
        "documents": len({question.document for question in questions}),
        "from": dict(sorted(Counter(question.source for question in questions).items())),
        "tokens": sum(tokens),
        "tokens_per_row": round(fmean(tokens), 1),
        "question_words": _lengths(words),
    }


def _lengths(words: Sequence[int]) -> dict[str, float]:
    parts = quantiles(words, n=4, method="inclusive") if len(words) > 1 else [words[0]] * 3
    low, middle, high = (round(part, 1) for part in parts)
    return {
        "mean": round(fmean(words), 1), "least": min(words), "quarter": low, "median": middle,
        "three_quarters": high, "most": max(words),
    }  # fmt: skip


def _file(path: Path) -> dict[str, str]:
    return {"file": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def _told(folder: Path, manifest: Mapping[str, Any]) -> list[str]:
    """What was made, in lines."""
    files = [(f"test {source}", found) for source, found in manifest["tests"].items()]
    files += [(arm, found["train"]) for arm, found in manifest["arms"].items()]
    lines = [
        f"{name:18} {found['rows']:6} rows {found['documents']:6} documents "
        f"{found['tokens']:9} tokens, questions of {found['question_words']['mean']:g} words"
        for name, found in files
    ]
    if left_out := manifest["left_out"]:
        lines.append("left out: " + ", ".join(f"{n} {why}" for why, n in left_out.items()))
    if manifest["simulated"]:
        lines.append("Made with simulated models: good for trying out, and for nothing else.")
    return [f"{folder}/", *lines]


def _share(text: str) -> float:
    share = float(text)
    if not 0 <= share < 1:
        raise argparse.ArgumentTypeError(f"{text} is no share from 0 to below 1")
    return share


def _options() -> argparse.ArgumentParser:
    arms = "\n".join(f"  {name:18} {holds}" for name, holds in ARMS.items())
    parser = argparse.ArgumentParser(
        description=f"{__doc__}\nArms:\n{arms}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--one-shot", nargs="+", metavar="FILE", help="exports of a run without the loop")
    add("--agentic", nargs="+", metavar="FILE", help="exports of a run of the loop")
    add("--out", required=True, metavar="FOLDER", help="where arms and tests are written")
    add("--arm", action="append", choices=ARMS, help="an arm to make; all unless stated")
    add("--equal", choices=("rows", "tokens"), default="rows",
        help="what all arms have equally much of (rows)")  # fmt: skip
    add("--rows", type=positive, help="rows of each arm; as many as the smallest arm can have")
    add("--bins", type=positive, default=BINS, help=f"bins of lengths to match ({BINS})")
    add("--test-share", type=_share, default=TEST_SHARE, help=f"of the documents ({TEST_SHARE})")
    add("--validation-share", type=_share, default=VALIDATION_SHARE,
        help=f"of the documents ({VALIDATION_SHARE})")  # fmt: skip
    add("--test-rows", type=positive, help="rows of each test at most; all unless stated")
    add("--validation-rows", type=positive, help="rows of each validation at most")
    add("--split-by", choices=("document", "question"), default="document",
        help="what is kept apart; `question` for items that code draws (document)")  # fmt: skip
    add("--seed", type=int, action="append",
        help="of shuffling and drawing (0); several make a folder each")  # fmt: skip
    add("--tokenizer", help="a tokenizer.json, or the folder of a model with one")
    return parser


if __name__ == "__main__":
    sys.exit(main())
