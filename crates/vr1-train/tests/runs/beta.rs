//! β that moves: by how far the model is from its reference, or by a schedule.

use super::scripted::grpo;
use super::*;

/// Four steps of eight completions whose β is moved by `control`.
fn controlled(dir: &Path, more: &str) -> Recipe {
    recipe(dir, &grpo(4, more).replace("loss: { beta: 0 }", "loss: { beta: 0.1 }"))
}

fn named(rows: &[StepMetrics], name: &str) -> Vec<f64> {
    rows.iter().map(|row| row.get(name).unwrap()).collect()
}

#[test]
fn beta_goes_up_by_what_the_divergence_is_above_its_target_and_down_by_what_it_is_below() {
    for (per, target) in [("token", 1e-6), ("completion", 2e-5)] {
        let dir = folder();
        let control = format!("kl_control: {{ target: {target}, horizon: 20, per: {per} }}");
        let rows = steps(&mut trainer(&controlled(dir.path(), &control), &dir.path().join("run")), 4);
        let (betas, kls, lengths) = (named(&rows, "beta"), named(&rows, "kl"), named(&rows, "completion_length"));
        assert_eq!(betas[0], 0.1);
        for step in 0..3 {
            let current = if per == "token" { kls[step] } else { kls[step] * lengths[step] };
            let expected = betas[step] * (1.0 + (current / target - 1.0).clamp(-0.2, 0.2) * 8.0 / 20.0);
            assert!((betas[step + 1] - expected).abs() < 1e-9, "{per} {step}: {betas:?} {kls:?}");
        }
        // At first the model is its own reference; then it is further than it should be.
        assert!(betas[1] < betas[0] && betas[3] > betas[2], "{betas:?} {kls:?}");
    }
}

#[test]
fn beta_of_a_divergence_in_the_reward_moves_too() {
    let dir = folder();
    let text = grpo(3, "kl_in_reward: 0.1\n  kl_control: { target: 1.0e-7, horizon: 20, per: token }");
    let rows = steps(&mut trainer(&recipe(dir.path(), &text), &dir.path().join("run")), 3);
    let betas = named(&rows, "beta");
    // How far tokens that were drawn are from the reference has either sign; it is not near the target then.
    let moves: Vec<f64> = betas.windows(2).map(|pair| (pair[1] / pair[0] - 1.0).abs()).collect();
    assert_eq!(betas[0], 0.1);
    assert!(moves.iter().all(|by| *by > 1e-3 && *by < 0.2 * 8.0 / 20.0 + 1e-9), "{betas:?}");
}

#[test]
fn beta_of_a_step_is_what_its_update_is_made_with() {
    let dir = folder();
    let learnt = |more: &str, name: &str| {
        let mut run = trainer(&controlled(dir.path(), more), &dir.path().join(name));
        let rows = steps(&mut run, 4);
        (named(&rows, "beta"), weights(run.model()))
    };
    let (_, plain) = learnt("", "plain");
    let (constant, same) = learnt("beta_schedule: constant", "constant");
    let (falling, other) = learnt("beta_schedule: linear", "linear");
    assert_eq!((constant, moved(&plain, &same)), (vec![0.1; 4], None));
    assert!(falling.iter().zip([0.1, 0.075, 0.05, 0.025]).all(|(a, b)| (a - b).abs() < 1e-12), "{falling:?}");
    assert!(moved(&plain, &other).is_some());
}

#[test]
fn a_run_whose_beta_moves_goes_on_bit_for_bit() {
    for more in [
        "kl_control: { target: 1.0e-5, horizon: 20 }",
        "kl_in_reward: 0.1\n  kl_control: { target: 1.0e-5, horizon: 20 }",
        "beta_schedule: { kind: cosine, min_lr_ratio: 0.1 }",
    ] {
        let dir = folder();
        let recipe = match more.contains("kl_in_reward") {
            true => recipe(dir.path(), &grpo(4, more)),
            false => controlled(dir.path(), more),
        };
        goes_on_from_any_step(dir.path(), &recipe);
    }
}

#[test]
fn a_beta_that_cannot_move_is_refused() {
    let dir = folder();
    let refused = |beta: &str, more: &str, words: &str| {
        let text = grpo(4, more).replace("loss: { beta: 0 }", &format!("loss: {{ beta: {beta} }}"));
        let error = read(dir.path(), &text, &[]).unwrap_err().to_string();
        assert!(error.contains(words), "{more}: {error}");
    };
    let control = "kl_control: { target: 0.1, horizon: 100 }";
    refused("0", control, "objective.kl_control: needs a β");
    refused("0", "beta_schedule: linear", "objective.beta_schedule: needs a β");
    refused("0.1", &format!("{control}\n  beta_schedule: linear"), "beside `kl_control`");
    refused("0.1", &format!("{control}\n  kl_in_reward: 0.1"), "two β");
    refused("0.1", "kl_control: { target: 0.1, horizon: 1.6 }", "objective.kl_control.horizon");
    refused("0.1", "kl_control: { target: 0, horizon: 100 }", "objective.kl_control.target");
    refused("0.1", "beta_schedule: { kind: cosine, cycles: -1 }", "cycles is -1");
}
