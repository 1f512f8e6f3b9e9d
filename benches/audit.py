"""Headers to tokens side by side: vr1 and transformers on the same JPEG files, one thread each.

    cargo bench -p vr1-processor --bench audit --no-run
    python benches/audit.py [FAMILY…]        # in turn, three rounds; the best round of each counts

Needs transformers 5.x, torch, torchvision, Pillow and num2words. transformers counts in two ways: its processor's
`_get_num_multimodal_tokens` of sizes that Pillow reads from headers, without any words, and its processor itself, which decodes
pictures and makes the whole input. The sums of tokens are compared: they must be equal.
"""

import argparse
import json
import os
import subprocess
import tempfile
import time
from pathlib import Path

import torch
from PIL import Image
from transformers import AutoProcessor, logging

from preprocessing import FAMILIES, checkpoint, photo

PICTURES, COPIES, SLOW = 24, 40, 24


def best(work, items, rounds=3):
    work()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return items / min(times)


def size(path):
    with Image.open(path) as picture:
        return picture.height, picture.width


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", nargs="+", default=["cargo", "bench", "--quiet", "-p", "vr1-processor", "--bench", "audit", "--"])
    parser.add_argument("families", nargs="*", default=["qwen2_vl", "qwen3_vl", "llava", "llava_next", "idefics3", "smolvlm"])
    args = parser.parse_args()
    logging.set_verbosity_error()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        files = []
        for seed in range(PICTURES):
            picture = photo(seed)
            for copy in range(COPIES):
                width, height = 640 + 37 * ((seed + copy) % 17), 480 + 29 * ((seed * copy) % 13)
                path = folder / f"{seed:02}-{copy:02}.jpg"
                picture.resize((width, height)).save(path, quality=90)
                files.append(path)
        rows = folder / "rows.jsonl"
        rows.write_text("".join(json.dumps({"image": file.name, "question": "How many red cubes are there?", "answer": "3"}) + "\n" for file in files))
        kib = sum(file.stat().st_size for file in files) / len(files) / 1024
        print(f"{len(files)} JPEG files, {kib:.0f} KiB each; one thread; pictures a second\n")
        print("| | headers | headers to tokens, with words | rows to tokens | transformers: headers to tokens, without words | transformers' processor | ratio |\n|---|---|---|---|---|---|---|")
        for family in args.families:
            place = checkpoint(folder, family)
            out = subprocess.run([*args.program, rows, place], check=True, capture_output=True, text=True, env={**os.environ, "RAYON_NUM_THREADS": "1"})
            ours = json.loads(out.stdout.strip().splitlines()[-1])
            processor = AutoProcessor.from_pretrained(place)
            count = lambda: processor._get_num_multimodal_tokens(image_sizes=[size(file) for file in files])
            try:
                tokens = sum(count()["num_image_tokens"])
                counting = f"{best(count, len(files)):.0f}"
                equal = "" if tokens == ours["tokens"] else f" ({tokens} tokens, {ours['tokens']} here)"
            except (AttributeError, NotImplementedError, KeyError):
                counting, equal = "not told", ""

            def whole():
                for file in files[:SLOW]:
                    with Image.open(file) as picture:
                        processor.image_processor([picture.convert("RGB")], return_tensors="pt")

            processing = best(whole, SLOW, 1)
            print(f"| `{family}` | {ours['glance']:.0f} | {ours['count']:.0f} | {ours['rows']:.0f} | {counting}{equal} | {processing:.1f} | {ours['count'] / processing:.0f} |", flush=True)


if __name__ == "__main__":
    main()
