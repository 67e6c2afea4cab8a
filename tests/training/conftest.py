"""A run of each domain on its demo documents, exported, and a judge behind HTTP."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.outside import DEMO, Folder
from tests.processes import simulation, started

Rows = list[dict[str, Any]]
DOCUMENTS = {"procedural": 4}  # of each domain, else 2: a second of processor time each


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """A working directory; runs and exports are put there when they are first asked for."""
    return Folder(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="session")
def exported(runs: Folder) -> Callable[[str, str], Path]:
    """The file that a domain's run is exported to, in a format; each is made once."""

    def made(domain: str, form: str) -> Path:
        if not (runs.path / domain).is_dir():
            documents = [
                str(file) for file in sorted((DEMO / domain).iterdir())[: DOCUMENTS.get(domain, 2)]
            ]
            runs("run", *documents, "--task", domain, "--out", domain, "--rounds", "6")
        path = runs.path / f"{domain}-{form}.jsonl"
        if not path.is_file():
            runs("export", domain, "--format", form, "-o", str(path))
        return path

    return made


@pytest.fixture(scope="session")
def examples(exported: Callable[[str, str], Path]) -> Callable[[str], Rows]:
    """A domain's examples with their recorded attempts."""

    def read(domain: str) -> Rows:
        lines = exported(domain, "jsonl").read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines]

    return read


@pytest.fixture(scope="session")
def judge_url() -> Iterator[str]:
    """The base URL of simulated models."""
    with started(simulation, ("--port", "0")) as process:
        yield process.stdout.readline().split(" at ")[1].split()[0]
