"""What is known of a family."""

from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable

import torch

FIXTURES = Path(__file__).parents[3] / "crates/vr1-processor/tests/fixtures"


@dataclass
class Family:
    # Of `chance`, a seed, the keys of a language model and a tokenizer makes a config.
    config: Callable
    # The class of its models.
    model: type
    # Where its tokenizer and its chat template are.
    texts: Path
    # What is made of media: files of settings, of a config.
    settings: Callable = lambda config: {}
    # Its keys as 4.4x published them.
    published_keys: Callable = lambda keys: flat_keys(keys)
    # The beginnings of today's names, and what published files have there.
    published_names: list = field(default_factory=list)
    # What is shown in prompts: images (i) and videos (v).
    shown: list = field(default_factory=lambda: [""])
    # Tokens that end a completion, and those that no completion has.
    ends: tuple = ("</s>",)
    unsaid: tuple = ()
    # Module names of the tower.
    tower: str = "nothing"
    # Whether positions have three axes.
    axes: bool = False
    # Of a model the ways to make its tower wrong, each a context.
    wrong_towers: Callable = lambda model: {}

    @property
    def sees(self):
        return any(self.shown)

    def published_name(self, name):
        for today, published in self.published_names:
            if name.startswith(today):
                return published + name.removeprefix(today)
        return name

    def wrong_positions(self, length):
        """Every second position, in the shape that the family takes."""
        positions = torch.arange(length)[None] * 2
        return positions.expand(3, 1, length) if self.axes else positions


def flat_keys(keys):
    """The keys of a published config."""
    old = rope(keys)
    return {**keys, **old}


def rope(keys):
    """Takes the rotary settings out of `keys`, and gives them as 4.4x had them."""
    for new in ("layer_types", "dtype", "transformers_version"):
        keys.pop(new, None)
    rope = keys.pop("rope_parameters")
    scaling = {"type": "mrope", "mrope_section": rope["mrope_section"]} if "mrope_section" in rope else rope
    theta = rope.pop("rope_theta")
    return {"rope_theta": theta, "rope_scaling": None if rope.get("rope_type") == "default" and scaling is rope else scaling}


def nested_keys(keys):
    """The keys of a published config whose language model has a section."""
    text = dict(keys["text_config"])
    text |= rope(text)
    keys = {**keys, "text_config": text}
    keys.pop("transformers_version", None)
    return keys


@contextmanager
def turned(parameter):
    """A table of positions whose rows are in another order."""
    kept = parameter.data
    parameter.data = kept.roll(kept.shape[0] // 2, 0)
    yield
    parameter.data = kept
