"""The docs are executed: console blocks are run and compared, Python blocks are run.

AUTODATA_WRITE_DOCS=1 writes what the commands print into the pages.
"""

import asyncio
import os
import re
import shlex
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import click
import pytest

from autodata.assembly import open_models
from autodata.cli import main
from autodata.ledger.calls import CallLog
from autodata.settings import load
from tests.processes import command, started
from tests.sources import PAGES, ROOT, Block, blocks, commands, steady

WALKTHROUGH = ROOT / "docs" / "walkthrough.md"


def run(line: str, folder: Path) -> str:
    """What a command prints, standard error included."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, "PATH": path, "COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb"}
    if line.startswith("autodata "):
        with started(command, tuple(shlex.split(line)[1:]), folder, env) as process:
            return process.stdout.read()
    done = subprocess.run(
        ["bash", "-c", line],
        cwd=folder,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    return done.stdout


def test_the_walkthrough_shows_what_really_happens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its blocks run in order in one folder; a command must print what the page shows."""
    page = WALKTHROUGH.read_text()
    (tmp_path / "demo").symlink_to(ROOT / "autodata" / "demo")
    monkeypatch.chdir(tmp_path)
    for block in blocks(WALKTHROUGH, "console", "python"):
        if block.language == "python":
            exec(compile(block.text, block.name, "exec"), {})
            continue
        for line, shown in commands(block):
            printed = steady(run(line, tmp_path))
            if os.environ.get("AUTODATA_WRITE_DOCS"):
                page = page.replace(f"$ {line}\n{shown}", f"$ {line}\n{printed}")
            else:
                assert printed == shown, f"{block.name}: {line}"
    if os.environ.get("AUTODATA_WRITE_DOCS"):
        WALKTHROUGH.write_text(page)


def test_the_readme_shows_what_a_run_prints(tmp_path: Path) -> None:
    readme = ROOT / "README.md"
    names = ("write-ahead-log-group-commit", "leader-lease-reads", "work-stealing-scheduler")
    files = " ".join(f"{ROOT}/autodata/demo/cs/{name}.md" for name in names)
    line = f"autodata run {files} --task cs --out RUN --set run.documents_in_flight=1"
    printed = steady(run(line, tmp_path))
    before, _, rest = readme.read_text().partition("<!-- demo -->\n")
    after = rest.partition("<!-- /demo -->")[2]
    page = f"{before}<!-- demo -->\n```text\n{printed}```\n<!-- /demo -->{after}"
    if os.environ.get("AUTODATA_WRITE_DOCS"):
        readme.write_text(page)
    assert readme.read_text() == page


PYTHON = [b for page in PAGES for b in blocks(page, "python")]


@pytest.mark.parametrize("block", PYTHON, ids=lambda b: b.name)
def test_python_in_the_docs_compiles(block: Block) -> None:
    compile(block.text, block.name, "exec")


def _program(text: str, folder: Path) -> None:
    os.chdir(folder)
    exec(compile(text, "program", "exec"), {"__name__": "__main__"})


def test_the_python_in_the_readme_runs(tmp_path: Path) -> None:
    program = blocks(ROOT / "README.md", "python")[0].text
    with started(_program, program, tmp_path) as process:
        printed = process.stdout.read()
    assert re.match(r"1 (accepted|revise) \[", printed), printed


SHELL = [
    (block.name, line.split(" #")[0].strip())
    for page in PAGES
    for block in blocks(page, "console", "sh")
    for line in block.text.splitlines()
    if re.match(r"(\$ )?autodata \w", line)
]


@pytest.mark.parametrize(("where", "line"), SHELL)
def test_every_command_in_the_docs_exists_with_its_flags(where: str, line: str) -> None:
    _, name, *rest = shlex.split(line.removeprefix("$ ").split("|")[0])
    command = main.get_command(click.Context(main), name)
    if isinstance(command, click.Group):
        command, name = command.commands.get(rest[0]), f"{name} {rest[0]}"
    assert command is not None, f"{where}: there is no command {name}"
    known = {option for p in command.params for option in (*p.opts, *p.secondary_opts)}
    flags = {word.partition("=")[0] for word in rest if word.startswith("--")}
    assert flags <= known, f"{where}: {name} takes no {', '.join(flags - known)}"


@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "autodata.example.yaml"])
def test_a_configuration_that_we_show_can_be_run(tmp_path: Path, page: Path) -> None:
    """With its budget in USD, every price it needs is known."""
    text = page.read_text() if page.suffix == ".yaml" else blocks(page, "yaml")[0].text
    config = tmp_path / "autodata.yaml"
    config.write_text(text.replace("usd: null", "usd: 20"))
    settings = load(config)
    assert settings.budget.usd == 20
    with closing(CallLog(tmp_path / "calls.db")) as log:
        asyncio.run(open_models(settings, log, "run").aclose())


def test_the_readme_names_every_command() -> None:
    text = (ROOT / "README.md").read_text()
    assert [c for c in main.commands if f"autodata {c}" not in text] == []


def test_links_in_the_docs_lead_somewhere() -> None:
    for page in [*PAGES, ROOT / "AGENTS.md"]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
