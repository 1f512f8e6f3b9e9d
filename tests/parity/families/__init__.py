"""The families that are compared, by `model_type`; another is a class in a file of its own, and a line here."""

from .aria import Aria
from .idefics3 import Idefics3
from .llama import Llama
from .llava import Llava
from .llava_next import LlavaNext
from .mistral import Mistral
from .mllama import Mllama
from .qwen2 import Qwen2
from .qwen2_5_vl import Qwen25VL
from .qwen2_vl import Qwen2VL
from .qwen3 import Qwen3, Qwen3Moe
from .qwen3_vl import Qwen3VL, Qwen3VLMoe
from .smolvlm import SmolVLM

FAMILIES = {
    family.name: family
    for family in (
        Llama(),
        Mistral(),
        Qwen2(),
        Qwen2VL(),
        Qwen25VL(),
        Llava(),
        LlavaNext(),
        Idefics3(),
        SmolVLM(),
        Qwen3(),
        Qwen3Moe(),
        Qwen3VL(),
        Qwen3VLMoe(),
        Aria(),
        Mllama(),
    )
}
