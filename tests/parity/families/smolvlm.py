from transformers import SmolVLMConfig, SmolVLMForConditionalGeneration

from .idefics3 import Idefics3


class SmolVLM(Idefics3):
    name, model = "smolvlm", SmolVLMForConditionalGeneration
    kind = "SmolVLM"
    # Of two videos transformers says of each that it has as many frames as the longer.
    shown = ["", "i", "ii", "v", "iii"]
    config_class = SmolVLMConfig

    def process(self, processor, rendered, images, videos, metadata):
        """With how long a video is, as what decodes it says."""
        for known in metadata or []:
            known.duration = known.total_num_frames / known.fps if known.fps else None
        return super().process(processor, rendered, images, videos, metadata)
