"""Autodata's call layer alone: `Models.complete` over HTTP, every call written to the log first."""

import asyncio
from pathlib import Path

from stopwatch import measure
from workload import SYSTEM, user

from autodata.ledger.calls import CallLog
from autodata.models.client import Models
from autodata.models.config import EndpointConfig, ModelConfig
from autodata.prompt_store.prompt import Message

CALLS_PER_SCOPE = 20  # as a document makes them, more or less


def run(url: str, calls: int, concurrency: int, folder: Path) -> None:
    asyncio.run(work(url, calls, concurrency, folder))


async def work(url: str, calls: int, concurrency: int, folder: Path) -> None:
    log = CallLog(folder / "run.db")
    models = Models(
        log=log,
        endpoints={"local": EndpointConfig(base_url=f"{url}/v1", max_concurrency=concurrency)},
        models={"weak_solver": ModelConfig(endpoint="local", model="m")},
    )
    system = Message(role="system", content=SYSTEM)
    waiting = iter(range(calls))

    async def ask() -> None:
        for number in waiting:
            messages = (system, Message(role="user", content=user(number)))
            scope = f"document-{number // CALLS_PER_SCOPE}"
            await models.complete("weak_solver", messages, scope=scope)

    await asyncio.gather(*(ask() for _ in range(concurrency)))
    await models.aclose()
    log.close()


if __name__ == "__main__":
    measure(run)
