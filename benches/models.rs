//! Loading a checkpoint, and one prompt through it: seconds, as a line of JSON. `benches/models.py` runs this beside
//! transformers.
#![allow(clippy::unwrap_used, reason = "a bench fails by panicking")]

use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::json;
use tch::{Device, Kind};
use vr1_data::Picture;
use vr1_nn::Recompute;
use vr1_processor::{IGNORED, Layout, Message, Processor, PromptRequest, Supervised, TokenType};
use vr1_rollout::{Group, SampleKey, Sequence};
use vr1_vlm::{Backbone, Batch, Model, Piece};

/// `cargo bench -p vr1 --bench models -- DIR DTYPE REPEATS [WORDS [PICTURE]]`; without arguments there is nothing to do, without
/// words only loading is timed. A picture is shown before the words, and encoded in every pass.
fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let [dir, dtype, repeats, words @ ..] = args.as_slice() else { return };
    let (dir, kind, repeats) = (Path::new(dir), vr1::kind(dtype).unwrap(), repeats.parse().unwrap());
    let model = Model::load(dir, Device::Cpu, kind).unwrap();
    let peak = peak();
    let weights = model.parameters().iter().map(|(_, tensor)| tensor.numel() * kind.elt_size_in_bytes()).sum::<usize>();
    let memory = json!({ "weights_bytes": weights, "peak_bytes": peak });
    drop(model);
    let load = || Model::load(dir, Device::Cpu, kind).unwrap();
    let check = seconds(repeats, || {
        let model = load();
        model.parameters().check_finite().unwrap();
        model
    });
    let (model, load) = (load(), seconds(repeats, load));
    let loading = json!({ "load": load, "check": check });
    let [words, pictures @ ..] = words else { return println!("{}", json!({ "memory": memory, "seconds": loading })) };
    let messages = [Message::user(pictures.iter().map(|file| Picture::File(PathBuf::from(file))), words)];
    let request = PromptRequest { sample: "bench", messages: &messages, layout: Layout::Raw, prefill: "" };
    let prompt = Processor::from_dir(dir).unwrap().prompt(&request).unwrap();
    // A placeholder is nobody's to say.
    let kinds = prompt.input_ids().iter().zip(prompt.token_types());
    let labels: Vec<i64> = kinds.map(|(id, kind)| if *kind == TokenType::Text { *id } else { IGNORED }).collect();
    let said = labels.iter().filter(|label| **label != IGNORED).count();
    let whole = Sequence::document(&Supervised { prompt: prompt.clone(), labels }).unwrap();
    let group = Group::new(SampleKey::default(), vec![whole]).unwrap();
    let _no_grad = tch::no_grad_guard();
    let forward = seconds(repeats, || {
        let features = model.encode(prompt.patches(), Recompute::None).unwrap();
        let batch = Batch::new(&[Piece::whole(&group)]).unwrap();
        let hidden = model.score(&batch, &features.iter().collect::<Vec<_>>()).unwrap();
        model.logits(&hidden).to_kind(Kind::Float)
    });
    let all = json!({ "load": load, "check": check, "forward": forward });
    println!("{}", json!({ "memory": memory, "tokens": prompt.len(), "said": said, "seconds": all }));
}

/// The most memory that this process had so far, where the system says.
fn peak() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<usize>().ok().map(|kib| kib * 1024)
}

/// The seconds that `work` takes, each time, after a first time that is not counted.
fn seconds<T>(repeats: usize, work: impl Fn() -> T) -> Vec<f64> {
    let time = |_| {
        let begun = Instant::now();
        let done = work();
        let seconds = begun.elapsed().as_secs_f64();
        drop(done);
        seconds
    };
    (0..=repeats).map(time).skip(1).collect()
}
