"""Files become documents, and whatever does not is named with its reason."""

import os
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

import pytest

from autodata.documents.corpus import Copied, CorpusError, Skipped, ingest, other_passages
from autodata.documents.formats import DEFAULT_LIMITS, MEGABYTE, Limits
from autodata.tasks.types import Document

CORPUS = Path(__file__).parents[3] / "shared" / "corpus"


def write(folder: Path, **files: str | bytes) -> None:
    for name, content in files.items():
        path = folder / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)


def test_a_folder_is_read_in_order_and_documents_say_where_they_come_from(tmp_path: Path) -> None:
    write(tmp_path, b_dot_md="# B\n\nSecond.", a_dot_txt="First.", sub__c_dot_md="Third.")
    documents = list(ingest([tmp_path], shortest=1))
    assert [d.name for d in documents] == ["a.txt", "b.md", "sub/c.md"]
    assert documents[1].meta["source"] == str(tmp_path / "b.md")
    assert documents[1].meta["section"] == "B"
    assert (documents[1].meta["passage"], documents[1].meta["passages"]) == (1, 1)
    assert len(documents[1].meta["source_sha256"]) == 64


def test_a_document_says_which_licence_its_file_states(tmp_path: Path) -> None:
    """Files of themselves, rows of a table in a field; the text does not change by it."""
    front = "---\nlicense: CC-BY-4.0\n---\n# A\n\nFirst."
    write(
        tmp_path, a_dot_md=front, b_dot_md="# B\n\nSecond.", t_dot_csv="text,license\nThird.,MIT\n"
    )
    first, second, row = ingest([tmp_path], shortest=1)
    assert first.meta["license"] == "CC-BY-4.0"
    assert first.text == "# A\n\nFirst."
    assert "license" not in second.meta
    assert row.meta["fields"] == {"license": "MIT"}


def test_reading_twice_gives_the_same_documents(tmp_path: Path) -> None:
    write(tmp_path, b_dot_md="Two.", a_dot_md="One.", z__a_dot_md="Three.")
    assert list(ingest([tmp_path], shortest=1)) == list(ingest([tmp_path], shortest=1))


def test_a_text_is_taken_once_and_its_copy_is_named(tmp_path: Path) -> None:
    write(tmp_path, a_dot_md="Same.", b_dot_txt="Same.\r\n")
    corpus = ingest([tmp_path, tmp_path / "a.md"], shortest=1)
    assert [d.name for d in corpus] == ["a.md"]
    assert corpus.skipped == [
        Skipped("b.txt", "the same text as a.md"),
        Skipped("a.md", "the same text as a.md"),
    ]


def test_a_file_that_is_named_twice_is_told_in_one_line(tmp_path: Path) -> None:
    """However many passages it has, and whatever it is called the second time."""
    write(tmp_path, a_dot_md="\n\n".join(f"# {n}\n\n" + f"Word {n}. " * 150 for n in range(9)))
    (tmp_path / "b.md").symlink_to(tmp_path / "a.md")
    corpus = ingest([tmp_path / "a.md", tmp_path / "b.md"], per_document=3, budget=600)
    assert len(list(corpus)) == 3
    assert corpus.skipped == [Copied("b.md", "the same text as a.md")]


def test_what_cannot_be_read_is_named_and_the_rest_is_read(tmp_path: Path) -> None:
    write(
        tmp_path, blank_dot_md=" \n\t\n", empty_dot_txt="", good_dot_md="Good.",
        image_dot_txt=b"\x89PNG\0\0\x01\x02\x03", photo_dot_jpg=b"\xff\xd8",
        rows_dot_jsonl='{"text": "One."}\nnot json\n', hollow_dot_csv="text,name\n",
    )  # fmt: skip
    corpus = ingest([tmp_path, tmp_path / "missing", str(tmp_path / "*.nothing")], shortest=1)
    assert [d.name for d in corpus] == ["good.md", "rows.jsonl:1"]
    reasons = {Path(skipped.path).name: skipped.reason for skipped in corpus.skipped}
    assert reasons["blank.md"] == reasons["empty.txt"] == "empty: no text in it"
    assert reasons["hollow.csv"] == "empty: no rows in it"
    assert reasons["image.txt"] == "binary data"
    assert reasons["photo.jpg"] == "unsupported format .jpg"
    assert reasons["rows.jsonl:2"].startswith("not JSON")
    assert reasons["missing"] == "there is no such file or folder"
    assert reasons["*.nothing"] == "no file matches"


def test_nothing_left_to_do_is_an_error_that_lists_why(tmp_path: Path) -> None:
    write(tmp_path, blank_dot_md=" ", hollow__note_dot_txt="")
    with pytest.raises(CorpusError, match=r"(?s)no documents.*blank\.md: empty.*note\.txt: empty"):
        ingest([tmp_path], shortest=1)
    (tmp_path / "none").mkdir()
    with pytest.raises(CorpusError, match="the folder holds no files"):
        ingest([tmp_path / "none"], shortest=1)
    with pytest.raises(CorpusError, match="no path was given"):
        ingest([], shortest=1)


def test_hidden_files_and_circles_of_links_are_passed_over(tmp_path: Path) -> None:
    write(tmp_path, a_dot_md="One.", sub__b_dot_md="Two.")
    write(tmp_path, **{".hidden.md": "No.", ".git__c_dot_md": "No."})
    os.symlink(tmp_path, tmp_path / "sub" / "up", target_is_directory=True)
    os.symlink(tmp_path / "gone.md", tmp_path / "broken.md")
    corpus = ingest([tmp_path], shortest=1)
    assert [d.name for d in corpus] == ["a.md", "sub/b.md"]
    [broken] = corpus.skipped
    assert "cannot be read: No such file" in broken.reason


def test_what_a_run_wrote_among_the_documents_is_no_document(tmp_path: Path) -> None:
    (tmp_path / "note.md").write_text("A note.")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.db").touch()
    (tmp_path / "run" / "examples.md").write_text("A dataset card.")
    corpus = ingest([tmp_path], shortest=1)
    assert [document.name for document in corpus] == ["note.md"]
    assert corpus.skipped == []


def test_files_are_read_only_when_their_turn_comes(tmp_path: Path) -> None:
    write(tmp_path, a_dot_md="One.", b_dot_md="Two.")
    documents = iter(ingest([tmp_path], shortest=1))
    next(documents)
    (tmp_path / "b.md").write_text("Changed meanwhile.")
    assert next(documents).text == "Changed meanwhile."


def test_several_passages_of_a_document_are_told_apart(tmp_path: Path) -> None:
    sections = [
        f"## Part {n}\n\n" + f"Sentence {n} of this part says much. " * 30 for n in range(6)
    ]
    write(tmp_path, long_dot_md="\n\n".join(sections))
    documents = list(ingest([tmp_path], shortest=1, per_document=3, budget=300))
    assert [d.name for d in documents] == ["long.md [1/6]", "long.md [3/6]", "long.md [5/6]"]
    assert [d.meta["section"] for d in documents] == ["Part 0", "Part 2", "Part 4"]


def test_placeholders_and_braces_in_a_document_stay_text(tmp_path: Path) -> None:
    said = 'Use {{document}} and {"a": [1, 2]} and ${HOME}.'
    write(tmp_path, a_dot_md=said)
    [document] = ingest([tmp_path], shortest=1)
    assert document.text == said


@pytest.mark.skipif(not CORPUS.is_dir(), reason="the shared corpus is not there")
@pytest.mark.parametrize(("task", "count"), [("cs", 11), ("legal", 6), ("science", 46)])
def test_the_real_corpus_is_read_without_debris(task: str, count: int) -> None:
    corpus = ingest([CORPUS / task])
    documents = list(corpus)
    assert len(documents) == count
    assert corpus.skipped == []
    for document in documents:
        assert len(document.text) <= 24_000
        for debris in ("Cite as:", "Opinion of the Court\n", "<script", "<!--", "\\label{", "\f"):
            assert debris not in document.text, document.name


# Files that nobody should wait for


def skipped(folder: Path, limits: Limits = DEFAULT_LIMITS) -> dict[str, str]:
    """File name → why it was skipped, beside one good document."""
    (folder / "good.md").write_text("Enough to ask about. " * 10)
    corpus = ingest([folder], limits=limits)
    assert [document.name for document in corpus] == ["good.md"]
    return {Path(item.path).name: item.reason for item in corpus.skipped}


def test_a_text_too_short_to_ask_about_is_skipped_with_its_length(tmp_path: Path) -> None:
    write(tmp_path, stub_dot_md="See the other file.", rows_dot_jsonl='{"text": "Tiny."}\n')
    assert skipped(tmp_path) == {
        "stub.md": "too little text: 19 of at least 60 characters",
        "rows.jsonl:1": "too little text: 5 of at least 60 characters",
    }


def test_files_beyond_the_limits_are_named_and_not_opened(tmp_path: Path) -> None:
    """By their size, by what they unpack to, and whatever is not a file at all."""
    limits = DEFAULT_LIMITS._replace(file_bytes=2 * MEGABYTE, unpacked_bytes=3 * MEGABYTE)
    write(tmp_path, long_dot_txt="x" * (2 * MEGABYTE + 1))
    with ZipFile(tmp_path / "bomb.docx", "w", ZIP_DEFLATED) as bomb:
        bomb.writestr("word/document.xml", b"0" * 4 * MEGABYTE)
    os.mkfifo(tmp_path / "pipe.txt")
    assert skipped(tmp_path, limits) == {
        "long.txt": "too large: 2 MB of at most 2 MB",
        "bomb.docx": "too large: it unpacks to 4 MB of at most 3 MB",
        "pipe.txt": "not a regular file but a pipe, socket or device",
    }
    with pytest.raises(CorpusError, match="zero: not a regular file"):
        ingest(["/dev/zero"])


def test_a_file_that_takes_too_long_is_given_up_and_the_next_is_read(tmp_path: Path) -> None:
    write(tmp_path, hostile_dot_md="<!--" * 100_000, z_dot_md="Long, and still read. " * 5_000)
    corpus = ingest([tmp_path], limits=DEFAULT_LIMITS._replace(seconds=1))
    assert [document.name for document in corpus] == ["z.md [1/5]"]
    [hostile] = corpus.skipped
    assert hostile.reason == "reading it takes longer than 1 s: split it"


def test_a_file_that_eats_memory_is_given_up(tmp_path: Path) -> None:
    write(tmp_path, huge_dot_txt="word " * MEGABYTE)
    limits = DEFAULT_LIMITS._replace(memory_bytes=60 * MEGABYTE)
    assert skipped(tmp_path, limits) == {"huge.txt": "reading it takes more than 60 MB of memory"}


def test_links_are_followed_within_the_folder_and_named_where_they_leave_it(
    tmp_path: Path,
) -> None:
    outside, inside = tmp_path / "outside", tmp_path / "docs"
    write(outside, secret_dot_md="Nobody asked for this. " * 10)
    write(inside, here__a_dot_md="Enough to read, for once. " * 10)
    os.symlink(outside / "secret.md", inside / "leak.md")
    os.symlink(outside, inside / "leaks", target_is_directory=True)
    os.symlink(inside / "here", inside / "again", target_is_directory=True)
    corpus = ingest([inside])
    assert [document.name for document in corpus] == ["again/a.md"]
    leaving = "a link out of the folder: name its target to have it read"
    assert sorted(corpus.skipped) == [
        Skipped(str(inside / "leak.md"), leaving),
        Skipped(str(inside / "leaks"), leaving),
    ]


def test_another_passage_is_one_of_the_same_file_that_was_not_taken(tmp_path: Path) -> None:
    def part(of: str) -> str:
        return f"# Part {of}\n\n" + f"The {of} lease bounds what the journal may hold. " * 40

    write(tmp_path, sub__long_dot_md="\n\n".join(map(part, "abc")), short_dot_md=part("d"))
    short, first = ingest([tmp_path], budget=600)
    assert (first.name, short.name) == ("sub/long.md [1/3]", "short.md")

    found, lacking = other_passages([first, first, first, short], [first.id], budget=600)
    assert sorted(one.name for one in found) == ["sub/long.md [2/3]", "sub/long.md [3/3]"]
    assert {one.meta["source"] for one in found} == {first.meta["source"]}
    assert len({first.id, *(one.id for one in found)}) == 3
    assert lacking == {first.name: "no other passage", "short.md": "no other passage"}
    assert other_passages([first], [first.id], budget=600)[0] == found[:1]

    at_hand = Document.of("a text", first.text, passages=3, source=first.meta["source"])
    assert "is not here" in other_passages([at_hand], [], budget=600)[1]["a text"]
    write(tmp_path, sub__long_dot_md="\n\n".join(map(part, "abe")))
    assert "has changed since" in other_passages([first], [], budget=600)[1][first.name]
    Path(first.meta["source"]).unlink()
    assert "is not here" in other_passages([first], [], budget=600)[1][first.name]
