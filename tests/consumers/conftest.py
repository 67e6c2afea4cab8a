"""A run of each domain on the demo documents, with the prompts of a store."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.outside import DEMO, Folder

DOMAINS = ("cs", "legal", "procedural", "science")


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """A working directory with a prompt store and a run named after each domain."""
    folder = Folder(tmp_path_factory.mktemp("made"))
    folder("prompts", "init")
    for domain in DOMAINS:
        folder("run", str(DEMO / domain), "--task", domain, "--out", domain)
    return folder


@pytest.fixture(params=DOMAINS)
def domain(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No library keeps files outside, asks a hub or reports to anyone."""
    settings: Mapping[str, str] = {
        "HF_HOME": str(tmp_path / "hub"),
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "PRIME_DISABLE_VERSION_CHECK": "1",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
