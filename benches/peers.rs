//! What takes how long: jobs on standard input, seconds on standard output, a line of JSON each. `benches/peers.py` has this and
//! its peers take turns; `cargo xtask gpu-check` runs it on a card.
//!
//! `cargo bench -p vr1 --bench peers -- '{"work":"step","recipe":"R.yaml","out":"DIR"}'` takes a training step a line;
//! `'{"work":"decode","model":"DIR"}'` completes prompts as each line says.
#![allow(clippy::unwrap_used, reason = "a bench fails by panicking")]

use std::io::{BufRead, stdin};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Instant;

use serde::Deserialize;
use serde_json::{Value, json};
use tch::{Cuda, Device};
use vr1_data::Picture;
use vr1_decode::LocalEngine;
use vr1_processor::{Layout, Message, Processor, PromptRequest};
use vr1_rollout::{Engine, Request, SampleKey, Sampling};
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
    }
}

fn steps(recipe: &Path, out: PathBuf, place: &Place) {
    let (device, kind) = (vr1_torch::device(&place.device).unwrap(), vr1::kind(&place.dtype).unwrap());
    let options = RunOptions { device, kind, show: Show::Quiet, ..RunOptions::new(out) };
    let mut trainer = Trainer::new(Recipe::load(recipe, &[]).unwrap(), options).unwrap();
    each_line(device, |_| json!({ "metrics": trainer.step().unwrap().values }));
}

fn decode(dir: &Path, place: &Place) {
    let (device, kind) = (vr1_torch::device(&place.device).unwrap(), vr1::kind(&place.dtype).unwrap());
    let model: Rc<dyn Backbone> = Rc::new(Model::load(dir, device, kind).unwrap());
    let processor = Processor::from_dir(dir).unwrap();
    let mut engine = LocalEngine::new(model, processor.tokenizer().clone()).unwrap();
    let mut drawn = 0;
    each_line(device, |line| {
        let job: Job = serde_json::from_str(line).unwrap();
        let messages = [Message::user([Picture::File(job.image)], job.words)];
        let request = PromptRequest { sample: "bench", messages: &messages, layout: Layout::Chat, prefill: "" };
        let prompt = std::sync::Arc::new(processor.prompt(&request).unwrap());
        let sampling = Sampling { max_completion_tokens: job.tokens, ..Sampling::default() };
        let requests = (0..job.prompts).map(|_| {
            drawn += 1;
            let key = SampleKey { index: drawn, ..SampleKey::default() };
            Request::new(prompt.clone(), job.completions, sampling.clone(), key)
        });
        let groups = engine.generate(requests.collect()).unwrap();
        let tokens: usize = groups.iter().flat_map(|group| group.sequences()).map(|one| one.ids().len()).sum();
        json!({ "prompt_tokens": prompt.len(), "tokens": tokens })
    });
}

/// Says that it is ready, then does `work` for each line that comes, and says what that took.
fn each_line(device: Device, mut work: impl FnMut(&str) -> Value) {
    println!("{}", json!({ "ready": true, "peak_bytes": peak() }));
    for line in stdin().lock().lines() {
        let (begun, cpu) = (Instant::now(), cpu_seconds());
        let said = work(&line.unwrap());
        if let Device::Cuda(index) = device {
            Cuda::synchronize(index as i64);
        }
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
