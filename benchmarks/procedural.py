"""Procedural runs by the position of the dial: what was accepted where, and what failed by form.

python benchmarks/procedural.py generators DOCS --families sums largest --seeds 12
autodata run DOCS --task procedural --out RUN --config autodata.yaml
python benchmarks/procedural.py positions RUN
"""

import argparse
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from results import report

from autodata.ledger.ledger import Ledger
from autodata.tasks.item_families import ITEM_FAMILIES
from autodata.tasks.types import Attempt, Candidate, Round


def generators(folder: Path, families: Sequence[str], seeds: int, setting: int) -> None:
    """Writes a generator for each seed and family, the families taking turns."""
    folder.mkdir(parents=True, exist_ok=True)
    turns = [(family, seed) for seed in range(seeds) for family in families]
    for number, (family, seed) in enumerate(turns, 1):
        about = f"about: items of the family {family}, for a run with a small real model"
        text = f"{about}\nfamily: {family}\nsetting: {setting}\nseed: {100 + seed}\n"
        (folder / f"{number:02}-{family}.txt").write_text(text, encoding="utf-8")


def positions(run: Path) -> None:
    """Prints one row for each family and position of its dial."""
    found: dict[tuple[str, str], list[Round]] = defaultdict(list)
    with Ledger.open(run, create=False) as ledger:
        name = ledger.run().id
        for document in ledger.document_ids():
            for round in ledger.rounds(name, document):
                if round.candidate:
                    found[round.candidate.question_type, _position(round.candidate)].append(round)
    rows = [_row(family, at, rounds) for (family, at), rounds in sorted(found.items())]
    report("procedural", f"{name} by the position of the dial", rows, run=name)


def _position(candidate: Candidate) -> str:
    return candidate.angle.split()[1]  # as the procedure words it: “setting 1 of 5 …”


def _row(family: str, at: str, rounds: Sequence[Round]) -> dict[str, Any]:
    weak = [attempt for round in rounds for attempt in round.weak]
    strong = [attempt for round in rounds for attempt in round.strong]
    formless = sum(a.format_error or a.truncated for a in (*weak, *strong))
    return {
        "family": family,
        "dial": at,
        "rounds": len(rounds),
        "accepted": sum(round.decision == "accepted" for round in rounds),
        "weak right": _right(weak),
        "strong right": _right(strong),
        "by form": f"{formless} of {len(weak) + len(strong)}",
    }


def _right(attempts: Sequence[Attempt]) -> str:
    return f"{sum(a.score == 1 for a in attempts)} of {len(attempts)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    made = commands.add_parser("generators")
    made.add_argument("folder", type=Path)
    made.add_argument("--families", nargs="+", default=list(ITEM_FAMILIES))
    made.add_argument("--seeds", type=int, default=4)
    made.add_argument("--setting", type=int, default=1)
    shown = commands.add_parser("positions")
    shown.add_argument("run", type=Path)
    given = parser.parse_args()
    if given.command == "generators":
        generators(given.folder, given.families, given.seeds, given.setting)
    else:
        positions(given.run)


if __name__ == "__main__":
    main()
