"""What a card makes of vr1, a table a stage: `bash run.sh [--device cpu] [STAGE…]`.

kernels  the tests of vr1-torch, every kernel against its reference
parity   every family against transformers, in f32 and bf16: scored, and decoded with a cache
decode   a decoding step of 8, 64 and 256 rows behind a prompt of 1,024 image tokens, Qwen2-VL-2B's shapes
step     GRPO steps of 1 × 8 and 8 × 8 completions of 256 tokens, with the card's memory, and the update against the card's products
parts    where the time goes: of a decoding step, and of an update
peer     transformers' `generate` of a group on the same model

The exit code is 1 where a check of correctness failed, 2 where a stage could not be finished. On a CPU (`--device cpu`) a small
model in f32 takes the place of the large one.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
BIN = HERE / "programs"
# Seconds that a stage may take.
STAGES = {"kernels": 120, "parity": 120, "decode": 150, "step": 150, "parts": 100, "peer": 90}
# How a stage ends in which a check of correctness failed; any other end but 0 left it unfinished.
WRONG = 3
# How far f32 may be from what transformers says, in f32 on the CPU.
F32 = 1e-3


def family_of(folder):
    from families import FAMILIES

    return FAMILIES[question_of(folder)["family"]]


def question_of(folder):
    return json.loads((folder / "question.json").read_text())


def load(folder, device, dtype):
    return family_of(folder).auto.from_pretrained(folder, dtype=dtype).eval().to(device)


def asked(folder):
    """The prompt of a packed checkpoint's question as transformers' processor made it, and the ids of its answer."""
    from safetensors.torch import load_file

    return load_file(folder / "inputs.safetensors"), json.loads((folder / "said.json").read_text())["ids"]


def logprobs(model, inputs, ids):
    """What a model says of `ids` behind a prompt."""
    import checkpoints

    return checkpoints.of_each(checkpoints.logprobs(model, inputs, ids), ids)


def widest(a, b):
    return max(abs(x - y) for x, y in zip(a, b, strict=True))


def vr1(args, folder, command, *more):
    question = question_of(folder)
    image = ["--image", folder / question["image"]] if question["image"] else []
    line = [BIN / "vr1", command, "--model", folder, "--prompt", question["prompt"], *image, "--json", "--device", args.device, *more]
    done = subprocess.run(list(map(str, line)), capture_output=True, text=True, timeout=100)
    if done.returncode:
        sys.exit(f"error: {' '.join(map(str, line))}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def kernels(args):
    programs, failed = sorted((BIN / "tests").glob("*")), False
    if not programs:
        sys.exit("error: the pack has no tests")
    # Loaded before any test looks for a card: libtorch looks once.
    environment = os.environ if args.device == "cpu" else {**os.environ, "LD_PRELOAD": "libtorch_cuda.so"}
    print("| test | result |\n|---|---|")

    def run(program):
        command = [program, "--test-threads=1", "--show-output"]
        try:
            return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=STAGES["kernels"] - 10)
        except subprocess.TimeoutExpired as late:
            return subprocess.CompletedProcess(command, 1, (late.stdout or b"").decode(), "it did not end")

    # Most of what a program takes is its start.
    with ThreadPoolExecutor(max(1, (os.cpu_count() or 1) // 4)) as pool:
        ran = list(pool.map(run, programs))
    for program, done in zip(programs, ran):
        skipped = args.device != "cpu" and any(line.startswith(("skipped:", "no GPU")) for line in done.stdout.splitlines())
        results = [line[5:].split(" ... ") for line in done.stdout.splitlines() if line.startswith("test ") and " ... " in line]
        for name, result in results:
            print(f"| {program.name}: {name} | {result} |")
        if skipped or done.returncode or not results:
            failed = True
            print(f"| {program.name} | **{'found no GPU' if skipped else 'failed'}** |")
            print("\n".join(done.stdout.splitlines()[-40:] + done.stderr.splitlines()[-20:]), file=sys.stderr)
    return failed


def parity(args):
    import torch
    from transformers import logging

    logging.disable_progress_bar()
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    failed = False
    print("f32: the most that a log-probability differs from transformers' on the CPU; bf16: the root mean square; ! beyond its bound\n")
    columns = ["f32", "their f32", "greedy", "cached f32", "bf16", "their bf16", "cached bf16", "their own"]
    print(f"| model | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}")
    with ThreadPoolExecutor(max(1, os.cpu_count() // 2)) as pool:
        # Most of what a program takes is its start.
        folders = {folder: {name: pool.submit(vr1, args, folder, *line) for name, line in asks(folder).items()} for folder in sorted((HERE / "models").iterdir())}
        for folder, ours in folders.items():
            said, ours = json.loads((folder / "said.json").read_text()), {name: one.result() for name, one in ours.items()}
            truth, (inputs, ids), family = load(folder, "cpu", torch.float32), asked(folder), family_of(folder)
            right = logprobs(truth, inputs, ids)
            assert widest(right, said["logprobs"]) < 1e-3, "transformers differs from the one that packed this"
            wide, narrow = (load(folder, args.device, dtype) for dtype in (torch.float32, torch.bfloat16))
            row = {"their f32": widest(logprobs(wide, inputs, ids), right), "their bf16": family.spread(logprobs(narrow, inputs, ids), right)}
            row["greedy"] = wrong_choices(truth, folder, inputs, ours["greedy"]["completions"][0]["ids"])
            for dtype, far in (("f32", widest), ("bf16", family.spread)):
                assert ours[f"scored {dtype}"]["completion_ids"] == ids, "the completions differ"
                row[dtype] = far(ours[f"scored {dtype}"]["logprobs"], right)
                drawn = ours[f"drawn {dtype}"]["completions"][0]
                row[f"cached {dtype}"] = far(drawn["logprobs"], logprobs(truth, inputs, drawn["ids"]))
            row["their own"] = family.spread(logprobs(narrow, inputs, drawn["ids"]), logprobs(truth, inputs, drawn["ids"]))
            # Two roundings of one sum: neither side's is the right one, and either may be lucky.
            wrong = {name for name in ("f32", "cached f32", "greedy") if row[name] > F32}
            wrong |= {"bf16"} if row["bf16"] > family.rounding * row["their bf16"] else set()
            wrong |= {"cached bf16"} if row["cached bf16"] > family.rounding * row["their own"] else set()
            failed |= bool(wrong)
            cells = [f"{row[name]:.2g}{'!' if name in wrong else ''}" for name in columns]
            print(f"| {folder.name}, {len(drawn['ids'])} drawn | {' | '.join(cells)} |", flush=True)
    return failed


def asks(folder):
    """What vr1 is asked of a checkpoint."""
    completion = question_of(folder)["completion"]
    lines = {"greedy": ["generate", "--max-new-tokens", 64]}
    for dtype in ("f32", "bf16"):
        lines[f"scored {dtype}"] = ["logprobs", "--completion", completion, "--dtype", dtype]
        lines[f"drawn {dtype}"] = ["generate", "--max-new-tokens", 192, "--temperature", 1, "--seed", 4, "--dtype", dtype]
    return lines


def wrong_choices(model, folder, inputs, ids):
    """By how much the most likely token is likelier than a greedy one that was drawn: the most of all."""
    import torch
    import checkpoints
    from transformers import AutoTokenizer

    said = checkpoints.logprobs(model, inputs, ids)
    media = AutoTokenizer.from_pretrained(folder).convert_tokens_to_ids(family_of(folder).media)
    media = [id for id in media if id < said.shape[1]]
    drawn = said.gather(1, torch.tensor([ids]).T)[:, 0]
    return (said.index_fill(1, torch.tensor(media, dtype=torch.long), float("-inf")).amax(1) - drawn).max().item()


class Large:
    """The model that is measured, a picture, and what is asked of it."""

    def __init__(self, args, layers=None):
        import random_models

        card = args.device != "cpu"
        self.size, self.dtype = ("2B", "bf16") if card else ("7.7M", "f32")
        self.layers = random_models.SIZES[self.size][3]
        if layers:
            self.size, self.layers = f"{self.size} of {layers} layers", layers
        self.image_tokens, self.tokens = (1024, 256) if card else (64, 32)
        self.folder = args.scratch / self.size
        if not (self.folder / "config.json").is_file():
            import torch

            begun = time.perf_counter()
            random_models.make(self.size, self.folder, torch.bfloat16 if card else torch.float32, args.device)
            print(f"made {self.folder} in {time.perf_counter() - begun:.0f} s", file=sys.stderr)
        import peers

        self.image, self.small_image = (peers.picture(args.scratch, tokens) for tokens in (self.image_tokens, 4))
        self.place = {"device": args.device, "dtype": self.dtype}
        self.rows = ((1, 8), (8, 8), (32, 8)) if card else ((1, 2), (2, 2))

    def job(self, prompts, completions, tokens, image=None):
        import peers

        image = str(image or self.image)
        return json.dumps({"prompts": prompts, "completions": completions, "tokens": tokens, "image": image, "words": peers.WORDS})

    def side(self, work, **more):
        import peers

        return peers.Side([BIN / "peers", json.dumps({"work": work, "model": str(self.folder), **self.place, **more})], 8)

    def steps(self, side, prompts, group, image=None):
        """Seconds of a decoding step, of what is before the first, and of all."""
        short, long = self.tokens // 4, self.tokens
        side.work(self.job(prompts, group, short, image))
        seconds = [side.work(self.job(prompts, group, tokens, image))["seconds"] for tokens in (short, long)]
        step = (seconds[1] - seconds[0]) / (long - short)
        return step, seconds[0] - short * step, seconds[1]


def decode(args):
    large = Large(args)
    side = large.side("decode")
    print(f"{large.size}, {large.dtype}, {large.image_tokens} image tokens; a step is the difference of {large.tokens} and {large.tokens // 4} tokens\n")
    print("| rows | ms a step | tokens a second | s before the first step | s for all |\n|---|---|---|---|---|")
    for prompts, group in large.rows:
        step, before, whole = large.steps(side, prompts, group)
        print(f"| {prompts} × {group} | {step * 1e3:.2f} | {prompts * group / step:.0f} | {before:.3f} | {whole:.2f} |", flush=True)
    side.end()


def parts(args):
    large, low = Large(args), Large(args, 4 if args.device != "cpu" else 2)
    full, few = large.side("decode"), low.side("decode")
    print(f"{large.size}, {large.dtype}: ms of a decoding step, by models of {large.layers} and {low.layers} layers and pictures of {large.image_tokens} and 4 tokens\n")
    print("| rows | a step | its layers | attention over the picture | the rest: head, sampling |\n|---|---|---|---|---|")
    for prompts, group in large.rows:
        whole, shallow = (one.steps(side, prompts, group)[0] * 1e3 for one, side in ((large, full), (low, few)))
        blind = large.steps(full, prompts, group, large.small_image)[0] * 1e3
        layers = (whole - shallow) / (large.layers - low.layers) * large.layers
        print(f"| {prompts} × {group} | {whole:.2f} | {layers:.2f} | {whole - blind:.2f} | {whole - layers:.2f} |", flush=True)
    full.end()
    few.end()
    side, (prompts, group) = large.side("parts", tokens_per_micro_batch=args.micro_batch), large.rows[1]
    said = [side.work(large.job(prompts, group, large.tokens))["said"] for _ in range(2)][1]
    side.end()
    rest = said["update"] - said["score"] - said["optimizer"]
    print(f"\nAn update on {prompts} × {group} × {large.tokens}, without a reference: {said['update']:.3f} s\n\n| part | s |\n|---|---|")
    rows = {"tower, forwards": said["score"] - said["score_words"], "language model and head, forwards": said["score_words"], "backwards": rest}
    for name, seconds in {**rows, "optimizer": said["optimizer"]}.items():
        print(f"| {name} | {seconds:.3f} |")


class Memory(threading.Thread):
    """The most memory that the card says is taken, in bytes, above what was before."""

    def __init__(self):
        super().__init__(daemon=True)
        self.before, self.most, self.over = self.taken(), 0, threading.Event()

    def taken(self):
        try:
            said = subprocess.run(["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"], capture_output=True, text=True).stdout
            return int(said.split()[0]) * 2**20
        except (OSError, IndexError, ValueError):
            return 0

    def run(self):
        while not self.over.wait(0.1):
            self.most = max(self.most, self.taken() - self.before)


def step(args):
    import peers

    large = Large(args)
    rate = products(args.device)
    print(f"{large.size}, {large.dtype}, {large.image_tokens} image tokens, completions of {large.tokens}; products at {rate / 1e12:.2f} TFLOP/s\n")
    print("| completions | s a step | collecting | update | its share of the products' rate | memory |\n|---|---|---|---|---|---|")
    one, many = large.rows[:2]
    small = {"recompute": "layers", "optimizer": {"moments": "blockwise_8bit"}}
    for (prompts, group), settings in ((one, {}), (many, {}), (many, small), (many, {"recompute": "layers", "optimizer": {"offload": True}})):
        with tempfile.TemporaryDirectory() as folder:
            protocol = {"prompts": prompts, "group": group, "tokens": large.tokens, "beta": 0.04}
            recipe = peers.recipe(Path(folder), large.folder, large.image, protocol, tokens_per_micro_batch=args.micro_batch, **settings)
            memory = Memory()
            memory.start()
            side = peers.Side([BIN / "peers", json.dumps({"work": "step", "recipe": str(recipe), "out": f"{folder}/run", **large.place})], 8)
            said = [side.work()["said"]["metrics"] for _ in range(args.steps)][1:]
            side.end()
            memory.over.set()
        seconds, collecting = (statistics.median(one[key] for one in said) for key in ("seconds", "seconds_collecting"))
        share = operations(large, prompts, group) / (seconds - collecting) / rate
        name = ", ".join([f"{prompts} × {group}", *(f"`{key}`: {value}".replace("'", "") for key, value in settings.items())])
        print(f"| {name} | {seconds:.2f} | {collecting:.2f} | {seconds - collecting:.2f} | {share:.0%} | {memory.most / 1e9:.1f} GB |", flush=True)
        parts = {name: round(statistics.median(one[name] for one in said), 3) for name in said[0] if name.startswith("seconds")}
        print(f"{name}: {parts}, sampler_kl {said[-1]['sampler_kl']:.1e}, loss {said[-1].get('loss', 0):.6f}", file=sys.stderr)


def products(device):
    """The rate of large products in bf16, or on a CPU of smaller ones in f32."""
    import torch

    size, kind, repeats = (512, torch.float32, 5) if device == "cpu" else (8192, torch.bfloat16, 30)
    a, b = (torch.randn(size, size, device=device, dtype=kind) for _ in range(2))
    for repeats in (3, repeats):
        begun = time.perf_counter()
        for _ in range(repeats):
            a @ b
        if device != "cpu":
            torch.cuda.synchronize()
        seconds = time.perf_counter() - begun
    return 2 * size**3 * repeats / seconds


def operations(large, prompts, group):
    """Of an update on the tokens that exist: forwards and backwards of the model, forwards of the reference."""
    import random_models

    vocabulary, hidden, wide, layers, heads, key_values, tower, depth, _ = random_models.SIZES[large.size]
    prompt, new = large.image_tokens + 40, large.tokens
    layer = hidden * hidden * 2 + 2 * hidden * hidden // heads * key_values + 3 * hidden * wide
    tokens = prompt + group * new
    language = 2 * layers * layer * tokens + 2 * vocabulary * hidden * group * new
    # Of queries and keys, and of weights and values: causal over the prompt and each completion, whole over the prompt.
    language += layers * 4 * hidden * (prompt**2 / 2 + group * new * prompt + group * new**2 / 2)
    patches = 4 * large.image_tokens
    vision = depth * (2 * 12 * tower**2 * patches + 4 * tower * patches**2)
    vision += 2 * large.image_tokens * (16 * tower**2 + 4 * tower * hidden)
    return prompts * (language + vision) * 4


def peer(args):
    import peers

    large = Large(args)
    side = peers.Side([sys.executable, HERE / "peer.py", json.dumps({"work": "decode", "model": str(large.folder), **large.place})], 8)
    large.tokens //= 2
    print("| rows | transformers' ms a step |\n|---|---|")
    print(f"| {large.rows[0][0]} × {large.rows[0][1]} | {large.steps(side, *large.rows[0])[0] * 1e3:.1f} |")
    side.end()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stages", nargs="*", help="default: all")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--scratch", type=Path, default=Path(tempfile.gettempdir()) / "vr1-gpu-check", help="where the large model is made")
    parser.add_argument("--micro-batch", type=int, default=4096, help="tokens_per_micro_batch of the steps")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--only", choices=STAGES, help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.scratch.mkdir(parents=True, exist_ok=True)
    if args.only:
        sys.exit(WRONG if globals()[args.only](args) else 0)
    if unknown := set(args.stages) - set(STAGES):
        parser.error(f"{', '.join(unknown)}: known are {', '.join(STAGES)}")
    if not BIN.is_dir():
        with tarfile.open(HERE / "packed.tar.xz") as archive:
            archive.extractall(HERE, filter="data")
    if args.device != "cpu":
        subprocess.run(["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"])
    ends = {}
    for stage in args.stages or STAGES:
        print(f"\n## {stage}\n", flush=True)
        begun = time.perf_counter()
        try:
            code = subprocess.run([sys.executable, __file__, *sys.argv[1:], "--only", stage], timeout=STAGES[stage]).returncode
            ends[stage] = {0: "whole", WRONG: "FAILED"}.get(code, f"ended by {code}")
        except subprocess.TimeoutExpired:
            ends[stage] = f"not done in {STAGES[stage]} s"
        print(f"\n{stage}: {ends[stage]}, {time.perf_counter() - begun:.0f} s", flush=True)
    print("\n" + "; ".join(f"{stage} {end}" for stage, end in ends.items()))
    sys.exit(1 if "FAILED" in ends.values() else 0 if set(ends.values()) == {"whole"} else 2)


if __name__ == "__main__":
    main()
