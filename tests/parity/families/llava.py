from transformers import LlavaConfig, LlavaForConditionalGeneration

from .seeing import Seeing, language

CLIP = {"image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711]}


class Llava(Seeing):
    name, model = "llava", LlavaForConditionalGeneration
    shown = ["", "i", "ii", "iii"]
    media, ends = ["<image>"], ["</s>"]
    beside, tower = ["vision_tower", "multi_modal_projector"], "model.vision_tower"
    published_names = {
        "model.language_model.": "language_model.model.",
        "lm_head.": "language_model.lm_head.",
        "model.vision_tower.": "vision_tower.vision_model.",
        "model.multi_modal_projector.": "multi_modal_projector.",
        "model.image_newline": "image_newline",
    }
    # Sides of a picture and of a patch.
    sides = [(42, 14), (28, 7), (45, 14)]

    def config(self, chance, seed, text, head_dim, ids):
        return LlavaConfig(**self.keys(chance, seed, text, head_dim, ids, lambda clip: chance.choice(["default", "full"])))

    def keys(self, chance, seed, text, head_dim, ids, strategy):
        theta = chance.choice([100.0, 1000.0])
        vision = tower(chance, *chance.choice(self.sides))
        strategy = strategy(vision["model_type"].startswith("clip"))
        return {
            "text_config": language(chance, seed, text, head_dim, theta),
            "vision_config": vision,
            "image_token_index": ids("<image>"),
            "tie_word_embeddings": text["tie_word_embeddings"],
            "projector_hidden_act": chance.choice(["gelu", "gelu", "gelu_pytorch_tanh"]),
            "multimodal_projector_bias": chance.choice([True, True, False]),
            "vision_feature_layer": chance.choice([-2, -2, -1, 1, [-3, -1], [1, -2]]),
            "vision_feature_select_strategy": strategy,
        }

    def settings(self, config):
        vision, side = config.vision_config, config.vision_config.image_size
        clip = vision.model_type.startswith("clip")
        if clip:
            images = {"image_processor_type": "CLIPImageProcessor", "do_resize": True, "do_center_crop": True, "do_rescale": True, "do_normalize": True, "do_convert_rgb": True, "resample": 3, "rescale_factor": 1 / 255, "size": {"shortest_edge": side}, "crop_size": {"height": side, "width": side}, **CLIP}
        else:
            images = {"image_processor_type": "SiglipImageProcessor", "size": {"height": side, "width": side}}
        named = {"processor_class": "LlavaProcessor", "image_token": "<image>", "patch_size": vision.patch_size, "num_additional_image_tokens": int(clip), "vision_feature_select_strategy": config.vision_feature_select_strategy}
        return {"preprocessor_config.json": images, "processor_config.json": named}


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
