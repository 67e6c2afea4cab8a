"""How a sitting ends, whatever it worked on: done, paused by trouble, or stopped by Ctrl-C."""

import asyncio
import signal
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

from rich.console import Console

from autodata.cli import DONE, INTERRUPTED, PAUSED
from autodata.ledger.ledger import Ledger
from autodata.ledger.rows import Status
from autodata.models.client import Models
from autodata.models.errors import Interrupted, Paused
from autodata.run_folder import RunFolder

STOPPED = Interrupted("the run was stopped", "Its finished documents and calls are kept")


@dataclass(frozen=True)
class Ending:
    """How it ended; `pause` says why and what to do unless it is done."""

    status: Status
    pause: Paused | None = None

    def tell(self, console: Console, folder: RunFolder) -> int:
        """Says how to go on, if there is a way to go; returns the exit code."""
        if self.pause is None:
            return DONE
        console.print(f"{self.pause}.\nGo on with: autodata resume {folder.path}", soft_wrap=True)
        return INTERRUPTED if self.status == "interrupted" else PAUSED


def to_its_end(work: Coroutine[Any, Any, None], folder: RunFolder, run_id: str) -> Ending:
    """Does the work and records how the run stands afterwards, even if that is by a bug."""
    ending = Ending("interrupted")
    try:
        asyncio.run(work)
        ending = Ending("done")
    except Interrupted as interruption:
        ending = Ending("interrupted", interruption)
    except Paused as pause:
        ending = Ending("paused", pause)
    except asyncio.CancelledError:
        ending = Ending("interrupted", STOPPED)
    finally:
        with Ledger.open(folder.path) as ledger:
            ledger.set_status(ending.status, run_id)
    return ending


def stop_on_signals(console: Console, stopping: asyncio.Event, models: Models) -> None:
    """The first Ctrl-C lets calls in flight end and be recorded, the second drops them."""
    work = asyncio.current_task()
    assert work is not None

    def stop() -> None:
        if stopping.is_set():
            work.cancel()
            return
        console.print("Stopping when the calls in flight have ended; again to stop now")
        stopping.set()
        models.stop(STOPPED)

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop)
