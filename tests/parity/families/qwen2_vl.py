import json
from contextlib import contextmanager

from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration, Qwen2VLConfig, Qwen2VLForConditionalGeneration

from .family import FIXTURES, Family, flat_keys
from .language import CHATML

MEDIA = ("image_pad", "video_pad", "vision_start", "vision_end")


def parts(chance, text, tokenizer):
    """Keys of the language model with sections for its heads, of the tower and of both."""
    half = text["hidden_size"] // text["num_attention_heads"] // 2
    sections = [half // 4, half // 2, half - half // 4 - half // 2]
    text["rope_parameters"]["mrope_section"] = sections
    vision_heads = chance.choice([1, 2])
    width = vision_heads * chance.choice([8, 16])
    vision = {"depth": chance.choice([3, 4]), "num_heads": vision_heads, "patch_size": 14, "spatial_merge_size": 2, "temporal_patch_size": 2, "in_channels": 3}
    ids = {f"{name.replace('_pad', '')}_token_id": tokenizer.convert_tokens_to_ids(f"<|{name}|>") for name in MEDIA}
    return width, vision, {"text_config": text, **ids, "tie_word_embeddings": text["tie_word_embeddings"]}


def qwen2_vl(chance, seed, text, tokenizer):
    width, vision, both = parts(chance, text, tokenizer)
    vision |= {"embed_dim": width, "hidden_size": text["hidden_size"], "mlp_ratio": chance.choice([2, 3])}
    return Qwen2VLConfig(vision_config=vision, **both)


def qwen2_5_vl(chance, seed, text, tokenizer):
    width, vision, both = parts(chance, text, tokenizer)
    vision |= {
        "hidden_size": width,
        "intermediate_size": chance.choice([24, 40]),
        "out_hidden_size": text["hidden_size"],
        "window_size": chance.choice([56, 112]),
        "fullatt_block_indexes": [1],
        "tokens_per_second": chance.choice([2, 4]),
    }
    return Qwen2_5_VLConfig(vision_config=vision, **both)


def settings(config):
    """Those of ../checkpoint, with room for larger images than usual."""
    read = json.loads((FIXTURES / "checkpoint/preprocessor_config.json").read_text())
    read["max_pixels"] = read["size"]["longest_edge"] = 28 * 28 * 40
    return {"preprocessor_config.json": read}


def flat(keys):
    """The language model's keys beside the others."""
    keys = dict(keys)
    text = keys.pop("text_config")
    text.pop("model_type")
    keys = {**text, **keys}
    vision = keys["vision_config"]
    vision.pop("rope_parameters", None)
    vision["in_chans"] = vision.pop("in_channels")
    vision["spatial_patch_size"] = vision["patch_size"]
    vision["model_type"] = keys["model_type"]
    return flat_keys(keys)


def windows(model):
    if not hasattr(model.model.visual, "fullatt_block_indexes"):
        return {}

    @contextmanager
    def none():
        tower = model.model.visual
        kept, tower.fullatt_block_indexes = tower.fullatt_block_indexes, list(range(8))
        yield
        tower.fullatt_block_indexes = kept

    return {"windows": none()}


QWEN2_VL = Family(
    config=qwen2_vl,
    model=Qwen2VLForConditionalGeneration,
    **CHATML,
    settings=settings,
    published_keys=flat,
    published_names=[("model.visual.", "visual."), ("model.language_model.", "model.")],
    shown=["", "i", "ii", "v", "iv", "ivv"],
    tower=r"(.*\.)?visual\..*",
    axes=True,
    wrong_towers=windows,
)
QWEN2_5_VL = Family(**{**vars(QWEN2_VL), "config": qwen2_5_vl, "model": Qwen2_5_VLForConditionalGeneration})
