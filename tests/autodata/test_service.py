"""The served graph outside of LangGraph's server, as a program would import it."""

import asyncio
import os
from pathlib import Path

from autodata.ledger.ledger import Ledger
from autodata.service import autodata, optimizer
from tests.invented import invented
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


def _optimized(folder: Path) -> list[str]:
    """What callers read who name folders and ids, in a program that ends then."""
    os.chdir(folder)
    os.environ["AUTODATA_DOCUMENTS"] = str(folder / "docs")
    return asyncio.run(_plans())


async def _plans() -> list[str]:
    plan = {"rule": "paper", "iterations": 0, "last": 0}
    ended = await optimizer.ainvoke({**plan, "training": ["a"], "validation": ["b"]})
    with Ledger.open(Path("runs/studio-optimizer"), create=False) as ledger:
        ids = ledger.document_ids()
    again = await optimizer.ainvoke({**plan, "training": ids[:1], "validation": ids[1:]})
    found = ["the same" if again["optimization"] == ended["optimization"] else "another"]
    for named in ("out", "..", "/etc", "none"):
        try:
            await optimizer.ainvoke({**plan, "training": [named], "validation": ["b"]})
        except ValueError as error:
            found.append(str(error).partition(" among")[0])
    return found


def test_an_optimization_takes_documents_by_folder_or_id_and_nothing_outside(
    tmp_path: Path,
) -> None:
    for name, document in zip("ab", invented(2), strict=True):
        (tmp_path / "docs" / name).mkdir(parents=True)
        (tmp_path / "docs" / name / document.name).write_text(document.text)
    (tmp_path / "docs" / "out").symlink_to("/etc")
    outside = "is not below the folder of documents of this server"
    assert apart(_optimized, tmp_path) == [
        "the same",
        *(f"{named!r} {outside}" for named in ("out", "..", "/etc")),
        "there is no folder 'none'",
    ]
