"""Arms of a training experiment, told by the files: made from exports of two runs."""

import hashlib
import json
import random
import re
import shlex
from collections.abc import Iterable, Mapping
from fractions import Fraction
from itertools import chain
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from autodata.ledger.export import select
from autodata.ledger.filters import ExportOptions, split_of
from autodata.tasks.types import Document
from tests.ledger.test_export import a_ledger, accepted, lines
from tests.ledger.test_export_rows import fill, passage
from tests.training.scripts import PAGE, script

mix, rows_of_exports = script("mix"), script("rows")
WORDS = ("lease", "quorum", "journal", "cursor", "epoch", "replica", "barrier", "queue", "cache")
FILES = 40  # of two passages each
SHARES = ("--test-share", "0.2", "--validation-share", "0.2")


def asking(document: Document, source: str, words: int):
    """An accepted round whose question about a document nobody else asks."""
    draw = random.Random(f"{source} {document.id}")
    question = " ".join([source, document.id, *draw.choices(WORDS, k=words - 2)])
    candidate = accepted().candidate
    assert candidate is not None
    return accepted(candidate=candidate.model_copy(update={"question": question}))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what is exported of a run of one shot and of an agentic one, which asks at
    greater length, over the same documents."""
    place = tmp_path_factory.mktemp("runs")
    draw = random.Random(0)
    passages = [passage(f"{n}.md", part, 2) for n in range(FILES) for part in (1, 2)]
    for source, often in (("one-shot", 12), ("agentic", 30)):
        words = [round(draw.triangular(10, 34, often)) for _ in passages]
        given = [(each, asking(each, source, n)) for each, n in zip(passages, words, strict=True)]
        with fill(a_ledger(place / source), given) as ledger:
            for form in ("trl-grpo", "jsonl", "sft", "dpo"):
                write(place / f"{source}-{form}.jsonl", select(ledger, form).rows())
            dealt = select(ledger, "jsonl", None, ExportOptions(test_share=0.3))
            write(place / f"{source}-test.jsonl", dealt.rows("test"))
    return place


def write(file: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return file


def made(runs: Path, out: Path, *words: str, form: str = "trl-grpo", code: int = 0) -> Any:
    """The manifest of the arms that a command makes."""
    files = [(f"--{source}", runs / f"{source}-{form}.jsonl") for source in mix.SOURCES]
    words = (*(str(word) for each in files for word in each), "--out", str(out), *words)
    assert mix.main(words) == code
    return json.loads((out / "manifest.json").read_text()) if code == 0 else None


def trained(out: Path, arm: str) -> list[dict[str, Any]]:
    return lines(out / arm / "train.jsonl")


def held(file: Path, column: str = "document_source") -> set[str]:
    return {row["meta"][column] for row in lines(file)}


def test_arms_tests_and_validation_share_no_document_and_tests_are_those_of_the_export(
    runs: Path, tmp_path: Path
) -> None:
    """Passages of one file lie together, whichever run asked about them."""
    manifest = made(runs, tmp_path / "arms", "--test-share", "0.3", "--validation-share", "0.1")
    tests = [tmp_path / "arms" / "test" / f"{source}.jsonl" for source in mix.SOURCES]
    assert held(tests[0]) == held(tests[1])
    for source, file in zip(mix.SOURCES, tests, strict=True):
        assert held(file, "document_id") == held(runs / f"{source}-test.jsonl", "document_id")
    assert list(manifest["arms"]) == list(mix.ARMS)
    for arm in mix.ARMS:
        folder = tmp_path / "arms" / arm
        taught, checked = held(folder / "train.jsonl"), held(folder / "validation.jsonl")
        assert taught
        assert checked
        assert not taught & checked
        assert not (taught | checked) & held(tests[0])
    assert manifest["tests"]["agentic"]["documents"] < manifest["tests"]["agentic"]["rows"]
    assert manifest["split_by"].startswith("document: meta.document_source")
    assert manifest["simulated"] is True


@pytest.mark.parametrize("share", [0.1, 1 / 3, 0.77])
def test_the_hash_is_the_one_of_the_export(share: float) -> None:
    for origin in map(str, range(200)):
        place = Fraction(mix.drawn("split", origin), 1 << 64)
        assert (mix.part_of(place, share, 0.1) == "test") == (split_of(origin, share) == "test")


def test_arms_have_equally_many_rows_and_the_manifest_says_what_lies_there(
    runs: Path, tmp_path: Path
) -> None:
    manifest = made(runs, tmp_path / "arms", "--rows", "14", "--bins", "3")
    for arm, told in manifest["arms"].items():
        rows = lines(Path(told["train"]["file"]))
        assert len(rows) == told["train"]["rows"] == (28 if arm == "mixed-double" else 14)
        assert {row["split"] for row in rows} == {"train"}
        data = Path(told["train"]["file"]).read_bytes()
        assert told["train"]["sha256"] == hashlib.sha256(data).hexdigest()
        texts = [row["prompt"][0]["content"] for row in rows]
        assert len({*texts}) == len(texts)
        assert told["train"]["tokens"] == sum(-(-len(text) // 4) for text in texts)
        words = [len(row["question"].split()) for row in rows]
        assert told["train"]["question_words"]["mean"] == round(fmean(words), 1)
        assert told["train"]["documents"] == len({row["meta"]["document_source"] for row in rows})
    assert manifest["arms"]["mixed"]["train"]["from"] == {"agentic": 7, "one-shot": 7}
    asked = {arm: {row["question"] for row in trained(tmp_path / "arms", arm)} for arm in mix.ARMS}
    assert asked["mixed-double"] == asked["one-shot"] | asked["agentic"]


def test_a_matched_arm_has_the_lengths_of_the_other_source(runs: Path, tmp_path: Path) -> None:
    manifest = made(runs, tmp_path / "arms")
    mean = {arm: told["train"]["question_words"]["mean"] for arm, told in manifest["arms"].items()}
    rows = {told["train"]["rows"] for arm, told in manifest["arms"].items() if arm in mean}
    assert len(rows - {manifest["arms"]["mixed-double"]["train"]["rows"]}) == 1
    assert mean["agentic"] - mean["one-shot"] > 2.5
    assert abs(mean["one-shot-matched"] - mean["agentic"]) < 1.5
    assert abs(mean["agentic-matched"] - mean["one-shot"]) < 1.5


def test_arms_of_equal_tokens_differ_by_less_than_a_row(runs: Path, tmp_path: Path) -> None:
    told = made(runs, tmp_path / "arms", "--equal", "tokens")["arms"]
    tokens = {arm: found["train"]["tokens"] for arm, found in told.items() if arm != "mixed-double"}
    longest = max(found["train"]["tokens_per_row"] for found in told.values())
    assert max(tokens.values()) - min(tokens.values()) <= longest
    assert told["one-shot"]["train"]["rows"] > told["agentic"]["train"]["rows"]


def test_the_seed_draws_and_shuffles_and_the_order_of_files_does_not(
    runs: Path, tmp_path: Path
) -> None:
    def train(out: Path) -> str:
        return (out / "agentic" / "train.jsonl").read_text()

    turned = tmp_path / "turned"
    turned.mkdir()
    for source in mix.SOURCES:
        file = runs / f"{source}-trl-grpo.jsonl"
        (turned / file.name).write_text("".join(reversed(file.read_text().splitlines(True))))
    few = ("--rows", "15", "--test-rows", "5", "--arm", "agentic")
    made(runs, tmp_path / "one", *few)
    made(turned, tmp_path / "two", *few)
    made(runs, tmp_path / "other", *few, "--seed", "1")
    assert train(tmp_path / "one") == train(tmp_path / "two") != train(tmp_path / "other")
    first = runs / "agentic-trl-grpo.jsonl"
    beginning = {row["question"] for row in lines(first)[:30]}
    drawn = {row["question"] for row in trained(tmp_path / "one", "agentic")}
    assert not drawn <= beginning
    tests = [(tmp_path / out / "test" / "agentic.jsonl").read_text() for out in ("one", "other")]
    assert tests[0] == tests[1]
    assert len(tests[0].splitlines()) == 5
    several = ("--seed", "0", "--seed", "1")
    files = ("--agentic", str(first), "--out", str(tmp_path / "many"))
    assert mix.main([*files, *several]) == 0
    assert sorted(each.name for each in (tmp_path / "many").iterdir()) == ["seed-0", "seed-1"]
    assert mix.main([*files, "--seed", "3"]) == 0
    assert not (tmp_path / "many" / "seed-0").exists()


def test_what_a_test_asks_is_not_trained_on_in_other_letters(runs: Path, tmp_path: Path) -> None:
    by_part: dict[str, list[dict[str, Any]]] = {}
    for row in lines(runs / "agentic-trl-grpo.jsonl"):
        place = Fraction(int(row["meta"]["document_source"], 16), 1 << 64)
        by_part.setdefault(mix.part_of(place, 0.2, 0.2), []).append(row)
    same = by_part["test"][0]["prompt"][0]["content"].upper().replace(" ", "  ") + " ?!"
    by_part["train"][0]["prompt"][0]["content"] = same
    file = write(tmp_path / "rows.jsonl", chain(*by_part.values()))
    words = ("--agentic", str(file), "--out", str(tmp_path / "arms"), *SHARES)
    assert mix.main(words) == 0
    manifest = json.loads((tmp_path / "arms" / "manifest.json").read_text())
    assert manifest["left_out"] == {"train: asked in test": 1}
    kept = [row["prompt"][0]["content"] for row in trained(tmp_path / "arms", "agentic")]
    assert same not in kept
    assert len(kept) == len(by_part["train"]) - 1


def test_what_one_run_says_is_of_one_text_stays_together(runs: Path, tmp_path: Path) -> None:
    """The other run did not have the text that makes it so."""
    files = {source: lines(runs / f"{source}-trl-grpo.jsonl") for source in mix.SOURCES}
    for row in files["agentic"]:
        row["meta"]["document_source"] = f"{mix.drawn('split', row['meta']['document_id']):016x}"
    paths = [
        (f"--{source}", str(write(tmp_path / f"{source}.jsonl", rows)))
        for source, rows in files.items()
    ]
    assert mix.main([*chain(*paths), "--out", str(tmp_path / "arms"), *SHARES]) == 0
    tests = [tmp_path / "arms" / "test" / f"{source}.jsonl" for source in mix.SOURCES]
    assert held(tests[0], "document_id") == held(tests[1], "document_id")
    whole = {
        row["meta"]["document_id"]: row["meta"]["document_source"] for row in files["one-shot"]
    }
    tested, taught = (
        {whole[each] for file in files for each in held(file, "document_id")}
        for files in (tests, [tmp_path / "arms" / "mixed-double" / "train.jsonl"])
    )
    assert tested
    assert not tested & taught


def test_exports_of_jsonl_and_sft_make_arms_and_get_a_prompt(runs: Path, tmp_path: Path) -> None:
    full = made(runs, tmp_path / "full", form="jsonl")
    grpo = made(runs, tmp_path / "grpo")
    [one, other] = (trained(tmp_path / p, "agentic") for p in ("full", "grpo"))
    assert [row["prompt"] for row in one] == [row["prompt"] for row in other]
    assert full["arms"]["agentic"]["train"]["tokens"] == grpo["arms"]["agentic"]["train"]["tokens"]
    sft = made(runs, tmp_path / "sft", form="sft")
    rows = trained(tmp_path / "sft", "agentic")
    assert {row["messages"][-1]["role"] for row in rows} == {"assistant"}
    # A student of sft reads the answers as well.
    assert sft["arms"]["agentic"]["train"]["tokens"] > grpo["arms"]["agentic"]["train"]["tokens"]


def test_items_that_code_draws_may_be_split_by_question(tmp_path: Path) -> None:
    family = Document.of("sums.txt", "Sums.")
    given = [
        {
            "task": "procedural", "context": "", "question": f"What is {n} {sign} 7?",
            "meta": {"document_id": family.id, "document_name": family.name},
        }
        for n in range(20) for sign in "+−"  # a sign alone makes another question
    ]  # fmt: skip
    file = tmp_path / "items.jsonl"
    file.write_text("".join(f"{json.dumps(row)}\n" for row in given))
    words = ["--agentic", str(file), "--out", str(tmp_path / "arms"), "--test-share", "0.3"]
    assert mix.main(words) == 2
    assert mix.main([*words, "--split-by", "question"]) == 0
    manifest = json.loads((tmp_path / "arms" / "manifest.json").read_text())
    assert manifest["split_by"].startswith("question")
    asked = [
        {row["question"] for row in lines(tmp_path / "arms" / place)}
        for place in ("test/agentic.jsonl", "agentic/train.jsonl", "agentic/validation.jsonl")
    ]
    assert sum(map(len, asked)) == 40 == len(set.union(*asked))
    # They are all of one document, and trainers take them beside each other.
    train, test = (
        lines(tmp_path / "arms" / f) for f in ("agentic/train.jsonl", "test/agentic.jsonl")
    )
    rows_of_exports.refuse_overlap(train, test, "test")
    with pytest.raises(rows_of_exports.RowsError, match="questions of test are trained on"):
        rows_of_exports.refuse_overlap(train, train[:1], "test")
    with pytest.raises(rows_of_exports.RowsError, match="1 documents of test are trained on"):
        rows_of_exports.refuse_overlap(given, test, "test")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--agentic", "nowhere.jsonl"], "nowhere.jsonl"),
        (["--agentic", "empty.jsonl"], "empty.jsonl is empty"),
        (["--agentic", "broken.jsonl"], "broken.jsonl, line"),
        (["--agentic", "strange.jsonl"], "strange.jsonl, line 1"),
        (["--agentic", "agentic-dpo.jsonl"], "agentic-dpo.jsonl, line 1"),
        (["--agentic", "agentic-jsonl.jsonl", "--one-shot", "one-shot-sft.jsonl"], "formats"),
        (["--agentic", "agentic-sft.jsonl", "--arm", "mixed"], "takes both"),
        (["--agentic", "agentic-sft.jsonl", "--rows", "900"], "the arm agentic has"),
        (["--agentic", "agentic-sft.jsonl", "--test-share", "0.9", "--validation-share", "0.2"],
         "leave nothing to train on"),
        (["--agentic", "agentic-sft.jsonl", "--tokenizer", "nowhere"], "tokenizer"),
        (["--agentic", "agentic-sft.jsonl", "--rows", "2", "--equal", "tokens"], "leave one"),
        (["--agentic", "several.jsonl"], "formats"),
        (["--agentic", "nowhere-known.jsonl"], "nowhere-known.jsonl, line 1"),
        (["--agentic", "wordless.jsonl"], "wordless.jsonl, line 1"),
        ([], "name the files"),
    ],
)  # fmt: skip
def test_what_cannot_be_mixed_is_told_in_words(
    runs: Path, tmp_path: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(runs)
    (runs / "empty.jsonl").write_text("\n")
    (runs / "broken.jsonl").write_text('{"text": "a"}\n{\n')
    (runs / "strange.jsonl").write_text('{"text": "a"}\n')
    forms = [(runs / f"agentic-{form}.jsonl").read_text() for form in ("jsonl", "sft")]
    (runs / "several.jsonl").write_text("".join(forms))
    row = json.loads(forms[1].splitlines()[0])
    source = row["meta"] | {"document_source": "no hash"}
    write(runs / "nowhere-known.jsonl", [row | {"meta": source}])
    write(runs / "wordless.jsonl", [row | {"messages": [{"role": "user"}]}])
    assert mix.main([*words, "--out", str(tmp_path / "arms")]) == 2
    told = capsys.readouterr().err
    assert told.startswith("mix.py: ")
    assert said in told


def test_other_files_are_not_swept_away(runs: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    made(runs, tmp_path, code=2)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_arms_stay_where_a_later_call_cannot_be_met_and_other_manifests_are_not_ours(
    runs: Path, tmp_path: Path
) -> None:
    made(runs, tmp_path / "arms")
    before = {path: path.read_bytes() for path in (tmp_path / "arms").rglob("*.jsonl")}
    assert before
    made(runs, tmp_path / "arms", "--rows", "9000", code=2)
    assert {path: path.read_bytes() for path in (tmp_path / "arms").rglob("*.jsonl")} == before
    (tmp_path / "arms" / "agentic" / "student.bin").write_text("mine")
    made(runs, tmp_path / "arms", code=2)
    (tmp_path / "site").mkdir()
    for name in ("manifest.json", "index.html"):
        (tmp_path / "site" / name).write_text("{}")
    made(runs, tmp_path / "site", code=2)
    made(runs, tmp_path / "site" / "index.html", code=2)
    assert (tmp_path / "site" / "index.html").read_text() == "{}"


def test_the_commands_of_the_page_are_such_as_the_script_takes() -> None:
    said = PAGE.read_text(encoding="utf-8").replace("\\\n", " ")
    found = re.findall(r"^python training/mix\.py (.*)$", said, re.MULTILINE)
    assert found
    for words in found:
        mix._options().parse_args(shlex.split(words, comments=True))
