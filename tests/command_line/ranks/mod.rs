//! Several processes that train together, as torchrun starts them: they make what one makes, and end together.

mod served;
mod sharding;

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use super::*;
use crate::edges::Ground;

/// A large ε makes an update as large as its gradient: what differs in a gradient shows in the weights as it is.
const TOP: &str = "\
system: ranks
model: nowhere
steps: 2
prompt: { layout: raw, text: '{{ question }}' }
reward: { terms: { accuracy: 'length(completion) / 100' }, total: accuracy }
optimizer: { learning_rate: 0.1, epsilon: 1.0, schedule: constant, warmup_steps: 0 }
evaluation:
  samples: 5
  max_completion_tokens: 2
  sets: { in_domain: { kind: scenes, task: spatial, split: in_domain } }
";

const GRPO: &str = "
  kind: grpo
  train: { kind: scenes, task: spatial, split: train }
  prompts_per_step: 5
  group_size: 3
  sampling: { temperature: 1.0, max_completion_tokens: 4 }
";

/// Four documents a step, some of which show nothing.
const SFT: &str = "
  kind: sft
  documents_per_step: 4
  documents:
  - { source: { kind: scenes, task: spatial, split: train }, text: '{{ question }}', target: '{{ solution }}' }
  - { source: { kind: jsonl, path: words.jsonl }, text: '{{ question }}', target: '{{ solution }}' }
";

const DPO: &str = "
  kind: dpo
  pairs: { kind: written, source: { kind: scenes, task: spatial, split: train }, chosen: '{{ solution }}', rejected: 'no {{ solution }}' }
  pairs_per_step: 5
";

const SAMPLED: &str = "
  kind: dpo
  pairs: { kind: sampled, train: { kind: scenes, task: spatial, split: train }, group_size: 3, sampling: { max_completion_tokens: 4 } }
  pairs_per_step: 3
";

fn ground(recipe: &str) -> Ground {
    let ground = Ground::of(recipe);
    let row = |i: usize| {
        let (asked, answer) = (format!("What is {i} and one?"), format!("It is {}.", i + 1));
        json!({"id": i.to_string(), "conversations": [{"from": "human", "value": asked}, {"from": "gpt", "value": answer}]})
    };
    fs::write(ground.path("words.jsonl"), (0..8).map(|i| row(i).to_string() + "\n").collect::<String>()).unwrap();
    ground
}

fn objective(objective: &str, more: &str) -> String {
    format!("{TOP}{more}objective:{objective}")
}

/// The processes of a world of `size`, each with arguments of its own.
fn start(ground: &Ground, out: &str, size: usize, own: impl Fn(usize) -> Vec<&'static str>) -> Vec<Child> {
    start_given(ground, out, size, own, &[])
}

/// The same with variables that all are given.
fn start_given(
    ground: &Ground,
    out: &str,
    size: usize,
    own: impl Fn(usize) -> Vec<&'static str>,
    given: &[(&str, &str)],
) -> Vec<Child> {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let one = |rank: usize| {
        let mut command = ground.command(out, &own(rank));
        command.env("RANK", rank.to_string()).env("WORLD_SIZE", size.to_string()).env("LOCAL_RANK", rank.to_string());
        command.env("MASTER_ADDR", "127.0.0.1").env("MASTER_PORT", &port).env("OMP_NUM_THREADS", "1");
        command.envs(given.iter().copied());
        command.stderr(Stdio::piped()).spawn().unwrap()
    };
    (0..size).map(one).collect()
}

/// How each process ended and what it said.
fn ended(processes: Vec<Child>) -> Vec<(Option<i32>, String)> {
    let one = |process: Child| {
        let output = process.wait_with_output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    processes.into_iter().map(one).collect()
}

fn train(ground: &Ground, out: &str, size: usize, more: &[&'static str]) {
    for (rank, (code, said)) in ended(start(ground, out, size, |_| more.to_vec())).into_iter().enumerate() {
        assert_eq!(code, Some(0), "rank {rank} of {size}: {said}");
    }
}

fn checkpoint(ground: &Ground, out: &str, step: u64) -> PathBuf {
    ground.path(out).join(format!("checkpoints/step-{step}"))
}

/// What a run ended with: an adapter, or all weights, by name.
fn weights(dir: &Path) -> Vec<(String, Vec<f32>)> {
    let adapter = dir.join("adapter/adapter_model.safetensors");
    let bytes = fs::read(if adapter.is_file() { adapter } else { dir.join("model.safetensors") }).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let numbers = |tensor: &TensorView<'_>| -> Vec<f32> {
        let wide = |two: &[u8]| f32::from_bits(u32::from(u16::from_le_bytes([two[0], two[1]])) << 16);
        match tensor.dtype() {
            Dtype::BF16 => tensor.data().chunks_exact(2).map(wide).collect(),
            _ => tensor.data().chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect(),
        }
    };
    let mut all: Vec<_> = tensors.iter().map(|(name, tensor)| (name.to_owned(), numbers(&tensor))).collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

/// By how much two sets of weights differ at most.
fn gap(a: &[(String, Vec<f32>)], b: &[(String, Vec<f32>)]) -> f32 {
    assert_eq!(a.len(), b.len());
    let pairs = a.iter().zip(b).flat_map(|(a, b)| {
        assert_eq!((&a.0, a.1.len()), (&b.0, b.1.len()));
        a.1.iter().zip(&b.1)
    });
    pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn several_processes_make_the_update_of_one() {
    let lora = "lora: { rank: 4, alpha: 8 }\n";
    for (kind, recipe, sizes) in [
        ("SFT", objective(SFT, ""), &[2, 4][..]),
        ("SFT with a frozen tower", objective(SFT, "freeze: [tower]\n"), &[2]),
        ("DPO", objective(DPO, ""), &[4]),
        ("DPO of what is sampled", objective(SAMPLED, ""), &[2]),
        ("GRPO", objective(GRPO, ""), &[2, 4]),
        ("GRPO with an adapter", objective(GRPO, lora), &[2]),
    ] {
        let ground = ground(&recipe);
        let one = ground.train("one", &[]);
        assert_eq!(one.0, Some(0), "{kind}: {}", one.1);
        let [before, after] = [0, 2].map(|step| match step {
            0 if recipe.contains("lora") => Vec::new(),
            0 => weights(Path::new(TINY)),
            step => weights(&checkpoint(&ground, "one", step)),
        });
        assert!(before.is_empty() || gap(&before, &after) > 1e-4, "{kind}: it learns");
        for size in sizes {
            let out = format!("{size}");
            train(&ground, &out, *size, &[]);
            let gap = gap(&after, &weights(&checkpoint(&ground, &out, 2)));
            assert!(gap < 1e-6, "{kind}: {size} processes are {gap} from one");
            let rows = |out: &str| -> Vec<Value> {
                let rows = fs::read_to_string(ground.path(out).join("metrics.jsonl")).unwrap();
                rows.lines().map(|row| serde_json::from_str(row).unwrap()).collect()
            };
            for (one, all) in rows("one").iter().zip(rows(&out)) {
                for name in ["loss", "grad_norm", "reward", "completion_length", "rewards/margins"] {
                    let value = |row: &Value| row.get(name).map(|value| value.as_f64().unwrap());
                    let close = |a: f64, b: f64| (a - b).abs() < 1e-5 * (1.0 + a.abs());
                    let same = value(one).zip(value(&all)).is_none_or(|(a, b)| close(a, b));
                    assert!(same && value(one).is_some() == value(&all).is_some(), "{kind}: {name}: {one} and {all}");
                }
                assert!(all["reduced_bytes"].as_f64().unwrap() > 0.0);
            }
            let summary = |out: &str| -> Value {
                serde_json::from_slice(&fs::read(ground.path(out).join("summary.json")).unwrap()).unwrap()
            };
            assert_eq!(summary(&out)["after"], summary("one")["after"], "{kind}: {size}");
        }
    }
}

#[test]
fn where_each_process_has_a_micro_batch_of_one_the_update_is_the_same_bits() {
    let ground = ground(&objective(SFT, "tokens_per_micro_batch: 1\n"));
    assert_eq!(ground.train("one", &[]).0, Some(0));
    train(&ground, "four", 4, &[]);
    assert_eq!(weights(&checkpoint(&ground, "one", 2)), weights(&checkpoint(&ground, "four", 2)));
}

#[test]
fn a_run_goes_on_with_another_number_of_processes() {
    let ground = ground(&objective(DPO, "save_every_steps: 1\n"));
    assert_eq!(ground.train("one", &[]).0, Some(0));
    let whole = weights(&checkpoint(&ground, "one", 2));
    train(&ground, "two", 2, &[]);
    for (out, size) in [("one", 2), ("two", 1)] {
        fs::remove_dir_all(checkpoint(&ground, out, 2)).unwrap();
        fs::remove_file(ground.path(out).join("summary.json")).unwrap();
        match size {
            1 => assert_eq!(ground.train(out, &["--resume"]).0, Some(0)),
            size => train(&ground, out, size, &["--resume"]),
        }
        let gap = gap(&whole, &weights(&checkpoint(&ground, out, 2)));
        assert!(gap < 1e-6, "{out}: {gap}");
    }
}

fn signal(process: &Child, signal: &str) {
    assert!(Command::new("kill").args([signal, &process.id().to_string()]).status().unwrap().success());
}

/// Two processes of a run of many steps that has taken some.
fn under_way(ground: &Ground) -> Vec<Child> {
    let mut processes = start(ground, "run", 2, |_| Vec::new());
    let begun = Instant::now();
    while !checkpoint(ground, "run", 1).is_dir() {
        assert!(begun.elapsed() < Duration::from_secs(120) && processes[0].try_wait().unwrap().is_none());
        sleep(Duration::from_millis(20));
    }
    processes
}

#[test]
fn a_killed_process_ends_the_others_and_the_same_command_goes_on() {
    let ground = ground(&objective(GRPO, "save_every_steps: 1\n").replace("steps: 2", "steps: 20"));
    let mut processes = under_way(&ground);
    processes[1].kill().unwrap();
    let killed = Instant::now();
    let ended = ended(processes);
    assert!(killed.elapsed() < Duration::from_secs(60));
    assert_eq!(ended[0].0, Some(1), "{}", ended[0].1);
    assert!(ended[0].1.contains("error: rank 0: the processes of this run are no longer together"), "{}", ended[0].1);
    let steps = |out: &str| fs::read_to_string(ground.path(out).join("metrics.jsonl")).unwrap().lines().count();
    let taken = steps("run");
    assert!((1..20).contains(&taken), "{taken}");
    train(&ground, "run", 2, &[]);
    assert_eq!(steps("run"), 20);
}

#[test]
fn a_signal_to_one_process_stops_all_after_the_same_step() {
    let ground = ground(&objective(GRPO, "save_every_steps: 1\n").replace("steps: 2", "steps: 400"));
    let processes = under_way(&ground);
    signal(&processes[1], "-TERM");
    for (rank, (code, said)) in ended(processes).into_iter().enumerate() {
        assert_eq!(code, Some(75), "rank {rank}: {said}");
    }
}

#[test]
fn processes_that_were_not_given_the_same_say_what_differs() {
    let ground = ground(&objective(SFT, ""));
    let other = |rank: usize| if rank == 1 { vec!["--set", "optimizer.learning_rate=0.2"] } else { Vec::new() };
    for (rank, (code, said)) in ended(start(&ground, "run", 2, other)).into_iter().enumerate() {
        assert_eq!(code, Some(1), "rank {rank}: {said}");
        let told = format!(
            "error: rank {rank}: ranks 0 and 1 did not begin with the same: `optimizer.learning_rate` of the recipe is 0.1 on rank 0, \
             and 0.2 on rank 1"
        );
        assert!(said.contains(&told), "{said}");
    }
    assert!(!ground.path("run").exists(), "nothing was begun");
}

#[test]
fn a_process_that_fails_names_itself_and_the_others_say_which() {
    let ground = ground(&objective(SFT, ""));
    let broken = |rank: usize| if rank == 1 { vec!["--dtype", "f17"] } else { Vec::new() };
    let ended = ended(start(&ground, "run", 2, broken));
    assert_eq!(ended[1].0, Some(1));
    assert!(ended[1].1.contains("error: rank 1: unknown dtype"), "{}", ended[1].1);
    assert_eq!(ended[0].0, Some(1));
    assert!(ended[0].1.contains("rank 1 failed: unknown dtype"), "{}", ended[0].1);
}

#[test]
fn variables_that_are_half_given_are_named() {
    let ground = ground(&objective(SFT, ""));
    let output = ground.command("run", &[]).env("WORLD_SIZE", "2").env("MASTER_ADDR", "127.0.0.1").output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("RANK, MASTER_PORT are not"), "{said}");
}
