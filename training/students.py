"""The models that are evaluated, each asked in its own way: behind any OpenAI-compatible endpoint,
or loaded here by transformers.

    student = student_of("base", "http://localhost:8000/v1#Qwen/Qwen3.5-4B", options)
    student.answer(questions, heard)  # `heard` gets each answer as it comes
"""

import asyncio
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

from endpoint import GIVE_UP_AFTER, Endpoint, EndpointRefused

CHARACTERS = 4  # per token, where an endpoint counts none: the usual rule for English
PATIENCE = 1800.0  # seconds for one answer
BLOCKS, BLOCK = 4096, 1 << 12  # of a file of weights, evenly spread, that tell it from others

Messages = list[dict[str, str]]


class StudentError(ValueError):
    """A model cannot be evaluated so: the message says why and what to do."""


class AskedQuestion(NamedTuple):
    """One attempt at a question; `key` is made of everything that shapes the answer."""

    key: str
    messages: Messages
    attempt: int


class StudentReply(NamedTuple):
    """What a model answered: whether it was cut off by the limit of tokens, how many it wrote, and
    whether these were estimated. `refused` says why the endpoint would not take the question."""

    text: str
    cut: bool
    tokens: int
    estimated: bool = False
    refused: str = ""


@dataclass(frozen=True)
class StudentOptions:
    """How models are asked: sampled at `temperature`, of at most `max_tokens`, reasoning included.

    Endpoints: `concurrency` requests at once, a key in the variable `key_env`, given up after so
    many seconds. Local models: `batch` sequences at once, `seed`, and where: `device`.
    """

    temperature: float = 1.0
    max_tokens: int = 4096
    concurrency: int = 16
    key_env: str = "OPENAI_API_KEY"
    give_up_after: float = GIVE_UP_AFTER
    batch: int = 16
    seed: int = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"


Heard = Callable[[AskedQuestion, StudentReply], None]


class Student(Protocol):
    """A model under evaluation; `reference` tells it from every other, its weights included."""

    name: str
    reference: str

    def answer(self, asked: Sequence[AskedQuestion], heard: Heard) -> None:
        """Answers all, and hands each answer on as it comes. Blocks. Raises EndpointPaused."""


def student_of(name: str, where: str, options: StudentOptions) -> Student:
    """The model at `URL#NAME` or in a folder. Raises StudentError."""
    if where.startswith(("http://", "https://")):
        url, _, model = where.partition("#")
        if not model:
            raise StudentError(
                f"--model {name}={where}: say which model of the endpoint, as {name}={where}#NAME"
            )
        return EndpointStudent(name, url, model, options)
    return LocalStudent(name, Path(where), options)


class EndpointStudent:
    """A model behind an OpenAI-compatible endpoint."""

    def __init__(self, name: str, url: str, model: str, options: StudentOptions) -> None:
        self.name, self.options = name, options
        self.reference = f"{url}#{model}"
        self.endpoint = Endpoint(name, url, model, options.key_env, PATIENCE, options.give_up_after)

    def answer(self, asked: Sequence[AskedQuestion], heard: Heard) -> None:
        """All at once, within the concurrency. What is under way ends before EndpointPaused is
        raised."""
        asyncio.run(self._all(asked, heard))

    async def _all(self, asked: Sequence[AskedQuestion], heard: Heard) -> None:
        turns = asyncio.Semaphore(self.options.concurrency)
        async with self.endpoint.client() as client:

            async def one(question: AskedQuestion) -> None:
                async with turns:
                    heard(question, await self._reply(client, question))

            ended = await asyncio.gather(*map(one, asked), return_exceptions=True)
        for failed in ended:
            if isinstance(failed, BaseException):
                raise failed

    async def _reply(self, client: Any, question: AskedQuestion) -> StudentReply:
        try:
            done = await self.endpoint.completion(
                client,
                question.messages,
                temperature=self.options.temperature,
                max_tokens=self.options.max_tokens,
                blank=True,
            )
        except EndpointRefused as error:
            return StudentReply("", False, 0, refused=str(error))
        counted = done.tokens
        tokens = -(-len(done.text) // CHARACTERS) if counted is None else counted
        return StudentReply(done.text, done.ended == "length", tokens, counted is None)


class LocalStudent:
    """A model of transformers in a folder, sampled here; bf16 on a GPU, 32 bits on a processor."""

    def __init__(self, name: str, path: Path, options: StudentOptions) -> None:
        if not path.is_dir():
            raise StudentError(f"--model {name}={path}: no folder, and no URL#NAME either")
        if not (path / "config.json").is_file():
            what = "an adapter, to be merged first" if [*path.glob("adapter_*")] else "no model"
            raise StudentError(f"--model {name}={path} holds {what}: there is no config.json")
        self.name, self.path, self.options = name, path, options
        self.reference = f"sha256:{_weights(path)}"
        self._loaded: tuple[Any, Any, str] | None = None

    def answer(self, asked: Sequence[AskedQuestion], heard: Heard) -> None:
        """Batch by batch, the longest questions first, so that too large a batch shows at once.
        Raises StudentError."""
        model, tokenizer, device = self._model()
        prompts = {question.key: self._prompt(tokenizer, question.messages) for question in asked}
        ordered = sorted(asked, key=lambda q: (-len(prompts[q.key]), q.key))
        for batch in _batches(ordered, self.options.batch):
            texts = [prompts[question.key] for question in batch]
            replies = self._generated(model, tokenizer, device, texts, batch[0].key)
            for question, reply in zip(batch, replies, strict=True):
                heard(question, reply)

    def _model(self) -> tuple[Any, Any, str]:
        if self._loaded is None:
            try:
                import torch
                from safetensors import SafetensorError
                from transformers import AutoModelForCausalLM, AutoTokenizer
            except ImportError as error:
                raise StudentError(
                    f"{self.name} is a local model, which takes torch and transformers: "
                    "uv run --with torch --with transformers training/evaluate.py …"
                ) from error
            gpu = torch.cuda.is_available() and self.options.device != "cpu"
            if self.options.device == "cuda" and not gpu:
                raise StudentError("--device cuda, and torch sees no GPU; --device cpu, or auto")
            device = "cuda" if gpu else "cpu"
            try:
                tokenizer = AutoTokenizer.from_pretrained(self.path, padding_side="left")
                model = AutoModelForCausalLM.from_pretrained(
                    self.path, dtype=torch.bfloat16 if gpu else torch.float32
                )
            except (OSError, ValueError, SafetensorError) as error:
                said = (str(error).strip() or type(error).__name__).splitlines()[0]
                raise StudentError(f"{self.path} cannot be loaded: {said}") from error
            if tokenizer.pad_token is None:
                tokenizer.pad_token = tokenizer.eos_token
            self._loaded = model.to(device).eval(), tokenizer, device
        return self._loaded

    def _prompt(self, tokenizer: Any, messages: Messages) -> str:
        """As a chat template has it; without one the words alone."""
        if tokenizer.chat_template:
            from jinja2 import TemplateError

            try:
                said = tokenizer.apply_chat_template(
                    messages, tokenize=False, add_generation_prompt=True
                )
            except TemplateError as error:  # some take no system message
                raise StudentError(
                    f"the chat template of {self.path} takes no such prompt: {error}"
                ) from error
            return str(said)
        return "\n\n".join(message["content"] for message in messages) + "\n"

    def _generated(
        self, model: Any, tokenizer: Any, device: str, texts: Sequence[str], key: str
    ) -> Iterator[StudentReply]:
        """A reply to each; the draws follow from the seed and the batch."""
        import torch

        drawn = hashlib.sha256(f"{self.options.seed}:{key}".encode()).digest()[:4]
        torch.manual_seed(int.from_bytes(drawn))
        given = tokenizer(
            list(texts), return_tensors="pt", padding=True, add_special_tokens=False
        ).to(device)
        how: dict[str, Any] = {"do_sample": False}
        if self.options.temperature > 0:
            # From all tokens, as rollouts are drawn, whatever the model's own settings cut away.
            how = {
                "do_sample": True, "temperature": self.options.temperature, "top_k": 0, "top_p": 1.0
            }  # fmt: skip
        with torch.inference_mode():
            found = model.generate(
                input_ids=given["input_ids"],
                attention_mask=given["attention_mask"],
                max_new_tokens=self.options.max_tokens,
                pad_token_id=tokenizer.pad_token_id,
                **how,
            )
        ends = model.generation_config.eos_token_id
        ends = {tokenizer.eos_token_id, *(ends if isinstance(ends, list) else [ends])}
        for written in found[:, given["input_ids"].shape[1] :].tolist():
            end = next((n for n, token in enumerate(written) if token in ends), None)
            kept = written if end is None else written[:end]
            text = tokenizer.decode(kept, skip_special_tokens=True)
            # As endpoints count: the token of the end as well.
            yield StudentReply(text, end is None, len(kept) + (end is not None))


def _batches(asked: Sequence[AskedQuestion], size: int) -> Iterator[Sequence[AskedQuestion]]:
    for start in range(0, len(asked), size):
        yield asked[start : start + size]


def _weights(path: Path) -> str:
    """A hash by which trained weights differ from those before: of all of a small file, and of
    blocks all over a large one."""
    digest = hashlib.sha256()
    for file in sorted(path.iterdir()):
        if file.suffix not in (".safetensors", ".bin", ".json", ".jinja", ".model"):
            continue
        size = file.stat().st_size
        digest.update(f"{file.name}:{size}".encode())
        with file.open("rb") as opened:
            for start in range(0, size, max(size // BLOCKS, BLOCK)):
                opened.seek(start)
                digest.update(opened.read(BLOCK))
    return digest.hexdigest()[:16]
