"""LangGraph's own server over HTTP: what Studio and programs that use the service see."""

import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from langgraph_sdk import get_client, get_sync_client
from langgraph_sdk.client import SyncLangGraphClient

from autodata.ledger.iterations import iterations
from autodata.ledger.ledger import Ledger
from autodata.service import autodata
from autodata.settings import RunSettings, Settings
from autodata.studio import assistant_id, assistants, keep
from autodata.tasks import TASKS
from tests.outside import DEMO, Folder, serving
from tests.processes import simulation, started
from tests.sources import ROOT, blocks
from tests.tasks.test_domains import Package

TEXT = (DEMO / "cs" / "write-ahead-log-group-commit.md").read_text()
INPUT = {"document": {"name": "group-commit.md", "text": TEXT}, "task": "cs"}
ROUNDS = 4  # of the configuration that the server finds


CONFIGURED = """
run: {{rounds: {rounds}}}
endpoints:
  streaming: {{base_url: '{base_url}'}}
models:
  challenger: {{endpoint: simulated, model: simulated}}
  weak_solver: {{endpoint: streaming, model: simulated-weak}}
  strong_solver: {{endpoint: simulated, model: simulated-strong}}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the server runs. The weak solver is behind an endpoint that streams."""
    folder = tmp_path_factory.mktemp("studio")
    with started(simulation, ("--port", "0")) as process:
        base_url = process.stdout.readline().split(" at ")[1].split()[0]
        said = CONFIGURED.format(rounds=ROUNDS, base_url=base_url)
        (folder / "autodata.yaml").write_text(said)
        yield folder


@pytest.fixture(scope="module")
def url(folder: Path) -> Iterator[str]:
    """Where the server answers that `make studio` starts, which has no key and no network."""
    package = Package(folder / "site")
    with serving(folder, PYTHONPATH=os.pathsep.join([str(package.site), *sys.path])) as server:
        yield server.url


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[SyncLangGraphClient]:
    """A client of the server."""
    with get_sync_client(url=url) as client:
        yield client


@pytest.fixture(scope="module")
def thread(client: SyncLangGraphClient) -> tuple[str, list[dict[str, Any]]]:
    """A thread on which one document was run, and the updates that were streamed meanwhile."""
    thread_id = client.threads.create()["thread_id"]
    parts = client.runs.stream(thread_id, "autodata", input=INPUT, stream_mode="updates")
    return thread_id, [part.data for part in parts if part.event == "updates"]


def demo(task: str, number: int) -> dict[str, Any]:
    """A demo document as input."""
    file = sorted((DEMO / task).iterdir())[number]
    return {"document": {"name": file.name, "text": file.read_text()}, "task": task}


def done(
    client: SyncLangGraphClient, input: dict[str, Any] | None, thread: str | None = None, **how: Any
) -> dict[str, Any]:
    """What the thread holds when the document is done."""
    ended = client.runs.wait(thread, "autodata", input=input, **how)
    assert isinstance(ended, dict)
    assert "__error__" not in ended, ended
    return ended


def unread(about: str) -> dict[str, Any]:
    """A document that no other test has sent, as input."""
    return {"document": {"name": "note.md", "text": f"{TEXT}\nThis one is about {about}.\n"}}


def served(client: SyncLangGraphClient, graph: str) -> str:
    """The id of the assistant that the server itself has for a graph."""
    [own] = client.assistants.search(graph_id=graph, metadata={"created_by": "system"})
    return own["assistant_id"]


def refused(
    client: SyncLangGraphClient,
    input: dict[str, Any] | None,
    thread: str | None = None,
    **how: Any,
) -> str:
    """What a caller reads whose document is refused."""
    ended = client.runs.wait(thread, "autodata", input=input, raise_error=False, **how)
    assert isinstance(ended, dict)
    message: str = ended["__error__"]["message"]
    return message


def test_the_board_is_served_beside_the_graphs(
    client: SyncLangGraphClient, thread: tuple[str, list[dict[str, Any]]]
) -> None:
    """Whoever asks from a foreign page is refused, whatever the server around it permits."""
    http = client.http.client
    page = http.get("/board/")
    assert page.status_code == 200
    assert "studio-cs-" in page.text
    [run] = set(re.findall(r'href="(/board/studio/[^"]+)"', page.text))
    assert "weak below 0.50" in http.get(run).text
    assert "group-commit.md" in http.get(f"{run}/documents").text
    assert http.get("/board/static/board.css").status_code == 200
    assert http.get("/board/", headers={"origin": "https://smith.example"}).status_code == 403
    assert http.get("/ok").status_code == 200
    assert http.get("/health").json()["simulated"] is True
    [listed, *_] = [one for one in http.get("/runs").json()["runs"] if one["task"] == "cs"]
    assert http.get(f"/runs/{listed['id']}/report").status_code == 200
    assert http.get("/runs", headers={"host": "rebound.example"}).status_code == 403


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
        run = ledger.runs()[0]
        assert (run.task, run.simulated) == ("cs", True)
        [(document, decision)] = ledger.outcomes(run.id).items()
        assert ledger.document(document).text == TEXT
        assert ledger.rounds(run.id, document)[-1].decision == decision


@pytest.mark.parametrize("task", ["cs", "legal"])
def test_a_second_document_on_a_thread_begins_anew(client: SyncLangGraphClient, task: str) -> None:
    """Nothing that was found out about the first one says anything about it."""
    thread_id = client.threads.create()["thread_id"]
    first = done(client, demo(task, 0), thread_id)
    second = done(client, demo(task, 1), thread_id)
    alone = done(client, demo(task, 1))
    assert first["document_id"] != second["document_id"]
    assert second == alone


def test_choices_that_a_caller_does_not_state_are_the_configurations(
    client: SyncLangGraphClient,
) -> None:
    impossible = {"strong_min": 1.0, "gap_min": 1.0}
    assert done(client, INPUT)["choices"]["rounds"] == ROUNDS
    assert done(client, INPUT, context={})["choices"]["rounds"] == ROUNDS
    assert len(done(client, INPUT, context=impossible)["rounds"]) == ROUNDS
    assert len(done(client, INPUT, context={**impossible, "rounds": 1})["rounds"]) == 1


def test_other_choices_make_another_example_and_keep_the_first(
    client: SyncLangGraphClient, folder: Path
) -> None:
    ended = [
        done(client, demo("cs", 3), context={"rounds": 12, **choices})
        for choices in ({}, {"attempts": "all"}, {"rounds": 1, "strong_min": 1.0, "gap_min": 1.0})
    ]
    assert [state["decision"] for state in ended] == ["accepted", "accepted", "rejected"]
    typed = Folder(folder)
    typed("export", "runs/studio", "--format", "jsonl", "-o", "all.jsonl")
    rows = [json.loads(line) for line in (folder / "all.jsonl").read_text().splitlines()]
    ours = [row for row in rows if row["meta"]["document_id"] == ended[0]["document_id"]]
    assert [row["question"] for row in ours] == [
        state["rounds"][-1]["candidate"]["question"] for state in ended[:2]
    ]
    assert len({row["meta"]["run"] for row in ours}) == 2
    run = ours[1]["meta"]["run"]
    typed("export", "runs/studio", "--format", "jsonl", "-o", "one.jsonl", "--run", run)
    [row] = [json.loads(line) for line in (folder / "one.jsonl").read_text().splitlines()]
    assert row == {**ours[1], "meta": {**ours[1]["meta"], "index": 0}}
    assert run in typed("status", "runs/studio", "--run", run)
    assert "accepted" in typed("show", "runs/studio", ended[0]["document_id"], "--run", run)
    assert "1 accepted as recorded" in typed("redecide", "runs/studio", "--run", run)


def test_an_acceptance_by_hand_is_decided_again(client: SyncLangGraphClient, folder: Path) -> None:
    """No attempt was made: what is on record does not bear the acceptance out."""
    thread_id = client.threads.create()["thread_id"]
    states = client.runs.wait(
        thread_id, "autodata", input=demo("cs", 4), interrupt_before=["weak_solver"]
    )
    assert isinstance(states, dict)
    client.threads.update_state(thread_id, {"decision": "accepted"}, as_node="decide")
    ended = done(client, None, thread_id)
    assert ended["decision"] == ended["rounds"][-1]["decision"] == "rejected"
    document = ended["document_id"]
    objections = " ".join(o["message"] for o in ended["rounds"][-1]["objections"])
    assert "edited by hand" in objections
    assert "there is no weak attempt" in objections
    with Ledger.open(folder / "runs" / "studio", create=False) as ledger:
        [run_id] = {run.id for run in ledger.runs() if ledger.outcomes(run.id, document)}
        assert ledger.outcomes(run_id, document) == {document: "rejected"}
        assert document not in [example.document_id for example in ledger.examples(run_id)]


def test_a_candidate_removed_by_hand_is_missed_in_words_and_can_be_put_back(
    client: SyncLangGraphClient,
) -> None:
    thread_id = client.threads.create()["thread_id"]
    states = client.runs.wait(
        thread_id, "autodata", input=demo("cs", 6), interrupt_before=["weak_solver"]
    )
    assert isinstance(states, dict)
    client.threads.update_state(thread_id, {"candidate": None}, as_node="verifier")
    assert "was edited by hand and has no candidate" in refused(client, None, thread_id)
    back = {"candidate": states["candidate"]}
    client.threads.update_state(thread_id, back, as_node="verifier")
    assert done(client, None, thread_id)["decision"] in ("accepted", "rejected")


LENIENT = {"rounds": 12, "weak_max": 0.95, "strong_min": 0.1, "gap_min": 0.01}
REVIEWED = {**LENIENT, "review": "before_accept"}


def interrupted(client: SyncLangGraphClient, thread: str) -> dict[str, Any]:
    """What a thread asks a person."""
    [task] = client.threads.get_state(thread)["tasks"]
    [interrupt] = task["interrupts"]
    found: dict[str, Any] = interrupt["value"]
    return found


def test_a_person_sends_back_edits_and_accepts(client: SyncLangGraphClient, folder: Path) -> None:
    thread = client.threads.create()["thread_id"]

    def reply(**said: Any) -> dict[str, Any]:
        return done(client, None, thread, context=REVIEWED, command={"resume": said})

    done(client, demo("cs", 2), thread, context=REVIEWED)
    asked = interrupted(client, thread)
    assert asked["candidate"]["question"]
    assert asked["weak"][0]["marks"]
    assert "reason is missing" in str(reply(decision="reject", by="Ann")["__interrupt__"])
    assert "reason is missing" in interrupted(client, thread)["problem"]
    reply(decision="reject", reason="two questions in one", by="Ann")
    again = interrupted(client, thread)
    assert again["round"] > asked["round"]
    assert "two questions in one" in [o["message"] for o in again["objections"]]
    question = f"{again['candidate']['question']} Say what you would measure."
    reply(decision="edit", candidate={"question": question}, by="Bo")
    last = interrupted(client, thread)
    assert (last["round"], last["candidate"]["question"]) == (again["round"] + 1, question)
    ended = reply(decision="accept", by="Ann")
    says = [found["review"]["decision"] for found in ended["rounds"] if found.get("review")]
    assert says == ["reject", "edit", "accept"]
    assert ended["decision"] == "accepted"
    with Ledger.open(folder / "runs" / "studio", create=False) as ledger:
        [row] = ledger.query(
            "select question, edited_by, reviewed_by from examples where edited_by is not null"
        )
    assert tuple(row.values()) == (question, "Bo", "Ann")


def test_a_review_in_the_terminal_answers_a_thread(
    client: SyncLangGraphClient, folder: Path
) -> None:
    """While the server has the folder to itself; the thread goes on when it is resumed."""
    thread = client.threads.create()["thread_id"]
    done(client, demo("cs", 5), thread, context=REVIEWED)
    name = interrupted(client, thread)["document"]["name"]
    assert f"{name}  accepted by Ann" in Folder(folder)(
        "review", "runs/studio", "--accept", name, "--by", "Ann"
    )
    ended = done(client, None, thread, context=REVIEWED)
    assert ended["decision"] == "accepted"
    assert ended["rounds"][-1]["review"]["by"] == "Ann"


def test_a_review_on_the_board_answers_a_thread(client: SyncLangGraphClient) -> None:
    """By the page that the same server serves; it says that the thread is to be resumed."""
    http, thread = client.http.client, client.threads.create()["thread_id"]
    done(client, demo("cs", 6), thread, context=REVIEWED)
    name = interrupted(client, thread)["document"]["name"]
    runs = set(re.findall(r'href="(/board/studio/[^"/]+)"', http.get("/board/").text))
    listed = "".join(http.get(f"{run}/review").text for run in runs)
    [where] = re.findall(rf'href="(/board/studio/[^"]+)">{name}<', listed)
    page = http.get(where).text
    assert "takes effect when the waiting thread is resumed" in page
    [token] = re.findall(r'name="token" value="(\w+)"', page)
    answer = {"token": token, "decision": "accept", "by": "Ann"}
    ours = {"origin": str(http.base_url).rstrip("/")}
    assert http.post(where, data=answer).status_code == 403
    foreign = {"origin": "https://smith.example"}
    assert http.post(where, data=answer, headers=foreign).status_code == 403
    assert http.post(where, data=answer, headers=ours).status_code == 303
    ended = done(client, None, thread, context=REVIEWED)
    assert ended["decision"] == "accepted"
    assert ended["rounds"][-1]["review"]["by"] == "Ann"


def test_a_long_document_does_not_hold_up_the_next(client: SyncLangGraphClient) -> None:
    impossible = {"rounds": 100, "strong_min": 1.0, "gap_min": 1.0}
    long = client.threads.create()["thread_id"]
    run = client.runs.create(long, "autodata", input=INPUT, context=impossible)
    done(client, demo("cs", 4), context={"rounds": 1})
    assert client.runs.get(long, run["run_id"])["status"] == "running"
    client.runs.cancel(long, run["run_id"], wait=True)


def test_three_submissions_at_once_are_paid_once(client: SyncLangGraphClient, folder: Path) -> None:
    threads = [client.threads.create()["thread_id"] for _ in range(3)]
    runs = [client.runs.create(thread, "autodata", input=demo("cs", 5)) for thread in threads]
    ended = [client.runs.join(t, run["run_id"]) for t, run in zip(threads, runs, strict=True)]
    assert ended[0] == ended[1] == ended[2]
    with Ledger.open(folder / "runs" / "studio", create=False) as ledger:
        scope = ended[0]["document_id"]
        [paid] = ledger.query(
            "select count(*) as calls, count(distinct request_key) as different from calls"
            " where scope = ?",
            [scope],
        )
    assert paid["calls"] == paid["different"] > 0


def test_each_message_says_who_speaks_about_what_and_words_come_as_they_are_said(
    client: SyncLangGraphClient,
) -> None:
    """The weak solver's endpoint streams; the others answer at once, in one piece."""
    fresh = unread("who speaks")
    thread = client.threads.create()["thread_id"]
    parts = list(client.runs.stream(thread, "autodata", input=fresh, stream_mode="messages-tuple"))
    heard = [part.data for part in parts if part.event == "messages"]
    assert {about["role"] for _, about in heard} >= {"challenger", "verifier", "judge"}
    assert all(about["role"] in about["tags"] for _, about in heard)
    values: Any = client.threads.get_state(thread)["values"]
    assert {about["round"] for _, about in heard} == {r["number"] for r in values["rounds"]}
    for round in values["rounds"]:
        for attempt in round["weak"] + round["strong"]:
            side, number = attempt["solver"], attempt["number"]
            of_round = [h for h in heard if h[1]["round"] == round["number"]]
            mine = [h for h in of_round if {side, f"attempt {number}"} <= set(h[1]["tags"])]
            said = [m for m, about in mine if about["role"] == f"{side}_solver"]
            judged = [m for m, about in mine if about["role"] == "judge"]
            assert "".join(m["content"] for m in said) == attempt["answer"]
            assert {(m["type"], m["id"]) for m in said} == {
                ("AIMessageChunk" if side == "weak" else "ai", said[0]["id"])
            }
            assert len(said) > 1 if side == "weak" else len(said) == 1
            assert len(judged) == 1
    again = {"assistant_id": "autodata", "input": fresh, "stream_mode": ["messages-tuple"]}
    events = client.http.client.post("/runs/stream", json=again).text
    assert "event: metadata" in events
    assert "event: messages" not in events  # from the log: nobody speaks


def test_breakpoints_and_time_travel_ask_nobody_twice(
    client: SyncLangGraphClient, folder: Path
) -> None:
    """What was found once is found again: step by step, from any checkpoint, on another thread."""
    given, thread = unread("breakpoints"), client.threads.create()["thread_id"]
    ended = done(client, given, thread)
    asked = calls(folder)

    stepped, steps = client.threads.create()["thread_id"], 0
    found = done(client, given, stepped, interrupt_before="*")
    while client.threads.get_state(stepped)["next"]:
        found, steps = done(client, None, stepped, interrupt_before="*"), steps + 1
    assert (found, steps) == (ended, len(client.threads.get_history(thread, limit=1000)) - 2)

    before: dict[str, Any] = {}
    for state in client.threads.get_history(thread, limit=1000):
        before |= {node: state["checkpoint"]["checkpoint_id"] for node in state["next"]}
    assert before.keys() > {"challenger", "verifier", "weak_solver", "record"}
    for checkpoint in before.values():
        assert done(client, None, thread, checkpoint_id=checkpoint) == ended
    assert calls(folder) == asked


def test_a_fork_asks_for_what_is_new_in_it_alone(client: SyncLangGraphClient, folder: Path) -> None:
    given, thread = unread("forks"), client.threads.create()["thread_id"]
    done(client, given, thread)
    history = client.threads.get_history(thread, limit=1000)
    first = next(state for state in reversed(history) if "challenger" in state["next"])

    def fork() -> dict[str, Any]:
        edited = client.threads.update_state(
            thread,
            {"instruction": "Ask about the log record."},
            checkpoint_id=first["checkpoint"]["checkpoint_id"],
        )
        return done(client, None, thread, checkpoint_id=edited["checkpoint"]["checkpoint_id"])

    asked = calls(folder)
    ended = fork()
    new = calls(folder) - asked
    assert new > 0
    assert fork() == ended
    assert calls(folder) == asked + new


def scored(attempts: list[dict[str, Any]], met: bool) -> list[dict[str, Any]]:
    """The attempts as all right or all wrong, with marks that bear this out."""
    marked = [
        {**a, "marks": [{**m, "met": met == (m["weight"] > 0)} for m in a["marks"]]}
        for a in attempts
    ]
    return [{**a, "score": float(met)} for a in marked]


def test_no_edit_of_scores_or_marks_gets_past_the_gate(
    client: SyncLangGraphClient, folder: Path
) -> None:
    """A thread waits before it is decided; its weak side was too good, and is made to look bad."""
    choices = {"attempts": "all", "rounds": 1}

    def ended(edit: dict[str, Any]) -> str:
        thread = client.threads.create()["thread_id"]
        done(client, INPUT, thread, context=choices, interrupt_before=["decide"])
        client.threads.update_state(thread, edit, as_node="strong_solver")
        found = done(client, None, thread, context=choices)
        assert found["decision"] == "rejected"
        with Ledger.open(folder / "runs" / "studio", create=False) as ledger:
            assert not any(ledger.example(r.id, found["document_id"]) for r in ledger.runs())
        return " ".join(o["message"] for o in found["rounds"][-1]["objections"])

    thread = client.threads.create()["thread_id"]
    state = done(client, INPUT, thread, context=choices, interrupt_before=["decide"])
    better = {side: scored(state[side], side == "strong") for side in ("weak", "strong")}
    scores = {
        side: [{**a, "score": b["score"]} for a, b in zip(state[side], made, strict=True)]
        for side, made in better.items()
    }
    assert "weak mean" in ended({})
    assert "edited by hand and is not accepted: weak attempt 1 scored 0.0" in ended(scores)
    assert "edited by hand and is not accepted: the judge marked weak attempt 1" in ended(better)


def stopped(
    client: SyncLangGraphClient, task: str, wanted: Callable[[dict[str, Any]], bool], **how: Any
) -> tuple[str, dict[str, Any]]:
    """The first demo document whose state is as wanted where its thread stops, and the thread."""
    for number in range(8):
        thread = client.threads.create()["thread_id"]
        state = done(client, demo(task, number), thread, **how)
        if wanted(state):
            return thread, state
    raise AssertionError("no document came to that")


def test_a_judgement_that_the_loop_judge_did_not_give_is_none(client: SyncLangGraphClient) -> None:
    choices = {"rounds": 1}
    thread, state = stopped(
        client,
        "legal",
        lambda state: (state.get("judgement") or {}).get("verdict") == "improve",
        context=choices,
        interrupt_before=["decide"],
    )
    better = {**state["judgement"], "verdict": "accept", "grpo_suitability": "high"}
    client.threads.update_state(thread, {"judgement": better}, as_node="loop_judge")
    ended = done(client, None, thread, context=choices)
    assert ended["decision"] == "rejected"
    [objection] = ended["objections"]
    assert "edited by hand and is not accepted: the loop judge did not" in objection["message"]


def test_a_verdict_that_the_verifier_did_not_give_is_none(client: SyncLangGraphClient) -> None:
    choices = {"weak_max": 1, "strong_min": 0, "gap_min": 0}
    thread, state = stopped(
        client,
        "cs",
        lambda state: not (state.get("verdict") or {}).get("passed", True),
        context=choices,
        interrupt_after=["verifier"],
    )
    passed = {**state["verdict"], "passed": True, "problems": []}
    edit = {"verdict": passed, "objections": [], "decision": None}
    client.threads.update_state(thread, edit, as_node="verifier")
    ended = done(client, None, thread, context=choices)
    assert ended["decision"] == "rejected"
    [objection] = ended["objections"]
    assert "not accepted: the verifier did not pass it" in objection["message"]


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
    schemas = client.assistants.get_schemas(served(client, "autodata"))
    form = schemas["context_schema"]["properties"]
    assert form["preset"]["enum"] == ["paper", "deployed", "measured"]
    assert all(choice["description"] and "default" in choice for choice in form.values())
    fields = schemas["input_schema"]["properties"]
    assert all(field["description"] and "default" in field for field in fields.values())
    choices = {"rounds": 1, "strong_min": 1.0, "gap_min": 1.0}
    ended = client.runs.wait(None, "autodata", input=INPUT, context=choices)
    assert isinstance(ended, dict)
    assert (ended["decision"], len(ended["rounds"])) == ("rejected", 1)


def test_each_task_has_an_assistant_whose_form_shows_its_own_numbers(
    client: SyncLangGraphClient,
) -> None:
    """What the configuration states goes before the task's own."""
    found = client.assistants.search(graph_id="autodata", limit=50)
    ours = {a["context"]["task"]: a for a in found if a["context"]}
    assert sorted(ours) == sorted([*TASKS, "medicine"])  # of another package
    assert all(a["name"].startswith(name) and a["description"] for name, a in ours.items())
    assert "weak below 0.50, strong at least 0.65" in str(ours["cs"]["description"])
    assert "simulated" in str(ours["cs"]["description"])
    shown = ours["cs"]["context"]
    assert (shown["weak_max"], shown["strong_min"], shown["gap_min"]) == (0.5, 0.65, 0.2)
    assert (shown["weak_attempts"], shown["rounds"]) == (TASKS["cs"].weak_attempts, ROUNDS)
    assert ours["science"]["context"]["challengers"] == 3
    assert "weak_max" not in ours["science"]["context"]  # which counts
    form = client.assistants.get_schemas(assistant_id("cs"))["context_schema"]["properties"]
    empty = {name for name, choice in form.items() if shown.get(name, choice["default"]) is None}
    assert empty == {"strong_max", "confirm", "review"}  # no bound, and nobody who is asked


def test_an_assistant_makes_what_it_is_for_and_its_numbers_make_no_other_run(
    client: SyncLangGraphClient, folder: Path
) -> None:
    given = demo("legal", 5)
    document = {"document": given["document"], "task": None}
    ended = client.runs.wait(None, assistant_id("legal"), input=document)
    assert isinstance(ended, dict)
    assert (ended["task"], ended["choices"]["weak_attempts"]) == ("legal", 5)
    alone = done(client, given)
    assert alone["choices"]["weak_attempts"] is None
    assert ended["rounds"] == alone["rounds"]
    with Ledger.open(folder / "runs" / "studio", create=False) as ledger:
        runs = [run for run in ledger.runs() if ledger.outcomes(run.id, alone["document_id"])]
    assert [run.task for run in runs] == ["legal"]


def test_a_form_in_which_the_preset_alone_is_changed_is_no_other_gate_in_secret(
    client: SyncLangGraphClient,
) -> None:
    def asked(**choices: Any) -> Any:
        said = client.runs.wait(
            None, assistant_id("cs"), input=INPUT, context=choices, raise_error=False
        )
        assert isinstance(said, dict)
        return said.get("__error__", said)

    assert (
        "all thresholds are stated, and still those of paper: leave out weak_max"
        in (asked(preset="deployed")["message"])
    )
    assert asked(preset="deployed", weak_max=0.65, rounds=1)["choices"]["strong_min"] == 0.65
    assert asked(preset="measured", rounds=1)["choices"]["preset"] == "measured"


async def test_an_assistant_follows_the_configuration_and_keeps_what_a_person_changed(
    client: SyncLangGraphClient, url: str
) -> None:
    """At each start of the server; a person's own form gives way to changed numbers only."""
    [ours, *_] = assistants(Settings())
    mine = {**ours, "assistant_id": "5a0b9d3c-6f1e-4d4b-9c57-000000000000"}
    changed = assistants(Settings(run=RunSettings(rounds=7)))[0]
    numbers = []
    async with get_client(url=url) as server:
        await keep(server, mine)
        await server.assistants.update(mine["assistant_id"], context={"rounds": 2})
        for told in (mine, {**changed, "assistant_id": mine["assistant_id"]}):
            await keep(server, told)
            numbers.append((await server.assistants.get(mine["assistant_id"]))["context"]["rounds"])
        await server.assistants.delete(mine["assistant_id"])
    assert numbers == [2, 7]


def test_two_threads_to_look_at_are_made_by_one_command(
    client: SyncLangGraphClient, url: str, folder: Path
) -> None:
    typed = Folder(folder)
    said = typed("demo", "--studio", url)
    assert "leader-lease-reads.md: accepted in round 3" in said
    assert "query-planner-correlation.md: rejected in round 3" in said
    assert f"https://smith.langchain.com/studio/?baseUrl={url}" in said
    threads = client.threads.search(metadata={"graph_id": "autodata"}, limit=100)
    named = {str(t["metadata"]["name"]): t for t in threads if "name" in (t["metadata"] or {})}
    assert set(named) == set(
        said.splitlines()[0].split(",")[:1] + said.splitlines()[1].split(",")[:1]
    )
    before = calls(folder)
    assert typed("demo", "--studio", url) == said
    assert calls(folder) == before
    nowhere = typed("demo", "--studio", "http://127.0.0.1:9", code=2)
    assert "no LangGraph server with our graphs answers at http://127.0.0.1:9" in nowhere
    assert "leave out --task" in typed("demo", "--studio", url, "--task", "cs", code=2)


def calls(folder: Path) -> int:
    """How often models were asked, by the record of the loop's folder."""
    [(count,)] = Folder(folder).query("select count(*) from calls", "runs/studio")
    return int(count)


def test_the_page_on_studio_does_as_it_says(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Its blocks run in order, against this server."""
    page: dict[str, Any] = {}
    for block in blocks(ROOT / "docs" / "studio.md", "python"):
        text = block.text.replace("http://127.0.0.1:2024", url)
        exec(compile(text, block.name, "exec"), page)
    page["client"].close()
    said = capsys.readouterr().out
    assert re.search(r"^round 1 · weak 1 of 4 · \d\.\d\d$", said, re.MULTILINE), said
    assert "('challenger', " in said
    assert "\nAsk about the time until it hits the ground.\nround 1 · asked for: Ask about" in said


def test_the_drawing_has_every_node_and_edge(client: SyncLangGraphClient) -> None:
    shown = client.assistants.get_graph(served(client, "autodata"))
    drawn = autodata.get_graph()
    assert {node["id"] for node in shown["nodes"]} == set(drawn.nodes)
    assert {(edge["source"], edge["target"]) for edge in shown["edges"]} == {
        (edge.source, edge.target) for edge in drawn.edges
    }


def test_a_refused_document_says_what_is_wrong(client: SyncLangGraphClient) -> None:
    document = INPUT["document"]
    assert "there is no task 'sience'; did you mean science?" in refused(
        client, {**INPUT, "task": "sience"}
    )
    assert "the tasks are cs, legal, procedural, science, medicine" in refused(
        client, {**INPUT, "task": "astrology"}
    )
    blank = {"name": "blank.md", "text": " \n\t"}
    assert "text is blank" in refused(client, {"document": blank, "task": "cs"})
    assert "no document" in refused(client, {"task": "cs"})
    assert "holds no document 1234" in refused(client, {"document_id": "1234", "task": "cs"})
    assert "there is no choice 'round'; did you mean rounds?" in refused(
        client, {"document": document}, context={"round": 2}
    )
    assert "rounds must be greater than or equal to 1, not 0" in refused(
        client, {"document": document}, context={"rounds": 0}
    )
    said = refused(client, {"document": document}, context={"rounds": -1, "preset": "papers"})
    assert "preset must be 'paper', 'deployed' or 'measured'; rounds must be greater than" in said
    assert "pydantic" not in said


def test_the_optimizer_is_served_beside_the_loop(client: SyncLangGraphClient, folder: Path) -> None:
    thread_id = client.threads.create()["thread_id"]
    parts = list(
        client.runs.stream(
            thread_id, "optimizer", input={"number": 1, "last": 1}, stream_mode="updates"
        )
    )
    assert [part.data for part in parts if part.event == "error"] == []
    nodes = [node for part in parts if part.event == "updates" for node in part.data]
    assert nodes[:5] == ["prepare", "start", "select", "evaluate", "analyse"]
    assert nodes[-1] == "record"
    values = client.threads.get_state(thread_id)["values"]
    assert values["decision"] in ("kept", "rejected", "invalid")
    with Ledger.open(folder / "runs" / "studio-optimizer") as ledger:
        assert [i.number for i in iterations(ledger, ledger.run().id)] == [0, 1]


def test_a_run_without_a_thread_leaves_none(client: SyncLangGraphClient) -> None:
    before = client.threads.count()
    done(client, INPUT)
    assert client.threads.count() == before


SEARCH = {"rule": "paper", "score": "accepted", "crossover": 0.0}


def test_the_optimizers_plan_is_a_form(client: SyncLangGraphClient) -> None:
    [assistant] = client.assistants.search(graph_id="optimizer")
    form = client.assistants.get_schemas(assistant["assistant_id"])["input_schema"]["properties"]
    assert {"task", "training", "validation", "test", "iterations", "rule", "review"} <= set(form)
    assert all(field["description"] and "default" in field for field in form.values())
    assert form["rule"]["enum"] == ["strict", "paper", "confirm"]


def test_an_iteration_streams_a_line_per_event_and_its_state_tells_it(
    client: SyncLangGraphClient, folder: Path
) -> None:
    """A plan of its own has an optimization of its own, which a second walk finds made."""
    plan = {**SEARCH, "task": "science"}  # another story has evaluated cs
    thread = client.threads.create()["thread_id"]
    parts = list(client.runs.stream(thread, "optimizer", input=plan, stream_mode="custom"))
    lines = [part.data for part in parts if part.event == "custom"]
    assert any(line.startswith("start · ") and line.endswith(".md: rejected") for line in lines)
    heads = [line.split(" · ")[1].split(":")[0] for line in lines if line.startswith("iteration 1")]
    assert heads[0].startswith("parent 0, drawn with P = 1.00; training documents to study")
    assert [h for h in heads if h in ("studied", "cause")] == ["studied", "cause"]
    values = client.threads.get_state(thread)["values"]
    told = values["summary"].splitlines()
    assert told[0].startswith("start · ")
    assert [line for line in told if line not in lines] == []
    assert told[-1].startswith(f"iteration 1 · {values['decision']} · ")
    assert values["optimization"].startswith("studio-science-")
    with Ledger.open(folder / "runs" / "studio-optimizer") as ledger:
        [before] = ledger.query("select count(*) as calls from calls")
        again = client.runs.wait(None, "optimizer", input=plan)
        assert isinstance(again, dict)
        assert again["optimization"] == values["optimization"]
        assert ledger.query("select count(*) as calls from calls") == [before]
        assert [i.number for i in iterations(ledger, values["optimization"])] == [0, 1]


def test_a_fork_and_a_breakpoint_of_an_iteration_ask_no_model_again(
    client: SyncLangGraphClient, folder: Path
) -> None:
    thread = client.threads.create()["thread_id"]
    plan = {**SEARCH, "seed": 3}
    client.runs.wait(thread, "optimizer", input=plan, interrupt_before=["validate"])
    if client.threads.get_state(thread)["next"]:
        client.runs.wait(thread, "optimizer", input=None)
    ended = client.threads.get_state(thread)["values"]
    history = client.threads.get_history(thread, limit=100)
    [before] = [state for state in history if list(state["next"]) == ["edit"]]
    with Ledger.open(folder / "runs" / "studio-optimizer") as ledger:
        [paid] = ledger.query("select count(*) as calls from calls")
        again = client.runs.wait(
            thread, "optimizer", input=None, checkpoint_id=before["checkpoint"]["checkpoint_id"]
        )
        assert isinstance(again, dict)
        assert again["revision"] == ended["revision"]
        assert ledger.query("select count(*) as calls from calls") == [paid]


def test_a_person_keeps_an_edit_over_http(client: SyncLangGraphClient, folder: Path) -> None:
    thread = client.threads.create()["thread_id"]
    plan = {**SEARCH, "review": "before_keep", "iterations": 8}
    client.runs.wait(thread, "optimizer", input=plan)
    asked = interrupted(client, thread)
    assert asked["diff"].startswith("--- a/cs/")
    assert asked["score"]["score"] > asked["parent_score"]["score"]
    client.runs.wait(thread, "optimizer", input=None, command={"resume": {"decision": "keep"}})
    assert "by: field required" in interrupted(client, thread)["problem"]
    keep = {"decision": "keep", "by": "Ann"}
    client.runs.wait(thread, "optimizer", input=None, command={"resume": keep})
    name = client.threads.get_state(thread)["values"]["optimization"]
    with Ledger.open(folder / "runs" / "studio-optimizer") as ledger:
        [kept] = [i for i in iterations(ledger, name) if i.number == asked["iteration"]]
    assert (kept.decision, kept.review and kept.review.by) == ("kept", "Ann")


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        ({"training": ["."]}, "state both training and validation documents"),
        ({"training": ["."], "validation": ["."]}, "reads no folders; AUTODATA_DOCUMENTS names"),
        ({"task": "procedural"}, "procedural has no prompt to improve"),
        ({"rule": "lucky"}, "rule: must be 'strict', 'paper' or 'confirm'"),
    ],
    ids=str,
)
def test_a_refused_plan_says_what_is_wrong(
    client: SyncLangGraphClient, plan: dict[str, Any], said: str
) -> None:
    ended = client.runs.wait(None, "optimizer", input=plan, raise_error=False)
    assert isinstance(ended, dict)
    assert said in ended["__error__"]["message"]
