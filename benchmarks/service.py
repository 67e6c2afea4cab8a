"""Processor time per document of LangGraph's server against the command line.

    python benchmarks/service.py

Practice models, the demo's computer-science texts with a note that makes each another document.
Each way runs one document first, so that nobody's loading of libraries counts.
"""

import argparse
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from loop import DEMO
from results import report

from autodata.ledger.ledger import Ledger
from tests.outside import BIN, Served, serving

TEXTS = [file.read_text() for file in sorted((DEMO / "cs").iterdir())]
TICKS = os.sysconf("SC_CLK_TCK")  # per second
Documents = list[dict[str, str]]


def documents(name: str, count: int) -> Documents:
    """So many documents that no other name has."""
    texts = (f"{TEXTS[n % len(TEXTS)].strip()}\n\nNote {n} of {name}." for n in range(count))
    return [{"name": f"{name}-{n}.md", "text": text} for n, text in enumerate(texts)]


def typed(folder: Path, given: Documents) -> tuple[float, dict[str, str]]:
    """Processor seconds of `autodata run` on these documents in this folder, and the decisions."""
    place = folder / "docs"
    place.mkdir(parents=True)
    for document in given:
        (place / document["name"]).write_text(document["text"])
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [BIN / "autodata", "run", place, "--task", "cs", "--out", folder / "run"]
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    with Ledger.open(folder / "run", create=False) as ledger:
        decisions = dict(ledger.outcomes(ledger.run().id))
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, decisions


def used(server: Served) -> float:
    """Processor seconds of the server so far."""
    fields = Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / TICKS  # its own and those of its children


def batch(server: Served, given: Documents) -> dict[str, str]:
    """The decisions about one submission."""
    ended: Any = server.client.runs.wait(None, "batch", input={"documents": given, "task": "cs"})
    return {found["document_id"]: found["decision"] for found in ended["decisions"]}


def singly(server: Served, given: Documents) -> dict[str, str]:
    """The decisions about documents that come one by one, all at once."""
    client, runs = server.client, []
    for document in given:
        thread = client.threads.create()["thread_id"]
        asked = {"document": document, "task": "cs"}
        runs.append((thread, client.runs.create(thread, "autodata", input=asked)["run_id"]))
    ended: list[Any] = [client.runs.join(thread, run) for thread, run in runs]
    return {found["document_id"]: found["decision"] for found in ended}


def served(
    server: Served, given: Documents, how: Callable[[Served, Documents], dict[str, str]]
) -> tuple[float, dict[str, str]]:
    """Processor seconds of the server for these documents, and the decisions."""
    before = used(server)
    decisions = how(server, given)
    return used(server) - before, decisions


def rounds(folder: Path, many: Documents, few: Documents) -> list[dict[str, Any]]:
    """One row for each way; the ways take turns."""
    warm, _ = typed(folder / "warm", documents("warm", 1))
    seconds, decided = typed(folder / "many", many)
    commands = (seconds - warm) / (len(many) - 1)
    alone, decided_few = typed(folder / "few", few)
    commands_few = (alone - warm) / (len(few) - 1)
    (folder / "server").mkdir()
    with serving(folder / "server") as server:
        served(server, documents("warm", 1), batch)
        in_batch, by_batch = served(server, many, batch)
        again, _ = served(server, many, batch)
        one_by_one, by_graph = served(server, few, singly)
    ways = (
        ("autodata run", len(many), commands, commands, decided),
        ("batch", len(many), in_batch / len(many), commands, by_batch),
        ("batch again", len(many), again / len(many), commands, by_batch),
        ("autodata run", len(few), commands_few, commands_few, decided_few),
        ("single documents", len(few), one_by_one / len(few), commands_few, by_graph),
    )
    return [
        {
            "way": name,
            "documents": count,
            "CPU ms per document": 1000 * seconds,
            "of the command line": seconds / base,
            "same decisions": sum(
                found == (decided | decided_few)[document] for document, found in decisions.items()
            ),
        }
        for name, count, seconds, base, decisions in ways
    ]


def main(count: int, singles: int) -> None:
    with TemporaryDirectory() as folder:
        rows = rounds(Path(folder), documents("many", count), documents("few", singles))
    report("service", "LangGraph's server against the command line", rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--documents", type=int, default=100)
    parser.add_argument("--singles", type=int, default=20)
    given = parser.parse_args()
    sys.exit(main(given.documents, given.singles))
