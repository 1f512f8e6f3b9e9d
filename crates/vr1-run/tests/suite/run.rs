//! A run folder is whole at every moment, and says by name why it cannot be had.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use vr1_run::{RunError, RunFolder, StepMetrics, Summary, read_metrics, read_rows};

fn config() -> BTreeMap<&'static str, u64> {
    BTreeMap::from([("steps", 2)])
}

fn started(dir: &Path) -> RunFolder {
    let run = RunFolder::create(dir).unwrap();
    run.write_config(&config()).unwrap();
    run
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn what_is_written_is_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("a/b/run");
    let mut run = started(&dir);
    let rows = [StepMetrics::new(1).with("reward", 0.1), StepMetrics::new(2).with("reward", 1.0 / 3.0)];
    rows.iter().for_each(|row| run.append_metrics(row).unwrap());
    let summary = Summary { before: BTreeMap::from([("accuracy".into(), 0.25)]), steps: 2, ..Summary::default() };
    run.write_summary(&summary).unwrap();
    let rollouts = run.write_rollouts(2, [BTreeMap::from([("completion", "a\nb")]), BTreeMap::new()]).unwrap();
    assert_eq!(read_metrics(&dir.join("metrics.jsonl")).unwrap(), rows);
    assert_eq!(run.config_path(), dir.join("config.yaml"));
    assert_eq!(fs::read_to_string(run.config_path()).unwrap(), "steps: 2\n");
    let rows: Vec<BTreeMap<String, String>> = read_rows(&rollouts).unwrap().collect::<Result<_, _>>().unwrap();
    assert_eq!(rows, [BTreeMap::from([("completion".to_owned(), "a\nb".to_owned())]), BTreeMap::new()]);
    let read: Summary = serde_json::from_str(&fs::read_to_string(dir.join("summary.json")).unwrap()).unwrap();
    assert_eq!(read, summary);
    assert_eq!(names(&dir), [".lock", "config.yaml", "metrics.jsonl", "rollouts", "summary.json"]);
}

#[test]
fn a_number_that_is_not_finite_survives_as_nan() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = started(folder.path());
    run.append_metrics(&StepMetrics::new(1).with("kl", f64::INFINITY)).unwrap();
    assert!(read_metrics(&folder.path().join("metrics.jsonl")).unwrap()[0].get("kl").unwrap().is_nan());
}

#[test]
fn a_folder_that_cannot_be_had_is_named_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    for dir in [file.clone(), file.join("run")] {
        let error = RunFolder::create(&dir).unwrap_err();
        assert!(matches!(&error, RunError::NotAFolder(path) if *path == file), "{error}");
    }
    let dir = folder.path().join("run");
    drop(started(&dir));
    assert!(matches!(RunFolder::create(&dir).unwrap_err(), RunError::Occupied(path) if path == dir));
    let empty = folder.path().join("empty");
    fs::create_dir(&empty).unwrap();
    assert!(matches!(RunFolder::open(&empty).unwrap_err(), RunError::NoRun(path) if path == empty));
    assert!(matches!(RunFolder::open(&file).unwrap_err(), RunError::NotAFolder(path) if path == file));
}

#[test]
#[cfg(target_os = "linux")]
fn a_place_that_cannot_be_written_is_named() {
    // Not even root makes folders in /proc.
    let error = RunFolder::create(Path::new("/proc/vr1-run")).unwrap_err();
    assert!(matches!(error, RunError::Io { .. }));
    assert!(error.to_string().starts_with("cannot create the folder /proc/vr1-run: "), "{error}");
}

#[test]
fn two_writers_at_once_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let run = started(folder.path());
    assert!(matches!(RunFolder::open(folder.path()).unwrap_err(), RunError::InUse(_)));
    drop(run);
    RunFolder::open(folder.path()).unwrap();
}

#[test]
fn checkpoints_are_found_by_step_and_pruned_from_the_oldest() {
    let folder = tempfile::tempdir().unwrap();
    let run = started(folder.path());
    assert_eq!(run.latest_checkpoint().unwrap(), None);
    for step in [2, 10, 9] {
        run.checkpoint(step, |dir| fs::write(dir.join("w"), [step as u8])).unwrap();
    }
    let steps = |run: &RunFolder| run.checkpoints().unwrap().into_iter().map(|(step, _)| step).collect::<Vec<_>>();
    assert_eq!(steps(&run), [2, 9, 10]);
    run.prune_checkpoints(2, None).unwrap();
    assert_eq!(steps(&run), [9, 10]);
    run.prune_checkpoints(0, None).unwrap();
    assert_eq!(names(&folder.path().join("checkpoints")), ["step-10"]);
}

#[test]
fn pruning_keeps_the_best_step_beside_the_last_ones() {
    let folder = tempfile::tempdir().unwrap();
    let run = started(folder.path());
    for step in 1..=6 {
        run.checkpoint(step, |dir| fs::write(dir.join("w"), [step as u8])).unwrap();
    }
    let steps = || run.checkpoints().unwrap().into_iter().map(|(step, _)| step).collect::<Vec<_>>();
    run.prune_checkpoints(3, Some(2)).unwrap();
    assert_eq!(steps(), [2, 4, 5, 6]);
    run.prune_checkpoints(2, Some(6)).unwrap();
    assert_eq!(steps(), [5, 6], "a best step among the last takes no other's place");
    run.prune_checkpoints(0, Some(5)).unwrap();
    assert_eq!(steps(), [5, 6], "the last stays beside the best");
    run.prune_checkpoints(1, Some(99)).unwrap();
    assert_eq!(steps(), [6]);
    assert_eq!(fs::read(folder.path().join("checkpoints/step-6/w")).unwrap(), [6]);
}

#[test]
fn a_checkpoint_that_fails_leaves_the_one_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let run = started(folder.path());
    let path = run.checkpoint(1, |dir| fs::write(dir.join("w"), "old")).unwrap();
    let error =
        run.checkpoint(1, |dir| fs::write(dir.join("w"), "ne").and(Err(io::Error::other("disk full")))).unwrap_err();
    assert!(error.to_string().ends_with("step-1 was not written: disk full"), "{error}");
    assert_eq!(fs::read_to_string(path.join("w")).unwrap(), "old");
    assert_eq!(names(&folder.path().join("checkpoints")), ["step-1"]);
    run.checkpoint(1, |dir| fs::write(dir.join("v"), "new")).unwrap();
    assert_eq!(names(&path), ["checksums.json", "v"], "the new one replaces the old, nothing is mixed");
    assert_eq!(names(&folder.path().join("checkpoints")), ["step-1"]);
}

#[test]
fn a_flipped_bit_or_a_file_that_is_gone_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let run = started(folder.path());
    let write = |dir: &Path| {
        fs::create_dir(dir.join("adapter"))?;
        fs::write(dir.join("adapter/weights"), [7; 64])?;
        fs::write(dir.join("state"), "one")
    };
    let paths = [1, 2].map(|step| run.checkpoint(step, write).unwrap());
    paths.iter().for_each(|path| vr1_run::verify(path).unwrap());
    fs::write(paths[1].join("adapter/weights"), [&[7; 63][..], &[6]].concat()).unwrap();
    let error = vr1_run::verify(&paths[1]).unwrap_err().to_string();
    assert!(error.contains("step-2/adapter/weights: it is not what was written"), "{error}");
    let (whole, damaged) = run.whole_checkpoint(None).unwrap();
    assert_eq!((whole, damaged.len()), (Some((1, paths[0].clone())), 1));
    assert!(run.whole_checkpoint(Some(2)).is_err() && run.whole_checkpoint(Some(3)).is_err());
    fs::remove_file(paths[0].join("state")).unwrap();
    let error = vr1_run::verify(&paths[0]).unwrap_err().to_string();
    assert!(error.contains("step-1/state: ") && error.contains("it is gone"), "{error}");
    assert!(run.whole_checkpoint(None).is_err(), "not one is whole");
}

#[test]
fn opening_puts_in_order_what_a_kill_left() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = started(folder.path());
    run.append_metrics(&StepMetrics::new(1)).unwrap();
    run.checkpoint(1, |dir| fs::write(dir.join("w"), "one")).unwrap();
    drop(run);
    let at = |name: &str| folder.path().join(name);
    // A half-made checkpoint, a half-written summary, a torn line, and a checkpoint between its two names.
    fs::create_dir(at("checkpoints/.step-2.tmp")).unwrap();
    fs::write(at("checkpoints/.step-2.tmp/w"), "tw").unwrap();
    fs::rename(at("checkpoints/step-1"), at("checkpoints/.step-1.old")).unwrap();
    fs::write(at(".summary.json.tmp"), "{\"befo").unwrap();
    fs::write(at("metrics.jsonl"), "{\"step\":1}\n{\"step\":2,\"rew").unwrap();
    assert_eq!(read_metrics(&at("metrics.jsonl")).unwrap().len(), 1, "readable before it is put in order, too");
    let mut run = RunFolder::open(folder.path()).unwrap();
    run.append_metrics(&StepMetrics::new(2)).unwrap();
    assert_eq!(run.latest_checkpoint().unwrap(), Some((1, at("checkpoints/step-1"))));
    assert_eq!(fs::read_to_string(at("checkpoints/step-1/w")).unwrap(), "one");
    assert_eq!(fs::read_to_string(at("metrics.jsonl")).unwrap(), "{\"step\":1}\n{\"step\":2}\n");
    assert_eq!(names(folder.path()), [".lock", "checkpoints", "config.yaml", "metrics.jsonl"]);
    assert_eq!(names(&at("checkpoints")), ["step-1"]);
}

#[test]
fn a_resumed_run_forgets_the_steps_it_takes_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = started(folder.path());
    for step in 1..=4 {
        run.append_metrics(&StepMetrics::new(step).with("reward", f64::from(step as u32))).unwrap();
        run.write_rollouts(step, [step]).unwrap();
    }
    drop(run);
    let mut run = RunFolder::open(folder.path()).unwrap();
    run.rewind(2).unwrap();
    run.append_metrics(&StepMetrics::new(3).with("reward", 30.0)).unwrap();
    let rows = read_metrics(&folder.path().join("metrics.jsonl")).unwrap();
    let rewards: Vec<_> = rows.iter().map(|row| (row.step, row.get("reward").unwrap())).collect();
    assert_eq!(rewards, [(1, 1.0), (2, 2.0), (3, 30.0)]);
    assert_eq!(names(&folder.path().join("rollouts")), ["step-1.jsonl.zst", "step-2.jsonl.zst"]);
}

#[test]
fn a_broken_line_of_metrics_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metrics.jsonl");
    fs::write(&path, "{\"step\":1}\nnonsense\n{\"step\":3}\n").unwrap();
    let error = read_metrics(&path).unwrap_err();
    assert!(error.to_string().starts_with(&format!("{}:2: not a row of metrics", path.display())), "{error}");
}

/// What the next test kills: it writes summaries and checkpoints as fast as it can, each of one byte all through.
#[test]
#[ignore = "the other half of the test below, which runs it in a process of its own"]
fn writes_until_it_is_killed() {
    let Some(dir) = std::env::var_os("VR1_RUN_DIR").map(PathBuf::from) else { return };
    let mut run = started(&dir);
    for step in 1.. {
        let summary = Summary {
            steps: step,
            before: (0..200).map(|n| (n.to_string(), step as f64)).collect(),
            ..Summary::default()
        };
        run.write_summary(&summary).unwrap();
        run.append_metrics(&StepMetrics::new(step).with("reward", 0.5)).unwrap();
        run.checkpoint(1 + step % 2, |aside| {
            (0..4).try_for_each(|file| fs::write(aside.join(file.to_string()), vec![step as u8; 100_000]))
        })
        .unwrap();
    }
}

#[test]
fn a_kill_at_any_moment_leaves_a_whole_run() {
    let mut seen = 0;
    for wait in [40, 55, 75, 110, 160] {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("run");
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "run::writes_until_it_is_killed", "--ignored", "--nocapture"])
            .env("VR1_RUN_DIR", &dir)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        while !dir.join("summary.json").exists() {
            assert!(child.try_wait().unwrap().is_none(), "the writer stopped by itself");
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_millis(wait));
        child.kill().unwrap();
        child.wait().unwrap();
        let summary: Summary = serde_json::from_slice(&fs::read(dir.join("summary.json")).unwrap()).unwrap();
        assert!(summary.before.len() == 200 && summary.before.values().all(|&value| value == summary.steps as f64));
        let run = RunFolder::open(&dir).unwrap();
        for (_, path) in run.checkpoints().unwrap() {
            vr1_run::verify(&path).unwrap();
            let files: Vec<_> = (0..4).map(|name| fs::read(path.join(name.to_string())).unwrap()).collect();
            assert!(files.iter().flatten().all(|byte| *byte == files[0][0]), "of one writing all through");
            assert!(files.iter().all(|file| file.len() == 100_000));
            seen += 1;
        }
        let rows = read_metrics(&dir.join("metrics.jsonl")).unwrap();
        assert!(rows.iter().map(|row| row.step).eq(1..=rows.len() as u64));
    }
    assert!(seen > 0, "no checkpoint was ever finished");
}

#[test]
fn what_is_lacking_of_earlier_records_is_told_by_its_steps() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = RunFolder::create(folder.path()).unwrap();
    for step in 1..=8 {
        run.append_metrics(&StepMetrics::new(step).with("completion_length", 3.0)).unwrap();
        run.write_rollouts(step, [1]).unwrap();
    }
    assert_eq!(run.lacking(8).unwrap(), Vec::<String>::new());
    let metrics = folder.path().join("metrics.jsonl");
    let rows = fs::read_to_string(&metrics).unwrap();
    let kept: Vec<&str> = rows.lines().skip(3).filter(|row| !row.contains("\"step\":7,")).collect();
    fs::write(&metrics, kept.join("\n") + "\n").unwrap();
    fs::remove_file(folder.path().join("rollouts/step-5.jsonl.zst")).unwrap();
    let told = run.lacking(8).unwrap();
    assert_eq!(told, ["metrics.jsonl: no rows of steps 1 to 3, 7", "rollouts: no file of step 5"]);
}
