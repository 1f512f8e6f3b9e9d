//! Plots are files beside a run.

use std::fs;

use vr1_run::{RunFolder, StepMetrics, Summary, write_plots};

#[test]
fn plots_are_files_by_their_names() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = RunFolder::create(folder.path()).unwrap();
    for step in 1..=60_u64 {
        let x = step as f64 / 60.0;
        let metrics = StepMetrics::new(step)
            .with("reward", 0.6 + x)
            .with("rewards/accuracy", 0.3 + 0.4 * x)
            .with("completion_length", 40.0 - 12.0 * x)
            .with("kl", 1e-3 * x);
        run.append_metrics(&metrics).unwrap();
    }
    let scores = |scores: [(&str, f64); 2]| scores.map(|(name, value)| (name.to_owned(), value)).into();
    let before = scores([("accuracy", 0.31), ("accuracy_out_of_domain", 0.28)]);
    let after = scores([("accuracy", 0.64), ("accuracy_out_of_domain", 0.25)]);
    run.write_summary(&Summary { before, after, steps: 60, seconds: 123.4, ..Summary::default() }).unwrap();
    let paths = write_plots(folder.path()).unwrap();
    let names: Vec<_> = paths.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(names, ["reward.svg", "accuracy.svg", "response_length.svg", "kl.svg"]);
    let accuracy = fs::read_to_string(&paths[1]).unwrap();
    assert!(accuracy.contains("accuracy_out_of_domain, held out") && accuracy.matches("<circle").count() >= 4);
}
