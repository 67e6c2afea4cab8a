"""How surely near-duplicates are found, how often others are taken for one, and how long it takes.

    python benchmarks/duplicates.py RUN... [--examples 10000] [--embeddings CONFIG]

Asks no model, but for --embeddings, which compares meanings, too, by the `models.embeddings` of
this configuration (`embedding_server.py` serves one). Of the questions that the runs' rounds hold,
one of each group that repeats is kept; each is injected once more in each of several ways, and the
rest of the table says which share of the injected is found (near-duplicate of what it was made
from), and how many questions that nobody injected are taken for a repetition. Then the same among
many texts, each of some sentences of the runs' documents. 95 % intervals by Wilson.

By embeddings a question counts as taken for a repetition that has an earlier one from that cosine
on; of the questions compared so none repeats another by its words.
"""

import argparse
import json
import random
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from paraphrases import paraphrase

from autodata.assembly import embed
from autodata.ledger.ledger import Ledger
from autodata.run_folder import RunFolder
from autodata.settings import load
from autodata.tasks.diversity import (
    NEAR,
    near_duplicates,
    semantic_duplicates,
    shingles,
    similarity,
    skeleton,
)
from autodata.tasks.measurement import wilson

COSINES = (0.75, 0.8, 0.85, 0.9)
BY_MEANING = ("all of these", "in other words")  # ways that embeddings are tried on
COMPOSED = 100  # texts of the documents' sentences that are compared by embeddings
Change = Callable[[random.Random, str], str]
SPELLED = ["two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "twelve"]
_SENTENCE = re.compile(r"(?<=[.?!])\s+")
_NUMBER = re.compile(rf"\d+(?:\.\d+)?|\b(?:{'|'.join(SPELLED)})\b")


def verbatim(draw: random.Random, text: str) -> str:
    return text


def other_numbers(draw: random.Random, text: str) -> str:
    """Every number another one, in digits or in words."""

    def other(found: re.Match[str]) -> str:
        return draw.choice([str(draw.randint(2, 999)), draw.choice(SPELLED)])

    return _NUMBER.sub(other, text)


def other_sentences(draw: random.Random, text: str) -> str:
    """Its sentences in another order."""
    parts = _SENTENCE.split(text)
    draw.shuffle(parts)
    return " ".join(parts)


def other_clauses(draw: random.Random, text: str) -> str:
    """Within each sentence the clauses in another order, cut at commas and before conjunctions."""

    def moved(sentence: str) -> str:
        end = sentence[-1:] if sentence[-1:] in ".?!" else ""
        cut = r",\s+|\s+(?=(?:and|but|while|when|if|because|with|after|before)\b)"
        parts = re.split(cut, sentence.rstrip(".?!"))
        draw.shuffle(parts)
        return ", ".join(parts) + end

    return " ".join(map(moved, _SENTENCE.split(text)))


def all_of_it(draw: random.Random, text: str) -> str:
    """Other numbers, and sentences and clauses in another order."""
    return other_numbers(draw, other_sentences(draw, other_clauses(draw, text)))


def a_word_in_twenty(draw: random.Random, text: str) -> str:
    """Each word left out with probability 0.05; nobody asked for this one to be found."""
    return " ".join(word for word in text.split(" ") if draw.random() > 0.05)


WAYS: dict[str, Change] = {
    "verbatim": verbatim,
    "numbers reworded": other_numbers,
    "sentences reordered": other_sentences,
    "clauses reordered": other_clauses,
    "all of these": all_of_it,
    "1 word in 20 left out": a_word_in_twenty,
    "in other words": paraphrase,
}


def questions(ledger: Ledger) -> Iterator[tuple[str, str]]:
    """What solvers would read of every candidate of every round, and its question alone."""
    for row in ledger.query("select candidate from rounds where candidate is not null"):
        said = json.loads(row["candidate"])
        yield f"{said['context']}\n{said['question']}", said["question"]


def composed(ledgers: list[Ledger], count: int, draw: random.Random) -> list[str]:
    """So many texts, each of five sentences of one document."""
    found = []
    for ledger in ledgers:
        for row in ledger.query("select text from documents"):
            parts = [p for p in _SENTENCE.split(row["text"]) if 6 <= len(p.split()) <= 60]
            if len(parts) > 30:
                found.append(parts)
    return [" ".join(draw.sample(draw.choice(found), 5)) for _ in range(count)]


def said(name: str, found: int, of: int) -> None:
    low, high = wilson(found, of)
    share, within = f"{100 * found / of:6.2f} %", f"({100 * low:.2f}-{100 * high:.2f})"
    print(f"{name:<34}{found:>6} of {of:<6}{share} {within}")


def injected(texts: list[str], draw: random.Random) -> None:
    """Which share of the changed texts is still a near-duplicate of what it was made from."""
    own = [shingles(text) for text in texts]
    for name, change in WAYS.items():
        pairs = zip(own, texts, strict=True)
        found = [similarity(of, shingles(change(draw, text))) >= NEAR for of, text in pairs]
        said(f"found: {name}", sum(found), len(found))


def by_embeddings(config: Path, cache: Path, texts: list[str], draw: random.Random) -> None:
    """The same by the cosine of embeddings, for several thresholds."""
    changed = {name: [WAYS[name](draw, text) for text in texts] for name in BY_MEANING}
    every = dict.fromkeys([*texts, *(text for made in changed.values() for text in made)])
    vectors = embed(RunFolder(cache), load(config), list(every))
    for name in BY_MEANING:
        near = [
            similarity(shingles(a), shingles(b)) >= NEAR
            for a, b in zip(texts, changed[name], strict=True)
        ]
        said(f"found by words: {name}", sum(near), len(near))
        pairs = zip(texts, changed[name], strict=True)
        alike = [semantic_duplicates([vectors[a], vectors[b]], -1)[0].similarity for a, b in pairs]
        for least in COSINES:
            said(f"found from {least:.2f}: {name}", sum(a >= least for a in alike), len(alike))
    found = semantic_duplicates([vectors[text] for text in texts], min(COSINES))
    for least in COSINES:
        repeats = {pair.second for pair in found if pair.similarity >= least}
        said(f"taken for a repetition from {least:.2f}", len(repeats), len(texts))


def natural(ledger: Ledger) -> list[str]:
    """Says how many questions of a run, injected by nobody, count as repeated, and returns one of
    each group."""
    asked = list(questions(ledger))
    sets = [shingles(text) for text, _ in asked]
    forms = [skeleton(question) for _, question in asked]
    repeats, other = set(), set()
    for first, second, _ in near_duplicates(sets):
        repeats.add(second)
        if forms[first] != forms[second]:
            other.add(second)
    said("taken for a repetition", len(repeats), len(asked))
    said("  of those asked in other words", len(other), len(asked))
    return [text for place, (text, _) in enumerate(asked) if place not in repeats]


def at_size(ledgers: list[Ledger], count: int, draw: random.Random) -> None:
    """Ten in a hundred of many texts are injected; all pairs are looked for at once."""
    ways = [way for name, way in WAYS.items() if "left out" not in name and way != paraphrase]
    made = composed(ledgers, count - count // 10, draw)
    sources = draw.sample(range(len(made)), count // 10)
    texts = made + [draw.choice(ways)(draw, made[source]) for source in sources]
    began = time.perf_counter()
    pairs = near_duplicates([shingles(text) for text in texts])
    took = time.perf_counter() - began
    wanted = {(source, len(made) + n) for n, source in enumerate(sources)}
    found = {(pair.first, pair.second) for pair in pairs}
    said(f"found among {count:,}", len(wanted & found), len(wanted))
    alarms = {second for _, second in found - wanted if second < len(made)}
    said("taken for a repetition", len(alarms), len(made))
    print(f"{'seconds, shingles included':<34}{took:>6.1f}")


def main() -> None:
    asked = argparse.ArgumentParser()
    asked.add_argument("runs", nargs="+", type=Path)
    asked.add_argument("--examples", type=int, default=10_000)
    asked.add_argument("--embeddings", type=Path, metavar="CONFIG")
    asked.add_argument("--cache", type=Path, default=Path("embeddings"), help="keeps the vectors")
    given, draw = asked.parse_args(), random.Random(20_261_127)
    ledgers = [Ledger.open(run, create=False).only_read() for run in given.runs]
    for ledger in ledgers:
        print(f"\n{ledger.run().task}, every round")
        texts = natural(ledger)
        injected(texts, draw)
        if given.embeddings:
            by_embeddings(given.embeddings, given.cache, texts, draw)
    if given.embeddings:
        print(f"\n{COMPOSED} texts of the documents' sentences, by embeddings")
        texts = composed(ledgers, COMPOSED, draw)
        by_embeddings(given.embeddings, given.cache, texts, draw)
    print(f"\n{given.examples:,} texts of the documents' sentences")
    at_size(ledgers, given.examples, draw)


if __name__ == "__main__":
    main()
