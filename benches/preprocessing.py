"""Preprocessing side by side: vr1 and transformers' image processor on the same JPEG files of 1280 x 960, two threads each.

    cargo bench --bench preprocessing --no-run
    python benches/preprocessing.py          # in turn, five rounds; the best round of each counts

Needs transformers 5.x, torch, torchvision and Pillow. The peer is given the fastest of three ways to use two threads: one
call a picture and one call for all of them, each with two threads in torch and two threads that decode, and two threads
that each take pictures one by one.
"""

import json
import os
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from transformers.models.qwen2_vl.image_processing_qwen2_vl import Qwen2VLImageProcessor

PICTURES, THREADS, ROUNDS = 24, 2, 5


def photo(seed, height=960, width=1280):
    """Noise of every size and some sharp edges: about as much to decode as a photograph."""
    draw = np.random.default_rng(seed)
    total = np.zeros((height, width, 3))
    for side in (4, 12, 40, 120, 400):
        coarse = draw.normal(size=(side * 3 // 4 + 1, side + 1, 3)) * 60 / side**0.35
        scaled = [np.asarray(Image.fromarray(coarse[..., c].astype(np.float32)).resize((width, height), Image.BICUBIC)) for c in range(3)]
        total += np.stack(scaled, -1)
    for _ in range(12):
        y, x = draw.integers(0, height - 80), draw.integers(0, width - 80)
        total[y : y + draw.integers(20, 300), x : x + draw.integers(20, 300)] += draw.normal(size=3) * 50
    return Image.fromarray((total + 128).clip(0, 255).astype(np.uint8))


def decode(path):
    with Image.open(path) as picture:
        return picture.convert("RGB")


def ways(processor, files):
    """How many pictures a second, whole and without decoding, for each way."""
    pool = ThreadPoolExecutor(THREADS)

    def rate(work):
        work()
        start = time.perf_counter()
        work()
        return len(files) / (time.perf_counter() - start)

    one = lambda picture: processor([picture], return_tensors="pt")
    pictures = [decode(file) for file in files]
    torch.set_num_threads(THREADS)
    yield "one call a picture", rate(lambda: [one(picture) for picture in pool.map(decode, files)]), rate(lambda: [one(picture) for picture in pictures])
    yield "one call for all", rate(lambda: processor(list(pool.map(decode, files)), return_tensors="pt")), rate(lambda: processor(pictures, return_tensors="pt"))
    torch.set_num_threads(1)
    yield "two threads", rate(lambda: list(pool.map(lambda file: one(decode(file)), files))), rate(lambda: list(pool.map(one, pictures)))


def main():
    processor = Qwen2VLImageProcessor()
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(PICTURES):
            photo(seed).save(Path(folder) / f"{seed:02}.jpg", quality=90)
        files = sorted(Path(folder).iterdir())
        size = sum(file.stat().st_size for file in files) / len(files) / 1024
        command = ["cargo", "bench", "--quiet", "--bench", "preprocessing", "--", folder]
        ours, theirs = {"whole": 0, "process": 0}, {}
        for _ in range(ROUNDS):
            out = subprocess.run(command, env={**os.environ, "RAYON_NUM_THREADS": str(THREADS)}, check=True, capture_output=True, text=True)
            line = json.loads(out.stdout.strip().splitlines()[-1])
            ours = {key: max(best, line[key]) for key, best in ours.items()}
            for way, whole, process in ways(processor, files):
                before = theirs.get(way, (0, 0))
                theirs[way] = (max(before[0], whole), max(before[1], process))
    best = [max(rates[i] for rates in theirs.values()) for i in range(2)]
    print(f"{PICTURES} JPEG files of 1280 x 960, {size:.0f} KiB each; {THREADS} threads; pictures a second\n")
    print("| | file to patches | pixels to patches |\n|---|---|---|")
    print(f"| vr1 | {ours['whole']:.1f} | {ours['process']:.1f} |")
    for way, (whole, process) in theirs.items():
        print(f"| transformers, {way} | {whole:.1f} | {process:.1f} |")
    print(f"| vr1 / the fastest of these | {ours['whole'] / best[0]:.2f} | {ours['process'] / best[1]:.2f} |")


main()
