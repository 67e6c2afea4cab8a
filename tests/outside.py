"""autodata as its users have it: commands typed in a folder, an endpoint reached over HTTP, and
LangGraph's server over its graphs."""

import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from click.testing import CliRunner
from langgraph_sdk import get_sync_client
from langgraph_sdk.client import SyncLangGraphClient

from autodata.cli import main
from tests.processes import Started, command, started

BIN = Path(sys.executable).parent
ROOT = Path(__file__).parents[1]
DEMO = ROOT / "autodata" / "demo"
IN_FLIGHT = 4  # requests at once that the endpoint may have
NO_NETWORK = "http://127.0.0.1:9"  # nothing listens there: a call to the outside would fail
READY = "Application started up"
READ_OUT = 10.0  # seconds for the last lines of a server: a worker of a killed one may live on


class Folder:
    """A working directory in which somebody types commands."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.env = {**os.environ, "NO_COLOR": "1", "COLUMNS": "200"}

    def __call__(self, *words: str, code: int = 0) -> str:
        """What `autodata …` prints; it must end with this exit code.

        In this process, since loading the libraries takes longer than most commands; `started`
        has one of its own.
        """
        before, environment = Path.cwd(), dict(os.environ)
        os.chdir(self.path)
        os.environ.clear()
        os.environ.update(self.env)
        try:
            done = CliRunner().invoke(main, words, prog_name="autodata")
        finally:
            os.environ.clear()
            os.environ.update(environment)
            os.chdir(before)
        if done.exception and not isinstance(done.exception, SystemExit):
            raise done.exception
        assert done.exit_code == code, done.output
        return done.output

    def started(self, *words: str, session: bool = False) -> AbstractContextManager[Started]:
        """The command while it runs, with its output to be read line by line."""
        return started(command, words, self.path, self.env, session=session)

    def query(self, sql: str, run: str = "run") -> list[tuple[Any, ...]]:
        with sqlite3.connect(self.path / run / "run.db") as database:
            rows = database.execute(sql).fetchall()
        database.close()
        return rows

    def configure(self, base_url: str) -> None:
        (self.path / "autodata.yaml").write_text(
            f"endpoints:\n  here: {{base_url: '{base_url}', api_key_env: SIMULATED_KEY, "
            f"max_concurrency: {IN_FLIGHT}, give_up_after: 0.2, backoff: 0.05}}\n"
            "models:\n"
            "  challenger: {endpoint: here, model: simulated}\n"
            "  weak_solver: {endpoint: here, model: simulated-weak}\n"
            "  strong_solver: {endpoint: here, model: simulated-strong}\n"
        )


class Simulated:
    """The simulated models' server, in a process of its own."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url

    @property
    def answers(self) -> int:
        """Completions so far."""
        return sum(self.stats["models"].values())

    @property
    def stats(self) -> dict[str, Any]:
        with urlopen(self.base_url.removesuffix("/v1") + "/stats") as response:
            found: dict[str, Any] = json.load(response)
            return found


class Served:
    """LangGraph's server, and a client of it."""

    def __init__(self, url: str, process: subprocess.Popen[str], client: SyncLangGraphClient):
        self.url, self.process, self.client = url, process, client

    def failed(self, graph: str, given: Any, thread: str | None = None, **how: Any) -> str:
        """What a caller reads whose run ends with an error."""
        ended = self.client.runs.wait(thread, graph, input=given, raise_error=False, **how)
        assert isinstance(ended, dict)
        assert "__error__" in ended, ended
        message: str = ended["__error__"]["message"]
        return message


def _studio_options() -> list[str]:
    """The options that `make studio` gives the server."""
    # The tests may run under a make of their own, which tells this one what to print.
    outside = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    said = subprocess.run(
        ["make", "-n", "-o", ".venv/installed-dev", "studio"],
        cwd=ROOT,
        env=outside,
        check=True,
        capture_output=True,
        text=True,
    )
    return said.stdout.partition("langgraph dev ")[2].split()


def free_port() -> str:
    """A port of this machine that nobody uses."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return str(free.getsockname()[1])


@contextmanager
def serving(
    folder: Path, *options: str, said: list[str] | None = None, **environment: str
) -> Iterator[Served]:
    """The server that `make studio` starts, over this folder, with no key and no network; killed
    where it has not ended by itself. What it prints is added to `said`."""
    shutil.copy(ROOT / "langgraph.json", folder)
    port, lines = free_port(), [] if said is None else said
    keys = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    with subprocess.Popen(
        [BIN / "langgraph", "dev", *_studio_options(), "--no-reload", "--port", port, *options],
        cwd=folder,
        env={**keys, "HTTPS_PROXY": NO_NETWORK, "LANGGRAPH_CLI_NO_ANALYTICS": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        while READY not in (line := process.stdout.readline()):
            lines.append(line)
            assert line, "".join(lines)
        reading = threading.Thread(target=lines.extend, args=(process.stdout,), daemon=True)
        reading.start()
        url = f"http://127.0.0.1:{port}"
        with get_sync_client(url=url) as client:
            try:
                yield Served(url, process, client)
            finally:
                process.terminate()
                reading.join(READ_OUT)
