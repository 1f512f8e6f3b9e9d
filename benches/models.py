"""Loading and one prompt's forward pass, vr1 against transformers on the same checkpoint, two threads each.

    python benches/models.py DIR [--dtype f32|bf16] [--repeats N] [--picture FILE]
tests/parity/smollm2.py makes a language model, tests/parity/large.py a vision-language model of 2 B parameters; of one
without a tokenizer only loading is timed. A picture stands before the words, in families that call it `<image>`; both sides say how likely the
words are, and no placeholder. Needs transformers and torch. The two take turns; what is compared are the least times, for others may use
the machine.
"""

import argparse
import json
import os
import subprocess
import time
from pathlib import Path

import torch
from PIL import Image
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText, AutoProcessor, AutoTokenizer, logging

WORDS = "The quick brown fox jumps over the lazy dog and thinks about it. " * 32
DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16}


def seconds(work):
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path)
    parser.add_argument("--dtype", choices=DTYPES, default="f32")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--picture", type=Path)
    args = parser.parse_args()
    logging.disable_progress_bar()
    torch.set_num_threads(2)
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    asks = (args.model / "tokenizer.json").is_file()
    command = ["cargo", "bench", "--quiet", "-p", "vr1", "--bench", "models", "--"]
    command += [args.model.resolve(), args.dtype, str(args.repeats), *([WORDS] if asks else []), *([args.picture.resolve()] if args.picture else [])]
    sees = hasattr(AutoConfig.from_pretrained(args.model), "vision_config")
    auto = AutoModelForImageTextToText if sees else AutoModelForCausalLM
    load = lambda: auto.from_pretrained(args.model, dtype=DTYPES[args.dtype]).eval()
    load()
    # transformers may leave weights in the mapped file until they are read.
    work = {"load": load, "check": lambda: all(p.isfinite().all() for p in load().parameters())}
    titles = {"load": "loading", "check": "loading, and checking that every weight is finite"}
    if asks:
        model = load()
        if args.picture:
            processor = AutoProcessor.from_pretrained(args.model)
            inputs = processor(text=[f"<image>{WORDS}"], images=[Image.open(args.picture)], return_tensors="pt")
            inputs = {name: values.to(DTYPES[args.dtype]) if values.is_floating_point() else values for name, values in inputs.items()}
        else:
            inputs = {"input_ids": AutoTokenizer.from_pretrained(args.model)(WORDS, return_tensors="pt")["input_ids"]}
        ids = inputs["input_ids"]
        work["forward"] = lambda: model(**inputs, logits_to_keep=said["said"]).logits.float()
        titles["forward"] = f"a forward pass over {ids.shape[1]} tokens" + (", those of a picture among them" if args.picture else "")
    said, ours, theirs = {}, {what: [] for what in work}, {what: [] for what in work}
    for _ in range(args.rounds):
        said |= json.loads(subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout)
        assert not asks or said["tokens"] == ids.shape[1], (said["tokens"], ids.shape)
        with torch.no_grad():
            for what in work:
                work[what]()
                ours[what] += said["seconds"][what]
                theirs[what] += [seconds(work[what]) for _ in range(args.repeats)]
    print(f"peak memory of loading: {said['memory']['peak_bytes'] / said['memory']['weights_bytes']:.3f} times the weights")
    print(f"| {args.model.name}, {args.dtype} | vr1 | transformers | ratio |\n|---|---|---|---|")
    for what in work:
        a, b = min(ours[what]), min(theirs[what])
        print(f"| {titles[what]} | {a:.3f} s | {b:.3f} s | {b / a:.2f} |")


main()
