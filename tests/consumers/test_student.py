"""The real student's training with a tiny model of random weights: what it saves time with changes
nothing, and killed it goes on."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.consumers.test_trl import STEP, student
from tests.test_real_student import ROWS, SMALL, study

pytestmark = [pytest.mark.consumers, pytest.mark.filterwarnings("default")]

TINY = replace(SMALL, steps=22, prompts=2, completions=8, trained_tokens=3)
RATE = 2e-2
FORM = study.Piece("train", 0, "format-only")


@pytest.fixture(scope="module")
def learner(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A student whose every other token is taken for an answer; at random it would give none."""
    transformers = pytest.importorskip("transformers")
    from real_student_model import Student

    class Answering(Student):
        steps_left = 1_000

        def text(self, tokens: list[int]) -> tuple[str, bool]:
            return "I cannot say." if tokens[0] % 2 else "Answer: 7", True

        def _step(self, *given: Any) -> dict[str, float]:
            if not self.steps_left:
                raise KeyboardInterrupt
            self.steps_left -= 1
            return super()._step(*given)

    file = tmp_path_factory.mktemp("learner") / "words.txt"
    asked = [json.dumps(study.messages(row.candidate)) for arm in ROWS.values() for row in arm]
    file.write_text("\n".join(asked) * 3)
    place = student(file)
    return Answering(
        transformers.AutoModelForCausalLM.from_pretrained(place),
        transformers.AutoTokenizer.from_pretrained(place),
    )


def test_prompts_read_together_are_answered_as_each_alone(learner: Any) -> None:
    import torch

    learner.reset()
    prompts = [learner.prompt(row) for arm in ROWS.values() for row in arm]
    assert len({len(prompt) for prompt in prompts}) > 1
    together = learner.answers(prompts, 12, copies=2)
    for number, prompt in enumerate(prompts):
        given = torch.tensor([prompt])
        alone = learner.model.generate(
            given, attention_mask=torch.ones_like(given), max_new_tokens=12, do_sample=False
        )
        expected = alone[0, len(prompt) :].tolist()
        assert together[2 * number] == together[2 * number + 1] == expected


def test_a_prompt_run_through_once_has_the_gradient_of_all_its_completions(learner: Any) -> None:
    import torch

    learner.reset()
    prompt = learner.prompt(ROWS["agentic"][0])
    completions = [[5, 6, 7, 8, learner.end], [9], [10, 11, learner.end]]
    worth = torch.tensor([1.0, -0.5, 0.25])
    learner.model.zero_grad()
    learner.loss(prompt, completions, worth).backward()
    found = [weights.grad.clone() for weights in learner.model.parameters()]
    learner.model.zero_grad()
    for completion, times in zip(completions, worth, strict=True):
        logits = learner.model(torch.tensor([prompt + completion])).logits[0].log_softmax(-1)
        at = range(len(prompt) - 1, len(prompt) + len(completion) - 1)
        (-times * sum(logits[n, t] for n, t in zip(at, completion, strict=True))).backward()
    for one, weights in zip(found, learner.model.parameters(), strict=True):
        torch.testing.assert_close(one, weights.grad, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("clipped", [1.0, 100.0])  # as it is, and so that nothing is clipped
def test_a_step_is_the_one_that_trl_takes(learner: Any, tmp_path: Path, clipped: float) -> None:
    import torch
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    rows = [row for arm in ROWS.values() for row in arm]
    asked = [study.messages(row.candidate) for row in rows]
    met: list[tuple[Any, list[list[int]], list[float]]] = []

    def pays_small_tokens(prompts: Any, completion_ids: Any, **_: Any) -> list[float]:
        earned = [float(sum(token < 40 for token in tokens)) for tokens in completion_ids]
        met.append((prompts, completion_ids, earned))
        return earned

    learner.reset()
    step = STEP | {"optim": "sgd", "learning_rate": 0.5, "lr_scheduler_type": "constant"}
    step |= {"max_grad_norm": clipped}
    step |= {"per_device_train_batch_size": 8, "num_generations": 4, "max_completion_length": 5}
    GRPOTrainer(
        model=learner.model,
        processing_class=learner.tokenizer,
        reward_funcs=pays_small_tokens,
        train_dataset=Dataset.from_list([{"prompt": prompt} for prompt in asked]),
        args=GRPOConfig(str(tmp_path), **step),
    ).train()
    theirs = {name: kept.clone() for name, kept in learner.model.state_dict().items()}
    learner.reset()
    [(prompts, completions, earned)] = met
    firsts = [learner.prompt(rows[asked.index(prompts[at])]) for at in (0, 4)]
    groups = [completions[:4], completions[4:]]
    optimizer = torch.optim.SGD(learner.model.parameters(), lr=0.5)
    learner.clipped = clipped
    learner.update(firsts, groups, torch.tensor(earned).view(2, 4), optimizer)
    del learner.clipped
    assert any(not torch.equal(theirs[name], learner.untrained[name]) for name in theirs)
    for name, ours in learner.model.state_dict().items():
        torch.testing.assert_close(ours, theirs[name], atol=1e-5, rtol=1e-4)


def test_a_training_that_was_killed_ends_with_the_same_weights(
    learner: Any, tmp_path: Path
) -> None:
    import torch

    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for place in (whole, killed):
        place.mkdir()
    told = learner.train(whole, FORM, ROWS, TINY, RATE)
    learner.steps_left = 13
    with pytest.raises(KeyboardInterrupt):
        learner.train(killed, FORM, ROWS, TINY, RATE)
    learner.steps_left = 1_000
    again = learner.train(killed, FORM, ROWS, TINY, RATE)
    assert again["log"] == told["log"]
    assert len(told["log"]) == TINY.steps
    assert told["log"][-1]["reward"] > 0.8 > told["log"][0]["reward"]
    one, other = (torch.load(FORM.weights(place)) for place in (whole, killed))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert not all(torch.equal(one[name], learner.untrained[name]) for name in one)
    assert sorted(path.name for path in killed.iterdir()) == [FORM.weights(killed).name]


def test_what_was_trained_is_tested_on_every_item(learner: Any, tmp_path: Path) -> None:
    base, tested = (study.Piece("test", 0, arm) for arm in ("base", "format-only"))
    with pytest.raises(SystemExit, match="the weights of this arm are gone"):
        learner.test(tmp_path, tested, ROWS, TINY)
    learner.train(tmp_path, FORM, ROWS, TINY, RATE)
    told = learner.test(tmp_path, tested, ROWS, TINY)
    assert all(len(told[test]) == TINY.items for test in study.TESTS)
    asked = study.fresh_tests(ROWS, 0, TINY)
    for test in study.TESTS:
        questions = [answer["question"] for answer in told[test]]
        assert questions == [item.candidate.question for item in asked[test]]
    before = learner.test(tmp_path, base, ROWS, TINY)
    formed = [
        sum(answer["formed"] for test in study.TESTS for answer in seen[test])
        for seen in (before, told)
    ]
    assert formed[0] < formed[1]  # the one was reset, the other has the weights that were kept
