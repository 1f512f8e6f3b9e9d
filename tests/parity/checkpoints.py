"""Small random checkpoints of every family, in every form that Hugging Face directories come in.

Norms and biases are random too and matrices are scaled up, so that a wrong position, mask or window moves a
log-probability by more than 1; `sensitive` checks that. Needs transformers 5.x and torch. What a family is, a file of
families/ says.
"""

import json
import random
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import AutoConfig, AutoTokenizer

from families import FAMILIES


def tokenizer(family):
    return AutoTokenizer.from_pretrained(FAMILIES[family].texts)


def config(family, seed, tokenizer, head_dims=(8, 16)):
    """A config of shapes that follow from `seed`; every other seed ties the embeddings."""
    chance = random.Random(f"{family} {seed}")
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
        "eos_token_id": tokenizer.eos_token_id,
    }
    text["rope_parameters"] = {"rope_type": "default", "rope_theta": chance.choice([100.0, 1000.0])}
    return FAMILIES[family].config(chance, seed, text, tokenizer)


def model(config, seed):
    """Random weights, in f32, ready for evaluation."""
    made = FAMILIES[config.model_type].model(config).float().eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in made.named_parameters():
            draw = torch.randn(p.shape, generator=generator)
            if p.ndim == 1:
                centre = 1.0 if ("norm" in name or "ln_q" in name) and "bias" not in name else 0.0
                p.copy_(centre + 0.3 * draw)
            elif "embed_tokens" in name or "position_embedding" in name:
                p.copy_(draw)
            elif "lm_head" in name:
                p.copy_(draw / p.shape[1] ** 0.5 * 3.0)
            else:
                p.copy_(draw * 1.4 / p[0].numel() ** 0.5)
            # Numbers that bf16 and f16 both hold, so that a file of any kind holds the same model.
            p.copy_(p.bfloat16().half().float())
    return made


def save(made, folder, form, dtype=torch.float32, shards=1):
    """Writes `made` as `published` (keys and names as 4.4x had them) or `nested` (today's config and names)."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    family = FAMILIES[made.config.model_type]
    keys = made.config.to_dict()
    keys["architectures"] = [type(made).__name__]
    tensors = {name: p.detach() for name, p in made.named_parameters()}
    if form == "published":
        keys = family.published_keys(keys)
        tensors = {family.published_name(name): p for name, p in tensors.items()}
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


def dress(folder, family, config):
    """Tokenizer, template, the tokens that end a completion and the processor's settings beside the weights."""
    folder, made = Path(folder), FAMILIES[family]
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        (folder / name).write_bytes((made.texts / name).read_bytes())
    ends = [tokenizer(family).convert_tokens_to_ids(token) for token in made.ends]
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": ends, "pad_token_id": ends[-1], "transformers_version": "5.24.0"}))
    for name, settings in made.settings(config).items():
        (folder / name).write_text(json.dumps(settings, indent=1) + "\n")


def leave_out(folder, chance):
    """Takes keys out of config.json that equal their class's default, as some releases of transformers save it."""
    path = Path(folder) / "config.json"
    keys = json.loads(path.read_text())
    plain = AutoConfig.for_model(keys["model_type"])

    def of_class(section, default):
        kind = keys.get(section, {}).get("model_type", keys["model_type"])
        return (default if kind == keys["model_type"] else AutoConfig.for_model(kind)).to_dict()

    text = of_class("text_config", plain.get_text_config())
    outer = plain.to_dict() if "text_config" in keys else text
    vision = of_class("vision_config", getattr(plain, "vision_config", plain))
    sections = [(keys, outer), (keys.get("text_config", {}), text), (keys.get("vision_config", {}), vision)]
    left = []
    for section, defaults in sections:
        for key in [key for key, value in section.items() if key in defaults and defaults[key] == value and key != "model_type"]:
            if chance.random() < 0.7:
                left.append(key)
                del section[key]
    path.write_text(json.dumps(keys, indent=1) + "\n")
    return left


def sensitive(made, inputs):
    """How far log-probabilities move when positions, the mask or (where there are any) windows or a tower's positions are wrong."""
    def logprobs(**changed):
        with torch.no_grad():
            return made(**{**inputs, **changed}).logits.log_softmax(-1)

    right = logprobs()
    mask = torch.ones_like(inputs["input_ids"])
    mask[:, 1] = 0
    length = inputs["input_ids"].shape[1]
    moved = {
        "mask": (logprobs(attention_mask=mask) - right)[:, 2:].abs().max().item(),
        "positions": (logprobs(position_ids=FAMILIES[made.config.model_type].wrong_positions(length)) - right).abs().max().item(),
    }
    if any("pixel_values" in name for name in inputs):
        for name, wrong in FAMILIES[made.config.model_type].wrong_towers(made).items():
            with wrong:
                moved[name] = (logprobs() - right).abs().max().item()
    return moved
