from transformers import LlavaConfig, LlavaForConditionalGeneration, LlavaNextConfig, LlavaNextForConditionalGeneration

from .family import FIXTURES, Family, nested_keys, turned
from .language import drawn_language

CLIP = {"image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711]}
# Canvases in tiles.
CANVASES = [[1, 2], [2, 1], [2, 2], [3, 1], [1, 3]]


def tower(chance, image_size, patch_size):
    heads = chance.choice([1, 2])
    kind = chance.choice(["clip_vision_model", "siglip_vision_model"])
    head = {"vision_use_head": chance.choice([False, True])} if kind.startswith("siglip") else {}
    return {
        "model_type": kind,
        "hidden_size": heads * chance.choice([8, 12]),
        "intermediate_size": chance.choice([24, 40]),
        "num_hidden_layers": 3,
        "num_attention_heads": heads,
        "image_size": image_size,
        "patch_size": patch_size,
        "hidden_act": chance.choice(["quick_gelu", "gelu"]) if kind.startswith("clip") else "gelu_pytorch_tanh",
        **head,
    }


def both(chance, seed, text, tokenizer, vision, strategy):
    return {
        "text_config": drawn_language(chance, seed, text),
        "vision_config": vision,
        "image_token_index": tokenizer.convert_tokens_to_ids("<image>"),
        "tie_word_embeddings": text["tie_word_embeddings"],
        "projector_hidden_act": chance.choice(["gelu", "gelu", "gelu_pytorch_tanh"]),
        "multimodal_projector_bias": chance.choice([True, True, False]),
        "vision_feature_layer": chance.choice([-2, -2, -1, 1, [-3, -1], [1, -2]]),
        "vision_feature_select_strategy": strategy,
    }


def llava(chance, seed, text, tokenizer):
    vision = tower(chance, *chance.choice([(42, 14), (28, 7), (45, 14)]))
    return LlavaConfig(**both(chance, seed, text, tokenizer, vision, chance.choice(["default", "full"])))


def llava_next(chance, seed, text, tokenizer):
    vision = tower(chance, *chance.choice([(28, 14), (28, 7), (45, 14)]))
    # What does not come of patches cannot lie on a canvas.
    strategy = "default" if vision["model_type"].startswith("clip") else "full"
    side = vision["image_size"]
    canvases = [[high * side, wide * side] for high, wide in CANVASES]
    return LlavaNextConfig(**both(chance, seed, text, tokenizer, vision, strategy), image_grid_pinpoints=canvases)


def settings(config):
    vision, side = config.vision_config, config.vision_config.image_size
    clip = vision.model_type.startswith("clip")
    images = {"image_processor_type": "CLIPImageProcessor", "do_resize": True, "do_center_crop": True, "do_rescale": True, "do_normalize": True, "do_convert_rgb": True, "resample": 3, "rescale_factor": 1 / 255, "size": {"shortest_edge": side}, "crop_size": {"height": side, "width": side}, **CLIP}
    named = {"processor_class": "LlavaProcessor", "image_token": "<image>", "patch_size": vision.patch_size, "num_additional_image_tokens": int(clip), "vision_feature_select_strategy": config.vision_feature_select_strategy}
    if config.model_type == "llava_next":
        images |= {"image_processor_type": "LlavaNextImageProcessor", "image_grid_pinpoints": config.image_grid_pinpoints}
        named |= {"processor_class": "LlavaNextProcessor"}
    elif not clip:
        images = {"image_processor_type": "SiglipImageProcessor", "size": {"height": side, "width": side}}
    return {"preprocessor_config.json": images, "processor_config.json": named}


LLAVA = Family(
    config=llava,
    model=LlavaForConditionalGeneration,
    texts=FIXTURES / "families/llava",
    settings=settings,
    published_keys=nested_keys,
    published_names=[
        ("model.language_model.", "language_model.model."),
        ("lm_head.", "language_model.lm_head."),
        ("model.vision_tower.", "vision_tower.vision_model."),
        ("model.multi_modal_projector.", "multi_modal_projector."),
        ("model.image_newline", "image_newline"),
    ],
    shown=["", "i", "ii", "iii"],
    unsaid=("<image>",),
    tower=r"(.*\.)?(vision_tower|multi_modal_projector)\..*",
    wrong_towers=lambda model: {"places": turned(model.model.vision_tower.embeddings.position_embedding.weight)},
)
LLAVA_NEXT = Family(**{**vars(LLAVA), "config": llava_next, "model": LlavaNextForConditionalGeneration, "texts": FIXTURES / "families/llava_next"})
