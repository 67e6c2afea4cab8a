"""autodata optimize: let an agent improve the prompts, and keep what helps."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from autodata.documents.corpus import ingest
from autodata.optimization import OptimizationSession, planned
from autodata.run_folder import RunFolder
from autodata.screen import screen
from autodata.settings import Override, SettingsError, load, with_task
from autodata.tasks import TASKS
from autodata.tasks.types import Document


def optimize(
    train: Sequence[str],
    validation: Sequence[str],
    test: Sequence[str],
    out: Path,
    config: Path | None,
    wait: bool,
    overrides: Sequence[Override],
    **choices: Any,
) -> int:
    """Begins an optimization, or goes on with the one in the folder."""
    settings = with_task(load(config, overrides))
    if TASKS[settings.run.task or ""].procedure:
        raise SettingsError(
            f"{settings.run.task} has no prompt to improve: code writes and checks its questions, "
            "and what its solvers are told is locked"
        )
    console = screen()

    def read(given: Sequence[str]) -> list[Document]:
        if not given:
            return []
        corpus = ingest(
            given,
            per_document=settings.run.per_document,
            budget=settings.run.passage_tokens,
        )
        found = list(corpus)
        for file in corpus.skipped:
            console.print(f"skipped  {file}", style="yellow", soft_wrap=True)
        return found

    sides = {"training": read(train), "validation": read(validation), "test": read(test)}
    plan = planned(sides, choices)
    session = OptimizationSession(RunFolder(out), settings, console, wait, plan)
    return session.begin([document for found in sides.values() for document in found])
