//! How a step grows with the processes that take it, each with the same work and one thread: `cargo bench -p vr1 --bench ranks -- MODEL
//! [PROCESSES…]` prints a row for each objective and number of processes (1, 2 and 4 where none are named).
//!
//! In perfect weak scaling a step takes as long with all as with one, as long as there is a core for each.
#![allow(clippy::unwrap_used, reason = "a bench fails by panicking")]

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use vr1_run::read_metrics;

/// Steps that are counted, after one that is not.
const STEPS: u64 = 8;
/// Prompts or documents of each process in a step.
const EACH: usize = 4;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let [model, sizes @ ..] = args.as_slice() else { return };
    // Cargo runs a bench in its crate's folder.
    let model = [Path::new("../..").join(model), model.into()].into_iter().find(|dir| dir.is_dir()).unwrap();
    let sizes: Vec<usize> = sizes.iter().map(|size| size.parse().unwrap()).collect();
    let sizes = if sizes.is_empty() { vec![1, 2, 4] } else { sizes };
    println!("| objective | processes | seconds a step | of one's | reduced, MB | waiting, s | reducing, s |");
    println!("|---|---|---|---|---|---|---|");
    for objective in ["grpo", "sft"] {
        let mut one = None;
        for &size in &sizes {
            let row = measure(&model, objective, size);
            let seconds = row["seconds"].as_f64().unwrap();
            let share = seconds / *one.get_or_insert(seconds);
            let [bytes, waiting, reducing] =
                ["reduced_bytes", "seconds_waiting", "seconds_reduce"].map(|name| row[name].as_f64().unwrap());
            let bytes = bytes / 1e6;
            println!(
                "| {objective} | {size} | {seconds:.3} | {share:.2} | {bytes:.2} | {waiting:.3} | {reducing:.3} |"
            );
        }
    }
}

/// The medians over steps of what rank 0 measured.
fn measure(model: &Path, objective: &str, size: usize) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let scenes = json!({ "kind": "scenes", "task": "spatial", "split": "train" });
    let objective = match objective {
        "grpo" => json!({
            "kind": "grpo", "train": scenes, "prompts_per_step": EACH * size, "group_size": 4, "loss": { "beta": 0.0 },
            "sampling": { "temperature": 1.0, "max_completion_tokens": 48 },
        }),
        _ => json!({
            "kind": "sft", "documents_per_step": EACH * size,
            "documents": [{ "source": scenes, "text": "{{ question }}", "target": "{{ solution }}" }],
        }),
    };
    // JSON is YAML.
    let recipe = json!({
        "system": "ranks", "model": fs::canonicalize(model).unwrap(), "steps": STEPS + 1, "objective": objective,
        "prompt": { "layout": "raw", "text": "{{ question }}" },
        "reward": { "terms": { "accuracy": "length(completion) / 100" }, "total": "accuracy" },
        "optimizer": { "learning_rate": 1e-6 },
        "evaluation": { "samples": 1, "max_completion_tokens": 1, "sets": { "in_domain": scenes } },
    });
    fs::write(folder.path().join("recipe.yaml"), recipe.to_string()).unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let process = |rank: usize| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vr1"));
        command.arg("train").arg(folder.path().join("recipe.yaml")).args(["--quiet", "--out"]);
        command.arg(folder.path().join("run")).env("OMP_NUM_THREADS", "1").env("RAYON_NUM_THREADS", "1");
        command.envs([("RANK", rank.to_string()), ("WORLD_SIZE", size.to_string()), ("LOCAL_RANK", rank.to_string())]);
        command.env("MASTER_ADDR", "127.0.0.1").env("MASTER_PORT", port.to_string());
        command.stderr(Stdio::null()).spawn().unwrap()
    };
    let processes: Vec<_> = (0..size).map(process).collect();
    for mut process in processes {
        assert!(process.wait().unwrap().success());
    }
    let rows = read_metrics(&folder.path().join("run/metrics.jsonl")).unwrap();
    let median = |name: &str| {
        let mut values: Vec<f64> = rows.iter().skip(1).map(|row| row.get(name).unwrap_or(0.0)).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    json!({
        "seconds": median("seconds"), "reduced_bytes": median("reduced_bytes"),
        "seconds_waiting": median("seconds_waiting"), "seconds_reduce": median("seconds_reduce"),
    })
}
