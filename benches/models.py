"""Loading and one prompt's forward pass, vr1 against transformers on the same checkpoint, two threads each.

    python benches/models.py DIR [--dtype f32|bf16] [--repeats N]
DIR is a language model (tests/parity/smollm2.py makes one). Needs transformers and torch. The two take turns; what is
compared are the least times, for others may use the machine.
"""

import argparse
import json
import os
import subprocess
import time

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, logging

WORDS = "The quick brown fox jumps over the lazy dog and thinks about it. " * 32
DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16}


def seconds(work):
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--dtype", choices=DTYPES, default="f32")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    logging.disable_progress_bar()
    torch.set_num_threads(2)
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    command = ["cargo", "bench", "--quiet", "-p", "vr1", "--bench", "models", "--", os.path.abspath(args.model), args.dtype, str(args.repeats), WORDS]

    def load():
        return AutoModelForCausalLM.from_pretrained(args.model, dtype=DTYPES[args.dtype]).eval()

    ids = AutoTokenizer.from_pretrained(args.model)(WORDS, return_tensors="pt")["input_ids"]
    model = load()
    ours, theirs = {"load": [], "forward": []}, {"load": [], "forward": []}
    for _ in range(args.rounds):
        said = json.loads(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)
        assert said["tokens"] == ids.shape[1], (said["tokens"], ids.shape)
        with torch.no_grad():
            model(input_ids=ids)
            for what, work in (("load", load), ("forward", lambda: model(input_ids=ids).logits.float())):
                ours[what] += said[what]
                theirs[what] += [seconds(work) for _ in range(args.repeats)]
    for what in ours:
        a, b = min(ours[what]), min(theirs[what])
        print(f"{what:<8} vr1 {a:.3f} s   transformers {b:.3f} s   {b / a:.2f} times as fast ({ids.shape[1]} tokens, {args.dtype})")


main()
