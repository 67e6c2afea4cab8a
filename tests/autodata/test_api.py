"""autodata called from Python: in scripts, in notebooks, and as a graph."""

import asyncio
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

import autodata
from tests.outside import DEMO, Folder, Simulated
from tests.processes import started

NAMES = ("work-stealing-scheduler.md", "leader-lease-reads.md")
FILES = [DEMO / "cs" / name for name in NAMES]
TEXT = FILES[0].read_text()
# In development mode asyncio says which steps took 0.1 s: those of a busy machine.
SLOW_STEP = re.compile(r"^Executing <.*> took \d+\.\d+ seconds\n", re.MULTILINE)
SIMULATED: dict[str, Any] = {"config": {}, "task": "cs", "rounds": 4}  # whatever lies here


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> autodata.Run:
    """A finished run over two demo documents."""
    return autodata.run(FILES, out=tmp_path_factory.mktemp("run") / "run", **SIMULATED)


def test_importing_it_loads_nothing_else() -> None:
    asked = "import sys, autodata; print([m for m in sys.modules if m.startswith('autodata.')])"
    ran = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_every_name_that_it_offers_is_there() -> None:
    assert all(getattr(autodata, name) is not None for name in autodata.__all__)
    assert {"run", "arun", "open", "Run", "Paused", "SettingsError"} <= set(dir(autodata))
    with pytest.raises(AttributeError, match="no attribute 'runn'"):
        autodata.runn  # noqa: B018


def test_a_run_is_read_as_the_command_reads_it(done: autodata.Run) -> None:
    printed = json.loads(Folder(done.path.parent)("status", "run", "--json"))
    assert (done.status, done.task, done.simulated) == ("done", "cs", True)
    assert done.summary().plain()["documents"] == printed["documents"]
    assert [outcome.name for outcome in done.documents()] == list(NAMES)
    examples = list(done)
    assert len(examples) == printed["documents"]["accepted"] == 1
    assert done.examples() == examples
    assert done.examples(confirmed=True) == []
    assert repr(done).startswith(f"<autodata run {done.id} in {done.path}: done, 2: 1 accepted")
    written = done.export("trl-grpo")
    assert written.path.parent == done.path
    assert json.loads(written.path.read_text())["meta"]["run"] == done.id
    assert autodata.open(done.path) == done


def test_a_notebook_shows_a_run_with_interval_cost_and_notice(done: autodata.Run) -> None:
    page = done._repr_html_()
    text = re.sub("<[^>]+>", " ", page)
    assert "1 of 2 accepted (50 %," in text
    assert "no cost (simulated)" in text
    assert "Simulated models: these numbers show that the loop works" in text


def test_what_a_notebook_shows_is_escaped(done: autodata.Run, tmp_path: Path) -> None:
    """Whatever stands in a run folder that somebody else sent."""
    shutil.copytree(done.path, tmp_path / "sent")
    with closing(sqlite3.connect(tmp_path / "sent" / "run.db")) as database, database:
        database.execute("update runs set prompts_revision = '<script>alert(1)</script>'")
    page = autodata.open(tmp_path / "sent")._repr_html_()
    assert "&lt;script&gt;" in page
    assert "<script" not in page


class Page:
    """As LangChain's documents are."""

    def __init__(self, page_content: str, **metadata: str) -> None:
        self.page_content, self.metadata = page_content, metadata


def test_documents_are_paths_texts_or_objects(tmp_path: Path) -> None:
    given = [
        FILES[1],
        TEXT,
        {"name": "mapped", "text": f"{TEXT} Mapped.", "year": 1999, "passage": 7},
        Page(f"{TEXT} Loaded.", source="loaded.pdf"),
        autodata.Document.of("made.md", f"{TEXT} Made."),
        {"name": "short", "text": "Too short."},
        {"name": "null", "text": None},
        {"name": "odd keys", "text": f"{TEXT} Odd.", 3: "three", "cls": "X", "self": 1},
    ]
    with pytest.warns(UserWarning, match=r"short: too little text.*; null: empty: no text in it"):
        run = autodata.run(
            iter(given), out=tmp_path / "run", config={}, task="cs", rounds=1, budget_calls=200
        )
    others = ["mapped", "loaded.pdf", "made.md", "odd keys"]
    names = [outcome.name for outcome in run.documents()]
    assert names == [NAMES[1], "The scheduler of a ray tracer", *others]
    assert [skipped.path for skipped in run.skipped] == ["short", "null"]


@pytest.mark.parametrize(
    ("called", "error", "said"),
    [
        ({"documents": TEXT}, autodata.SettingsError, "which task is it? Say task='cs'"),
        ({"documents": "nowhere/*.md", "task": "cs"}, autodata.CorpusError, "nowhere"),
        ({"documents": "", "task": "cs"}, autodata.CorpusError, "neither a path nor a text"),
        ({"documents": "word " * 199, "task": "cs"}, autodata.CorpusError, "no such file"),
        ({"documents": 7, "task": "cs"}, TypeError, "documents are paths, texts or objects"),
        ({"documents": TEXT.encode(), "task": "cs"}, TypeError, "objects with a text, not b"),
        ({"documents": StringIO(TEXT), "task": "cs"}, TypeError, "objects with a text, not <"),
        ({"documents": [{"body": ""}], "task": "cs"}, TypeError, "has no text"),
        ({"documents": TEXT, "task": "cs", "round": 3}, TypeError, "did you mean rounds"),
        ({"documents": TEXT, "task": "cs", "rounds": 0}, autodata.SettingsError, "rounds=0"),
        ({"documents": TEXT, "task": "c"}, autodata.SettingsError, "task='c'"),
        ({"documents": TEXT, "task": "cs", "settings": {"run": {}}}, TypeError, "as --set has"),
        (
            {"documents": TEXT, "task": "cs", "review": "before_keep"},
            autodata.SettingsError,
            "a run takes before_accept",
        ),
        (
            {"documents": TEXT, "task": "cs", "settings": {"run.round": 3}},
            autodata.SettingsError,
            "did you mean run.rounds",
        ),
    ],
)
def test_wrong_use_is_said_in_words_before_anything_is_begun(
    tmp_path: Path, called: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=re.escape(said)):
        autodata.run(**{"config": {}, "out": tmp_path / "run", **called})
    assert not (tmp_path / "run" / "run.db").exists()


def test_what_cannot_go_on_says_why(tmp_path: Path, done: autodata.Run) -> None:
    def breaks() -> Iterator[str]:
        yield TEXT
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        autodata.run(breaks(), out=tmp_path / "run", **SIMULATED)
    with pytest.raises(autodata.RunFolderError, match="stopped while it began"):
        autodata.resume(tmp_path / "run")
    with pytest.raises(TypeError, match="a run keeps its task"):
        autodata.resume(done, task="legal")  # type: ignore[call-arg]


def test_the_same_call_goes_on_with_the_same_folder(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with pytest.raises(autodata.BudgetReached) as paused:
        autodata.run(FILES, out=out, budget_calls=40, **SIMULATED)
    assert "autodata.resume(" in paused.value.__notes__[-1]
    assert autodata.open(out).status == "paused"
    with pytest.raises(autodata.RunFolderError, match=r"run.rounds: 4 → 5"):
        autodata.run(FILES, out=out, config={}, task="cs", rounds=5)
    resumed = autodata.resume(out, budget_calls=2000)
    calls = resumed.summary().calls
    assert resumed.status == "done"
    again = autodata.run(FILES, out=out, **SIMULATED)
    assert (again, again.summary().calls) == (resumed, calls)


def test_a_script_that_guards_nothing_is_run_once(tmp_path: Path) -> None:
    """Long files are read in a process of their own, which is none of the script."""
    (tmp_path / "long.md").write_text(f"{TEXT}\n\n" * 50)
    script = tmp_path / "script.py"
    script.write_text(
        "import autodata\nprint('begun')\n"
        "print(autodata.run('long.md', task='cs', out='run', config={}, rounds=1).status)\n"
    )
    for program in ([script.name], ["-c", script.read_text()]):
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
        ran = subprocess.run(
            [sys.executable, "-X", "dev", "-W", "error", *program],
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        said = SLOW_STEP.sub("", ran.stderr)
        assert (ran.stdout, said) == ("begun\ndone\n", "")


async def test_it_runs_where_an_event_loop_runs_already(tmp_path: Path, done: autodata.Run) -> None:
    """As in a notebook, whether it is awaited or not."""
    called = autodata.run(FILES, out=tmp_path / "called", **SIMULATED)
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0)
            ticks += 1

    other = asyncio.create_task(tick())
    awaited = await autodata.arun(FILES, out=tmp_path / "awaited", **SIMULATED)
    other.cancel()
    assert ticks > 100  # the loop was free meanwhile
    questions = [[example.candidate.question for example in run] for run in (called, awaited, done)]
    assert questions[0] == questions[1] == questions[2]
    assert threading.active_count() < 10


async def test_cancelling_it_loses_no_answer(
    folder: Folder, server: Simulated, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIMULATED_KEY", "right")
    out = folder.path / "run"
    config = folder.path / "autodata.yaml"
    running = asyncio.create_task(
        autodata.arun(folder.path / "docs", task="cs", config=config, out=out)
    )
    while not await asyncio.to_thread(lambda: server.answers):
        assert not running.done()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    paid = server.answers
    run = autodata.open(out)
    assert run.status == "interrupted"
    assert run.summary().calls == paid
    finished = await autodata.aresume(run)
    assert finished.status == "done"
    assert finished.summary().calls == server.answers


def _script(folder: Path, key: str) -> None:
    os.chdir(folder)
    os.environ["SIMULATED_KEY"] = key
    try:
        autodata.run("docs", task="cs", out="run", progress=True)
    except KeyboardInterrupt as error:
        print(f"raised: {error}; {autodata.open('run').status}", flush=True)


def _notebook(folder: Path, key: str) -> None:
    """A notebook's kernel cancels what is awaited when it is interrupted, and wakes no loop."""
    os.chdir(folder)
    os.environ["SIMULATED_KEY"] = key

    async def cell() -> None:
        task = asyncio.current_task()
        assert task is not None
        signal.signal(signal.SIGINT, lambda *_: task.cancel())
        await autodata.arun("docs", task="cs", out="run", progress=True)

    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(cell())
    except asyncio.CancelledError:
        print(f"raised: cancelled; {autodata.open('run').status}", flush=True)
    loop.close()


@pytest.mark.parametrize(
    ("program", "raised"), [(_script, "the run was stopped"), (_notebook, "cancelled")]
)
def test_ctrl_c_stops_a_script_or_a_cell_and_loses_nothing(
    folder: Folder, server: Simulated, program: Callable[..., None], raised: str
) -> None:
    with started(program, folder.path, "right") as process:
        for line in process.stdout:
            if re.match(r"accepted|rejected", line):
                break
        process.send_signal(signal.SIGINT)
        said = process.stdout.read()
    assert "Stopping when the calls in flight have ended" in said
    assert f"raised: {raised}" in said
    assert said.endswith("interrupted\n")
    assert autodata.open(folder.path / "run").summary().calls == server.answers


def test_without_the_extra_a_dataset_is_refused_in_words(
    done: autodata.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(autodata.ExportError, match=r"pip install 'autodata-loop\[datasets\]'"):
        done.to_dataset()


def test_a_dataset_has_the_columns_of_the_export(done: autodata.Run) -> None:
    pytest.importorskip("datasets", reason="an extra that is large")
    made = done.to_dataset("jsonl")
    [row] = map(json.loads, done.export("jsonl").path.read_text().splitlines())
    assert made.column_names == list(row)
    assert made[0]["question"] == row["question"]
    assert "prompt" in done.to_dataset("trl-grpo").column_names


# The graph

ASKED: dict[str, Any] = {"document": {"name": NAMES[0], "text": TEXT}, "task": "cs"}
THREAD: Any = {"configurable": {"thread_id": "1"}}


@pytest.fixture(params=["memory", "sqlite"])
def saver(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """LangGraph's checkpointers for callers without an event loop."""
    if request.param == "memory":
        yield InMemorySaver()
        return
    with SqliteSaver.from_conn_string(str(tmp_path / "checkpoints.db")) as saver:
        yield saver


def test_the_graph_is_invoked_without_an_event_loop(tmp_path: Path, saver: Any) -> None:
    with autodata.open_graph(tmp_path / "run", config={}, checkpointer=saver) as graph:
        ended = graph.invoke(ASKED, THREAD, context={"rounds": 2})
        assert ended["decision"] in ("accepted", "rejected")
        state = graph.get_state(THREAD)
        assert state.values["summary"] == ended["summary"]
        lines = list(graph.stream(ASKED, THREAD, stream_mode="custom"))
        assert "round 1 ·" in "\n".join(lines)
    outcomes = autodata.open(tmp_path / "run").documents()
    assert [outcome.name for outcome in outcomes] == [NAMES[0]]
    assert not [t for t in threading.enumerate() if "_serve" in t.name]


async def test_the_graph_is_invoked_in_an_event_loop_awaited_or_not(tmp_path: Path) -> None:
    place = str(tmp_path / "checkpoints.db")
    async with (
        AsyncSqliteSaver.from_conn_string(place) as saver,
        autodata.open_graph(tmp_path / "awaited", config={}, checkpointer=saver) as graph,
    ):
        awaited = await graph.ainvoke(ASKED, THREAD, context={"rounds": 2})
    with autodata.open_graph(tmp_path / "called", config={}) as graph:
        called = graph.invoke(ASKED, context={"rounds": 2})
    assert called["summary"] == awaited["summary"]


def test_a_person_reviews_between_two_invocations(tmp_path: Path) -> None:
    from langgraph.types import Command

    saver = InMemorySaver()
    choices: Any = {"review": "before_accept"}
    with autodata.open_graph(tmp_path / "run", config={}, checkpointer=saver) as graph:
        asked = graph.invoke(ASKED, THREAD, context=choices)
        assert asked["__interrupt__"][0].value["document"]
        reply = {"decision": "accept", "by": "Ann"}
        ended = graph.invoke(Command(resume=reply), THREAD, context=choices)
    assert ended["decision"] == "accepted"
    [example] = autodata.open(tmp_path / "run")
    assert example.reviewed_by == "Ann"
