"""Writes a checkpoint of Qwen2-VL-2B-Instruct's shapes with random weights, in bf16: config.json and two shards, 4.4 GB. With the name of
one of crates/vr1-vlm/tests/fixtures/sizes/published.json that one, with a small tokenizer and its processor's settings.

    python large.py DIR [NAME]
    cargo bench -p vr1 --bench models -- DIR bf16 1       # seconds and peak memory of loading
"""

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import CONFIG_MAPPING, AutoTokenizer, Qwen2VLConfig

from checkpoints import published
from families import FAMILIES

TEXT = {
    "vocab_size": 151936, "hidden_size": 1536, "intermediate_size": 8960, "num_hidden_layers": 28, "num_attention_heads": 12,
    "num_key_value_heads": 2, "max_position_embeddings": 32768, "rms_norm_eps": 1e-6, "tie_word_embeddings": True,
    "rope_parameters": {"rope_type": "default", "mrope_section": [16, 24, 24], "rope_theta": 1e6},
}
VISION = {"depth": 32, "embed_dim": 1280, "hidden_size": 1536, "num_heads": 16, "mlp_ratio": 4, "patch_size": 14, "spatial_merge_size": 2, "temporal_patch_size": 2, "in_channels": 3}


SIZES = Path(__file__).parents[2] / "crates/vr1-vlm/tests/fixtures/sizes/published.json"


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    if sys.argv[2:]:
        keys = json.loads(SIZES.read_text())[sys.argv[2]]["config"]
        family = FAMILIES[keys["model_type"]]
        family.write_processor(folder)
        tokenizer = AutoTokenizer.from_pretrained(folder)
        config = CONFIG_MAPPING[keys["model_type"]].from_dict(keys)
        config.image_token_id = tokenizer.convert_tokens_to_ids("<image>")
    else:
        config = Qwen2VLConfig(text_config=TEXT, vision_config=VISION, tie_word_embeddings=True)
        family = FAMILIES[config.model_type]
    with torch.device("meta"):
        model = family.model(config)
    keys = family.published({**config.to_dict(), "architectures": [type(model).__name__]})
    (folder / "config.json").write_text(json.dumps({**keys, "torch_dtype": "bfloat16"}, indent=1) + "\n")
    named = [(published(family, name), p.shape) for name, p in model.named_parameters()]
    print(sum(shape.numel() for _, shape in named), "parameters")
    index = {}
    for shard in range(2):
        file = f"model-{shard + 1:05}-of-00002.safetensors"
        part = {name: (0.02 * torch.randn(shape)).bfloat16() for name, shape in named[shard::2]}
        save_file(part, folder / file, metadata={"format": "pt"})
        index |= dict.fromkeys(part, file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}) + "\n")
    if sys.argv[2:]:
        # Again, for settings follow from the config.
        family.write_processor(folder)


main()
