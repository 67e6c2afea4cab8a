"""The lab's choices that are made before anything is compared.

python benchmarks/lab.py rates RUN     # learning rates, on a student that takes no part
"""

import argparse
import os
from pathlib import Path
from random import Random

os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")

from importlib.resources import files

from results import report

from autodata.commands.lab import first_items, generators, looped
from autodata.lab.experiment import LAB_ARMS, LabSettings, arms_of, neutral
from autodata.lab.training import GrpoSettings, accuracy, grpo
from autodata.lab.transformer import read

APART = 5  # the student that takes no part
RATES = (1e-4, 3e-4, 1e-3)


def rates(out: Path) -> None:
    """Each arm at each rate: mean@3 on neutral questions that no test holds."""
    how = LabSettings()
    model = read(Path(str(files("autodata.lab"))) / "weights" / f"student-{APART}")
    documents = generators(how, APART)
    loops = looped(documents, out, how, APART)
    arms, _ = arms_of(how, first_items(documents), loops, Random("rates"))
    asked = neutral(Random("validation of rates"), 192, set())
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


if __name__ == "__main__":
    made = argparse.ArgumentParser()
    made.add_argument("what", choices=["rates"])
    made.add_argument("run", type=Path)
    rates(made.parse_args().run)
