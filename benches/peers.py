"""vr1 beside TRL and transformers on the CPU: the same work in turn, in one run; run by `cargo xtask bench-peers`.

    cargo xtask bench-peers                       # a GRPO step and a group's decoding, three sizes
    cargo xtask bench-peers step --sizes 7.7M     # some of it

Each side is a process that has loaded its model and waits; a line on its standard input is a piece of work. The first of each is
not counted. A ratio says how many times the peer's figure is ours.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

import random_models

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs/src/speed.md"
WORDS = "How many red cubes are there?"
TITLES = {"step": "GRPO step", "decode": "decoding a group"}


class Side:
    """A process that does a piece of work for each line."""

    def __init__(self, command, threads):
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false"}
        self.told = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.told, text=True, env=environment)
        self.loaded = self.hear()["peak_bytes"]

    def hear(self):
        line = self.process.stdout.readline()
        if not line:
            self.told.seek(0)
            sys.exit(f"error: {' '.join(map(str, self.process.args))} ended: {self.told.read()}")
        return json.loads(line)

    def work(self, line=""):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.hear()

    def end(self):
        self.process.stdin.close()
        self.process.wait()


def recipe(folder, model, image, protocol, **settings):
    """The recipe of a step, as `vr1 train` takes it."""
    turns = [{"from": "human", "value": f"<image>{WORDS}"}, {"from": "gpt", "value": "3"}]
    (folder / "rows.jsonl").write_text(json.dumps({"image": str(image), "conversations": turns}) + "\n")
    source = {"kind": "jsonl", "path": str(folder / "rows.jsonl")}
    said = {
        "system": "bench", "model": str(model), "seed": 1, "steps": 10**6,
        "objective": {
            "kind": "grpo", "train": source, "prompts_per_step": protocol["prompts"], "group_size": protocol["group"],
            "sampling": {"temperature": 1.0, "max_completion_tokens": protocol["tokens"]}, "loss": {"beta": protocol["beta"]},
        },
        "prompt": {"layout": "chat", "text": "{{ question }}"},
        "reward": {"terms": {"accuracy": "occurrences(completion, 'e')"}, "total": "accuracy"},
        "evaluation": {"samples": 1, "max_completion_tokens": 2, "sets": {"same": source}},
        **settings,
        "optimizer": {"learning_rate": 1e-6, **settings.get("optimizer", {})},
    }
    # JSON is YAML.
    (folder / "recipe.yaml").write_text(json.dumps(said))
    return folder / "recipe.yaml"


def picture(folder, tokens):
    """Noise of as many image tokens, a square of 28 pixels each."""
    side = int(tokens**0.5) * 28
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / f"{tokens}.png")
    return folder / f"{tokens}.png"


def sides(work, vr1, model, folder, image, protocol, threads):
    """Ours and the peer's process for a work, and the line that asks for a piece of it."""
    job = {"prompts": protocol["prompts"], "completions": protocol["group"], "tokens": protocol["tokens"], "image": str(image), "words": WORDS}
    theirs = {"work": work, "model": str(model), "threads": threads}
    if work == "step":
        ours = {"work": work, "recipe": str(recipe(folder, model, image, protocol)), "out": str(folder / "run")}
        theirs |= {key: protocol[key] for key in ("prompts", "group", "tokens", "beta")} | {"image": str(image), "words": WORDS}
    else:
        ours = {"work": work, "model": str(model)}
    peer = [sys.executable, HERE / "peer.py", json.dumps(theirs)]
    return Side([vr1, json.dumps(ours)], threads), Side(peer, threads), json.dumps(job)


def compare(work, size, vr1, model, image, protocol, rounds, threads):
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs, line = sides(work, vr1, model, Path(folder), image, protocol, threads)
        said = [(ours.work(line), theirs.work(line)) for _ in range(rounds + 1)]
        ours.end()
        theirs.end()
    row = {"work": work, "size": size}
    for name, at, side in (("vr1", 0, ours), ("peer", 1, theirs)):
        # The peak of a process stands from its first piece of work on, or rises.
        counted = [turn[at] for turn in said[1:]]
        row[name] = {key: statistics.median(turn[key] for turn in counted) for key in ("seconds", "cpu_seconds")}
        row[name] |= {"peak_bytes": counted[-1]["peak_bytes"], "loaded_bytes": side.loaded, "rounds": [turn["seconds"] for turn in counted]}
    return row


def machine(threads):
    with open("/proc/cpuinfo") as cpuinfo:
        said = dict(re.split(r"\s*: ", line.strip(), maxsplit=1) for line in cpuinfo if ": " in line)
    return f"{said['model name']} (family {said['cpu family']}, model {said['model']}), {os.cpu_count()} cores; {threads} threads"


def table(rows, protocol, threads):
    import torch, transformers, trl

    lines = [
        f"{machine(threads)}; torch {torch.__version__}, transformers {transformers.__version__}, TRL {trl.__version__}; f32, one prompt of "
        f"{protocol['image_tokens']} image tokens, {protocol['group']} completions of {protocol['tokens']} tokens each, median of {len(rows[0]['vr1']['rounds'])}:",
        "",
        "| | | seconds | peer's | ratio | CPU seconds | peer's | ratio | peak memory | peer's | share |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        ours, theirs = row["vr1"], row["peer"]
        cells = [row["size"], TITLES[row["work"]]]
        for key in ("seconds", "cpu_seconds"):
            cells += [f"{ours[key]:.3f}", f"{theirs[key]:.3f}", f"**{theirs[key] / ours[key]:.1f}**" if key == "seconds" else f"{theirs[key] / ours[key]:.1f}"]
        cells += [f"{ours['peak_bytes'] / 1e6:.0f} MB", f"{theirs['peak_bytes'] / 1e6:.0f} MB", f"{ours['peak_bytes'] / theirs['peak_bytes']:.2f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def write(mark, text):
    """Puts `text` between the marks of the page."""
    begin, end = f"<!-- {mark} -->", f"<!-- end of {mark} -->"
    page = PAGE.read_text()
    assert begin in page and end in page, f"{PAGE} has no place for {mark}"
    PAGE.write_text(re.sub(f"{begin}.*?{end}", lambda _: f"{begin}\n{text}\n{end}", page, flags=re.DOTALL))


def main():
    parser = argparse.ArgumentParser(prog="cargo xtask bench-peers")
    parser.add_argument("work", nargs="*", default=list(TITLES), help=f"of {', '.join(TITLES)}; default: both")
    parser.add_argument("--vr1", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--sizes", nargs="+", default=["0.5M", "7.7M", "64M"], choices=random_models.SIZES)
    parser.add_argument("--rounds", type=int, default=5, help="pieces of work that are counted")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--prompts", type=int, default=1)
    parser.add_argument("--group", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=64, help="of a completion")
    parser.add_argument("--image-tokens", type=int, default=256)
    parser.add_argument("--beta", type=float, default=0.0, help="TRL's own default")
    parser.add_argument("--models", type=Path, default=HERE.parent / "target/bench-models", help="where random checkpoints lie")
    parser.add_argument("--write", action="store_true", help="put what was measured into docs/src/speed.md")
    args = parser.parse_args()
    if unknown := set(args.work) - set(TITLES):
        parser.error(f"{', '.join(unknown)}: known are {', '.join(TITLES)}, and growth alone")
    protocol = {key: getattr(args, key) for key in ("prompts", "group", "tokens", "image_tokens", "beta")}
    rows = []
    for size in args.sizes:
        model = args.models.resolve() / size
        if not (model / "model.safetensors").is_file():
            random_models.make(size, model)
        image = picture(args.models.resolve(), args.image_tokens)
        for work in args.work:
            rows.append(compare(work, size, args.vr1, model, image, protocol, args.rounds, args.threads))
            ours, theirs = rows[-1]["vr1"], rows[-1]["peer"]
            figures = [f"{key} {ours[key]:.3f} against {theirs[key]:.3f}: {theirs[key] / ours[key]:.2f}" for key in ("seconds", "cpu_seconds")]
            print(f"{size} {TITLES[work]}: {'; '.join(figures)}; memory {ours['peak_bytes'] / theirs['peak_bytes']:.2f}", file=sys.stderr, flush=True)
    text = table(rows, protocol, args.threads)
    print(text)
    (args.models / "peers.json").write_text(json.dumps({"machine": machine(args.threads), "protocol": protocol, "rows": rows}, indent=1) + "\n")
    if args.write:
        write("peers", text)


if __name__ == "__main__":
    main()
