"""What the training scripts share: settings laid over presets, a folder that a training goes on
from, and how one ends."""

import argparse
import fcntl
import hashlib
import json
import math
import os
import random
import re
import shutil
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from intervals import Figure
from rows import RowsError

DONE, WRONG_USE, PAUSED, INTERRUPTED = 0, 2, 3, 130  # exit codes
SETTINGS, RESULT, SWEEP = "settings.json", "result.json", "sweep.json"
UNTRAINED = "untrained"

# What may change when a training goes on: it shapes nothing that was learnt so far.
FREE = frozenset(
    {"steps", "device", "save_every", "report_to", "vllm", "judge_url", "judge_key_env",
     "judge_concurrency", "judge_calls", "judge_give_up"}
)  # fmt: skip

Settings = dict[str, Any]


class TrainingError(ValueError):
    """It cannot be trained so: the message says why, and what to do."""


class TrainingPaused(Exception):
    """It cannot go on now: the message says why. What was learnt is in a checkpoint."""


class TrainingInterrupted(Exception):
    """Ctrl-C came; the step under way was ended, and a checkpoint holds it."""


def positive(text: str) -> int:
    """A number from 1 that a flag states. Raises ArgumentTypeError."""
    if (number := natural(text)) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number from 1")
    return number


def natural(text: str) -> int:
    """A number from 0 that a flag states. Raises ArgumentTypeError."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text} is not a whole number from 0")
    return int(text)


def rate(text: str) -> float:
    """A learning rate that a flag states. Raises ArgumentTypeError."""
    if not (math.isfinite(found := float(text)) and found > 0):
        raise argparse.ArgumentTypeError(f"{text} is no rate above 0")
    return found


def add_training(parser: argparse.ArgumentParser) -> None:
    """The flags of every training."""
    group = parser.add_argument_group("training")
    group.add_argument("--model", metavar="NAME", help="a folder, or a name on the Hub")
    group.add_argument("--out", metavar="DIR", required=True, help="checkpoints, model and result")
    group.add_argument("--resume", action="store_true", help="go on from the last checkpoint")
    group.add_argument(
        "--steps", type=positive, metavar="N", help="optimizer steps (default: one pass)"
    )
    group.add_argument("--lr", type=rate, metavar="RATE", help="learning rate, constant")
    group.add_argument(
        "--micro-batch", type=positive, metavar="N", help="sequences at once on a device"
    )
    group.add_argument("--rows", type=positive, metavar="N", help="so many rows, after shuffling")
    group.add_argument(
        "--seed", type=natural, metavar="N", help="of data order and draws (default: 0)"
    )
    group.add_argument(
        "--test", action="append", metavar="FILE",
        help="a file to be tested on: refused where it shares documents or questions",
    )  # fmt: skip
    group.add_argument("--validation", metavar="FILE", help="a file that chooses the rate")
    group.add_argument(
        "--lr-sweep", type=rate, nargs="+", metavar="RATE",
        help="train each rate, and choose by --validation",
    )  # fmt: skip
    group.add_argument(
        "--sweep-steps", type=positive, metavar="N", help="steps per rate (default: 20)"
    )
    group.add_argument(
        "--device", choices=("auto", "cpu", "cuda"),
        help="cuda means bf16 and, where it is installed, vLLM (default: auto)",
    )  # fmt: skip
    group.add_argument(
        "--save-every", type=positive, metavar="N", help="steps between checkpoints (default: 25)"
    )
    group.add_argument(
        "--report-to", metavar="NAME", help="tensorboard, wandb or none (default: none)"
    )
    group.add_argument(
        "--config", action="append", metavar="KEY=VALUE",
        help="any other field of the trainer's configuration, the value as JSON or a word",
    )  # fmt: skip


def settle(
    parsed: argparse.Namespace,
    defaults: Mapping[str, Any],
    presets: Mapping[str, Mapping[str, Any]],
) -> Settings:
    """Defaults, the preset over them, then what a training here was begun with, then the flags.

    Raises TrainingError where the folder holds a training and nobody says that it shall go on,
    where a flag says otherwise than it was begun, where more steps are done already than it shall
    have, and where the training file has changed.
    """
    given = {
        name: value
        for name, value in vars(parsed).items()
        if value is not None and value is not False  # a 0 is stated
    }
    out, resume = Path(given.pop("out")), bool(given.pop("resume", False))
    kept = out / SETTINGS
    begun: Settings = {}
    if kept.is_file() and (resume or _leads()):
        if not resume:
            raise TrainingError(
                f"{out} holds a training: --resume goes on with it, another --out begins anew"
            )
        begun = _begun(kept)
        others = [
            f"--{name.replace('_', '-')} was {begun.get(name)}, and is {value} now"
            for name, value in given.items()
            if name not in FREE and begun.get(name) != value
        ]
        done = int((last_checkpoint(out) or "-0").rpartition("-")[2])
        if done > given.get("steps", done):
            raise TrainingError(f"{done} steps are done in {out}; --steps {given['steps']} is less")
        if others:
            raise TrainingError(
                f"{out} was begun otherwise: {'; '.join(others)}; name another --out"
            )
    preset = given.get("preset") or begun.get("preset") or defaults.get("preset")
    settings = {**defaults, **presets.get(preset or "", {}), **begun, **given}
    for name in ("train", "model"):
        if not settings.get(name):
            what = "a file to train on" if name == "train" else "--model"
            raise TrainingError(f"name {what}")
    digest = digest_of(Path(settings["train"]))
    if begun and begun["train_sha256"] != digest:
        raise TrainingError(f"{settings['train']} has changed since; name another --out")
    return {**settings, "train_sha256": digest}


def _leads() -> bool:
    """Whether this is the first process of a training. The others write nothing of their own, and
    may find what it has written."""
    return os.environ.get("RANK", "0") == "0"


def _begun(kept: Path) -> Settings:
    try:
        found = json.loads(kept.read_text(encoding="utf-8"))
        if isinstance(found, dict) and "train_sha256" in found:
            return found
    except (OSError, ValueError):
        pass
    raise TrainingError(f"{kept} is not what a training was begun with; name another --out")


@contextmanager
def in_folder(out: Path, settings: Settings) -> Iterator[None]:
    """The folder for this training alone, with what it was begun with. Where it turns out that it
    cannot be trained so before anything was learnt, the folder is free again. Raises TrainingError.
    """
    first = _leads() and not (out / SETTINGS).exists()
    try:
        out.mkdir(parents=True, exist_ok=True)
        lock = (out / ".lock").open("w")
    except OSError as error:
        raise TrainingError(f"nothing can be kept in --out {out}: {error}") from error
    with lock:
        try:
            if _leads():
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise TrainingError(
                f"another training writes to {out}; wait for it, or name another --out"
            ) from error
        if _leads():
            keep(out, SETTINGS, settings)
        try:
            yield
        except (TrainingError, RowsError):
            if first and not last_checkpoint(out) and not (out / SWEEP).exists():
                (out / SETTINGS).unlink(missing_ok=True)
            raise


def digest_of(path: Path) -> str:
    """The SHA-256 of a file. Raises RowsError where there is none."""
    if not path.is_file():
        raise RowsError(f"there is no file {path}")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def keep(out: Path, name: str, what: Mapping[str, Any]) -> None:
    """Writes JSON into the folder, whole or not at all."""
    out.mkdir(parents=True, exist_ok=True)
    draft = out / f".{name}.draft"
    draft.write_text(json.dumps(what, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    draft.replace(out / name)


def last_checkpoint(out: Path) -> str | None:
    """The newest checkpoint that is whole: its trainer's state is what is written last."""
    found = [
        (int(match[1]), path)
        for path in out.glob("checkpoint-*")
        if (match := re.fullmatch(r"checkpoint-(\d+)", path.name))
        and (path / "trainer_state.json").is_file()
        and _is_json(path / "trainer_state.json")
    ]
    return str(max(found)[1]) if found else None


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return False
    return True


def on_device(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What the trainer's configuration says of the device: bf16 on a GPU, 32 bits elsewhere.

    Weights stay in 32 bits on both, since at rates as small as 1e-6 bf16 would round most of an
    update away. Raises TrainingError where a GPU is asked for and there is none.
    """
    import torch

    there = torch.cuda.is_available()
    if settings["device"] == "cuda" and not there:
        raise TrainingError("--device cuda, and torch sees no GPU; --device cpu, or auto")
    gpu = there and settings["device"] != "cpu"
    if gpu and not torch.cuda.is_bf16_supported():
        raise TrainingError("this GPU has no bf16; --device cpu, or --config with fp16=true")
    return {
        "use_cpu": not gpu,
        "bf16": gpu,
        "gradient_checkpointing": gpu,
        "model_init_kwargs": {"dtype": "float32"},
    }


def reports(settings: Mapping[str, Any]) -> str:
    """Whom the trainer tells how it goes. Raises TrainingError where that is not installed."""
    name = str(settings["report_to"])
    if name != "none" and not find_spec(name):
        raise TrainingError(f"--report-to {name}, which is not installed: `uv run --with {name} …`")
    return name


def made(trainer: Callable[..., Any], model: str, **given: Any) -> Any:
    """The trainer of a model. Raises TrainingError where that cannot be loaded, or cannot chat."""
    from safetensors import SafetensorError

    try:
        found = trainer(model_at(model), **given)
    except (OSError, ValueError, SafetensorError) as error:
        raise TrainingError(f"{model} cannot be loaded: {first_line(error)}") from error
    if not found.processing_class.chat_template:
        raise TrainingError(f"{model} has no chat template; name a model that was taught to chat")
    return found


def first_line(error: Exception) -> str:
    """What an error says first."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def has_vllm(settings: Mapping[str, Any], device: Mapping[str, Any]) -> bool:
    """Whether vLLM makes the rollouts: on a GPU, where it is installed and not switched off."""
    return bool(device["bf16"] and settings["vllm"] != "off" and find_spec("vllm"))


def accumulation(sequences: int, micro: int) -> int:
    """How many micro-batches of each device make a step. Raises TrainingError."""
    at_once = micro * int(os.environ.get("WORLD_SIZE", "1"))
    if sequences % at_once:
        raise TrainingError(
            f"a step has {sequences} sequences, which do not divide into micro-batches of {at_once}"
            "; change --micro-batch"
        )
    return sequences // at_once


def others_of(stated: Iterable[str] | None) -> dict[str, Any]:
    """The fields that `--config` states. Raises TrainingError."""
    found = {}
    for each in stated or ():
        name, equals, value = each.partition("=")
        if not equals:
            raise TrainingError(f"--config {each}: say KEY=VALUE, such as optim=adamw_8bit")
        try:
            found[name] = json.loads(value)
        except json.JSONDecodeError:
            found[name] = value
    return found


def configured(configuration: Callable[..., Any], fields: Mapping[str, Any]) -> Any:
    """The trainer's configuration. Raises TrainingError where `--config` names an unknown field, or
    the fields do not go together."""
    try:
        return configuration(**fields)
    except (TypeError, ValueError) as error:
        raise TrainingError(f"the trainer's configuration: {error}") from error


def trained(trainer: Any, out: Path, shown: Sequence[str]) -> None:
    """Trains, from the last whole checkpoint if there is one, to the last step; the progress bar
    tells what is logged under the names `shown`.

    When it cannot go on, and on Ctrl-C, a checkpoint is kept first. Raises TrainingPaused,
    TrainingInterrupted.
    """
    from transformers import TrainerCallback
    from transformers.trainer_callback import ProgressCallback

    asked: list[int] = []
    drawn: list[Callable[[], None]] = []

    class ProgressInWords(ProgressCallback):  # type: ignore[misc, unused-ignore]
        """The bar of steps, which says how it goes instead of printing all that is logged."""

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            if self.training_bar is not None and logs:
                told = {name: f"{logs[name]:.3g}" for name in shown if logs.get(name) is not None}
                self.training_bar.set_postfix(told)

    class StopsWhenAsked(TrainerCallback):  # type: ignore[misc, unused-ignore]
        """Ends a training after the step under way, and remembers where its draws began."""

        def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            drawn[:] = [_draws()]

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if asked:
                control.should_save = control.should_training_stop = True

    def interrupted(number: int, _: Any) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)
        print("\ninterrupted: this step is ended and kept; again to leave at once", file=sys.stderr)

    trainer.remove_callback(ProgressCallback)
    trainer.add_callback(ProgressInWords())
    trainer.add_callback(StopsWhenAsked())
    checkpoint = last_checkpoint(out)
    before = signal.signal(signal.SIGINT, interrupted)
    try:
        trainer.train(resume_from_checkpoint=checkpoint)
    except TrainingPaused:
        # Nothing was learnt since the last step: this is what it had come to. The step under way
        # will be drawn again as it was, for some of its answers are paid for.
        step = trainer.state.global_step
        if step and last_checkpoint(out) != str(out / f"checkpoint-{step}"):
            for drawn_anew in drawn:
                drawn_anew()
            trainer._save_checkpoint(trainer.model, trial=None)
        raise
    finally:
        signal.signal(signal.SIGINT, before)
    if asked and trainer.state.global_step < trainer.args.max_steps:
        raise TrainingInterrupted


def _draws() -> Callable[[], None]:
    """Puts all draws back to where they are now."""
    import numpy
    import torch

    ours, its, theirs = random.getstate(), numpy.random.get_state(), torch.get_rng_state()
    gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []

    def back() -> None:
        random.setstate(ours)
        numpy.random.set_state(its)
        torch.set_rng_state(theirs)
        for number, state in enumerate(gpus):
            torch.cuda.set_rng_state(state, number)

    return back


def chosen_rate(
    out: Path,
    settings: Settings,
    measured: Callable[[float | None, Path], Figure],
    better: Callable[[float, float], bool],
    about: Mapping[str, Any],
) -> float:
    """The rate that does best on validation rows, each trained for `sweep_steps` steps.

    `measured` trains a rate in a folder (None: not at all) and says what it comes to. What is known
    of each stands in `sweep.json` at once, so that nothing is done twice; the untrained model's is
    always among it.
    """
    kept = out / SWEEP
    scores: dict[str, Any] = json.loads(kept.read_text())["scores"] if kept.is_file() else {}
    rates: dict[str, float] = {f"{rate:g}": rate for rate in settings["lr_sweep"]}
    for name, rate in ((UNTRAINED, None), *rates.items()):
        if name not in scores:
            print(f"learning rate {name}", file=sys.stderr)
            place = out / "sweep" / name
            mean, low, high = map(_number, measured(rate, place))
            scores[name] = {"mean": mean, "low": low, "high": high}
            keep(out, SWEEP, {"scores": scores})
            shutil.rmtree(place, ignore_errors=True)
    best = next(iter(rates))
    for name in rates:
        its, most = scores[name]["mean"], scores[best]["mean"]
        if its is not None and (most is None or better(its, most)):
            best = name
    if scores[best]["mean"] is None:
        raise TrainingError("no rate of --lr-sweep came to a number; take smaller ones")
    told = {
        "scores": scores, "chosen": rates[best], "steps": settings["sweep_steps"], **about,
        "interval": "95 %, by document; the best of several is flattered by the choice",
    }  # fmt: skip
    keep(out, SWEEP, told)
    for name, score in scores.items():
        known = score["low"] is not None
        within = f"{score['low']:.3f} … {score['high']:.3f}" if known else "no interval: 1 document"
        mark = " (chosen)" if name == best else ""
        shown = (
            f"{score['mean']:.3f}  ({within}){mark}" if score["mean"] is not None else "no number"
        )
        print(f"{name:>10}  {shown}", file=sys.stderr)
    if not better(scores[best]["mean"], scores[UNTRAINED]["mean"]):
        print("warning: no rate does better than the untrained model", file=sys.stderr)
    return rates[best]


def plain_log(trainer: Any, names: Sequence[str]) -> list[dict[str, Any]]:
    """What was logged of each step, of these names, in order, as JSON has it: no number that is
    none."""
    entries = (entry for entry in trainer.state.log_history if "loss" in entry)
    return [
        {"step": entry["step"], **{name: _number(entry[name]) for name in names if name in entry}}
        for entry in entries
    ]


def _number(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def model_at(name: str) -> str:
    """The model's folder or name, if a folder of it would hold a model. Raises TrainingError."""
    path = Path(name)
    if path.is_dir() and not (path / "config.json").is_file():
        raise TrainingError(f"{name} holds no model: there is no config.json")
    if not path.exists() and (name.startswith((".", "/")) or name.count("/") > 1):
        raise TrainingError(f"there is no folder {name}")
    return name


def ended(work: Callable[[], None], out: str) -> int:
    """The exit code of a script's work: 0 done, 2 wrong use, 3 paused, 130 interrupted."""
    try:
        work()
    except (TrainingError, RowsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return WRONG_USE
    except ModuleNotFoundError as error:
        print(
            f"error: {error.name} is not installed; `uv run` installs what the head of the script "
            "names",
            file=sys.stderr,
        )
        return WRONG_USE
    except TrainingPaused as error:
        print(f"paused: {error}\ngo on with --out {out} --resume", file=sys.stderr)
        return PAUSED
    except (TrainingInterrupted, KeyboardInterrupt):
        print(f"interrupted; go on with --out {out} --resume", file=sys.stderr)
        return INTERRUPTED
    return DONE
