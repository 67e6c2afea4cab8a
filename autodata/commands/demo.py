"""autodata demo: the loop at work on documents of its own."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from importlib.resources import as_file, files
from pathlib import Path

from rich.console import Console
from rich.rule import Rule

from autodata.cli import DONE
from autodata.documents.corpus import ingest
from autodata.ledger.ledger import Ledger
from autodata.ledger.summary import Outcome, outcomes
from autodata.run_folder import RunFolder
from autodata.screen import screen
from autodata.session import RunSession
from autodata.settings import RunSettings, Settings, SettingsError
from autodata.storyboard import tell
from autodata.tasks import TASKS
from autodata.tasks.types import Document

TELLING = 3  # rounds; a story of about this length shows how feedback works and still fits a screen


def demo(task: str | None, limit: int | None, out: Path | None) -> int:
    """Runs the demo documents of one task or of all, and tells how one example came to be."""
    if task is not None and task not in TASKS:
        raise SettingsError(f"there is no task {task!r}; the tasks are {', '.join(TASKS)}")
    place = out or Path("runs") / f"demo-{datetime.now():%Y%m%d-%H%M%S}"
    console = screen()
    told = [name for name in TASKS if files("autodata").joinpath("demo", name).is_dir()]
    if task and task not in told:
        raise SettingsError(f"{task} has no demo documents; tasks that have: {', '.join(told)}")
    folders = {name: place if task else place / name for name in ([task] if task else told)}
    for name, folder in folders.items():
        console.print(Rule(f"{TASKS[name].title} with simulated models", style="dim"))
        settings = Settings(run=RunSettings(task=name))
        code = RunSession(RunFolder(folder), settings, console).begin(_documents(name, limit))
        if code != DONE:
            return code
        console.print()
    _tell_one(console, list(folders.values()))
    return DONE


def _documents(task: str, limit: int | None) -> Iterator[Document]:
    """The demo documents of a task, which are part of the package."""
    with as_file(files("autodata") / "demo" / task) as folder:
        yield from list(ingest([folder]))[:limit]


def _tell_one(console: Console, folders: Sequence[Path]) -> None:
    """The story of one accepted document, one that took a few rounds if there is one."""
    told: list[tuple[int, Path, Outcome]] = []
    for folder in folders:
        with Ledger.open(folder, create=False) as ledger:
            told += [
                (abs((outcome.rounds or 0) - TELLING), folder, outcome)
                for outcome in outcomes(ledger, ledger.run().id)
                if outcome.decision == "accepted"
            ]
    if not told:
        return
    _, folder, chosen = min(told, key=lambda found: found[0])
    console.print(Rule("How one example came to be", style="dim"))
    with Ledger.open(folder, create=False) as ledger:
        run = ledger.run()
        story = ledger.rounds(run.id, chosen.document_id)
        tell(console, run, ledger.document(chosen.document_id), story, full=False)
