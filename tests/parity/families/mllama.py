import json
from contextlib import contextmanager

from transformers import MllamaConfig, MllamaForConditionalGeneration

from .family import PROCESSORS, Family, write
from .qwen2_vl import Qwen2VL

CLIP = {"image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711]}


class Mllama(Family):
    name, model = "mllama", MllamaForConditionalGeneration
    shown = ["", "i", "ii", "iii"]
    beside = ["vision_model", "multi_modal_projector"]
    media = ["<|image|>"]
    ends = ["<|eot_id|>"]
    prompts = Qwen2VL.prompts
    published_names = {
        "model.language_model.": "language_model.model.",
        "lm_head.": "language_model.lm_head.",
        "model.vision_model.": "vision_model.",
        "model.multi_modal_projector.": "multi_modal_projector.",
    }

    def write_processor(self, folder):
        """With tiles as the config has them, where there is one."""
        for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
            (folder / name).write_bytes((PROCESSORS / "families/mllama" / name).read_bytes())
        file = folder / "config.json"
        vision = json.loads(file.read_text())["vision_config"] if file.is_file() else {}
        side, most = vision.get("image_size", 448), vision.get("max_num_tiles", 4)
        settings = {"image_processor_type": "MllamaImageProcessor", "do_convert_rgb": True, "do_normalize": True, "do_pad": True, "do_rescale": True, "do_resize": True, "max_image_tiles": most, "resample": 2, "rescale_factor": 1 / 255, "size": {"height": side, "width": side}}
        write(folder / "preprocessor_config.json", {**settings, **CLIP})

    def config(self, chance, seed, text, head_dim, ids):
        llama3 = {"rope_type": "llama3", "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 32}
        scaling = [llama3, {"rope_type": "default"}][seed % 2]
        text |= {
            # The picture's token is the first that is read and never said.
            "vocab_size": ids("<|image|>"),
            "num_hidden_layers": 4,
            "cross_attention_layers": chance.choice([[1, 3], [0, 2], [1], [2]]),
            "tie_word_embeddings": False,
            "bos_token_id": ids("<|begin_of_text|>"),
            "pad_token_id": ids("<|end_of_text|>"),
            "rope_parameters": {**scaling, "rope_theta": chance.choice([100.0, 1000.0])},
        }
        heads, layers = chance.choice([1, 2]), chance.choice([2, 3])
        width, taken = heads * chance.choice([8, 12]), chance.choice([[0], [1], [0, 1], [1, 0]])
        tile, patch = chance.choice([(28, 14), (42, 14), (28, 7), (56, 14)])
        most = chance.choice([2, 3, 4, 4])
        vision = {
            "hidden_size": width,
            "intermediate_size": chance.choice([24, 40]),
            "num_hidden_layers": layers,
            "num_global_layers": chance.choice([1, 2]),
            "attention_heads": heads,
            "image_size": tile,
            "patch_size": patch,
            "max_num_tiles": most,
            "supported_aspect_ratios": [[rows, columns] for rows in range(1, most + 1) for columns in range(1, most + 1) if rows * columns <= most],
            "intermediate_layers_indices": taken,
            "vision_output_dim": width * (1 + len(taken)),
        }
        return MllamaConfig(text_config=text, vision_config=vision, image_token_index=ids("<|image|>"))

    def published(self, keys):
        """Nested, its rotary settings as transformers 4.4x had them."""
        return {**super().published(keys), "text_config": super().published(keys["text_config"])}

    def weights(self, name, draw):
        if draw.ndim == 1 and "gate" in name:
            # Open, so that what is behind them counts, and what is not beside it.
            return (1.2 if "global" in name else 0.5) + 0.2 * draw
        return 1.5 * draw if "positional" in name else super().weights(name, draw)

    def process(self, processor, rendered, images, videos, metadata):
        """The template has the first token."""
        shown = {"images": images} if images else {}
        return dict(processor(text=[rendered], **shown, add_special_tokens=False, return_tensors="pt"))

    def mistakes(self, made):
        positions = made.model.vision_model.gated_positional_embedding
        return [("places", turned(positions.embedding)), ("tiles", turned(positions.tile_embedding.weight))]


@contextmanager
def turned(table):
    """A table whose rows are in another order."""
    kept, table.data = table.data, table.data.roll(table.shape[0] // 2, 0)
    yield
    table.data = kept
