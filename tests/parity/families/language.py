from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM, Qwen2Config, Qwen2ForCausalLM

from .family import FIXTURES, Family

MEDIA = ("<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>")
CHATML = {"texts": FIXTURES / "checkpoint", "ends": ("<|im_end|>", "<|endoftext|>"), "unsaid": MEDIA}


def llama_keys(chance, seed, text):
    """More keys of a Llama: scaled rotary frequencies, biases and heads of their own size by the seed."""
    # Three frequencies of a head of 16 are kept, mixed and divided.
    llama3 = {"rope_type": "llama3", "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 32}
    scaling = [llama3, {"rope_type": "linear", "factor": 2.0}, {"rope_type": "default"}][seed % 3]
    biases = seed % 2 == 0
    head_dim = {"head_dim": text["hidden_size"] // text["num_attention_heads"] * 2} if biases else {}
    return {**text, **head_dim, "attention_bias": biases, "mlp_bias": biases, "rope_parameters": {**scaling, "rope_theta": text["rope_parameters"]["rope_theta"]}}


def drawn_language(chance, seed, text):
    """The language model of one that sees: a Llama, Qwen2 or Mistral."""
    kind = chance.choice(["llama", "qwen2", "mistral"])
    more = {"llama": lambda: llama_keys(chance, seed, text), "qwen2": lambda: text, "mistral": lambda: {**text, "sliding_window": None}}
    return {"model_type": kind, **more[kind]()}


LLAMA = Family(config=lambda chance, seed, text, tokenizer: LlamaConfig(**llama_keys(chance, seed, text)), model=LlamaForCausalLM, **CHATML)
QWEN2 = Family(config=lambda chance, seed, text, tokenizer: Qwen2Config(**text), model=Qwen2ForCausalLM, **CHATML)
MISTRAL = Family(config=lambda chance, seed, text, tokenizer: MistralConfig(**text, sliding_window=chance.choice([None, 4096])), model=MistralForCausalLM, **CHATML)
