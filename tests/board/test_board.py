"""The board over real run folders, as a browser asks for it."""

import hashlib
import re
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from html import unescape
from pathlib import Path
from urllib.request import urlopen

import pytest
import uvicorn
from starlette.testclient import TestClient

from autodata.board.app import STREAMS
from autodata.board.pages import gate_of
from autodata.commands.board import made
from autodata.ledger.ledger import Ledger
from autodata.ledger.listing import list_outcomes
from autodata.ledger.rows import RunRow
from autodata.ledger.summary import NOTICE, outcomes, share
from autodata.tasks.types import Attempt, Candidate, Criterion, Document, Mark, Objection, Round
from tests.board.browser import CHROMIUM
from tests.outside import DEMO, Folder

HOSTILE = "<script>alert(1)</script> \u202egpj.exe \ud800 **bold** {{ 7*7 }} '\"><img src=x>"
OTHER = "models.second_judge={endpoint: simulated, model: other-judge}"
LINK = re.compile(r'href="(/board/[^"#]*)"')


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """A finished run over three documents, whose examples were measured afresh and audited."""
    place = Folder(tmp_path_factory.mktemp("board"))
    documents = [str(file) for file in sorted((DEMO / "cs").iterdir())[:3]]
    place("run", *documents, "--task", "cs", "--out", "run")
    place("remeasure", "run", "--attempts", "2")
    place("audit", "run", "--set", OTHER)
    return place


@pytest.fixture(scope="module")
def client(folder: Folder) -> TestClient:
    return asking(folder.path / "run")


def asking(*folders: Path) -> TestClient:
    return TestClient(made(folders), base_url="http://127.0.0.1", raise_server_exceptions=True)


def run_of(folder: Path) -> RunRow:
    with Ledger.open(folder, create=False) as ledger:
        return ledger.run()


def crawled(client: TestClient) -> dict[str, str]:
    """Every page that links lead to from the first one, but files to take along."""
    found: dict[str, str] = {}
    left = ["/board/"]
    while left:
        address = left.pop()
        if address in found or "/export/" in address or "/static/" in address:
            continue
        answer = client.get(address)
        assert answer.status_code == 200, f"{address}: {answer.text[-700:]}"
        found[address] = answer.text
        left += map(unescape, LINK.findall(answer.text))
    return found


def test_every_page_that_is_linked_is_there_loads_only_ours_and_writes_nothing(
    client: TestClient, folder: Folder
) -> None:
    before = _digest(folder.path / "run" / "run.db")
    pages = crawled(client)
    run = f"/board/run/{run_of(folder.path / 'run').id}"
    assert {run, f"{run}/documents", f"{run}/examples", f"{run}/calls"} <= pages.keys()
    for address, page in pages.items():
        assert (NOTICE in page) or "simulated</span>" in page, address
        assert not re.search(r"(?:src|href|action)=\"(?!/board/|#)", page), address
        assert not re.search(r"<script(?! defer src=)|<style| style=| on\w+=", page), address
    assert _digest(folder.path / "run" / "run.db") == before


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def test_the_figures_are_those_of_the_screens(client: TestClient, folder: Folder) -> None:
    run = run_of(folder.path / "run")
    page = unescape(client.get(f"/board/run/{run.id}").text)
    with Ledger.open(folder.path / "run", create=False) as ledger:
        decided = [outcome.decision for outcome in outcomes(ledger, run.id)]
    assert share(decided.count("accepted"), len(decided)) in page
    told = [line for line in folder("status", "run").splitlines() if line.startswith("shown")]
    assert told[0].removeprefix("shown").strip() in page


def test_an_audit_has_a_page_of_what_the_second_judge_says(
    client: TestClient, folder: Folder
) -> None:
    """That of the screen, and a line for each example; no count of documents, which it has not."""
    said = folder("audit", "run", "--set", OTHER, "--each").splitlines()
    [(audit,)] = folder.query("select id from runs where kind = 'audit'")
    page = unescape(client.get(f"/board/run/{audit}").text)
    assert said[-2].startswith("simulated/other-judge on ")
    assert said[-2] in page
    assert "no document yet" not in page
    for line in said[1:-2]:
        _, name, what = line.split(maxsplit=2)
        assert re.search(re.escape(name.rstrip(":")), page)
        share, _, marks = what.partition(" of ")
        assert f"{share} of {marks.split()[0]}" in page
    decided = len(re.findall(r'class="outcome (?:accepted|rejected)">(?:accepts|decides)', page))
    assert decided == len(said[1:-2])
    assert "accepted examples, put to a second judge" in client.get("/board/").text


def test_a_story_shows_rounds_scores_the_gate_and_what_changed(
    client: TestClient, folder: Folder
) -> None:
    run = run_of(folder.path / "run")
    with Ledger.open(folder.path / "run", create=False) as ledger:
        long = max(outcomes(ledger, run.id), key=lambda outcome: outcome.rounds or 0)
        rounds = ledger.rounds(run.id, long.document_id)
    page = unescape(client.get(f"/board/run/{run.id}/documents/{long.document_id}").text)
    assert len(rounds) > 1
    for round in rounds:
        assert f"Round {round.number} " in page
        assert all(objection.code in page for objection in round.objections)
    assert 'class="gate" x1="50.0"' in page
    assert "What changed since the round before" in page
    assert "not met" in page


def test_hostile_texts_are_shown_as_text(tmp_path: Path) -> None:
    document = Document.of(HOSTILE, HOSTILE + " word" * 100_000)
    criterion = Criterion(criterion=HOSTILE, weight=5)
    mark = Mark(criterion=HOSTILE, weight=5, met=True, evidence=HOSTILE)
    attempts = [
        Attempt(solver=side, number=1, answer=HOSTILE * 900, score=score, marks=(mark,))
        for side, score in (("weak", 0.1), ("strong", 0.9))
    ]
    candidate = Candidate(
        context=HOSTILE * 5_000,
        question=HOSTILE,
        reference_answer=HOSTILE,
        rubric=(criterion,),
        question_type=HOSTILE,
    )
    last = Round(
        number=1,
        instruction=HOSTILE,
        candidate=candidate,
        weak=(attempts[0],),
        strong=(attempts[1],),
        objections=(Objection(code="QUALITY", message=HOSTILE),),
        decision="accepted",
    )
    with Ledger.open(tmp_path / "<b>'run") as ledger:
        ledger.add_documents([document])
        ledger.start_run(RunRow(id="a run<i>", task="no-such-task", prompts_revision=HOSTILE[:20]))
        ledger.start_run(RunRow(id="<i>", task="cs", prompts_revision="seed"))
        ledger.record("<i>", document.id, [last])
    client = asking(tmp_path)
    pages = crawled(client)
    assert any(f"/documents/{document.id}" in address for address in pages)
    for page in pages.values():
        assert "<script>alert" not in page
        assert "<img" not in page
        assert "<i>" not in page
        assert "\u202e" not in page
        assert len(page) < 2_000_000
    with Ledger.open(tmp_path / "<b>'run", create=False) as ledger:
        [story] = [p for a, p in pages.items() if a.endswith(document.id)]
        assert "show all (" in story
        assert "Cut at 100,000 characters" in story
        assert ledger.document(document.id).text.endswith("word")


@pytest.mark.parametrize(
    "path",
    [
        "nowhere",
        "run/nothing",
        "run/{run}/documents/0000",
        "run/{run}/documents/%00",
        "run/{run}/documents/%ff%fe",
        "run/{run}/documents/' or 1=1 --",
        "run/{run}/documents/..%2f..%2fconfig.yaml",
        "..%2f..%2fetc/passwd",
        "run/{run}/iterations/7",
        "run/{run}/iterations/9999999999999999999999",
        "run/{run}/else",
        "static/../app.py",
        "static/..%2fapp.py",
    ],
)
def test_what_is_not_there_is_a_page_that_says_so(
    client: TestClient, folder: Folder, path: str
) -> None:
    asked = path.format(run=run_of(folder.path / "run").id)
    assert client.get(f"/board/{asked}").status_code == 404


@pytest.mark.parametrize(
    "query",
    ["page=0", "page=-1", "page=x", "page=99999999999999", "outcome=x&objection=%00", "q=%ff%00'"],
)
def test_whatever_is_asked_of_a_list_is_answered(
    client: TestClient, folder: Folder, query: str
) -> None:
    run = run_of(folder.path / "run").id
    for name in ("documents", "examples"):
        assert client.get(f"/board/run/{run}/{name}?{query}&shown=y&sort=z").status_code == 200


def test_only_our_names_and_our_pages_are_answered(client: TestClient) -> None:
    for host in ("127.0.0.1:8902", "localhost", "[::1]:80", "LOCALHOST:1"):
        answer = client.get("/board/", headers={"host": host})
        assert answer.status_code == 200, host
        assert answer.headers["content-security-policy"].startswith("default-src 'self'")
    for host in ("evil.example", "127.0.0.1.evil.example", "", "[::1"):
        assert client.get("/board/", headers={"host": host}).status_code == 403, host
    foreign = {"origin": "https://evil.example"}
    assert client.get("/board/", headers=foreign).status_code == 403
    assert client.post("/board/").status_code == 405
    assert "content-security-policy" in client.get("/board/nowhere").headers


def test_lists_agree_with_what_the_screens_read(folder: Folder) -> None:
    with Ledger.open(folder.path / "run", create=False) as ledger:
        run = ledger.run()
        every = outcomes(ledger, run.id)
        paged = [
            outcome
            for offset in range(len(every))
            for outcome in list_outcomes(ledger, run, offset=offset, limit=1)[0]
        ]
        assert paged == every
        for kind in ("accepted", "rejected"):
            wanted = [outcome for outcome in every if outcome.decision == kind]
            assert list_outcomes(ledger, run, kind=kind) == (wanted, len(wanted))
        named = list_outcomes(ledger, run, text=every[1].name.upper())
        assert named == ([every[1]], 1)
        assert list_outcomes(ledger, run, text=every[0].document_id[:6])[0] == [every[0]]
        assert list_outcomes(ledger, run, kind="undecided") == ([], 0)
        for code in {outcome.code for outcome in every if outcome.code}:
            found, _ = list_outcomes(ledger, run, objection=code)
            assert {outcome.code for outcome in found} == {code}


def test_an_export_is_the_file_that_the_command_writes(client: TestClient, folder: Folder) -> None:
    run = run_of(folder.path / "run").id
    folder("export", "run", "--format", "trl-grpo", "-o", "rows.jsonl")
    answer = client.get(f"/board/run/{run}/export/trl-grpo")
    assert answer.content == (folder.path / "rows.jsonl").read_bytes()
    assert f"{run}-" in answer.headers["content-disposition"]
    assert client.get(f"/board/run/{run}/export/trl-grpo?card=1").text.startswith("---")
    refused = client.get(f"/board/run/{run}/export/nothing")
    assert refused.status_code == 409
    assert "unknown format" in refused.text
    assert {file.name for file in (folder.path / "run").iterdir()} <= {
        "run.db", "run.db-wal", "run.db-shm", "config.yaml", ".lock", "report.html",
    }  # fmt: skip


def test_folders_of_one_name_are_told_apart_and_new_ones_appear(
    folder: Folder, tmp_path: Path
) -> None:
    for place in ("one", "two"):
        shutil.copytree(folder.path / "run", tmp_path / place / "run")
    client = asking(tmp_path / "one" / "run", tmp_path / "two", tmp_path / "later")
    page = client.get("/board/").text
    assert 'href="/board/run/' in page
    assert 'href="/board/run-2/' in page
    shutil.copytree(folder.path / "run", tmp_path / "later")
    assert 'href="/board/later/' in client.get("/board/").text
    (tmp_path / "later" / "run.db").write_text("no database")
    client = asking(tmp_path / "later")
    assert "cannot use" in client.get("/board/").text
    assert client.get("/board/later/x").status_code == 404


def test_a_folder_without_a_run_says_how_to_begin_one(tmp_path: Path) -> None:
    assert "autodata demo" in asking(tmp_path).get("/board/").text


@pytest.mark.parametrize(
    ("task", "config", "words"),
    [
        ("cs", {}, "weak below 0.50, strong at least 0.65, gap at least 0.20"),
        (
            "cs",
            {"acceptance": {"preset": "deployed", "gap_min": 0.3}},
            "weak at most 0.65, strong at least 0.60 and below 0.95, gap at least 0.30",
        ),
        (
            "cs",
            {"acceptance": {"preset": "measured"}},
            "true scores: weak below 0.50, strong at least 0.65, gap at least 0.20, with a "
            "probability of 0.80",
        ),
        ("science", {}, "weak at most 1 of 4 correct, strong at least 3 of 4"),
        ("legal", {}, "the loop judge decides"),
        ("nothing", {}, "the thresholds are not known here"),
        ("cs", {"acceptance": {"later": 1}}, "the thresholds are not known here"),
    ],
)
def test_the_gate_is_that_of_the_run(task: str, config: dict[str, object], words: str) -> None:
    assert gate_of(task, config).words == words


@contextmanager
def served(*folders: Path) -> Iterator[str]:
    """The address of a board that answers over HTTP."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        config = uvicorn.Config(
            made(folders), log_level="warning", lifespan="off", timeout_graceful_shutdown=1
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/board/"
        finally:
            server.should_exit = True
            thread.join()


def test_a_stream_tells_of_each_change_and_ends_with_who_listens(
    folder: Folder, tmp_path: Path
) -> None:
    shutil.copytree(folder.path / "run", tmp_path / "run")
    with served(tmp_path / "run") as address:
        for _ in range(2 * STREAMS):  # none of them stays
            with urlopen(f"{address}events") as stream:
                assert stream.readline() == b"retry: 3000\n"
        with urlopen(f"{address}events") as stream:
            assert stream.readline() == b"retry: 3000\n"
            assert stream.readline() == b"\n"
            with Ledger.open(tmp_path / "run", create=False) as ledger:
                stop = threading.Event()
                writer = threading.Thread(target=_writing, args=(ledger, stop))
                writer.start()
                assert stream.readline() == b"event: changed\n"
                stop.set()
                writer.join()


def _writing(ledger: Ledger, stop: threading.Event) -> None:
    """Writes until a change was noticed, since nobody knows when the stream looks first."""
    while not stop.wait(0.1):
        ledger.set_status("done")


def test_the_command_says_where_it_is_and_what_is_wrong(folder: Folder) -> None:
    assert "there is no folder" in folder("board", "nowhere", code=2)
    (folder.path / "empty").mkdir()
    assert "is not a run folder" in folder("board", "run", "empty", code=2)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert f"port {port} cannot be used" in folder("board", "run", "--port", port, code=2)
    with folder.started("board", "run", "--port", "0") as process:
        said = process.stdout.readline()
        address = re.search(r"http://127\.0\.0\.1:\d+/board/", said)
        assert address, said
        for where in (address[0], address[0].removesuffix("board/")):
            with urlopen(where) as page:
                assert page.url == address[0]
                assert run_of(folder.path / "run").id in page.read().decode()
        process.send_signal(signal.SIGINT)
        assert process.wait() == 130


def test_a_report_is_one_file_that_loads_nothing(folder: Folder, tmp_path: Path) -> None:
    folder("report", "run", "-o", str(tmp_path / "run.html"))
    page = (tmp_path / "run.html").read_text()
    assert NOTICE in page
    assert "<script" not in page
    assert not re.search(r"(?:src|href)=\"(?!#)|url\(|@import|https?:", page)
    with Ledger.open(folder.path / "run", create=False) as ledger:
        for outcome in outcomes(ledger, ledger.run().id):
            assert f'id="{outcome.document_id}"' in page
            assert f'href="#{outcome.document_id}"' in page


def browsed(address: str, place: Path) -> str:
    """The page in a browser, after its scripts have run."""
    assert CHROMIUM
    words = (
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        f"--user-data-dir={place}", "--virtual-time-budget=5000", "--enable-logging=stderr",
        "--dump-dom", address,
    )  # fmt: skip
    done = subprocess.run(
        [CHROMIUM, *words], capture_output=True, text=True, timeout=90, check=True
    )
    assert "Content Security Policy" not in done.stderr
    assert "Uncaught" not in done.stderr
    return done.stdout


@pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium, and there is none on the path")
def test_a_browser_shows_the_pages(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under their own policy, with the part that is fetched later, and an offline report."""
    monkeypatch.setattr("autodata.board.app.MANY", 0)
    run = run_of(folder.path / "run").id
    with served(folder.path / "run") as address:
        page = browsed(f"{address}run/{run}", tmp_path / "profile")
    assert "Cost by role" in page
    assert "Working out the figures" not in page
    folder("report", "run", "-o", str(tmp_path / "run.html"))
    report = browsed((tmp_path / "run.html").as_uri(), tmp_path / "profile")
    assert "Rounds by their first objection" in report
