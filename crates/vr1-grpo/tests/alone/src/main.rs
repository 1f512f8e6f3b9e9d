//! GRPO without vision and without language: a policy over five actions learns which of them is rewarded.
use tch::{Device, Kind, Tensor};
use vr1_grpo::{GrpoConfig, Scale, group_advantages, grpo_loss};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    tch::manual_seed(0);
    let mut logits = Tensor::zeros([5], (Kind::Float, Device::Cpu)).set_requires_grad(true);
    let config = GrpoConfig { beta: 0.0, ..Default::default() };
    for _ in 0..100 {
        let actions = logits.softmax(-1, Kind::Float).multinomial(8, true); // a group of 8
        let logprobs = logits.log_softmax(-1, Kind::Float).index_select(0, &actions).unsqueeze(1); // [8, 1]
        let rewards: Vec<f32> = Vec::<i64>::try_from(&actions)?.iter().map(|&a| f32::from(a == 3)).collect();
        let advantages = Tensor::from_slice(&group_advantages(&rewards, 8, Scale::Group)?);
        let mask = logprobs.ones_like();
        let (loss, _) = grpo_loss(&logprobs, &logprobs.detach(), None, &advantages, &mask, &config)?;
        loss.backward();
        tch::no_grad(|| logits.f_sub_(&(logits.grad() * 1.0)))?;
        logits.zero_grad();
    }
    let probability = logits.softmax(-1, Kind::Float).double_value(&[3]);
    println!("the rewarded action has probability {probability:.3}");
    assert!(probability > 0.95);
    Ok(())
}
