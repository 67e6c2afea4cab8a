"""autodata board and keys: the run folders as pages on this machine, who may ask a server for them,
and what the board asks the door."""

import json
import os
import shlex
import socket
import webbrowser
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.responses import RedirectResponse
from starlette.routing import Route

from autodata.board.access import AccessError, BearerKey, key_file
from autodata.board.app import BOARD_PATH, board
from autodata.board.pages import Door, Html, Linked
from autodata.commands.review import filed, taken, who
from autodata.graph.state import nearest
from autodata.ledger.iterations import Iteration
from autodata.ledger.ledger import FILE, Ledger
from autodata.ledger.reviews import WaitingEdit, WaitingRound
from autodata.ledger.rows import RunRow
from autodata.run_folder import RunFolder, RunFolderError
from autodata.screen import Screen, print_table, screen, table
from autodata.tasks import TASKS
from autodata.tasks.review import EditReview
from autodata.tasks.types import Review

HOST = "127.0.0.1"
HOSTS = "AUTODATA_BOARD_HOSTS"  # other names, with commas between, under which the board is read
SERVED = "studio-"  # how the ids of runs begin whose documents are threads of LangGraph's server


def made(folders: Sequence[Path]) -> Starlette:
    """The board over these folders, with all that it is told by the door."""
    return board(folders, door(), other_hosts())


def door() -> Door:
    """What the board is told by the door."""
    return Door(_stands, _optimization, _iteration, _reviewer, _goes_on, _reviewed)


def other_hosts() -> list[str]:
    """Names beside the loopback ones under which the board is reached."""
    return [host.strip() for host in os.environ.get(HOSTS, "").split(",") if host.strip()]


def serve_board(runs: Sequence[Path], port: int, open_page: bool) -> None:
    """Serves the board on loopback until it is interrupted. Raises RunFolderError for a folder that
    holds no run, and for a port that is taken."""
    import uvicorn

    for run in runs:
        if not any(run.glob(f"*/{FILE}")):
            RunFolder(run).existing()
    with _listening(port) as listening:
        address = f"http://{HOST}:{listening.getsockname()[1]}{BOARD_PATH}/"
        console = screen()
        console.print(f"The board is at {address}; Ctrl-C ends it", soft_wrap=True)
        console.file.flush()
        if open_page:
            webbrowser.open(address)
        app = made(runs)
        app.router.routes.append(Route("/", lambda _: RedirectResponse(f"{BOARD_PATH}/")))
        config = uvicorn.Config(
            app, log_level="warning", timeout_graceful_shutdown=1, lifespan="off"
        )
        uvicorn.Server(config).run(sockets=[listening])


def add_key(
    name: str,
    tasks: str,
    budget_usd: float | None,
    budget_calls: int | None,
    budget_tokens: int | None,
) -> None:
    """Makes a key and prints it: nothing else on standard output, so that it can be kept by a pipe.
    Raises AccessError."""
    allowed = [task.strip() for task in tasks.split(",") if task.strip()]
    for task in allowed:
        if task not in TASKS:
            raise AccessError(f"there is no task {task!r}{nearest(task, TASKS, 'the tasks')}")
    budget = {"usd": budget_usd, "calls": budget_calls, "tokens": budget_tokens}
    keys = key_file()
    print(keys.add(name, allowed, budget))
    Screen(stderr=True).print(
        f"This is the key of {name}, shown this once; {keys.path} keeps a hash of it.\n"
        "Send it as: Authorization: Bearer KEY",
        soft_wrap=True,
    )


def list_keys(as_json: bool) -> None:
    """Prints the keys by name. Raises AccessError."""
    found = key_file().keys()
    if as_json:
        shown = [key.model_dump(mode="json", exclude={"sha256"}) for key in found]
        print(json.dumps(shown, indent=2))
        return
    if not found:
        screen().print("There are no keys; a server without any answers on this machine alone.")
        return
    made = table("name", "tasks", "budget", "made")
    for key in found:
        made.add_row(key.name, ", ".join(key.tasks) or "all", _bounds(key), key.made_at)
    print_table(screen(), made)


def _bounds(key: BearerKey) -> str:
    """`$20, 1,000 calls`."""
    said = key.budget.stated
    words = [f"${n:g}" if what == "usd" else f"{n:,} {what}" for what, n in said.items()]
    return ", ".join(words) or "the configuration's"


def remove_key(name: str) -> None:
    """Removes a key. Raises AccessError."""
    keys = key_file()
    keys.remove(name)
    screen().print(f"{name} is let in no more", soft_wrap=True)


def _listening(port: int) -> socket.socket:
    """A socket at this port of this machine, 0 for a free one. Raises RunFolderError."""
    try:
        return socket.create_server((HOST, port))
    except OSError as error:
        raise RunFolderError(
            f"port {port} cannot be used: {error.strerror}; name another one with --port, or 0 "
            "for one that is free"
        ) from error


def _stands(path: Path, run: RunRow) -> str:
    try:
        return RunFolder(path).status(run)
    except OSError:  # a folder of somebody else's, whose lock cannot be looked at
        return run.status


def _reviewer() -> str:
    """Who a reviewer is taken to be, as in the terminal; empty where nobody is known."""
    try:
        return who()
    except (KeyError, OSError):  # a user without a name
        return ""


def _goes_on(path: Path, run: RunRow) -> tuple[str, str]:
    """When what a reviewer says takes effect, and the command for it if one is needed."""
    if run.id.startswith(SERVED):
        return (
            "when the waiting thread is resumed, with any value, in Studio or over the API",
            "",
        )
    if _stands(path, run) == "running":
        if run.kind == "optimization":
            return "while it goes on, or when its thread on LangGraph's server is resumed", ""
        return "while the run goes on, before it ends", ""
    near = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    return "when the run goes on:", f"autodata resume {shlex.quote(str(near))}"


def _reviewed(
    path: Path, waiting: WaitingRound | WaitingEdit, reply: Mapping[str, Any]
) -> tuple[Review | EditReview, bool]:
    """Files a reply as `autodata review` does."""
    with Ledger.open(path, create=False) as ledger:
        return filed(ledger, waiting, taken(ledger, waiting, reply))


# What optimizations found brings the optimizer and LangChain along, which take seconds to load.


def _optimization(ledger: Ledger, run: RunRow, linked: Linked) -> Sequence[Html]:
    from autodata.optimizer.report import parts

    return parts(ledger, run, linked)


def _iteration(run: RunRow, iteration: Iteration) -> Sequence[tuple[str, str]]:
    from autodata.optimizer.report import facts

    return facts(run, iteration)
