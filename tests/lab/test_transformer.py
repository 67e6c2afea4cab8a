"""The lab's models are one and the same here and behind llama.cpp's server, and learn by GRPO."""

from pathlib import Path
from random import Random

import httpx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from autodata.commands.models import serve_file
from autodata.lab.training import (
    ANSWERED,
    ASKED,
    LEVELS,
    STUDENT,
    Chain,
    GrpoSettings,
    attempt,
    drawn,
    grpo,
)
from autodata.lab.transformer import Model, create, padded, read, sample, text_of, write
from autodata.tasks.procedural import compare
from autodata.tasks.task import Unreadable

WEIGHTS = Path(__file__).parents[2] / "lab" / "weights"


@pytest.fixture(scope="module")
def student() -> Model:
    return read(WEIGHTS / "student-0")


def chains(count: int, level: int, seed: int = 5) -> list[Chain]:
    draw = Random(seed)
    return [drawn(draw, level)[0] for _ in range(count)]


def greedy(model: Model, item: Chain) -> str:
    """The likeliest answer: a temperature near 0 leaves nothing to chance."""
    prompt = jnp.asarray(padded([item.question], ASKED))
    said = sample(model.shape.heads, model.weights, prompt, jax.random.key(0), ANSWERED, 1e-4)
    return text_of(np.asarray(said)[0].tolist())


def test_what_the_server_answers_is_what_the_model_says_here(student: Model) -> None:
    url = serve_file(WEIGHTS / "student-0" / "model.gguf", "student", 0, 1, 128)
    for item in (item for level in LEVELS for item in chains(2, level)):
        asked = f"<context>\nDigits alone.\n</context>\n\n<question>\n{item.question}\n</question>"
        body = {
            "messages": [
                {"role": "system", "content": "Answer the question."},
                {"role": "user", "content": asked},
            ],
            "temperature": 0.0,
            "max_tokens": ANSWERED,
        }
        reply = httpx.post(f"{url}/chat/completions", json=body).json()
        told = reply["choices"][0]["message"]["content"]
        assert told == greedy(student, item)


def test_a_model_that_was_written_is_read_as_it_was(tmp_path: Path) -> None:
    made = create(STUDENT, seed=3)
    write(made, tmp_path / "model")
    again = read(tmp_path / "model")
    assert again.shape == made.shape
    assert sum(weight.size for weight in again.weights.values()) == STUDENT.parameters
    for name, weight in made.weights.items():
        np.testing.assert_allclose(again.weights[name], weight, rtol=1e-3, atol=1e-4)


def test_padding_changes_nothing(student: Model) -> None:
    item = chains(1, 3)[0]
    narrow = jnp.asarray(padded([item.question], len(item.question) + 1))
    key = jax.random.key(0)
    said = sample(student.shape.heads, student.weights, narrow, key, ANSWERED, 1e-4)
    assert text_of(np.asarray(said)[0].tolist()) == greedy(student, item)


def test_answers_are_scored_as_the_gate_scores_them(student: Model) -> None:
    items = chains(8, 2)
    sampled, ids = attempt(student, items, 4, seed=1)
    for row, said in enumerate(ids[:, ASKED:]):
        item, at = items[row // 4], (row // 4, row % 4)
        found = compare(text_of(said.tolist()), item.candidate)
        whole = not sampled.cut[at]
        assert bool(sampled.right[at]) == (found is True and whole)
        assert bool(sampled.formless[at]) == (isinstance(found, Unreadable) and whole)


def test_a_student_learns_from_its_own_attempts_and_the_same_again_from_the_same_seed(
    student: Model,
) -> None:
    items = chains(16, 3)
    before = attempt(student, items, 8, seed=2)[0].right.mean()
    trained, steps = grpo(student, items, GrpoSettings(1e-3), 12, seed=1)
    assert attempt(trained, items, 8, seed=2)[0].right.mean() > before + 0.05
    assert len(steps) == 12
    _, again = grpo(student, items, GrpoSettings(1e-3), 2, seed=1)
    assert again == steps[:2]
