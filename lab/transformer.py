"""A Llama of some ten thousand parameters in JAX: sampled, trained, and written for other programs.

Its words are single characters, so that it reads and writes the chains of `procedural` and nothing
else. `write` makes what `transformers` loads and what llama.cpp serves of the same weights; both
were compared with this code, token by token (tests/lab/test_transformer.py).
"""

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import gguf
import jax
import jax.numpy as jnp
import numpy as np
from safetensors.numpy import load_file, save_file

Weights: TypeAlias = dict[str, jax.Array]

PAD, BOS, EOS = 0, 1, 2
LETTERS = "0123456789abcdefghijklmnopqrstuvwxyz=+-;?"
VOCABULARY = ("<pad>", "<s>", "</s>", *LETTERS)
IDS = {word: number for number, word in enumerate(VOCABULARY)}
CONTEXT = 128  # tokens; a question of six lines has 42 and its answer in six steps 51
ROPE_BASE, EPSILON = 10_000.0, 1e-5  # as Llama has them
LAYERED = ("attention_norm", "inner_norm", "q", "k", "v", "o", "gate", "up", "down")
MASKED = -1e9  # what attention adds to a position that must not be seen

# The question is the last line of what a solver is asked (locked/procedural/solver.md), and of the
# prompt of an export; the rest no student can read.
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}"
    "{{ message['content'].split('</question>')[0].strip().split('\\n')[-1] }}"
    "{% elif message['role'] == 'assistant' %}{{ message['content'] }}{{ eos_token }}"
    "{% endif %}{% endfor %}"
)


class ModelShape(NamedTuple):
    """The sizes of a model: `width` is a multiple of `heads`, `inner` the width between layers."""

    width: int
    layers: int
    heads: int
    inner: int

    @property
    def parameters(self) -> int:
        """Weights in all, the embedding counted once: it reads and writes."""
        layer = 4 * self.width**2 + 3 * self.width * self.inner + 2 * self.width
        return self.layers * layer + (len(VOCABULARY) + 1) * self.width


class Model(NamedTuple):
    """A shape, and its weights by name: those of a layer are stacked, [layers, …]."""

    shape: ModelShape
    weights: Weights


def create(shape: ModelShape, seed: int) -> Model:
    """A model whose weights are drawn, as wide as keeps the size of what flows through them."""
    layers, width, inner = shape.layers, shape.width, shape.inner
    keys = iter(jax.random.split(jax.random.key(seed), 8))

    def matrix(*sizes: int, shrunk: float = 1.0) -> jax.Array:
        drawn: jax.Array = jax.random.normal(next(keys), sizes) * (shrunk / sizes[-2] ** 0.5)
        return drawn

    deep = (2 * layers) ** -0.5
    weights = {
        "embedding": matrix(len(VOCABULARY), width) * (len(VOCABULARY) / width) ** 0.5,
        "norm": jnp.ones(width),
        "attention_norm": jnp.ones((layers, width)),
        "inner_norm": jnp.ones((layers, width)),
        "q": matrix(layers, width, width),
        "k": matrix(layers, width, width),
        "v": matrix(layers, width, width),
        "o": matrix(layers, width, width, shrunk=deep),
        "gate": matrix(layers, width, inner),
        "up": matrix(layers, width, inner),
        "down": matrix(layers, inner, width, shrunk=deep),
    }
    return Model(shape, weights)


# The forward pass.


def _normed(x: jax.Array, weight: jax.Array) -> jax.Array:
    size = jax.lax.rsqrt(jnp.mean(x * x, -1, keepdims=True) + EPSILON)
    return jnp.asarray(x * size * weight)


def _rotated(x: jax.Array, positions: jax.Array) -> jax.Array:
    """Rotary positions on [batch, tokens, heads, size]; halves are paired, as in transformers."""
    half = x.shape[-1] // 2
    angle = positions[..., None, None] * ROPE_BASE ** (-jnp.arange(half) / half)
    one, other = x[..., :half], x[..., half:]
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    return jnp.concatenate([one * cos - other * sin, other * cos + one * sin], -1)


def _layer(
    heads: int,
    layer: Weights,
    x: jax.Array,
    positions: jax.Array,
    seen: jax.Array,
    past: tuple[jax.Array, jax.Array] | None = None,
    at: int | jax.Array = 0,
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    """One layer on [batch, tokens, width]; `past` holds keys and values, written from `at` on."""
    batch, tokens, width = x.shape
    normed = _normed(x, layer["attention_norm"])
    q, k, v = (
        (normed @ layer[name]).reshape(batch, tokens, heads, width // heads) for name in "qkv"
    )
    q, k = _rotated(q, positions), _rotated(k, positions)
    if past is not None:
        k, v = (
            jax.lax.dynamic_update_slice(kept, new, (0, at, 0, 0))
            for kept, new in zip(past, (k, v), strict=True)
        )
    scores = jnp.einsum("bthd,bshd->bhts", q, k) * (width // heads) ** -0.5
    shares = jax.nn.softmax(jnp.where(seen[:, None], scores, MASKED), -1)
    x = x + jnp.einsum("bhts,bshd->bthd", shares, v).reshape(batch, tokens, width) @ layer["o"]
    normed = _normed(x, layer["inner_norm"])
    inner = jax.nn.silu(normed @ layer["gate"]) * (normed @ layer["up"])
    return x + inner @ layer["down"], (k, v)


def _layers(weights: Weights) -> list[Weights]:
    return [{name: weights[name][n] for name in LAYERED} for n in range(len(weights["q"]))]


def _read(ids: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Positions, padding apart, and who sees whom: earlier tokens that are no padding."""
    said = ids != PAD
    positions = jnp.maximum(jnp.cumsum(said, -1) - 1, 0)
    return positions, jnp.tril(jnp.ones((ids.shape[1],) * 2, bool)) & said[:, None, :]


def log_probabilities(heads: int, weights: Weights, ids: jax.Array) -> jax.Array:
    """How likely each token is after those before it: [batch, tokens − 1], of ids [batch, tokens],
    padded on either side."""
    positions, seen = _read(ids)
    x = weights["embedding"][ids]
    for layer in _layers(weights):
        x, _ = _layer(heads, layer, x, positions, seen)
    logits = _normed(x[:, :-1], weights["norm"]) @ weights["embedding"].T
    return jnp.take_along_axis(jax.nn.log_softmax(logits), ids[:, 1:, None], -1)[..., 0]


@partial(jax.jit, static_argnums=(0, 4))
def sample(
    heads: int,
    weights: Weights,
    prompts: jax.Array,
    key: jax.Array,
    most: int,
    temperature: float,
) -> jax.Array:
    """Continuations [batch, most] of prompts [batch, tokens], padded on the left.

    Each ends with EOS and is PAD from there on, or is cut off at `most` tokens. `temperature` is
    above 0.
    """
    batch, width = prompts.shape
    positions, seen = _read(prompts)
    x, kept = weights["embedding"][prompts], []
    for layer in _layers(weights):
        x, past = _layer(heads, layer, x, positions, seen)
        room = [(0, 0), (0, most), (0, 0), (0, 0)]
        kept.append((jnp.pad(past[0], room), jnp.pad(past[1], room)))
    logits = _normed(x[:, -1], weights["norm"]) @ weights["embedding"].T
    said = jnp.pad(prompts != PAD, [(0, 0), (0, most)], constant_values=True)

    def step(state: Any, at: jax.Array) -> tuple[Any, jax.Array]:
        logits, kept, ended, key = state
        key, drawn = jax.random.split(key)
        token = jnp.where(ended, PAD, jax.random.categorical(drawn, logits / temperature))
        sees = (said & (jnp.arange(width + most) <= width + at))[:, None, :]
        x, past = weights["embedding"][token][:, None], []
        for layer, before in zip(_layers(weights), kept, strict=True):
            position = (positions[:, -1] + 1 + at)[:, None]
            x, now = _layer(heads, layer, x, position, sees, before, width + at)
            past.append(now)
        logits = _normed(x[:, 0], weights["norm"]) @ weights["embedding"].T
        return (logits, past, ended | (token == EOS), key), token

    start = (logits, kept, jnp.zeros(batch, bool), key)
    return jax.lax.scan(step, start, jnp.arange(most))[1].T


# Texts and tokens.


def tokens(text: str) -> list[int]:
    """The ids of a text. Raises KeyError for a character that the models do not know."""
    return [IDS[letter] for letter in text]


def text_of(ids: Sequence[int]) -> str:
    """What was said, without marks."""
    return "".join(VOCABULARY[number] for number in ids if number > EOS)


def padded(prompts: Sequence[str], width: int) -> np.ndarray[Any, np.dtype[np.int32]]:
    """Prompts with BOS, padded on the left to a width: [prompts, width]."""
    ids = np.full((len(prompts), width), PAD, np.int32)
    for row, prompt in zip(ids, prompts, strict=True):
        said = [BOS, *tokens(prompt)]
        row[width - len(said) :] = said
    return ids


# Files: what transformers loads, and what llama.cpp serves.

# Our name, transformers' and llama.cpp's; matrices stand there with outputs first.
_NAMES = {
    "attention_norm": ("input_layernorm", "attn_norm"),
    "inner_norm": ("post_attention_layernorm", "ffn_norm"),
    "q": ("self_attn.q_proj", "attn_q"),
    "k": ("self_attn.k_proj", "attn_k"),
    "v": ("self_attn.v_proj", "attn_v"),
    "o": ("self_attn.o_proj", "attn_output"),
    "gate": ("mlp.gate_proj", "ffn_gate"),
    "up": ("mlp.up_proj", "ffn_up"),
    "down": ("mlp.down_proj", "ffn_down"),
}


def write(model: Model, folder: Path) -> None:
    """Writes a model for `transformers` (config, safetensors, tokenizer) and as `model.gguf`.

    Both hold the same numbers of 16 bits.
    """
    folder.mkdir(parents=True, exist_ok=True)
    named = {"model.embed_tokens.weight": _halved(model.weights["embedding"])}
    named["model.norm.weight"] = _halved(model.weights["norm"])
    for name, (theirs, _) in _NAMES.items():
        for n, weight in enumerate(_halved(model.weights[name])):
            named[f"model.layers.{n}.{theirs}.weight"] = np.ascontiguousarray(weight.T)
    save_file(named, folder / "model.safetensors", metadata={"format": "pt"})
    for name, held in _described(model.shape).items():
        (folder / name).write_text(json.dumps(held, indent=1) + "\n", encoding="utf-8")
    _write_gguf(model, folder / "model.gguf")


def read(folder: Path) -> Model:
    """A model that `write` wrote. Raises OSError where there is none."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    shape = ModelShape(
        config["hidden_size"],
        config["num_hidden_layers"],
        config["num_attention_heads"],
        config["intermediate_size"],
    )
    named = load_file(folder / "model.safetensors")
    weights = {"embedding": named["model.embed_tokens.weight"], "norm": named["model.norm.weight"]}
    for name, (theirs, _) in _NAMES.items():
        layers = [f"model.layers.{n}.{theirs}.weight" for n in range(shape.layers)]
        weights[name] = np.stack([named[layer].T for layer in layers])
    return Model(
        shape, {name: jnp.asarray(weight, jnp.float32) for name, weight in weights.items()}
    )


def _described(shape: ModelShape) -> Mapping[str, Any]:
    """The JSON files beside the weights, by name."""
    marks = [
        {"id": n, "content": word, "special": True, "normalized": False}
        | {"single_word": False, "lstrip": False, "rstrip": False}
        for n, word in enumerate(VOCABULARY[: EOS + 1])
    ]
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": shape.width,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.heads,
        "intermediate_size": shape.inner,
        "max_position_embeddings": CONTEXT,
        "rms_norm_eps": EPSILON,
        "rope_theta": ROPE_BASE,
        "vocab_size": len(VOCABULARY),
        "tie_word_embeddings": True,
        "hidden_act": "silu",
        "dtype": "float32",
        "pad_token_id": PAD,
        "bos_token_id": BOS,
        "eos_token_id": EOS,
    }
    tokenizer = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": marks,
        "normalizer": None,
        "pre_tokenizer": {
            "type": "Split",
            "pattern": {"Regex": "."},
            "behavior": "Isolated",
            "invert": False,
        },
        "post_processor": None,
        "decoder": {"type": "Fuse"},
        "model": {"type": "WordLevel", "vocab": IDS, "unk_token": "<pad>"},
    }
    about = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "pad_token": "<pad>",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "model_max_length": CONTEXT,
        "clean_up_tokenization_spaces": False,
        "chat_template": TEMPLATE,
    }
    return {"config.json": config, "tokenizer.json": tokenizer, "tokenizer_config.json": about}


def _write_gguf(model: Model, path: Path) -> None:
    shape = model.shape
    to = gguf.GGUFWriter(path, "llama")
    to.add_context_length(CONTEXT)
    to.add_embedding_length(shape.width)
    to.add_block_count(shape.layers)
    to.add_feed_forward_length(shape.inner)
    to.add_head_count(shape.heads)
    to.add_head_count_kv(shape.heads)
    to.add_rope_dimension_count(shape.width // shape.heads)
    to.add_rope_freq_base(ROPE_BASE)
    to.add_layer_norm_rms_eps(EPSILON)
    to.add_vocab_size(len(VOCABULARY))
    to.add_tokenizer_model("llama")
    to.add_token_list(list(VOCABULARY))
    to.add_token_scores([0.0] * len(VOCABULARY))
    kinds = [gguf.TokenType.CONTROL] * (EOS + 1) + [gguf.TokenType.NORMAL] * len(LETTERS)
    to.add_token_types(kinds)
    to.add_pad_token_id(PAD)
    to.add_bos_token_id(BOS)
    to.add_eos_token_id(EOS)
    to.add_add_bos_token(False)
    to.add_add_space_prefix(False)
    to.add_chat_template(TEMPLATE)
    to.add_tensor("token_embd.weight", _halved(model.weights["embedding"]))
    to.add_tensor("output_norm.weight", _halved(model.weights["norm"]).astype(np.float32))
    for name, (_, theirs) in _NAMES.items():
        for n, weight in enumerate(_halved(model.weights[name])):
            turned = _paired(weight.T, shape.heads) if name in "qk" else weight.T
            kept = np.float32 if "norm" in name else np.float16  # as llama.cpp wants them
            to.add_tensor(f"blk.{n}.{theirs}.weight", np.ascontiguousarray(turned, kept))
    to.write_header_to_file()
    to.write_kv_data_to_file()
    to.write_tensors_to_file()
    to.close()


def _halved(weight: jax.Array) -> Any:
    return np.asarray(weight).astype(np.float16)


def _paired(weight: Any, heads: int) -> Any:
    """Rows of a query or key matrix as llama.cpp rotates them: neighbours paired, not halves."""
    halves = weight.reshape(heads, 2, weight.shape[0] // heads // 2, -1)
    return halves.swapaxes(1, 2).reshape(weight.shape)
