//! What takes how long: jobs on standard input, seconds on standard output, a line of JSON each. `benches/peers.py` has this and
//! its peers take turns; `cargo xtask gpu-check` runs it on a card.
//!
//! `cargo bench -p vr1 --bench peers -- '{"work":"step","recipe":"R.yaml","out":"DIR"}'` takes a training step a line;
//! `'{"work":"decode","model":"DIR"}'` completes prompts as each line says; `parts` does so and then says what learning from them takes.
#![allow(clippy::unwrap_used, reason = "a bench fails by panicking")]

use std::io::{BufRead, stdin};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use serde::Deserialize;
use serde_json::{Value, json};
use tch::{Cuda, Device};
use vr1_data::Picture;
use vr1_decode::LocalEngine;
use vr1_grpo::GrpoConfig;
use vr1_learn::{Learner, LearnerConfig, PolicyLoss, Signals, Step, logprobs};
use vr1_processor::{Layout, Message, Processor, Prompt, PromptRequest, Role};
use vr1_rollout::{Engine, Group, Request, SampleKey, Sampling};
use vr1_run::Show;
use vr1_train::{Recipe, RunOptions, Trainer};
use vr1_vlm::{Backbone, Model};

/// What is measured, on what.
#[derive(Deserialize)]
#[serde(tag = "work", rename_all = "lowercase", deny_unknown_fields)]
enum Work {
    Step {
        recipe: PathBuf,
        out: PathBuf,
        #[serde(flatten)]
        place: Place,
    },
    Decode {
        model: PathBuf,
        #[serde(flatten)]
        place: Place,
    },
    Parts {
        model: PathBuf,
        #[serde(flatten)]
        place: Place,
        tokens_per_micro_batch: usize,
    },
}

#[derive(Deserialize)]
struct Place {
    #[serde(default = "cpu")]
    device: String,
    #[serde(default = "f32")]
    dtype: String,
}

fn cpu() -> String {
    "cpu".to_owned()
}

fn f32() -> String {
    "f32".to_owned()
}

/// Completions of `prompts` prompts, each of a picture.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Job {
    prompts: usize,
    completions: usize,
    tokens: usize,
    image: PathBuf,
    words: String,
}

/// Without arguments there is nothing to do.
fn main() {
    vr1::spin_briefly();
    let Some(work) = std::env::args().skip(1).find(|arg| arg != "--bench") else { return };
    match serde_json::from_str(&work).unwrap() {
        Work::Step { recipe, out, place } => steps(&recipe, out, &place),
        Work::Decode { model, place } => decode(&model, &place),
        Work::Parts { model, place, tokens_per_micro_batch } => parts(&model, &place, tokens_per_micro_batch),
    }
}

fn steps(recipe: &Path, out: PathBuf, place: &Place) {
    let (device, kind) = (vr1_torch::device(&place.device).unwrap(), vr1::kind(&place.dtype).unwrap());
    let options = RunOptions { device, kind, show: Show::Quiet, ..RunOptions::new(out) };
    let mut trainer = Trainer::new(Recipe::load(recipe, &[]).unwrap(), options).unwrap();
    each_line(device, |_| json!({ "metrics": trainer.step().unwrap().values }));
}

/// A model that completes prompts.
struct Sampler {
    model: Rc<dyn Backbone>,
    processor: Processor,
    engine: LocalEngine,
    drawn: u64,
}

impl Sampler {
    fn new(dir: &Path, place: &Place) -> (Self, Device) {
        let (device, kind) = (vr1_torch::device(&place.device).unwrap(), vr1::kind(&place.dtype).unwrap());
        let model: Rc<dyn Backbone> = Rc::new(Model::load(dir, device, kind).unwrap());
        let processor = Processor::from_dir(dir).unwrap();
        let engine = LocalEngine::new(model.clone(), processor.tokenizer().clone()).unwrap();
        (Self { model, processor, engine, drawn: 0 }, device)
    }

    fn prompt(&self, message: Message) -> Arc<Prompt> {
        let request = PromptRequest { sample: "bench", messages: &[message], layout: Layout::Chat, prefill: "" };
        Arc::new(self.processor.prompt(&request).unwrap())
    }

    fn asked(&self, job: &Job) -> Arc<Prompt> {
        self.prompt(Message::user([Picture::File(job.image.clone())], &job.words))
    }

    fn complete(&mut self, prompt: &Arc<Prompt>, job: &Job) -> Vec<Group> {
        let sampling = Sampling { max_completion_tokens: job.tokens, ..Sampling::default() };
        let requests = (0..job.prompts).map(|_| {
            self.drawn += 1;
            let key = SampleKey { index: self.drawn, ..SampleKey::default() };
            Request::new(prompt.clone(), job.completions, sampling.clone(), key)
        });
        self.engine.generate(requests.collect()).unwrap()
    }
}

fn decode(dir: &Path, place: &Place) {
    let (mut sampler, device) = Sampler::new(dir, place);
    each_line(device, |line| {
        let job: Job = serde_json::from_str(line).unwrap();
        let prompt = sampler.asked(&job);
        let groups = sampler.complete(&prompt, &job);
        let tokens: usize = groups.iter().flat_map(Group::sequences).map(|one| one.ids().len()).sum();
        json!({ "prompt_tokens": prompt.len(), "tokens": tokens })
    });
}

/// What learning from completions takes: scoring them behind the picture and behind as many words, an update on them, and one on
/// next to nothing, which the optimizer is.
fn parts(dir: &Path, place: &Place, tokens_per_micro_batch: usize) {
    let (mut sampler, device) = Sampler::new(dir, place);
    let unreachable = sampler.processor.tokenizer().unreachable_ids(sampler.model.lm_head().size()[0]);
    let config = LearnerConfig { tokens_per_micro_batch, ..LearnerConfig::default() };
    let mut learner = Learner::new(sampler.model.clone(), config, &unreachable).unwrap();
    let loss = PolicyLoss { config: GrpoConfig { beta: 0.0, ..GrpoConfig::default() }, temperature: 1.0 };
    each_line(device, |line| {
        let job: Job = serde_json::from_str(line).unwrap();
        let seen = sampler.asked(&job);
        let words = sampler.prompt(Message::text(Role::User, "a ".repeat(seen.len() / 2)));
        let (groups, read) = (sampler.complete(&seen, &job), sampler.complete(&words, &job));
        let tiny = sampler.prompt(Message::text(Role::User, "a"));
        let tiny = sampler.complete(&tiny, &Job { prompts: 1, completions: 2, tokens: 1, ..job });
        let score = |groups: &[Group]| {
            seconds(device, || tch::no_grad(|| logprobs(sampler.model.as_ref(), groups, 1.0).unwrap()))
        };
        let (scored, scored_words) = (score(&groups), score(&read));
        let mut update = |groups: &[Group]| {
            let rows: usize = groups.iter().map(Group::size).sum();
            let signals = Signals::new((0..rows).map(|row| if row % 2 == 0 { 1.0 } else { -1.0 }).collect());
            seconds(device, || learner.update(groups, &signals, &loss, Step { done: 0, of: 1 }).unwrap())
        };
        let (optimizer, update) = (update(&tiny), update(&groups));
        json!({ "prompt_tokens": seen.len(), "word_tokens": words.len(), "score": scored, "score_words": scored_words, "optimizer": optimizer, "update": update })
    });
}

/// What `work` takes, to its end on the device.
fn seconds<T>(device: Device, work: impl FnOnce() -> T) -> f64 {
    let begun = Instant::now();
    let done = work();
    wait(device);
    drop(done);
    begun.elapsed().as_secs_f64()
}

fn wait(device: Device) {
    if let Device::Cuda(index) = device {
        Cuda::synchronize(index as i64);
    }
}

/// Says that it is ready, then does `work` for each line that comes, and says what that took.
fn each_line(device: Device, mut work: impl FnMut(&str) -> Value) {
    println!("{}", json!({ "ready": true, "peak_bytes": peak() }));
    for line in stdin().lock().lines() {
        let (begun, cpu) = (Instant::now(), cpu_seconds());
        let said = work(&line.unwrap());
        wait(device);
        let (seconds, cpu) = (begun.elapsed().as_secs_f64(), cpu_seconds() - cpu);
        println!("{}", json!({ "seconds": seconds, "cpu_seconds": cpu, "peak_bytes": peak(), "said": said }));
    }
}

/// The processor's seconds that the threads of this process have had, where the system says.
fn cpu_seconds() -> f64 {
    let threads = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let nanoseconds = threads.filter_map(|thread| {
        let stat = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        stat.split_whitespace().next()?.parse::<f64>().ok()
    });
    nanoseconds.sum::<f64>() / 1e9
}

/// The most memory that this process had so far, where the system says.
fn peak() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<usize>().ok().map(|kib| kib * 1024)
}
