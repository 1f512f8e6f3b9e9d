from transformers import Qwen3Config, Qwen3ForCausalLM, Qwen3MoeConfig, Qwen3MoeForCausalLM

from .family import Family, median


class Qwen3(Family):
    name, model = "qwen3", Qwen3ForCausalLM
    config_class = Qwen3Config

    def config(self, chance, seed, text, head_dim, ids):
        # Heads need not fill the width.
        text["head_dim"] = head_dim * chance.choice([1, 2])
        rope = {"rope_type": "default", "rope_theta": chance.choice([100.0, 1000.0])}
        return self.config_class(**text, **self.more(chance, seed), attention_bias=chance.choice([True, False]), rope_parameters=rope)

    def more(self, chance, seed):
        return {}


class Experts:
    """What families of experts have in common."""

    spread, rounding = staticmethod(median), 1.75
    # Experts are no linear layers.
    targets = [["q_proj", "v_proj"], r".*\.(k_proj|o_proj)"]

    def experts(self, chance):
        """A few of a few, in some layers; of whole 16 bytes, as the grouped product of torch wants them."""
        return {
            "moe_intermediate_size": chance.choice([8, 16, 24]),
            "num_experts": chance.choice([4, 5, 8]),
            # One of one weighs one, whatever its router says.
            "num_experts_per_tok": chance.choice([2, 3]),
            "mlp_only_layers": chance.choice([[], [], [0]]),
            "decoder_sparse_step": chance.choice([1, 1, 2]),
        }

    def published(self, keys):
        text = keys.get("text_config", keys)
        text["num_experts"] = text.pop("num_local_experts")
        return super().published(keys)

    def weights(self, name, draw):
        if draw.ndim == 3 and "experts" in name:
            return draw * 1.4 / draw.shape[2] ** 0.5
        return super().weights(name, draw)


class Qwen3Moe(Experts, Qwen3):
    name, model = "qwen3_moe", Qwen3MoeForCausalLM
    config_class = Qwen3MoeConfig

    def more(self, chance, seed):
        return {**self.experts(chance), "norm_topk_prob": seed % 2 == 1}

    def published_tensors(self, name, tensor):
        """Each expert for itself, gate and up too."""
        place, _, last = name.rpartition(".")
        parts = {"gate_up_proj": ["gate_proj", "up_proj"], "down_proj": ["down_proj"]}
        if not place.endswith("experts"):
            return super().published_tensors(name, tensor)
        return {f"{place}.{i}.{part}.weight": rows for i, expert in enumerate(tensor) for part, rows in zip(parts[last], expert.chunk(len(parts[last])))}
