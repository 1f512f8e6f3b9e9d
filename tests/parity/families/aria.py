import json
from contextlib import contextmanager

from transformers import AriaConfig, AriaForConditionalGeneration

from .family import PROCESSORS, Family, median, write


class Aria(Family):
    name, model = "aria", AriaForConditionalGeneration
    shown = ["", "i", "ii"]
    media = ["<|img|>"]
    ends = ["<|im_end|>", "</s>"]
    prompts = [
        *Family.prompts,
        # As large as they are shown, so that nothing is resized.
        ("one image", [(380, 490)], "What colour is it?"),
        ("two images", [(400, 490), (490, 350)], "Which of them is the larger one of both?"),
    ]
    published_names = {"model.language_model.": "language_model.model.", "lm_head.": "language_model.lm_head.", "model.vision_tower.": "vision_tower.", "model.multi_modal_projector.": "multi_modal_projector."}
    beside = ["vision_tower", "multi_modal_projector"]
    spread, rounding = staticmethod(median), 1.75
    # The projection out of torch's attention is never adapted by peft, though it says so.
    targets = [["q_proj", "v_proj"], r".*\.(o_proj|down_proj)", r".*\.(linear|linear_in|shared_experts\.up_proj)"]

    def write_processor(self, folder):
        for file in (PROCESSORS / "families/aria").iterdir():
            if file.name != "cases.json":
                (folder / file.name).write_bytes(file.read_bytes())
        halves = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
        write(folder / "preprocessor_config.json", {"image_processor_type": "AriaImageProcessor", "max_image_size": 490, "min_image_size": 336, "split_image": False, "resample": 3, **halves})
        tokens = {token["content"]: token["id"] for token in json.loads((folder / "tokenizer.json").read_text())["added_tokens"]}
        write(folder / "generation_config.json", {"eos_token_id": [tokens[end] for end in self.ends], "transformers_version": "5.24.0"})
        write(folder / "processor_config.json", {"processor_class": "AriaProcessor", "size_conversion": {"490": 6, "980": 10}})

    def config(self, chance, seed, text, head_dim, ids):
        text |= {
            "intermediate_size": chance.choice([8, 16]),
            "moe_num_experts": chance.choice([3, 4, 5]),
            "moe_topk": chance.choice([2, 3]),
            "moe_num_shared_experts": chance.choice([1, 2]),
            "attention_bias": chance.choice([True, False]),
            "mlp_bias": chance.choice([True, False]),
            "rope_parameters": {"rope_type": "default", "rope_theta": chance.choice([100.0, 1000.0])},
        }
        heads = chance.choice([1, 2])
        vision = {
            "model_type": "idefics3_vision",
            "hidden_size": 8,
            "intermediate_size": chance.choice([16, 24]),
            "num_hidden_layers": chance.choice([2, 3]),
            "num_attention_heads": heads,
            # Fourteen patches on a side, of which pictures that are not square do not fill all.
            "patch_size": 35,
            "image_size": chance.choice([490, 980]),
        }
        return AriaConfig(
            vision_config=vision, text_config=text, image_token_index=ids("<|img|>"), tie_word_embeddings=text["tie_word_embeddings"],
            projector_patch_to_query_dict={14**2: 6, 28**2: 10}, vision_feature_layer=-1 if seed % 3 else -2,
        )

    def published(self, keys):
        keys["text_config"] = super().published(keys["text_config"])
        text = keys["text_config"]
        text["moe_intermediate_size"] = text["intermediate_size"]
        keys.pop("max_value_projector_patch_to_query_dict", None)
        return keys

    def published_tensors(self, name, tensor):
        return {name.replace("mlp.experts.gate_up_proj", "mlp.experts.fc1.weight").replace("mlp.experts.down_proj", "mlp.experts.fc2.weight"): tensor}

    def weights(self, name, draw):
        if draw.ndim == 3 and "experts" in name:
            return draw * 1.4 / draw.shape[1] ** 0.5
        if name.endswith(("in_proj_bias", "position_embedding.weight", "multi_modal_projector.query")):
            return draw
        return super().weights(name, draw)

    def process(self, processor, rendered, images, videos, metadata):
        """With what the settings say, which the processor's own defaults would hide."""
        shown = {"images": images} if images else {}
        out = dict(processor(text=[rendered], **shown, max_image_size=490, split_image=False, return_tensors="pt"))
        return {name: out[name] for name in out if name != "num_crops"}

    def mistakes(self, made):
        return [("black patches", everything(made.model))]

    def size(self, chance):
        return chance.randrange(200, 500), chance.randrange(200, 500)


@contextmanager
def everything(model):
    """All patches are looked at, those that show nothing too."""
    kept = model._create_patch_attention_mask
    model._create_patch_attention_mask = lambda mask: None if mask is None else kept(mask) | True
    yield
    model._create_patch_attention_mask = kept
