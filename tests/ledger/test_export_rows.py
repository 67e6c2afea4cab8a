"""Which examples an export holds, told by the files: filters, a split by document, lengths."""

import json
import random
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from autodata.ledger.export import arrow_table, export, export_arms
from autodata.ledger.filters import (
    ExportError,
    ExportOptions,
    Sized,
    judge_agreement,
    matched,
    origin_of,
    quantile_bins,
    split_of,
    stratified,
)
from autodata.ledger.ledger import Ledger
from autodata.tasks.types import Candidate, Criterion, Document, Mark, Round
from tests.ledger.test_export import a_ledger, accepted, attempt, lines
from tests.outside import Folder


def passage(file: str, number: int, of: int = 1, **meta: Any) -> Document:
    """A passage of a file, as `documents/` stores it; its folder is that of the machine."""
    where = {"source": f"/home/me/{file}", "source_sha256": f"sha of {file}", "passage": number}
    return Document.of(
        f"{file} [{number}/{of}]", f"{number} of {file}", **{**where, "passages": of, **meta}
    )


def asked(words: int, weak: float = 0.2, strong: float = 0.9, **more: Any) -> Round:
    """A round whose question has so many words."""
    candidate = accepted().candidate
    assert candidate is not None
    question = " ".join(["why"] * words)
    return accepted(
        candidate=candidate.model_copy(update={"question": question}),
        weak=(attempt("weak", 1, weak),),
        strong=(attempt("strong", 1, strong),),
        **more,
    )


def fill(ledger: Ledger, given: Iterable[tuple[Document, Round]]) -> Ledger:
    for document, round in given:
        ledger.add_documents([document])
        ledger.record("first", document.id, [round])
    return ledger


def of_lengths(folder: Path, *lengths: int) -> Ledger:
    folder.mkdir()
    documents = [passage(f"{number}.md", 1) for number in range(len(lengths))]
    return fill(a_ledger(folder), zip(documents, map(asked, lengths), strict=True))


def lengths_in(path: Path) -> list[int]:
    return sorted(row["meta"]["question_words"] for row in lines(path))


def test_conditions_choose_rows_and_the_card_says_how_many_each_left_out(tmp_path: Path) -> None:
    given = [
        (passage("a.md", 1), asked(5, weak=0.2)),
        (passage("b.md", 1), asked(5, weak=0.4)),
        (passage("c.md", 1), asked(9, weak=0.2)),
        (passage("d.md", 1), asked(5, weak=0.2, number=7)),
    ]
    where = ("gap >= 0.6", "round<=6", "question_words < 9")
    with fill(a_ledger(tmp_path), given) as ledger:
        written = export(ledger, "jsonl", options=ExportOptions(where=where))
        assert [row["meta"]["document_name"] for row in lines(written.path)] == ["a.md [1/1]"]
        assert written.left_out == {"gap >= 0.6": 1, "round <= 6": 1, "question_words < 9": 1}
        said = written.card.read_text()
        assert "| `gap >= 0.6` | 1 |" in said
        assert "| examples | 1, not measured afresh |" in said
        assert "| gap | 0.700 (one document) |" in said
        with pytest.raises(ExportError, match=r"4 by confirmed_gap > 0 \(4 of them not measured\)"):
            export(ledger, "jsonl", options=ExportOptions(where=("confirmed_gap > 0",)))


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ("gap", "in a shell put it in quotes"),
        ("gap >= much", "much is no number"),
        ("gap < inf", "no number that a figure could reach"),
        ("question >= 3", "names no column; there are weak_pass_rate"),
    ],
)
def test_a_condition_that_cannot_be_read_is_refused_in_words(
    tmp_path: Path, condition: str, said: str
) -> None:
    with a_ledger(tmp_path, accepted()) as ledger, pytest.raises(ExportError, match=said):
        export(ledger, "jsonl", options=ExportOptions(where=(condition,)))


def test_a_judge_that_contradicts_itself_can_be_filtered_out(tmp_path: Path) -> None:
    """Of three votes 2:1, one of three pairs agrees; beside a unanimous criterion four of six."""

    def judged(*votes: tuple[bool, ...]) -> Round:
        marks = tuple(Mark(criterion="c", weight=1, met=True, votes=each) for each in votes)
        weak = attempt("weak", 1, 0.2).model_copy(update={"marks": marks})
        return accepted(weak=(weak,), strong=(attempt("strong", 1, 0.9),))

    torn, sure = judged((True, True, False), (True, True, True)), judged((True, True, True))
    assert judge_agreement([each.model_dump() for each in torn.weak]) == pytest.approx(2 / 3)
    with fill(
        a_ledger(tmp_path), [(passage("torn", 1), torn), (passage("sure", 1), sure)]
    ) as ledger:
        options = ExportOptions(where=("agreement >= 0.7",))
        [row] = lines(export(ledger, "jsonl", options=options).path)
    assert (row["meta"]["document_name"], row["meta"]["agreement"]) == ("sure [1/1]", 1.0)


def test_a_split_keeps_passages_of_one_file_together_wherever_it_lies(tmp_path: Path) -> None:
    """In two runs, on machines whose folders differ, in other orders: files, and rows of tables."""
    files = [passage(f"{n}.md", k, 3) for n in range(20) for k in (1, 2, 3)]
    moved = [
        d.model_copy(update={"meta": {**d.meta, "source": f"elsewhere/{d.name}"}}) for d in files
    ]
    dealt = []
    for name, documents in (("one", files), ("two", moved[::-1])):
        (tmp_path / name).mkdir()
        given = [(document, asked(5)) for document in documents]
        with fill(a_ledger(tmp_path / name), given) as ledger:
            written = export(ledger, "verl", options=ExportOptions(test_share=0.3))
        assert written.test is not None
        train, test = (pq.read_table(p).to_pylist() for p in (written.path, written.test))
        assert (len(train), len(test)) == (written.rows, written.test_rows)
        assert {row["split"] for row in test} == {row["extra_info"]["split"] for row in test}
        assert {row["split"] for row in train} == {"train"}
        dealt.append({row["extra_info"]["document_name"] for row in test})
        assert written.path.name == "verl-train.parquet"
        assert [row["extra_info"]["index"] for row in test] == list(range(len(test)))
    assert dealt[0] == dealt[1]
    counts = Counter(name.split()[0] for name in dealt[0])
    assert set(counts.values()) == {3}
    assert len(counts) == written.test_documents == 20 - written.documents
    _, front, body = written.card.read_text().split("---\n", 2)
    assert yaml.safe_load(front)["configs"][0]["data_files"] == [
        {"split": "train", "path": "verl-train.parquet"},
        {"split": "test", "path": "verl-test.parquet"},
    ]
    assert f"in `test` from {len(counts)} documents" in body


def prose(seed: int, words: int = 300) -> str:
    draw = random.Random(seed)
    return " ".join(draw.choice("abcdefgh") * draw.randint(1, 9) for _ in range(words))


def test_one_text_in_two_forms_goes_to_one_side(tmp_path: Path) -> None:
    """Whatever their files hash to, and whichever examples are chosen; others are dealt freely."""
    given = []
    for number in range(12):
        for form, around in (("html", "Published on the web. {}"), ("txt", "{} The end.")):
            document = passage(f"{number}.{form}", 1)
            text = around.format(prose(number).upper() if form == "html" else prose(number))
            given.append((Document.of(document.name, text, **document.meta), asked(5 + number % 2)))
    with fill(a_ledger(tmp_path), given) as ledger:
        sides = {}
        for where in ((), ("question_words > 5",)):
            export(ledger, "jsonl", options=ExportOptions(test_share=0.5, where=where))
            found = dict[str, set[str]]()
            for split in ("train", "test"):
                for row in lines(tmp_path / f"examples-{split}.jsonl"):
                    found.setdefault(row["meta"]["document_name"].split(".")[0], set()).add(split)
            sides[where] = {name: one for name, [one] in found.items()}
        assert len(sides[()]) == 12
        assert set(sides[()].values()) == {"train", "test"}
        assert sides["question_words > 5",].items() <= sides[()].items()


def test_a_share_of_documents_is_dealt_and_a_greater_one_keeps_what_was_in_test() -> None:
    origins = [f"file {n}" for n in range(4000)]
    few, many = ({o for o in origins if split_of(o, share) == "test"} for share in (0.1, 0.3))
    assert few < many
    assert len(few) == pytest.approx(400, abs=60)
    assert len(many) == pytest.approx(1200, abs=90)


def test_rows_of_a_table_are_dealt_by_themselves_and_passages_of_a_text_together() -> None:
    table = {"source": "t.csv", "source_sha256": "x", "row": 3}
    assert origin_of("id", "t.csv:3", {**table, "passages": 1}) == "id"
    halves = {
        origin_of(str(k), f"t.csv:3 [{k}/2]", {**table, "passage": k, "passages": 2})
        for k in (1, 2)
    }
    assert halves == {"x:3"}
    typed = {origin_of(str(k), f"a text [{k}/2]", {"passages": 2}) for k in (1, 2)}
    assert typed == {"a text"}


def test_a_share_that_leaves_one_side_empty_is_refused(tmp_path: Path) -> None:
    with a_ledger(tmp_path, accepted()) as ledger:
        with pytest.raises(ExportError, match="more documents or another share give both some"):
            export(ledger, "jsonl", options=ExportOptions(test_share=0.5))
        assert not list(tmp_path.glob("examples*"))
        rows = arrow_table(ledger, "jsonl", options=ExportOptions(test_share=0.999))
    assert rows.column("split").to_pylist() == ["test"]


def test_lengths_are_matched_to_those_of_another_run(tmp_path: Path) -> None:
    """Of ten short and ten long questions, against one that has three short ones to each long."""
    with of_lengths(tmp_path / "wanted", 5, 5, 6, 6, 6, 6, 20, 22):
        pass
    options = ExportOptions(match_lengths=tmp_path / "wanted", length_bins=2)
    with of_lengths(tmp_path / "own", *[5, 6] * 5, *[20, 21] * 5, 90) as ledger:
        written = export(ledger, "jsonl", options=options)
        drawn = [row["meta"]["document_name"] for row in lines(written.path)]
    found = lengths_in(written.path)
    assert len(found) == 13
    assert (sum(n <= 6 for n in found), sum(n >= 20 for n in found)) == (10, 3)
    assert written.left_out == {"the lengths of wanted": 8}
    assert "| 7–22 | 10 | 3 |" in written.card.read_text()
    # The same are drawn of the same questions in another order.
    shuffled = [*zip(range(21), [*[5, 6] * 5, *[20, 21] * 5, 90], strict=True)]
    random.Random(1).shuffle(shuffled)
    (tmp_path / "again").mkdir()
    given = [(passage(f"{n}.md", 1), asked(words)) for n, words in shuffled]
    with fill(a_ledger(tmp_path / "again"), given) as ledger:
        again = export(ledger, "jsonl", options=options)
    assert Counter(lengths_in(again.path)) == Counter(found)
    assert len(drawn) == len(set(drawn))


def test_lengths_that_a_run_does_not_have_are_named(tmp_path: Path) -> None:
    with of_lengths(tmp_path / "wanted", 40, 41, 50, 52):
        pass
    with of_lengths(tmp_path / "own", 5, 6, 41) as ledger:
        options = ExportOptions(match_lengths=tmp_path / "wanted")
        with pytest.raises(ExportError, match=r"\(5–41 words\) cannot have .*: none has 42–52 wor"):
            export(ledger, "jsonl", options=options)


def test_matched_questions_have_the_shares_of_every_bin() -> None:
    """Drawn at random: each bin's share of what is kept is within one question of what it was."""
    draw = random.Random(7)
    for _ in range(50):
        own = [Sized(str(n), draw.randint(5, 60)) for n in range(draw.randint(40, 300))]
        lengths = [draw.randint(10, 50) for _ in range(draw.randint(10, 80))]
        kept, bins = matched(own, lengths, 5)
        assert sum(bin.taken for bin in bins) == len(kept)
        for bin in bins:
            share = sum(bin.low <= words <= bin.high for words in lengths) / len(lengths)
            assert abs(bin.taken - share * len(kept)) < 1
            assert bin.taken == sum(bin.low <= own[n].words <= bin.high for n in kept)
        assert len(matched(own, lengths, 5, most=7).kept) == min(7, len(kept))
    assert quantile_bins([4, 4, 4, 4, 9, 9], 5)[0][:2] == (4, 4)  # equal lengths are in one bin


def test_as_many_of_each_length_are_kept(tmp_path: Path) -> None:
    """Of 30 questions half of which are short: as many of every bin as the least filled holds."""
    own = [Sized(str(n), words) for n, words in enumerate([5] * 15 + [20] * 10 + [35] * 5)]
    kept, bins = stratified(own, 3)
    assert Counter(own[n].words for n in kept) == {5: 5, 20: 5, 35: 5}
    assert [bin.taken for bin in bins] == [5, 5, 5]
    with of_lengths(tmp_path / "run", 5, 5, 5, 40) as ledger:
        options = ExportOptions(stratify="length", length_bins=2)
        assert lengths_in(export(ledger, "jsonl", options=options).path) == [5, 40]


def test_answers_that_were_cut_off_are_not_trained_on(tmp_path: Path) -> None:
    """Neither the strong ones that a student imitates, nor the weak ones that it avoids."""
    cut = accepted(
        weak=(attempt("weak", 1, 0.0, truncated=True), attempt("weak", 2, 0.1)),
        strong=(attempt("strong", 1, 1.0, truncated=True), attempt("strong", 2, 0.8)),
    )
    only = accepted(
        weak=(attempt("weak", 1, 0.0),), strong=(attempt("strong", 1, 1.0, truncated=True),)
    )
    given = [(passage("some", 1), cut), (passage("all", 1), only)]
    with fill(a_ledger(tmp_path), given) as ledger:
        [pair] = lines(export(ledger, "dpo").path)
        assert (pair["chosen"][0]["content"], pair["rejected"][0]["content"]) == (
            "strong 2",
            "weak 2",
        )
        written = export(ledger, "sft")
        [row] = lines(written.path)
        assert row["messages"][-1]["content"] == "strong 2"
        assert written.left_out == {"sft, which takes whole scored answers": 1}
        apart = "dpo, which takes whole scored answers that lie 0.2 apart"
        assert export(ledger, "dpo").left_out == {apart: 1}
        assert "| examples | 1, not" in written.card.read_text()


def test_a_card_has_the_licence_languages_and_tags_that_the_hub_reads(tmp_path: Path) -> None:
    stated = [
        passage("a.md", 1, 2, license="CC-BY-4.0"),
        passage("a.md", 2, 2, license="CC-BY-4.0"),
        passage("t.csv", 1, row=2, fields={"Licence": "MIT"}),
        passage("b.md", 1),
    ]
    options = ExportOptions(license="CC BY 4.0", languages=("en", "pt-BR"))
    with fill(a_ledger(tmp_path), [(document, asked(5)) for document in stated]) as ledger:
        said = export(ledger, "trl-grpo", options=options).card.read_text()
        _, front, body = said.split("---\n", 2)
        fields = yaml.safe_load(front)
        assert (fields["license"], fields["language"]) == ("cc-by-4.0", ["en", "pt-BR"])
        assert fields["task_categories"] == ["text-generation", "question-answering"]
        assert {"synthetic", "trl", "grpo", "cs", "simulated"} <= set(fields["tags"])
        assert "CC-BY-4.0 (1 document), MIT (1 document), not stated (1 document)" in body
        own = ExportOptions(license="House Licence 2")
        _, front, _ = export(ledger, "sft", options=own).card.read_text().split("---\n", 2)
    fields = yaml.safe_load(front)
    assert (fields["license"], fields["license_name"]) == ("other", "House Licence 2")


def test_benchmark_files_of_one_name_all_count(tmp_path: Path) -> None:
    question = " ".join(f"word{chr(97 + n)}" for n in range(20))
    files = [tmp_path / place / "test.jsonl" for place in ("first", "second")]
    texts = (question, "something else that no example of this run holds anywhere in it at all")
    for file, text in zip(files, texts, strict=True):
        file.parent.mkdir()
        file.write_text(json.dumps({"text": text}) + "\n")
    candidate = Candidate(
        context="", question=question, reference_answer="So.",
        rubric=(Criterion(criterion="says so", weight=5),),
    )  # fmt: skip
    given = [
        (passage("a.md", 1), accepted(candidate=candidate)),
        (passage("b.md", 1), accepted()),
    ]
    with fill(a_ledger(tmp_path / "run"), given) as ledger:
        found = export(ledger, "jsonl", options=ExportOptions(decontaminate=(*files, files[0])))
    assert list(found.left_out.items()) == [
        (f"words shared with {files[0]}", 1),
        (f"words shared with {files[1]}", 0),
    ]


def test_a_card_takes_the_place_of_no_other_text(tmp_path: Path) -> None:
    """A README, or notes beside the rows, is somebody's own; an earlier card is written anew."""
    with (
        of_lengths(tmp_path / "run", 5, 6, 7, 8) as ledger,
        of_lengths(tmp_path / "one", 5, 6, 7, 8),
    ):
        for name in ("notes", "rows"):
            (tmp_path / f"{name}.md").write_text("---\ntitle: mine\n---\n\n# Mine, not a card\n")
        with pytest.raises(ExportError, match=r"notes\.md is no dataset card, .*name another"):
            export(ledger, "jsonl", tmp_path / "notes.jsonl")
        assert not (tmp_path / "notes.jsonl").exists()
        (tmp_path / "README.md").write_text("My project.\n")
        with pytest.raises(ExportError, match=r"README\.md is no dataset card"):
            export_arms(ledger, tmp_path / "one", "sft", tmp_path)
        assert not list(tmp_path.glob("*one-shot*"))
        for _ in range(2):
            export(ledger, "jsonl", tmp_path / "written.jsonl")
            export_arms(ledger, tmp_path / "one", "sft", tmp_path / "arms")


@pytest.mark.parametrize("code", ["english", "jp", "en_US", "EN", ""])
def test_what_is_no_language_code_is_refused(code: str) -> None:
    with pytest.raises(ExportError, match="is no language code; write en, pt-BR"):
        ExportOptions.of(languages=[code])


def test_options_that_do_not_go_together_or_do_not_exist_are_named(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="take one"):
        ExportOptions.of(match_lengths=tmp_path, stratify="length")
    with pytest.raises(ExportError, match="min_gap: there is no such option; there are confirmed"):
        ExportOptions.of(min_gap=0.3)
    options = ExportOptions.of(where="gap >= 0.3", decontaminate="b.jsonl", languages=["en", "en"])
    assert (options.where, options.languages) == (("gap >= 0.3",), ("en",))
    assert options.decontaminate == (Path("b.jsonl"),)


def test_a_card_shows_how_figures_are_distributed_and_what_an_example_cost(tmp_path: Path) -> None:
    with of_lengths(tmp_path / "run", *range(5, 15)) as ledger:
        call = {"endpoint": "e", "model": "m", "status": "ok", "started_at": "2026-01-01"}
        with ledger.writing() as database:
            database.table("calls").insert_all(
                {**call, "scope": id, "role": "judge", "request_key": f"{id}{n}", "sample": n,
                 "input_tokens": 50, "output_tokens": 50, "usd": 0.25, "seconds": 1.0}
                for id in ledger.document_ids() for n in (1, 2)
            )  # fmt: skip
        said = export(ledger, "jsonl").card.read_text()
    assert "| words of the question | 5 | 5 | 9 | 13 | 14 | ██████████ |" in said
    assert "22 calls with 2,200 tokens, $5.5000; an accepted example took 2 calls (2–" in said
    assert "200 tokens (200–" in said
    assert "$0.5000 (0.5000–" in said


def test_the_command_says_what_it_left_out_and_dealt(tmp_path: Path) -> None:
    """As typed; a run to match that is none is refused before anything is written."""
    folder = Folder(tmp_path)
    with of_lengths(tmp_path / "run", *range(5, 25)):
        pass
    words = ("--format", "sft", "-o", "x.jsonl")
    said = folder(
        *("export", "run", *words, "--where", "question_words > 6", "--test-share", "0.4"),
        *("--license", "mit", "--language", "en"),
    )
    train, test = (len(lines(tmp_path / f"x-{split}.jsonl")) for split in ("train", "test"))
    assert train + test == 18
    assert f"{train} rows in x-train.jsonl, from {train} documents\n" in said
    assert f"{test} rows in x-test.jsonl, from {test} documents\n" in said
    assert "left out: 2 by question_words > 6\ndataset card in x.md\n" in said
    said = folder("export", "run", *words, "--stratify", "length", "--length-bins", "2")
    assert "drawn: 10 of 10 with 5–14 words, 10 of 10 with 15–24 words" in said
    for option, why in {
        ("--length-bins", "3"): "nothing is drawn; add match_lengths, stratify or length_arms",
        ("--public",): "--public says how --push sends; name USER/NAME",
        ("--push-simulated",): "--push-simulated says how --push sends; name USER/NAME",
    }.items():
        assert why in folder("export", "run", *words, *option, code=2)
    refused = folder("export", "run", *words, "--match-lengths", "nowhere", code=2)
    assert "there is no folder nowhere" in refused


def test_the_length_test_is_four_files_of_as_many_rows(tmp_path: Path) -> None:
    """Half of the one-shot questions are short, most of the agentic ones are long."""
    folder = Folder(tmp_path)
    with of_lengths(tmp_path / "one-shot", *[6, 8] * 10, *[30, 40] * 4):
        pass
    with of_lengths(tmp_path / "agentic", *[6, 8] * 3, *[30, 40] * 9):
        pass
    words = ("agentic", "--length-arms", "one-shot", "--length-bins", "4", "--format", "sft")
    said = folder("export", *words, "-o", "arms")
    arms = [lengths_in(path) for path in sorted((tmp_path / "arms").glob("*.jsonl"))]
    assert {len(found) for found in arms} == {8}
    assert "8 rows in arms/1-one-shot.jsonl" in said
    short = [sum(words < 10 for words in found) for found in arms]
    assert short == [6, 2, 2, 6]  # 20 of 28 and 6 of 24, of 8
    readme = (tmp_path / "arms" / "README.md").read_text()
    _, front, body = readme.split("---\n", 2)
    assert [each["data_files"] for each in yaml.safe_load(front)["configs"]] == [
        path.name for path in sorted((tmp_path / "arms").glob("*.jsonl"))
    ]
    assert "share = (arm 2 − arm 1) / (arm 3 − arm 1)" in body
    told = rf"2-one-shot-resampled.jsonl \|.*\| 8 \| {sum(arms[1]) / 8:.1f} \(\d+.\d–\d+.\d\) \|"
    assert re.search(told, body)
    assert "**Simulated.**" in body


def test_a_length_test_without_lengths_in_common_says_which_lack(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    for name, lengths in {"one-shot": [5, 6] * 3, "agentic": [30, 40] * 3, "few": [5, 6]}.items():
        with of_lengths(tmp_path / name, *lengths):
            pass
    words = ("export", "agentic", "--format", "sft", "--length-arms")
    refused = folder(*words, "one-shot", code=2)
    assert "(5–6 words) cannot have the lengths of agentic: none has 30, 31–40 words" in refused
    assert "few has 2 examples to match" in folder(*words, "few", code=2)
    assert "draws by itself" in folder(*words, "one-shot", "--test-share", "0.1", code=2)
    folders = ("export", "agentic", "--format", "hf", "--length-arms", "one-shot")
    assert "an arm of the length test is a file" in folder(*folders, code=2)
    assert not (tmp_path / "agentic" / "length-arms").exists()
