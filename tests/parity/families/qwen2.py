from transformers import Qwen2Config, Qwen2ForCausalLM

from .family import Family


class Qwen2(Family):
    name, model = "qwen2", Qwen2ForCausalLM

    def config(self, chance, seed, text, head_dim, ids):
        return Qwen2Config(**text, rope_parameters={"rope_type": "default", "rope_theta": chance.choice([100.0, 1000.0])})
