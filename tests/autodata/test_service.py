"""The served graph outside of LangGraph's server, as a program would import it."""

import subprocess
import sys
from pathlib import Path

from autodata.ledger.ledger import Ledger
from tests.outside import DEMO

SCRIPT = """
import asyncio, sys
from pathlib import Path
from autodata.service import autodata

async def main():
    document = {"name": "note.md", "text": Path(sys.argv[1]).read_text()}
    for task in ("cs", "legal"):
        ended = await autodata.ainvoke({"document": document, "task": task})
        print(task, ended["choices"].preset, len(ended["rounds"]))

asyncio.run(main())
"""


def serve(folder: Path) -> list[str]:
    document = DEMO / "cs" / "bounded-load-hashing.md"
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, document],
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.splitlines()


def test_the_service_takes_its_choices_from_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "autodata.yaml").write_text("acceptance: {preset: deployed}\nrun: {rounds: 1}\n")
    assert serve(tmp_path) == ["cs deployed 1", "legal deployed 1"]


def test_documents_are_recorded_under_a_run_of_their_task_across_restarts(tmp_path: Path) -> None:
    first, second = serve(tmp_path), serve(tmp_path)
    assert first == second
    with Ledger.open(tmp_path / "runs" / "studio", create=False) as ledger:
        assert [run.task for run in ledger.runs()] == ["cs", "legal"]  # and none of science
        assert [len(ledger.outcomes(run.id)) for run in ledger.runs()] == [1, 1]
