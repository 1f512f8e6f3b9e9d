from transformers import SmolVLMConfig, SmolVLMForConditionalGeneration

from .idefics3 import Idefics3


class SmolVLM(Idefics3):
    name, model = "smolvlm", SmolVLMForConditionalGeneration
    kind = "SmolVLM"
    shown = ["", "i", "ii", "v", "iii"]
    config_class = SmolVLMConfig

    def settings(self, config):
        files = super().settings(config)
        tile = config.vision_config.max_image_size["longest_edge"]
        files["preprocessor_config.json"]["video_sampling"] = {"fps": 1, "max_frames": 6, "video_size": {"longest_edge": tile}}
        return files
