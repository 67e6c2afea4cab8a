"""What people see while a run works: that it does, and what is wrong when it does not."""

import asyncio
import signal
import socket
from io import StringIO
from pathlib import Path

import pytest
from rich.text import Text

from autodata.graph.run import Batch, run_documents
from autodata.graph.state import RunChoices
from autodata.models.limits import EndpointState
from autodata.models.registry import Usage
from autodata.progress import LOOK_EVERY, Progress, endpoint_line, tell_now_and_then
from autodata.screen import Screen
from tests.graph.test_run import demo
from tests.models.calling import ASKED, calling
from tests.models.scripted_server import Reply, scripted
from tests.outside import Folder


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (EndpointState("here", 1, 0), "here: 1 request under way, 0 waiting"),
        (EndpointState("here", 64, 12), "here: 64 requests under way, 12 waiting"),
        (
            EndpointState("here", 1, 3, 2, "HTTP 503:\n overloaded", 117.2),
            "here: 1 request under way, 3 waiting; 2 failures since the last answer: HTTP 503: "
            "overloaded; pauses in 0:01:57 unless it answers",
        ),
        (
            EndpointState("here", 0, 4, 1, "timed out"),  # the run waits for it
            "here: 0 requests under way, 4 waiting; 1 failure since the last answer: timed out",
        ),
    ],
)
def test_an_endpoint_is_told_with_what_it_does_and_what_is_wrong(
    state: EndpointState, said: str
) -> None:
    assert endpoint_line(state).plain.strip() == said


def test_a_dead_endpoint_does_not_look_idle(folder: Folder) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    folder.configure(f"http://127.0.0.1:{port}/v1")
    config = folder.path / "autodata.yaml"
    config.write_text(config.read_text().replace("give_up_after: 0.2", "give_up_after: 60"))
    folder.env["SIMULATED_KEY"] = "right"
    with folder.started("run", "docs", "--task", "cs", "--out", "run") as process:
        line = next(line for line in process.stdout if "here:" in line)
        process.send_signal(signal.SIGINT)
        assert process.wait() == 130
    assert "waiting" in line
    assert "since the last answer" in line
    assert "pauses in 0:00:5" in line or "pauses in 0:01:00" in line


async def test_the_live_view_fits_into_eighty_columns(tmp_path: Path) -> None:
    async with demo(tmp_path) as context:
        batch = Batch("cs", RunChoices(), context.ledger.document_ids()[:3], in_flight=3)
        await run_documents(context, batch)
        for usage in context.models.usage().values():  # as after a long run
            usage.calls, usage.input_tokens, usage.output_tokens = 123_456, 98_765_432, 12_345_678
        screen = Screen(width=80, file=StringIO())
        progress = Progress(screen, context, batch, {"challenger": "simulated/simulated"})
        progress.started -= 9
        screen.print(progress._table())
        roles = list(context.models.usage())
    assert isinstance(screen.file, StringIO)
    lines = screen.file.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert any("3 of 3 documents" in line and "no cost (simulated)" in line for line in lines)
    assert [line.split()[0] for line in lines if "98,765,432" in line] == roles
    assert "…" not in screen.file.getvalue()


async def test_a_plain_line_fits_into_eighty_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what is decided, spent and asked; a price that is missing is not told on every line."""
    async with demo(tmp_path) as context:
        batch = Batch("cs", RunChoices(), [f"d{n}" for n in range(84)], in_flight=3)
        real = Progress(Screen(file=StringIO()), context, batch, {"weak_solver": "here/qwen"})
        asking = "; asking weak solver 1"
        assert real._line() == "… 0 of 84 documents, 0 accepted, 0 calls"
        decisions = ("accepted", "rejected", "rejected", "skipped")
        batch.decided.update(zip(("d0", "d1", "d2", "d3"), decisions, strict=True))
        real.started -= 105.25
        used = Usage(calls=200, unpriced=200)
        monkeypatch.setattr(context.models, "usage", lambda: {"weak_solver": used})
        line = real._line()
        assert line == "… 4 of 84 documents, 1 accepted, 200 calls, 0:35:05 left"
        assert len(line + asking) <= 80
        used.unpriced, used.usd = 0, 0.03241
        line = real._line()
        assert line == "… 4 of 84 documents, 1 accepted, $0.0324, 0:35:05 left"
        assert len(line + asking) <= 80
        simulated = Progress(real.console, context, batch, {"weak_solver": "simulated/simulated"})
        used.usd = 0.0
        assert "200 simulated calls" in simulated._line()


async def test_lines_tell_who_is_asked_and_only_what_has_changed(tmp_path: Path) -> None:
    """One request that takes long: one line when it begins, none while nothing happens."""
    screen = Screen(file=StringIO(), width=200)
    async with (
        scripted(otherwise=Reply(hang=True)) as server,
        calling(tmp_path, server.url) as models,
    ):
        asked = asyncio.ensure_future(models.complete("weak_solver", ASKED, scope="d"))
        telling = tell_now_and_then(screen, models, 0.0, lambda: Text("… 1 of 2"))
        ticker = asyncio.ensure_future(telling)
        await asyncio.wait([ticker], timeout=4 * LOOK_EVERY)
        for task in (asked, ticker):
            task.cancel()
        await asyncio.gather(asked, ticker, return_exceptions=True)
    assert isinstance(screen.file, StringIO)
    assert screen.file.getvalue().splitlines() == ["… 1 of 2; asking weak solver 1"]
