"""How long it takes to go over 1,000 finished documents again, and that it asks nobody.

    python benchmarks/resume.py

Once as a resumed run does (decided documents are left alone), and once with every decision taken
out of the database, so that the whole graph is replayed from the call log alone.
"""

import argparse
import asyncio
import sqlite3
import tempfile
import time
from pathlib import Path
from typing import Any

from loop import Fixed, made_up, play, run_context
from results import report

from autodata.ledger.ledger import FILE

UNDECIDED = "delete from attempts; delete from examples; delete from rounds;"


async def session(folder: Path, documents: int) -> dict[str, Any]:
    """One session over the folder: seconds, calls made, calls answered from the log."""
    async with run_context(
        folder, made_up(documents), transports={"simulated": Fixed()}
    ) as context:
        began = time.perf_counter()
        batch = await play(context, in_flight=64)
        seconds = time.perf_counter() - began
        usages = context.models.usage().values()
    return {
        "seconds": seconds,
        "calls made": sum(t.calls for t in usages),
        "answered from the log": sum(t.replayed for t in usages),
        "accepted": batch.accepted,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--documents", type=int, default=1000)
    count = parser.parse_args().documents
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        rows = [{"session": "first", **asyncio.run(session(folder, count))}]
        rows.append({"session": "resumed", **asyncio.run(session(folder, count))})
        with sqlite3.connect(folder / FILE) as db:
            db.executescript(UNDECIDED)
        rows.append(
            {"session": "replayed from the call log", **asyncio.run(session(folder, count))}
        )
    report("resume", f"{count:,} documents", rows)


if __name__ == "__main__":
    main()
