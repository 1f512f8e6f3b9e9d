//! The libraries without a recipe: a model, questions and a reward of one's own, ten steps of GRPO.
//!
//! `cargo run --release --example library`

use std::path::Path;
use std::rc::Rc;

use anyhow::{Result, ensure};
use tch::{Device, Kind};
use vr1_data::{Dataset, Media, Sample, Scenes, Split, Task};
use vr1_decode::LocalEngine;
use vr1_grpo::{GrpoConfig, Scale, group_advantages};
use vr1_learn::{Learner, LearnerConfig, OptimizerConfig, PolicyLoss, Signals, Step};
use vr1_processor::{Layout, Processor};
use vr1_rollout::{Engine, Request, SampleKey, Sampling};
use vr1_vlm::{Backbone, Model};

/// Questions of one's own, about pictures from anywhere: here, drawn scenes.
struct Questions(Scenes);

impl Dataset for Questions {
    fn name(&self) -> &str {
        "questions"
    }
    fn len(&self) -> usize {
        64
    }
    fn get(&self, index: usize) -> vr1_data::Result<Sample> {
        let media: Vec<Media> = self.0.get(index)?.media;
        Ok(Sample { id: index.to_string(), media, question: "What is here?".into(), ..Sample::default() })
    }
}

pub fn main() -> Result<()> {
    let dir = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/assets/tiny"));
    let model: Rc<dyn Backbone> = Rc::new(Model::load(dir, Device::Cpu, Kind::Float)?);
    let processor = Processor::from_dir(dir)?;
    let questions = Questions(Scenes::new(Task::Attributes, Split::Train, 1, 64));
    let reward = |completion: &str| -(completion.split_whitespace().count() as f32); // who says it in fewer words?

    let unreachable = processor.tokenizer().unreachable_ids(model.lm_head().size()[0]);
    let optimizer = OptimizerConfig { learning_rate: 3e-4, ..OptimizerConfig::default() };
    let mut engine = LocalEngine::new(model.clone(), processor.tokenizer().clone())?;
    let mut learner = Learner::new(model, LearnerConfig { optimizer, ..LearnerConfig::default() }, &unreachable)?;
    let loss = PolicyLoss { config: GrpoConfig { beta: 0.0, ..GrpoConfig::default() }, temperature: 1.0 };
    let sampling = Sampling { max_completion_tokens: 32, ..Sampling::default() };

    let mut means = Vec::new();
    for done in 0..10 {
        let request = |index: u64| -> Result<Request> {
            let sample = questions.get(index as usize % questions.len())?;
            let prompt = processor.sample(&sample, &sample.question, Layout::Chat, "")?;
            Ok(Request::new(prompt, 8, sampling.clone(), SampleKey { index, ..SampleKey::default() }))
        };
        let groups = engine.generate((done * 4..done * 4 + 4).map(request).collect::<Result<_>>()?)?;
        let rewards: Vec<f32> = groups.iter().flat_map(|g| g.sequences()).map(|s| reward(s.text())).collect();
        let advantages = Signals::new(group_advantages(&rewards, 8, Scale::Group)?);
        let update = learner.update(&groups, &advantages, &loss, Step { done, of: 10 })?;
        engine.load(&learner.snapshot())?;
        means.push(rewards.iter().sum::<f32>() / rewards.len() as f32);
        println!("step {}: reward {:.2}, gradient {:.3}", done + 1, means[done as usize], update.metrics["grad_norm"]);
    }
    ensure!(means[9] > means[0], "the reward did not rise: {means:?}");
    Ok(())
}
