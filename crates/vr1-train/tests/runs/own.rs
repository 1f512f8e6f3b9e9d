//! An engine, an objective, a loss, a reward, a curriculum and samples of one's own, in a few lines each.

use std::rc::Rc;
use std::sync::Arc;

use tch::Kind;
use vr1_curriculum::Curriculum;
use vr1_data::{Dataset, Sample};
use vr1_learn::{Counts, Fold, Learner, LearnerConfig, Loss, Needs, Scored, Signals, Stats, Step};
use vr1_processor::{Layout, Message, Processor, PromptRequest, Role};
use vr1_reward::Registry;
use vr1_rollout::{Engine, Group, Request, SampleKey, Sampling, Scripted, Ticket, Version, Weights};
use vr1_train::{Collected, Grpo, Objective, ObjectiveConfig, Run};

use super::scripted::{SAID, grpo};
use super::*;

/// Imitates one sentence, and counts how often.
struct Parrot {
    words: &'static str,
    loss: vr1_learn::ImitationLoss,
    said: u64,
}

impl Parrot {
    fn new(words: &'static str) -> Self {
        Self { words, loss: Default::default(), said: 0 }
    }
}

impl Objective for Parrot {
    fn collect(&mut self, run: &mut Run, _at: Step) -> vr1_train::Result<Collected> {
        let messages = [Message::text(Role::User, "Say it."), Message::text(Role::Assistant, self.words)];
        let document = run.processor.supervised("parrot", &messages, vr1_processor::Mask::Assistant)?;
        let sequence = vr1_rollout::Sequence::document(&document)?;
        let groups = vec![Group::new(SampleKey::default(), vec![sequence])?];
        self.said += 1;
        let metrics = BTreeMap::from([("said".to_owned(), self.said as f64)]);
        Ok(Collected { groups, signals: Signals::new(vec![1.0]), metrics, ..Collected::default() })
    }

    fn loss(&self) -> &dyn Loss {
        &self.loss
    }

    fn state(&self) -> serde_json::Value {
        self.said.into()
    }

    fn restore(&mut self, state: &serde_json::Value) -> vr1_train::Result<()> {
        self.said = state.as_u64().ok_or_else(|| vr1_train::Error::Recipe("no parrot's state".to_owned()))?;
        Ok(())
    }
}

#[test]
fn an_objective() {
    let dir = folder();
    let recipe = recipe(dir.path(), &grpo(6, ""));
    let [whole, out] = ["whole", "run"].map(|name| dir.path().join(name));
    let mut run = trainer(&recipe, &whole);
    run.set_objective(Box::new(Parrot::new("Polly is green.")));
    let told = steps(&mut run, 6);
    assert!(told[5].get("nll").unwrap() < 0.8 * told[0].get("nll").unwrap(), "{told:?}");

    // Taken up again, it goes on from its own state.
    let mut first = trainer(&recipe, &out);
    first.set_objective(Box::new(Parrot::new("Polly is green.")));
    steps(&mut first, 2);
    first.checkpoint().unwrap();
    drop(first);
    let mut second = Trainer::resume(recipe, options(&out)).unwrap();
    second.set_objective(Box::new(Parrot::new("Polly is green.")));
    steps(&mut second, 4);
    assert_eq!(rows(&out), rows(&whole));
}

/// Likes its tokens better the larger the advantage, and no more than that.
struct Plain;

impl Loss for Plain {
    fn needs(&self) -> Needs {
        Needs::default()
    }

    fn loss(&self, scored: &Scored, counts: &Counts) -> vr1_learn::Result<(Tensor, Stats)> {
        let loss = -(scored.sums(&scored.logprobs)? * &scored.signals).sum(Kind::Float) / counts.sequences;
        let value = loss.double_value(&[]);
        Ok((loss, Stats::new([("plain_loss", value, Fold::Sum)])))
    }
}

fn config(recipe: &Recipe) -> vr1_train::GrpoObjective {
    match recipe.objective.clone().unwrap() {
        ObjectiveConfig::Grpo(config) => *config,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_loss() {
    let dir = folder();
    let recipe = recipe(dir.path(), &grpo(2, ""));
    let mut run = trainer(&recipe, &dir.path().join("run"));
    let own = Grpo::new(&config(&recipe), &run.setting()).unwrap().with_loss(Box::new(Plain));
    run.set_objective(Box::new(own));
    let begun = weights(run.model());
    let told = steps(&mut run, 2);
    assert!(told.iter().all(|row| row.get("plain_loss").is_some() && row.get("clip_ratio").is_none()));
    assert!(moved(&begun, &weights(run.model())).is_some());
}

/// The first stage on even steps, the second on odd ones.
struct Alternate;

impl Curriculum for Alternate {
    fn weights(&mut self, step: u64) -> Vec<f64> {
        if step.is_multiple_of(2) { vec![1.0, 0.0] } else { vec![0.0, 1.0] }
    }
}

#[test]
fn a_curriculum() {
    let dir = folder();
    let sources = "sources: [{ source: { kind: jsonl, path: train.jsonl } }, { stage: 1, source: { kind: jsonl, path: test.jsonl } }]";
    let text = grpo(3, "").replace("train: { kind: jsonl, path: train.jsonl }", sources);
    let recipe = recipe(dir.path(), &text);
    let out = dir.path().join("run");
    let mut run = trainer(&recipe, &out);
    let own = Grpo::new(&config(&recipe), &run.setting()).unwrap().with_curriculum(Box::new(Alternate));
    run.set_objective(Box::new(own));
    steps(&mut run, 3);
    let asked = |step: u64, set: &str| {
        let text = rows_of(&out, step);
        text.lines().all(|line| line.contains(&format!("\"sample\":\"{set} ")))
    };
    assert!(asked(1, "train") && asked(2, "test") && asked(3, "train"));
}

/// Sums, written as they are asked for.
struct Sums;

impl Dataset for Sums {
    fn name(&self) -> &str {
        "sums"
    }

    fn len(&self) -> usize {
        100
    }

    fn get(&self, index: usize) -> vr1_data::Result<Sample> {
        let (question, solution) = (format!("{index} + 1?"), (index + 1).to_string());
        Ok(Sample { id: format!("sum {index}"), question, solution, ..Sample::default() })
    }
}

#[test]
fn samples() {
    let dir = folder();
    let recipe = recipe(dir.path(), &grpo(1, ""));
    let out = dir.path().join("run");
    let mut run = trainer(&recipe, &out);
    let own = Grpo::new(&config(&recipe), &run.setting()).unwrap().with_samples(Arc::new(Sums)).unwrap();
    run.set_objective(Box::new(own));
    run.set_held_out("sums", Arc::new(Sums));
    steps(&mut run, 1);
    let text = rows_of(&out, 1);
    assert!(text.lines().all(|line| line.contains("\"sample\":\"sum ")), "{text}");
    assert!(run.evaluate().unwrap().unwrap().contains_key("sums/accuracy"));
}

#[test]
fn a_reward() {
    let dir = folder();
    let mut registry = Registry::default();
    registry.register("loudness", |args| Ok(args.text(0)?.chars().filter(|c| c.is_uppercase()).count() as f32));
    let program = "reward={ terms: { accuracy: loudness(completion) }, total: accuracy }";
    let recipe = read(dir.path(), &grpo(1, ""), &[program]).unwrap();
    let options = RunOptions { registry, ..options(&dir.path().join("run")) };
    let mut run = Trainer::new(recipe, options).unwrap();
    let tokenizer = run.processor().tokenizer().clone();
    let shout = |_: &Request, completion: usize| Some(["red", "RED"][completion].to_owned());
    run.set_engine(Box::new(Scripted::new(tokenizer, shout))).unwrap();
    assert_eq!(steps(&mut run, 1)[0].get("reward"), Some(1.5));
}

/// Another engine, of which it is counted how often it gets weights.
struct Heard {
    inner: Box<dyn Engine>,
    loads: Rc<std::cell::Cell<u64>>,
}

impl Engine for Heard {
    fn submit(&mut self, request: Request) -> vr1_rollout::Result<Ticket> {
        self.inner.submit(request)
    }

    fn poll(&mut self) -> vr1_rollout::Result<Vec<(Ticket, Group)>> {
        self.inner.poll()
    }

    fn load(&mut self, weights: &dyn Weights) -> vr1_rollout::Result<Version> {
        self.loads.set(self.loads.get() + 1);
        self.inner.load(weights)
    }
}

#[test]
fn an_engine_gets_new_weights_when_it_is_asked_and_not_before() {
    let dir = folder();
    let loads = Rc::new(std::cell::Cell::new(0));
    let recipe = read(dir.path(), &grpo(3, ""), &SAID).unwrap();
    let mut run = trainer(&recipe, &dir.path().join("run"));
    let inner = Scripted::new(run.processor().tokenizer().clone(), |_, completion| Some(completion.to_string()));
    run.set_engine(Box::new(Heard { inner: Box::new(inner), loads: loads.clone() })).unwrap();
    assert_eq!(loads.get(), 1);
    steps(&mut run, 3);
    assert_eq!(loads.get(), 3, "the first has them already");
    run.evaluate().unwrap().unwrap();
    run.evaluate().unwrap().unwrap();
    assert_eq!(loads.get(), 4);
    run.set_objective(Box::new(Parrot::new("Polly.")));
    assert_eq!(loads.get(), 4);
}

#[test]
fn a_run_by_hand() {
    let model: Rc<dyn Backbone> = Rc::new(vr1_vlm::Model::load(&tiny(), tch::Device::Cpu, Kind::Float).unwrap());
    let processor = Processor::from_dir(&tiny()).unwrap();
    let config = LearnerConfig {
        optimizer: vr1_learn::OptimizerConfig { learning_rate: 1e-3, ..Default::default() },
        ..Default::default()
    };
    let learner = Learner::new(model.clone(), config, &[]).unwrap();
    let engine = vr1_decode::LocalEngine::new(model, processor.tokenizer().clone()).unwrap();
    let mut run = Run::new(Box::new(engine), learner, processor, 7);
    let mut parrot = Parrot::new("Polly is green.");
    let nll: Vec<f64> =
        (0..4).map(|done| run.step(&mut parrot, Step { done, of: 4 }).unwrap().metrics["nll"]).collect();
    assert!(nll[3] < nll[0], "{nll:?}");

    // The engine says what was learnt.
    let messages = [Message::text(Role::User, "Say it.")];
    let request = PromptRequest { sample: "s", messages: &messages, layout: Layout::Chat, prefill: "" };
    let prompt = run.processor.prompt(&request).unwrap();
    let request = Request::new(prompt, 1, Sampling::greedy(8), SampleKey::default());
    let groups = run.engine().unwrap().generate(vec![request]).unwrap();
    assert_eq!(groups[0].sequences()[0].sampled().unwrap().version, Version(4));
}

#[test]
fn a_step_that_fails_leaves_an_objective_as_it_was() {
    /// Fails in its second step, after it has counted.
    struct Stumbles(Parrot);
    impl Objective for Stumbles {
        fn collect(&mut self, run: &mut Run, at: Step) -> vr1_train::Result<Collected> {
            let collected = self.0.collect(run, at)?;
            match at.done {
                1 => Err(vr1_train::Error::Recipe("it stumbled".to_owned())),
                _ => Ok(collected),
            }
        }
        fn loss(&self) -> &dyn Loss {
            self.0.loss()
        }
        fn state(&self) -> serde_json::Value {
            self.0.state()
        }
        fn restore(&mut self, state: &serde_json::Value) -> vr1_train::Result<()> {
            self.0.restore(state)
        }
    }
    let dir = folder();
    let mut run = trainer(&recipe(dir.path(), &grpo(3, "")), &dir.path().join("run"));
    run.set_objective(Box::new(Stumbles(Parrot::new("Polly."))));
    steps(&mut run, 1);
    let before = weights(run.model());
    for _ in 0..2 {
        assert_eq!(run.step().unwrap_err().to_string(), "it stumbled");
    }
    assert_eq!(moved(&before, &weights(run.model())), None);
    let state = std::fs::read_to_string(run.checkpoint().unwrap().join("trainer_state.json")).unwrap();
    let state: serde_json::Value = serde_json::from_str(&state).unwrap();
    assert_eq!((&state["step"], &state["objective"]), (&1.into(), &1.into()));
}
