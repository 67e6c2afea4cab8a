"""Comparisons that may take long run in processes with limits on CPU time and memory."""

import asyncio
import os
import re
import signal
import threading
from contextlib import closing
from pathlib import Path

from autodata.agents.comparison import ComparisonPool
from autodata.tasks.science import TASK
from autodata.tasks.task import Comparison
from autodata.tasks.types import Candidate
from tests.outside import DEMO, Folder


def of(answer: str, reference: str) -> Comparison:
    """What science leaves open about an answer."""
    candidate = Candidate(context="", question="", reference_answer=f"${reference}$", rubric=())
    found = TASK.compare(f"Final answer: ${answer}$", candidate)
    assert isinstance(found, Comparison)
    return found


EASY = of("a + x + x", "2 x + a")
HOSTILE = [of(f"(a + b)^{{999{n}}}", "(b + a + c)^{9998}") for n in range(6)]


def endless(answer: str, reference: str) -> bool:
    """Never comes back to the interpreter, so that nothing in the process can stop it."""
    return bool(9 ** (9**9))


def greedy(answer: str, reference: str) -> bool:
    return bool(bytearray(2**40))


def interrupted(answer: str, reference: str) -> bool:
    """What a terminal sends to every process of its session, as far as it reaches this one."""
    return os.getsid(0) == os.getpid()


def nothing() -> None:
    """Needs no imports."""


async def test_loading_the_algebra_takes_nothing_from_the_time_of_a_comparison() -> None:
    """Else a slow machine would ask a judge where a fast one knows, and runs would differ."""
    with closing(ComparisonPool(quick=0.2, patient=0.5)) as impatient:
        assert await impatient.settle(EASY) is True


async def test_easy_comparisons_do_not_wait_for_six_that_take_long() -> None:
    with closing(ComparisonPool(quick=0.2)) as pool:
        hostile = [asyncio.ensure_future(pool.settle(comparison)) for comparison in HOSTILE]
        easy = [pool.settle(of(f"{n} a + x + x", f"2 x + {n} a")) for n in range(2, 8)]
        assert await asyncio.gather(*easy) == [True] * 6
        assert not all(comparison.done() for comparison in hostile)
        pool.close()
        assert await asyncio.gather(*hostile) == [None] * 6


async def test_a_comparison_that_takes_too_long_is_left_to_a_judge() -> None:
    with closing(ComparisonPool(quick=0.2, patient=0.5)) as impatient:
        assert await impatient.settle(HOSTILE[0]) is None
        assert await impatient.settle(EASY) is True


async def test_a_comparison_that_hangs_or_takes_all_memory_ends_only_its_own_process() -> None:
    with closing(ComparisonPool(quick=0.2, patient=0.5)) as pool:
        for decide in (endless, greedy):
            assert await pool.settle(Comparison(decide, "", "", load=nothing)) is None
        assert await pool.settle(EASY) is True


async def test_processes_are_out_of_reach_of_the_terminal() -> None:
    with closing(ComparisonPool()) as pool:
        assert await pool.settle(Comparison(interrupted, "", "", load=nothing)) is True


def test_several_event_loops_at_once_share_the_processes() -> None:
    with closing(ComparisonPool()) as pool:
        found: list[bool | None] = []
        loops = [
            threading.Thread(target=lambda: found.append(asyncio.run(pool.settle(EASY))))
            for _ in range(6)
        ]
        for loop in loops:
            loop.start()
        for loop in loops:
            loop.join()
        assert found == [True] * 6


def test_ctrl_c_while_formulas_are_compared_ends_cleanly(tmp_path: Path) -> None:
    """The terminal sends it to every process of the session."""
    words = ("run", str(DEMO / "science"), "--task", "science", "--out", "run")
    with Folder(tmp_path).started(*words, session=True) as run:
        assert any(re.match("accepted|rejected", line) for line in run.stdout)
        os.killpg(run.pid, signal.SIGINT)
        rest = run.stdout.read()
        assert run.wait() == 130, rest
    assert "Traceback" not in rest
    assert "Error" not in rest
