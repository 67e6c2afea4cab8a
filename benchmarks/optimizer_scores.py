"""What an optimizer would be paid for: harnesses that make the gate noisier, and one that helps.

    python benchmarks/optimizer_scores.py  # 40 evaluations of 25 documents each
    python benchmarks/optimizer_scores.py --alarms 100  # as many sealed tests of an idle edit

Questions with declared true scores and drawn attempts, under the paper's gate. Beside the share
accepted and the share that truly passes: the mean certainty, the score (certainty from one half
on), and the share that passes the same thresholds on fresh attempts, with what those cost.
"""

import argparse
import random
import sys
from pathlib import Path
from statistics import fmean, stdev

sys.path.insert(0, str(Path(__file__).parents[1]))

from results import report

from autodata.tasks.measurement import LEVEL, exact_paired
from tests.optimizer.drawn import DOCUMENTS, Evaluation, World, evaluation, paired, passes

SAME = World(gap=0.0, gap_sd=0.0, weak_sd=0.0)
WORLDS = {
    "before": World(),
    "truly helps": World(gap=0.30),
    "three criteria": World(weights=(5,) * 3),
    "one criterion": World(weights=(5,)),
    "two of twelve criteria decide": World(weights=(10, 10, *[0.1] * 10)),
    "judges disagree": World(leniency=0.25),
    "identical solvers": SAME,
    "hardly apart": World(gap=0.05, weights=(5,) * 8),
    "identical solvers, one criterion": SAME._replace(weights=(5,)),
}
FRESH = (4, 8)  # attempts a side
TESTED = 100  # sealed documents
CALLS = 2  # of an attempt: solver and judge


def row(name: str, rounds: int, times: int) -> dict[str, object]:
    chance = random.Random(f"{name} {rounds}")
    found = [evaluation(WORLDS[name], chance, rounds) for _ in range(times)]
    score = [share(e.counting()) for e in found]
    calls = fmean(CALLS * 2 * len(e.accepted) for e in found)  # of one fresh attempt a side
    return {
        "rounds": rounds,
        "harness": name,
        "accepted": f"{fmean(share(len(e.accepted)) for e in found):.2f}",
        "truly pass": f"{fmean(share(sum(map(passes, e.true.values()))) for e in found):.2f}",
        "certainty": f"{fmean(share(e.counting(least=0.0)) for e in found):.2f}",
        "score": f"{fmean(score):.2f} ± {stdev(score):.2f}",
    } | {
        f"{n} fresh": f"{fmean(share(confirmed(e, name, n, chance)) for e in found):.2f}, "
        f"{n * calls:.0f} calls"
        for n in FRESH
    }


def share(documents: float) -> float:
    return documents / DOCUMENTS


def confirmed(found: Evaluation, name: str, number: int, chance: random.Random) -> int:
    """How many pass the thresholds on the means of so many fresh attempts a side."""
    return sum(
        passes(
            {
                side: fmean(WORLDS[name].attempt(score, chance) for _ in range(number))
                for side, score in true.items()
            }
        )
        for true in found.true.values()
    )


def alarms(name: str, times: int) -> dict[str, object]:
    """How often the exact paired test calls it a change when nothing has changed."""
    chance = random.Random(name)
    called = {"a prior each": 0, "one prior": 0}
    for _ in range(times):
        one, other = (evaluation(WORLDS[name], chance, 4, documents=TESTED) for _ in range(2))
        for how, ends in (
            ("a prior each", (one.confirmed(), other.confirmed())),
            ("one prior", (one.confirmed(other), other.confirmed(one))),
        ):
            called[how] += exact_paired(paired(*ends, TESTED)) < LEVEL
    return {"harness": name} | {how: f"{n} of {times}" for how, n in called.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=40)
    parser.add_argument("--alarms", type=int, metavar="TIMES", help="tests without a change")
    asked = parser.parse_args()
    if asked.alarms:
        names = ("before", "three criteria", "hardly apart")
        found = [alarms(name, asked.alarms) for name in names]
        return report("scoring_alarms", "A change where nothing has changed", found)
    rows = [row(name, rounds, asked.times) for rounds in (4, 12) for name in WORLDS]
    report("scoring", "What an optimizer would be paid for", rows)


if __name__ == "__main__":
    main()
