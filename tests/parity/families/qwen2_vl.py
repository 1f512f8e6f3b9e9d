import json

from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration

from .family import Family, write

MAX_PIXELS = 28 * 28 * 40


class Qwen2VL(Family):
    name, model = "qwen2_vl", Qwen2VLForConditionalGeneration
    shown = ["", "i", "ii", "v", "iv", "ivv"]
    prompts = [
        *Family.prompts,
        # In whole squares of patches, so that nothing is resized.
        ("one image", [(84, 112)], "What colour is it?"),
        ("two images", [(140, 56), (56, 84)], "Which of them is the larger one of both?"),
    ]
    published_names = {"model.visual.": "visual.", "model.language_model.": "model."}
    beside = ["visual"]
    config_class = Qwen2VLConfig

    def write_processor(self, folder):
        """With room for larger pictures than usual."""
        super().write_processor(folder)
        file = folder / "preprocessor_config.json"
        settings = json.loads(file.read_text())
        settings["max_pixels"] = settings["size"]["longest_edge"] = MAX_PIXELS
        write(file, settings)

    def config(self, chance, seed, text, head_dim, ids):
        theta, half = chance.choice([100.0, 1000.0]), head_dim // 2
        sections = [half // 4, half // 2, half - half // 4 - half // 2]
        text["rope_parameters"] = {"rope_type": "default", "mrope_section": sections, "rope_theta": theta}
        heads = chance.choice([1, 2])
        width = heads * chance.choice([8, 16])
        vision = {"depth": chance.choice([3, 4]), "num_heads": heads, "patch_size": 14, "spatial_merge_size": 2, "temporal_patch_size": 2, "in_channels": 3}
        vision = self.tower(chance, vision, width, text["hidden_size"])
        tokens = {f"{name}_token_id": ids(f"<|{name}{pad}|>") for name, pad in (("image", "_pad"), ("video", "_pad"), ("vision_start", ""), ("vision_end", ""))}
        return self.config_class(vision_config=vision, text_config=text, **tokens, tie_word_embeddings=text["tie_word_embeddings"])

    def tower(self, chance, vision, width, output):
        return {**vision, "embed_dim": width, "hidden_size": output, "mlp_ratio": chance.choice([2, 3])}

    def published(self, keys):
        """Flat, as transformers 4.4x published them."""
        text = keys.pop("text_config")
        text.pop("model_type")
        keys = {**text, **keys}
        vision = keys["vision_config"]
        vision.pop("rope_parameters", None)
        vision["in_chans"] = vision.pop("in_channels")
        vision["spatial_patch_size"] = vision["patch_size"]
        vision["model_type"] = keys["model_type"]
        sections = keys["rope_parameters"]["mrope_section"]
        return {**super().published(keys), "rope_scaling": {"type": "mrope", "mrope_section": sections}}

    def weights(self, name, draw):
        return super().weights(name.replace("ln_q", "norm"), draw)

    def wrong_positions(self, positions):
        return positions.expand(3, 1, -1)
