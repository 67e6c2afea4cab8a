"""Kilobytes that a thread's checkpoints take per document, beside its text and its final state.

    python benchmarks/checkpoints.py

Demo documents and practice models; counted in LangGraph's in-memory saver, as it serializes.
"""

import argparse
import asyncio
import os
import statistics
from importlib.resources import files
from tempfile import TemporaryDirectory
from typing import Any

from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from results import report

from autodata.service import RUN, autodata

TASKS = ("cs", "legal", "science")


def size(value: Any) -> float:
    """Kilobytes of a value as a checkpoint holds it."""
    return len(JsonPlusSerializer().dumps_typed(value)[1]) / 1000


def stored(saver: InMemorySaver) -> float:
    """Kilobytes of all that the saver keeps: values, checkpoints and the writes between them."""
    values = [data for _, data in saver.blobs.values()]
    steps = [step for threads in saver.storage.values() for step in threads.values()]
    checkpoints = [one[1] for step in steps for kept in step.values() for one in kept[:2]]
    writes = [write[2][1] for made in saver.writes.values() for write in made.values()]
    return sum(map(len, (*values, *checkpoints, *writes))) / 1000


async def measured(task: str, name: str, text: str) -> dict[str, float]:
    """One document's figures."""
    saver = InMemorySaver()
    ended = await autodata.copy({"checkpointer": saver}).ainvoke(
        {"document": {"name": name, "text": text}, "task": task},
        {"configurable": {"thread_id": name}},
    )
    return {
        "rounds": float(len(ended["rounds"])),
        "text KB": size(text),
        "final state KB": size(dict(ended)),
        "thread KB": stored(saver),
    }


async def main(documents: int) -> None:
    rows: list[dict[str, Any]] = []
    for task in TASKS:
        texts = {
            file.name: file.read_text()
            for file in files("autodata").joinpath("demo", task).iterdir()
        }
        found = [await measured(task, name, texts[name]) for name in sorted(texts)[:documents]]
        middle = {name: statistics.median(one[name] for one in found) for name in found[0]}
        largest = max(one["thread KB"] for one in found)
        rows.append({"task": task, "documents": len(found), **middle, "largest thread KB": largest})
    report("checkpoints", "checkpoints of one document's thread, medians", rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--documents", type=int, default=8, help="of each task")
    given = parser.parse_args()
    with TemporaryDirectory() as folder:
        os.environ[RUN[0]] = f"{folder}/run"
        asyncio.run(main(given.documents))
