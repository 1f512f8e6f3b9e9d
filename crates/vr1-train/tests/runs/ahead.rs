//! The next step is made ready while one is learnt from, and nobody can tell but by the time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use tch::Kind;
use vr1_data::{Dataset, Sample, SampleSet};
use vr1_learn::{Counts, Fold, Loss, Needs, Scored, Stats};
use vr1_reward::Registry;
use vr1_rollout::Scripted;
use vr1_train::{Grpo, ObjectiveConfig};

use super::scripted::{SAID, grpo};
use super::*;

/// Which samples were read, in order, and who waits for one.
#[derive(Default)]
struct Reads {
    list: Mutex<Vec<usize>>,
    more: Condvar,
}

impl Reads {
    /// Whether so many samples are read before long.
    fn reach(&self, count: usize) -> bool {
        let list = self.list.lock().unwrap();
        let (list, _) = self.more.wait_timeout_while(list, Duration::from_secs(60), |list| list.len() < count).unwrap();
        list.len() >= count
    }

    fn all(&self) -> Vec<usize> {
        self.list.lock().unwrap().clone()
    }
}

/// The questions of a file, of which one may be broken.
struct Watched {
    inner: SampleSet,
    reads: Arc<Reads>,
    broken: Option<usize>,
}

impl Dataset for Watched {
    fn name(&self) -> &str {
        "watched"
    }

    fn len(&self) -> usize {
        self.inner.len()
    }

    fn get(&self, index: usize) -> vr1_data::Result<Sample> {
        self.reads.list.lock().unwrap().push(index);
        self.reads.more.notify_all();
        if self.broken == Some(index) { self.inner.get(usize::MAX) } else { self.inner.get(index) }
    }
}

/// Learns only once so many samples have been read; says so where they never are.
struct Patient {
    reads: Arc<Reads>,
    count: usize,
    late: Arc<AtomicBool>,
}

impl Loss for Patient {
    fn needs(&self) -> Needs {
        Needs::default()
    }

    fn loss(&self, scored: &Scored, counts: &Counts) -> vr1_learn::Result<(Tensor, Stats)> {
        self.late.fetch_or(!self.reads.reach(self.count), Ordering::Relaxed);
        let loss = -(scored.sums(&scored.logprobs)? * &scored.signals).sum(Kind::Float) / counts.sequences;
        Ok((loss, Stats::new([("patience", 1.0, Fold::Sum)])))
    }
}

/// A run of steps of four questions, and the objective that a recipe gives it.
fn watched(dir: &Path, broken: Option<usize>) -> (Trainer, Grpo, Arc<Reads>) {
    let recipe = read(dir, &grpo(2, ""), &SAID).unwrap();
    let Some(ObjectiveConfig::Grpo(config)) = recipe.objective.clone() else { panic!("a GRPO recipe") };
    let mut run = trainer(&recipe, &dir.join("run"));
    let said = |_: &vr1_rollout::Request, completion| Some(format!("{completion}<|im_end|>"));
    run.set_engine(Box::new(Scripted::new(run.processor().tokenizer().clone(), said))).unwrap();
    let reads = Arc::new(Reads::default());
    let inner = SampleSet::open(dir.join("train.jsonl"), dir).unwrap();
    let samples = Watched { inner, reads: reads.clone(), broken };
    let objective = Grpo::new(&config, &run.setting()).unwrap().with_samples(Arc::new(samples)).unwrap();
    (run, objective, reads)
}

#[test]
fn the_next_steps_samples_are_read_while_this_one_is_learnt_from() {
    let dir = folder();
    let (mut run, objective, reads) = watched(dir.path(), None);
    let late = Arc::new(AtomicBool::new(false));
    run.set_objective(Box::new(objective.with_loss(Box::new(Patient {
        reads: reads.clone(),
        count: 8,
        late: late.clone(),
    }))));
    steps(&mut run, 1);
    assert!(!late.load(Ordering::Relaxed), "step 2 was not begun before step 1 was over");
    steps(&mut run, 1);
    assert_eq!(reads.all().len(), 8, "each sample is read once, and none that no step is there for");
}

#[test]
fn a_sample_that_cannot_be_read_fails_the_step_that_draws_it_and_no_other() {
    let dir = folder();
    let (mut run, objective, reads) = watched(dir.path(), None);
    run.set_objective(Box::new(objective));
    steps(&mut run, 2);
    let broken = reads.all()[4..].to_vec();
    drop(run);
    std::fs::remove_dir_all(dir.path().join("run")).unwrap();

    let (mut run, objective, _) = watched(dir.path(), Some(broken[0]));
    run.set_objective(Box::new(objective));
    steps(&mut run, 1);
    let first = run.step().unwrap_err().to_string();
    assert!(first.contains(&usize::MAX.to_string()), "{first}");
    // Tried again, it is the same sample, and not the one behind it.
    assert_eq!(run.step().unwrap_err().to_string(), first);
}

#[test]
fn what_is_sampled_is_scored_while_the_rest_is_sampled() {
    let dir = folder();
    let (scored, late) = (Arc::new(Reads::default()), Arc::new(AtomicBool::new(false)));
    let mut registry = Registry::default();
    let notes = scored.clone();
    registry.register("noted", move |args| {
        let length = args.text(0)?.len();
        notes.list.lock().unwrap().push(length);
        notes.more.notify_all();
        Ok(length as f32)
    });
    let program = "reward={ terms: { accuracy: noted(completion) }, total: accuracy }";
    let recipe = read(dir.path(), &grpo(1, ""), &[program]).unwrap();
    let options = RunOptions { registry, ..options(&dir.path().join("run")) };
    let mut run = Trainer::new(recipe, options).unwrap();
    let begun = scored.all().len();
    let (waits, told, mut sampled) = (scored.clone(), late.clone(), 0);
    let answer = move |_: &vr1_rollout::Request, completion: usize| {
        sampled += 1;
        // The last of four groups of two comes when those before it are scored.
        if sampled == 7 {
            told.store(!waits.reach(begun + 6), Ordering::Relaxed);
        }
        Some(["red", "green"][completion].to_owned())
    };
    run.set_engine(Box::new(Scripted::new(run.processor().tokenizer().clone(), answer))).unwrap();
    steps(&mut run, 1);
    assert!(!late.load(Ordering::Relaxed), "no reward before all was sampled");
    // Whatever was scored first, the rollouts stand in the order of the prompts, each with its own reward.
    let text = rows_of(&dir.path().join("run"), 1);
    let totals: Vec<f64> = text
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["total"].as_f64().unwrap())
        .collect();
    assert_eq!(totals, [3.0, 5.0].repeat(4));
}
