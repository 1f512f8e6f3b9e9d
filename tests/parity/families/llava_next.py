from transformers import LlavaNextConfig, LlavaNextForConditionalGeneration

from .llava import Llava

# Canvases in tiles.
CANVASES = [[1, 2], [2, 1], [2, 2], [3, 1], [1, 3]]


class LlavaNext(Llava):
    name, model = "llava_next", LlavaNextForConditionalGeneration
    sides = [(28, 14), (28, 7), (45, 14)]

    def config(self, chance, seed, text, head_dim, ids):
        # Patches alone can lie on a canvas.
        keys = self.keys(chance, seed, text, head_dim, ids, lambda clip: "default" if clip else "full")
        side = keys["vision_config"]["image_size"]
        return LlavaNextConfig(**keys, image_grid_pinpoints=[[high * side, wide * side] for high, wide in CANVASES])

    def settings(self, config):
        files, side = super().settings(config), config.vision_config.image_size
        sizes = {"size": {"shortest_edge": side}, "crop_size": {"height": side, "width": side}}
        files["preprocessor_config.json"] |= {"image_processor_type": "LlavaNextImageProcessor", "image_grid_pinpoints": config.image_grid_pinpoints, **sizes}
        files["processor_config.json"]["processor_class"] = "LlavaNextProcessor"
        return files
