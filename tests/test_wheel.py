"""The wheel as users get it: one top-level name, at home beside other people's packages."""

import base64
import hashlib
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from importlib.metadata import Distribution
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OURS, THEIRS = "autodata-loop", "openai-agents"  # theirs installs a top-level `agents`
PINNED = f"{THEIRS}==0.24.0"
NOT_SOURCE = shutil.ignore_patterns(".*", "*.egg-info", "build", "dist", "runs", "__pycache__")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of the sources: building leaves folders behind."""
    place = tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT, place / "source", symlinks=True, ignore=NOT_SOURCE)
    _pip("wheel", "--no-deps", "--no-build-isolation", "-w", str(place), str(place / "source"))
    [built] = place.glob("*.whl")
    return built


@pytest.fixture
def environment(tmp_path: Path) -> "Environment":
    return Environment(tmp_path / "env")


class Environment:
    """A new environment that borrows the packages of this one, so that it is there in a second;
    what is installed into it goes before what it borrows."""

    def __init__(self, path: Path) -> None:
        venv.create(path)
        self.python = path / "bin" / "python"
        [self.packages] = path.glob("lib/python*/site-packages")
        borrowed = [place for place in sys.path if place.endswith("site-packages")]
        (self.packages / "borrowed.pth").write_text("\n".join(borrowed))
        self.env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}

    def install(self, *what: str) -> None:
        _pip("--python", str(self.python), "install", "--no-compile", *what)

    def uninstall(self, name: str) -> None:
        _pip("--python", str(self.python), "uninstall", "-y", name)

    def run(self, *words: str) -> str:
        done = subprocess.run(
            [self.python, *words],
            cwd=self.packages.parent,
            env=self.env,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def works(self, name: str) -> None:
        """What the package is for, done once; and all of its files are as they were installed."""
        if name == OURS:
            out = self.run("-m", "autodata", "demo", "--task", "cs", "--documents", "1")
            assert "documents   1" in out
        else:
            self.run("-c", "from agents import Agent; Agent(name='theirs')")
        self.whole(name)

    def whole(self, name: str) -> None:
        """Every file that was installed is there, as it was."""
        [about] = self.packages.glob(f"{name.replace('-', '_')}-*.dist-info")
        files = Distribution.at(about).files
        assert files
        for file in files:
            found = base64.urlsafe_b64encode(hashlib.sha256(file.read_binary()).digest()).decode()
            assert file.hash is None or file.hash.value == found.rstrip("="), file


def _pip(*words: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *words],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_wheel_holds_real_files_under_one_name(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        scoring = archive.read("autodata/ledger/taskset/scoring.py.txt")
    assert scoring == (ROOT / "training" / "scoring.py").read_bytes()
    assert {name.split("/")[0] for name in names} == {
        "autodata",
        next(name.split("/")[0] for name in names if ".dist-info/" in name),
    }
    for expected in (
        "autodata/graph/build.py",
        "autodata/prompt_store/seed/cs/challenger.md",
        "autodata/demo/cs/leader-lease-reads.md",
        "autodata/py.typed",
    ):
        assert expected in names


@pytest.mark.parametrize("first", [OURS, THEIRS])
def test_it_lives_beside_a_package_with_a_top_level_agents(
    wheel: Path, environment: Environment, first: str
) -> None:
    """Installed in either order both work; what stays after the other leaves is whole."""
    commands = {
        OURS: ("--no-deps", "--ignore-installed", str(wheel)),
        THEIRS: (PINNED,),
    }
    for name in sorted(commands, key=lambda n: n != first):
        environment.install(*commands[name])
    environment.works(OURS)
    environment.works(THEIRS)
    environment.uninstall(first)
    environment.works(THEIRS if first == OURS else OURS)


@pytest.mark.parametrize(
    ("domain", "other"), [("cs", "legal"), ("legal", "science"), ("science", "cs")]
)
def test_a_domain_is_one_file_its_prompts_and_one_line(
    wheel: Path, environment: "Environment", domain: str, other: str
) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(environment.packages)
    room = environment.packages / "autodata"
    (room / "tasks" / f"{domain}.py").unlink()
    for folder in ("prompt_store/seed", "prompt_store/locked", "demo"):
        shutil.rmtree(room / folder / domain)
    registry = room / "tasks" / "__init__.py"
    before = registry.read_text().splitlines(keepends=True)
    left = [line for line in before if f'"autodata.tasks.{domain}"' not in line]
    assert len(left) == len(before) - 1
    registry.write_text("".join(left))
    offered = environment.run("-m", "autodata", "demo", "--help").split("One of ")[1].split(";")[0]
    assert domain not in offered.split(", ")
    assert other in offered.split(", ")
    environment.run("-m", "autodata", "run", "--help")
    told = environment.run("-m", "autodata", "demo", "--task", other, "--documents", "1")
    assert "documents   1" in told
