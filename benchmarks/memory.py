"""Memory and disk by the number of documents: neither may hold what is not in flight.

    python benchmarks/memory.py                     # 1,000 and 10,000 documents

Each size runs in a process of its own, one round per document, with fixed replies in process.
"""

import argparse
import asyncio
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from loop import Fixed, made_up, play, run_context
from results import report

from autodata.graph.state import RunChoices
from autodata.ledger.ledger import FILE


async def measure(folder: Path, documents: int) -> dict[str, Any]:
    """Peak memory of this process and bytes on disk after a run over so many documents."""
    async with run_context(
        folder, made_up(documents), transports={"simulated": Fixed()}
    ) as context:
        await play(context, choices=RunChoices(rounds=1), in_flight=64)
        calls = sum(t.calls for t in context.models.usage().values())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    size = (folder / FILE).stat().st_size
    return {
        "documents": documents,
        "calls": calls,
        "peak MB": peak,
        "run.db MB": size / 2**20,
        "bytes per document": size // documents,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sizes", type=int, nargs="*", default=[1000, 10_000])
    parser.add_argument("--here", action="store_true", help="measure one size in this process")
    given = parser.parse_args()
    if given.here:
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(asyncio.run(measure(Path(folder), given.sizes[0]))))
        return
    rows = []
    for size in given.sizes:
        command = [sys.executable, __file__, "--here", str(size)]
        rows.append(json.loads(subprocess.run(command, stdout=-1, check=True).stdout))
        rows[-1]["of the smallest"] = rows[-1]["peak MB"] / rows[0]["peak MB"]
    report("memory", "Memory and disk", rows)


if __name__ == "__main__":
    main()
