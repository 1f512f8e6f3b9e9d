//! Numbers that are not finite, and steps that teach nothing: named, written down, undone.

use std::cell::Cell;
use std::rc::Rc;

use vr1_learn::{Counts, Loss, Needs, PolicyLoss, Scored, Stats};
use vr1_run::RunFolder;
use vr1_train::{Grpo, ObjectiveConfig};

use super::scripted::{SAID, grpo, scripted};
use super::*;

const END: &str = "<|im_end|>";

fn policy() -> PolicyLoss {
    PolicyLoss { config: vr1_grpo::GrpoConfig { beta: 0.0, ..Default::default() }, temperature: 1.0 }
}

/// A loss that is NaN in some calls.
struct Bad {
    calls: Rc<Cell<u64>>,
    when: fn(u64) -> bool,
}

impl Loss for Bad {
    fn needs(&self) -> Needs {
        policy().needs()
    }

    fn loss(&self, scored: &Scored, counts: &Counts) -> vr1_learn::Result<(Tensor, Stats)> {
        let (loss, stats) = policy().loss(scored, counts)?;
        self.calls.set(self.calls.get() + 1);
        Ok((if (self.when)(self.calls.get()) { loss * f64::NAN } else { loss }, stats))
    }
}

fn bad(dir: &Path, steps: u64, more: &[&str], when: fn(u64) -> bool) -> (Trainer, PathBuf) {
    let overrides: Vec<&str> = SAID.iter().chain(more).copied().collect();
    let recipe = read(dir, &grpo(steps, ""), &overrides).unwrap();
    let out = dir.join("run");
    let mut run = scripted(&recipe, &out, |_, completion| Some(format!("{completion}{END}")));
    let Some(ObjectiveConfig::Grpo(config)) = &recipe.objective else { panic!("a recipe of GRPO") };
    let loss = Bad { calls: Rc::default(), when };
    let objective = Grpo::new(config, &run.setting()).unwrap().with_loss(Box::new(loss));
    run.set_objective(Box::new(objective));
    (run, out)
}

#[test]
fn a_step_that_is_not_finite_ends_the_run_with_its_rollouts_and_all_before_it_saved() {
    let dir = folder();
    let (run, out) = bad(dir.path(), 4, &[], |call| call == 3);
    let error = run.run().unwrap_err().to_string();
    assert!(error.contains("step 3: the loss is not finite"), "{error}");
    let folder = RunFolder::open(&out).unwrap();
    assert_eq!(folder.latest_checkpoint().unwrap().unwrap().0, 2);
    assert_eq!(rows_of(&out, 3).lines().count(), 8, "what the step was to learn from");
    assert_eq!(read_metrics(&out.join("metrics.jsonl")).unwrap().len(), 2);
    assert!(!out.join("summary.json").exists());
}

#[test]
fn a_step_that_is_not_finite_is_passed_over_where_the_recipe_says_so_and_changes_nothing() {
    let dir = folder();
    let skip = "not_finite={ action: skip, most_in_a_row: 2 }";
    let (mut run, _) = bad(dir.path(), 4, &[skip], |call| call == 2);
    steps(&mut run, 1);
    let before = weights(run.model());
    let told = steps(&mut run, 1).remove(0);
    assert_eq!(told.get("skipped"), Some(1.0));
    assert_eq!(moved(&before, &weights(run.model())), None);
    let told = steps(&mut run, 1).remove(0);
    assert_eq!(told.get("skipped"), None);
    assert!(moved(&before, &weights(run.model())).is_some(), "the next step learns again");
    let dir = folder();
    let (run, out) = bad(dir.path(), 9, &[skip], |call| call > 1);
    let error = run.run().unwrap_err().to_string();
    assert!(error.contains("step 4: the loss is not finite"), "the third in a row: {error}");
    assert_eq!(RunFolder::open(&out).unwrap().latest_checkpoint().unwrap().unwrap().0, 3);
}

#[test]
fn parameters_that_a_step_makes_infinite_are_undone_and_never_saved() {
    let dir = folder();
    let recipe = read(dir.path(), &grpo(3, ""), &[SAID[0], "optimizer.learning_rate=1e38"]).unwrap();
    let out = dir.path().join("run");
    let run = scripted(&recipe, &out, |_, completion| Some(format!("{completion}{END}")));
    let error = run.run().unwrap_err().to_string();
    assert!(error.contains("is not finite; nothing was changed"), "{error}");
    for (step, path) in RunFolder::open(&out).unwrap().checkpoints().unwrap() {
        let model = vr1_vlm::Model::load(&path, tch::Device::Cpu, tch::Kind::Float).unwrap();
        model.parameters().check_finite().unwrap_or_else(|error| panic!("step {step}: {error}"));
    }
}

#[test]
fn a_run_that_learns_nothing_says_why_in_its_summary() {
    let dir = folder();
    let told = |answer: fn(usize) -> String| {
        let out = tempfile::tempdir().unwrap();
        let out = out.path().join("run");
        let recipe = read(dir.path(), &grpo(3, ""), &SAID).unwrap();
        scripted(&recipe, &out, move |_, completion| Some(answer(completion))).run().unwrap().warnings
    };
    let same = told(|_| format!("1{END}"));
    assert_eq!(same.len(), 1, "{same:?}");
    let all = "in 3 steps, the first of them step 1, ";
    assert_eq!(
        same[0],
        format!("{all}all completions of each prompt are the same: the temperature samples one answer")
    );
    let equal = told(|completion| format!("1 {completion}{END}"));
    assert_eq!(equal, [format!("{all}every group's rewards are equal")]);
    assert_eq!(told(|completion| format!("{completion}{END}")), Vec::<String>::new());
}

#[test]
fn so_many_steps_in_a_row_that_teach_nothing_end_the_run_as_the_recipe_says() {
    let dir = folder();
    let recipe = read(dir.path(), &grpo(9, ""), &[SAID[0], "stop_after_idle_steps=3"]).unwrap();
    let out = dir.path().join("run");
    // One step teaches something between.
    let asked = Cell::new(0);
    let run = scripted(&recipe, &out, move |_, completion| {
        asked.set(asked.get() + 1);
        let step = (asked.get() - 1) / 8;
        Some(format!("{}{END}", if step == 2 { completion } else { 1 }))
    });
    let error = run.run().unwrap_err().to_string();
    assert!(error.contains("step 6: 3 steps in a row taught nothing"), "{error}");
    let summary: vr1_run::Summary = serde_json::from_slice(&std::fs::read(out.join("summary.json")).unwrap()).unwrap();
    assert!(summary.stopped.unwrap().contains("3 steps in a row"));
    assert_eq!((summary.steps, summary.after.is_empty()), (6, false));
    // The same command says the same again.
    let again = Trainer::resume(recipe, options(&out)).unwrap().run().unwrap_err().to_string();
    assert!(again.contains("step 6: 3 steps in a row taught nothing"), "{again}");
}
