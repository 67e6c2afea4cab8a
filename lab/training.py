"""Students are trained here: first on worked chains, as they are shipped, then by GRPO on an arm.

python -m autodata.lab.training lab/weights        # makes the shipped weights (minutes per model)
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from random import Random
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax

from autodata.lab.transformer import (
    EOS,
    PAD,
    Model,
    ModelShape,
    Weights,
    create,
    log_probabilities,
    padded,
    sample,
    text_of,
    tokens,
    write,
)
from autodata.tasks.item_families import ITEM_FAMILIES
from autodata.tasks.procedural import compare, make_criteria
from autodata.tasks.task import Unreadable
from autodata.tasks.types import Candidate

PerAttempt: TypeAlias = "np.ndarray[Any, np.dtype[np.float64]]"

CHAINS = ITEM_FAMILIES["chains"]
LEVELS = tuple(range(1, len(CHAINS.settings) + 1))  # steps of a chain
ASKED, ANSWERED = 44, 52  # tokens of the longest question with BOS, and of an answer with EOS
STUDENT = ModelShape(width=48, layers=2, heads=3, inner=128)  # 57,648 parameters
TEACHER = ModelShape(width=64, layers=3, heads=4, inner=176)  # 153,792 parameters


class Chain(NamedTuple):
    """A chain: its question, its answer, and its level, the steps that lead there."""

    question: str
    answer: str
    level: int

    @property
    def candidate(self) -> Candidate:
        """What the task compares an answer with."""
        return Candidate(
            context="-",
            question=self.question,
            reference_answer=self.answer,
            rubric=make_criteria(self.answer),
            question_type=CHAINS.name,
        )


def drawn(draw: Random, level: int) -> tuple[Chain, str]:
    """A chain of a level, and how it is worked out."""
    _, question, answer, worked = CHAINS.pose(draw, CHAINS.settings[level - 1])
    return Chain(question, answer, level), worked


# Answers and their scores.


@dataclass(frozen=True)
class Sampled:
    """Attempts at items, [items, attempts]: whether each is right, is cut off, has no answer."""

    right: PerAttempt
    cut: PerAttempt
    formless: PerAttempt
    tokens: PerAttempt


def attempt(
    model: Model, items: Sequence[Chain], attempts: int, seed: int, temperature: float = 1.0
) -> tuple[Sampled, Any]:
    """Answers to items, scored as the gate scores them, and the ids of questions and answers.

    An answer that was cut off is wrong; one in which no final answer can be told is wrong as well,
    and told apart.
    """
    prompts = np.repeat(padded([item.question for item in items], ASKED), attempts, axis=0)
    key = jax.random.key(seed)
    ids = sample(model.shape.heads, model.weights, jnp.asarray(prompts), key, ANSWERED, temperature)
    said = np.asarray(ids)
    shape = (len(items), attempts)
    whole = (said == EOS).any(axis=1)
    read = [compare(text_of(row), items[n // attempts].candidate) for n, row in enumerate(said)]
    right = np.array([found is True for found in read]) & whole
    formless = np.array([isinstance(found, Unreadable) for found in read]) & whole
    used = (said != PAD).sum(axis=1)
    grids = (grid.reshape(shape).astype(np.float64) for grid in (right, ~whole, formless, used))
    return Sampled(*grids), np.concatenate([prompts, said], axis=1)


def accuracy(model: Model, items: Sequence[Chain], attempts: int, seed: int) -> Sampled:
    """As `attempt`, of any number of items, in batches of one size, compiled once."""
    size, found = 32, []
    for start in range(0, len(items), size):
        batch = list(items[start : start + size])
        filled = batch + [items[0]] * (size - len(batch))
        sampled, _ = attempt(model, filled, attempts, seed + start)
        found.append([grid[: len(batch)] for grid in vars(sampled).values()])
    return Sampled(*(np.concatenate(grids) for grids in zip(*found, strict=True)))


# Group-relative policy optimisation.


class GrpoSettings(NamedTuple):
    """How an arm is trained; the names are those of TRL's GRPOConfig where it has them.

    `format_only` rewards an answer in which a final answer can be read, right or wrong.
    """

    learning_rate: float
    prompts: int = 12  # questions a step
    generations: int = 8  # answers to each, of which the advantages are made
    max_grad_norm: float = 1.0
    format_only: bool = False


class GrpoStep(NamedTuple):
    """What a step saw: the mean reward, the share of groups whose rewards were all alike (which
    teach nothing), and the tokens of its answers."""

    reward: float
    alike: float
    tokens: float


@lru_cache
def _gradient(heads: int) -> Callable[[Weights, Any, Any], Weights]:
    """The gradient, compiled once for each shape of model."""

    def loss(weights: Weights, ids: Any, advantages: Any) -> jax.Array:
        said = log_probabilities(heads, weights, ids)[:, ASKED - 1 :]
        kept = ids[:, ASKED:] != PAD
        lost: jax.Array = -(said * kept * advantages[:, None]).sum() / kept.sum()
        return lost

    return jax.jit(jax.grad(loss))


@lru_cache
def _optimizer(rate: float, most: float) -> tuple[Any, Any]:
    """How AdamW begins, and its compiled update of gradients no larger than `most`."""
    made = optax.chain(optax.clip_by_global_norm(most), optax.adamw(rate, weight_decay=0.0))
    return made.init, jax.jit(made.update)


def grpo(
    model: Model, items: Sequence[Chain], how: GrpoSettings, steps: int, seed: int
) -> tuple[Model, list[GrpoStep]]:
    """A model trained by so many steps on items, shuffled anew for each time through them.

    The advantage of an answer is its reward less its group's mean, in standard deviations of the
    group; every token of the batch weighs the same, there is one update per batch, and none is
    held near the untrained model: TRL's defaults (loss `dapo`, β = 0).
    """
    shape, weights = model
    begin, update = _optimizer(how.learning_rate, how.max_grad_norm)
    state, gradient = begin(weights), _gradient(shape.heads)
    draw, waiting, seen = Random(seed), list[Chain](), list[GrpoStep]()
    for _ in range(steps):
        while len(waiting) < how.prompts:
            waiting += draw.sample(list(items), len(items))
        batch, waiting = waiting[: how.prompts], waiting[how.prompts :]
        sampled, ids = attempt(Model(shape, weights), batch, how.generations, draw.getrandbits(31))
        rewards = 1 - sampled.formless - sampled.cut if how.format_only else sampled.right
        spread = rewards.std(axis=1, keepdims=True)
        advantages = (rewards - rewards.mean(axis=1, keepdims=True)) / (spread + 1e-4)
        grown = gradient(weights, jnp.asarray(ids), jnp.asarray(advantages.reshape(-1)))
        changes, state = update(grown, state, weights)
        weights = optax.apply_updates(weights, changes)
        alike = float((spread == 0).mean())
        seen.append(GrpoStep(float(rewards.mean()), alike, float(sampled.tokens.sum())))
    return Model(shape, weights), seen


# The shipped weights.


class Schooling(NamedTuple):
    """How a model is made: its shape, how often each level is shown, the share of chains of two
    steps that it gets right when its rate begins to fall, its updates until then at most, seed."""

    shape: ModelShape
    shown: tuple[float, ...]
    enough: float
    most: int
    seed: int


SHOWN_SHORT = (8.0, 6.0, 4.0, 2.0, 1.0, 0.5)  # a student has mostly seen short chains
SHOWN_ALL = (1.0,) * len(LEVELS)
SCHOOLED: Mapping[str, Schooling] = {
    "teacher": Schooling(TEACHER, SHOWN_ALL, 1.1, 1200, seed=100),
    **{
        f"student-{n}": Schooling(STUDENT, SHOWN_SHORT, 0.55, 1500, seed=n)
        for n in range(6)  # the last one is for choosing settings, and takes no part
    },
}
BATCH = 32  # worked chains an update
RATE, WARM_UP, FALL = 5e-3, 100, 40  # of AdamW; updates to reach it, and to fall to a hundredth
EVERY, ASKED_OF_STUDENTS = 25, 96  # updates from one look at it to the next; chains asked


def school(how: Schooling, say: Callable[[str], None]) -> Model:
    """A model trained from scratch on worked chains; the tokens of their answers are learned.

    Students learn to copy and to count all at once, some early and some late: they stop by what
    they have learned, not by the clock, so that they are alike.
    """
    shape, weights = create(how.shape, how.seed)
    state, step = _step_of(shape, weights)
    draw, fallen, number, right = Random(f"schooling {how.seed}"), 0, 0, 0.0
    asked = [drawn(Random(f"asked {n}"), 2)[0] for n in range(ASKED_OF_STUDENTS)]
    while fallen < FALL:
        rate = RATE * min((number + 1) / WARM_UP, 1.0) * (1 - 0.99 * fallen / FALL)
        levels = draw.choices(LEVELS, how.shown, k=BATCH)
        weights, state, found = step(weights, state, rate, _worked(draw, levels))
        number += 1
        if not number % EVERY and not fallen:
            right = float(accuracy(Model(shape, weights), asked, 1, number).right.mean())
            say(f"{number} updates: loss {found:.3f}, {right:.2f} right of two steps")
        fallen += fallen > 0 or right >= how.enough or number >= how.most
    return Model(shape, weights)


def _step_of(shape: ModelShape, weights: Weights) -> tuple[Any, Any]:
    """The state of the optimizer and the compiled update, which is told its rate."""

    def adam(learning_rate: float) -> Any:
        return optax.chain(
            optax.clip_by_global_norm(1.0), optax.adamw(learning_rate, b2=0.99, weight_decay=0.01)
        )

    optimizer = optax.inject_hyperparams(adam)(learning_rate=0.0)

    def loss(weights: Weights, ids: Any) -> jax.Array:
        said = log_probabilities(shape.heads, weights, ids)[:, ASKED - 1 :]
        kept = ids[:, ASKED:] != PAD
        lost: jax.Array = -(said * kept).sum() / kept.sum()
        return lost

    @jax.jit
    def step(weights: Weights, state: Any, rate: float, ids: Any) -> tuple[Any, Any, jax.Array]:
        found, grown = jax.value_and_grad(loss)(weights, ids)
        state.hyperparams["learning_rate"] = rate
        changes, state = optimizer.update(grown, state, weights)
        return optax.apply_updates(weights, changes), state, found

    return optimizer.init(weights), step


def _worked(draw: Random, levels: Sequence[int]) -> Any:
    """Questions and worked answers: ids [levels, ASKED + ANSWERED]."""
    chains = [drawn(draw, level) for level in levels]
    asked = padded([item.question for item, _ in chains], ASKED)
    answered = np.full((len(chains), ANSWERED), PAD, np.int32)
    for row, (_, worked) in zip(answered, chains, strict=True):
        said = [*tokens(worked), EOS]
        row[: len(said)] = said
    return jnp.asarray(np.concatenate([asked, answered], axis=1))


def by_level(model: Model, each: int = 96, seed: int = 7) -> list[float]:
    """The share of right answers to fresh chains of each level."""
    draw = Random(f"levels {seed}")
    items = [[drawn(draw, level)[0] for _ in range(each)] for level in LEVELS]
    return [float(accuracy(model, some, 1, seed).right.mean()) for some in items]


def main(folder: Path, names: Sequence[str]) -> None:
    """Makes the shipped weights anew, those named or all."""
    for name in names or SCHOOLED:
        model = school(SCHOOLED[name], partial(print, name, flush=True))
        write(model, folder / name)
        print(name, "right by level:", [f"{share:.2f}" for share in by_level(model)], flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
