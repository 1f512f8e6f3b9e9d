"""The families that are compared, by `model_type`; another is a class in a file of its own, and a line here."""

from .llama import Llama
from .mllama import Mllama
from .qwen2 import Qwen2
from .qwen2_5_vl import Qwen25VL
from .qwen2_vl import Qwen2VL

FAMILIES = {family.name: family for family in (Llama(), Qwen2(), Qwen2VL(), Qwen25VL(), Mllama())}
