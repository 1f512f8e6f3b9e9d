"""What `vr1 plan` predicts beside what is measured on the CPU: three sizes, and four ways to train each.

    cargo bench --bench plan --no-run
    python benches/plan.py [SIZE…]

Needs transformers 5.x and torch, which write the random models. A run is one picture of 256 tokens, 8 completions of 64 tokens, two
steps. Measured is the peak of the bytes of tensors, as libtorch's allocator counts them; beside it stands how much the process grew
(VmHWM), which has the allocators' own keeping in it. The prediction is of the former, made before the weights were loaded.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import random_models

from peers import WORDS, picture

SIZES = ("0.5M", "7.7M", "64M")
LORA = {"rank": 16, "alpha": 32}


def ways(folder, model, rows):
    """Recipes by what they are called."""
    source = {"kind": "jsonl", "path": str(rows)}
    grpo = {
        "kind": "grpo", "train": source, "prompts_per_step": 1, "group_size": 8,
        "sampling": {"temperature": 1.0, "max_completion_tokens": 64}, "loss": {"beta": 0.0},
    }
    sft = {"kind": "sft", "documents_per_step": 4, "documents": [{"source": source, "text": "{{ question }}", "target": "{{ solution }}" * 16}]}
    compared = {**grpo, "prompts_per_step": 2, "loss": {"beta": 0.04}}
    yield "GRPO", {"objective": grpo}
    yield "GRPO, LoRA of rank 16", {"objective": grpo, "lora": LORA}
    yield "SFT, 4 documents", {"objective": sft}
    yield "GRPO, `recompute: layers`", {"objective": grpo, "recompute": "layers"}
    yield "GRPO, 2 prompts in micro-batches of 800, a reference", {"objective": compared, "tokens_per_micro_batch": 800}
    yield "GRPO, the tower frozen, 8-bit moments", {"objective": grpo, "freeze": ["tower"], "optimizer": {"moments": "blockwise_8bit"}}


def recipe(path, model, rows, settings):
    said = {
        "system": "plan", "model": str(model), "seed": 1, "steps": 1000, "save_every_minutes": 0,
        "prompt": {"layout": "chat", "text": "{{ question }}"},
        "reward": {"terms": {"accuracy": "occurrences(completion, 'e')"}, "total": "accuracy"},
        "evaluation": {"samples": 4, "max_completion_tokens": 128, "sets": {"same": {"kind": "jsonl", "path": str(rows)}}},
        **settings,
        "optimizer": {"learning_rate": 1e-6, **settings.get("optimizer", {})},
    }
    path.write_text(json.dumps(said))  # JSON is YAML.
    return path


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", type=Path, help="where models are kept from one run to the next")
    parser.add_argument("--program", nargs="+", default=["cargo", "bench", "--quiet", "-p", "vr1", "--bench", "plan", "--"])
    parser.add_argument("--phases", action="store_true", help="what the plan consists of, too")
    parser.add_argument("sizes", nargs="*", default=SIZES)
    args = parser.parse_args()
    print("| | | predicted | measured | off by | the process grew by | evaluation, predicted | measured | off by |\n|---|---|---|---|---|---|---|---|---|")
    worst = 0
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        image = picture(folder, 256)
        rows = folder / "rows.jsonl"
        turns = [{"from": "human", "value": f"<image>{WORDS}"}, {"from": "gpt", "value": "There are three."}]
        rows.write_text("".join(json.dumps({"id": i, "image": str(image), "conversations": turns}) + "\n" for i in range(4)))
        for size in args.sizes:
            model = (args.models or folder) / size.replace(" ", "-")
            if not model.exists():
                random_models.make(size, model)
            for number, (name, settings) in enumerate(ways(folder, model, rows)):
                path = recipe(folder / "recipe.yaml", model, rows, settings)
                out = subprocess.run([*args.program, path, folder / f"run-{size}-{number}"], capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
                if out.returncode:
                    sys.exit(out.stderr)
                said = json.loads(out.stdout.strip().splitlines()[-1])
                predicted, measured = said["plan"]["peak"], said["peak"]
                off = predicted / measured - 1
                phases = {phase["name"]: phase["bytes"] for phase in said["plan"]["stages"][0]["phases"]}
                # An evaluation begins with handing the weights over.
                evaluation, evaluated = max(phases["evaluation"], phases.get("handing over", 0)), said["evaluation"]
                apart = evaluation / evaluated - 1
                worst = max(worst, abs(off), abs(apart))
                cells = [size, name, f"{predicted / 1e6:.1f} MB", f"{measured / 1e6:.1f} MB", f"{off:+.1%}", f"{said['rss'] / 1e6:.0f} MB"]
                print("| " + " | ".join([*cells, f"{evaluation / 1e6:.1f} MB", f"{evaluated / 1e6:.1f} MB", f"{apart:+.1%}"]) + " |", flush=True)
                if args.phases:
                    print("   loading", said["loading"], [(step["left"], step["peak"]) for step in said["steps"]])
                    for phase in said["plan"]["stages"][0]["phases"]:
                        held = ", ".join(f"{held['what']} {held['bytes'] / 1e6:.2f}" for held in phase["held"])
                        print(f"   {phase['name']:<12} {phase['bytes'] / 1e6:.2f}: {held}")
    print(f"\nworst: {worst:.1%}")


if __name__ == "__main__":
    main()
