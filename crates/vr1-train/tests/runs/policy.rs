//! The family of group relative policy optimisation: a setting that only parses fails here.

use super::*;

fn grpo(steps: u64, more: &str) -> String {
    format!(
        "
steps: {steps}
objective:
  kind: grpo
  train: {{ kind: jsonl, path: train.jsonl }}
  prompts_per_step: 3
  group_size: 3
  sampling: {{ max_completion_tokens: 6 }}
  {more}"
    )
}

/// The numbers of a run's steps and its last weights.
fn run(dir: &Path, text: &str, overrides: &[&str]) -> (Vec<StepMetrics>, BTreeMap<String, Tensor>) {
    let recipe = read(dir, text, overrides).unwrap();
    let out = tempfile::tempdir().unwrap();
    let mut run = trainer(&recipe, &out.path().join("run"));
    (steps(&mut run, recipe.all_steps()), weights(run.model()))
}

/// Rewards and advantages of the first step, a list for each group.
fn first_groups(dir: &Path, more: &str) -> Vec<Vec<(f64, f64)>> {
    let recipe = recipe(dir, &grpo(1, more));
    let out = tempfile::tempdir().unwrap();
    steps(&mut trainer(&recipe, &out.path().join("run")), 1);
    let text = rows_of(&out.path().join("run"), 1);
    let row = |line: &str| {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        (row["total"].as_f64().unwrap(), row["advantage"].as_f64().unwrap())
    };
    text.lines().map(row).collect::<Vec<_>>().chunks(3).map(<[_]>::to_vec).collect()
}

fn check(groups: &[Vec<(f64, f64)>], advantage: impl Fn(&[f64], usize) -> f64) {
    assert!(groups.iter().flatten().any(|(_, advantage)| *advantage != 0.0));
    for group in groups {
        let rewards: Vec<f64> = group.iter().map(|(reward, _)| *reward).collect();
        for (i, (_, found)) in group.iter().enumerate() {
            let expected = advantage(&rewards, i);
            assert!(
                (found - expected).abs() < 1e-4 * expected.abs().max(1.0),
                "{found}, should be {expected}: {group:?}"
            );
        }
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

#[test]
fn advantages_are_those_of_the_kind_that_is_named() {
    let dir = folder();
    let plain = first_groups(dir.path(), "");
    let deviation = |rewards: &[f64]| {
        let squares: f64 = rewards.iter().map(|r| (r - mean(rewards)).powi(2)).sum();
        (squares / (rewards.len() - 1) as f64).sqrt()
    };
    check(&plain, |r, i| (r[i] - mean(r)) / (deviation(r) + 1e-4));
    let unscaled = first_groups(dir.path(), "advantages: { kind: group, scale: none }");
    check(&unscaled, |r, i| r[i] - mean(r));
    let rloo = first_groups(dir.path(), "advantages: { kind: group, baseline: leave_one_out, scale: none }");
    check(&rloo, |r, i| r[i] - (r.iter().sum::<f64>() - r[i]) / (r.len() - 1) as f64);
    let raw = first_groups(dir.path(), "advantages: { kind: reinforce, whitening: none }");
    check(&raw, |r, i| r[i]);
    let centred = first_groups(dir.path(), "advantages: { kind: reinforce, baseline: group_mean, whitening: none }");
    check(&centred, |r, i| r[i] - mean(r));
    let totals = |groups: &[Vec<(f64, f64)>]| groups.iter().flatten().map(|(total, _)| *total).collect::<Vec<_>>();
    assert_eq!(totals(&plain), totals(&raw), "what is sampled first does not depend on it");
}

#[test]
fn where_a_step_took_its_time_is_told() {
    let dir = folder();
    let recipe = read(dir.path(), &grpo(2, "loss: { beta: 0.1 }"), &[]).unwrap();
    let out = tempfile::tempdir().unwrap();
    let mut run = trainer(&recipe, &out.path().join("run"));
    // What is sampled between steps is no part of one.
    run.evaluate().unwrap();
    for _ in 0..2 {
        let begun = std::time::Instant::now();
        let values = run.step().unwrap().values;
        let (all, whole) = (begun.elapsed().as_secs_f64(), values["seconds"]);
        let sum = |parts: &[&str]| parts.iter().map(|part| values[&format!("seconds_{part}")]).sum::<f64>();
        let collecting = sum(&["prefill", "decoding", "rewards", "weights"]);
        let learning = sum(&["reference", "forward", "backward", "optimizer"]);
        assert!(
            collecting <= values["seconds_collecting"] && collecting + learning <= whole && whole <= all,
            "{values:?}"
        );
        for part in ["prefill", "decoding", "reference", "forward", "backward", "optimizer"] {
            assert!(sum(&[part]) > 0.0, "{part}: {values:?}");
        }
        // What has no name is little beside them: made prompts, signals, files.
        assert!(learning > 0.5 * (whole - values["seconds_collecting"]), "{values:?}");
    }
}

#[test]
fn whitened_advantages_of_tokens_have_mean_0_and_variance_1() {
    let dir = folder();
    let recipe = recipe(dir.path(), &grpo(1, "advantages: { kind: reinforce }"));
    let out = dir.path().join("run");
    steps(&mut trainer(&recipe, &out), 1);
    let text = rows_of(&out, 1);
    let rows = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let of_tokens: Vec<f64> = rows
        .flat_map(|row| vec![row["advantage"].as_f64().unwrap(); row["tokens"].as_u64().unwrap() as usize])
        .collect();
    let variance = of_tokens.iter().map(|a| a * a).sum::<f64>() / of_tokens.len() as f64;
    assert!(mean(&of_tokens).abs() < 1e-4 && (variance - 1.0).abs() < 0.1, "{} {variance}", mean(&of_tokens));
}

#[test]
fn each_term_of_the_reward_weighs_as_it_is_told_to() {
    let dir = folder();
    let weighed = |accuracy: f64, vowels: f64| {
        let weights = format!("{{ accuracy: {accuracy}, vowels: {vowels} }}");
        first_groups(dir.path(), &format!("advantages: {{ kind: per_reward, weights: {weights} }}"))
    };
    let [both, lengths, vowels] = [weighed(1.0, 1.0), weighed(1.0, 0.0), weighed(0.0, 1.0)];
    let advantages = |groups: &[Vec<(f64, f64)>]| groups.iter().flatten().map(|(_, a)| *a).collect::<Vec<f64>>();
    let (both, lengths, vowels) = (advantages(&both), advantages(&lengths), advantages(&vowels));
    assert!(both != lengths && lengths != vowels);
    assert!(mean(&both).abs() < 1e-5 && both.iter().any(|a| *a != 0.0));
}

#[test]
fn a_divergence_in_the_reward_is_taken_from_a_reference() {
    let dir = folder();
    let rloo = |beta: f64| {
        let more = format!(
            "advantages: {{ kind: group, baseline: leave_one_out, scale: none }}\n  loss: {{ beta: 0 }}\n  kl_in_reward: {beta}"
        );
        run(dir.path(), &grpo(2, &more), &[])
    };
    let ((free, loose), (held, tight)) = (rloo(0.0), rloo(0.5));
    // At first the model is its own reference: there is nothing to subtract.
    assert!((free[0].get("grad_norm").unwrap() - held[0].get("grad_norm").unwrap()).abs() < 1e-3);
    assert!((free[1].get("grad_norm").unwrap() - held[1].get("grad_norm").unwrap()).abs() > 1e-3);
    assert!(moved(&loose, &tight).is_some());

    let reinforce = |beta: f64| {
        let more = format!("advantages: {{ kind: reinforce, kl_coefficient: {beta} }}\n  loss: {{ beta: 0 }}");
        run(dir.path(), &grpo(2, &more), &[]).1
    };
    assert!(moved(&reinforce(0.0), &reinforce(0.5)).is_some());
}

/// What `more` says makes other weights than what is said without it, and than all before it.
fn each_changes_the_update(base: &str, settings: &[&str], overrides: &[&str]) {
    let dir = folder();
    let plain = run(dir.path(), &grpo(2, base), overrides).1;
    assert_eq!(moved(&plain, &run(dir.path(), &grpo(2, base), overrides).1), None);
    let mut made: Vec<(&str, BTreeMap<String, Tensor>)> = vec![("what nobody set", plain)];
    for setting in settings {
        let more: Vec<&str> = overrides.iter().copied().chain(setting.split("; ")).collect();
        let learnt = run(dir.path(), &grpo(2, base), &more).1;
        for (other, weights) in &made {
            assert!(moved(weights, &learnt).is_some(), "{setting} teaches the same as {other}");
        }
        made.push((setting, learnt));
    }
}

#[test]
fn every_setting_of_the_loss_changes_the_update() {
    let settings = [
        "objective.loss.objective={kind: cispo}; objective.loss.epsilon_high=1.01",
        "objective.loss.objective={kind: cispo, cap: around}",
        "objective.loss.objective={kind: sapo}",
        "objective.loss.objective={kind: vespo}",
        "objective.loss.objective={kind: unclipped}",
        "objective.loss.objective={kind: reinforce}",
        "objective.loss.beta=0",
        "objective.loss.epsilon=0.01",
        "objective.loss.epsilon_high=0.9",
        "objective.loss.delta=1.21",
        "objective.loss.dual_clip=1.05",
        "objective.loss.importance=sequence",
        "objective.loss.importance=sequence_product",
        "objective.loss.aggregation={kind: token}",
        "objective.loss.aggregation={kind: constant, tokens: 64}",
        "objective.loss.aggregation={kind: sequence_sum}",
        "objective.loss.kl=k1",
        "objective.loss.kl=absolute",
        "objective.loss.kl_weight=ratio",
        "objective.loss.kl_gradient=k2",
        "objective.loss.kl_log_ratio_bound=0.01",
        "objective.loss.kl_bound=0.001",
        "objective.loss.log_ratio_bound=0.02",
        "objective.loss.entropy_bonus=0.1",
        "objective.loss.entropy_mask={kind: top, value: 0.3}",
        "objective.loss.entropy_mask={kind: at_least, value: 1.0}",
        "objective.loss.off_policy_threshold=0.0",
        "objective.iterations=2",
    ];
    each_changes_the_update("iterations: 4\n  loss: { beta: 0.04 }", &settings, &["optimizer.learning_rate=1e-4"]);
}

#[test]
fn every_setting_of_the_advantages_changes_the_update() {
    let settings = [
        "objective.advantages={kind: group, scale: none}",
        "objective.advantages={kind: group, scale: batch}",
        "objective.advantages={kind: group, epsilon: 0.5}",
        "objective.advantages={kind: group, baseline: leave_one_out, scale: none}",
        "objective.advantages={kind: group, baseline: batch_mean, scale: none}",
        "objective.advantages={kind: group, baseline: none, scale: none}",
        "objective.advantages={kind: per_reward, weights: {accuracy: 1, vowels: 1}}",
        "objective.advantages={kind: per_reward, weights: {accuracy: 1, vowels: 3}}",
        "objective.advantages={kind: reinforce}",
        "objective.advantages={kind: reinforce, baseline: group_mean}",
        "objective.advantages={kind: reinforce, gamma: 0.5}",
        "objective.advantages={kind: reinforce, whitening: none, gamma: 0.5}",
        "objective.advantages={kind: reinforce, kl_coefficient: 0.2}",
    ];
    // Aggregated so that the size of a gradient counts: it is not clipped, nor divided out by the optimizer's first steps.
    each_changes_the_update(
        "loss: { beta: 0 }",
        &settings,
        &["optimizer.epsilon=0.01", "optimizer.max_grad_norm=1000"],
    );
}

#[test]
fn how_tokens_are_sampled_changes_what_is_sampled() {
    let dir = folder();
    let said = |setting: &str| {
        let recipe = read(dir.path(), &grpo(1, ""), &[setting]).unwrap();
        let out = tempfile::tempdir().unwrap();
        steps(&mut trainer(&recipe, &out.path().join("run")), 1);
        rows_of(&out.path().join("run"), 1)
    };
    let plain = said("seed=42");
    for setting in [
        "seed=43",
        "objective.sampling.temperature=2",
        "objective.sampling.top_k=2",
        "objective.sampling.top_p=0.3",
        "objective.sampling.min_p=0.5",
        "objective.sampling.repetition_penalty=3",
        "objective.sampling.max_completion_tokens=1",
        "objective.group_size=4",
        "objective.prompts_per_step=2",
        "prompt.text='{{ question }} Say more.'",
        "prompt.prefill='It '",
        "prompt.layout=raw",
    ] {
        assert_ne!(said(setting), plain, "{setting}");
    }
    assert_eq!(said("seed=42"), plain);
}

#[test]
fn a_share_of_the_most_uncertain_tokens_is_of_the_whole_step() {
    let dir = folder();
    let top = "loss: { beta: 0, entropy_mask: { kind: top, value: 0.3 } }";
    let (told, learnt) = run(dir.path(), &grpo(1, top), &["tokens_per_micro_batch=30"]);
    assert_eq!(told[0].get("micro_batches"), Some(1.0));
    let active = told[0].get("active_tokens").unwrap();
    assert!((0.2..0.45).contains(&active), "{active}");
    assert_eq!(moved(&learnt, &run(dir.path(), &grpo(1, top), &[]).1), None);
    let (cut, _) = run(dir.path(), &grpo(1, "loss: { beta: 0 }"), &["tokens_per_micro_batch=30"]);
    assert!(cut[0].get("micro_batches").unwrap() > 1.0);
}

#[test]
fn further_updates_from_one_set_of_completions_move_away_from_it() {
    let dir = folder();
    let ratio = |iterations: u64| {
        let (told, _) = run(dir.path(), &grpo(1, &format!("iterations: {iterations}")), &[]);
        told[0].get("ratio_max").unwrap() - told[0].get("ratio_min").unwrap()
    };
    assert!(ratio(1) < 1e-2 && ratio(2) > 0.1, "{} {}", ratio(1), ratio(2));
}

#[test]
fn every_run_says_how_far_the_trainer_is_from_the_sampler() {
    let dir = folder();
    for (more, overrides) in [
        ("", vec![]),
        ("iterations: 2", vec![]),
        ("advantages: { kind: reinforce }", vec![]),
        ("", vec!["lora={ rank: 2, alpha: 4, target_modules: [q_proj, down_proj] }", "optimizer.learning_rate=1e-2"]),
    ] {
        let (told, learnt) = run(dir.path(), &grpo(3, more), &overrides);
        // With an adapter it is the merged weights that sample: they say what the adapter beside its model says.
        assert!(told.iter().all(|row| row.get("sampler_kl").unwrap() < 1e-4), "{more} {overrides:?}: {told:?}");
        let changed = learnt.iter().filter(|(name, _)| name.ends_with("lora_B.weight"));
        assert!(changed.clone().count() == 0 || changed.clone().any(|(_, b)| b.abs().max().double_value(&[]) > 1e-3));
    }
}

#[test]
fn what_makes_room_changes_no_step() {
    let dir = folder();
    let learnt = |setting: &str| run(dir.path(), &grpo(2, "loss: { beta: 0.04 }"), &[setting]).1;
    let plain = learnt("seed=42");
    for setting in ["recompute=layers", "recompute=attention", "recompute=none", "optimizer.offload=true"] {
        assert_eq!(moved(&plain, &learnt(setting)), None, "{setting}");
    }
    assert!(moved(&plain, &learnt("optimizer.moments=blockwise_8bit")).is_some());
}
