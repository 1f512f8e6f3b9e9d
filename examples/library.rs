//! The libraries without a recipe: a model, questions and a reward of one's own, ten steps of GRPO.
//!
//! `cargo run --release --example library`

use std::path::Path;
use std::rc::Rc;

use anyhow::{Result, ensure};
use tch::{Device, Kind};
use vr1_data::{Dataset, Sample, Scenes, Split, Task};
use vr1_decode::LocalEngine;
use vr1_grpo::{GrpoConfig, Scale, group_advantages};
use vr1_learn::{Learner, LearnerConfig, OptimizerConfig, PolicyLoss, Signals, Step};
use vr1_processor::{Layout, Processor};
use vr1_rollout::{Engine, Request, SampleKey, Sampling};
use vr1_vlm::{Backbone, Model};

/// The prompt of VisualThinker-R1-Zero.
const START: &str = "A conversation between User and Assistant. The user asks a question about the image, and the Assistant \
    solves it. The assistant first thinks about the reasoning process in the mind and then provides the user with the answer.";

/// Questions of one's own, about pictures from anywhere: here, drawn scenes, asked in the base model's own way.
struct Questions(Scenes);

impl Dataset for Questions {
    fn name(&self) -> &str {
        "questions"
    }
    fn len(&self) -> usize {
        6
    }
    fn get(&self, index: usize) -> vr1_data::Result<Sample> {
        let scene = self.0.get(index)?;
        let question =
            format!("{START}\nUser: {} \nAssistant: Let me solve this step by step.\n<think>", scene.question);
        Ok(Sample { question, ..scene })
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
    let questions = Questions(Scenes::new(Task::Spatial, Split::Train, 1, 64));
    let reward = |text: &str, solution: &str| f32::from(u8::from(text.contains(&format!("<answer>{solution}<"))));

    let unreachable = processor.tokenizer().unreachable_ids(model.lm_head().size()[0]);
    let optimizer = OptimizerConfig { learning_rate: 3e-4, ..OptimizerConfig::default() };
    let mut engine = LocalEngine::new(model.clone(), processor.tokenizer().clone())?;
    let mut learner = Learner::new(model, LearnerConfig { optimizer, ..LearnerConfig::default() }, &unreachable)?;
    let loss = PolicyLoss { config: GrpoConfig { beta: 0.0, ..GrpoConfig::default() }, temperature: 1.0 };
    let sampling = Sampling { max_completion_tokens: 64, ..Sampling::default() };

    let mut means = Vec::new();
    for done in 0..10 {
        let samples: Vec<Sample> = (0..questions.len()).map(|i| questions.get(i)).collect::<Result<_, _>>()?;
        let request = |(index, sample): (usize, &Sample)| -> Result<Request> {
            let prompt = processor.sample(sample, &sample.question, Layout::Raw, "")?;
            let key = SampleKey { epoch: done as u32, index: index as u64, ..SampleKey::default() };
            Ok(Request::new(prompt, 8, sampling.clone(), key))
        };
        let groups = engine.generate(samples.iter().enumerate().map(request).collect::<Result<_>>()?)?;
        let answers = groups
            .iter()
            .zip(&samples)
            .flat_map(|(group, sample)| group.sequences().iter().map(|answer| reward(answer.text(), &sample.solution)));
        let rewards: Vec<f32> = answers.collect();
        let advantages = Signals::new(group_advantages(&rewards, 8, Scale::Group)?);
        let update = learner.update(&groups, &advantages, &loss, Step { done, of: 10 })?;
        engine.load(&learner.snapshot())?;
        means.push(rewards.iter().sum::<f32>() / rewards.len() as f32);
        println!("step {}: reward {:.2}, gradient {:.3}", done + 1, means[done as usize], update.metrics["grad_norm"]);
    }
    let mean = |part: &[f32]| part.iter().sum::<f32>() / part.len() as f32;
    ensure!(mean(&means[5..]) > mean(&means[..5]), "the reward did not rise: {means:?}");
    Ok(())
}
