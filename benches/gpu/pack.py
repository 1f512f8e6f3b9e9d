"""Packs what `check.py` needs on a machine with a card and without Rust; run by `cargo xtask gpu-check`.

    python pack.py OUT --vr1 FILE --peers FILE [--test FILE]…

Programs are stripped and compressed. Checkpoints are small and random, one of each family, of head sizes that cards' kernels take;
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

import numpy as np
import torch
from PIL import Image
from transformers import AutoTokenizer

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT / "tests/parity"))
import check
import checkpoints

TEXTS = ROOT / "crates/vr1-processor/tests/fixtures/checkpoint"
WORDS = "Describe what is here."
# Long, for one rounding says little of how far roundings go.
ANSWER = " ".join(f"The {colour} {thing} is {side} of the sphere, {i} times." for i, (colour, thing, side) in enumerate(itertools.product(
    ("red", "blue"), ("cube", "cone"), ("left", "right"))))
LIMIT = 56 * 2**20


def models(out):
    tokenizer = AutoTokenizer.from_pretrained(TEXTS)
    for family in checkpoints.FAMILIES:
        for head_dim in (64, 128):
            made = small(family, head_dim, tokenizer)
            here = out / f"{family}-{head_dim}"
            checkpoints.save(made, here, "published", torch.bfloat16)
            vision = family.endswith("vl")
            for file in TEXTS.iterdir():
                if vision or "preprocessor" not in file.name:
                    shutil.copy(file, here)
            ends = [tokenizer.convert_tokens_to_ids(token) for token in ("<|im_end|>", "<|endoftext|>")]
            (here / "generation_config.json").write_text(json.dumps({"eos_token_id": ends, "pad_token_id": ends[1]}))
            question = {"prompt": WORDS, "completion": ANSWER, "image": "noise.png" if vision else None}
            if vision:
                pixels = np.random.default_rng(0).integers(0, 256, (84, 140, 3), np.uint8)
                Image.fromarray(pixels).save(here / "noise.png")
            (here / "question.json").write_text(json.dumps(question))
            model, inputs, ids = check.asked(here, "cpu", torch.float32)
            said = check.logprobs(model, inputs, ids)
            (here / "said.json").write_text(json.dumps({"ids": ids, "logprobs": said}))


def small(family, head_dim, tokenizer):
    """The first model of a family and a head size that is small, and of several heads."""
    # Of odd seeds, whose embeddings are not tied: tied ones of that width are sure of every token.
    for seed in range(1, 1000, 2):
        config = checkpoints.config(family, seed, tokenizer, (head_dim,))
        text = config.get_text_config()
        if 1 < text.num_attention_heads <= 3 and text.num_key_value_heads < text.num_attention_heads:
            return checkpoints.model(config, seed)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--vr1", type=Path, required=True)
    parser.add_argument("--peers", type=Path, required=True)
    parser.add_argument("--test", type=Path, action="append", default=[])
    args = parser.parse_args()
    shutil.rmtree(args.out, ignore_errors=True)
    args.out.mkdir(parents=True)
    for file in (HERE / "run.sh", HERE / "check.py", HERE.parent / "peer.py", HERE.parent / "peers.py", HERE.parent / "random_models.py"):
        shutil.copy(file, args.out)
    programs = {"vr1": args.vr1, "peers": args.peers}
    programs |= {f"tests/{file.name.rpartition('-')[0]}": file for file in args.test}
    with tempfile.TemporaryDirectory() as folder, tarfile.open(args.out / "programs.tar.xz", "w:xz") as archive:
        for name, file in programs.items():
            stripped = Path(folder) / "stripped"
            subprocess.run(["strip", "-o", stripped, file], check=True)
            archive.add(stripped, name)
    models(args.out / "models")
    size = sum(file.stat().st_size for file in args.out.rglob("*"))
    print(f"{args.out}: {size / 2**20:.1f} MiB; there: bash {args.out.name}/run.sh", file=sys.stderr)
    if size > LIMIT:
        sys.exit(f"error: the pack is larger than {LIMIT / 2**20:.0f} MiB")


main()
