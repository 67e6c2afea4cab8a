"""What printers and converters leave behind is gone; what was written stays."""

import tracemalloc

import pytest

from autodata.documents.text import mend_words, stated_license, tidy


def page(number: int, body: str) -> str:
    left = f"{number}\n\nDOE v. ROE\nOpinion of the Court\n\n"
    right = f"Cite as: 559 U. S. ____ (2010)\n\n{number}\n\nOpinion of the Court\n\n"
    return (right if number % 2 else left) + body + "\n\n"


OPINION = "\f".join(
    [
        page(1, "The question is whether a judi\ncial admission binds a party that did not"),
        page(2, "make it. We hold that it does not."),
        page(3, "A judicial admission is a statement. It was no\nmore than that in 1931."),
        page(4, "It bound nobody then."),
        page(5, "It binds nobody now."),
        page(6, "The judgment is affirmed."),
    ]
)


def test_running_titles_and_page_numbers_of_an_opinion_are_gone() -> None:
    text = tidy(OPINION)
    assert "Opinion of the Court" not in text
    assert "DOE v. ROE" not in text
    assert "Cite as" not in text
    assert not any(line.strip().isdigit() for line in text.splitlines())


def test_a_sentence_goes_on_over_the_page_border() -> None:
    assert "that did not\nmake it." in tidy(OPINION)


def test_a_paragraph_that_ends_with_its_page_stays_a_paragraph() -> None:
    assert "does not.\n\nA judicial" in tidy(OPINION)


def test_a_word_broken_without_a_hyphen_is_mended_from_the_text_itself() -> None:
    text = tidy(OPINION)
    assert "judicial\nadmission binds" in text
    assert "no\nmore" in text


def test_a_broken_word_keeps_a_hyphen_that_belongs_to_it() -> None:
    pages = "a well-known rule of the well-\nknown court and its juris-\nprudence\f"
    assert tidy(pages) == "a well-known rule of the well-known\ncourt and its jurisprudence"


def test_a_page_of_nothing_but_repeated_lines_is_no_header() -> None:
    assert tidy("Row, row\fRow, row\fRow, row\fMerrily").count("Row, row") == 3


def test_lines_that_merely_repeat_stay_in_a_text_without_pages() -> None:
    song = "Row, row\n\nMerrily\n\nRow, row\n\nMerrily\n\nRow, row"
    assert tidy(song) == song


def test_soft_hyphens_close_up_even_over_a_line_end() -> None:
    assert tidy("con\u00adsti\u00ad\ntution") == "constitution"


def test_invisible_characters_go_and_joiners_that_spell_stay() -> None:
    assert tidy("\ufeffzero\u200bwidth\u2060 \u202eno\u00a0trick\x07") == "zerowidth no trick"
    assert tidy("می\u200cروم") == "می\u200cروم"


def test_accents_are_composed_and_line_ends_plain() -> None:
    assert tidy("cafe\u0301  \r\nbar\r\n\r\n\r\n\r\nend\n") == "café\nbar\n\nend"


def test_only_the_text_between_gutenberg_marks_is_kept() -> None:
    text = "Licence\n*** START OF THE PROJECT ***\nIt was.\n*** END OF THE PROJECT ***\nLicence"
    assert tidy(text) == "It was."


def test_a_long_text_takes_few_times_its_size_to_mend() -> None:
    """Its words are looked at one by one: as a list they would take ten times the text."""
    page = ("judi\ncial words " + "and some more of them in lines that go on and on " * 10) * 40
    text = "\f".join([page] * 150)
    tracemalloc.start()
    try:
        mend_words(text)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 5 * len(text)


@pytest.mark.parametrize(
    ("begins", "license"),
    [
        ("---\ntitle: Logs\nlicense: CC-BY-4.0  # of the text\n---\nText.", "CC-BY-4.0"),
        ("---\nLicence: 'Public domain'\n---\n", "Public domain"),
        ("Title: Logs\nLicense: MIT\n\nText.", "MIT"),
        ("<!-- SPDX-License-Identifier: Apache-2.0 OR MIT -->\nText.", "Apache-2.0 OR MIT"),
        ("% SPDX-License-Identifier: CC0-1.0\n\\section{Logs}", "CC0-1.0"),
        ("Text.\n\nLicense: what to do when it runs out.", None),
        ("---\ntitle: Logs\nlicense:\n---\n", None),
    ],
)
def test_a_text_states_its_licence_in_its_first_fields_or_by_a_tag(
    begins: str, license: str | None
) -> None:
    assert stated_license(begins) == license
