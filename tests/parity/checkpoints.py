"""Small random checkpoints of every family, in every form that Hugging Face directories come in.

Norms and biases are random too and matrices are scaled up, so that a wrong position, mask or window moves a
log-probability by more than 1; `sensitive` checks that. Needs transformers 5.x and torch.
"""

import json
import random
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
)

FAMILIES = ("llama", "qwen2", "qwen2_vl", "qwen2_5_vl")
MEDIA = ("image_pad", "video_pad", "vision_start", "vision_end")


def config(family, seed, tokenizer, head_dims=(8, 16)):
    """A config of shapes that follow from `seed`; every other seed ties the embeddings."""
    chance = random.Random(f"{family} {seed}")
    ids = {name: tokenizer.convert_tokens_to_ids(f"<|{name}|>") for name in MEDIA}
    key_value = chance.choice([1, 2])
    heads = key_value * chance.choice([1, 2, 3])
    head_dim = chance.choice(head_dims)
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": heads * head_dim,
        "intermediate_size": chance.choice([40, 56]),
        "num_hidden_layers": chance.choice([2, 3]),
        "num_attention_heads": heads,
        "num_key_value_heads": key_value,
        "max_position_embeddings": 512,
        "rms_norm_eps": chance.choice([1e-5, 1e-6]),
        "tie_word_embeddings": seed % 2 == 0,
        "bos_token_id": None,
        "eos_token_id": tokenizer.convert_tokens_to_ids("<|im_end|>"),
    }
    theta = chance.choice([100.0, 1000.0])
    if family == "llama":
        # Three frequencies of a head of 16 are kept, mixed and divided.
        llama3 = {"rope_type": "llama3", "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 32}
        scaling = [llama3, {"rope_type": "linear", "factor": 2.0}, {"rope_type": "default"}][seed % 3]
        biases = seed % 2 == 0
        if biases:
            text["head_dim"] = head_dim * 2
        return LlamaConfig(**text, attention_bias=biases, mlp_bias=biases, rope_parameters={**scaling, "rope_theta": theta})
    if family == "qwen2":
        return Qwen2Config(**text, rope_parameters={"rope_type": "default", "rope_theta": theta})
    half = head_dim // 2
    sections = [half // 4, half // 2, half - half // 4 - half // 2]
    text["rope_parameters"] = {"rope_type": "default", "mrope_section": sections, "rope_theta": theta}
    vision_heads = chance.choice([1, 2])
    width = vision_heads * chance.choice([8, 16])
    vision = {"depth": chance.choice([3, 4]), "num_heads": vision_heads, "patch_size": 14, "spatial_merge_size": 2, "temporal_patch_size": 2, "in_channels": 3}
    token_ids = {f"{name.replace('_pad', '')}_token_id": ids[name] for name in MEDIA}
    both = {"text_config": text, **token_ids, "tie_word_embeddings": text["tie_word_embeddings"]}
    if family == "qwen2_vl":
        vision |= {"embed_dim": width, "hidden_size": text["hidden_size"], "mlp_ratio": chance.choice([2, 3])}
        return Qwen2VLConfig(vision_config=vision, **both)
    vision |= {
        "hidden_size": width,
        "intermediate_size": chance.choice([24, 40]),
        "out_hidden_size": text["hidden_size"],
        "window_size": chance.choice([56, 112]),
        "fullatt_block_indexes": [1],
        "tokens_per_second": chance.choice([2, 4]),
    }
    return Qwen2_5_VLConfig(vision_config=vision, **both)


def model(config, seed):
    """Random weights, in f32, ready for evaluation."""
    classes = {"llama": LlamaForCausalLM, "qwen2": Qwen2ForCausalLM, "qwen2_vl": Qwen2VLForConditionalGeneration, "qwen2_5_vl": Qwen2_5_VLForConditionalGeneration}
    made = classes[config.model_type](config).float().eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in made.named_parameters():
            draw = torch.randn(p.shape, generator=generator)
            if p.ndim == 1:
                centre = 1.0 if ("norm" in name or "ln_q" in name) and "bias" not in name else 0.0
                p.copy_(centre + 0.3 * draw)
            elif "embed_tokens" in name:
                p.copy_(draw)
            elif "lm_head" in name:
                p.copy_(draw / p.shape[1] ** 0.5 * 3.0)
            else:
                p.copy_(draw * 1.4 / p[0].numel() ** 0.5)
            # Numbers that bf16 and f16 both hold, so that a file of any kind holds the same model.
            p.copy_(p.bfloat16().half().float())
    return made


def save(made, folder, form, dtype=torch.float32, shards=1):
    """Writes `made` as `published` (flat keys, `visual.*` and `model.*`) or `nested` (today's config and names)."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    keys = made.config.to_dict()
    keys["architectures"] = [type(made).__name__]
    tensors = {name: p.detach() for name, p in made.named_parameters()}
    if form == "published":
        keys = flat(keys)
        tensors = {name.replace("model.visual.", "visual.").replace("model.language_model.", "model."): p for name, p in tensors.items()}
        keys["torch_dtype"] = str(dtype).removeprefix("torch.")
    else:
        keys["dtype"] = str(dtype).removeprefix("torch.")
    for nested in ("text_config", "vision_config"):
        keys.get(nested, {}).pop("dtype", None)
    (folder / "config.json").write_text(json.dumps(keys, indent=1) + "\n")
    tensors = {name: p.to(dtype).contiguous().clone() for name, p in tensors.items()}
    if shards == 1:
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        return
    names, index = sorted(tensors), {}
    for shard in range(shards):
        file = f"model-{shard + 1:05}-of-{shards:05}.safetensors"
        part = {name: tensors[name] for name in names[shard::shards]}
        save_file(part, folder / file, metadata={"format": "pt"})
        index |= dict.fromkeys(part, file)
    total = sum(p.numel() * p.element_size() for p in tensors.values())
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {"total_size": total}, "weight_map": index}) + "\n")


def leave_out(folder, chance):
    """Takes keys out of config.json that equal their class's default, as some releases of transformers save it."""
    path = Path(folder) / "config.json"
    keys = json.loads(path.read_text())
    made = {"llama": LlamaConfig, "qwen2": Qwen2Config, "qwen2_vl": Qwen2VLConfig, "qwen2_5_vl": Qwen2_5_VLConfig}[keys["model_type"]]()
    plain = made.to_dict()
    text = made.get_text_config().to_dict()
    sections = [(keys, text), (keys.get("text_config", {}), text), (keys.get("vision_config", {}), plain.get("vision_config", {}))]
    left = []
    for section, defaults in sections:
        for key in [key for key, value in section.items() if key in defaults and defaults[key] == value and key != "model_type"]:
            if chance.random() < 0.7:
                left.append(key)
                del section[key]
    path.write_text(json.dumps(keys, indent=1) + "\n")
    return left


def flat(keys):
    """The keys as transformers 4.4x published them."""
    keys = dict(keys)
    text = keys.pop("text_config", None)
    if text is not None:
        text.pop("model_type")
        keys = {**text, **keys}
        vision = keys["vision_config"]
        vision.pop("rope_parameters", None)
        vision["in_chans"] = vision.pop("in_channels")
        vision["spatial_patch_size"] = vision["patch_size"]
        vision["model_type"] = keys["model_type"]
    rope = keys.pop("rope_parameters")
    keys["rope_theta"] = rope.pop("rope_theta")
    if "mrope_section" in rope:
        keys["rope_scaling"] = {"type": "mrope", "mrope_section": rope["mrope_section"]}
    else:
        keys["rope_scaling"] = None if rope["rope_type"] == "default" else rope
    for new in ("layer_types", "dtype", "transformers_version"):
        keys.pop(new, None)
    return keys


def sensitive(made, inputs):
    """How far log-probabilities move when positions, the mask or (where there are any) windows are wrong."""
    def logprobs(**changed):
        with torch.no_grad():
            return made(**{**inputs, **changed}).logits.log_softmax(-1)

    right = logprobs()
    mask = torch.ones_like(inputs["input_ids"])
    mask[:, 1] = 0
    length = inputs["input_ids"].shape[1]
    moved = {
        "mask": (logprobs(attention_mask=mask) - right)[:, 2:].abs().max().item(),
        "positions": (logprobs(position_ids=wrong_positions(made, length)) - right).abs().max().item(),
    }
    if hasattr(made.config, "vision_config") and "fullatt_block_indexes" in made.config.vision_config.to_dict() and any("pixel_values" in name for name in inputs):
        tower = made.model.visual
        kept, tower.fullatt_block_indexes = tower.fullatt_block_indexes, list(range(8))
        moved["windows"] = (logprobs() - right).abs().max().item()
        tower.fullatt_block_indexes = kept
    return moved


def wrong_positions(made, length):
    """Every second position, in the shape that the family takes."""
    positions = torch.arange(length)[None] * 2
    return positions.expand(3, 1, length) if hasattr(made.config, "vision_config") else positions
