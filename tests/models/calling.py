"""What the tests of the call layer share: a configured `Models` over a real log and real HTTP."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from autodata.ledger.calls import CallLog
from autodata.models.client import Models
from autodata.models.config import EndpointConfig, ModelConfig
from autodata.prompt_store.prompt import Message

ASKED = (Message(role="system", content="You solve."), Message(role="user", content="Why?"))


@asynccontextmanager
async def calling(
    folder: Path,
    url: str,
    *,
    endpoint: dict[str, Any] | None = None,
    model: dict[str, Any] | None = None,
    **settings: Any,
) -> AsyncIterator[Models]:
    """Models whose every role is model `m` at `url`, logging to `folder`/run.db; no long waits."""
    log = CallLog(folder / "run.db")
    quick = {"backoff": 0.001, "give_up_after": 30.0, "timeout": 30.0, **(endpoint or {})}
    config = ModelConfig(**{"endpoint": "local", "model": "m", **(model or {})})
    models = Models(
        log=log,
        endpoints={"local": EndpointConfig(base_url=url, **quick)},
        models={role: config for role in ("challenger", "weak_solver", "strong_solver")},
        **settings,
    )
    try:
        yield models
    finally:
        await models.aclose()
        log.close()


def rows(folder: Path, columns: str = "status") -> list[Any]:
    """The recorded calls in order: one value each, or a tuple when several columns are named."""
    with sqlite3.connect(folder / "run.db") as database:
        found = database.execute(f"select {columns} from calls order by id").fetchall()
    database.close()
    return [row[0] if len(row) == 1 else row for row in found]
