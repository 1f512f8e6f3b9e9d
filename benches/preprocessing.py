"""Preprocessing side by side: vr1 and transformers' image processors on the same JPEG files of 1280 x 960, two threads each.

    cargo bench --bench preprocessing --no-run
    python benches/preprocessing.py [FAMILY…]        # in turn, three rounds; the best round of each counts

Needs transformers 5.x, torch, torchvision, Pillow and num2words. Each family has the settings of published checkpoints. The peer is
given the fastest of three ways to use two threads: one call a picture and one call for all of them, each with two threads in torch
and two threads that decode, and two threads that each take pictures one by one. Beside pictures a second there are milliseconds of
processors a picture, which others who use the machine hardly change.
"""

import argparse
import json
import os
import shutil
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from transformers import AutoImageProcessor, logging

PICTURES, THREADS = 24, 2
TEXTS = Path(__file__).parents[1] / "crates/vr1-processor/tests/fixtures"
CLIP = {"image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711]}
HALVES = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
LLAVA = {"image_token": "<image>", "num_additional_image_tokens": 1, "patch_size": 14, "vision_feature_select_strategy": "default"}


def square(side):
    return {"size": {"shortest_edge": side}, "crop_size": {"height": side, "width": side}}


# Settings of pictures, more of the processor, and of the model what they go by.
FAMILIES = {
    "qwen2_vl": ({"image_processor_type": "Qwen2VLImageProcessor"}, {}, {}),
    "qwen3_vl": (
        {"image_processor_type": "Qwen2VLImageProcessor", "patch_size": 16, "size": {"shortest_edge": 65536, "longest_edge": 16777216}, **HALVES},
        {},
        {"vision_config": {"patch_size": 16}},
    ),
    "llava": ({"image_processor_type": "CLIPImageProcessor", **square(336), **CLIP}, {"processor_class": "LlavaProcessor", **LLAVA}, {}),
    "llava_next": ({"image_processor_type": "LlavaNextImageProcessor", **square(336), **CLIP}, {"processor_class": "LlavaNextProcessor", **LLAVA}, {}),
    "mllama": (
        {"image_processor_type": "MllamaImageProcessor", "size": {"height": 560, "width": 560}, "max_image_tiles": 4, **CLIP},
        {},
        {"vision_config": {"patch_size": 14, "image_size": 560}},
    ),
    "idefics3": (
        {"image_processor_type": "Idefics3ImageProcessor", "size": {"longest_edge": 1456}, "max_image_size": {"longest_edge": 364}, **HALVES},
        {"processor_class": "Idefics3Processor", "image_seq_len": 169},
        {"scale_factor": 2, "vision_config": {"patch_size": 14, "image_size": 364}},
    ),
    "smolvlm": (
        {"image_processor_type": "SmolVLMImageProcessor", "size": {"longest_edge": 2048}, "max_image_size": {"longest_edge": 512}, **HALVES},
        {"processor_class": "SmolVLMProcessor", "image_seq_len": 64},
        {"scale_factor": 4, "vision_config": {"patch_size": 16, "image_size": 512}},
    ),
    "aria": (
        {"image_processor_type": "AriaImageProcessor", "max_image_size": 980, "min_image_size": 336, **HALVES},
        {"processor_class": "AriaProcessor"},
        {"vision_config": {"patch_size": 14, "image_size": 980}},
    ),
}


def checkpoint(folder, family):
    """What a processor is made of."""
    place, (images, more, config) = folder / family, FAMILIES[family]
    texts = TEXTS / "checkpoint" if family == "qwen2_vl" else TEXTS / "families" / family
    place.mkdir()
    for file in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(texts / file, place / file)
    for file, keys in (("preprocessor_config.json", images), ("processor_config.json", more), ("config.json", {"model_type": family, **config})):
        (place / file).write_text(json.dumps(keys))
    return place


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
    """How many pictures a second and milliseconds of processors a picture, whole and without decoding, for each way."""
    pool = ThreadPoolExecutor(THREADS)

    def rate(work):
        work()
        start, busy = time.perf_counter(), time.process_time()
        work()
        return len(files) / (time.perf_counter() - start), (time.process_time() - busy) / len(files) * 1000

    one = lambda picture: processor([picture], return_tensors="pt")
    pictures = [decode(file) for file in files]
    torch.set_num_threads(THREADS)
    yield rate(lambda: [one(picture) for picture in pool.map(decode, files)]), rate(lambda: [one(picture) for picture in pictures])
    yield rate(lambda: processor(list(pool.map(decode, files)), return_tensors="pt")), rate(lambda: processor(pictures, return_tensors="pt"))
    torch.set_num_threads(1)
    yield rate(lambda: list(pool.map(lambda file: one(decode(file)), files))), rate(lambda: list(pool.map(one, pictures)))


def best(measured):
    """Of pairs of pictures a second and milliseconds the most and the least."""
    return max(a for a, _ in measured), min(b for _, b in measured)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("families", nargs="*", default=list(FAMILIES))
    args = parser.parse_args()
    logging.set_verbosity_error()
    with tempfile.TemporaryDirectory() as folder:
        pictures = Path(folder) / "pictures"
        pictures.mkdir()
        for seed in range(PICTURES):
            photo(seed).save(pictures / f"{seed:02}.jpg", quality=90)
        files = sorted(pictures.iterdir())
        size = sum(file.stat().st_size for file in files) / len(files) / 1024
        print(f"{PICTURES} JPEG files of 1280 x 960, {size:.0f} KiB each; {THREADS} threads; pictures a second, and milliseconds of processors a picture\n")
        print("| | file to patches: vr1 | transformers | ratio | pixels to patches: vr1 | transformers | ratio |\n|---|---|---|---|---|---|---|")
        for family in args.families or FAMILIES:
            place = checkpoint(Path(folder), family)
            processor = AutoImageProcessor.from_pretrained(place)
            command = ["cargo", "bench", "--quiet", "-p", "vr1", "--bench", "preprocessing", "--", pictures, place]
            ours, theirs = [], []
            for _ in range(args.rounds):
                out = subprocess.run(command, env={**os.environ, "RAYON_NUM_THREADS": str(THREADS)}, check=True, capture_output=True, text=True)
                line = json.loads(out.stdout.strip().splitlines()[-1])
                ours.append((line["whole"], line["process"]))
                theirs += ways(processor, files)
            cells = []
            for what in range(2):
                (a, busy), (b, their_busy) = (best([pair[what] for pair in side]) for side in (ours, theirs))
                cells += [f"{a:.1f}, {busy:.1f} ms", f"{b:.1f}, {their_busy:.1f} ms", f"{a / b:.1f}, {their_busy / busy:.1f}"]
            print(f"| `{family}` | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
