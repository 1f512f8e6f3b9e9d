//! Several processes that train together, as torchrun starts them: they make what one makes, and end together.

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
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let one = |rank: usize| {
        let mut command = ground.command(out, &own(rank));
        command.env("RANK", rank.to_string()).env("WORLD_SIZE", size.to_string()).env("LOCAL_RANK", rank.to_string());
        command.env("MASTER_ADDR", "127.0.0.1").env("MASTER_PORT", &port).env("OMP_NUM_THREADS", "1");
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

/// The bytes of a checkpoint's weights, and of its adapter where it has one.
fn written(dir: &Path) -> Vec<Vec<u8>> {
    let files = ["model.safetensors", "adapter/adapter_model.safetensors"].map(|name| dir.join(name));
    files.iter().filter(|file| file.is_file()).map(|file| fs::read(file).unwrap()).collect()
}

/// What a run measured, but for times, memory, and what only sharded ranks do.
fn measured(ground: &Ground, out: &str) -> Vec<Value> {
    let rows = fs::read_to_string(ground.path(out).join("metrics.jsonl")).unwrap();
    let timeless = |line: &str| {
        let mut row: Value = serde_json::from_str(line).unwrap();
        let machine = |name: &str| name.contains("second") || ["memory_gb", "gathered_bytes"].contains(&name);
        row.as_object_mut().unwrap().retain(|name, _| !machine(name));
        row
    };
    rows.lines().map(timeless).collect()
}

#[test]
fn sharded_processes_make_the_bytes_of_those_that_hold_everything() {
    let lora = "lora: { rank: 4, alpha: 8 }\n";
    let (bf16, size): (&[&str], usize) = (&["--dtype", "bf16"], 2);
    for (kind, recipe, more) in [
        ("GRPO with an adapter", objective(GRPO, lora), &[][..]),
        ("SFT of bf16 with a frozen tower", objective(SFT, "freeze: [tower]\n"), bf16),
    ] {
        let ground = ground(&recipe.replace("samples: 5", "samples: 1"));
        train(&ground, "whole", size, more);
        train(&ground, "sharded", size, &[more, &["--set", "sharding=zero2"]].concat());
        let [whole, sharded] = ["whole", "sharded"].map(|out| checkpoint(&ground, out, 2));
        assert!(!written(&whole).is_empty() && written(&whole) == written(&sharded), "{kind}");
        assert_eq!(measured(&ground, "whole"), measured(&ground, "sharded"), "{kind}");
        assert!(whole.join("optimizer.safetensors").is_file() && !sharded.join("optimizer.safetensors").exists());
        // Each process writes about as much, and all of it is what one would have written.
        let state = |dir: &Path, file: &str| {
            let bytes = fs::read(dir.join(file)).unwrap();
            let tensors = SafeTensors::deserialize(&bytes).unwrap();
            tensors.iter().map(|(name, tensor)| (name.to_owned(), tensor.data().to_vec())).collect::<Vec<_>>()
        };
        let mut all = state(&whole, "optimizer.safetensors");
        let shards = (1..=size).map(|i| state(&sharded, &format!("optimizer-{i:05}-of-{size:05}.safetensors")));
        let shards: Vec<_> = shards.collect();
        let bytes = |tensors: &[(String, Vec<u8>)]| tensors.iter().map(|(_, data)| data.len()).sum::<usize>();
        // A parameter has two moments, and a master where it is bf16.
        let largest = if more.is_empty() { 2 } else { 3 } * all.iter().map(|(_, data)| data.len()).max().unwrap();
        for shard in &shards {
            assert!(bytes(shard) <= bytes(&all) / size + largest, "{kind}: {} of {}", bytes(shard), bytes(&all));
        }
        let mut together = shards.concat();
        all.sort();
        together.sort();
        assert!(all == together, "{kind}");
    }
}

#[test]
fn a_checkpoint_of_sharded_processes_is_taken_up_by_any_number() {
    // Where each process has a micro-batch of one, and one process has the same, the weights are the same bits.
    let recipe = objective(SFT, "tokens_per_micro_batch: 1\nsave_every_steps: 1\nsharding: zero2\n");
    let ground = ground(&recipe.replace("samples: 5", "samples: 1"));
    train(&ground, "run", 4, &[]);
    let second = checkpoint(&ground, "run", 2);
    let (bytes, whole) = (written(&second), weights(&second));
    let back = || {
        fs::remove_dir_all(&second).unwrap();
        fs::remove_file(ground.path("run/summary.json")).unwrap();
    };
    back();
    assert_eq!(ground.train("run", &["--resume"]).0, Some(0));
    assert!(written(&second) == bytes, "by one");
    assert!(second.join("optimizer.safetensors").is_file(), "one process has nobody to share with");
    back();
    train(&ground, "run", 2, &["--resume", "--set", "sharding=none"]);
    let gap = gap(&whole, &weights(&second));
    assert!(gap < 1e-6, "by two that hold everything: {gap}");
}

#[test]
fn processes_whose_layers_lie_apart_make_the_bytes_of_those_that_hold_them() {
    let (bf16, more): (&[&str], _) = (&["--dtype", "bf16"], "recompute: layers\nsave_every_steps: 1\n");
    let compared = GRPO.replace("group_size: 3", "group_size: 3\n  loss: { beta: 0.04 }");
    for (kind, recipe, set) in [
        (
            "GRPO with an adapter and a reference",
            objective(&compared, &format!("{more}lora: {{ rank: 4, alpha: 8 }}\n")),
            &[][..],
        ),
        ("SFT of bf16 with a frozen tower", objective(SFT, &format!("{more}freeze: [tower]\n")), bf16),
    ] {
        let ground = ground(&recipe.replace("samples: 5", "samples: 1"));
        let run = |out: &str, sharding, resume: &[&'static str]| {
            train(&ground, out, 2, &[set, &["--set", sharding], resume].concat());
        };
        run("whole", "sharding=zero2", &[]);
        run("apart", "sharding=zero3", &[]);
        let [whole, apart] = ["whole", "apart"].map(|out| checkpoint(&ground, out, 2));
        let bytes = written(&whole);
        assert!(!bytes.is_empty() && bytes == written(&apart), "{kind}");
        assert_eq!(measured(&ground, "whole"), measured(&ground, "apart"), "{kind}");
        if set.is_empty() {
            continue;
        }
        // What one kind of process wrote, the other takes up.
        fs::remove_dir_all(&whole).unwrap();
        fs::remove_file(ground.path("whole/summary.json")).unwrap();
        run("whole", "sharding=zero3", &["--resume"]);
        assert!(written(&whole) == bytes, "{kind}: taken up");
    }
}

#[test]
fn layers_that_lie_apart_are_recomputed_or_the_recipe_is_refused() {
    let ground = ground(&objective(SFT, "sharding: zero3\n"));
    let (code, said) = ground.train("run", &[]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("recompute: must be `layers` with `sharding: zero3`"), "{said}");
}

fn signal(process: &Child, signal: &str) {
    assert!(Command::new("kill").args([signal, &process.id().to_string()]).status().unwrap().success());
}

#[test]
fn a_process_that_dies_while_a_sharded_checkpoint_is_written_leaves_the_one_before_whole() {
    let recipe = objective(SFT, "save_every_steps: 1\nsharding: zero2\n").replace("steps: 2", "steps: 400");
    let ground = ground(&recipe.replace("samples: 5", "samples: 1"));
    let mut processes = under_way(&ground);
    let checkpoints = ground.path("run/checkpoints");
    let aside = || {
        let names = fs::read_dir(&checkpoints).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.into_iter().find(|name| name.ends_with(".tmp"))
    };
    // One process is held up until the other is found waiting for its share.
    let begun = Instant::now();
    let caught = loop {
        assert!(begun.elapsed() < Duration::from_secs(120) && processes[0].try_wait().unwrap().is_none());
        let Some(name) = aside() else { continue };
        signal(&processes[1], "-STOP");
        sleep(Duration::from_millis(500));
        if aside().is_some_and(|still| still == name) {
            break name;
        }
        signal(&processes[1], "-CONT");
    };
    processes[1].kill().unwrap();
    let ended = ended(processes);
    assert_eq!(ended[0].0, Some(1), "{}", ended[0].1);
    assert!(ended[0].1.contains("no longer together"), "{}", ended[0].1);
    let step: u64 = caught.trim_start_matches(".step-").trim_end_matches(".tmp").parse().unwrap();
    assert!(!checkpoint(&ground, "run", step).exists() && checkpoint(&ground, "run", step - 1).is_dir(), "{caught}");
    let again = start(&ground, "run", 2, |_| Vec::new());
    let begun = Instant::now();
    while !checkpoint(&ground, "run", step).is_dir() {
        assert!(begun.elapsed() < Duration::from_secs(120));
        sleep(Duration::from_millis(20));
    }
    signal(&again[1], "-TERM");
    for (rank, (code, said)) in self::ended(again).into_iter().enumerate() {
        assert_eq!(code, Some(75), "rank {rank}: {said}");
        assert!(!said.contains("not whole"), "{said}");
    }
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
