"""The families whose checkpoints are drawn, by `model_type`. Another is a file and a line here."""

from .idefics3 import IDEFICS3, SMOLVLM
from .language import LLAMA, MISTRAL, QWEN2
from .llava import LLAVA, LLAVA_NEXT
from .qwen2_vl import QWEN2_5_VL, QWEN2_VL

FAMILIES = {
    "llama": LLAMA,
    "mistral": MISTRAL,
    "qwen2": QWEN2,
    "qwen2_vl": QWEN2_VL,
    "qwen2_5_vl": QWEN2_5_VL,
    "llava": LLAVA,
    "llava_next": LLAVA_NEXT,
    "idefics3": IDEFICS3,
    "smolvlm": SMOLVLM,
}
