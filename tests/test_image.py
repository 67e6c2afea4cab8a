"""The image that `langgraph build` makes: locked versions, a volume for the runs, no secrets."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OWN = "langgraph==1.2.22\nLangChain_Core>=1.0  # the image's own\n"  # what the base image pins


@pytest.fixture(scope="module")
def dockerfile(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    path = tmp_path_factory.mktemp("image") / "Dockerfile"
    subprocess.run(
        [Path(sys.executable).parent / "langgraph", "dockerfile", path],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    return path.read_text().splitlines()


def test_what_is_installed_is_what_the_lock_file_says(
    dockerfile: list[str], tmp_path: Path
) -> None:
    """Where the base image constrains a package itself, that stands."""
    [at] = [n for n, line in enumerate(dockerfile) if line.startswith("RUN awk")]
    [installed] = [n for n, line in enumerate(dockerfile) if "-c /api/constraints.txt -e ." in line]
    assert dockerfile[at - 1] == "COPY requirements.lock /requirements.lock"
    assert at < installed
    (tmp_path / "api").mkdir()
    (tmp_path / "api" / "constraints.txt").write_text(OWN)
    (tmp_path / "requirements.lock").write_text((ROOT / "requirements.lock").read_text())
    command = re.sub(r"(?<= )/(?=\w)", f"{tmp_path}/", dockerfile[at].removeprefix("RUN "))
    subprocess.run(["sh", "-c", command], check=True)
    constraints = (tmp_path / "api" / "constraints.txt").read_text()
    assert constraints.startswith(OWN)
    added = constraints.removeprefix(OWN).splitlines()
    locked = (ROOT / "requirements.lock").read_text().splitlines()
    left_out = [line for line in locked if line not in added]
    assert [line.partition("==")[0] for line in left_out] == ["langchain-core", "langgraph"]


def test_runs_live_on_a_volume(dockerfile: list[str]) -> None:
    assert "VOLUME /runs" in dockerfile
    assert any("AUTODATA_RUN=/runs/" in line for line in dockerfile)


def test_secrets_history_and_runs_stay_out_of_the_image() -> None:
    """All that git ignores but the configuration and the prompts, which a server reads."""
    ignored = {name.strip("/").removeprefix("**/") for name in _lines(".dockerignore")}
    unwanted = {name.strip("/") for name in _lines(".gitignore")} - {"prompts", "autodata.yaml"}
    parents = {name.partition("/")[0] for name in ignored}
    assert {".git", ".env"} <= ignored
    assert [name for name in unwanted if name.partition("/")[0] not in parents] == []


def _lines(name: str) -> list[str]:
    return [line for line in (ROOT / name).read_text().splitlines() if not line.startswith("#")]
