"""The lab's choices that are made before anything is compared, and the lab held against others.

python benchmarks/lab.py rates RUN     # learning rates, on a student that takes no part
python benchmarks/lab.py trl LAB --python PYTHON    # its arms again, by TRL (training/grpo.py)
python benchmarks/lab.py same-rate LAB    # one-shot and paper once more, both at each of two rates
python benchmarks/lab.py seeds LAB LAB...    # finished labs of several seeds, taken together
"""

import argparse
import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from random import Random
from statistics import fmean

os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")

from results import report

from autodata import api
from autodata.commands.lab import (
    RESULTS,
    SETTINGS,
    WEIGHTS,
    kept_result,
    looped,
)
from autodata.lab.experiment import (
    LAB_ARMS,
    ONE_SHOT,
    TESTS,
    LabSettings,
    arms_of,
    distinct,
    first_items,
    generators,
    mean_of,
    score,
)
from autodata.lab.page import said
from autodata.lab.training import LEVELS, Chain, GrpoSettings, accuracy, grpo
from autodata.lab.transformer import read

APART = 5  # the student that takes no part
RATES = (1e-4, 3e-4, 1e-3)
AGAINST = (("paper", "length-matched"), ("paper", "equal time"), ("measured", "paper"))


def rates(out: Path) -> None:
    """Each arm at each rate: mean@3 on neutral questions that no test holds."""
    how = LabSettings()
    model = read(WEIGHTS / f"student-{APART}")
    documents = generators(how, APART)
    loops = looped(documents, out, how, APART)
    arms, _ = arms_of(how, first_items(documents), loops, Random("rates"))
    asked = distinct(Random("validation of rates"), LEVELS, 192, set())
    rows = []
    for arm in LAB_ARMS:
        row: dict[str, object] = {"arm": arm}
        for rate in RATES:
            trained, _ = grpo(model, arms[arm], GrpoSettings(rate), how.steps, seed=1)
            row[f"{rate:g}"] = f"{accuracy(trained, asked, 3, 2).right.mean():.3f}"
        rows.append(row)
        print(row, flush=True)
    untrained = accuracy(model, asked, 3, 2).right.mean()
    report("lab-rates", f"mean@3 on neutral questions, untrained {untrained:.3f}", rows)


def same_rate(lab: Path) -> None:
    """One-shot and `paper` of each student at one rate, for each of the rates that were chosen."""
    how = _settings(lab)
    found: dict[float, dict[str, list[float]]] = {}
    for number in range(how.students):
        model, (arms, tests) = read(WEIGHTS / f"student-{number}"), _again(lab, how, number)
        for rate in sorted({*how.rates.values()}):
            after = {
                arm: grpo(model, arms[arm], GrpoSettings(rate), how.steps, how.seed + 1)[0]
                for arm in (ONE_SHOT, "paper")
            }
            for test, items in tests.items():
                right = [
                    accuracy(trained, items, how.attempts, how.seed + 2).right.mean()
                    for trained in after.values()
                ]
                found.setdefault(rate, {}).setdefault(test, []).append(float(right[1] - right[0]))
    rows = []
    for rate, by_test in found.items():
        told = {test: mean_of(values) for test, values in by_test.items()}
        row = {
            test: f"{said(one, signed=True)}, {one.above} of {one.students}"
            for test, one in told.items()
        }
        rows.append({"both at": f"{rate:g}"} | row)
    report("lab-same-rate", f"paper less one-shot, seed {how.seed}", rows)


def _settings(lab: Path) -> LabSettings:
    return LabSettings(**json.loads((lab / SETTINGS).read_text(encoding="utf-8")))


def _again(
    lab: Path, how: LabSettings, number: int
) -> tuple[dict[str, list[Chain]], dict[str, list[Chain]]]:
    """The arms and tests of a student of a finished lab."""
    kept, draw = kept_result(lab / RESULTS.format(number)), Random(f"arms {how.seed} {number}")
    return arms_of(how, first_items(generators(how, number)), kept.loops, draw)


def trl(lab: Path, python: str) -> None:
    """One-shot and `paper` of each student by TRL's trainer: the same rows, steps and rates.

    `python` is an interpreter that has what training/grpo.py names. Scores are those of the lab's
    own tests; the difference is `paper` less one-shot.
    """
    how, rows = _settings(lab), []
    for number in range(how.students):
        kept, (arms, tests) = kept_result(lab / RESULTS.format(number)), _again(lab, how, number)
        row: dict[str, object] = {"student": number}
        for arm in ("one-shot", "paper"):
            out = lab / "trl" / f"{number}-{arm}"
            if not (out / "model").is_dir():
                file = _exported(lab, number, arms[arm], out.with_suffix(".jsonl"))
                words = [python, "training/grpo.py", str(file), "--out", str(out)]
                words += ["--model", str(WEIGHTS / f"student-{number}"), "--reward", "exact"]
                words += ["--preset", "procedural", "--batch", "12", "--rollouts", "8"]
                words += ["--steps", str(how.steps), "--lr", str(how.rates[arm])]
                words += ["--max-completion", "52", "--device", "cpu"]
                subprocess.run(words, check=True)
            trained = read(out / "model")
            for test, items in tests.items():
                right = accuracy(trained, items, how.attempts, how.seed + 2).right.mean()
                row[f"{arm}, {test}: TRL"] = f"{right:.3f}"
                row[f"{arm}, {test}: lab"] = f"{score(kept, arm, test):.3f}"
        rows.append(row)
        print(row, flush=True)
    report("lab-trl", "mean@3 after TRL's trainer and after the lab's own", rows)


def seeds(labs: Sequence[Path]) -> None:
    """Differences between arms over labs of several seeds; the student is the unit, as in one."""
    how = LabSettings()
    told = [json.loads((lab / SETTINGS).read_text())["seed"] for lab in labs]
    if len({*told}) < len(told):
        raise SystemExit(f"labs of different seeds are taken together, and these are of {told}")
    kept = [
        [kept_result(lab / RESULTS.format(number)) for lab in labs]
        for number in range(how.students)
    ]
    rows = []
    for arm, other in (*((arm, ONE_SHOT) for arm in LAB_ARMS if arm != ONE_SHOT), *AGAINST):
        row = {"arm": f"{arm} less {other}"}
        for test in TESTS:
            apart = [[score(r, arm, test) - score(r, other, test) for r in of] for of in kept]
            found = mean_of([fmean(values) for values in apart])
            every = sum(value > 0 for values in apart for value in values)
            row[test] = (
                f"{said(found, signed=True)}, {found.above} of {found.students} students, "
                f"{every} of {len(apart) * len(labs)} trainings"
            )
        rows.append(row)
    report("lab-seeds", f"differences over the seeds {told}, by student", rows)


def _exported(lab: Path, number: int, items: Sequence[Chain], file: Path) -> Path:
    """Questions as rows of a `trl-grpo` export, each a document of its own."""
    file.parent.mkdir(exist_ok=True)
    api.open(lab / f"student-{number}" / "paper").export("trl-grpo", file)
    like = json.loads(file.read_text(encoding="utf-8").splitlines()[0])
    asked = like["question"]
    with file.open("w", encoding="utf-8") as to:
        for n, item in enumerate(items):
            row = json.loads(json.dumps(like).replace(asked, item.question))
            row |= {"reference_answer": item.answer}
            row["meta"] |= {"document_id": f"{number}-{n}"}
            to.write(json.dumps(row) + "\n")
    return file


if __name__ == "__main__":
    made = argparse.ArgumentParser()
    made.add_argument("what", choices=["rates", "same-rate", "trl", "seeds"])
    made.add_argument("run", type=Path, nargs="+")
    made.add_argument("--python", default="python", help="an interpreter that has TRL")
    given = made.parse_args()
    if given.what == "seeds":
        seeds(given.run)
    elif given.what == "rates":
        rates(*given.run)
    elif given.what == "same-rate":
        same_rate(*given.run)
    else:
        trl(*given.run, given.python)
