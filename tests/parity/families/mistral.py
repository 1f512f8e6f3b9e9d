from transformers import MistralConfig, MistralForCausalLM

from .family import Family


class Mistral(Family):
    name, model = "mistral", MistralForCausalLM

    def config(self, chance, seed, text, head_dim, ids):
        rope = {"rope_type": "default", "rope_theta": chance.choice([100.0, 1000.0])}
        # None, or one that no text is longer than.
        return MistralConfig(**text, rope_parameters=rope, sliding_window=chance.choice([None, 4096]))
