//! Routers of experts in training: what is measured of them, and the loss that has them spread tokens.

use std::rc::Rc;

use tch::Kind;
use vr1_learn::{Learner, LearnerConfig, OptimizerConfig};
use vr1_nn::Recompute;
use vr1_rollout::Group;
use vr1_vlm::Piece;

use crate::tiny::{Linear, answers, group, learner, model, of, parameters, prompt, signals, steady, step};

const MODEL: &str = "qwen3_moe_1";

fn config(coefficient: f64) -> LearnerConfig {
    let optimizer = OptimizerConfig { router_aux_loss_coef: coefficient, ..steady(1e-3) };
    LearnerConfig { optimizer, ..LearnerConfig::default() }
}

fn groups() -> Vec<Group> {
    let words = ["What is it?", "Two and two?", "Which of them?"];
    let one = |(index, words): (usize, &&str)| group(index as u64, &prompt("words", &[], words), &answers(&[5, 3]));
    words.iter().enumerate().map(one).collect()
}

#[test]
fn what_is_run_again_backwards_changes_no_balance() {
    let groups = groups();
    let moved = |recompute| {
        let mut learner = learner(model(MODEL, Kind::Float), LearnerConfig { recompute, ..config(0.5) });
        let update = learner.update(&groups, &signals(&groups), &Linear::default(), step(0)).unwrap();
        (parameters(of(&learner)), update.metrics["router_balance"])
    };
    let (kept, balance) = moved(Recompute::None);
    for recompute in [Recompute::Layers, Recompute::Attention] {
        let (again, same) = moved(recompute);
        assert!((balance - same).abs() < 1e-9);
        for ((name, one), (_, other)) in kept.iter().zip(&again) {
            assert!(one.allclose(other, 1e-5, 1e-6, false), "{recompute:?} {name}");
        }
    }
}

#[test]
fn the_balance_moves_routers_and_spreads_tokens() {
    let groups = groups();
    // Nothing else is learnt.
    let none = vr1_learn::Signals::new(vec![0.0; groups.iter().map(Group::size).sum()]);
    let walked = |coefficient: f64| {
        let mut learner = learner(model(MODEL, Kind::Float), config(coefficient));
        let mut walk = |at| learner.update(&groups, &none, &Linear::default(), step(at)).unwrap().metrics;
        let first = walk(0);
        (first, (1..30).map(&mut walk).last().unwrap())
    };
    let (before, after) = walked(1.0);
    assert!(before["router_balance"] > 3.0, "even is the number of experts of a token: {before:?}");
    assert!(after["router_balance"] < before["router_balance"], "{before:?} {after:?}");
    assert!(before["expert_load_least"] < 1.0 && before["expert_load_most"] > 1.0, "{before:?}");
    let (still, same) = walked(0.0);
    assert_eq!(still["router_balance"], same["router_balance"]);
}

#[test]
fn micro_batches_take_part_by_their_tokens() {
    let groups = groups();
    let metrics = |tokens_per_micro_batch| {
        let mut learner = learner(model(MODEL, Kind::Float), LearnerConfig { tokens_per_micro_batch, ..config(0.5) });
        learner.update(&groups, &signals(&groups), &Linear::default(), step(0)).unwrap().metrics
    };
    let (whole, cut) = (metrics(0), metrics(groups.iter().map(|group| Piece::whole(group).tokens()).max().unwrap()));
    assert!(cut["micro_batches"] > 1.0);
    for name in ["router_balance", "expert_load_least", "expert_load_most"] {
        assert!((whole[name] - cut[name]).abs() < 1e-6, "{name}: {} {}", whole[name], cut[name]);
    }
}

#[test]
fn a_model_without_experts_has_no_balance() {
    let error = Learner::new(Rc::new(model("qwen2_1", Kind::Float)), config(0.1), &[]).unwrap_err().to_string();
    assert!(error.contains("optimizer.router_aux_loss_coef") && error.contains("without experts"), "{error}");
    let groups = groups();
    let mut learner = learner(model("qwen2_1", Kind::Float), config(0.0));
    let update = learner.update(&groups, &signals(&groups), &Linear::default(), step(0)).unwrap();
    assert!(!update.metrics.contains_key("router_balance"));
}
