"""Long documents are cut where their authors would cut them."""

from hypothesis import given
from hypothesis import strategies as st

from autodata.documents.corpus import cut, sections, tokens

SENTENCE = "The log is written before the page and synced before the client hears of it."
PARAGRAPH = " ".join([SENTENCE] * 5)


def chapter(*titles: str, paragraphs: int = 3) -> str:
    return "\n\n".join(
        f"## {title}\n\n" + "\n\n".join([PARAGRAPH] * paragraphs) for title in titles
    )


def test_a_short_document_stays_whole() -> None:
    [passage] = cut(chapter("One", "Two"))
    assert passage.text == chapter("One", "Two")
    assert (passage.section, passage.number, passage.total) == ("One", 1, 1)


def test_cuts_fall_on_headings() -> None:
    text = chapter(*"ABCDEFGH")
    passages = cut(text, budget=700, take=99)
    assert len(passages) > 1
    assert all(passage.text.startswith("## ") for passage in passages)
    assert [passage.section for passage in passages] == [p.text[3] for p in passages]
    assert "\n\n".join(passage.text for passage in passages).split() == text.split()


def test_passages_are_of_similar_size() -> None:
    sizes = [tokens(passage.text) for passage in cut(chapter(*"ABCDEFGHIJ"), budget=700, take=99)]
    assert max(sizes) <= 700
    assert min(sizes) * 2 > max(sizes)


def test_a_long_section_is_cut_between_paragraphs() -> None:
    passages = cut(chapter("Only", paragraphs=12), budget=400, take=99)
    assert all(p.text.endswith("of it.") for p in passages)
    assert {p.section for p in passages} == {"Only"}


def test_one_passage_is_the_first_and_several_are_spread() -> None:
    text = chapter(*"ABCDEFGH")
    every = cut(text, budget=350, take=99)
    [first] = cut(text, budget=350)
    assert first == every[0]
    spread = [passage.number for passage in cut(text, budget=350, take=3)]
    assert spread == [1, 1 + len(every) // 3, 1 + 2 * len(every) // 3]


def test_contents_references_and_licences_are_left_out_with_what_is_below_them() -> None:
    text = "\n\n".join(
        [
            "label\nα",
            "# Title",
            "## Table of Contents\n\n- Why",
            chapter("Why"),
            "## References\n\n### Papers\n\nA. Author, with a title of a good many words indeed.",
            chapter("After"),
            "## License\n\nPublic domain.",
        ]
    )
    [passage] = cut(text)
    assert passage.text.startswith("# Title\n\n## Why")
    assert "## After" in passage.text
    for gone in ("label", "Contents", "Papers", "Author", "Public domain"):
        assert gone not in passage.text


def test_a_document_that_is_only_references_is_still_a_document() -> None:
    [passage] = cut("# References\n\nA. Author.")
    assert passage.text == "# References\n\nA. Author."


def test_comments_in_code_are_no_headings() -> None:
    text = "# Title\n\n```sh\n# not a heading\n```\n\n~~~\n# nor this\n~~~\n\n# Next"
    assert [section.title for section in sections(text)] == ["Title", "Next"]


def test_code_is_not_torn() -> None:
    code = "```python\n" + "x = 1\n\n" * 130 + "```"
    text = "# T\n\n" + "\n\n".join([PARAGRAPH, code] * 6)
    for passage in cut(text, budget=300, take=99):
        assert passage.text.count("```") % 2 == 0


@given(st.text(alphabet="ab .\n#", max_size=600), st.integers(1, 60))
def test_no_passage_exceeds_its_budget(text: str, budget: int) -> None:
    assert all(tokens(passage.text) <= budget for passage in cut(text, budget=budget, take=99))
