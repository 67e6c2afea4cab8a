"""LangGraph's own server with keys: who is let in, what is whose, and what each may spend."""

import json
import re
import shutil
import subprocess
from base64 import b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autodata.board.access import AccessError, KeyFile, Refused, admitted, check_listening
from autodata.ledger.filters import drawn
from autodata.ledger.records import EXPORT_FORMATS
from tests.outside import DEMO, Folder, serving
from tests.processes import simulation, started

CALLS = 30  # that dan's key may make: not enough for three documents
SECRET = "planted-secret-7f3a"  # of the endpoint, in the environment
LENIENT = {"weak_max": 0.95, "strong_min": 0.1, "gap_min": 0.01}


class Caller:
    """Somebody with a key, or without one."""

    def __init__(self, server: "Server", key: str = "") -> None:
        self.server, self.key = server, key

    def __call__(self, method: str, path: str, **sent: Any) -> httpx.Response:
        headers = sent.pop("headers", {})
        if self.key:
            headers = {"authorization": f"Bearer {self.key}", **headers}
        answer = self.server.http.request(method, path, headers=headers, **sent)
        self.server.answered.append(answer.text)
        return answer

    def thread(self) -> str:
        made: str = self("POST", "/threads", json={}).json()["thread_id"]
        return made

    def made(self, number: int, thread: str = "", **given: Any) -> dict[str, Any]:
        """What becomes of a demo document, or the error."""
        file = sorted((DEMO / "cs").iterdir())[number]
        document = {"name": file.name, "text": file.read_text()}
        body = {
            "assistant_id": "autodata",
            "input": {"document": document, "task": given.pop("task", "cs")},
            "context": {"rounds": 2, **LENIENT},
            **given,
        }
        at = f"/threads/{thread}/runs/wait" if thread else "/runs/wait"
        found: dict[str, Any] = self("POST", at, json=body).json()
        return found


class Server:
    """A server at work, what it printed and what it answered."""

    def __init__(self, process: subprocess.Popen[str], address: str, said: list[str]) -> None:
        self.process, self.said = process, said
        self.http = httpx.Client(base_url=address, timeout=60)
        self.answered: list[str] = []


@contextmanager
def server(folder: Path, said: list[str], *options: str) -> Iterator[Server]:
    """A server in the folder, when it is ready. Raises AssertionError where it ends instead."""
    with serving(folder, *options, said=said, SIMULATED_KEY=SECRET) as served:
        ready = Server(served.process, served.url, said)
        with ready.http:
            yield ready


class Place:
    """A folder with three keys, and the server in it, which can be killed and started again."""

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self.said: list[str] = []
        self.file = KeyFile(folder.path / "runs" / "keys.json")
        told = folder("keys", "add", "alice", "--tasks", "cs,legal")
        self.keys = {
            "alice": re.findall(r"^autodata_\S+$", told, re.M)[0],
            "bob": self.file.add("bob"),
            "dan": self.file.add("dan", budget={"calls": CALLS}),
        }


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Its models are reached over HTTP, with a secret."""
    folder = Folder(tmp_path_factory.mktemp("access"))
    with started(simulation, ("--port", "0", "--key", SECRET)) as process:
        folder.configure(process.stdout.readline().split(" at ")[1].split()[0])
        yield Place(folder)


@pytest.fixture(scope="module")
def served(place: Place) -> Iterator[Server]:
    with server(place.folder.path, place.said) as ready:
        yield ready


@pytest.fixture(scope="module")
def alice(place: Place, served: Server) -> Caller:
    return Caller(served, place.keys["alice"])


@pytest.fixture(scope="module")
def bob(place: Place, served: Server) -> Caller:
    return Caller(served, place.keys["bob"])


@pytest.fixture
def nobody(served: Server) -> Caller:
    return Caller(served)


@pytest.fixture(scope="module")
def run(alice: Caller) -> str:
    """Alice's run over two documents."""
    assert [alice.made(number)["decision"] for number in (0, 3)] == ["accepted"] * 2
    told = alice("GET", "/runs")
    assert told.status_code == 200, "".join(alice.server.said)[-3000:]
    [row] = told.json()["runs"]
    found: str = row["id"]
    return found


def test_a_key_is_shown_once_and_kept_as_a_hash_for_its_owner_alone(place: Place) -> None:
    file = place.file.path
    assert file.stat().st_mode & 0o777 == 0o600
    assert not any(key in file.read_text() for key in place.keys.values())
    listed = place.folder("keys", "list")
    assert re.search(r"alice +cs, legal +the configuration's", listed)
    assert re.search(rf"dan +all +{CALLS} calls", listed)
    assert not any(key in listed for key in place.keys.values())
    assert "there is a key bob already" in place.folder("keys", "add", "bob", code=2)
    assert "did you mean cs?" in place.folder("keys", "add", "eve", "--tasks", "c", code=2)
    assert "is no name for a key" in place.folder("keys", "add", "../eve", code=2)
    assert "from 0 on" in place.folder("keys", "add", "eve", "--budget-usd", "nan", code=2)


def test_whoever_has_no_key_is_told_whether_the_server_lives_and_nothing_else(
    nobody: Caller, alice: Caller
) -> None:
    described = alice("GET", "/openapi.json").json()["paths"]
    assert {"/threads", "/runs/wait", "/mcp/", "/store/items"} <= described.keys()
    paths = [re.sub(r"\{\w+\}", "x", path) for path in described]
    ours = ["/", "/info", "/metrics", "/docs", "/openapi.json", "/ui/x", "/board/", "/runs/x"]
    ours += ["/board/static/board.css", "/runs/x/export", "/runs/x/report", "/internal/x"]
    stranger = Caller(nobody.server, alice.key[:-1] + "~")
    for path in {*paths, *ours} - {"/ok", "/health"}:
        for method in ("GET", "POST"):
            refused = nobody(method, path)
            assert refused.status_code == 401, f"{method} {path}: {refused.text}"
            assert "Authorization: Bearer KEY" in refused.json()["detail"]
            assert "not known" in stranger(method, path).json()["detail"]
    assert nobody("GET", "/ok").status_code == 200
    assert nobody("GET", "/health").json() == {"status": "ok"}
    known = alice("GET", "/health").json()
    assert (known["simulated"], known["writable"], known["problem"]) == (True, True, "")


def test_a_browser_asks_for_the_key_as_a_password_and_changes_nothing_for_other_pages(
    served: Server, place: Place
) -> None:
    basic = {"authorization": "Basic " + b64encode(f"me:{place.keys['bob']}".encode()).decode()}
    browser = Caller(served)
    assert 'Basic realm="autodata"' in browser("GET", "/board/").headers["www-authenticate"]
    assert browser("GET", "/board/", headers=basic).status_code == 200
    assert browser("POST", "/threads", headers=basic, json={}).status_code == 401
    foreign = {**basic, "origin": "https://elsewhere.example"}
    assert browser("POST", "/threads", headers=foreign, json={}).status_code == 401
    preflight = {"origin": "https://smith.langchain.com", "access-control-request-method": "POST"}
    assert browser("OPTIONS", "/threads", headers=preflight).status_code == 200


def test_nobody_sees_reads_goes_on_with_or_cancels_what_is_anothers(
    alice: Caller, bob: Caller
) -> None:
    thread = alice.thread()
    ended = alice.made(4, thread)
    assert ended["decision"]
    long = {"assistant_id": "autodata", "input": {}, "interrupt_before": "*"}
    running = alice("POST", f"/threads/{thread}/runs", json=long).json()["run_id"]
    asked = [
        ("GET", "", None),
        ("PATCH", "", {"metadata": {"owner": "bob"}}),
        ("GET", "/state", None),
        ("POST", "/state", {"values": {"decision": "accepted"}}),
        ("POST", "/history", {}),
        ("GET", "/runs", None),
        ("POST", "/runs", long),
        ("POST", "/runs/wait", long),
        ("GET", f"/runs/{running}", None),
        ("POST", f"/runs/{running}/cancel", {}),
        ("POST", "/copy", {}),
        ("DELETE", f"/runs/{running}", None),
        ("DELETE", "", None),
    ]
    for method, path, body in asked:
        refused = bob(method, f"/threads/{thread}{path}", json=body)
        assert refused.status_code in (404, 409), f"{method} {path}: {refused.text}"
    assert bob("POST", "/threads/search", json={}).json() == []
    assert bob("POST", "/runs/cancel", json={"status": "all"}).status_code == 404
    assert alice("GET", f"/threads/{thread}").json()["metadata"]["owner"] == "alice"
    assert alice("GET", f"/threads/{thread}/state").json()["values"]["decision"]


def test_an_assistant_is_its_makers_and_the_servers_own_are_everybodys(
    alice: Caller, bob: Caller
) -> None:
    given_away = {"graph_id": "autodata", "metadata": {"created_by": "system", "owner": "alice"}}
    made = bob("POST", "/assistants", json=given_away).json()
    assert made["metadata"] == {"owner": "bob"}
    at = f"/assistants/{made['assistant_id']}"
    assert bob("PATCH", at, json=given_away).json()["metadata"] == {"owner": "bob"}
    for method, path in (("GET", at), ("PATCH", at), ("DELETE", at), ("GET", f"{at}/schemas")):
        assert alice(method, path, json={} if method == "PATCH" else None).status_code == 404
    mine = {"assistant_id": made["assistant_id"], "input": {}}
    assert alice("POST", "/runs/wait", json=mine).status_code == 404
    listed = alice("POST", "/assistants/search", json={"graph_id": "autodata"}).json()
    assert {"autodata", "legal"} <= {one["name"].partition(":")[0] for one in listed}
    owners = {one["metadata"].get("owner", one["metadata"].get("created_by")) for one in listed}
    assert owners == {"*", "system"}
    own = f"/assistants/{listed[0]['assistant_id']}"
    assert alice("GET", f"{own}/schemas").status_code == 200
    assert alice("PATCH", own, json={"name": "x"}).status_code == 404
    assert alice("DELETE", own).status_code == 404


def test_what_no_graph_uses_is_closed(alice: Caller) -> None:
    cron = {"assistant_id": "autodata", "schedule": "* * * * *", "input": {}}
    item = {"namespace": ["a"], "key": "b", "value": {}}
    for method, path, body in (
        ("PUT", "/store/items", item),
        ("POST", "/store/items/search", {"namespace_prefix": []}),
        ("POST", "/runs/crons", cron),
        ("POST", "/runs/crons/search", {}),
    ):
        refused = alice(method, path, json=body)
        assert (refused.status_code, refused.json()["detail"][:9]) == (403, "Keys open"), path


def test_a_key_is_for_its_tasks_however_the_task_comes_in(alice: Caller) -> None:
    assert "makes no examples of science" in alice.made(0, task="science")["__error__"]["message"]
    text = {"text": "A lease lets one replica answer reads alone. " * 20, "task": "science"}
    asked = {"assistant_id": "example", "input": text}
    reply = alice("POST", "/runs/wait", json=asked).json()
    assert "may ask for cs, legal" in reply["why"]
    many = {"documents": [{"name": "a.md", "text": text["text"]}], "task": "science"}
    asked = {"assistant_id": "batch", "input": many}
    said = alice("POST", "/runs/wait", json=asked).json()["__error__"]["message"]
    assert "may ask for cs, legal" in said
    thread = alice.thread()
    stopped = alice.made(1, thread, interrupt_before=["challenger"])
    assert stopped["task"] == "cs"
    edited = {"values": {"task": "science"}, "as_node": "prepare"}
    assert alice("POST", f"/threads/{thread}/state", json=edited).status_code == 200
    body = {"assistant_id": "autodata", "input": None}
    ended = alice("POST", f"/threads/{thread}/runs/wait", json=body).json()
    assert "may ask for cs, legal" in ended["__error__"]["message"]
    optimizer = {"assistant_id": "optimizer", "input": {"number": 1, "last": 1}}
    said = alice("POST", "/runs/wait", json=optimizer).json()["__error__"]["message"]
    assert "not open to keys" in said


def test_the_runs_of_a_caller_are_told_to_it_alone(alice: Caller, bob: Caller, run: str) -> None:
    listed = alice("GET", "/runs").json()
    [row] = [one for one in listed["runs"] if one["id"] == run]
    assert row["documents"]["accepted"] >= 2
    assert 0 < row["pass_rate_interval"][0] < row["pass_rate"] <= row["pass_rate_interval"][1]
    assert 0 < row["calls"] <= listed["spent"]["calls"]
    one = alice("GET", f"/runs/{run}").json()
    assert {name: one[name] for name in row} == row
    assert one["weak_mean"] < one["strong_mean"]
    bob.made(0, context={"rounds": 3, **LENIENT})
    [of_bob] = bob("GET", "/runs").json()["runs"]
    assert of_bob["documents"]["accepted"] == 1
    for path in ("", "/export?format=jsonl", "/report"):
        refused = bob("GET", f"/runs/{run}{path}")
        assert (refused.status_code, "There is no run" in refused.text) == (404, True)
    assert "/board/alice/" in alice("GET", "/board/").text
    assert "/board/alice/" not in bob("GET", "/board/").text
    assert bob("GET", f"/board/alice/{run}").status_code == 404


def test_example_threads_are_those_of_the_key_that_is_sent(
    place: Place, alice: Caller, bob: Caller
) -> None:
    address, env = str(alice.server.http.base_url), place.folder.env
    assert "To one with keys, AUTODATA_KEY" in place.folder("demo", "--studio", address, code=2)
    for caller in (alice, bob):
        place.folder.env = {**env, "AUTODATA_KEY": caller.key}
        told = place.folder("demo", "--studio", address)
        names = sorted(re.findall(r"^(\S+): (?:accepted|rejected) in round", told, re.M))
        assert names == ["leader-lease-reads.md", "query-planner-correlation.md"]
        threads = caller("POST", "/threads/search", json={"limit": 100}).json()
        documents = [thread["metadata"].get("document") for thread in threads]
        assert sorted(filter(None, documents)) == names
    place.folder.env = env


def test_files_are_those_of_the_commands_byte_for_byte(
    alice: Caller, run: str, place: Place
) -> None:
    folder = "runs/studio-keys/alice"
    for form, kind in EXPORT_FORMATS.items():
        told = place.folder("export", folder, "--format", form, "--run", run, "-o", ".")
        name = told.partition(" in ")[2].splitlines()[0]
        sent = alice("GET", f"/runs/{run}/export?format={form}")
        assert sent.status_code == 200, sent.text
        assert sent.content == (place.folder.path / name).read_bytes(), form
        assert sent.headers["content-disposition"].endswith(f'{Path(name).name}"')
        assert kind.suffix in name
    examples = (place.folder.path / "examples.jsonl").read_text()
    card = alice("GET", f"/runs/{run}/export?format=jsonl&card=1").text
    assert card == (place.folder.path / "examples.md").read_text()
    documents = [json.loads(line)["meta"]["document_id"] for line in examples.splitlines()]
    share = sum(drawn("split", id) for id in documents) / len(documents) / 2**64
    several = ("--format", "jsonl", "--run", run, "-o", ".", "--test-share", str(share))
    place.folder("export", folder, *several)
    for split in ("train", "test"):
        asked = f"/runs/{run}/export?format=jsonl&test_share={share}&split={split}"
        rows = (place.folder.path / f"examples-{split}.jsonl").read_bytes()
        assert rows
        assert alice("GET", asked).content == rows
    for wrong in ("test_share=1.5", "test_share=some", "split=test"):
        refused = alice("GET", f"/runs/{run}/export?format=jsonl&{wrong}")
        assert refused.status_code == 400
        assert wrong.partition("=")[0] in refused.text
    place.folder("report", folder, "--run", run, "-o", "report.html")
    page = alice("GET", f"/runs/{run}/report")
    assert page.text == (place.folder.path / "report.html").read_text()
    assert "default-src 'none'" in page.headers["content-security-policy"]


def errors_told(caller: Caller, body: dict[str, Any], begun: Callable[[], object]) -> list[str]:
    """What a streamed run says of errors; `begun` is called at its first word."""
    headers = {"authorization": f"Bearer {caller.key}"}
    body, at = {"stream_mode": "custom", **body}, f"event: {body.pop('at')}"
    with caller.server.http.stream("POST", "/runs/stream", json=body, headers=headers) as told:
        lines = told.iter_lines()
        found = [next(line for line in lines if line == at)]
        begun()
        found += lines
    return [line for line in found if "message" in line]


def test_what_a_removed_key_has_under_way_ends_and_names_nobody_else(
    place: Place, served: Server
) -> None:
    eve = Caller(served, place.file.add("eve"))
    documents = [{"name": "a.md", "text": f"Replica {n} answers alone. " * 30} for n in range(60)]
    sent = {"assistant_id": "batch", "input": {"documents": documents, "task": "cs"}}
    [said] = errors_told(eve, {**sent, "at": "custom"}, lambda: place.file.remove("eve"))
    assert "Interrupted" in said
    assert "the key eve opens nothing here any more" in said
    at = "runs/studio-keys/eve"
    made = place.folder.query("select count(distinct document_id) from rounds", at)
    assert made[0][0] < len(documents)
    eve.key = place.file.add("eve")
    [said] = errors_told(
        eve, {**sent, "at": "metadata", "after_seconds": 1}, lambda: place.file.remove("eve")
    )
    assert "the key eve opens nothing here any more" in said
    assert not any(name in said for name in ("alice", "bob", "dan"))


ODD: list[Any] = [None, True, -1, 1e308, "", "\0", "x" * 500, "\ud800", [], [[]], {"a": {}}]
PARTS: list[dict[str, Any]] = [
    {"document": 5},
    {"document": {"name": None, "text": "x"}},
    {"document": {"name": "a", "text": ""}},
    {"document": {"name": "a", "text": "t", "more": 1}},
    {"document_id": "\0"},
    {"document_id": "x", "task": 7},
    {"rounds": [{"number": "a"}]},
    {"decision": "accepted"},
    {"documents": [{"name": "a"}]},
    {"folder": "../.."},
    {"text": [], "task": "cs"},
]
GRAPHS = ("autodata", "batch", "example")
BODIES = [
    *(
        {"assistant_id": g, "input": x}
        for g in ("autodata", "batch", "example")
        for x in PARTS + ODD
    ),
    *({"assistant_id": "autodata", "input": PARTS[4], "context": x} for x in ODD),
    *({"assistant_id": "autodata", "input": PARTS[4], "command": x} for x in ODD[:-1]),
    *({"assistant_id": x, "input": {}} for x in ODD),
    *ODD,
]
RAW = [
    b"",
    b"{",
    b"\xff",
    b"nan",
    b"[1" * 1000,
    b'{"assistant_id": "autodata", "input": "\\ud800"}',
]


def test_a_malformed_body_is_told_what_is_wrong_with_it(alice: Caller) -> None:
    """By its status, or by the error of the run that was begun; nothing breaks the server."""
    sent = [*(json.dumps(body).encode() for body in BODIES), *RAW]
    assert len(sent) > 100
    with ThreadPoolExecutor(8) as at_once:
        answers = list(at_once.map(lambda body: alice("POST", "/runs/wait", content=body), sent))
    for body, answer in zip(sent, answers, strict=True):
        assert answer.status_code in (200, 400, 404, 422), f"{body!r}: {answer.text}"
        said = answer.json()
        if answer.status_code != 200:
            assert len(said["detail"]) > 5
        elif "__error__" in said:
            assert len(said["__error__"]["message"]) > 10, body
            assert "internal error" not in said["__error__"]["message"].lower(), body
    assert alice("GET", "/health").status_code == 200


NUMBERS = st.integers(-2, 101).map(str) | st.text(max_size=5)
QUERY = st.fixed_dictionaries(
    {},
    optional={
        "limit": NUMBERS,
        "offset": NUMBERS,
        "format": st.sampled_from([*EXPORT_FORMATS, "x"]) | st.text(max_size=9),
        "confirmed": st.sampled_from(["0", "1", "yes"]),
        "card": st.sampled_from(["0", "1", ""]),
    },
)


def test_the_routes_answer_whatever_is_asked_for_in_words(alice: Caller, run: str) -> None:
    names = st.just(run) | st.text(min_size=1, max_size=9).map(lambda name: quote(name, safe=""))
    paths = names.flatmap(
        lambda name: st.sampled_from(
            ["/health", "/runs", *(f"/runs/{name}{end}" for end in ("", "/export", "/report"))]
        )
    )

    @settings(max_examples=120, deadline=None, derandomize=True, database=None)
    @given(path=paths, query=QUERY, method=st.sampled_from(["GET", "GET", "HEAD", "PUT", "DELETE"]))
    def asked(path: str, query: dict[str, str], method: str) -> None:
        answer = alice(method, path, params=query)
        assert answer.status_code in (200, 400, 404, 405, 409, 422), f"{path} {query}"
        if answer.status_code != 200 and method != "HEAD":
            assert answer.headers["content-type"] == "application/json", f"{method} {path}"
            assert isinstance(answer.json()["detail"], str)

    asked()


HOME = ("127.0.0.1", 2024)
AWAY = ("192.0.2.7", 2024)


def scope(*headers: tuple[str, str], **given: Any) -> dict[str, Any]:
    """A request as a server hands it on."""
    named = [("host", "127.0.0.1:2024"), *headers]
    asked = {"type": "http", "method": "GET", "path": "/runs", "server": HOME, "client": HOME}
    return {**asked, "headers": [(n.encode(), v.encode()) for n, v in named], **given}


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        (scope(), 0),
        (scope(client=None), 0),
        (scope(server=("::1", 2024), client=("::1", 9), headers=[(b"host", b"[::1]:2024")]), 0),
        (scope(headers=[(b"host", b"localhost:2024")]), 0),
        (scope(server=AWAY), 403),
        (scope(server=AWAY, path="/health"), 403),
        (scope(client=AWAY), 403),
        (scope(server=("/run/autodata.sock", None), client=None), 403),
        (scope(server=None, client=None), 403),
        (scope(headers=[]), 403),
        (scope(headers=[(b"host", b"rebound.example:2024")]), 403),
        (scope(headers=[(b"host", b"127.0.0.1.rebound.example")]), 403),
        (scope(headers=[(b"host", b"[::1")]), 403),
        (scope(("x-forwarded-for", "127.0.0.1")), 403),
        (scope(("forwarded", "for=192.0.2.7")), 403),
    ],
)
def test_without_keys_only_this_machine_is_answered_under_a_name_of_its_own(
    tmp_path: Path, asked: dict[str, Any], status: int
) -> None:
    keys = KeyFile(tmp_path / "keys.json")
    try:
        found, key = 0, admitted(asked, keys)
        assert key is None
    except Refused as refused:
        found = refused.status
    assert found == status


def test_a_key_opens_from_everywhere_and_its_file_closes_for_good(tmp_path: Path) -> None:
    """Also when the last key was removed, and when somebody removed the file meanwhile."""
    keys = KeyFile(tmp_path / "keys.json")
    eve = keys.add("eve")
    told = ("authorization", f"Bearer {eve}")
    found = admitted(scope(told, server=AWAY, client=AWAY), keys)
    assert found is not None
    assert found.name == "eve"
    assert admitted(scope(path="/health", server=AWAY), keys) is None
    for asked in (scope(), scope(("authorization", eve)), scope(("authorization", "Bearer"))):
        with pytest.raises(Refused, match="key"):
            admitted(asked, keys)
    keys.remove("eve")
    with pytest.raises(Refused, match="not known"):
        admitted(scope(told), keys)
    keys.path.unlink()
    with pytest.raises(Refused, match="A key is needed"):
        admitted(scope(), keys)


def test_keys_that_others_may_write_or_nobody_can_read_let_nobody_in(tmp_path: Path) -> None:
    keys = KeyFile(tmp_path / "keys.json")
    told = ("authorization", f"Bearer {keys.add('eve')}")
    keys.path.chmod(0o620)
    with pytest.raises(Refused, match="its log says why"):
        admitted(scope(told), keys)
    with pytest.raises(AccessError, match="chmod 600"):
        check_listening([], {}, keys)
    keys.path.chmod(0o600)
    assert admitted(scope(told), keys)
    keys.path.write_text("{")
    with pytest.raises(Refused, match="cannot be read"):
        admitted(scope(told), keys)


@pytest.mark.parametrize(
    ("argv", "environ"),
    [
        (["uvicorn", "--host", "0.0.0.0"], {}),
        (["uvicorn", "--host=::"], {}),
        (["uvicorn"], {"UVICORN_HOST": "192.0.2.7"}),
        (["langgraph", "dev"], {"LANGGRAPH_API_URL": "https://a-tunnel.example"}),
    ],
)
def test_no_server_without_keys_begins_to_listen_for_others(
    tmp_path: Path, argv: list[str], environ: dict[str, str]
) -> None:
    keys = KeyFile(tmp_path / "keys.json")
    with pytest.raises(AccessError, match="autodata keys add"):
        check_listening(argv, environ, keys)
    check_listening(["uvicorn", "--host", "127.0.0.1"], {"LANGGRAPH_API_URL": ""}, keys)
    keys.add("eve")
    check_listening(argv, environ, keys)


def test_the_server_says_so_and_ends(tmp_path: Path) -> None:
    said: list[str] = []
    with (
        pytest.raises(AssertionError, match="without keys a server is for this machine alone"),
        server(tmp_path, said, "--host", "0.0.0.0"),
    ):
        pass


def test_no_key_and_no_secret_is_anywhere(
    place: Place, served: Server, alice: Caller, run: str
) -> None:
    """In the answers, in what the server printed, in databases, checkpoints and files, when it has
    ended and written down what it knew."""
    thread = alice.thread()
    alice.made(0, thread, context={"round": 1})
    for path in (f"/threads/{thread}", f"/threads/{thread}/history", f"/threads/{thread}/runs"):
        alice("GET", path)
    for path in ("/openapi.json", "/info", "/metrics", "/board/", "/health", "/threads/nothing"):
        alice("GET", path)
    served.process.terminate()
    served.process.wait()
    planted = [*place.keys.values(), SECRET]
    texts = [*served.answered, *place.said]
    assert len(served.answered) >= 12
    assert [text for text in texts if any(one in text for one in planted)] == []
    files = [file for file in place.folder.path.rglob("*") if file.is_file()]
    assert {"run.db", "keys.json", ".langgraph_checkpoint.1.pckl"} <= {f.name for f in files}
    held = [file for file in files if any(one.encode() in file.read_bytes() for one in planted)]
    assert held == []


def test_a_budget_ends_its_callers_work_in_words_and_nobody_elses_also_after_a_kill(
    place: Place, tmp_path: Path
) -> None:
    shutil.copy(place.folder.path / "autodata.yaml", tmp_path)
    (tmp_path / "runs").mkdir()
    shutil.copy(place.file.path, tmp_path / "runs")
    reached = f"{CALLS} of {CALLS} calls are made"
    with server(tmp_path, []) as first:
        dan, alice = Caller(first, place.keys["dan"]), Caller(first, place.keys["alice"])
        errors = [dan.made(number).get("__error__", {}) for number in (0, 3, 4)]
        assert "__error__" not in alice.made(5)
        assert (errors[-1]["error"], reached in errors[-1]["message"]) == ("BudgetReached", True)
        told = dan("GET", "/runs").json()
        assert (told["spent"]["calls"], told["budget"]["calls"]) == (CALLS, CALLS)
        first.process.kill()
    with server(tmp_path, []) as later:
        dan, alice = Caller(later, dan.key), Caller(later, alice.key)
        assert reached in dan.made(5)["__error__"]["message"]
        assert "__error__" not in alice.made(6)
        KeyFile(tmp_path / "runs" / "keys.json").remove("dan")
        assert dan("GET", "/runs").status_code == 401
        again = KeyFile(tmp_path / "runs" / "keys.json").add("dan", budget={"calls": 2 * CALLS})
        assert reached not in str(Caller(later, again).made(5))
