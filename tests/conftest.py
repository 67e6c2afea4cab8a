"""A working directory and an endpoint, for stories told from outside."""

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.outside import DEMO, Folder, Simulated
from tests.processes import simulation, started

# What a shell starts in the background ignores Ctrl-C, and so would whatever is interrupted here.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """An empty working directory with four documents in docs/."""
    (tmp_path / "docs").mkdir()
    for document in sorted((DEMO / "cs").iterdir())[:4]:
        shutil.copy(document, tmp_path / "docs")
    return Folder(tmp_path)


@pytest.fixture
def server(folder: Folder) -> Iterator[Simulated]:
    """A server that takes 10 ms per reply and demands the key `right`."""
    words = ("--port", "0", "--latency", "0.01", "--key", "right")
    with started(simulation, words) as process:
        simulated = Simulated(process.stdout.readline().split(" at ")[1].split()[0])
        folder.configure(simulated.base_url)
        folder.env["SIMULATED_KEY"] = "right"
        yield simulated
