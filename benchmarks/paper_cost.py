"""What the paper's tables would cost: calls and tokens of our own runs, laid out for its sizes.

    python benchmarks/paper_cost.py --cs RUN --legal RUN --science RUN --one-shot RUN

Each RUN is a finished run of that task (the last a baseline of cs). Of each the calls and tokens of
every role per accepted example are taken, multiplied by the paper's numbers, and priced by PRICES.
Simulated models answer in fewer words than real ones, most of all than those that reason: `--wordy`
multiplies what they write. One run each, so that no interval can be told of.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))

from results import report

from autodata.ledger.ledger import Ledger

# US dollars per million tokens, in and out: list prices of gpt-5-mini, and of gpt-5 for the strong
# solver, in August 2025. The weak solver is the student, on a machine of one's own.
CHEAP, DEAR, OWN = (0.25, 2.0), (1.25, 10.0), (0.0, 0.0)
PRICES = {"strong_solver": DEAR, "weak_solver": OWN, "student": OWN}

# The paper (section 3): examples to train on, held out of each source, answers per test question.
# Of science it states no size; it is taken as that of CS.
SIZES = {"cs": (1300, 100, 3), "legal": (2800, 100, 3), "science": (1300, 100, 8)}
ROLLOUTS = 8  # per question and pass: the paper's for legal
MODELS = 3  # that are evaluated: untrained, one-shot, agentic
TESTS = 2


class RoleCost(NamedTuple):
    """Calls and tokens of a role."""

    role: str
    calls: float
    tokens_in: float
    tokens_out: float

    def times(self, factor: float) -> "RoleCost":
        return RoleCost(self.role, *(factor * value for value in self[1:]))


class MeasuredRun(NamedTuple):
    """What a run used by role, the examples that it made, and the attempts that it made them by."""

    roles: dict[str, RoleCost]
    examples: int

    @classmethod
    def of(cls, folder: Path) -> "MeasuredRun":
        with Ledger.open(folder, create=False) as ledger:
            run = next(run for run in ledger.runs() if run.kind == "documents")
            rows = ledger.query(
                "select role, count(*) as calls, sum(input_tokens) as given, sum(output_tokens)"
                " as said from calls where scope not like '%/fresh' group by role"
            )
            roles = {
                row["role"]: RoleCost(row["role"], row["calls"], row["given"], row["said"])
                for row in rows
            }
            return cls(roles, sum(1 for _ in ledger.examples(run.id)))

    def making(self, examples: int) -> list[RoleCost]:
        return [cost.times(examples / self.examples) for cost in self.roles.values()]

    def answering(self, answers: int) -> list[RoleCost]:
        """So many answers of a student, and the judge's calls that they take."""
        sides = [self.roles["weak_solver"], self.roles["strong_solver"]]
        attempts = sum(side.calls for side in sides)
        student = RoleCost("student", *(sum(values) for values in zip(*(s[1:] for s in sides))))  # noqa: B905
        judged = self.roles.get("judge", RoleCost("judge", 0, 0, 0))
        return [each.times(answers / attempts) for each in (student, judged)]


def costs(runs: dict[str, MeasuredRun], one_shot: MeasuredRun, wordy: float) -> Iterator[Any]:
    for task, run in runs.items():
        rows, held_out, attempts = SIZES[task]
        parts = {"make, agentic": run.making(rows + held_out)}
        if task == "cs":
            parts["make, one-shot"] = one_shot.making(rows + held_out)
        parts[f"train one arm once, {ROLLOUTS} rollouts"] = run.answering(rows * ROLLOUTS)
        parts[f"evaluate {MODELS} models, {TESTS} tests"] = run.answering(
            MODELS * TESTS * held_out * attempts
        )
        for part, used in parts.items():
            said = [each.tokens_out * wordy for each in used]
            usd = sum(
                (each.tokens_in * price[0] + out * price[1]) / 1e6
                for each, out in zip(used, said, strict=True)
                for price in [PRICES.get(each.role, CHEAP)]
            )
            yield {
                "table": task, "part": part, "calls": f"{sum(u.calls for u in used):,.0f}",
                "million tokens in": round(sum(u.tokens_in for u in used) / 1e6, 1),
                "out": round(sum(said) / 1e6, 1), "USD": f"{usd:,.0f}",
            }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for task in (*SIZES, "one-shot"):
        parser.add_argument(f"--{task}", type=Path, required=True, metavar="RUN")
    parser.add_argument("--wordy", type=float, default=1.0, metavar="FACTOR")
    options = parser.parse_args()
    runs = {task: MeasuredRun.of(getattr(options, task)) for task in SIZES}
    one_shot = MeasuredRun.of(options.one_shot)
    found = list(costs(runs, one_shot, options.wordy))
    examples = {task: run.examples for task, run in runs.items()} | {"one-shot": one_shot.examples}
    report("paper_cost", "What the paper's tables would cost", found, wordy=options.wordy,
           examples_measured=examples, prices={"strong": DEAR, "others": CHEAP})  # fmt: skip


if __name__ == "__main__":
    main()
