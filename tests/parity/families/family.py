"""What a family says of itself, so that the rest can be drawn and compared without knowing it."""

import json
from pathlib import Path

import numpy as np
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

PROCESSORS = Path(__file__).parents[3] / "crates/vr1-processor/tests/fixtures"


def root_mean_square(a, b):
    return np.sqrt(np.mean(np.square(np.subtract(a, b)))).item()


def median(a, b):
    """Of models of experts: which experts a token goes through turns on a rounding, there as here, and one that does moves far."""
    return np.median(np.abs(np.subtract(a, b))).item()


class Family:
    """A language model; what a family of another kind does otherwise, it overrides."""

    # The `model_type`, and the class of the model in transformers.
    name = model = None
    # What may be shown before the words, images (i) and videos (v), and of what sides.
    shown = [""]
    # How far bf16 is off as one number, and how often as much as transformers' own ours may be.
    spread, rounding = staticmethod(root_mean_square), 1.25
    # Fewer frames are no video.
    least_frames = 1
    # The places of what is no language model.
    beside = []
    # Tokens that stand for media, which are never sampled.
    media = ["<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>"]
    # Tokens that end a completion.
    ends = ["<|im_end|>", "<|endoftext|>"]
    # Prompts of the committed checkpoints: a name, sizes of pictures in pixels (height, width), words.
    prompts = [("words", [], "What is two and two?")]
    # Which linear layers an adapter is drawn for: one of these.
    targets = [["q_proj", "v_proj"], "all-linear", r".*\.(o_proj|down_proj)"]
    # How names begin in published files, for each beginning in today's.
    published_names = {}

    @property
    def sees(self):
        return any(self.shown)

    @property
    def auto(self):
        return AutoModelForImageTextToText if self.sees else AutoModelForCausalLM

    def write_processor(self, folder):
        """Tokenizer and template, and the settings for pictures where there are any."""
        for file in (PROCESSORS / "checkpoint").iterdir():
            if self.sees or "preprocessor" not in file.name:
                (folder / file.name).write_bytes(file.read_bytes())

    def config(self, chance, seed, text, head_dim, ids):
        """A config of random shapes; `text` is what all language models have, `ids` gives a token's."""
        raise NotImplementedError

    def published(self, keys):
        """The keys of config.json as they were published."""
        rope = keys.pop("rope_parameters", None)
        if rope is not None:
            keys["rope_theta"] = rope.pop("rope_theta")
            keys["rope_scaling"] = None if rope["rope_type"] == "default" else rope
        for new in ("layer_types", "dtype", "transformers_version"):
            keys.pop(new, None)
        return keys

    def published_tensors(self, name, tensor):
        """What a published file has of a tensor, by today's names but for how these begin."""
        return {name: tensor}

    def weights(self, name, draw):
        """Random numbers for a parameter, of `draw`'s standard ones; norms, biases and all."""
        if draw.ndim == 1:
            return (1.0 if "norm" in name and "bias" not in name else 0.0) + 0.3 * draw
        if "embed_tokens" in name:
            return draw
        if "lm_head" in name:
            return draw / draw.shape[1] ** 0.5 * 3.0
        return draw * 1.4 / draw[0].numel() ** 0.5

    def process(self, processor, rendered, images, videos, metadata):
        """What the processor makes of a rendered chat and what it shows."""
        shown = {"images": images} if images else {}
        if videos:
            shown |= {"videos": videos, "video_metadata": metadata}
        return dict(processor(text=[rendered], **shown, return_tensors="pt"))

    def mistakes(self, made):
        """Mistakes of the family's own, as pairs of a name and a context in which `made` makes it."""
        return []

    def wrong_positions(self, positions):
        """Positions `[1, L]` in the shape that the model takes."""
        return positions

    def size(self, chance):
        """Sides of a picture, of whole patches or any."""
        if chance.random() < 0.5:
            return tuple(28 * chance.randrange(1, 7) for _ in range(2))
        return chance.randrange(12, 200), chance.randrange(12, 200)


def write(path, keys):
    path.write_text(json.dumps(keys, indent=1) + "\n")
