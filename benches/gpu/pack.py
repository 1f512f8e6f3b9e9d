"""Packs what `check.py` needs on a machine with a card and without Rust; run by `cargo xtask gpu-check`.

    python pack.py OUT --vr1 FILE --peers FILE [--test FILE]…

Programs are stripped, everything is compressed. Checkpoints are small and random, one of each family or two, of head sizes that cards' kernels take;
what transformers says of each on the CPU in f32 lies beside it.
"""

import argparse
import itertools
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import save_file
from transformers import AutoTokenizer

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PARITY = ROOT / "tests/parity"
sys.path.insert(0, str(PARITY))
import check
import checkpoints
from families import FAMILIES

WORDS = "Describe what is here."
# Long, for one rounding says little of how far roundings go.
ANSWER = " ".join(f"The {colour} {thing} is {side} of the sphere, {i} times." for i, (colour, thing, side) in enumerate(itertools.product(
    ("red", "blue"), ("cube", "cone"), ("left", "right"))))
# Families that are packed with heads of both sizes.
BOTH = ("qwen2", "qwen2_vl")
LIMIT = 56 * 2**20


def models(out):
    for at, family in enumerate(FAMILIES.values()):
        # In turn: all of them would be twice as much to carry.
        for head_dim in (64, 128) if family.name in BOTH else [(64, 128)[at % 2]]:
            here = out / f"{family.name}-{head_dim}"
            here.mkdir(parents=True)
            family.write_processor(here)
            tokenizer = AutoTokenizer.from_pretrained(here)
            checkpoints.save(family, small(family, head_dim, tokenizer), here, "published", torch.bfloat16)
            checkpoints.dress(here, family, tokenizer)
            question = {"family": family.name, "prompt": WORDS, "completion": ANSWER, "image": "noise.png" if family.sees else None}
            if family.sees:
                checkpoints.noise(0, 84, 140).save(here / "noise.png")
            (here / "question.json").write_text(json.dumps(question))
            images = [Image.open(here / question["image"])] if family.sees else []
            inputs = checkpoints.inputs(family, here, WORDS, images)
            save_file({name: x.contiguous() for name, x in inputs.items()}, here / "inputs.safetensors")
            ids = tokenizer(ANSWER, add_special_tokens=False)["input_ids"]
            said = check.logprobs(check.load(here, "cpu", torch.float32), inputs, ids)
            (here / "said.json").write_text(json.dumps({"ids": ids, "logprobs": said}))


def small(family, head_dim, tokenizer):
    """The first model of a family and a head size that is small, and of several heads."""
    # Of odd seeds, whose embeddings are not tied: tied ones of that width are sure of every token.
    for seed in range(1, 1000, 2):
        config = checkpoints.config(family, seed, tokenizer, (head_dim,))
        text = config.get_text_config()
        if 1 < text.num_attention_heads <= 3 and text.num_key_value_heads < text.num_attention_heads:
            return checkpoints.model(family, config, seed)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--vr1", type=Path, required=True)
    parser.add_argument("--peers", type=Path, required=True)
    parser.add_argument("--test", type=Path, action="append", default=[])
    args = parser.parse_args()
    shutil.rmtree(args.out, ignore_errors=True)
    args.out.mkdir(parents=True)
    for file in (HERE / "run.sh", HERE / "check.py", HERE.parent / "peer.py", HERE.parent / "peers.py", HERE.parent / "random_models.py", PARITY / "checkpoints.py"):
        shutil.copy(file, args.out)
    shutil.copytree(PARITY / "families", args.out / "families", ignore=shutil.ignore_patterns("__pycache__"))
    programs = {"vr1": args.vr1, "peers": args.peers}
    programs |= {f"tests/{file.name.rpartition('-')[0]}": file for file in args.test}
    with tempfile.TemporaryDirectory() as folder, tarfile.open(args.out / "packed.tar.xz", "w:xz") as archive:
        for name, file in programs.items():
            stripped = Path(folder) / "stripped"
            subprocess.run(["strip", "-o", stripped, file], check=True)
            archive.add(stripped, f"programs/{name}")
        models(Path(folder) / "models")
        archive.add(Path(folder) / "models", "models")
    size = sum(file.stat().st_size for file in args.out.rglob("*"))
    print(f"{args.out}: {size / 2**20:.1f} MiB; there: bash {args.out.name}/run.sh", file=sys.stderr)
    if size > LIMIT:
        sys.exit(f"error: the pack is larger than {LIMIT / 2**20:.0f} MiB")


main()
