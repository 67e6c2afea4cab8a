"""A day of the service: everything that people do with it at once, a kill -9 in the middle, and the
books balance.

One real server, an endpoint reached over HTTP that counts what it is asked, practice models.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest

from autodata.ledger.ledger import Ledger
from tests.outside import DEMO, IN_FLIGHT, Folder, Served, Simulated, serving
from tests.processes import simulation, started

TEXTS = {task: [f.read_text() for f in sorted((DEMO / task).iterdir())] for task in (
    "cs", "legal", "science",
)}  # fmt: skip
BATCH, SINGLE = 100, 20
ROUNDS = 2
DECIDED = 10  # documents of the batch after which the server is killed


def document(story: str, number: int = 0, task: str = "cs") -> dict[str, str]:
    """A document that no other story has."""
    text = TEXTS[task][number % len(TEXTS[task])]
    return {"name": f"{story}-{number}.md", "text": f"{text}\n\nNote {number} of {story}.\n"}


def one(story: str, number: int = 0, task: str = "cs") -> dict[str, Any]:
    return {"document": document(story, number, task), "task": task}


class Day:
    """The folder, the endpoint, and the server: the one that was killed, and the one after it."""

    def __init__(self, folder: Folder, endpoint: Simulated, running: ExitStack) -> None:
        self.folder, self.endpoint, self.running = folder, endpoint, running
        self.kills = 0
        self.begin()

    def begin(self) -> None:
        self.server: Served = self.running.enter_context(
            serving(self.folder.path, SIMULATED_KEY="right")
        )

    def kill(self) -> None:
        self.server.process.kill()
        self.server.process.wait()
        self.kills += 1
        self.begin()

    def ended(self, graph: str, given: Any, thread: str | None = None, **how: Any) -> Any:
        """What the graph's output is when the run has ended without an error."""
        ended = self.server.client.runs.wait(thread, graph, input=given, **how)
        assert isinstance(ended, dict)
        assert "__error__" not in ended
        return ended

    def thread(self) -> str:
        thread: str = self.server.client.threads.create()["thread_id"]
        return thread

    def paid(self) -> int:
        """Answered calls on record, each of which is another one."""
        calls = "select scope, request_key from calls where status != 'failed'"
        rows = self.folder.query(calls, "runs/studio")
        assert len(set(rows)) == len(rows)
        return len(rows)


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Day]:
    folder = Folder(tmp_path_factory.mktemp("day"))
    with ExitStack() as running:
        words = ("--port", "0", "--latency", "0.005", "--key", "right")
        process = running.enter_context(started(simulation, words))
        endpoint = Simulated(process.stdout.readline().split(" at ")[1].split()[0])
        folder.configure(endpoint.base_url)
        with (folder.path / "autodata.yaml").open("a") as configuration:
            configuration.write(f"run: {{rounds: {ROUNDS}}}\n")
        yield Day(folder, endpoint, running)


def test_a_day_of_the_service(day: Day) -> None:
    batch = {"documents": [document("batch", n) for n in range(BATCH)]}
    singles = [one("single", n) for n in range(SINGLE)]
    parts = day.server.client.runs.stream(day.thread(), "batch", input=batch, stream_mode="custom")
    lines = (part.data for part in parts if part.event == "custom")
    with ThreadPoolExecutor(8) as callers:
        waiting = [callers.submit(day.ended, "autodata", given) for given in singles[:4]]
        for _ in range(DECIDED):
            assert " of 100 · " in next(lines)
        day.kill()
        for call in waiting:  # cut off, or answered just before
            call.exception()

    with ThreadPoolExecutor(8) as callers:
        many = callers.submit(day.ended, "batch", batch)
        alone = list(callers.map(lambda given: day.ended("autodata", given), singles))
        batched = many.result()
    assert sum(batched["counts"].values()) == BATCH
    assert all(found["decision"] for found in batched["decisions"])
    assert all(ended["decision"] in ("accepted", "rejected") for ended in alone)

    streamed(day)
    edited = interrupted_and_edited(day)
    forked(day)
    cancelled(day)
    two_on_one_thread(day)

    asked = day.endpoint.answers
    assert day.ended("batch", batch) == batched
    assert [day.ended("autodata", given)["decision"] for given in singles] == [
        ended["decision"] for ended in alone
    ]
    assert day.endpoint.answers == asked

    with Ledger.open(day.folder.path / "runs" / "studio", create=False) as ledger:
        found = ledger.outcomes(batched["run_id"])
        for decided in batched["decisions"]:
            assert found[decided["document_id"]] == decided["decision"]
        for ended in alone:
            assert found[ended["document_id"]] == ended["decision"]
        accepted = [
            outcome for run in ledger.runs() for outcome in ledger.outcomes(run.id).values()
        ].count("accepted")
    [(examples,)] = day.folder.query("select count(*) from examples", "runs/studio")
    assert examples == accepted
    assert edited in day.folder.query("select question, edited_by from examples", "runs/studio")
    # In flight at the kill, and when a run was cancelled.
    assert 0 <= day.endpoint.answers - day.paid() <= (day.kills + 1) * IN_FLIGHT


def streamed(day: Day) -> None:
    """The lines of the story, each when it happened, and all of them in the state."""
    parts = day.server.client.runs.stream(
        None, "autodata", input=one("streamed"), stream_mode=["custom", "values"]
    )
    events = [(part.event, part.data) for part in parts]
    lines = [data for event, data in events if event == "custom"]
    assert all(line.startswith("round ") for line in lines)
    assert any("· weak 0." in line for line in lines)
    last = [data for event, data in events if event == "values"][-1]
    assert last["summary"].splitlines()[-1] == lines[-1]
    assert last["decision"] in lines[-1]


def interrupted_and_edited(day: Day) -> tuple[str, str]:
    """A person edits what passed; it is verified and attempted afresh, and asked about again.
    Returns the edited question and who edited it."""
    thread = day.thread()
    easy = {"weak_max": 1, "strong_min": 0, "gap_min": 0}  # what is edited is to pass, too
    chosen = {"review": "before_accept", "rounds": 12, **easy}

    def replied(**said: Any) -> Any:
        return day.ended("autodata", None, thread, context=chosen, command={"resume": said})

    [asked] = day.ended("autodata", one("edited", 2), thread, context=chosen)["__interrupt__"]
    question = f"{asked['value']['candidate']['question']} Say what you would measure."
    ended = replied(decision="edit", candidate={"question": question}, by="Bo")
    [again] = ended["__interrupt__"]
    assert again["value"]["candidate"]["question"] == question
    assert again["value"]["round"] == asked["value"]["round"] + 1
    ended = replied(decision="accept", by="Ann")
    assert ended["decision"] == "accepted"
    return question, "Bo"


def forked(day: Day) -> None:
    """From the beginning of its first round the same calls are read again, and none is made."""
    thread = day.thread()
    first = day.ended("autodata", one("forked"), thread)
    asked = day.endpoint.answers
    history = day.server.client.threads.get_history(thread, limit=1000)
    before = next(state for state in reversed(history) if state["next"] == ["challenger"])
    again = day.ended("autodata", None, thread, checkpoint=before["checkpoint"])
    assert again["rounds"] == first["rounds"]
    assert day.endpoint.answers == asked


def cancelled(day: Day) -> None:
    """What was cancelled goes on with the same submission."""
    client, thread, given = day.server.client, day.thread(), one("cancelled")
    parts = client.runs.stream(
        thread, "autodata", input=given, stream_mode="custom", context={"rounds": 12}
    )
    run = next(part.data["run_id"] for part in parts if part.event == "metadata")
    assert next(part.data for part in parts if part.event == "custom").startswith("round 1 · ")
    client.runs.cancel(thread, run, wait=True)
    assert client.threads.get_state(thread)["values"]["decision"] is None
    assert day.ended("autodata", given, thread, context={"rounds": 12})["decision"]


def two_on_one_thread(day: Day) -> None:
    """One after the other, of each task."""
    for task in TEXTS:
        thread = day.thread()
        first, second = (day.ended("autodata", one("two", n, task), thread) for n in range(2))
        assert first["document_id"] != second["document_id"]
        assert second["decision"]
        assert second["rounds"][0]["number"] <= 1
        assert len(second["rounds"]) <= ROUNDS + 1
