//! What is learnt with moments of 8 bits is what is learnt with f32's, as far as two runs that differ in luck alone are alike.

use tch::{Device, Kind};
use vr1_learn::{ImitationLoss, LearnerConfig, Moments, OptimizerConfig};
use vr1_rollout::Group;
use vr1_vlm::{Model, ModelConfig};

use crate::tiny::{FAMILIES, folder, learner, mixed, signals, steady, step};

const SEEDS: u64 = 4;
const STEPS: u64 = 30;

/// The loss of each step of a run.
fn curve(seed: u64, moments: Moments, documents: &[Group]) -> Vec<f64> {
    let config = ModelConfig::from_dir(&folder(FAMILIES).join("qwen2_vl_1")).unwrap();
    let model = Model::random(config, seed, Device::Cpu, Kind::Float).unwrap();
    let optimizer = OptimizerConfig { moments, ..steady(1e-2) };
    let mut learner = learner(model, LearnerConfig { optimizer, ..LearnerConfig::default() });
    let loss = ImitationLoss::default();
    let one = |done: u64| learner.update(documents, &signals(documents), &loss, step(done)).unwrap().metrics["loss"];
    (0..STEPS).map(one).collect()
}

#[test]
fn a_loss_curve_of_8_bits_is_within_what_luck_moves_one_of_f32() {
    let documents = mixed();
    let runs = |moments| (0..SEEDS).map(|seed| curve(seed, moments, &documents)).collect::<Vec<_>>();
    let (wide, narrow) = (runs(Moments::F32), runs(Moments::Blockwise8bit));
    let at = |runs: &[Vec<f64>], step: usize| runs.iter().map(|run| run[step]).collect::<Vec<_>>();
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let (mut apart, mut luck) = (Vec::new(), Vec::new());
    for step in 1..STEPS as usize {
        let (wide, narrow) = (at(&wide, step), at(&narrow, step));
        let centre = mean(&wide);
        luck.push((wide.iter().map(|x| (x - centre).powi(2)).sum::<f64>() / (SEEDS - 1) as f64).sqrt());
        apart.push(mean(&wide.iter().zip(&narrow).map(|(a, b)| (a - b).abs()).collect::<Vec<_>>()));
    }
    println!("apart {apart:?}\nluck {luck:?}");
    assert!(wide.iter().chain(&narrow).all(|run| run[STEPS as usize - 1] < 0.7 * run[0]), "{wide:?} {narrow:?}");
    assert!(mean(&apart) > 0.0, "moments are held in 8 bits");
    assert!(mean(&apart) < mean(&luck), "{} apart, {} by luck", mean(&apart), mean(&luck));
}
