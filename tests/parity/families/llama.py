from transformers import LlamaConfig, LlamaForCausalLM

from .family import Family


class Llama(Family):
    name, model = "llama", LlamaForCausalLM

    def config(self, chance, seed, text, head_dim, ids):
        return LlamaConfig(**keys(seed, text, head_dim, chance.choice([100.0, 1000.0])))


def keys(seed, text, head_dim, theta):
    """More than `text`: scaled rotary frequencies, and by the seed biases and heads of another size."""
    # Three frequencies of a head of 16 are kept, mixed and divided.
    llama3 = {"rope_type": "llama3", "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 32}
    scaling = [llama3, {"rope_type": "linear", "factor": 2.0}, {"rope_type": "default"}][seed % 3]
    biases = seed % 2 == 0
    if biases:
        text["head_dim"] = head_dim * 2
    return {**text, "attention_bias": biases, "mlp_bias": biases, "rope_parameters": {**scaling, "rope_theta": theta}}
