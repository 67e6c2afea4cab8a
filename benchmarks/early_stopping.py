"""What early stopping spares: calls and tokens per accepted example, and repeated prefixes.

    python benchmarks/early_stopping.py

The demo's documents on simulated models (seeded, so every attempt is the same however many are
made): all attempts of both sides; the weak gate alone (whole sides); attempts only while they can
change the decision. A round's objections may name partial means, and the orchestrator reads them,
so trajectories may part after a round; what must be identical is the decision on one and the same
round, which is recounted here over all recorded rounds of the full evaluation.
"""

import json
import sqlite3
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

from loop import RUN, demo_documents, run
from results import report

from autodata.graph.state import RunChoices
from autodata.ledger.calls import CallLog
from autodata.ledger.ledger import FILE, Ledger
from autodata.tasks import TASKS
from autodata.tasks.acceptance import Policy, next_batch, scores
from autodata.tasks.types import Attempt

MODES = {"all": "both sides in full", "parallel": "weak gate alone", "early": "early stopping"}
SIDES = ("weak_solver", "strong_solver", "judge")
CHARACTERS = 4  # per token, for prefixes
ROUNDS = 6


def main() -> None:
    rows, spared = [], []
    with tempfile.TemporaryDirectory() as folder:
        for task in ("cs", "science"):
            base = 0.0
            for mode, name in MODES.items():
                place = Path(folder) / task / mode
                row = measured(place, task, mode, name)
                base = base or row["calls per round that reached a solver"]
                row["of full"] = row["calls per round that reached a solver"] / base
                rows.append(row)
            spared.append(same_decisions(Path(folder) / task / "all", task))
        report("early_stopping", "Solver and judge calls", rows)
        report("decisions", "The recorded full rounds, decided again by early stopping", spared)
        shares = prefix_shares(Path(folder) / "cs" / "early")
        report("prefixes", "Share of input that repeats a prefix, from round 2 on (cs)", shares)


def measured(folder: Path, task: str, mode: str, name: str) -> dict[str, Any]:
    """One mode on the demo's documents."""
    choices = RunChoices.model_validate({"attempts": mode, "rounds": ROUNDS})
    batch, usages = run(folder, demo_documents(task), task, choices, seed=0)
    with sqlite3.connect(folder / FILE) as db:
        [[tried]] = db.execute("select count(distinct round_id) from attempts")
        [[tokens]] = db.execute(
            "select sum(input_tokens + output_tokens) from calls where role in (?, ?, ?)", SIDES
        )
    calls = sum(usages[role].calls for role in SIDES if role in usages)
    accepted = batch.accepted or 1
    return {
        "task and mode": f"{task}: {name}",
        "solver and judge calls": calls,
        "calls per round that reached a solver": calls / tried,
        "calls per accepted example": calls / accepted,
        "their tokens per accepted example": tokens // accepted,
        "accepted": batch.accepted,
    }


def same_decisions(folder: Path, task: str) -> dict[str, Any]:
    """Replays every fully evaluated round: which attempts early stopping would have asked for."""
    known = TASKS[task]
    policy = known.policy(RunChoices(), known.weak_attempts, known.strong_attempts)
    full = early = rounds = same = gated = 0
    with Ledger.open(folder) as ledger:
        for document_id in ledger.document_ids():
            for played in ledger.rounds(RUN, document_id):
                if not played.weak or not played.strong:
                    continue
                weak, strong = asked(policy, played.weak, played.strong)
                cut = played.model_copy(update={"weak": weak, "strong": strong})
                same += bool(policy.objections(cut)) == bool(policy.objections(played))
                rounds += 1
                full += len(played.weak) + len(played.strong)
                early += len(weak) + len(strong)
                weak_failed = bool(policy.weak_objections(played.weak))
                gated += len(played.weak) + (0 if weak_failed else len(played.strong))
    return {
        "task": task,
        "rounds": rounds,
        "same decision": same,
        "attempts in full": full,
        "with the weak gate alone": gated,
        "with early stopping": early,
        "fewer than full": 1 - early / full,
    }


def asked(
    policy: Policy, weak: tuple[Attempt, ...], strong: tuple[Attempt, ...]
) -> tuple[tuple[Attempt, ...], tuple[Attempt, ...]]:
    """The attempts that would have been made, of those that were."""
    made = 0
    while size := next_batch(policy.weak_settled, scores(weak[:made]), len(weak)):
        made += size
    weak = weak[:made]
    if policy.weak_objections(weak):
        return weak, ()
    given, made = scores(weak), 0

    def settled(so_far: Any) -> bool:
        return policy.strong_settled(given, so_far)

    while size := next_batch(settled, scores(strong[:made]), len(strong)):
        made += size
    return weak, strong[:made]


def prefix_shares(folder: Path) -> list[dict[str, Any]]:
    """Per role: how much of each input, from a document's second round on, repeats the beginning
    of an earlier input of the same role and document (solvers and judge: of any earlier one)."""
    log = CallLog(folder / FILE)
    with sqlite3.connect(folder / FILE) as db:
        calls = db.execute("select id, scope, role from calls order by id").fetchall()
    earlier: dict[tuple[str, str], list[str]] = defaultdict(list)
    rounds: dict[str, int] = defaultdict(int)
    total: dict[str, int] = defaultdict(int)
    repeated: dict[str, int] = defaultdict(int)
    for call_id, scope, role in calls:
        rounds[scope] += role == "challenger"
        text = json.dumps(log.request(call_id), ensure_ascii=False)
        known = earlier[scope, role]
        if rounds[scope] >= 2:
            total[role] += len(text)
            repeated[role] += max((common(text, other) for other in known), default=0)
        known.append(text)
    log.close()
    rows = [
        {
            "role": role,
            "tokens": total[role] // CHARACTERS,
            "repeated": repeated[role] / total[role],
        }
        for role in sorted(total)
    ]
    everything = sum(total.values())
    share = sum(repeated.values()) / everything
    return [*rows, {"role": "all", "tokens": everything // CHARACTERS, "repeated": share}]


def common(text: str, other: str) -> int:
    """Length of the common beginning."""
    low, high = 0, min(len(text), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if text[:middle] == other[:middle] else (low, middle - 1)
    return low


if __name__ == "__main__":
    main()
