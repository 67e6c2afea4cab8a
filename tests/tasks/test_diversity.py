"""What repeats is found whatever its numbers and its order; what only looks alike is not."""

import random
from itertools import product

import pytest

from autodata.tasks.diversity import (
    IN_FULL,
    Benchmark,
    DiversityError,
    distinct_n,
    drawn_on,
    effective_number,
    met_alike,
    near_duplicates,
    opening,
    read_benchmark,
    repeated,
    sections,
    semantic_duplicates,
    shingles,
    similarity,
    skeleton,
)
from autodata.tasks.rubric import compound
from autodata.tasks.types import Attempt, Candidate, Criterion, Mark

QUESTION = (
    "Five servers keep a replicated log, and one was cut off for 12 hours. While it was away, three"
    " terms passed; its disk holds 40 entries of the first. Which entries does the cluster keep?"
)


@pytest.mark.parametrize(
    "other",
    [
        QUESTION,
        QUESTION.upper().replace("?", " ?"),
        QUESTION.replace("Five", "Seven").replace("12", "3.5").replace("three", "twenty-one"),
        "Which entries does the cluster keep? Five servers keep a replicated log, and one was cut "
        "off for 12 hours. Its disk holds 40 entries of the first; while it was away, three terms "
        "passed.",
    ],
    ids=["verbatim", "typography", "numbers", "order"],
)
def test_a_question_asked_again_is_found(other: str) -> None:
    [pair] = near_duplicates([shingles(QUESTION), shingles(other)])
    assert (pair.first, pair.second) == (0, 1)
    assert pair.similarity > 0.85


def test_another_question_about_the_same_thing_is_none() -> None:
    other = (
        "Five servers keep a replicated log, and one was cut off for an hour. Its clock ran ahead. "
        "Who leads after it returns, and what do clients see in the meantime?"
    )
    assert 0.1 < similarity(shingles(QUESTION), shingles(other)) < 0.6
    assert near_duplicates([shingles(QUESTION), shingles(other), shingles(""), shingles("")]) == []


def test_of_each_group_all_but_the_first_repeat() -> None:
    texts = [shingles(text) for text in ("a b c", "d e f", "a b c", "d e f", "g h i", "a b c")]
    pairs = near_duplicates(texts)
    assert len(pairs) == 4
    assert repeated(len(texts), pairs) == [2, 3, 5]


def test_minhash_finds_among_many_what_comparing_all_of_them_finds() -> None:
    pytest.importorskip("rensa", reason="needs the extra `quality`")
    draw, vocabulary = (
        random.Random(1),
        ["".join(pair) for pair in product("bdfgklmnprst", "aeiou")],
    )
    texts = [" ".join(draw.choices(vocabulary, k=40)) for _ in range(IN_FULL)]
    changed = []
    for text in texts[:40]:
        said = text.split(" ")
        for place in draw.sample(range(40), 3):
            said[place] = draw.choice(vocabulary)
        changed.append(" ".join(said))
    sets = [shingles(text) for text in texts + changed]
    in_full = [
        (one, other)
        for other in range(IN_FULL, len(sets))
        for one in range(other)
        if similarity(sets[one], sets[other]) >= 0.7
    ]
    assert len(in_full) > 20
    assert [(pair.first, pair.second) for pair in near_duplicates(sets)] == sorted(in_full)


def test_a_template_shows_whatever_it_is_filled_with() -> None:
    one = "Predict what happens to «latency», «load» and «memory», and name the driver of each."
    other = "Predict what happens to «disk use» and «errors», and name the driver of each."
    assert skeleton(one) == skeleton(other) == "predict what happens to 0 name the driver of each"
    assert opening(one) == "predict what happens to"
    assert skeleton("Solve $2x + 3 = 5$ for $x$.") == skeleton("Solve $7y = 1$ for $y$.")
    assert skeleton("Which term wins?") != skeleton("Which entry is lost?")
    assert distinct_n(["who leads now", "who leads then"]) == 3 / 4
    assert distinct_n(["one"]) is None


def test_sources_count_as_many_as_equal_ones_would() -> None:
    assert effective_number([5, 5, 5]) == pytest.approx(3)
    assert effective_number([98, 1, 1]) == pytest.approx(1.04, abs=0.01)
    assert effective_number([]) is None


def test_a_question_draws_on_the_section_whose_rare_words_it_shares() -> None:
    document = (
        "# Elections\nA candidate asks every server for a vote in its term.\n\n"
        "# Logs\nEntries are appended by the leader and replicated to followers in order.\n\n"
        "# Snapshots\nA server compacts its log, and keeps a snapshot of the state machine.\n"
    )
    parts = sections(document)
    assert [part.split()[1] for part in parts] == ["Elections", "Logs", "Snapshots"]
    about = Candidate(
        context="A server compacts what it has kept.",
        question="What does the snapshot hold?",
        reference_answer="The state machine.",
        rubric=(),
    )
    assert drawn_on(about, parts) == [2]
    assert len(sections("A paragraph of a few words.\n\n" * 100)) == 3


@pytest.mark.parametrize(
    ("text", "two"),
    [
        ("States that latency and throughput both fall", False),
        ("States that latency falls and explains that the queue is the cause", True),
        ("Names the leader; names its term", True),
        ("Says that the vote is lost, as well as why", True),
        ("Concludes that the entry is lost but not that it was committed", True),
        ("Identifies the deadline of the research and development contract", False),
    ],
)
def test_one_criterion_is_one_proposition(text: str, two: bool) -> None:
    assert compound(Criterion(criterion=text, weight=3)) is two


def test_criteria_that_both_sides_meet_alike_tell_nothing_apart() -> None:
    criteria = [Criterion(criterion=name, weight=1) for name in "abc"]

    def attempt(side: str, *met: bool) -> Attempt:
        marks = tuple(
            Mark(criterion=c.criterion, weight=1, met=m)
            for c, m in zip(criteria, met, strict=bool(met))
        )
        return Attempt.model_validate(
            {"solver": side, "number": 1, "answer": "", "score": 0.5, "marks": marks}
        )

    weak = [attempt("weak", True, False, True), attempt("weak", True, False, False)]
    strong = [attempt("strong", True, True, True), attempt("strong", True, True, False)]
    assert met_alike(criteria, weak, strong) == [True, False, True]
    assert (
        met_alike(criteria, weak, [Attempt(solver="strong", number=1, answer="", score=None)]) == []
    )


def test_texts_are_alike_in_meaning_by_the_angle_of_their_embeddings() -> None:
    ahead, longer, aside, none = (1.0, 0.0), (3.0, 0.3), (1.0, 1.0), (0.0, 0.0)
    found = semantic_duplicates([ahead, aside, longer, none, none])
    assert [(pair.first, pair.second) for pair in found] == [(0, 2)]
    assert found[0].similarity == pytest.approx(3 / (3**2 + 0.3**2) ** 0.5)
    assert [pair[:2] for pair in semantic_duplicates([ahead, aside, longer], 0.7)] == [
        (0, 1),
        (0, 2),
        (1, 2),
    ]


def test_many_embeddings_are_compared_as_few_are() -> None:
    pytest.importorskip("numpy", reason="in the extra `quality`")
    draw = random.Random(7)
    others = [[draw.gauss(0, 1) for _ in range(16)] for _ in range(IN_FULL + 40)]  # two blocks
    alike = [0.01 + value for value in others[3]]
    found = semantic_duplicates([*others, alike, [0.0] * 16])
    assert [pair[:2] for pair in found if pair.second == len(others)] == [(3, len(others))]
    few = semantic_duplicates([*others[:100], alike], 0.7)
    many = semantic_duplicates([*others[:100], alike, *[[0.0] * 16] * IN_FULL], 0.7)
    assert [pair[:2] for pair in many] == [pair[:2] for pair in few]
    assert [pair.similarity for pair in many] == pytest.approx([p.similarity for p in few])


def test_words_in_a_row_give_a_benchmark_away() -> None:
    item = "How many servers must store an entry of the current term before it counts as committed"
    benchmark = Benchmark([item, "What is Raft?"])
    assert (benchmark.n, benchmark.too_short) == (8, 1)
    leaked = Candidate(context="", question=f"Say: {item.upper()}!", reference_answer="", rubric=())
    found = benchmark.overlap(7, leaked)
    assert found
    assert (found.example, found.item) == (7, 0)
    assert found.words == "how many servers must store an entry of"
    own = leaked.model_copy(update={"question": "How many servers must store an entry of any term"})
    assert benchmark.overlap(7, own)
    other = leaked.model_copy(update={"question": "How many servers must store an entry?"})
    assert benchmark.overlap(7, other) is None
    assert Benchmark([f"{item} or may be lost when its leader fails"] * 40).n == 13


def test_a_benchmark_is_read_by_lines_lists_or_paragraphs() -> None:
    assert read_benchmark("a.jsonl", '{"q": "One?", "n": 3}\n\n{"x": {"choices": ["b", "c"]}}') == [
        "One?",
        "b \nc",
    ]
    assert read_benchmark("a.json", '["One?", {"q": "Two?"}]') == ["One?", "Two?"]
    assert read_benchmark("a.txt", "One?\nIndeed.\n\nTwo?") == ["One?\nIndeed.", "Two?"]
    with pytest.raises(DiversityError, match=r"a\.jsonl, line 2: no JSON"):
        read_benchmark("a.jsonl", '{"q": 1}\n{')
    with pytest.raises(DiversityError, match="holds no text"):
        read_benchmark("a.jsonl", '{"q": 1}')
