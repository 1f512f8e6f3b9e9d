"""The peers' side of `benches/peers.py`: TRL's training steps or transformers' `generate`, a line of JSON for each line that comes.

    python peer.py '{"work":"step","model":"DIR","image":"FILE","words":"…","group":8,"tokens":64,"threads":2}'
    python peer.py '{"work":"decode","model":"DIR","threads":2}'

Set up as their users would for speed: SDPA attention, a cache in decoding, no gradient checkpointing. What no side draws, tokens
that stand for pixels and the end of a text, is suppressed here as vr1 suppresses it.
"""

import json
import os
import sys
import tempfile
import time
import warnings

os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"
warnings.filterwarnings("ignore")

import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor, TrainerCallback, logging

from random_models import NEVER


def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:"))


def say(**what):
    print(json.dumps(what), file=OUT, flush=True)


class Turn:
    """The time between the line that asks for a piece of work and its end."""

    def __enter__(self):
        self.line = sys.stdin.readline()
        self.begun = (time.perf_counter(), time.process_time())
        return self.line

    def __exit__(self, *failure):
        if self.line and not failure[0]:
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            seconds, cpu = time.perf_counter() - self.begun[0], time.process_time() - self.begun[1]
            say(seconds=seconds, cpu_seconds=cpu, peak_bytes=peak(), said=self.said if hasattr(self, "said") else None)


def load(args):
    dtype = {"f32": torch.float32, "bf16": torch.bfloat16}[args.get("dtype", "f32")]
    model = AutoModelForImageTextToText.from_pretrained(args["model"], dtype=dtype, attn_implementation="sdpa")
    processor = AutoProcessor.from_pretrained(args["model"])
    never = [processor.tokenizer.convert_tokens_to_ids(token) for token in [*NEVER, processor.tokenizer.eos_token]]
    return model.to(args.get("device", "cpu")), processor, never


def step(args):
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    model, processor, never = load(args)
    row = {"prompt": [{"role": "user", "content": args["words"]}], "image": Image.open(args["image"]).convert("RGB")}
    prompts, group = args.get("prompts", 1), args["group"]

    class Steps(TrainerCallback):
        """Each step waits for its line."""

        def on_step_begin(self, settings, state, control, **_):
            self.turn = Turn()
            control.should_training_stop = not self.turn.__enter__()

        def on_step_end(self, settings, state, control, **_):
            self.turn.__exit__(None)

    config = GRPOConfig(
        output_dir=tempfile.mkdtemp(), max_steps=10**6, per_device_train_batch_size=prompts * group, num_generations=group,
        max_completion_length=args["tokens"], temperature=1.0, beta=args.get("beta", 0.0), learning_rate=1e-6,
        gradient_checkpointing=False, bf16=args.get("dtype") == "bf16", generation_kwargs={"suppress_tokens": never},
        logging_steps=10**6, save_strategy="no", report_to=[], disable_tqdm=True, use_cpu=args.get("device", "cpu") == "cpu",
        dataloader_pin_memory=False,
    )
    lengths = set()

    def reward(completions, completion_ids, **_):
        lengths.update(len(ids) for ids in completion_ids)
        return [float(completion[0]["content"].count("e")) for completion in completions]

    trainer = GRPOTrainer(
        model=model, reward_funcs=reward, args=config, train_dataset=Dataset.from_list([row] * 64), processing_class=processor, callbacks=[Steps()]
    )
    say(ready=True, peak_bytes=peak())
    trainer.train()
    assert lengths <= {args["tokens"]}, f"completions of {lengths} tokens instead of {args['tokens']}"


def decode(args):
    model, processor, never = load(args)
    model.eval()
    say(ready=True, peak_bytes=peak())
    while True:
        turn = Turn()
        with turn as line, torch.no_grad():
            if not line:
                return
            job = json.loads(line)
            picture, content = Image.open(job["image"]).convert("RGB"), [{"type": "image"}, {"type": "text", "text": job["words"]}]
            text = processor.apply_chat_template([{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True)
            inputs = processor(text=[text] * job["prompts"], images=[picture] * job["prompts"], return_tensors="pt").to(model.device)
            out = model.generate(
                **inputs, do_sample=True, top_k=0, max_new_tokens=job["tokens"], num_return_sequences=job["completions"], suppress_tokens=never
            )
            length = inputs["input_ids"].shape[1]
            turn.said = {"prompt_tokens": length, "tokens": (out.shape[1] - length) * out.shape[0]}
            assert turn.said["tokens"] == job["prompts"] * job["completions"] * job["tokens"], turn.said


# What libraries print is not an answer.
OUT, sys.stdout = sys.stdout, sys.stderr
logging.set_verbosity_error()
arguments = json.loads(sys.argv[1])
if "threads" in arguments:
    torch.set_num_threads(arguments["threads"])
{"step": step, "decode": decode}[arguments["work"]](arguments)
