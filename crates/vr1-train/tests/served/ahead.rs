//! Servers that sample the next step's completions while one is learnt from.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use vr1_processor::Tokenizer;
use vr1_rollout::{Engine, Group, Landed, Request, Scripted, Ticket, Version, Weights};

use super::*;

/// What samples ahead, with an evaluation between the steps and a checkpoint after each.
const AHEAD: [&str; 7] = [
    "rollout.max_staleness_steps=1",
    "objective.loss.sampler_correction={kind: token_truncate, max: 2.0}",
    "evaluation.every_steps=2",
    "save_every_steps=1",
    "keep_checkpoints=0",
    PROPORTIONAL[0],
    PROPORTIONAL[1],
];

fn of(dir: &Path, copy: &Copy, more: &str) -> Recipe {
    recipe(dir, &format!("{more}{}", engine(&[copy])), &AHEAD).unwrap()
}

fn stale(rows: &[StepMetrics]) -> Vec<f64> {
    rows.iter().map(|row| row.values["staleness"]).collect()
}

#[test]
fn completions_of_the_next_step_are_drawn_while_one_is_learnt_from_and_say_by_which_weights() {
    let dir = folder();
    let copy = Copy::new(Lies::None);
    let out = dir.path().join("out");
    let rows = run(of(dir.path(), &copy, ""), &out).unwrap();
    assert_eq!(stale(&rows), [0.0, 1.0, 1.0]);
    let version = |step: usize| {
        let lines = vr1_run::lines(&out.join(format!("rollouts/step-{step}.jsonl.zst"))).unwrap();
        let versions = lines.map(|line| {
            let row: serde_json::Value = serde_json::from_slice(&line.unwrap()).unwrap();
            row["version"].as_u64().unwrap()
        });
        versions.collect::<std::collections::BTreeSet<u64>>().into_iter().collect::<Vec<_>>()
    };
    assert_eq!([version(1), version(2), version(3)], [vec![0], vec![0], vec![1]]);
}

/// What a checkpoint says of the samples that were drawn.
fn drawn(out: &Path, step: usize) -> serde_json::Value {
    let state = std::fs::read(out.join(format!("checkpoints/step-{step}/trainer_state.json"))).unwrap();
    serde_json::from_slice::<serde_json::Value>(&state).unwrap()["objective"].take()
}

/// Ranks hold each a share of the layers.
const APART: &str = "recompute: layers\nsharding: zero3\n";

#[test]
fn several_ranks_sample_ahead_as_one_does_and_go_on_as_it_does() {
    // Of three prompts one of four ranks has none.
    for (more, size) in [("", 2), (LORA, 2), (APART, 2), ("", 4)] {
        let dir = folder();
        let (one, several) = (dir.path().join("one"), dir.path().join("several"));
        let three = |copy: &Copy| {
            let mut recipe = of(dir.path(), copy, more);
            if let Some(vr1_train::ObjectiveConfig::Grpo(grpo)) = &mut recipe.objective {
                grpo.prompts_per_step = 3;
            }
            recipe
        };
        let (alone, shared) = (Copy::new(Lies::None), Copy::new(Lies::None));
        let expected = run(three(&alone), &one).unwrap();
        let rows = of_ranks(size, &three(&shared), &several).unwrap();
        let same = |expected: &[StepMetrics], rows: &[StepMetrics]| {
            assert_eq!(told(&one, 3), told(&several, 3), "{size} ranks");
            assert_eq!(stale(expected), stale(rows), "{size} ranks");
            for (one, several) in expected.iter().zip(rows) {
                for name in ["loss", "grad_norm", "canary_gap", "reward", "sampler_gap"] {
                    let [one, several] = [one, several].map(|row| row.values[name]);
                    assert!((one - several).abs() <= 1e-4 * one.abs() + 1e-5, "{size} ranks: {name}: {one} {several}");
                }
            }
        };
        same(&expected, &rows);
        assert_eq!(stale(&rows), [0.0, 1.0, 1.0]);
        assert_eq!(alone.pushes(), shared.pushes());
        (1..=3).for_each(|step| assert_eq!(drawn(&one, step), drawn(&several, step), "{size} ranks: step {step}"));
        // Stopped after the first step while the second was being sampled: it is sampled anew.
        for out in [&one, &several] {
            for step in [2, 3] {
                std::fs::remove_dir_all(out.join(format!("checkpoints/step-{step}"))).unwrap();
            }
            std::fs::remove_file(out.join("summary.json")).unwrap();
        }
        let options = RunOptions { show: Show::Quiet, ..RunOptions::new(&one) };
        Trainer::resume(three(&alone), options).unwrap().run().unwrap();
        let expected = read_metrics(&one.join("metrics.jsonl")).unwrap();
        let rows = of_ranks(size, &three(&shared), &several).unwrap();
        same(&expected, &rows);
        assert_eq!(stale(&rows), [0.0, 0.0, 1.0]);
    }
}

#[test]
fn a_server_that_dies_while_ranks_wait_for_what_was_sampled_ahead_ends_all_of_them() {
    let dir = folder();
    // The test prompt, two held-out samples and the prompts of the first step are answered.
    let copy = Copy::new(Lies::DiesAfter(6));
    let out = dir.path().join("out");
    let error = of_ranks(2, &of(dir.path(), &copy, ""), &out).unwrap_err().to_string();
    assert!(error.contains(copy.url.as_str()), "{error}");
    assert!(out.join("checkpoints/step-1").is_dir(), "what was learnt before is saved");
}

type Script = Box<dyn FnMut(&Request, usize) -> Option<String>>;

/// What all ranks' engines know of each other.
#[derive(Default)]
struct Told {
    /// How many requests are under way.
    asked: AtomicUsize,
    /// Whether weights were handed over while some were.
    torn: AtomicBool,
}

/// An engine elsewhere, whose answers come late on all ranks but the first, until it fails.
struct Late {
    inner: Scripted<Script>,
    rank: usize,
    told: Arc<Told>,
    answers: usize,
}

impl Late {
    fn new(tokenizer: &Tokenizer, rank: usize, told: &Arc<Told>, answers: usize) -> Self {
        let script: Script =
            Box::new(|_, completion| Some(format!("{}<|im_end|>", ["red", "green", "blue"][completion])));
        Self { inner: Scripted::new(tokenizer.clone(), script), rank, told: told.clone(), answers }
    }
}

impl Engine for Late {
    fn submit(&mut self, request: Request) -> vr1_rollout::Result<Ticket> {
        self.told.asked.fetch_add(1, Ordering::SeqCst);
        self.inner.submit(request)
    }

    fn poll(&mut self) -> vr1_rollout::Result<Vec<(Ticket, Group)>> {
        if self.rank > 0 {
            std::thread::sleep(Duration::from_millis(300));
            self.answers = self.answers.checked_sub(1).ok_or_else(|| vr1_rollout::Error::engine("nobody is there"))?;
        }
        let groups = self.inner.poll()?;
        self.told.asked.fetch_sub(groups.len(), Ordering::SeqCst);
        Ok(groups)
    }

    fn load(&mut self, weights: &dyn Weights) -> vr1_rollout::Result<Version> {
        self.told.torn.fetch_or(self.told.asked.load(Ordering::SeqCst) > 0, Ordering::SeqCst);
        self.inner.load(weights)
    }

    fn tolerance(&self) -> Option<f64> {
        Some(1.0)
    }

    fn landed(&self) -> Option<Landed> {
        Some(Landed { version: Version(0), name: "late".into(), adapter: false, copies: Vec::new() })
    }

    fn follow(&mut self, landed: &Landed) -> vr1_rollout::Result<Version> {
        Ok(landed.version)
    }
}

/// What two ranks come to whose second answers so often, and what is known of both.
fn late(answers: usize) -> (Vec<vr1_train::Result<()>>, Arc<Told>) {
    let dir = folder();
    let copy = Copy::new(Lies::None);
    let (recipe, told) = (of(dir.path(), &copy, ""), Arc::new(Told::default()));
    let ended = joined::ranks(2, |world| {
        let rank = world.rank();
        let options = RunOptions { show: Show::Quiet, world, ..RunOptions::new(dir.path().join("out")) };
        let mut run = Trainer::new(recipe.clone(), options)?;
        let engine = Late::new(run.processor().tokenizer(), rank, &told, answers);
        run.set_engine(Box::new(engine))?;
        run.run().map(drop)
    });
    (ended, told)
}

#[test]
fn no_weights_are_handed_over_while_any_rank_waits_for_what_those_before_sample() {
    let (ended, told) = late(usize::MAX);
    ended.into_iter().for_each(|rank| rank.unwrap());
    assert!(!told.torn.load(Ordering::SeqCst));
    assert_eq!(told.asked.load(Ordering::SeqCst), 0);
}

#[test]
fn a_rank_that_hears_nothing_of_what_was_sampled_ahead_ends_all() {
    // A held-out sample, and a prompt of each of two steps: the third fails in the evaluation after the second.
    let (ended, _) = late(3);
    for (rank, ended) in ended.into_iter().enumerate() {
        let error = ended.unwrap_err().to_string();
        assert!(error.contains("nobody is there"), "rank {rank}: {error}");
    }
}
