"""Whether a pilot foretells the rest, and names what limits a run.

    python benchmarks/plan.py forecast     # pilots of 8 of 60 documents, 20 times; about a minute

`forecast` is about one finished run over 60 invented documents, the simulated models asked for
everything: of 8 documents drawn anew from it, as `autodata plan` reads a pilot, what do they say of
the other 52, and is it so? Shares come with their Wilson intervals.
"""

import argparse
import random
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from measured_runs import autodata, write_documents
from results import report

from autodata.ledger.ledger import Ledger
from autodata.ledger.pilots import pilot_documents
from autodata.tasks import TASKS
from autodata.tasks.forecast import Forecast, Outset, PilotDocument, Predicted, forecast
from autodata.tasks.measurement import in_percent, wilson

DOCUMENTS, PILOT, SEEDS = 60, 8, 20


def foretold(task: str, documents: int, pilot: int, seeds: int) -> list[dict[str, Any]]:
    """How often what the others gave and took lay where pilots had said."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "run"
        autodata("run", write_documents(Path(place) / "documents", documents), "--task", task,
                 "--out", folder)  # fmt: skip
        with Ledger.open(folder, create=False) as ledger:
            found = list(pilot_documents(ledger, ledger.run().id).values())
    rounds = TASKS[task].rounds
    within, wide = dict[str, int](), dict[str, list[float]]()
    for seed in range(seeds):
        drawn = random.Random(seed).sample(found, len(found))
        said = forecast(drawn[:pilot], Outset(len(found) - pilot, None, rounds, 8))
        for name, at, came in _checked(said, drawn[pilot:]):
            within[name] = within.get(name, 0) + (at.low <= came <= at.high)
            wide.setdefault(name, []).append((at.high - at.low) / max(at.value, 1))
    accepted = sum(one.accepted for one in found)
    return [
        {
            "what": name,
            "of the run": f"{task}, {accepted} of {len(found)} accepted",
            "inside": f"{hits} of {seeds}",
            "coverage": f"{100 * hits / seeds:.0f} % ({in_percent(wilson(hits, seeds))})",
            "width of its value": sum(wide[name]) / seeds,
        }
        for name, hits in within.items()
    ]


def _checked(said: Forecast, others: Sequence[PilotDocument]) -> list[tuple[str, Predicted, float]]:
    """What was said of the others, and how it came."""
    checked = [("examples", said.examples, float(sum(one.accepted for one in others)))]
    for kind in ("rounds", "calls", "tokens"):
        came = float(sum(getattr(one, kind) for one in others))
        checked.append((kind, said.costs[kind], came))  # type: ignore[index]
    return checked


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["forecast"])
    parser.add_argument("--tasks", nargs="*", default=["cs", "legal", "science"])
    parser.add_argument("--seeds", type=int, default=SEEDS)
    asked = parser.parse_args()
    rows = [row for task in asked.tasks for row in foretold(task, DOCUMENTS, PILOT, asked.seeds)]
    report("plan_forecast", f"Pilots of {PILOT} of {DOCUMENTS} documents", rows)


if __name__ == "__main__":
    main()
