"""LangGraph's own server over HTTP: what Studio and programs that use the service see."""

import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langgraph_sdk import get_sync_client
from langgraph_sdk.client import SyncLangGraphClient

from autodata.ledger.iterations import iterations
from autodata.ledger.ledger import Ledger
from autodata.service import autodata

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "autodata" / "demo" / "cs" / "write-ahead-log-group-commit.md").read_text()
INPUT = {"document": {"name": "group-commit.md", "text": TEXT}, "task": "cs"}
NO_NETWORK = "http://127.0.0.1:9"  # nothing listens there: a call to the outside would fail
READY = "Application started up"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("studio")
    shutil.copy(ROOT / "langgraph.json", folder)
    return folder


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[SyncLangGraphClient]:
    """A client of `langgraph dev`, which has no key, no configuration and no network."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    keys = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    langgraph = Path(sys.executable).parent / "langgraph"
    with subprocess.Popen(
        [langgraph, "dev", "--no-browser", "--no-reload", "--port", port],
        cwd=folder,
        env={**keys, "HTTPS_PROXY": NO_NETWORK, "LANGGRAPH_CLI_NO_ANALYTICS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as server:
        assert server.stdout is not None
        said: list[str] = []
        while READY not in (line := server.stdout.readline()):
            assert line, "".join(said)
            said.append(line)
        threading.Thread(target=server.stdout.read, daemon=True).start()
        with get_sync_client(url=f"http://127.0.0.1:{port}") as client:
            yield client
        server.terminate()


@pytest.fixture(scope="module")
def thread(client: SyncLangGraphClient) -> tuple[str, list[dict[str, Any]]]:
    """A thread on which one document was run, and the updates that were streamed meanwhile."""
    thread_id = client.threads.create()["thread_id"]
    parts = client.runs.stream(thread_id, "autodata", input=INPUT, stream_mode="updates")
    return thread_id, [part.data for part in parts if part.event == "updates"]


def test_a_fork_may_be_the_first_that_a_server_sees(client: SyncLangGraphClient) -> None:
    """It opens the run context from an async node, where the server forbids touching files."""
    thread_id = client.threads.create(graph_id="autodata")["thread_id"]
    client.threads.update_state(thread_id, {"document_id": "unknown"}, as_node="orchestrator")
    parts = list(client.runs.stream(thread_id, "autodata", input=None, stream_mode="updates"))
    [error] = [part.data for part in parts if part.event == "error"]
    assert error["error"] == "LedgerError"


def test_a_document_streams_through_the_nodes(
    thread: tuple[str, list[dict[str, Any]]],
) -> None:
    _, updates = thread
    nodes = [node for update in updates for node in update]
    assert nodes[:3] == ["prepare", "challenger", "verifier"]
    assert nodes[-1] == "record"
    rounds = [found for update in updates for node in update.values() for found in _rounds(node)]
    assert [found["number"] for found in rounds] == list(range(1, len(rounds) + 1))
    assert rounds[-1]["decision"] in ("accepted", "rejected")


def _rounds(update: dict[str, Any] | None) -> list[dict[str, Any]]:
    return (update or {}).get("rounds", [])


def test_what_was_served_is_on_record_and_says_simulated(
    thread: tuple[str, list[dict[str, Any]]], folder: Path
) -> None:
    with Ledger.open(folder / "runs" / "studio", create=False) as ledger:
        [run] = [run for run in ledger.runs() if run.task == "cs"]
        assert run.simulated
        [(document, decision)] = ledger.outcomes(run.id).items()
        assert ledger.document(document).text == TEXT
        assert ledger.rounds(run.id, document)[-1].decision == decision


def test_the_history_can_be_read_and_forked(
    client: SyncLangGraphClient, thread: tuple[str, list[dict[str, Any]]]
) -> None:
    """An instruction edited by hand is what the challenger goes on with."""
    thread_id, updates = thread
    history = client.threads.get_history(thread_id, limit=1000)
    assert len(history) >= len(updates)
    before = next(state for state in history if list(state["next"]) == ["challenger"])
    forked = client.threads.update_state(
        thread_id,
        {"instruction": "Ask about the commit record."},
        checkpoint_id=before["checkpoint"]["checkpoint_id"],
    )
    ended = client.runs.wait(
        thread_id,
        "autodata",
        input=None,
        checkpoint_id=forked["checkpoint"]["checkpoint_id"],
    )
    assert isinstance(ended, dict)
    number = before["values"]["number"]
    told = [found["instruction"] for found in ended["rounds"] if found["number"] == number]
    assert told == ["Ask about the commit record."]


def test_run_choices_are_a_form_and_are_obeyed(client: SyncLangGraphClient) -> None:
    [assistant] = client.assistants.search(graph_id="autodata")
    schemas = client.assistants.get_schemas(assistant["assistant_id"])
    form = schemas["context_schema"]["properties"]
    assert form["preset"]["enum"] == ["paper", "deployed"]
    assert all(choice["description"] for choice in form.values())
    choices = {"rounds": 1, "strong_min": 1.0, "gap_min": 1.0}
    ended = client.runs.wait(None, "autodata", input=INPUT, context=choices)
    assert isinstance(ended, dict)
    assert (ended["decision"], len(ended["rounds"])) == ("rejected", 1)


def test_the_drawing_has_every_node_and_edge(client: SyncLangGraphClient) -> None:
    [assistant] = client.assistants.search(graph_id="autodata")
    served = client.assistants.get_graph(assistant["assistant_id"])
    drawn = autodata.get_graph()
    assert {node["id"] for node in served["nodes"]} == set(drawn.nodes)
    assert {(edge["source"], edge["target"]) for edge in served["edges"]} == {
        (edge.source, edge.target) for edge in drawn.edges
    }


def test_a_bad_input_is_an_error_that_says_what_is_wrong(client: SyncLangGraphClient) -> None:
    thread_id = client.threads.create()["thread_id"]
    bad = {**INPUT, "task": "medicine"}
    parts = list(client.runs.stream(thread_id, "autodata", input=bad, stream_mode="updates"))
    [error] = [part.data for part in parts if part.event == "error"]
    assert "the tasks are cs, legal, science" in error["message"]


def test_the_optimizer_is_served_beside_the_loop(client: SyncLangGraphClient, folder: Path) -> None:
    thread_id = client.threads.create()["thread_id"]
    parts = client.runs.stream(
        thread_id, "optimizer", input={"number": 1, "last": 1}, stream_mode="updates"
    )
    nodes = [node for part in parts if part.event == "updates" for node in part.data]
    assert nodes[:4] == ["start", "select", "evaluate", "analyse"]
    assert nodes[-1] == "record"
    values = client.threads.get_state(thread_id)["values"]
    assert values["decision"] in ("kept", "rejected", "invalid")
    with Ledger.open(folder / "runs" / "studio-optimizer") as ledger:
        assert [i.number for i in iterations(ledger, ledger.run().id)] == [0, 1]
