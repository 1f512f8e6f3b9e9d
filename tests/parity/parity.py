"""vr1 against transformers and peft on random checkpoints, side by side; run by `cargo xtask parity`.

Each row is one checkpoint: `vr1` and transformers read the same directory. A figure beyond its bound is marked, and the
exit status is then 1. With the seed that the table prints, a row is made again.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from transformers import AutoTokenizer, logging
from transformers.video_utils import VideoMetadata

import checkpoints
from checkpoints import extended
from families import FAMILIES
from families.family import root_mean_square

WORDS = ["What is two and two?", "Which of them is the larger one, and what colour has it?", "Describe what is here.", "Is <|box_start|>(1,2),(30,40)<|box_end|> the <|object_ref_start|> red cube <|object_ref_end|> ?"]
SENTENCES = ["It is four, as always.", " The red cube is left of the sphere.", "<answer> (A) </answer>", " Nothing else is here:\n 1, 2, 30.", "<|object_ref_start|>cube<|object_ref_end|> <|box_start|>(1,2),(30,40)<|box_end|>", " Done.<|im_end|>\n"]
# How often as far off as theirs bf16 may be in one row; from how many rows on a family's own bound holds for all of them.
ONE_ROW, ENOUGH = 2.0, 6
BOUNDS = {"ids": 0, "f32": 1e-3, "greedy": 0, "cached": 1e-3, "export": 1e-5, "trained": 1e-3, "peft": 1e-3, "merged": 1e-3, "back": 1e-5}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--vr1", required=True)
    parser.add_argument("--seeds", type=int, default=2, help="checkpoints of each family")
    parser.add_argument("--seed", type=int, help="this one instead of fresh ones")
    parser.add_argument("families", nargs="*", default=list(FAMILIES))
    args = parser.parse_args()
    unknown = set(args.families) - set(FAMILIES)
    if unknown:
        sys.exit(f"error: {', '.join(sorted(unknown))}: known are {', '.join(FAMILIES)}")
    warnings.filterwarnings("ignore")
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    fresh = random.SystemRandom()
    columns = ["f32", "greedy", "cached", "bf16", "their bf16", "export", "trained", "peft", "merged", "back"]
    print(f"{'family':<11} {'seed':>7} {'form':<9} {'file':<8} {'shown':<5} " + " ".join(f"{c:>10}" for c in ["moved", *columns]))
    failed, whole = 0, {}
    for family in args.families or FAMILIES:
        rows = []
        for _ in range(1 if args.seed is not None else args.seeds):
            seed = args.seed if args.seed is not None else fresh.randrange(10**6)
            with tempfile.TemporaryDirectory() as folder:
                row = compare(args.vr1, FAMILIES[family], seed, Path(folder))
            wrong = {c for c in columns if c in BOUNDS and row[c] > BOUNDS[c]}
            # Two roundings of one sum: neither side's is the right one, and either may be lucky, with a picture for all words behind it.
            wrong |= {"bf16"} if row["bf16"] > ONE_ROW * row["their bf16"] else set()
            rows.append((row["bf16"], row["their bf16"]))
            failed += bool(wrong)
            cells = [f"{row['moved']:>10.1f}"] + [f"{row[c]:>9.2g}{'!' if c in wrong else ' '}" for c in columns]
            print(f"{family:<11} {seed:>7} {row['form']:<9} {row['file']:<8} {row['shown'] or '-':<5} " + " ".join(cells), flush=True)
        ours, theirs = (root_mean_square(side, 0) for side in zip(*rows))
        whole[family] = ours / theirs
        failed += len(rows) >= ENOUGH and whole[family] > FAMILIES[family].rounding
    print("\nbf16 over all rows, as often as theirs: " + ", ".join(f"{family} {ratio:.2f}" for family, ratio in whole.items()))
    print("""
shown       images (i) and videos (v) before the words, of sizes that need resizing or not
moved       how far a wrong mask, position or window moves a log-probability: the least of the three
f32         the most that a log-probability differs from transformers'; below 0.001
greedy      how many of 64 greedy tokens differ; 0
cached      the most that a log-probability of the cached decoding differs from transformers' uncached one
bf16        by how much bf16 log-probabilities differ from transformers' f32 ones (root mean square; of experts the
            median); at most twice theirs, and over six rows or more of a family 1.25 times (of experts 1.75 times)
their bf16  the same of transformers' own, the greater of two: by its fused attention, and by products
export      the most that a logit of what `vr1 export` wrote differs, in transformers
trained     the most that a log-probability differs in the checkpoint of a training step, loaded in transformers
peft        the most that a log-probability under a LoRA adapter of peft's differs
merged      the same where `vr1 export` merged it, in transformers
back        the same where vr1 read the adapter and wrote it, in peft""")
    sys.exit(1 if failed else 0)


def vr1(program, command, *args):
    done = subprocess.run([program, command, *map(str, args)], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"error: vr1 {command} {' '.join(map(str, args))}: {done.stderr.strip()}")
    return json.loads(done.stdout) if done.stdout.strip() else None


def compare(program, family, seed, folder):
    chance = random.Random(seed)
    family.write_processor(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    made = checkpoints.model(family, checkpoints.config(family, seed, tokenizer), seed)
    form, dtype = chance.choice(["published", "nested"]), chance.choice([torch.float32, torch.bfloat16, torch.float16])
    here = folder / "model"
    checkpoints.save(family, made, here, form, dtype, shards=chance.choice([1, 2]))
    checkpoints.leave_out(family, here, chance)
    checkpoints.dress(here, family, tokenizer)
    wide = family.auto.from_pretrained(here, dtype=torch.float32).eval()
    # Two of their ways to round: one sum of few roundings may be lucky.
    narrow = [family.auto.from_pretrained(here, dtype=torch.bfloat16, attn_implementation=by).eval() for by in ("sdpa", "eager")]

    shown = chance.choice(family.shown)
    images = [picture(family, chance, folder / f"{i}.png") for i in range(shown.count("i"))]
    videos = [video(family, chance, folder / f"v{i}") for i in range(shown.count("v"))]
    rate = chance.choice([None, 2.0, 30.0]) if videos else None
    words, completion = chance.choice(WORDS), "".join(chance.choices(SENTENCES, k=4))
    asked = ["--prompt", words, *named("--image", images), *named("--video", [frames[0].parent for frames in videos])]
    question = [*asked, "--json", *named("--frame-rate", [rate] if rate else [])]
    inputs = prompt(family, here, words, images, videos, rate)
    said = vr1(program, "logprobs", "--model", here, *question, "--completion", completion)
    assert said["prompt_ids"] == inputs["input_ids"][0].tolist(), "the prompts differ"
    ids = said["completion_ids"]
    assert ids == tokenizer(completion, add_special_tokens=False)["input_ids"], "the completions differ"
    right = logprobs(wide, inputs, ids)
    moved = checkpoints.sensitive(family, wide, extended(inputs, ids))
    rough = vr1(program, "logprobs", "--model", here, *question, "--completion", completion, "--dtype", "bf16")

    sampled = vr1(program, "generate", "--model", here, *question, "--max-new-tokens", 64)["completions"][0]
    greedy = generate(family, wide, inputs, tokenizer)

    exported = folder / "exported"
    vr1(program, "export", "--model", here, "--out", exported)
    again = family.auto.from_pretrained(exported, dtype=torch.float32).eval()
    trained = folder / "run/checkpoints/step-1"
    train(program, here, folder, words, images, videos)
    learnt = family.auto.from_pretrained(trained, dtype=torch.float32).eval()
    # Without a rate of frames, of which training rows say nothing.
    bare = prompt(family, trained, words, images, videos, None)
    judged = logprobs(learnt, bare, ids)
    assert difference(judged, logprobs(wide, bare, ids)) > 0.05, "the step hardly changed the model"
    after = vr1(program, "logprobs", "--model", trained, *asked, "--completion", completion, "--json")
    adapted = adapter(program, family, here, folder, inputs, ids, question, completion, chance)
    return {
        "form": form,
        "shown": shown,
        "file": str(dtype).removeprefix("torch."),
        # Nothing at all moves where everything is in one window.
        "moved": min(by for by in moved.values() if by),
        "f32": difference(said["logprobs"], right),
        "greedy": sum(a != b for a, b in zip(sampled["ids"], greedy)) + abs(len(sampled["ids"]) - len(greedy)),
        "cached": difference(sampled["logprobs"], logprobs(wide, inputs, sampled["ids"])),
        "bf16": family.spread(rough["logprobs"], right),
        "their bf16": max(family.spread(logprobs(one, inputs, ids), right) for one in narrow),
        "export": logits_difference(again, wide, extended(inputs, ids)),
        "trained": difference(after["logprobs"], judged),
        **adapted,
    }


def train(program, here, folder, words, images, videos):
    """One step of imitation on what is shown."""
    row = {"id": 1, "image": [file.name for file in images], "videos": [frames[0].parent.name for frames in videos]}
    turns = [{"from": "human", "value": words}, {"from": "gpt", "value": SENTENCES[0]}]
    (folder / "rows.jsonl").write_text(json.dumps({**row, "conversations": turns}) + "\n")
    source = {"kind": "jsonl", "path": str(folder / "rows.jsonl")}
    document = {"source": source, "text": "{{ question }}", "target": "{{ solution }}"}
    recipe = {
        "system": "one step", "model": str(here), "seed": 1, "steps": 1,
        "objective": {"kind": "sft", "documents_per_step": 1, "documents": [document]},
        "prompt": {"layout": "chat", "text": "{{ question }}"},
        "reward": {"terms": {"accuracy": "exact(completion, solution)"}, "total": "accuracy"},
        "optimizer": {"learning_rate": 0.01},
        "evaluation": {"samples": 1, "max_completion_tokens": 4, "sets": {"same": source}},
    }
    # JSON is YAML.
    (folder / "recipe.yaml").write_text(json.dumps(recipe))
    vr1(program, "train", folder / "recipe.yaml", "--out", folder / "run", "--quiet")


def named(option, values):
    return [arg for value in values for arg in (option, value)]


def picture(family, chance, file):
    checkpoints.noise(chance.randrange(10**6), *family.size(chance)).save(file)
    return file


def video(family, chance, folder):
    """A folder of frames of one size."""
    folder.mkdir()
    height, width = family.size(chance)
    files = [folder / f"{i}.png" for i in range(chance.randrange(family.least_frames, 7))]
    for file in files:
        checkpoints.noise(chance.randrange(10**6), height, width).save(file)
    return files


def prompt(family, folder, words, images, videos, rate):
    frames = [torch.stack([torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1) for file in files]) for files in videos]
    metadata = [VideoMetadata(total_num_frames=len(files), fps=rate, frames_indices=list(range(len(files)))) for files in videos]
    return checkpoints.inputs(family, folder, words, [Image.open(file) for file in images], frames, metadata)


def logprobs(model, inputs, ids):
    return checkpoints.of_each(checkpoints.logprobs(model, inputs, ids), ids)


def generate(family, model, inputs, tokenizer):
    media = [tokenizer.convert_tokens_to_ids(token) for token in family.media]
    out = model.generate(**inputs, do_sample=False, max_new_tokens=64, suppress_tokens=media)
    return out[0, inputs["input_ids"].shape[1]:].tolist()


def adapter(program, family, here, folder, inputs, ids, question, completion, chance):
    """A LoRA adapter with random matrices: read, merged, and written back."""
    from peft import LoraConfig, PeftModel, get_peft_model

    base = family.auto.from_pretrained(here, dtype=torch.float32)
    config = LoraConfig(
        r=chance.choice([2, 4]), lora_alpha=chance.choice([3, 8]), target_modules=chance.choice(family.targets),
        exclude_modules=chance.choice([None, rf"(.*\.)?({'|'.join(family.beside)})\..*"]) if family.sees else None, use_rslora=chance.choice([True, False]),
    )
    torch.manual_seed(chance.randrange(10**6))
    model = get_peft_model(base, config).eval()
    for name, p in model.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(p, std=0.15)
    theirs = folder / "adapter"
    model.save_pretrained(theirs)
    right = logprobs(model, inputs, ids)
    with model.disable_adapter():
        assert difference(right, logprobs(model, inputs, ids)) > 0.5, "the adapter hardly changes the model"
    said = vr1(program, "logprobs", "--model", here, "--adapter", theirs, *question, "--completion", completion)
    merged, ours = folder / "merged", folder / "back"
    vr1(program, "export", "--model", here, "--adapter", theirs, "--out", merged, "--dtype", "f32")
    vr1(program, "export", "--model", here, "--adapter", theirs, "--out", ours, "--adapter-only")
    # Both as peft reads a file: an adapter that it just made is computed with otherwise, in the last bits.
    read, back = (PeftModel.from_pretrained(family.auto.from_pretrained(here, dtype=torch.float32), place).eval() for place in (theirs, ours))
    return {
        "peft": difference(said["logprobs"], right),
        "merged": difference(logprobs(family.auto.from_pretrained(merged).eval(), inputs, ids), right),
        "back": difference(logprobs(back, inputs, ids), logprobs(read, inputs, ids)),
    }


def difference(a, b):
    return max(abs(x - y) for x, y in zip(a, b, strict=True))


def logits_difference(a, b, inputs):
    with torch.no_grad():
        return (a(**inputs).logits - b(**inputs).logits).abs().max().item()


main()
