from contextlib import contextmanager

from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration, Qwen3VLMoeConfig, Qwen3VLMoeForConditionalGeneration

from .family import PROCESSORS, Family, write
from .qwen3 import Experts


class Qwen3VL(Family):
    name, model = "qwen3_vl", Qwen3VLForConditionalGeneration
    shown = ["", "i", "ii", "v", "iv", "ivv"]
    least_frames = 2
    prompts = [
        *Family.prompts,
        # In whole squares of patches, so that nothing is resized.
        ("one image", [(48, 64)], "What colour is it?"),
        ("two images", [(80, 32), (32, 48)], "Which of them is the larger one of both?"),
    ]
    beside = ["visual"]
    config_class = Qwen3VLConfig

    def write_processor(self, folder):
        for file in (PROCESSORS / "families/qwen3_vl").iterdir():
            if file.name != "cases.json":
                (folder / file.name).write_bytes(file.read_bytes())
        halves = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "patch_size": 8, "temporal_patch_size": 2, "merge_size": 2}
        write(folder / "preprocessor_config.json", {"image_processor_type": "Qwen2VLImageProcessorFast", "processor_class": "Qwen3VLProcessor", "size": {"shortest_edge": 16**2, "longest_edge": 40 * 16**2}, **halves})
        write(folder / "video_preprocessor_config.json", {"video_processor_type": "Qwen3VLVideoProcessor", "size": {"shortest_edge": 16**2, "longest_edge": 80 * 16**2}, "min_frames": 2, **halves})

    def config(self, chance, seed, text, head_dim, ids):
        text["head_dim"] = head_dim * chance.choice([1, 2])
        half = text["head_dim"] // 2
        sections = [half - 2 * (half // 3), half // 3, half // 3]
        text["rope_parameters"] = {"rope_type": "default", "mrope_section": sections, "rope_theta": chance.choice([100.0, 1000.0])}
        text |= {"attention_bias": chance.choice([True, False]), **self.more(chance)}
        heads, depth = chance.choice([1, 2]), chance.choice([3, 4])
        vision = {
            "depth": depth,
            "hidden_size": chance.choice([8, 16]),
            "intermediate_size": chance.choice([24, 40]),
            "num_heads": heads,
            "out_hidden_size": text["hidden_size"],
            "patch_size": 8,
            "num_position_embeddings": chance.choice([9, 16, 25]),
            # For fewer than all layers of the language model: what is added behind the last is seen by none.
            "deepstack_visual_indexes": chance.choice([[0], [1], [2]] if text["num_hidden_layers"] == 2 else [[2], [0, 2], [1, 2]]),
        }
        tokens = {f"{name}_token_id": ids(f"<|{name}{pad}|>") for name, pad in (("image", "_pad"), ("video", "_pad"), ("vision_start", ""), ("vision_end", ""))}
        return self.config_class(vision_config=vision, text_config=text, **tokens, tie_word_embeddings=text["tie_word_embeddings"])

    def more(self, chance):
        return {}

    def published(self, keys):
        """Nested, with what is turned beside its base."""
        text, vision = keys["text_config"], keys["vision_config"]
        sections = text["rope_parameters"]["mrope_section"]
        keys["text_config"] = {**super().published(text), "rope_scaling": {"mrope_interleaved": True, "mrope_section": sections, "rope_type": "default"}}
        vision.pop("rope_parameters", None)
        vision["model_type"] = keys["model_type"]
        return keys

    def weights(self, name, draw):
        return 2 * draw if "pos_embed" in name else super().weights(name, draw)

    def mistakes(self, made):
        tower = made.model.visual
        return [("deep features", instead(tower, "deepstack_visual_indexes", [])), ("corners", instead(tower, "interpolation_align_corners", False))]

    def wrong_positions(self, positions):
        return positions.expand(3, 1, -1)

    def size(self, chance):
        if chance.random() < 0.5:
            return tuple(16 * chance.randrange(1, 7) for _ in range(2))
        return chance.randrange(12, 120), chance.randrange(12, 120)


class Qwen3VLMoe(Experts, Qwen3VL):
    name, model = "qwen3_vl_moe", Qwen3VLMoeForConditionalGeneration
    config_class = Qwen3VLMoeConfig

    def more(self, chance):
        return self.experts(chance)

    def published_tensors(self, name, tensor):
        """Experts' matrices the other way round."""
        turned = tensor.transpose(1, 2) if ".experts." in name else tensor
        return super().published_tensors(name, turned)


@contextmanager
def instead(thing, name, value):
    kept = getattr(thing, name)
    setattr(thing, name, value)
    yield
    setattr(thing, name, kept)
