//! An objective of one's own: rejection sampling, which imitates the best of what the model says (RAFT, Dong et al., 2023,
//! <https://arxiv.org/abs/2304.06767>). It says what to learn from; the learner does the rest.
//!
//! `cargo run --release --example own_objective`

use std::path::Path;
use std::rc::Rc;

use anyhow::{Result, ensure};
use tch::{Device, Kind};
use vr1_data::{Dataset, Scenes, Split, Task};
use vr1_decode::LocalEngine;
use vr1_learn::{ImitationLoss, Learner, LearnerConfig, Loss, OptimizerConfig, Signals, Step};
use vr1_processor::{Layout, Processor};
use vr1_rollout::{Group, Request, SampleKey, Sampling};
use vr1_train::{Collected, Objective, Run};
use vr1_vlm::{Backbone, Model};

/// Of each prompt's completions the one that says it in the most words is imitated.
struct Longest {
    scenes: Scenes,
    loss: ImitationLoss,
}

impl Objective for Longest {
    fn collect(&mut self, run: &mut Run, at: Step) -> vr1_train::Result<Collected> {
        let request = |index: u64| -> vr1_train::Result<Request> {
            let sample = self.scenes.get(index as usize)?;
            let prompt = run.processor.sample(&sample, "Describe the image.", Layout::Raw, "")?;
            let sampling = Sampling { max_completion_tokens: 32, seed: run.seed, ..Sampling::default() };
            Ok(Request::new(prompt, 8, sampling, SampleKey { index, ..SampleKey::default() }))
        };
        let requests = (at.done * 4..at.done * 4 + 4).map(request).collect::<vr1_train::Result<_>>()?;
        let (mut groups, mut words) = (Vec::new(), 0);
        for group in run.engine()?.generate(requests)? {
            let (key, length) = (group.key(), |text: &str| text.split_whitespace().count());
            words += group.sequences().iter().map(|s| length(s.text())).sum::<usize>();
            let best = group.into_sequences().into_iter().max_by_key(|sequence| length(sequence.text()));
            groups.push(Group::new(key, best.into_iter().collect())?);
        }
        let signals = Signals::new(vec![1.0; groups.len()]);
        let metrics = [("words".to_owned(), words as f64 / 32.0)].into();
        Ok(Collected { groups, signals, metrics, ..Collected::default() })
    }

    fn loss(&self) -> &dyn Loss {
        &self.loss
    }
}

/// Trains and tells; an error where nothing was learnt.
///
/// # Errors
/// If a step fails, or what was to rise did not.
pub(crate) fn main() -> Result<()> {
    let dir = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/assets/tiny"));
    let model: Rc<dyn Backbone> = Rc::new(Model::load(dir, Device::Cpu, Kind::Float)?);
    let processor = Processor::from_dir(dir)?;
    let unreachable = processor.tokenizer().unreachable_ids(model.lm_head().size()[0]);
    let optimizer = OptimizerConfig { learning_rate: 3e-4, ..OptimizerConfig::default() };
    let config = LearnerConfig { optimizer, ..LearnerConfig::default() };
    let engine = Box::new(LocalEngine::new(model.clone(), processor.tokenizer().clone())?);
    let mut run = Run::new(engine, Learner::new(model, config, &unreachable)?, processor, 1);
    let scenes = Scenes::new(Task::Attributes, Split::Train, 1, 64);
    let mut objective = Longest { scenes, loss: ImitationLoss::default() };
    let mut words = Vec::new();
    for done in 0..10 {
        let step = run.step(&mut objective, Step { done, of: 10 })?;
        words.push(step.metrics["words"]);
        println!("step {}: {:.1} words, loss {:.3}", done + 1, words[done as usize], step.metrics["loss"]);
    }
    ensure!(words[9] > words[0], "answers did not become longer: {words:?}");
    Ok(())
}
