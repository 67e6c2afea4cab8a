"""The served graph outside of LangGraph's server, as a program would import it."""

import asyncio
import os
from pathlib import Path

from autodata.ledger.ledger import Ledger
from autodata.service import autodata
from tests.outside import DEMO
from tests.processes import apart

TEXT = (DEMO / "cs" / "bounded-load-hashing.md").read_text()


def served(folder: Path) -> list[str]:
    """What becomes of one document as two tasks, in a program that ends then."""
    return apart(_serve, folder)


def _serve(folder: Path) -> list[str]:
    os.chdir(folder)
    return asyncio.run(_ask())


async def _ask() -> list[str]:
    found = []
    for task in ("cs", "legal"):
        ended = await autodata.ainvoke(
            {"document": {"name": "note.md", "text": TEXT}, "task": task}
        )
        found.append(f"{task} {ended['choices'].preset} {len(ended['rounds'])}")
    return found


def test_the_service_takes_its_choices_from_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "autodata.yaml").write_text("acceptance: {preset: deployed}\nrun: {rounds: 1}\n")
    assert served(tmp_path) == ["cs deployed 1", "legal deployed 1"]


def test_documents_are_recorded_under_a_run_of_their_task_across_restarts(tmp_path: Path) -> None:
    first, second = served(tmp_path), served(tmp_path)
    assert first == second
    with Ledger.open(tmp_path / "runs" / "studio", create=False) as ledger:
        assert [run.task for run in ledger.runs()] == ["cs", "legal"]  # and none of science
        assert [len(ledger.outcomes(run.id)) for run in ledger.runs()] == [1, 1]
