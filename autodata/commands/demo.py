"""autodata demo: the loop at work on documents of its own."""

import asyncio
from collections.abc import Iterator, Sequence
from datetime import datetime
from importlib.resources import as_file, files
from pathlib import Path

from rich.console import Console
from rich.rule import Rule

from autodata.documents.corpus import ingest
from autodata.ledger.ledger import Ledger
from autodata.ledger.rows import Outcome
from autodata.ledger.summary import outcomes
from autodata.models.config import EndpointConfig, ModelConfig, Price
from autodata.models.errors import WireError
from autodata.models.transport import HttpTransport
from autodata.options import DONE
from autodata.run_folder import RunFolder
from autodata.screen import screen
from autodata.session import RunSession
from autodata.settings import RunSettings, Settings, SettingsError
from autodata.storyboard import tell
from autodata.tasks import TASKS
from autodata.tasks.types import Document

TELLING = 3  # rounds; a story of about this length shows how feedback works and still fits a screen


# A small model on two cores: what it is asked, and how often, so that the demo takes minutes.
SOLVER = {"endpoint": "local", "temperature": 0.3, "max_tokens": 64}
SHOWN = 4  # worked examples that the strong side is shown
LOCAL_ROUNDS = 4


def demo(
    task: str | None,
    limit: int | None,
    out: Path | None,
    models: str,
    address: str,
    studio: str | None,
) -> int:
    """Runs the demo documents of one task or of all, and tells how one example came to be; or puts
    two of them on LangGraph's server."""
    if studio is not None:
        if task or limit or out:
            raise SettingsError(
                "--studio takes two documents of its own and files them where the server does; "
                "leave out --task, --documents and --out"
            )
        from autodata.studio import example_threads  # with LangGraph's client

        return example_threads(studio, screen())
    if task is not None and task not in TASKS:
        raise SettingsError(f"there is no task {task!r}; the tasks are {', '.join(TASKS)}")
    place = out or Path("runs") / f"demo-{datetime.now():%Y%m%d-%H%M%S}"
    console = screen()
    told = [name for name in TASKS if files("autodata").joinpath("demo", name).is_dir()]
    if models == "local":
        told = [name for name in told if TASKS[name].procedure]  # the others take more than solvers
    if task and task not in told:
        raise SettingsError(f"{task} has no such demo; tasks that have: {', '.join(told)}")
    name_of_model = asyncio.run(_served(address)) if models == "local" else ""
    by = f"{name_of_model} at {address}" if name_of_model else "simulated models"
    chosen = [task] if task else told
    folders = {name: place if len(chosen) == 1 else place / name for name in chosen}
    for name, folder in folders.items():
        console.print(Rule(f"{TASKS[name].title} with {by}", style="dim"))
        settings = Settings(run=RunSettings(task=name))
        if name_of_model:
            settings = _local(name, name_of_model, address)
            console.print(f"weak: the model as it is; strong: shown {SHOWN} worked examples first")
        code = RunSession(RunFolder(folder), settings, console).begin(_documents(name, limit))
        if code != DONE:
            return code
        console.print()
    _tell_one(console, list(folders.values()))
    return DONE


async def _served(address: str) -> str:
    """The model that is served at an address, by its own name. Raises SettingsError."""
    at = HttpTransport("local", EndpointConfig(base_url=address))
    try:
        listed = await at.get("/models")
        return str(listed["data"][0]["id"])
    except (WireError, LookupError, TypeError) as error:
        raise SettingsError(
            f"no model is served at {address}: {error}. Start `autodata models serve`, or name "
            "the --address of another server"
        ) from error
    finally:
        await at.aclose()


def _local(task: str, model: str, address: str) -> Settings:
    """The model on both sides, shown worked examples on the strong one; it costs nothing."""
    weak = ModelConfig.model_validate({**SOLVER, "model": model})
    return Settings(
        endpoints={"local": EndpointConfig(base_url=address, max_concurrency=2)},
        models={
            "weak_solver": weak,
            "strong_solver": weak.model_copy(update={"examples": SHOWN}),
        },
        prices={f"local/{model}": Price(input=0, output=0)},
        run=RunSettings(task=task, rounds=LOCAL_ROUNDS),
    )


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
        example = ledger.example(run.id, chosen.document_id)
        tell(console, run, ledger.document(chosen.document_id), story, example, full=False)
