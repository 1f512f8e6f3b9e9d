//! What several recipes at several seeds came to, and what is said of it.

use std::path::Path;

use serde_json::json;
use vr1_run::Sweep;

const SWEEP: &str = "
finding: fast is better
seeds: [1, 2, 3, 4, 5]
arms:
  slow: { recipe: a.yaml }
  fast: { recipe: a.yaml, set: { optimizer.learning_rate: 0.5, freeze: [tower] } }
values:
  accuracy: after in/accuracy
  at_first: before in/accuracy
  length: last completion_length
claims:
  - { claim: better, value: accuracy, of: fast, above: slow }
  - { claim: worse, value: accuracy, of: slow, above: fast }
  - { claim: learns, value: accuracy, of: slow, above_value: at_first }
  - { claim: no worse, value: accuracy, of: slow, above_value: at_first, by: -0.1 }
";

/// A run that was at 0.5 and ended at `after`.
fn run(folder: &Path, name: &str, after: f64) {
    let run = folder.join(name);
    std::fs::create_dir_all(&run).unwrap();
    let summary = json!({"before": {"in/accuracy": 0.5}, "after": {"in/accuracy": after}, "steps": 8, "seconds": 1.0});
    std::fs::write(run.join("summary.json"), summary.to_string()).unwrap();
    let rows: String =
        (1..=8).map(|step| json!({"step": step, "completion_length": step}).to_string() + "\n").collect();
    std::fs::write(run.join("metrics.jsonl"), rows).unwrap();
}

#[test]
fn claims_are_judged_by_the_differences_seed_by_seed() {
    let folder = tempfile::tempdir().unwrap();
    let sweep = Sweep::parse("sweep.yaml", SWEEP).unwrap();
    for seed in 1..=5_u64 {
        // Seeds differ by far more than the arms do at each of them.
        let level = 0.3 + 0.08 * seed as f64;
        run(folder.path(), &format!("slow-{seed}"), level);
        run(folder.path(), &format!("fast-{seed}"), level + 0.04 + 0.002 * seed as f64);
    }
    let swept = sweep.results(folder.path()).unwrap();
    let holds: Vec<Option<bool>> = swept.verdicts().iter().map(|verdict| verdict.holds).collect();
    assert_eq!(holds, [Some(true), Some(false), None, None]);
    // Differences 0.042, 0.044, … 0.050: mean 0.046, standard error 0.00316 / √5 = 0.001414, t of 4 degrees 2.776.
    let better = &swept.verdicts()[0];
    let (low, high) = better.interval.unwrap();
    assert!((better.difference - 0.046).abs() < 1e-9 && (better.standard_error.unwrap() - 0.001_414_2).abs() < 1e-6);
    assert!((low - (0.046 - 2.776 * 0.001_414_2)).abs() < 1e-6 && (high + low - 0.092).abs() < 1e-9);
    let told = swept.told(&sweep);
    for words in
        ["holds: better: +4.6 ± 0.1 points", "does not hold: worse", "not shown: learns", "54.0 ± 5.7 %", "7.500"]
    {
        assert!(told.contains(words), "{words}: {told}");
    }
    assert!(swept.markdown(&sweep).contains("| accuracy | 58.6 ± "), "{}", swept.markdown(&sweep));
}

#[test]
fn a_run_that_lacks_what_a_claim_needs_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let sweep = Sweep::parse("sweep.yaml", SWEEP).unwrap();
    for arm in ["slow", "fast"] {
        (1..=5).for_each(|seed| run(folder.path(), &format!("{arm}-{seed}"), 0.5));
    }
    std::fs::write(
        folder.path().join("fast-3/summary.json"),
        json!({"before": {}, "after": {"out/accuracy": 1}}).to_string(),
    )
    .unwrap();
    let error = sweep.results(folder.path()).unwrap_err().to_string();
    assert!(
        error.contains("fast-3") && error.contains("no `in/accuracy`") && error.contains("out/accuracy"),
        "{error}"
    );
}

#[test]
fn a_sweep_that_does_not_fit_together_is_refused_by_its_place() {
    let with = |from: &str, to: &str| Sweep::parse("sweep.yaml", &SWEEP.replace(from, to)).unwrap_err().to_string();
    for (from, to, place, reason) in [
        ("above: slow", "above: slower", "claims.0.above", "no arm \"slower\""),
        ("value: accuracy, of: fast", "value: acuracy, of: fast", "claims.0.value", "no value \"acuracy\""),
        ("of: fast, above: slow", "of: fast", "claims.0.above", "nothing is above itself"),
        ("[1, 2, 3, 4, 5]", "[1, 1]", "seeds", "none twice"),
        ("slow: { recipe", "../slow: { recipe", "arms", "names folders"),
        ("after in/accuracy", "afterwards in/accuracy", "values.accuracy", "`after`"),
        ("recipe: a.yaml }", "recipes: a.yaml }", "arms.slow", "recipe"),
    ] {
        let error = with(from, to);
        assert!(error.contains(place) && error.contains(reason) && error.contains("sweep.yaml"), "{to}: {error}");
    }
}

#[test]
fn arms_share_settings_by_merge_keys() {
    let text = SWEEP.replace(
        "  fast: { recipe: a.yaml, set: { optimizer.learning_rate: 0.5, freeze: [tower] } }",
        "  fast: { recipe: a.yaml, set: &short { steps: 4, freeze: [tower] } }\n  faster: { set: { <<: *short, steps: 8 } }",
    );
    let sweep = Sweep::parse("sweep.yaml", &text).unwrap();
    assert_eq!(sweep.arms["faster"].overrides().unwrap(), ["freeze=[\"tower\"]", "steps=8"]);
}
