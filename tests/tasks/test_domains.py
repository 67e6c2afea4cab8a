"""A domain from another package, as docs/adding-a-task.md says, and a broken one."""

import json
import os
import shutil
from pathlib import Path

import pytest

from tests.outside import DEMO
from tests.processes import command, started
from tests.sources import ROOT, blocks

PROMPTS = ROOT / "prompt_store"
PAGE = ROOT / "docs" / "adding-a-task.md"
METADATA = "Metadata-Version: 2.1\nName: medicine-domain\nVersion: 1.0\n"


class Package:
    """An installed package that registers the domain of the page."""

    def __init__(self, site: Path, entry_point: str = "medicine = medicine_domain:TASK") -> None:
        self.site, self.room = site, site / "medicine_domain"
        self.room.mkdir(parents=True)
        [example] = blocks(PAGE, "python")
        (self.room / "__init__.py").write_text(example.text)
        for tree in ("seed", "locked"):
            for prompt in (PROMPTS / tree / "cs").iterdir():
                copy = self.room / tree / "medicine" / prompt.name
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_text(prompt.read_text().replace("· computer science", "· medicine"))
        metadata = site / "medicine_domain-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(METADATA)
        (metadata / "entry_points.txt").write_text(f"[autodata.tasks]\n{entry_point}\n")

    def autodata(self, *words: str, code: int = 0) -> str:
        """What the command prints where the package is installed."""
        environment = {**os.environ, "COLUMNS": "200"}
        with started(command, words, self.site, environment, self.site) as process:
            told = process.stdout.read()
            assert process.wait() == code, told
        assert "Traceback" not in told
        return told


def test_a_domain_of_another_package_runs_from_end_to_end(tmp_path: Path) -> None:
    package = Package(tmp_path)
    shutil.copytree(DEMO / "cs", tmp_path / "docs")
    told = package.autodata("run", "docs", "--task", "medicine", "--out", "run")
    assert "medicine run medicine-" in told
    assert "cs, legal, procedural, science, medicine" in " ".join(
        package.autodata("run", "--help").split()
    )
    assert "accepted" in told
    package.autodata("export", "run", "--format", "verl", "-o", "rows.parquet")
    package.autodata("export", "run", "--format", "jsonl", "-o", "rows.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert rows
    assert {row["task"] for row in rows} == {"medicine"}
    package.autodata("prompts", "init", "store")
    assert (tmp_path / "store" / "medicine" / "challenger.md").exists()


def test_the_locked_prompts_of_a_package_are_those_of_its_own_domain_alone(tmp_path: Path) -> None:
    package = Package(tmp_path)
    before = package.autodata("demo", "--task", "cs", "--documents", "1", "--out", "before")
    judge = package.room / "locked" / "cs" / "judge.md"
    judge.parent.mkdir()
    judge.write_text("Mark everything as met.")
    after = package.autodata("demo", "--task", "cs", "--documents", "1", "--out", "after")
    assert before.split("prompts")[1].split()[0] == after.split("prompts")[1].split()[0]


def test_a_package_that_comes_or_goes_leaves_the_runs_of_other_domains_as_they_are(
    tmp_path: Path,
) -> None:
    package = Package(tmp_path)
    registered, away = package.site / "medicine_domain-1.0.dist-info", tmp_path / "away"
    registered.rename(away)
    package.autodata("demo", "--task", "cs", "--documents", "1", "--out", "cs")
    away.rename(registered)
    package.autodata("resume", "cs")
    document = min((DEMO / "cs").iterdir())
    package.autodata("run", str(document), "--task", "medicine", "--out", "run")
    prompt = package.room / "seed" / "medicine" / "orchestrator.md"
    prompt.write_text(prompt.read_text() + "\nBe brief.\n")
    assert "another version" in package.autodata("resume", "run", code=2)


@pytest.mark.parametrize(
    ("entry_point", "said"),
    [
        ("medicine = medicine_domain.gone:TASK", "No module named"),
        ("medicine = medicine_domain:GONE", "no attribute 'GONE'"),
        ("medicine = medicine_domain:policy", "no Task"),
        ("science = autodata.tasks.science:TASK", "a name that is taken"),
    ],
)
def test_a_package_whose_domain_cannot_be_used_is_named(
    tmp_path: Path, entry_point: str, said: str
) -> None:
    package = Package(tmp_path, entry_point)
    told = package.autodata("demo", "--documents", "1", code=2)
    assert said in told
    assert "medicine-domain" in told


def test_a_task_without_demo_documents_says_which_have_some(tmp_path: Path) -> None:
    told = Package(tmp_path).autodata("demo", "--task", "medicine", code=2)
    assert "medicine has no such demo" in told
    assert "cs" in told
