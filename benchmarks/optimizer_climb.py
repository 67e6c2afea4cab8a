"""Does the optimizer climb, and does it know when it did not?

    python benchmarks/optimizer_climb.py                      # 5 seeds, 60 iterations each
    python benchmarks/optimizer_climb.py --editor simulated-idle
    python benchmarks/optimizer_climb.py --score accepted     # accepted documents count in full

Simulated models on invented documents: 50 training, 25 validation, 100 sealed test documents, of
which the winner sees the last ones once. A good editor must gain 15 points on the test documents;
one whose edits say nothing must stay within noise, and the verdict must say so. On the test a
document counts when it was accepted and the thresholds are likelier to hold than not.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path
from statistics import fmean
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from autodata.ledger.iterations import Iteration, finals, iterations
from autodata.optimization import sentence
from autodata.optimizer.acceptance import verdict
from autodata.optimizer.loop import optimize
from tests.optimizer.context import RUN, optimization_context

TRAINING, VALIDATION, TEST = 50, 25, 100
ROUNDS = 4  # per document: enough to recover from one mishap, few enough to leave room
WANTED = 0.15


def climb(seed: int, iterations_wanted: int, editor: str, score: str) -> dict[str, Any]:
    """One optimization from scratch, in figures; scores are 0 … 1."""
    began = time.monotonic()
    with (
        tempfile.TemporaryDirectory() as folder,
        optimization_context(
            Path(folder),
            training=TRAINING,
            validation=VALIDATION,
            test=TEST,
            rounds=ROUNDS,
            seed=seed,
            editor=editor,
            iterations=iterations_wanted,
            minibatch=6,
            score=score,
        ) as context,
    ):
        asyncio.run(optimize(context))
        made, final = iterations(context.ledger, RUN), finals(context.ledger, RUN)
        calls = context.evaluator.models.budget_tracker.spent.calls
    start = next(f for f in final if f.number == 0)
    winner = next(f for f in final if f.place == 1)
    said = verdict(final)  # a start that no edit beat is not tested: gain 0
    return {
        "seed": seed,
        "start_test": (start.test_accepted or 0) / (start.test_decided or 1),
        "winner_test": (winner.test_accepted or 0) / (winner.test_decided or 1),
        "start_validation": start.score,
        "winner_validation": winner.score,
        "shown_when_kept": max((i.score or 0.0 for i in made if i.decision == "kept"), default=0),
        "gain": said.gain,
        "low": said.interval.low,
        "high": said.interval.high,
        "verdict": sentence(said),
        "validation_runs": fmean(costs(made[1:])) if made[1:] else 0.0,
        **{f: sum(i.decision == f for i in made) for f in ("kept", "rejected", "invalid")},
        "calls": calls,
        "seconds": round(time.monotonic() - began),
    }


def costs(made: list[Iteration]) -> list[int]:
    """Validation runs of each iteration; an evaluation of its parent counts when it is made."""
    known: dict[int | None, int] = {}
    found = []
    for i in made:
        before = known.get(i.parent, 1)
        known[i.parent] = max(before, i.parent_evaluations)
        found.append(i.tried + VALIDATION * (known[i.parent] - before))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="*", default=[1, 2, 3, 4, 5])
    parser.add_argument("--iterations", type=int, default=60)
    parser.add_argument("--editor", default="simulated", help="or simulated-idle")
    parser.add_argument("--score", default="certainty", help="or accepted")
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    asked = parser.parse_args()
    found = []
    for seed in asked.seeds:
        found.append(climb(seed, asked.iterations, asked.editor, asked.score))
        print(line(found[-1]), flush=True)
    gains = [one["gain"] for one in found]
    print(f"mean gain on sealed test documents: {fmean(gains):+.1%}")
    if asked.json:
        kept = {"editor": asked.editor, "score": asked.score, "runs": found}
        asked.json.parent.mkdir(parents=True, exist_ok=True)
        asked.json.write_text(json.dumps(kept, indent=1) + "\n")
    if asked.editor == "simulated":
        return int(min(gains) < WANTED)
    return int(any(one["low"] > 0 for one in found))


def line(one: dict[str, Any]) -> str:
    return (
        f"seed {one['seed']}: test {one['start_test']:.1%} → {one['winner_test']:.1%}, "
        f"{one['kept']} kept, {one['rejected']} rejected, {one['invalid']} invalid, "
        f"{one['validation_runs']:.1f} validation runs per iteration, {one['calls']:,} calls, "
        f"{one['seconds']} s\n        {one['verdict']}"
    )


if __name__ == "__main__":
    sys.exit(main())
