//! How the time and the memory of a GRPO step grow with the group, the picture and the completions, beside what sharing a prompt
//! predicts: `cargo xtask bench-peers growth [OUT]` writes `growth.csv` and plots into OUT.
//!
//! A prompt of `P` tokens and `G` completions of `S` are `P + G·S` tokens where the prompt is shared and `G·(P + S)` where it is
//! not. Each point is a process of its own.
#![allow(clippy::unwrap_used, reason = "a bench fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use image::RgbImage;
use serde_json::{Value, json};
use vr1_run::{Series, Show, Stroke, plot};
use vr1_train::{Recipe, RunOptions, Trainer};

/// Where a curve begins and what the others stay at: completions, image tokens, new tokens.
const BASE: [usize; 3] = [8, 256, 64];
const NAMES: [&str; 3] = ["group", "image tokens", "new tokens"];
const CURVES: [&[usize]; 3] = [&[2, 4, 8, 16, 32], &[64, 256, 1024, 2304, 4096], &[32, 64, 128, 256, 512]];
/// Steps that are counted, after one that is not.
const STEPS: usize = 3;
/// Tokens of the prompt beside its picture.
const WORDS: usize = 40;

/// `MODEL [OUT]`; without arguments there is nothing to do.
fn main() {
    vr1::spin_briefly();
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => {}
        ["--point", model, group, image, new] => {
            println!("{}", point(Path::new(model), [group, image, new].map(|n| n.parse().unwrap())))
        }
        [model] => curves(model, Path::new("target/growth")),
        [model, out, ..] => curves(model, Path::new(out)),
    }
}

/// One point: the quickest step's seconds (others may use the machine), of these those of sampling, and the memory that the steps took beyond the loaded model's.
fn point(model: &Path, [group, image, new]: [usize; 3]) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let recipe = Recipe::load(&recipe(folder.path(), model, group, image, new), &[]).unwrap();
    let options = RunOptions { show: Show::Quiet, ..RunOptions::new(folder.path().join("run")) };
    let mut trainer = Trainer::new(recipe, options).unwrap();
    let loaded = peak();
    let steps = (0..=STEPS).map(|_| trainer.step().unwrap().values).skip(1);
    let quickest = steps.min_by(|a, b| a["seconds"].total_cmp(&b["seconds"])).unwrap();
    json!({ "seconds": quickest["seconds"], "sampling": quickest["seconds_collecting"], "bytes": peak() - loaded })
}

fn recipe(folder: &Path, model: &Path, group: usize, image: usize, new: usize) -> PathBuf {
    let side = (image as f64).sqrt() as u32 * 28;
    let checks = RgbImage::from_fn(side, side, |x, y| image::Rgb([x * y, x ^ y, x + y].map(|n| n as u8)));
    checks.save(folder.join("checks.png")).unwrap();
    let turns =
        json!([{ "from": "human", "value": "<image>How many red cubes are there?" }, { "from": "gpt", "value": "3" }]);
    let row = json!({ "image": folder.join("checks.png"), "conversations": turns });
    fs::write(folder.join("rows.jsonl"), row.to_string()).unwrap();
    let source = json!({ "kind": "jsonl", "path": folder.join("rows.jsonl") });
    let sampling = json!({ "temperature": 1.0, "max_completion_tokens": new });
    // JSON is YAML.
    let recipe = json!({
        "system": "growth", "model": model, "seed": 1, "steps": 1000,
        "objective": { "kind": "grpo", "train": source, "prompts_per_step": 1, "group_size": group, "sampling": sampling, "loss": { "beta": 0.0 } },
        "prompt": { "layout": "chat", "text": "{{ question }}" },
        "reward": { "terms": { "accuracy": "occurrences(completion, 'e')" }, "total": "accuracy" },
        "optimizer": { "learning_rate": 1e-6 },
        "evaluation": { "samples": 1, "max_completion_tokens": 2, "sets": { "same": source } },
    });
    let path = folder.join("recipe.yaml");
    fs::write(&path, recipe.to_string()).unwrap();
    path
}

fn curves(model: &str, out: &Path) {
    fs::create_dir_all(out).unwrap();
    let mut csv = "curve,group,image_tokens,new_tokens,seconds,seconds_sampling,megabytes,tokens_shared,tokens_apart\n"
        .to_owned();
    for (which, values) in CURVES.iter().enumerate() {
        let points = values.iter().map(|&value| {
            let mut at = BASE;
            at[which] = value;
            let (said, [group, image, new]) = (measure(model, at), at);
            let number = |key: &str| said[key].as_f64().unwrap();
            let prompt = image + WORDS;
            let (shared, apart) = ((prompt + group * new) as f64, (group * (prompt + new)) as f64);
            let (seconds, megabytes) = (number("seconds"), number("bytes") / 1e6);
            let sampling = number("sampling");
            let line = format!(
                "{},{group},{image},{new},{seconds:.4},{sampling:.4},{megabytes:.1},{shared},{apart}",
                NAMES[which]
            );
            eprintln!("{line}");
            csv += &(line + "\n");
            Point { value: value as f64, measured: [seconds - sampling, megabytes], shared, apart }
        });
        let points: Vec<Point> = points.collect();
        for (what, (title, unit)) in [("update", "seconds"), ("memory", "megabytes")].into_iter().enumerate() {
            let name = NAMES[which];
            let path = out.join(format!("{title}_{}.svg", name.replace(' ', "_")));
            plot(&series(&points, what), &format!("{title} by {name}"), name, unit, &path).unwrap();
        }
    }
    fs::write(out.join("growth.csv"), csv).unwrap();
}

/// A point of a curve: what was measured, and the tokens that there are.
struct Point {
    value: f64,
    measured: [f64; 2],
    shared: f64,
    apart: f64,
}

/// What was measured, and what so many tokens would take at the cost a token of the curve's first point.
fn series(points: &[Point], what: usize) -> Vec<Series> {
    let each = points[0].measured[what] / points[0].shared;
    let line = |name: &str, y: &dyn Fn(&Point) -> f64| {
        let points = points.iter().map(|point| (point.value, y(point))).collect();
        let stroke = if name == "measured" { Stroke::Points } else { Stroke::Line };
        Series { name: name.to_owned(), points, stroke }
    };
    vec![
        line("measured", &|point| point.measured[what]),
        line("prompt once", &|point| each * point.shared),
        line("prompt with every completion", &|point| each * point.apart),
    ]
}

fn measure(model: &str, at: [usize; 3]) -> Value {
    let program = std::env::current_exe().unwrap();
    let output = Command::new(program).args(["--point", model]).args(at.map(|n| n.to_string())).output().unwrap();
    assert!(output.status.success(), "{at:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The most memory that this process had so far.
fn peak() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().trim().parse::<usize>().unwrap() * 1024
}
