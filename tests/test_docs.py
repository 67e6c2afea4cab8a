"""The docs are executed: console blocks are run and compared, Python blocks are run.

AUTODATA_WRITE_DOCS=1 writes what the commands print into the pages.
"""

import asyncio
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import click
import pytest

from autodata.assembly import open_models
from autodata.cli import main
from autodata.ledger.calls import CallLog
from autodata.settings import load
from tests.processes import apart, command, started
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
    (tmp_path / "autodata").symlink_to(ROOT / "autodata")  # as in a checkout
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


def _programs(texts: Sequence[str], folder: Path) -> list[str]:
    """What each of several programs prints that go on from one another."""
    os.chdir(folder)
    names: dict[str, Any] = {"__name__": "__main__"}
    printed = []
    for text in texts:
        with redirect_stdout(StringIO()) as said:
            exec(compile(text, "program", "exec"), names)
        printed.append(steady(said.getvalue()))
    return printed


def test_the_page_on_python_shows_what_its_programs_print(tmp_path: Path) -> None:
    """Each program is followed by what it prints."""
    page = ROOT / "docs" / "python.md"
    (tmp_path / "autodata").symlink_to(ROOT / "autodata")  # as in a checkout
    programs = [block.text for block in blocks(page, "python")]
    text = page.read_text()
    for program, printed in zip(programs, apart(_programs, programs, tmp_path), strict=True):
        before, _, after = text.partition(f"```python\n{program}```\n\n```text\n")
        shown, end, rest = after.partition("```\n")
        assert end, f"nothing is shown of: {program}"
        if os.environ.get("AUTODATA_WRITE_DOCS"):
            shown = printed
            page.write_text(f"{before}```python\n{program}```\n\n```text\n{printed}{end}{rest}")
            text = page.read_text()
        assert printed == shown


def test_the_log_lines_in_the_docs_are_such_as_a_run_writes(tmp_path: Path) -> None:
    page = ROOT / "docs" / "observability.md"
    [line] = blocks(page, "sh")[0].text.splitlines()
    (tmp_path / "docs").symlink_to(ROOT / "autodata" / "demo" / "cs")
    run(f"{line.partition(' #')[0].strip()} --rounds 1 --set run.documents_in_flight=1", tmp_path)
    wrote = [json.loads(text) for text in (tmp_path / "seen.jsonl").read_text().splitlines()]
    calls = (said for said in wrote if said.get("role") == "weak_solver")
    solved = next(said for said in calls if said["attempt"] == 1)  # whichever is answered first
    ended = next(said for said in wrote if said["event"] == "document")
    said = "".join(f"{json.dumps(one)}\n" for one in (solved, ended))
    [block] = blocks(page, "json")
    if os.environ.get("AUTODATA_WRITE_DOCS"):
        page.write_text(page.read_text().replace(f"```json\n{block.text}", f"```json\n{said}"))
        [block] = blocks(page, "json")
    shown = [json.loads(text) for text in block.text.splitlines()]
    varies = dict.fromkeys(("time", "run", "seconds"))
    assert [one | varies for one in shown] == [one | varies for one in (solved, ended)]


def test_the_python_in_the_readme_runs(tmp_path: Path) -> None:
    program = blocks(ROOT / "README.md", "python")[0].text
    with started(_program, program, tmp_path) as process:
        run, *rounds = process.stdout.read().splitlines()
    assert re.match(r"<autodata run cs-\S+ in runs/notes: done, 1: .* \(simulated\)>", run), run
    assert re.match(r"1 (accepted|revise) \[", rounds[-1]), rounds


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
