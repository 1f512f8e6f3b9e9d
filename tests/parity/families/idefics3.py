from transformers import Idefics3Config, Idefics3ForConditionalGeneration

from . import llama
from .seeing import Seeing


class Idefics3(Seeing):
    name, model = "idefics3", Idefics3ForConditionalGeneration
    kind = "Idefics3"
    shown = ["", "i", "ii", "iii"]
    media = ["<image>", "<fake_token_around_image>", "<global-img>", *(f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7))]
    ends = ["<end_of_utterance>"]
    beside, tower = ["vision_model", "connector"], "model.vision_model"
    config_class = Idefics3Config

    def config(self, chance, seed, text, head_dim, ids):
        theta, heads = chance.choice([100.0, 1000.0]), chance.choice([1, 2])
        # Sides of a tile, of a patch, of the squares that become a token, and of the tiles that the tower was trained on.
        tile, patch, joined, trained = chance.choice([(28, 7, 2, 28), (42, 7, 3, 42), (28, 7, 4, 56), (42, 7, 2, 28)])
        vision = {
            "hidden_size": heads * chance.choice([8, 12]),
            "intermediate_size": chance.choice([24, 40]),
            "num_hidden_layers": chance.choice([2, 3]),
            "num_attention_heads": heads,
            "image_size": trained,
            "patch_size": patch,
            "max_image_size": {"longest_edge": tile},
        }
        return self.config_class(
            text_config={"model_type": "llama", **llama.keys(seed, text, head_dim, theta)},
            vision_config=vision,
            scale_factor=joined,
            image_token_id=ids("<image>"),
            tie_word_embeddings=text["tie_word_embeddings"],
        )

    def settings(self, config):
        vision = config.vision_config
        tile = vision.max_image_size["longest_edge"]
        images = {"image_processor_type": f"{self.kind}ImageProcessor", "do_convert_rgb": True, "do_image_splitting": True, "do_normalize": True, "do_pad": True, "do_rescale": True, "do_resize": True, "image_mean": [0.5] * 3, "image_std": [0.5] * 3, "max_image_size": {"longest_edge": tile}, "resample": 1, "rescale_factor": 1 / 255, "size": {"longest_edge": 2 * tile}}
        named = {"processor_class": f"{self.kind}Processor", "image_seq_len": (tile // vision.patch_size // config.scale_factor) ** 2}
        return {"preprocessor_config.json": images, "processor_config.json": named}
