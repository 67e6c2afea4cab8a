"""TRL's trainers take a step each on what is exported, with a tiny model of random weights, and ask
for rewards over HTTP; verl's rows are read by its documented schema and its call."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from autodata import rewards
from tests.consumers.test_datasets import exported
from tests.outside import Folder
from tests.processes import simulation, started

pytestmark = [pytest.mark.consumers, pytest.mark.filterwarnings("default")]

# Who says what, as a chat template has it; the words that are learnt end in the token of the end.
TEMPLATE = (
    "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
MARKS = ["<|end|>", "<|pad|>", "<|user|>", "<|assistant|>"]
COMPLETION = 16  # tokens
# A step on the processor, of which nothing is kept or reported.
STEP: dict[str, Any] = {
    "max_steps": 1,
    "per_device_train_batch_size": 4,
    "use_cpu": True,
    "bf16": False,
    "gradient_checkpointing": False,
    "logging_steps": 1,
    "save_strategy": "no",
    "report_to": "none",
    "disable_tqdm": True,
    "learning_rate": 1e-2,
}


@pytest.fixture(scope="module")
def judge() -> Iterator[dict[str, Any]]:
    """The configuration of a judge behind HTTP, who is simulated."""
    with started(simulation, ("--port", "0")) as process:
        url = process.stdout.readline().split(" at ")[1].split()[0]
        yield {
            "endpoints": {"here": {"base_url": url}},
            "models": {"judge": {"endpoint": "here", "model": "simulated"}},
        }


def rows_of(file: Path) -> Any:
    import datasets

    return datasets.load_dataset("json", data_files=str(file), split="train")


def student(file: Path, ends: float | None = None) -> str:
    """The folder of a model of 60,000 random weights, with a tokenizer of the file's words. With
    `ends`, the logit by which the token of the end leads, it ends what it says by itself."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import AutoModelForCausalLM, LlamaConfig, PhiConfig, PreTrainedTokenizerFast

    words = Tokenizer(models.BPE())
    words.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words.decoder = decoders.ByteLevel()
    letters = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=512, special_tokens=MARKS, initial_alphabet=letters, show_progress=False
    )
    words.train_from_iterator(file.read_text(encoding="utf-8").splitlines(), trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, eos_token="<|end|>", pad_token="<|pad|>", chat_template=TEMPLATE
    )
    torch.manual_seed(0)
    shape = (LlamaConfig if ends is None else PhiConfig)(  # Phi's last layer has a bias
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=8192,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    folder = str(file.parent / "student")
    model = AutoModelForCausalLM.from_config(shape)
    if ends is not None:
        model.lm_head.bias.data[tokenizer.eos_token_id] = ends
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def stepped(trainer: Any) -> dict[str, float]:
    """What a trainer logged of its one step. Of its loss and its gradient it must have a number."""
    trainer.train()
    assert trainer.state.global_step == 1
    logged: dict[str, float] = trainer.state.log_history[0]
    assert math.isfinite(logged["loss"])
    assert math.isfinite(logged["grad_norm"])
    return logged


@pytest.mark.parametrize("form", ["sft", "dpo"])
def test_a_student_learns_from_answers_and_from_preferences(
    made: Folder, domain: str, form: str, tmp_path: Path
) -> None:
    from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

    kinds = {"sft": (SFTTrainer, SFTConfig), "dpo": (DPOTrainer, DPOConfig)}
    train, options = kinds[form]
    file = exported(made, domain, form, tmp_path / form)
    trainer = train(
        student(file),
        args=options(output_dir=str(tmp_path / "out"), max_length=2048, **STEP),
        train_dataset=rows_of(file),
    )
    before = trainer.model.lm_head.weight.detach().clone()
    assert stepped(trainer)["grad_norm"] > 0
    assert not before.equal(trainer.model.lm_head.weight.detach())


def test_a_student_is_rewarded_by_the_judge_over_http(
    made: Folder, domain: str, judge: dict[str, Any], tmp_path: Path
) -> None:
    """What the budget does not pay for has no reward, and TRL goes on without it."""
    from trl import GRPOConfig, GRPOTrainer

    file = exported(made, domain, "trl-grpo", tmp_path / "grpo")
    options = GRPOConfig(
        output_dir=str(tmp_path / "out"),
        num_generations=2,
        max_completion_length=COMPLETION,
        **STEP,
    )
    with rewards.trl(judge, cache=tmp_path / "cache", budget_calls=3, stop=False) as reward:
        trainer = GRPOTrainer(student(file), reward, args=options, train_dataset=rows_of(file))
        logged = stepped(trainer)
        counts = reward.counts
    assert counts.answers == 4
    assert 0 <= logged["reward"] <= 1
    assert logged["rewards/autodata/mean"] == logged["reward"]
    by_code = domain == "procedural"  # what names no number is no answer, and no judge is asked
    assert (counts.calls, counts.unscored) == ((0, 0) if by_code else (3, 1))
    assert logged["autodata/unscored"] == counts.unscored / counts.answers


def test_verl_finds_its_columns_and_its_call_a_score(
    made: Folder, domain: str, judge: dict[str, Any], tmp_path: Path
) -> None:
    """Its schema as documented: a data source, a prompt of messages, an ability, what is right, and
    an index; `compute_score` is handed four of them by name, with what its workers add."""
    rows = _verl_rows(exported(made, domain, "verl", tmp_path / "verl"))
    made("export", domain, "--format", "jsonl", "-o", str(tmp_path / "examples.jsonl"))
    lines = (tmp_path / "examples.jsonl").read_text(encoding="utf-8").splitlines()
    examples = [json.loads(line) for line in lines]
    assert len(rows) == len(examples) > 0
    with rewards.verl(judge, cache=tmp_path / "cache") as compute_score:
        for row, example in zip(rows, examples, strict=True):
            assert row["data_source"] == f"autodata/{domain}"
            assert [(turn["role"], bool(turn["content"])) for turn in row["prompt"]] == [
                ("user", True)
            ]
            assert isinstance(row["reward_model"]["ground_truth"], str)
            assert isinstance(row["extra_info"]["index"], int)
            best = max(example["strong"], key=lambda attempt: attempt["score"])
            scores = [
                compute_score(
                    data_source=row["data_source"],
                    solution_str=answer,
                    ground_truth=row["reward_model"]["ground_truth"],
                    extra_info={**row["extra_info"], "num_turns": None},
                )
                for answer in (best["answer"], "I do not know.")
            ]
            assert 0 <= scores[1] < scores[0] <= 1


def _verl_rows(file: Path) -> list[dict[str, Any]]:
    """The rows as verl's data set reads them: by pandas, lists as arrays."""
    import pandas

    records: list[dict[str, Any]] = pandas.read_parquet(file).to_dict("records")
    return records
