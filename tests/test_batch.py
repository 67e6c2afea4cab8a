"""Many documents in one request, over HTTP, with an endpoint that counts what it is asked."""

import json
import os
import pickle
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import httpx
import pytest
from langgraph_sdk.errors import BadRequestError
from mcp import Client as McpClient

from autodata.graph.batch import MOST_CHARACTERS, MOST_DOCUMENTS
from autodata.graph.state import LONGEST_TEXT
from autodata.ledger.ledger import Ledger
from tests.outside import DEMO, IN_FLIGHT, ROOT, Folder, Served, Simulated, free_port, serving
from tests.processes import simulation, started
from tests.sources import Block, blocks

TEXTS = [file.read_text() for file in sorted((DEMO / "cs").iterdir())]
ROUNDS = 3


class Endpoint(Simulated):
    """An endpoint that can be down for a while."""

    def __init__(self) -> None:
        self.port = free_port()
        super().__init__(f"http://127.0.0.1:{self.port}/v1")
        self.running = ExitStack()

    def start(self) -> None:
        words = ("--port", self.port, "--latency", "0.01", "--key", "right")
        process = self.running.enter_context(started(simulation, words))
        assert process.stdout.readline()

    def stop(self) -> None:
        self.running.close()


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Endpoint]:
    endpoint = Endpoint()
    endpoint.start()
    yield endpoint
    endpoint.stop()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, endpoint: Endpoint) -> Folder:
    """Where the server runs: its configuration, and the documents that it may read."""
    folder = Folder(tmp_path_factory.mktemp("batch"))
    folder.configure(endpoint.base_url)
    with (folder.path / "autodata.yaml").open("a") as configuration:
        configuration.write(f"run: {{rounds: {ROUNDS}}}\n")
    (folder.path / "documents" / "some").mkdir(parents=True)
    return folder


class Servers(ExitStack):
    """The server, and those that came after it was killed."""

    def __init__(self, folder: Folder) -> None:
        super().__init__()
        self.folder = folder
        self.start()

    def start(self) -> Served:
        documents = str(self.folder.path / "documents")
        self.current = self.enter_context(
            serving(self.folder.path, SIMULATED_KEY="right", AUTODATA_DOCUMENTS=documents)
        )
        return self.current


@pytest.fixture(scope="module")
def servers(folder: Folder) -> Iterator[Servers]:
    with Servers(folder) as servers:
        yield servers


@pytest.fixture
def server(servers: Servers) -> Served:
    return servers.current


def documents(story: str, count: int = len(TEXTS)) -> list[dict[str, str]]:
    """So many documents that no other story has."""
    texts = (f"{TEXTS[n % len(TEXTS)]}\n\nNote {n} of {story}.\n" for n in range(count))
    return [{"name": f"{story}-{n}.md", "text": text} for n, text in enumerate(texts)]


def done(
    server: Served, given: dict[str, Any], thread: str | None = None, **how: Any
) -> dict[str, Any]:
    """What a submission of documents came to."""
    ended = server.client.runs.wait(thread, "batch", input=given, **how)
    assert isinstance(ended, dict)
    return ended


def decisions(ended: dict[str, Any]) -> dict[str, str]:
    return {found["document_id"]: found["decision"] for found in ended["decisions"]}


def paid(folder: Folder, document_ids: Sequence[str] | None = None) -> int:
    """Answered calls on record, each of which was another one."""
    rows = folder.query(
        "select scope, request_key from calls where status != 'failed'", "runs/studio"
    )
    ours = [row for row in rows if document_ids is None or row[0] in document_ids]
    assert len(set(ours)) == len(ours)
    return len(ours)


def test_a_batch_tells_of_each_document_and_carries_small_values(
    server: Served, folder: Folder
) -> None:
    """Nothing of the loops inside comes out: neither their checkpoints nor their streams."""
    thread, given = server.client.threads.create()["thread_id"], documents("told")
    modes: list[Any] = ["custom", "updates", "messages"]
    parts = list(
        server.client.runs.stream(
            thread,
            "batch",
            input={"documents": given},
            stream_mode=modes,
            stream_subgraphs=True,
        )
    )
    assert {part.event for part in parts} == {"metadata", "custom", "updates"}
    lines = [part.data for part in parts if part.event == "custom"]
    assert [line.split(" · ")[0] for line in lines] == [f"{n} of 8" for n in range(1, 9)]
    history = server.client.threads.get_history(thread)
    assert [state["next"] for state in history] == [[], ["work"], ["take_in"], ["__start__"]]
    assert max(len(json.dumps(state["values"])) for state in history) < 4000
    ended = history[0]["values"]
    assert {line.partition(" · ")[2] for line in lines} == {
        f"{found['decision']} · {found['name']}" for found in ended["decisions"]
    }
    assert [found["name"] for found in ended["decisions"]] == [sent["name"] for sent in given]
    counts = ended["counts"]
    assert counts["accepted"] + counts["rejected"] + counts["skipped"] == len(given)
    with Ledger.open(folder.path / "runs" / "studio", create=False) as ledger:
        assert ledger.outcomes(ended["run_id"]) == decisions(ended)


def test_the_same_submission_again_asks_nothing(
    server: Served, folder: Folder, endpoint: Endpoint
) -> None:
    """Nor does the graph of one document, or the one for agents: the three are one service."""
    given = documents("again", 2)
    ended, asked = done(server, {"documents": given}), endpoint.answers
    assert done(server, {"documents": given}) == ended
    alone = server.client.runs.wait(None, "autodata", input={"document": given[0], "task": "cs"})
    reply = server.client.runs.wait(None, "example", input=given[0])
    assert isinstance(alone, dict)
    assert isinstance(reply, dict)
    assert alone["decision"] == reply["decision"] == ended["decisions"][0]["decision"]
    assert endpoint.answers == asked


def test_two_submissions_at_once_are_paid_once(
    server: Served, folder: Folder, endpoint: Endpoint
) -> None:
    given, before = {"documents": documents("twice", 4)}, endpoint.answers
    threads = [server.client.threads.create()["thread_id"] for _ in range(2)]
    runs = [server.client.runs.create(thread, "batch", input=given) for thread in threads]
    first, second = (
        server.client.runs.join(thread, run["run_id"])
        for thread, run in zip(threads, runs, strict=True)
    )
    assert first == second
    assert endpoint.answers - before == paid(folder, list(decisions(first)))


def test_a_thread_takes_another_submission(server: Served, folder: Folder) -> None:
    """Nothing of the first is left: neither its documents nor its folder nor its task."""
    (folder.path / "documents" / "some" / "one.md").write_text(TEXTS[0] + "\n\nOn a shelf.\n")
    thread = server.client.threads.create()["thread_id"]
    first = done(server, {"folder": "some", "task": "legal"}, thread)
    second = done(server, {"documents": documents("thread", 1)}, thread)
    assert [found["name"] for found in first["decisions"]] == ["one.md"]
    assert first["run_id"].startswith("studio-legal-")
    assert [found["name"] for found in second["decisions"]] == ["thread-0.md"]
    assert second["run_id"].startswith("studio-cs-")


def begun(server: Served, given: dict[str, Any]) -> tuple[str, str]:
    """A submission of which the first document was just decided: its thread and its run."""
    thread = server.client.threads.create()["thread_id"]
    parts = server.client.runs.stream(thread, "batch", input=given, stream_mode="custom")
    run = next(part.data["run_id"] for part in parts if part.event == "metadata")
    assert next(part.data for part in parts if part.event == "custom").startswith("1 of ")
    return thread, run


def test_a_cancelled_batch_stops_and_the_same_submission_goes_on(
    server: Served, folder: Folder, endpoint: Endpoint
) -> None:
    """What another caller has under way on the same server is left alone."""
    given, others = ({"documents": documents(story, 12)} for story in ("cancelled", "beside"))
    before = endpoint.answers
    beside, cancelled = begun(server, others), begun(server, given)
    server.client.runs.cancel(*cancelled, wait=True)
    assert server.client.runs.get(*cancelled)["status"] == "interrupted"
    ended = decisions(server.client.runs.join(*beside))
    stopped = endpoint.answers
    assert decisions(done(server, others)) == ended
    assert endpoint.answers == stopped  # neither did the cancelled one go on meanwhile
    ended |= decisions(done(server, given))
    assert len(ended) == 24
    assert None not in ended.values()
    assert endpoint.answers - before == paid(folder, list(ended))  # what was in flight, too


def test_what_waits_for_a_person_holds_up_nobody(server: Served, folder: Folder) -> None:
    """The rest is decided; a review in the terminal is heard when the same is submitted again."""
    choices = {"review": "before_accept", "weak_max": 0.95, "strong_min": 0.1, "gap_min": 0.01}
    given = {"documents": documents("reviewed", 4)}
    ended = done(server, given, context=choices)
    waiting = [found for found in ended["decisions"] if found["decision"] is None]
    assert len(waiting) == ended["counts"]["waiting"] > 0
    assert ended["counts"]["waiting"] + ended["counts"]["rejected"] == 4
    assert {found["why"] for found in waiting} == {"waits for a person's review"}
    assert done(server, given, context=choices) == ended
    chosen = waiting[0]["name"]
    [sent] = [document for document in given["documents"] if document["name"] == chosen]
    reply = server.client.runs.wait(None, "example", input=sent, context=choices)
    assert isinstance(reply, dict)
    assert (reply["decision"], reply["why"]) == ("undecided", "waits for a person's review")
    folder("review", "runs/studio", "--accept", chosen, "--by", "Ann")
    after = done(server, given, context=choices)
    assert after["counts"]["accepted"] == 1
    assert [f["name"] for f in after["decisions"] if f["decision"] == "accepted"] == [chosen]


def _program(text: str, folder: Path) -> None:
    os.chdir(folder)
    exec(compile(text, "program", "exec"), {"__name__": "__main__"})


def printed(server: Served, folder: Folder, block: Block) -> str:
    """What a program of the docs prints that is called against this server."""
    program = block.text.replace("http://127.0.0.1:2024", server.url)
    with started(_program, program, folder.path) as process:
        said = process.stdout.read()
        assert process.wait() == 0, said
    return said


BATCH, MCP, A2A, *_ = blocks(ROOT / "docs" / "service.md", "python")


def test_the_documented_way_to_submit_documents_works(server: Served, folder: Folder) -> None:
    (folder.path / "docs").mkdir()
    (folder.path / "docs" / "leases.md").write_text(TEXTS[3])
    lines = printed(server, folder, BATCH).splitlines()
    assert re.fullmatch(r"1 of 1 · (accepted|rejected) · leases.md", lines[0])
    assert lines[1].startswith("studio-cs-")


def test_the_documented_way_for_an_agent_to_call_the_tool_works(
    server: Served, folder: Folder
) -> None:
    """Over MCP with the official client, which checks the reply by its schema."""
    assert re.match(r"example (accepted|rejected) \w+", printed(server, folder, MCP))


def test_the_documented_way_over_a2a_works(server: Served, folder: Folder) -> None:
    found = json.loads(printed(server, folder, A2A))
    assert found["decision"] in ("accepted", "rejected")
    assert found["question"]


async def test_an_agent_finds_one_tool_and_gets_a_small_reply(
    server: Served, folder: Folder
) -> None:
    async with McpClient(f"{server.url}/mcp") as agent:
        [tool] = (await agent.list_tools()).tools
        properties = tool.input_schema["properties"]
        replies = [
            await agent.call_tool(tool.name, given)
            for given in (
                documents("asked", 1)[0],
                {"text": " "},
                {"text": "x", "task": "medicine"},
                {"text": "\0\u200b"},
            )
        ]
    assert tool.name == "example"
    assert "reference answer" in (tool.description or "")
    assert list(properties) == ["text", "name", "task"]
    assert all(field["description"] for field in properties.values())
    texts = [reply.content[0].text for reply in replies if reply.content[0].type == "text"]
    assert len(texts[0]) < 10_000
    assert [json.loads(text) for text in texts] == [reply.structured_content for reply in replies]
    assert [reply.is_error for reply in replies] == [False, True, True, True]
    assert "text is blank" in texts[1]
    assert "there is no task 'medicine'" in texts[2]
    assert "no letter and no digit" in texts[3]
    found = replies[0].structured_content or {}
    rounds = folder.query(
        f"select max(number) from rounds where run_id = '{found['run_id']}'"
        f" and document_id = '{found['document_id']}'",
        "runs/studio",
    )
    assert rounds == [(found["rounds"],)]


def test_what_agents_send_that_is_no_object_is_refused_and_null_is_nothing(server: Served) -> None:
    def asked(method: str, params: Any) -> httpx.Response:
        return httpx.post(
            f"{server.url}/mcp",
            json={"jsonrpc": "2.0", "id": 1, "method": method, "params": params},
            headers={"accept": "application/json, text/event-stream"},
            timeout=60,
        )

    for wrong in ([1], "x", 5, {"name": "example", "arguments": ["x"]}):
        refused = asked("tools/call", wrong)
        assert refused.status_code == 400
        assert refused.json()["error"]["message"] == "params, and arguments in them, are objects"
    [tool] = asked("tools/list", None).json()["result"]["tools"]
    assert tool["name"] == "example"
    told = asked("tools/call", {"name": "example", "arguments": None}).json()["result"]
    assert told["structuredContent"]["why"] == "text: is missing"


def test_an_agent_may_send_the_parts_of_a_request_as_data(server: Served) -> None:
    """A thread that is asked again about another text says nothing of the first, and without one it
    does not take its own answer for the text."""
    [agent] = server.client.assistants.search(graph_id="example")

    def asked(data: dict[str, str], context: str | None = None) -> dict[str, Any]:
        message = {"role": "user", "messageId": "1", "parts": [{"kind": "data", "data": data}]}
        message |= {"contextId": context} if context else {}
        said: dict[str, Any] = server.client.http.client.post(
            f"/a2a/{agent['assistant_id']}",
            json={
                "jsonrpc": "2.0",
                "id": 1,
                "method": "message/send",
                "params": {"message": message},
            },
            headers={"accept": "application/json"},
        ).json()["result"]
        return said

    first = asked(documents("data", 1)[0])
    second = asked({"text": " "}, first["contextId"])
    third = asked({"task": "cs"}, first["contextId"])
    said = [answer["artifacts"][0]["parts"][0]["text"] for answer in (first, second, third)]
    replies = [json.loads(text) for text in said]
    assert replies[0]["question"]
    assert replies[2]["why"] == "text: is missing"
    assert replies[1] == {**replies[1], "decision": "undecided", "question": "", "rounds": 0}


class Trap(BaseHTTPRequestHandler):
    """What nobody may call."""

    called: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        self.called.append(self.path)

    do_GET = do_POST


@pytest.fixture
def trap() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Trap) as listening:
        Thread(target=listening.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{listening.server_port}"
        listening.shutdown()


class Evil:
    """Leaves a mark where it is read as a pickle."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return Path.touch, (self.mark,)


def test_nothing_outside_of_the_root_is_read(server: Served, folder: Folder) -> None:
    root, mark = folder.path / "documents", folder.path / "mark"
    (folder.path / "secret").mkdir()
    (folder.path / "secret" / "key.md").write_text("The secret. " * 20)
    (folder.path / "documents-of-others").symlink_to(folder.path / "secret")
    (root / "link").symlink_to(folder.path / "secret")
    (root / "mixed").mkdir()
    (root / "mixed" / "out.md").symlink_to(folder.path / "secret" / "key.md")
    (root / "mixed" / "evil.pkl").write_bytes(pickle.dumps(Evil(mark)))
    (root / "mixed" / "good.md").write_text(TEXTS[1] + "\n\nAmong others.\n")
    outside = "is not below the folder of documents of this server"
    attempts = (
        "..", "../secret", "some/../../secret", str(folder.path / "secret"), "link", "/etc",
        "../documents-of-others", "~", "a\0b", "file:///etc", f"file://{folder.path}/secret", "*",
    )  # fmt: skip
    with ThreadPoolExecutor() as callers:
        said = list(callers.map(lambda named: server.failed("batch", {"folder": named}), attempts))
    for named, refusal in zip(attempts, said, strict=True):
        assert outside in refusal or "there is no folder" in refusal
        assert "secret" not in refusal.replace(repr(named), "")
    mixed = done(server, {"folder": "mixed"})
    assert [found["name"] for found in mixed["decisions"]] == ["good.md"]
    assert len(mixed["skipped"]) == 2
    assert str(folder.path) not in str(mixed)
    assert not mark.exists()
    assert folder.query("select id from documents where text like '%secret%'", "runs/studio") == []


def test_nothing_is_called_that_the_configuration_does_not_name(
    server: Served, folder: Folder, trap: str
) -> None:
    [document] = documents("trapped", 1)
    endpoints = {"here": {"base_url": trap}}
    contexts = ({"base_url": trap}, {"endpoints": endpoints}, {"models": trap})
    graphs = {
        "batch": {"documents": [document]},
        "example": document,
        "autodata": {"document": document},
    }
    with ThreadPoolExecutor() as callers:
        attempts = [(graph, context) for graph in graphs for context in contexts]
        said = callers.map(lambda a: server.failed(a[0], graphs[a[0]], context=a[1]), attempts)
        assert all("there is no choice" in refusal for refusal in said)
    constructed = {
        "lc": 1, "type": "constructor", "id": ["langchain_openai", "ChatOpenAI"],
        "kwargs": {"base_url": trap, "api_key": "x"},
    }  # fmt: skip
    assert "text" in server.failed("batch", {"documents": [{"name": "a.md", "text": constructed}]})
    keys = {"base_url": trap, "endpoints": endpoints, "config": {"configurable": endpoints}}
    done(server, {"documents": [document], **keys})
    done(server, {"documents": [{"name": trap, "text": f"{trap}/a.md " * 20}]})
    assert Trap.called == []


def test_what_is_too_much_is_refused_in_words(server: Served) -> None:
    long = {"name": "long.md", "text": "x" * (LONGEST_TEXT + 1)}
    assert f"of at most {LONGEST_TEXT:,}" in server.failed("batch", {"documents": [long]})
    assert f"of at most {LONGEST_TEXT:,}" in server.failed("autodata", {"document": long})
    reply = server.client.runs.wait(None, "example", input=long)
    assert isinstance(reply, dict)
    assert f"of at most {LONGEST_TEXT:,}" in reply["why"]
    many = [{"name": "a", "text": "a"}] * (MOST_DOCUMENTS + 1)
    assert "more than the 10,000 that are taken" in server.failed("batch", {"documents": many})
    full = {"name": "full.md", "text": "x" * LONGEST_TEXT}
    together = [full] * (MOST_CHARACTERS // LONGEST_TEXT) + [{"name": "a", "text": "a"}]
    assert "more than the 20,000,000" in server.failed("batch", {"documents": together})
    assert "give documents" in server.failed("batch", {"task": "cs"})
    given = {"document": documents("edited", 1)[0], "task": "cs"}
    said = [
        server.failed("autodata", {"document": "a.md"}),
        server.failed("optimizer", {"training": "cs", "minibatch": 0}),
    ]
    assert said == [
        "document: must be an object",
        "minibatch: must be greater than or equal to 1; training: must be a list",
    ]
    thread = server.client.threads.create()["thread_id"]
    server.client.runs.wait(thread, "autodata", input=given, interrupt_before=["verifier"])
    for edit, wanted in (({"candidate": "yes"}, "an object"), ({"rounds": 5}, "a list")):
        with pytest.raises(BadRequestError, match=f"must be {wanted}"):
            server.client.threads.update_state(thread, edit)
    assert "there is no task 'sience'; did you mean science?" in server.failed(
        "batch", {"documents": [{"name": "a", "text": "a"}], "task": "sience"}
    )


def test_a_killed_server_goes_on_with_the_same_submission(
    servers: Servers, server: Served, folder: Folder, endpoint: Endpoint
) -> None:
    given, before = {"documents": documents("killed", 16)}, endpoint.answers
    begun(server, given)
    server.process.kill()
    server.process.wait()
    ended = decisions(done(servers.start(), given))
    assert None not in ended.values()
    assert endpoint.answers - before <= paid(folder, list(ended)) + IN_FLIGHT


def test_an_endpoint_that_is_down_is_told_to_the_caller(server: Served, endpoint: Endpoint) -> None:
    given = {"documents": documents("down", 3)}
    endpoint.stop()
    said = server.failed("batch", given)
    reply = server.client.runs.wait(None, "example", input=documents("down", 1)[0])
    endpoint.start()
    assert "here" in said
    assert "0 of 3 documents are decided; the same submission goes on with the others" in said
    assert isinstance(reply, dict)
    assert reply["decision"] == "undecided"
    assert "here" in reply["why"]
