"""What the examples of runs are as a set: typed as users type it, and on paper."""

import json
import shutil
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tests.outside import DEMO, Folder

EXPORT = ("export", "run", "--format", "jsonl", "-o", "none.jsonl")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """A run, and the same somewhere else."""
    made = Folder(tmp_path_factory.mktemp("quality"))
    made("run", str(DEMO / "cs"), "--task", "cs", "--out", "run")
    shutil.copytree(made.path / "run", made.path / "again")
    return made


def test_a_run_repeated_is_told_across_runs_and_within_none(folder: Folder) -> None:
    alone = json.loads(folder("quality", "run", "--json"))
    [found] = alone["runs"]
    assert "across_runs" not in alone
    assert found["examples"] == len(folder.query("select id from examples"))
    both = json.loads(folder("quality", "run", "again", "--json"))
    assert both["across_runs"]["of"] == 2 * found["examples"]
    assert both["across_runs"]["found"] == found["examples"]
    low, high = both["across_runs"]["share_interval"]
    assert low < 0.5 < high


def test_what_would_be_counted_wrongly_is_refused(folder: Folder) -> None:
    """A run named twice, which repeats nothing of itself; no benchmark where one is announced;
    items too short to be found anywhere."""
    assert "named twice" in folder("quality", "run", "again/../run", code=2)
    for words in (("run", "--against"), ("--against", "--json", "run")):
        assert "'--against' requires an argument" in folder("quality", *words, code=2)
    (folder.path / "titles.txt").write_text("Caching at the edge\n\nRaft")
    for words in (("quality", "run", "--against"), (*EXPORT, "--decontaminate")):
        said = folder(*words, "titles.txt", code=2)
        assert "titles.txt: no item has 8 words, so that none could be found" in said


def test_sources_are_those_of_the_examples(folder: Folder) -> None:
    """Not those that were tried and gave none."""
    [(examples, tried)] = folder.query(
        "select count(distinct document_id), (select count(*) from documents) from examples"
    )
    assert examples < tried
    assert f"sources     {examples} sources gave examples, 1 of" in folder("quality", "run")


def test_report_and_card_say_what_the_command_says(folder: Folder) -> None:
    said = folder("quality", "run")
    folder("report", "run", "-o", "report.html")
    folder("export", "run", "--format", "jsonl", "-o", "examples.jsonl")
    page = (folder.path / "report.html").read_text()
    card = (folder.path / "examples.md").read_text()
    rows = [line[12:].strip() for line in said.splitlines()[1:-1]]
    assert len(rows) == 9
    for row in rows:
        assert row in card
        assert row in page
    assert "sections of 8 documents are drawn on" in said
    assert "Simulated models" in said


def test_an_example_that_stands_in_a_benchmark_is_named(folder: Folder) -> None:
    [(example, question)] = folder.query("select id, context from examples limit 1")
    rows = [{"problem": f"Given: {question}", "answer": 4}, {"problem": "Unlike any of ours. " * 9}]
    file = folder.path / "bench.jsonl"
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    found = json.loads(folder("quality", "run", "--against", "bench.jsonl", "--json"))
    told = found["benchmarks"]["bench.jsonl"]
    assert example in [one["example"] for one in told["examples"]]
    assert {one["item"] for one in told["examples"]} == {1}
    said = folder("quality", "run", "--against", "bench.jsonl")
    assert f"run: {example} (item 1)" in said
    clean = ("--format", "jsonl", "-o", "clean.jsonl", "--decontaminate", "bench.jsonl")
    left = folder("export", "run", *clean)
    leaked = {one["example"] for one in told["examples"]}
    assert f"left out: {len(leaked)} by words shared with bench.jsonl" in left
    kept = [json.loads(line) for line in (folder.path / "clean.jsonl").read_text().splitlines()]
    assert kept
    assert not leaked & {row["id"] for row in kept}
    assert "words shared with bench.jsonl" in (folder.path / "clean.md").read_text()
    file.write_text("{")
    refused = folder("quality", "run", "--against", "bench.jsonl", code=2)
    assert "bench.jsonl, line 1: no JSON" in refused


@pytest.fixture
def embeddings() -> Iterator[tuple[str, list[list[str]]]]:
    """An endpoint for which the first two texts that it is sent mean the same and no others do;
    its address, and what was asked of it."""
    asked: list[list[str]] = []
    known: dict[str, int] = {}

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            texts = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["input"]
            asked.append(texts)
            places = [max(1, known.setdefault(text, len(known))) for text in texts]
            rows = [{"embedding": [float(n == place) for n in range(50)]} for place in places]
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"data": rows, "usage": {"prompt_tokens": 9}}).encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1", asked
        server.shutdown()


def test_what_is_asked_again_in_other_words_is_found_by_embeddings(
    folder: Folder, embeddings: tuple[str, list[list[str]]]
) -> None:
    url, asked = embeddings
    lacking = folder("quality", "run", "--embeddings", code=2)
    assert "no model is configured for embeddings: add models.embeddings" in lacking
    config = folder.path / "meanings.yaml"
    config.write_text(
        f"endpoints: {{here: {{base_url: '{url}', give_up_after: 0}}}}\n"
        "models: {embeddings: {endpoint: here, model: m}}\n"
    )
    words = ("--embeddings", "--config", "meanings.yaml")
    told = json.loads(folder("quality", "run", *words, "--json"))["in_meaning"]
    examples = [id for (id,) in folder.query("select id from examples")]
    assert (told["model"], told["cosine_from"], told["without_embeddings"]) == ("here/m", 0.85, 0)
    assert (told["repeated"]["found"], told["repeated"]["of"]) == (1, len(examples))
    [pair] = told["pairs"]
    [(first, second)] = [(pair["first"], pair["second"])]
    assert {first, second} <= {f"run: {id}" for id in examples}
    assert pair["cosine"] == 1
    before = len(asked)
    said = folder("quality", "run", *words)
    assert f"1 of {len(examples)} examples mean nearly what an earlier one does" in said
    assert "by a cosine from 0.85 of here/m" in said
    assert len(asked) == before, "what is on record is not asked for again"
    rows = folder.query("select sum(input_tokens), count(*) from calls where role = 'embeddings'")
    assert rows == [(9 * before, before)]
    both = json.loads(folder("quality", "run", "again", *words, "--json"))
    assert both["in_meaning"]["repeated"]["found"] == len(examples) + 1
    assert "in meaning" not in folder("quality", "run")


def test_an_endpoint_of_embeddings_that_is_down_pauses_and_keeps_what_came(
    folder: Folder,
) -> None:
    (folder.path / "down.yaml").write_text(
        "endpoints: {here: {base_url: 'http://127.0.0.1:9/v1', give_up_after: 0, backoff: 0.01}}\n"
        "models: {embeddings: {endpoint: here, model: other}}\n"
    )
    said = folder("quality", "run", "--cosine", "0.9", "--config", "down.yaml", code=3)
    assert "127.0.0.1:9" in said
    (folder.path / "simulated.yaml").write_text(
        "models: {embeddings: {endpoint: simulated, model: m}}\n"
    )
    said = folder("quality", "run", "--embeddings", "--config", "simulated.yaml", code=2)
    assert "simulated makes no embeddings" in said


def test_a_run_without_examples_says_nothing_wrong(folder: Folder) -> None:
    document = str(DEMO / "cs" / "leader-lease-reads.md")
    none = ("--rounds", "1", "--set", "acceptance.confirm=9", "--set", "budget.calls=3")
    folder("run", document, "--task", "cs", "--out", "none", *none, code=3)
    assert "0 examples" in folder("quality", "none")
    [found] = json.loads(folder("quality", "none", "--json"))["runs"]
    assert found["near_duplicates"]["share"] is None
    assert Path(folder.path / "none").is_dir()
