import shutil
from contextlib import contextmanager

from transformers import AutoConfig

from . import llama
from .family import PROCESSORS, Family, write


class Seeing(Family):
    """A language model with a section of its own in config.json, and a tower with a table of positions."""

    # The place of the tower in transformers' model.
    tower = None
    prompts = [
        *Family.prompts,
        ("one image", [(84, 112)], "What colour is it?"),
        ("two images", [(140, 56), (56, 84)], "Which of them is the larger one of both?"),
    ]

    def write_processor(self, folder):
        for file in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
            shutil.copy(PROCESSORS / "families" / self.name / file, folder / file)
        if (folder / "config.json").is_file():
            for file, settings in self.settings(AutoConfig.from_pretrained(folder)).items():
                write(folder / file, settings)

    def settings(self, config):
        """The files of settings for pictures of a model with this config."""
        raise NotImplementedError

    def process(self, processor, rendered, images, videos, metadata):
        """Without a second beginning, as `apply_chat_template` does it where it goes on to ids."""
        begun = processor.tokenizer.bos_token is not None and rendered.startswith(processor.tokenizer.bos_token)
        shown = {"images": images} if images else {}
        if videos:
            shown |= {"videos": videos, "video_metadata": metadata}
        return dict(processor(text=[rendered], **shown, return_tensors="pt", add_special_tokens=not begun))

    def published(self, keys):
        keys["text_config"] = super().published(keys["text_config"])
        keys.pop("transformers_version", None)
        return keys

    def weights(self, name, draw):
        return draw if "position_embedding" in name else super().weights(name, draw)

    def mistakes(self, made):
        return [("places", turned(made.get_submodule(self.tower).embeddings.position_embedding.weight))]


def language(chance, seed, text, head_dim, theta):
    """Keys of one language model or another."""
    kind = chance.choice(["llama", "qwen2", "mistral"])
    rope = {"rope_parameters": {"rope_type": "default", "rope_theta": theta}}
    more = {
        "llama": lambda: llama.keys(seed, text, head_dim, theta),
        "qwen2": lambda: {**text, **rope},
        "mistral": lambda: {**text, **rope, "sliding_window": None},
    }
    return {"model_type": kind, **more[kind]()}


@contextmanager
def turned(parameter):
    """A table whose rows are in another order."""
    kept = parameter.data
    parameter.data = kept.roll(kept.shape[0] // 2, 0)
    yield
    parameter.data = kept
