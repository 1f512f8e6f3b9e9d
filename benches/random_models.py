"""Random checkpoints of Qwen2-VL's family for measuring: three small sizes, and Qwen2-VL-2B's shapes.

    python random_models.py SIZE DIR [--dtype f32|bf16]

The vocabulary is made, not learnt: bytes, then pairs, triples and fours of letters. The end of a text is a token that neither side ever
draws (`<|video_pad|>`), so that every completion has the length that was asked for.
"""

import argparse
import itertools
import string
from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    PreTrainedTokenizerFast,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen2VLImageProcessor,
    Qwen2VLProcessor,
    Qwen2VLVideoProcessor,
)

SPECIAL = [f"<|{name}|>" for name in ("endoftext", "im_start", "im_end", "vision_start", "vision_end", "vision_pad", "image_pad", "video_pad")]
NEVER = SPECIAL[3:]
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% if m['content'] is string %}{{ m['content'] }}{% else %}"
    "{% for c in m['content'] %}{% if c['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif c['type'] == 'video' %}<|vision_start|><|video_pad|><|vision_end|>"
    "{% elif 'text' in c %}{{ c['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# Vocabulary; hidden size, its feed-forward, layers, heads, key-value heads; the tower's width, depth and heads.
SIZES = {
    "0.5M": (512, 96, 288, 2, 3, 1, 64, 2, 2),
    "7.7M": (2048, 256, 1024, 6, 4, 2, 128, 4, 4),
    "64M": (18000, 512, 2048, 12, 8, 2, 256, 8, 4),
    "2B": (151936, 1536, 8960, 28, 12, 2, 1280, 32, 16),
    # The same with fewer layers: what is left is not layers.
    "2B of 4 layers": (151936, 1536, 8960, 4, 12, 2, 1280, 32, 16),
    "7.7M of 2 layers": (2048, 256, 1024, 2, 4, 2, 128, 4, 4),
}


def tokenizer(size):
    """Of at most `size` tokens."""
    letters = string.ascii_lowercase
    vocabulary = [*SPECIAL, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    words, merges = list(letters), []
    while len(merges) < size - len(vocabulary):
        pairs = list(itertools.product(words, letters))
        words = ["".join(pair) for pair in pairs]
        merges += pairs
    merges = merges[: size - len(vocabulary)]
    vocabulary += ["".join(merge) for merge in merges]
    inner = Tokenizer(models.BPE({token: i for i, token in enumerate(vocabulary)}, merges))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    inner.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL])
    return PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<|im_end|>", pad_token="<|endoftext|>")


def config(size, ids):
    vocabulary, hidden, wide, layers, heads, key_values, tower, depth, tower_heads = SIZES[size]
    half = hidden // heads // 2
    text = {
        "vocab_size": vocabulary, "hidden_size": hidden, "intermediate_size": wide, "num_hidden_layers": layers, "num_attention_heads": heads,
        "num_key_value_heads": key_values, "max_position_embeddings": 32768, "rms_norm_eps": 1e-6, "tie_word_embeddings": True,
        "rope_parameters": {"rope_type": "default", "mrope_section": [half // 4, half * 3 // 8, half - half // 4 - half * 3 // 8], "rope_theta": 1e6},
        "bos_token_id": None, "eos_token_id": ids["<|video_pad|>"], "pad_token_id": ids["<|endoftext|>"],
    }
    vision = {
        "depth": depth, "embed_dim": tower, "hidden_size": hidden, "num_heads": tower_heads, "mlp_ratio": 4,
        "patch_size": 14, "spatial_merge_size": 2, "temporal_patch_size": 2, "in_channels": 3,
    }
    media = {f"{key}_token_id": ids[f"<|{name}|>"] for key, name in
             [("image", "image_pad"), ("video", "video_pad"), ("vision_start", "vision_start"), ("vision_end", "vision_end")]}
    return Qwen2VLConfig(text_config=text, vision_config=vision, tie_word_embeddings=True, **media)


def make(size, folder, dtype=torch.float32, device="cpu"):
    """Writes a checkpoint with its processor, and tells how many parameters it has."""
    torch.manual_seed(0)
    tokens = tokenizer(SIZES[size][0])
    ids = {token: tokens.convert_tokens_to_ids(token) for token in SPECIAL}
    before, _ = torch.get_default_dtype(), torch.set_default_dtype(dtype)
    with torch.device(device):
        model = Qwen2VLForConditionalGeneration(config(size, ids))
    torch.set_default_dtype(before)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, 0.02)
    model.generation_config.eos_token_id = ids["<|video_pad|>"]
    model.generation_config.pad_token_id = ids["<|endoftext|>"]
    model.save_pretrained(folder)
    images = Qwen2VLImageProcessor(min_pixels=56 * 56, max_pixels=1792 * 1792)
    Qwen2VLProcessor(image_processor=images, tokenizer=tokens, video_processor=Qwen2VLVideoProcessor(), chat_template=TEMPLATE).save_pretrained(folder)
    return sum(parameter.numel() for parameter in model.parameters())


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("size", choices=SIZES)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--dtype", choices=("f32", "bf16"), default="f32")
    args = parser.parse_args()
    kind = {"f32": torch.float32, "bf16": torch.bfloat16}[args.dtype]
    device = "cuda" if torch.cuda.is_available() else "cpu"
    print(make(args.size, args.folder, kind, device), "parameters")
