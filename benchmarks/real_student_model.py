"""The student of `real_student.py` in torch: it is loaded, asked, trained and tested here."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any, Self

import torch
from real_student import (
    CHECKPOINT,
    TESTS,
    Item,
    Piece,
    StudentSettings,
    cpu_seconds,
    fresh_tests,
    mark,
    messages,
    reward,
)
from transformers import AutoModelForCausalLM, AutoTokenizer, DynamicCache
from transformers.utils import logging

BATCH = 50  # items that are answered at once
NEVER_NOUGHT = 1e-4  # added to a group's standard deviation, as TRL does

Tokens = list[int]


class Student:
    """A model, and whatever it has learned since `reset`."""

    clipped = 1.0  # the largest norm of a gradient, as TRL has it

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self.model, self.tokenizer = model, tokenizer
        self.end = tokenizer.eos_token_id
        self.untrained = {name: kept.clone() for name, kept in model.state_dict().items()}

    @classmethod
    def of(cls, file: Path) -> Self:
        """That of a GGUF file, with weights of 32 bits."""
        logging.set_verbosity_error()
        logging.disable_progress_bar()
        place, named = file.parent, {"gguf_file": file.name}
        model = AutoModelForCausalLM.from_pretrained(place, dtype=torch.float32, **named)
        return cls(model, AutoTokenizer.from_pretrained(place, **named))

    def reset(self) -> None:
        self.model.load_state_dict(self.untrained)

    def prompt(self, item: Item) -> Tokens:
        chat = self.tokenizer.apply_chat_template(
            messages(item.candidate), tokenize=False, add_generation_prompt=True
        )
        return list(self.tokenizer(chat, add_special_tokens=False)["input_ids"])

    def text(self, tokens: Tokens) -> tuple[str, bool]:
        """What was answered, and whether it ended by itself."""
        whole = tokens[-1] == self.end
        return self.tokenizer.decode(tokens, skip_special_tokens=True).strip(), whole

    @torch.inference_mode()
    def answers(
        self,
        prompts: Sequence[Tokens],
        limit: int,
        copies: int = 1,
        temperature: float = 0.0,
        draw: torch.Generator | None = None,
    ) -> list[Tokens]:
        """So many completions of each prompt in turn, at most `limit` tokens with the end token.

        What all prompts begin with is read once; temperature 0 takes the likeliest token.
        """
        shared = _shared(prompts)
        cache = DynamicCache()
        self.model(torch.tensor([prompts[0][:shared]]), past_key_values=cache, logits_to_keep=1)
        cache.batch_repeat_interleave(len(prompts))
        longest = max(map(len, prompts)) - shared
        gaps = torch.tensor([longest - len(prompt) + shared for prompt in prompts])
        rests = torch.tensor(
            [[self.end] * (longest - len(p) + shared) + p[shared:] for p in prompts]
        )
        own = torch.arange(longest)[None] >= gaps[:, None]
        mask = torch.cat([torch.ones(len(prompts), shared, dtype=torch.bool), own], 1).long()
        at = (mask.cumsum(1) - 1).clamp(min=0)[:, shared:]
        given = self.model(
            rests, attention_mask=mask, position_ids=at, past_key_values=cache, logits_to_keep=1
        )
        cache.batch_repeat_interleave(copies)
        logits = given.logits[:, -1].repeat_interleave(copies, 0)
        mask, at = mask.repeat_interleave(copies, 0), at[:, -1:].repeat_interleave(copies, 0)
        found: list[Tokens] = [[] for _ in range(len(logits))]
        rows = torch.arange(len(logits))  # which completion each row of the cache belongs to
        for _ in range(limit):
            chosen = _chosen(logits, temperature, draw)
            for row, token in zip(rows.tolist(), chosen.tolist(), strict=True):
                if not found[row] or found[row][-1] != self.end:
                    found[row].append(token)
            going = torch.tensor([found[row][-1] != self.end for row in rows.tolist()])
            if not going.any():
                break
            if going.sum() <= len(rows) / 2:  # moving the cache is worth its while
                kept = going.nonzero()[:, 0]
                cache.batch_select_indices(kept)
                rows, chosen, mask, at = rows[kept], chosen[kept], mask[kept], at[kept]
            at, mask = at + 1, torch.cat([mask, torch.ones(len(rows), 1, dtype=torch.long)], 1)
            logits = self.model(
                chosen[:, None], attention_mask=mask, position_ids=at, past_key_values=cache
            ).logits[:, -1]
        return found

    def loss(self, prompt: Tokens, completions: Sequence[Tokens], worth: Any) -> Any:
        """−Σ worth · log p over the completions' tokens; the prompt is run through once."""
        cache = DynamicCache()
        first = self.model(
            torch.tensor([prompt]), past_key_values=cache, use_cache=True, logits_to_keep=1
        ).logits
        cache.batch_repeat_interleave(len(completions))
        longest = max(map(len, completions))
        padded = torch.tensor([c + [self.end] * (longest - len(c)) for c in completions])
        counted = torch.tensor([[n < len(c) for n in range(longest)] for c in completions])
        logits = first.expand(len(completions), -1, -1)
        if longest > 1:
            after = self.model(padded[:, :-1], past_key_values=cache, use_cache=True).logits
            logits = torch.cat([logits, after], 1)
        said = logits.log_softmax(-1).gather(2, padded[:, :, None])[:, :, 0]
        return -(worth[:, None] * said * counted).sum()

    def update(
        self,
        prompts: Sequence[Tokens],
        groups: Sequence[Sequence[Tokens]],
        earned: Any,
        optimizer: torch.optim.Optimizer,
    ) -> None:
        """A step on each prompt's group of completions; `earned` has a row of rewards for each."""
        tokens = sum(len(tokens) for group in groups for tokens in group)
        optimizer.zero_grad()
        for prompt, group, worth in zip(prompts, groups, _advantages(earned), strict=True):
            if worth.any():
                (self.loss(prompt, group, worth) / tokens).backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.clipped)
        if (earned.std(1) > 0).any():
            optimizer.step()

    def train(
        self,
        state: Path,
        piece: Piece,
        rows: Mapping[str, Sequence[Item]],
        settings: StudentSettings,
        rate: float,
    ) -> dict[str, Any]:
        """GRPO on an arm's rows from the untrained student on, or from where it was left."""
        started, left = cpu_seconds(), state / f"{piece.name}-left.pt"
        items = rows["agentic" if piece.arm == "agentic" else "one-shot"]
        self.reset()
        optimizer = torch.optim.AdamW(self.model.parameters(), lr=rate, weight_decay=0.0)
        log: list[dict[str, float]] = []
        before = 0.0
        if left.exists():
            kept = torch.load(left)
            self.model.load_state_dict(kept["model"])
            optimizer.load_state_dict(kept["optimizer"])
            log, before = kept["log"], kept["cpu_seconds"]
        for step, batch in enumerate(_batches(items, piece.seed, settings)):
            if step < len(log):
                continue
            draw = torch.Generator().manual_seed(1_000 * piece.seed + step)
            log.append(self._step(piece.arm, batch, optimizer, draw, settings))
            took = before + cpu_seconds() - started
            print(f"  step {step + 1}, {took:.0f} CPU s: {json.dumps(log[-1])}", flush=True)
            if (step + 1) % CHECKPOINT == 0:
                kept = {"model": self.model.state_dict(), "optimizer": optimizer.state_dict()}
                _save(left, kept | {"log": log, "cpu_seconds": took})
        _save(piece.weights(state), self.model.state_dict())
        left.unlink(missing_ok=True)
        return {"cpu_seconds": before + cpu_seconds() - started, "rate": rate, "log": log}

    def _step(
        self,
        arm: str,
        batch: Sequence[Item],
        optimizer: torch.optim.Optimizer,
        draw: torch.Generator,
        settings: StudentSettings,
    ) -> dict[str, float]:
        prompts = [self.prompt(item) for item in batch]
        copies, limit = settings.completions, settings.trained_tokens
        found = self.answers(prompts, limit, copies, settings.temperature, draw)
        groups = [found[n * copies : (n + 1) * copies] for n in range(len(batch))]
        marks = [
            [mark(*self.text(tokens), item.candidate) for tokens in group]
            for item, group in zip(batch, groups, strict=True)
        ]
        earned = torch.tensor([[reward(arm, marked) for marked in group] for group in marks])
        self.update(prompts, groups, earned, optimizer)
        count = len(found)
        return {
            "reward": earned.mean().item(),
            "right": sum(m.right for group in marks for m in group) / count,
            "formed": sum(m.formed for group in marks for m in group) / count,
            "without_variance": (earned.std(1) == 0).float().mean().item(),
            "tokens": sum(map(len, found)) / count,
        }

    def test(
        self,
        state: Path,
        piece: Piece,
        rows: Mapping[str, Sequence[Item]],
        settings: StudentSettings,
    ) -> dict[str, Any]:
        """One greedy answer to every item of the seed's tests."""
        started = cpu_seconds()
        self.reset()
        if piece.arm != "base":
            if not (weights := piece.weights(state)).exists():
                missing = Piece("train", piece.seed, piece.arm).path(state)
                raise SystemExit(f"the weights of this arm are gone: remove {missing} to go on")
            self.model.load_state_dict(torch.load(weights))
        tests = fresh_tests(rows, piece.seed, settings)
        asked = sorted(
            ((test, number) for test in TESTS for number in range(len(tests[test]))),
            key=lambda place: len(self.prompt(tests[place[0]][place[1]])),
        )
        told: dict[tuple[str, int], dict[str, Any]] = {}
        for at in range(0, len(asked), BATCH):
            places = asked[at : at + BATCH]
            prompts = [self.prompt(tests[test][number]) for test, number in places]
            found = self.answers(prompts, settings.tested_tokens)
            for place, tokens in zip(places, found, strict=True):
                told[place] = self._told(tests[place[0]][place[1]], tokens)
        kept = {test: [told[test, n] for n in range(len(tests[test]))] for test in TESTS}
        return kept | {"cpu_seconds": cpu_seconds() - started}

    def _told(self, item: Item, tokens: Tokens) -> dict[str, Any]:
        answer, whole = self.text(tokens)
        marked = mark(answer, whole, item.candidate)
        return {
            "family": item.candidate.question_type,
            "dial": item.dial,
            "question": f"{item.candidate.context} {item.candidate.question}".strip(),
            "reference": item.candidate.reference_answer,
            "answer": answer,
            "right": marked.right,
            "formed": marked.formed,
            "tokens": len(tokens),
        }


def _shared(prompts: Sequence[Tokens]) -> int:
    """How many tokens all prompts begin with; each keeps one of its own."""
    least = min(map(len, prompts)) - 1
    return next((n for n in range(least) if len({p[n] for p in prompts}) > 1), least)


def _chosen(logits: Any, temperature: float, draw: torch.Generator | None) -> Any:
    if not temperature:
        return logits.argmax(-1)
    return torch.multinomial((logits / temperature).softmax(-1), 1, generator=draw)[:, 0]


def _advantages(earned: Any) -> Any:
    """How much better each completion is than its group, in the group's standard deviations."""
    spread = earned.std(1, keepdim=True)
    return (earned - earned.mean(1, keepdim=True)) / (spread + NEVER_NOUGHT)


def _batches(
    items: Sequence[Item], seed: int, settings: StudentSettings
) -> Iterator[Sequence[Item]]:
    """The prompts of each step: all rows in another order, then again, so that both arms of a seed
    meet the rows of a document at the same step."""
    draw, order = Random(seed), list[Item]()
    while len(order) < settings.steps * settings.prompts:
        order += draw.sample(items, len(items))
    for step in range(settings.steps):
        yield order[step * settings.prompts : (step + 1) * settings.prompts]


def _save(path: Path, content: Any) -> None:
    beside = path.with_suffix(".part")
    torch.save(content, beside)
    beside.replace(path)
