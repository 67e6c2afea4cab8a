"""autodata board: the run folders as pages on this machine; and what the board asks the door."""

import os
import socket
import webbrowser
from collections.abc import Sequence
from pathlib import Path

from starlette.applications import Starlette

from autodata.board.app import BOARD_PATH, board
from autodata.board.pages import Door, Html, Linked
from autodata.ledger.iterations import Iteration
from autodata.ledger.ledger import FILE, Ledger
from autodata.ledger.rows import RunRow
from autodata.run_folder import RunFolder, RunFolderError
from autodata.screen import screen

HOST = "127.0.0.1"
HOSTS = "AUTODATA_BOARD_HOSTS"  # other names, with commas between, under which the board is reached


def made(folders: Sequence[Path]) -> Starlette:
    """The board over these folders, with all that it is told by the door."""
    others = [host.strip() for host in os.environ.get(HOSTS, "").split(",") if host.strip()]
    return board(folders, Door(_stands, _optimization, _iteration), others)


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
        config = uvicorn.Config(
            made(runs), log_level="warning", timeout_graceful_shutdown=1, lifespan="off"
        )
        uvicorn.Server(config).run(sockets=[listening])


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


# What optimizations found brings the optimizer and LangChain along, which take seconds to load.


def _optimization(ledger: Ledger, run: RunRow, linked: Linked) -> Sequence[Html]:
    from autodata.report import parts

    return parts(ledger, run, linked)


def _iteration(run: RunRow, iteration: Iteration) -> Sequence[tuple[str, str]]:
    from autodata.report import facts

    return facts(run, iteration)
