"""The image that `langgraph build` makes: locked versions, a volume for the runs, no secrets."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from langgraph_cli.docker import DockerCapabilities, Version, compose_as_dict

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


def test_the_composition_is_what_the_server_expects() -> None:
    """Beside what `langgraph up` starts: a volume for runs, pruned threads, a private port."""
    composed = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    capabilities = DockerCapabilities(Version(28, 0, 0), Version(2, 30, 0), True)
    expected = compose_as_dict(capabilities, port=8123)["services"]
    ours = {
        "langgraph-api": composed["autodata"],
        "langgraph-postgres": composed["postgres"],
        "langgraph-redis": composed["redis"],
    }
    for name, service in expected.items():
        assert set(service.get("environment", {})) - {"POSTGRES_DB", "POSTGRES_USER"} <= set(
            ours[name].get("environment", {})
        )
        assert ours[name].get("image") == service.get("image", "autodata")
        assert ours[name]["healthcheck"]["test"] == service["healthcheck"]["test"]
        waits = {known.removeprefix("langgraph-") for known in service.get("depends_on", {})}
        assert set(ours[name].get("depends_on", {})) == waits
    assert "runs:/runs" in composed["autodata"]["volumes"]
    assert composed["autodata"]["ports"] == ["127.0.0.1:8123:8000"]
    assert "ports" not in composed["postgres"]
    pruned = json.loads(composed["autodata"]["environment"]["LANGGRAPH_THREAD_TTL"])
    assert pruned["strategy"] == "keep_latest"


def test_the_composition_holds_no_secret() -> None:
    """Each is asked for, and there is none to fall back on but an empty one."""
    text = (ROOT / "compose.yaml").read_text()
    asked = re.findall(r"(?:KEY|PASSWORD)\b[^\n]*?\$\{(\w+):(\?[^}]+|-)\}", text)
    assert {name for name, _ in asked} == {
        "POSTGRES_PASSWORD",
        "LANGSMITH_API_KEY",
        "LANGGRAPH_CLOUD_LICENSE_KEY",
    }
