# /// script
# requires-python = ">=3.11"
# dependencies = ["datasets>=4.0", "torch>=2.6", "trl>=1.0"]
# ///
"""Supervised fine-tuning on an `sft` export: on the best strong answers, loss on the answer alone.

    autodata export RUN --format sft --test-share 0.1 -o answers.jsonl
    uv run training/sft.py answers-train.jsonl --test answers-test.jsonl --model Qwen/Qwen3.5-4B \
        --out student
    uv run training/sft.py --out student --resume                 # after a kill
    uv run training/sft.py answers.jsonl --model MODEL --out s --lr-sweep 3e-6 1e-5 3e-5 \
        --validation validation.jsonl --sweep-steps 20

Rows longer than --max-length are left out and counted, for of half an answer a student learns to
break off. A sweep chooses the rate by the loss on validation answers. Exit codes: 0 done, 2 wrong
use, 130 interrupted with a checkpoint.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from intervals import Figure, amount_of, grouped
from rows import (
    RowsError,
    document_of,
    passes,
    read_rows,
    refuse_overlap,
    shuffled,
)
from sessions import (
    RESULT,
    Settings,
    TrainingError,
    accumulation,
    add_training,
    chosen_rate,
    configured,
    ended,
    first_line,
    in_folder,
    keep,
    made,
    model_at,
    on_device,
    others_of,
    plain_log,
    positive,
    reports,
    settle,
    trained,
)

COLUMNS = ("messages",)
# Our own: the paper trains by reinforcement alone.
DEFAULTS: dict[str, Any] = {
    "batch": 16, "lr": 1e-5, "max_length": 4096, "micro_batch": 1, "seed": 0, "sweep_steps": 20,
    "device": "auto", "save_every": 25, "report_to": "none",
}  # fmt: skip
LOGGED = ("loss", "mean_token_accuracy", "grad_norm")
SHOWN = ("loss", "mean_token_accuracy")  # on the progress bar


def parser() -> argparse.ArgumentParser:
    """The command line."""
    assert __doc__ is not None
    found = argparse.ArgumentParser(
        "sft.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    found.add_argument("train", nargs="?", metavar="FILE", help="an sft export to train on")
    found.add_argument("--batch", type=positive, metavar="N", help="answers per step (default: 16)")
    found.add_argument(
        "--max-length",
        type=positive,
        metavar="TOKENS",
        help="of question and answer (default: 4096)",
    )
    add_training(found)
    return found


class Imitations:
    """Trainings on the answers of one file, each in a folder of its own."""

    def __init__(self, settings: Settings, out: Path) -> None:
        self.settings, self.out = settings, out
        train: Sequence[Mapping[str, Any]] = read_rows(Path(settings["train"]), COLUMNS, "sft")
        validation: Sequence[Mapping[str, Any]] = []
        if settings.get("validation"):
            validation = read_rows(Path(settings["validation"]), COLUMNS, "sft")
            refuse_overlap(train, validation, settings["validation"])
        for name in settings.get("test") or ():
            tests = read_rows(Path(name), (), "trl-grpo")  # any format: its documents are asked for
            refuse_overlap(train, tests, name)
            refuse_overlap(validation, tests, name)
        from transformers import AutoTokenizer  # takes seconds, which a mistake need not wait for

        try:
            self.tokenizer = AutoTokenizer.from_pretrained(model_at(settings["model"]))
        except (OSError, ValueError) as error:
            said = first_line(error)
            raise TrainingError(f"{settings['model']} cannot be loaded: {said}") from error
        if not self.tokenizer.chat_template:
            raise TrainingError(f"{settings['model']} has no chat template; name a model that has")
        whole = [row for row in train if self._fits(row)]
        self.validation = [row for row in validation if self._fits(row)]
        self.too_long = len(train) - len(whole)
        self.train = shuffled(whole, settings["seed"], settings.get("rows"))
        if len(self.train) < settings["batch"]:
            left = (
                f", {self.too_long} having more tokens than --max-length" if self.too_long else ""
            )
            raise RowsError(
                f"{len(self.train)} rows{left} are fewer than a batch of {settings['batch']}; "
                "lower --batch"
            )
        if validation and not self.validation:
            raise RowsError("no validation row has as few tokens as --max-length")
        self.steps = settings.get("steps") or len(self.train) // settings["batch"]

    def _fits(self, row: Mapping[str, Any]) -> bool:
        found = self.tokenizer.apply_chat_template(row["messages"], tokenize=True)
        ids = found["input_ids"] if isinstance(found, Mapping) else found
        return len(ids) <= int(self.settings["max_length"])

    def trainer(self, lr: float, steps: int, out: Path) -> Any:
        """TRL's trainer at this rate. Raises TrainingError."""
        from datasets import Dataset
        from torch.utils.data import SequentialSampler
        from transformers import set_seed
        from trl import SFTConfig, SFTTrainer

        class TrainerInOrder(SFTTrainer):  # type: ignore[misc, unused-ignore]
            """Takes the rows as they come: after a restart a shuffle would be another one."""

            def _get_train_sampler(self, *_: Any) -> Any:
                return SequentialSampler(self.train_dataset)

        its = self.settings
        set_seed(its["seed"])
        fields = {
            **on_device(its),
            "output_dir": str(out),
            "max_steps": steps,
            "learning_rate": lr,
            "lr_scheduler_type": "constant",  # so that steps can be added
            "per_device_train_batch_size": its["micro_batch"],
            "gradient_accumulation_steps": accumulation(its["batch"], its["micro_batch"]),
            "max_length": its["max_length"],
            "completion_only_loss": True,
            "seed": its["seed"],
            "logging_steps": 1,
            "save_steps": its["save_every"],
            "save_total_limit": 2,
            "report_to": reports(its),
            **others_of(its.get("config")),
        }
        order = passes(len(self.train), steps * its["batch"], its["seed"])
        validation = [_turns(row) for row in self.validation]
        return made(
            TrainerInOrder,
            its["model"],
            args=configured(SFTConfig, fields),
            train_dataset=Dataset.from_list([_turns(self.train[at]) for at in order]),
            eval_dataset=Dataset.from_list(validation) if validation else None,
        )

    def validated(self, trainer: Any) -> Figure:
        """The mean loss of a validation answer, per token: each answer counts once."""
        import torch

        trainer.model.eval()
        losses = []
        with torch.no_grad():
            for row, tokens in zip(self.validation, trainer.eval_dataset, strict=True):
                batch = trainer.data_collator([tokens])
                moved = {
                    name: value.to(trainer.model.device) if hasattr(value, "to") else value
                    for name, value in batch.items()
                }
                losses.append((document_of(row), float(trainer.model(**moved).loss)))
        trainer.model.train()
        return amount_of(grouped(losses))

    def measured(self, rate: float | None, out: Path) -> Figure:
        """What a rate comes to on the validation rows; the untrained model's loss without one."""
        trainer = self.trainer(rate or self.settings["lr"], self.settings["sweep_steps"], out)
        if rate is not None:
            trained(trainer, out, SHOWN)
        return self.validated(trainer)

    def rate(self) -> float:
        """The rate to train with: the one that is stated, or the best of a sweep."""
        if not self.settings.get("lr_sweep"):
            return float(self.settings["lr"])
        about = {
            "rows": len(self.validation),
            "documents": len({document_of(row) for row in self.validation}),
            "mean": "loss of an answer, per token",
        }
        return chosen_rate(self.out, self.settings, self.measured, float.__lt__, about)

    def run(self) -> None:
        """The sweep, if one is asked for, and the training; then the model and `result.json`."""
        lr = self.rate()
        trainer = self.trainer(lr, self.steps, self.out)
        trained(trainer, self.out, SHOWN)
        trainer.save_model(str(self.out / "model"))
        result = {
            "settings": {**self.settings, "lr": lr, "steps": self.steps},
            "rows": len(self.train),
            "too_long": self.too_long,
            "documents": len({document_of(row) for row in self.train}),
            "log": plain_log(trainer, LOGGED),
        }
        keep(self.out, RESULT, result)
        print(f"done: {self.out / 'model'}, {self.out / RESULT}", file=sys.stderr)


def _turns(row: Mapping[str, Any]) -> dict[str, Any]:
    """Question and answer apart, so that the loss is of the answer."""
    return {"prompt": row["messages"][:-1], "completion": row["messages"][-1:]}


def main(argv: Sequence[str] | None = None) -> int:
    """What the command line asks for, and the exit code."""
    parsed = parser().parse_args(argv)

    def work() -> None:
        settings = settle(parsed, DEFAULTS, {})
        if settings.get("lr_sweep") and not settings.get("validation"):
            raise TrainingError("--lr-sweep chooses by --validation FILE; name one")
        out = Path(parsed.out)
        imitations = Imitations(settings, out)
        with in_folder(out, settings):
            imitations.run()

    return ended(work, parsed.out)


if __name__ == "__main__":
    sys.exit(main())
