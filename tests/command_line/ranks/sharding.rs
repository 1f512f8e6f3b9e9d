//! Processes that hold each a share.

use super::*;

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
