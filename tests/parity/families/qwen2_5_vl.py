from contextlib import contextmanager

from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from .qwen2_vl import Qwen2VL


class Qwen25VL(Qwen2VL):
    name, model = "qwen2_5_vl", Qwen2_5_VLForConditionalGeneration
    config_class = Qwen2_5_VLConfig

    def tower(self, chance, vision, width, output):
        return {
            **vision,
            "hidden_size": width,
            "intermediate_size": chance.choice([24, 40]),
            "out_hidden_size": output,
            "window_size": chance.choice([56, 112]),
            "fullatt_block_indexes": [1],
            "tokens_per_second": chance.choice([2, 4]),
        }

    def mistakes(self, made):
        return [("windows", no_windows(made.model.visual))]


@contextmanager
def no_windows(tower):
    kept, tower.fullatt_block_indexes = tower.fullatt_block_indexes, list(range(8))
    yield
    tower.fullatt_block_indexes = kept
