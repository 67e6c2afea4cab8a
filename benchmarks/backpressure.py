"""How well the client finds what a server can take: share of the ideal rate, and refusals.

    python benchmarks/backpressure.py

The server answers after one second, up to its capacity at once, and refuses what is beyond with a
429 that names no time. The client may have 128 requests in flight and is told nothing. The ideal
is a client that knows the capacity and keeps it filled from the first moment on. The documents'
calls depend on each other; their server answers four times as fast, to be done in two minutes.
"""

import argparse
import asyncio
import json
import math
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

from calls import endpoint
from loop import RUN, made_up, play, run_context
from results import report
from workload import SYSTEM, user

from autodata.ledger.calls import CallLog
from autodata.ledger.ledger import FILE
from autodata.models.client import Models
from autodata.models.config import EndpointConfig, ModelConfig
from autodata.prompt_store.prompt import Message

LATENCY = 1.0  # seconds per answer
LIMIT = 128  # requests in flight that the client's configuration allows
CAPACITIES = (32, 12, 100)  # the first is the one that has a target; the others are controls
PLAYERS = {"challenger": "careful", "weak_solver": "weak", "strong_solver": "strong"}


def models(url: str) -> dict[str, Any]:
    """The configuration: every role at this one server."""
    return {
        "endpoints": {"local": EndpointConfig(base_url=f"{url}/v1", max_concurrency=LIMIT)},
        "models": {role: ModelConfig(endpoint="local", model=m) for role, m in PLAYERS.items()},
    }


async def independent_calls(folder: Path, url: str, count: int) -> None:
    """So many calls that wait for nothing but each other."""
    log = CallLog(folder / FILE)
    asked = Models(log=log, **models(url))

    async def ask(number: int) -> None:
        messages = (
            Message(role="system", content=SYSTEM),
            Message(role="user", content=user(number)),
        )
        await asked.complete("weak_solver", messages, scope=str(number))

    await asyncio.gather(*map(ask, range(count)))
    await asked.aclose()
    log.close()


async def documents(folder: Path, url: str, count: int) -> None:
    """The whole loop over so many documents, two rounds each."""
    async with run_context(folder, made_up(count), **models(url)) as context:
        batch = await play(context, in_flight=LIMIT)
        assert batch.accepted == count, (RUN, batch.refused)


def measure(work: Any, count: int, capacity: int, latency: float) -> dict[str, Any]:
    """One run against a fresh server."""
    with tempfile.TemporaryDirectory() as folder, endpoint(latency, capacity) as url:
        began = time.perf_counter()
        asyncio.run(work(Path(folder), url, count))
        seconds = time.perf_counter() - began
        with urllib.request.urlopen(f"{url}/stats") as answer:
            stats = json.load(answer)
    ideal = math.ceil(stats["calls"] / capacity) * latency
    return {
        "work": f"{count:,} {work.__name__.replace('_', ' ')}",
        "capacity": capacity,
        "answer after": f"{latency:g} s",
        "calls": stats["calls"],
        "seconds": seconds,
        "of the ideal rate": ideal / seconds,
        "429s per call": stats["refused"] / stats["calls"],
    }


def main() -> None:
    """Calls at each capacity, then documents at the first."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--waves", type=int, default=64, help="calls per place in the server")
    parser.add_argument("--documents", type=int, default=512, help="0 leaves them out")
    given = parser.parse_args()
    rows = [measure(independent_calls, given.waves * c, c, LATENCY) for c in CAPACITIES]
    if given.documents:
        rows.append(measure(documents, given.documents, CAPACITIES[0], LATENCY / 4))
    report("backpressure", f"Back-pressure: {LIMIT} requests in flight allowed", rows)


if __name__ == "__main__":
    main()
