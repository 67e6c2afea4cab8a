"""What whole runs let through: each policy, and fresh attempts at what it accepted.

    python benchmarks/measured_runs.py   # 150 documents, about 15 minutes
    python benchmarks/measured_runs.py --task science --documents 60

`autodata run` and `autodata remeasure` as anybody calls them, on invented documents, the simulated
models asked for everything. What truly passes is what passes the thresholds again on 96 fresh
attempts a side. Figures come with 95 % intervals: Wilson for shares, the percentile bootstrap by
document for calls.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))

from results import report

from autodata.ledger.ledger import Ledger
from autodata.tasks.measurement import wilson
from tests.invented import invented

POLICIES: dict[str, Mapping[str, object]] = {
    "paper": {"preset": "paper"},
    "deployed": {"preset": "deployed"},
    "paper + confirm": {"preset": "paper", "confirm": 5},
    "measured": {"preset": "measured"},
}
FRESH = 96  # attempts a side: a mean of attempts that spread by .20 is off by .02
RESAMPLES = 1000


class Tried(NamedTuple):
    """One document of a run: its calls, what was stated of its example, whether that passes."""

    calls: int
    stated: float | None
    passes: bool


def run(folder: Path, documents: Path, task: str, acceptance: Mapping[str, object]) -> list[Tried]:
    """A run and its remeasurement, from the command line."""
    stated = [f"--set=acceptance.{key}={value}" for key, value in acceptance.items()]
    autodata("run", documents, "--task", task, "--out", folder, *stated)
    before = calls(folder)
    said = autodata("remeasure", folder, "--attempts", FRESH, "--json")
    passes = {one["example"]: one["passed_again"] for one in json.loads(said)["each"]}
    with Ledger.open(folder, create=False) as ledger:
        rows = ledger.query("select id, document_id, certainty from examples")
        examples = {row["document_id"]: row for row in rows}
        return [
            Tried(
                before.get(document, 0),
                example["certainty"] if example else None,
                bool(example and passes.get(example["id"])),
            )
            for document in ledger.document_ids()
            for example in [examples.get(document)]
        ]


def autodata(*words: object) -> str:
    """What the command prints. Raises CalledProcessError when it fails."""
    command = [sys.executable, "-m", "autodata", *map(str, words)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def calls(folder: Path) -> dict[str, int]:
    """The calls made so far, by document."""
    with Ledger.open(folder, create=False) as ledger:
        found = ledger.query("select scope, count(*) as made from calls group by scope")
    return {row["scope"]: row["made"] for row in found}


def row(name: str, found: Sequence[Tried]) -> dict[str, Any]:
    stated = [one.stated for one in found if one.stated is not None]
    passing = sum(one.passes for one in found)
    low, high = wilson(passing, len(stated))
    rng = random.Random(name)
    prices = sorted(price(rng.choices(found, k=len(found))) for _ in range(RESAMPLES))
    lowest, highest = prices[int(0.025 * RESAMPLES)], prices[int(0.975 * RESAMPLES)]
    return {
        "policy": name,
        "accepted": f"{len(stated)} of {len(found)}",
        "truly pass": f"{passing / max(len(stated), 1):.2f} ({low:.2f}–{high:.2f})",
        "stated": sum(stated) / max(len(stated), 1),
        "calls each": f"{price(found):.0f} ({lowest:.0f}–{highest:.0f})",
    }


def price(found: Sequence[Tried]) -> float:
    """Calls per accepted example that truly passes."""
    return sum(one.calls for one in found) / max(sum(one.passes for one in found), 1)


def write_documents(folder: Path, count: int) -> Path:
    folder.mkdir()
    for document in invented(count):
        (folder / document.name).write_text(document.text, encoding="utf-8")
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--documents", type=int, default=150)
    parser.add_argument("--task", default="cs")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        documents = write_documents(Path(place) / "documents", asked.documents)
        rows = [
            row(name, run(Path(place) / name.replace(" ", ""), documents, asked.task, acceptance))
            for name, acceptance in POLICIES.items()
        ]
    report("measured_runs", f"What whole runs of {asked.task} let through", rows)


if __name__ == "__main__":
    main()
