//! Sweeps: every arm at every seed, and what is said of them.

use super::*;

const RECIPE: &str = "\
system: words
model: nowhere
steps: 2
prompt: { layout: raw, text: '{{ question }}' }
reward: { terms: { accuracy: 'exact(answer, solution)' }, total: accuracy }
optimizer: { learning_rate: 1.0e-3 }
objective:
  kind: sft
  documents_per_step: 2
  documents: [{ source: { kind: scenes, task: spatial, split: train }, text: '{{ question }}', target: '{{ solution }}' }]
evaluation: { samples: 1, max_completion_tokens: 2, sets: { held_out: { kind: scenes, task: spatial, split: in_domain } } }
";

const SWEEP: &str = "\
finding: more steps learn more
seeds: [1, 2]
arms:
  two: { recipe: recipe.yaml }
  four: { recipe: recipe.yaml, set: { steps: 4 } }
values: { steps: summary steps, loss: last loss, at_first: first loss }
claims:
  - { claim: four are more, value: steps, of: four, above: two }
  - { claim: two take as many, value: steps, of: two, above: four, by: -1 }
";

#[test]
fn a_sweep_runs_every_arm_at_every_seed_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    fs::write(path("recipe.yaml"), RECIPE.replace("nowhere", &format!("'{TINY}'"))).unwrap();
    fs::write(path("sweep.yaml"), SWEEP).unwrap();
    let (sweep, out) = (path("sweep.yaml"), path("out"));
    let swept = || {
        let output = vr1(&["sweep", &sweep, "--out", &out]);
        let [said, told] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
        assert!(output.status.success(), "{told}");
        (said, told)
    };
    let (said, told) = swept();
    assert!(told.contains("4 runs") && told.contains("4 of 4"), "{told}");
    for words in ["holds: four are more: +2.000 ± 0.000", "does not hold: two take as many", "4.000 ± 0.000"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    let result: Value = serde_json::from_slice(&fs::read(path("out/sweep.json")).unwrap()).unwrap();
    assert_eq!(result["result"]["measured"]["four"]["steps"], json!([4.0, 4.0]));
    let losses = &result["result"]["measured"]["two"]["loss"];
    assert_ne!(losses[0], losses[1], "seeds meet other samples");
    for run in ["two-1", "two-2", "four-1", "four-2"] {
        assert!(folder.path().join("out").join(run).join("report.html").is_file(), "{run}");
    }
    let curves = fs::read_to_string(path("out/curves.html")).unwrap();
    assert!(curves.contains("two (2 runs)") && curves.contains("four (2 runs)"));

    // What is whole is not done again.
    let (again, told) = swept();
    assert!(told.contains("0 runs"), "{told}");
    assert_eq!(again, said);
    let other = vr1(&["sweep", &sweep, "--out", &out, "--set", "optimizer.learning_rate=1.0"]);
    let told = String::from_utf8(other.stderr).unwrap();
    assert!(!other.status.success() && told.contains("another run is there"), "{told}");
}

#[test]
fn a_run_of_a_sweep_that_fails_is_named_and_the_others_are_done() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    fs::write(path("recipe.yaml"), RECIPE.replace("nowhere", &format!("'{TINY}'"))).unwrap();
    fs::write(path("sweep.yaml"), SWEEP.replace("steps: 4 }", "model: not_there }")).unwrap();
    let output = vr1(&["sweep", &path("sweep.yaml"), "--out", &path("out"), "--seeds", "3"]);
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && told.contains("1 of 2 runs failed: four at seed 3: error:"), "{told}");
    assert!(told.contains("not_there") && told.contains("four-3/output.txt"), "{told}");
    assert!(folder.path().join("out/two-3/summary.json").is_file());
}
