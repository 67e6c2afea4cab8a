"""Conversion in a process of its own, so that no file can hang a run or eat all memory."""

import multiprocessing
import resource
import signal
from concurrent.futures import TimeoutError as ConversionTimeout
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from pebble import ProcessExpired, ProcessPool

from autodata.documents.formats import convert
from autodata.documents.text import FormatError

MEGABYTE = 1_000_000


class Limits(NamedTuple):
    """What one file may take. Tables, which are read row by row, may be `table_bytes` long."""

    file_bytes: int = 64 * MEGABYTE  # a thousand pages of text are 3 MB
    table_bytes: int = 1000 * MEGABYTE
    unpacked_bytes: int = 256 * MEGABYTE  # of what a .docx holds, by its own directory
    seconds: float = 60.0  # a PDF of a thousand pages takes 20
    memory_bytes: int = 2000 * MEGABYTE
    here_bytes: int = 64_000  # shorter texts cannot take long and are converted in this process


LIMITS = Limits()
PACKED = frozenset({".pdf", ".docx"})  # formats whose size on disk says little


class Converter:
    """Converts files to Markdown within limits: `with Converter() as convert: convert(path)`.

    One worker process is started for the first file that needs it.
    """

    def __init__(self, limits: Limits = LIMITS) -> None:
        self.limits = limits
        self._pool: ProcessPool | None = None

    def __enter__(self) -> "Converter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.stop()  # type: ignore[no-untyped-call]
            self._pool.join()

    def __call__(self, path: Path) -> str:
        """The file's text. Raises FormatError, with the limit that it goes beyond."""
        if path.suffix.lower() not in PACKED and path.stat().st_size <= self.limits.here_bytes:
            return convert(path)
        if self._pool is None:
            self._pool = ProcessPool(
                max_workers=1,
                max_tasks=0,
                initializer=_confine,
                initargs=(self.limits.memory_bytes,),
                context=multiprocessing.get_context("spawn"),
            )
        future = self._pool.schedule(convert, args=(path,), timeout=self.limits.seconds)
        try:
            text: str = future.result()
        except ConversionTimeout as error:
            seconds = f"{self.limits.seconds:g} s"
            raise FormatError(f"reading it takes longer than {seconds}: split it") from error
        except (MemoryError, ProcessExpired) as error:
            memory = f"{self.limits.memory_bytes / MEGABYTE:,.0f} MB"
            raise FormatError(f"reading it takes more than {memory} of memory") from error
        return text


def _confine(memory_bytes: int) -> None:
    """Bounds the worker's memory, and leaves the terminal's signals to the parent process."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, hard))
