"""Small random checkpoints of every family, in every form that Hugging Face directories come in.

Norms and biases are random too and matrices are scaled up, so that a wrong position, mask or window moves a
log-probability by more than 1; `sensitive` checks that. Needs transformers 5.x and torch.
"""

import contextlib
import json
import random
from pathlib import Path

import numpy as np
import torch
from families import FAMILIES
from PIL import Image
from safetensors.torch import save_file
from transformers import CONFIG_MAPPING, AutoConfig, AutoProcessor, AutoTokenizer


def config(family, seed, tokenizer, head_dims=(8, 16)):
    """A config of shapes that follow from `seed`; every other seed ties the embeddings."""
    chance = random.Random(f"{family.name} {seed}")
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
        "eos_token_id": tokenizer.convert_tokens_to_ids(family.ends[0]),
    }
    return family.config(chance, seed, text, head_dim, tokenizer.convert_tokens_to_ids)


def model(family, config, seed):
    """Random weights, in f32, ready for evaluation."""
    made = family.model(config).float().eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in made.named_parameters():
            # Numbers that bf16 and f16 both hold, so that a file of any kind holds the same model.
            p.copy_(family.weights(name, torch.randn(p.shape, generator=generator)).bfloat16().half().float())
    return made


def save(family, made, folder, form, dtype=torch.float32, shards=1):
    """Writes `made` as `published` (keys and names as they were then) or `nested` (today's)."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    keys = made.config.to_dict()
    keys["architectures"] = [type(made).__name__]
    tensors = {name: p.detach() for name, p in made.named_parameters()}
    if form == "published":
        keys = family.published(keys)
        tensors = {published(family, part): p for name, whole in tensors.items() for part, p in family.published_tensors(name, whole).items()}
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


def dress(folder, family, tokenizer):
    """What the processor is made of, and the tokens that end a completion."""
    family.write_processor(folder)
    ends = [tokenizer.convert_tokens_to_ids(token) for token in family.ends]
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": ends, "pad_token_id": ends[-1]}))


def published(family, name):
    """What a published file calls a tensor."""
    begins = [begin for begin in family.published_names if name.startswith(begin)]
    longest = max(begins, key=len, default="")
    return family.published_names.get(longest, "") + name.removeprefix(longest)


def leave_out(family, folder, chance):
    """Takes keys out of config.json that equal their class's default, as some releases of transformers save it."""
    path = Path(folder) / "config.json"
    keys = json.loads(path.read_text())
    made = family.model.config_class()
    plain, text = made.to_dict(), made.get_text_config().to_dict()

    def of_class(section, default):
        """What the section's own class has, where it says which that is."""
        kind = keys.get(section, {}).get("model_type")
        return AutoConfig.for_model(kind).to_dict() if kind in CONFIG_MAPPING and kind != family.name else default

    text, vision = of_class("text_config", text), of_class("vision_config", plain.get("vision_config", {}))
    sections = [(keys, plain if "text_config" in keys else text), (keys.get("text_config", {}), text), (keys.get("vision_config", {}), vision)]
    left = []
    for section, defaults in sections:
        for key in [key for key, value in section.items() if key in defaults and defaults[key] == value and key != "model_type"]:
            if chance.random() < 0.7:
                left.append(key)
                del section[key]
    path.write_text(json.dumps(keys, indent=1) + "\n")
    return left


def inputs(family, folder, words, images=(), videos=(), metadata=None):
    """The prompt of one turn that shows these and then says the words, as the processor in `folder` makes it."""
    if not family.sees:
        tokenizer = AutoTokenizer.from_pretrained(folder)
        rendered = tokenizer.apply_chat_template([{"role": "user", "content": words}], tokenize=False, add_generation_prompt=True)
        out = dict(tokenizer(rendered, return_tensors="pt"))
        return {name: out[name] for name in ("input_ids", "attention_mask")}
    processor = AutoProcessor.from_pretrained(folder)
    content = [{"type": kind} for kind, media in (("image", images), ("video", videos)) for _ in media] + [{"type": "text", "text": words}]
    rendered = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
    return family.process(processor, rendered, list(images), list(videos), metadata)


def extended(inputs, ids):
    """The prompt with these ids behind it."""
    more = torch.tensor([ids])
    inputs = {**inputs, "input_ids": torch.cat([inputs["input_ids"], more], 1)}
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    if "mm_token_type_ids" in inputs:
        inputs["mm_token_type_ids"] = torch.cat([inputs["mm_token_type_ids"], torch.zeros_like(more)], 1)
    if "cross_attention_mask" in inputs:
        seen = inputs["cross_attention_mask"]
        inputs["cross_attention_mask"] = torch.cat([seen, seen[:, -1:].expand(-1, len(ids), *seen.shape[2:])], 1)
    return inputs


def logprobs(model, inputs, ids):
    """What a model says of every token in the place of each of `ids` behind a prompt."""
    # Not every family brings pixels to its own kind itself.
    inputs = {name: (x.to(model.dtype) if torch.is_floating_point(x) else x).to(model.device) for name, x in extended(inputs, ids).items()}
    with torch.no_grad():
        logits = model(**inputs).logits
    return logits[0, -len(ids) - 1 : -1].float().log_softmax(-1).cpu()


def of_each(logprobs, ids):
    return logprobs.gather(1, torch.tensor(ids)[:, None])[:, 0].tolist()


def noise(seed, height, width):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8))


def sensitive(family, made, inputs):
    """How far log-probabilities move when positions, the mask, or something of the family's own is wrong."""
    def logprobs(**changed):
        with torch.no_grad():
            return made(**{**inputs, **changed}).logits.log_softmax(-1)

    right = logprobs()
    mask = torch.ones_like(inputs["input_ids"])
    mask[:, 1] = 0
    # Every second position.
    positions = family.wrong_positions(torch.arange(inputs["input_ids"].shape[1])[None] * 2)
    moved = {
        "mask": (logprobs(attention_mask=mask) - right)[:, 2:].abs().max().item(),
        "positions": (logprobs(position_ids=positions) - right).abs().max().item(),
    }
    if any("pixel_values" in name for name in inputs):
        for name, mistaken in family.mistakes(made):
            with contextlib.ExitStack() as stack:
                stack.enter_context(mistaken)
                moved[name] = (logprobs() - right).abs().max().item()
    return moved
