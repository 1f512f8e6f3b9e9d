from transformers import Idefics3Config, Idefics3ForConditionalGeneration, SmolVLMConfig, SmolVLMForConditionalGeneration

from .family import FIXTURES, Family, nested_keys, turned
from .language import llama_keys

TILES = ("<image>", "<fake_token_around_image>", "<global-img>", *(f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)))


def config(make):
    def drawn(chance, seed, text, tokenizer):
        heads = chance.choice([1, 2])
        # Side of a tile, of a patch, of the squares that become a token, and the tile that the tower was trained on.
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
        return make(
            text_config={"model_type": "llama", **llama_keys(chance, seed, text)},
            vision_config=vision,
            scale_factor=joined,
            image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
            tie_word_embeddings=text["tie_word_embeddings"],
        )

    return drawn


def settings(kind):
    def of(config):
        tile = config.vision_config.max_image_size["longest_edge"]
        images = {"image_processor_type": f"{kind}ImageProcessor", "do_convert_rgb": True, "do_image_splitting": True, "do_normalize": True, "do_pad": True, "do_rescale": True, "do_resize": True, "image_mean": [0.5] * 3, "image_std": [0.5] * 3, "max_image_size": {"longest_edge": tile}, "resample": 1, "rescale_factor": 1 / 255, "size": {"longest_edge": 2 * tile}}
        if kind == "SmolVLM":
            images["video_sampling"] = {"fps": 1, "max_frames": 6, "video_size": {"longest_edge": tile}}
        tokens = (tile // config.vision_config.patch_size // config.scale_factor) ** 2
        return {"preprocessor_config.json": images, "processor_config.json": {"processor_class": f"{kind}Processor", "image_seq_len": tokens}}

    return of


IDEFICS3 = Family(
    config=config(Idefics3Config),
    model=Idefics3ForConditionalGeneration,
    texts=FIXTURES / "families/idefics3",
    settings=settings("Idefics3"),
    published_keys=nested_keys,
    shown=["", "i", "ii", "iii"],
    ends=("<end_of_utterance>",),
    unsaid=TILES,
    tower=r"(.*\.)?(vision_model|connector)\..*",
    wrong_towers=lambda model: {"places": turned(model.model.vision_model.embeddings.position_embedding.weight)},
)
SMOLVLM = Family(
    **{
        **vars(IDEFICS3),
        "config": config(SmolVLMConfig),
        "model": SmolVLMForConditionalGeneration,
        "texts": FIXTURES / "families/smolvlm",
        "settings": settings("SmolVLM"),
        "shown": ["", "i", "ii", "v", "iii"],
    }
)
