"""autodata as its users have it: commands typed in a folder, an endpoint reached over HTTP."""

import json
import os
import sqlite3
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from click.testing import CliRunner

from autodata.cli import main
from tests.processes import Started, command, started

BIN = Path(sys.executable).parent
DEMO = Path(__file__).parents[1] / "autodata" / "demo"
IN_FLIGHT = 4  # requests at once that the endpoint may have


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
