"""Processes of their own that begin at once: forked from one that has imported everything.

Importing takes three seconds of processor time, and few stories are about that.
"""

import fcntl
import os
import sys
import termios
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from importlib import import_module
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, ParamSpec, TextIO, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

FORKS = get_context("forkserver")
FORKS.set_forkserver_preload(
    ["pytest", "autodata.service", "autodata.simulation.__main__", "tests.outside"]
)


def apart(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What the function returns in a process of its own. Raises what it raises there."""
    with ProcessPoolExecutor(1, FORKS) as process:
        return process.submit(function, *args, **kwargs).result()


def forked(target: Callable[..., object], *args: Any) -> BaseProcess:
    """A process that was just begun."""
    process = FORKS.Process(target=target, args=args)
    process.start()
    return process


class Started:
    """A process at work, and what it prints."""

    def __init__(self, process: BaseProcess, stdout: TextIO) -> None:
        assert process.pid is not None
        self.process, self.pid, self.stdout = process, process.pid, stdout

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def wait(self) -> int:
        """Its exit code, when it has ended."""
        self.process.join()
        assert self.process.exitcode is not None
        return self.process.exitcode


@contextmanager
def started(target: Callable[..., object], *args: Any, session: bool = False) -> Iterator[Started]:
    """The function while it runs, killed at the end; as the first of a session of its own or not.
    Both its outputs are read as one."""
    read, write = FORKS.Pipe(duplex=False)
    process = forked(_printing, write, session, target, args)
    write.close()
    with read, open(read.fileno(), closefd=False) as stdout:
        try:
            yield Started(process, stdout)
        finally:
            process.kill()
            process.join()


def _printing(
    output: Connection, session: bool, target: Callable[..., object], args: tuple[Any, ...]
) -> None:
    with output:
        if session:
            os.setsid()
        _stand(output.fileno(), 1, 2)
    target(*args)


def at_terminal(terminal: Connection, target: Callable[..., object], *args: Any) -> None:
    """The function in a session whose terminal this is."""
    with terminal:
        os.setsid()
        _stand(terminal.fileno(), 0, 1, 2)
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        sys.stdin = open(0, closefd=False)  # noqa: SIM115
    target(*args)


def _stand(source: int, *places: int) -> None:
    for place in places:
        os.dup2(source, place)
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115


def command(
    words: tuple[str, ...], folder: Path, environment: Mapping[str, str], *installed: Path
) -> None:
    """`autodata …` typed in a folder. With packages installed there, all of ours is imported anew,
    for they register with it."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:0] = map(str, installed)
    if installed:
        for name in [name for name in sys.modules if name.partition(".")[0] == "autodata"]:
            del sys.modules[name]
    import_module("autodata.cli").main(words, prog_name="autodata")


def simulation(words: tuple[str, ...]) -> None:
    """`python -m autodata.simulation …`."""
    import_module("autodata.simulation.__main__").main(words)
