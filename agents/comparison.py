"""Comparisons that may take long, in a few processes with limits: no answer can hang the run.

A process is a session of its own, so that Ctrl-C and a closed terminal reach the run alone. It ends
when its input does, which is when the run ends, however that happens.
"""

import asyncio
import os
import pickle
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from math import ceil
from queue import SimpleQueue
from typing import IO, NoReturn

from autodata.tasks.task import Comparison

QUICK = 0.5  # CPU seconds, after which a comparison joins those that take long
PATIENT = 5.0  # CPU seconds, after which it is left to the judge
MEMORY = 2**31  # bytes of address space that a process may use
REMEMBERED = 10_000  # settled comparisons

# What a process runs: it gets the path of its imports first, then one comparison after another.
_PROGRAM = """
import pickle, sys
answers, sys.stdout = sys.stdout, sys.stderr
sys.path[:] = pickle.load(sys.stdin.buffer)
from autodata.agents.comparison import work
work(sys.stdin.buffer, answers.buffer)
"""
# Its answers, one byte each.
_ANSWERS: dict[bytes, bool | None] = {b"1": True, b"0": False, b"?": None}
_OUT_OF_TIME = b"t"

Job = tuple[Comparison, "Future[bool | None]"]


class ComparisonPool:
    """Carries out comparisons; each pair of texts once.

    Most take milliseconds. One that is not settled in `quick` CPU seconds makes way for the others
    and is begun anew by a process of its own, with `patient` CPU seconds. Processes start when they
    are first needed. Safe to use from several threads and event loops.
    """

    def __init__(self, quick: float = QUICK, patient: float = PATIENT) -> None:
        self._lock = threading.Lock()
        self._found: dict[Comparison, Future[bool | None]] = {}
        self._slow = _Lane(1, patient)
        self._lane = _Lane(min(4, os.cpu_count() or 1), quick, self._slow)

    async def settle(self, comparison: Comparison) -> bool | None:
        """True or False when it is settled within the limits, None when a judge has to be asked."""
        with self._lock:
            found = self._found.get(comparison)
            if found is None:
                found = self._found[comparison] = Future()
                self._lane.put((comparison, found))
                if len(self._found) > REMEMBERED:
                    del self._found[next(iter(self._found))]
        # Shielded: who gives up waiting must not cancel what others wait for.
        return await asyncio.shield(asyncio.wrap_future(found))

    def close(self) -> None:
        """Ends the processes; what is still waited for is left to the judge."""
        self._lane.close()
        self._slow.close()


class _Lane:
    """Some threads, each with a process, that take comparisons from one queue.

    What takes more than `seconds` of CPU time goes to the `slower` lane, if there is one.
    """

    def __init__(self, size: int, seconds: float, slower: "_Lane | None" = None) -> None:
        self._size, self._seconds, self._slower = size, seconds, slower
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._processes: set[subprocess.Popen[bytes]] = set()
        self._closed = False

    def put(self, job: Job) -> None:
        """Queues a comparison; a closed lane leaves it to the judge."""
        with self._lock:
            if self._closed:
                job[1].set_result(None)
                return
            self._jobs.put(job)
            if len(self._threads) < self._size:
                thread = threading.Thread(target=self._serve, name="comparisons", daemon=True)
                self._threads.append(thread)
                thread.start()

    def close(self) -> None:
        """Ends threads and processes, whatever they are at."""
        with self._lock:
            self._closed = True
            for process in self._processes:
                process.kill()
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()
        while not self._jobs.empty():
            if job := self._jobs.get():
                job[1].set_result(None)

    def _serve(self) -> None:
        """One thread: comparisons one after another, in one process as long as it lives."""
        process: subprocess.Popen[bytes] | None = None
        while job := self._jobs.get():
            process = process or self._started()
            answer = _asked(process, job[0], self._seconds) if process else b""
            if process and not answer:  # it was killed, by a limit or by `close`
                self._ended(process)
                process = None
            if answer == _OUT_OF_TIME and self._slower:
                self._slower.put(job)
            else:
                job[1].set_result(_ANSWERS.get(answer))
        if process:
            self._ended(process)

    def _started(self) -> subprocess.Popen[bytes] | None:
        """A new process; None in a lane that was closed."""
        with self._lock:
            if self._closed:
                return None
            process = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            self._processes.add(process)
        with suppress(BrokenPipeError):
            _send(process, sys.path)
        return process

    def _ended(self, process: subprocess.Popen[bytes]) -> None:
        with self._lock:
            self._processes.discard(process)
        process.kill()
        with suppress(BrokenPipeError):
            process.communicate()


def _asked(process: subprocess.Popen[bytes], comparison: Comparison, seconds: float) -> bytes:
    """The process's answer; nothing when it died of the question."""
    assert process.stdout is not None
    try:
        _send(process, (comparison, seconds))
    except BrokenPipeError:
        return b""
    return process.stdout.read(1)


def _send(process: subprocess.Popen[bytes], value: object) -> None:
    assert process.stdin is not None
    process.stdin.write(pickle.dumps(value))
    process.stdin.flush()


class _OutOfTime(BaseException):
    """Not an Exception, so that no library under way takes it for a failure of its own."""


def work(questions: IO[bytes], answers: IO[bytes]) -> None:
    """What a process does: answers comparisons until its input ends."""
    signal.signal(signal.SIGPROF, _out_of_time)
    _limit(resource.RLIMIT_CORE, 0)
    with suppress(ValueError, OSError):  # not every system limits memory
        _limit(resource.RLIMIT_AS, MEMORY)
    loaded: set[Callable[[], object]] = set()
    while True:
        try:
            comparison, seconds = pickle.load(questions)
        except EOFError:
            return
        if comparison.load not in loaded:
            comparison.load()
            loaded.add(comparison.load)
        answers.write(_answer(comparison, seconds))
        answers.flush()


def _answer(comparison: Comparison, seconds: float) -> bytes:
    """One comparison within its CPU time; what hangs in C for longer ends the process."""
    used = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
    _limit(resource.RLIMIT_CPU, ceil(used + seconds + 0.2))
    try:
        signal.setitimer(signal.ITIMER_PROF, seconds)
        try:
            found = comparison.decide(comparison.answer, comparison.reference)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            _limit(resource.RLIMIT_CPU, resource.RLIM_INFINITY)  # loading is not timed
    except _OutOfTime:
        return _OUT_OF_TIME
    except (RecursionError, MemoryError):
        return b"?"
    return b"?" if found is None else b"1" if found else b"0"


def _limit(what: int, value: int) -> None:
    _, most = resource.getrlimit(what)
    within = [limit for limit in (value, most) if limit != resource.RLIM_INFINITY]
    allowed = min(within, default=resource.RLIM_INFINITY)
    resource.setrlimit(what, (allowed, most))


def _out_of_time(signal: int, frame: object) -> NoReturn:
    raise _OutOfTime
