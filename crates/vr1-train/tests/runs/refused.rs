//! What a recipe may not say, by its key.

use super::*;

const GRPO: &str = "{ kind: grpo, train: { kind: jsonl, path: train.jsonl }, prompts_per_step: 2, group_size: 2 }";
const SFT: &str = "{ kind: sft, documents_per_step: 2, documents: [{ source: { kind: jsonl, path: train.jsonl }, text: 'a', target: 'b' }] }";
const WRITTEN: &str = "{ kind: dpo, pairs_per_step: 2, pairs: { kind: written, source: { kind: jsonl, path: train.jsonl }, chosen: 'a', rejected: 'b' } }";
const SAMPLED: &str = "{ kind: dpo, pairs_per_step: 2, pairs: { kind: sampled, train: { kind: jsonl, path: train.jsonl }, group_size: 2 } }";
const KTO: &str = "{ kind: kto, path: judged.jsonl, answers_per_step: 2 }";

/// What is said of a recipe of `objective` with `setting`, which names its key and holds `words`.
fn refused(objective: &str, setting: &str, words: &str) {
    let dir = folder();
    let text = format!("steps: 4\nobjective: {objective}");
    assert!(read(dir.path(), &text, &[]).is_ok(), "{objective}");
    let error = read(dir.path(), &text, &[setting]).unwrap_err().to_string();
    let key = setting.split('=').next().unwrap();
    assert!(error.contains(key) && error.contains(words), "{setting}: {error}");
}

#[test]
fn what_a_step_sets_itself_is_not_a_recipes_to_say() {
    let own = "set by the step itself";
    refused(GRPO, "objective.loss.normalizer={ kind: global, tokens: 10, sequences: 2 }", own);
    refused(GRPO, "objective.loss.entropy_tokens=10", own);
    refused(SFT, "objective.loss.alignment=aligned", own);
    refused(SFT, "objective.loss.normalizer={ kind: global, tokens: 10 }", own);
    refused(KTO, "objective.loss.completions=4", own);
    refused(WRITTEN, "objective.loss={ kind: reference_free, loss: { kind: simpo }, whole: [4, 40] }", own);
    refused(GRPO, "objective.sampling.seed=3", "the run's own");
    refused(SAMPLED, "objective.pairs.sampling.seed=3", "the run's own");
}

#[test]
fn a_setting_that_would_do_nothing_is_refused() {
    refused(GRPO, "objective.advantages={ kind: group, group_of_one: raw_reward }", "no group is of one");
    refused(SFT, "reference={ kind: ema, decay: 0.9 }", "no loss compares");
    refused(
        GRPO.replace("group_size: 2", "group_size: 2, loss: { beta: 0 }").as_str(),
        "reference={ kind: ema, decay: 0.9 }",
        "no loss compares",
    );
    refused(GRPO, "objective.advantages={ kind: per_reward, weights: { accuracy: 1 }, epsilonn: 1 }", "epsilonn");
    let kl = GRPO.replace("group_size: 2", "group_size: 2, advantages: { kind: per_reward, weights: { accuracy: 1 } }");
    refused(&kl, "objective.kl_in_reward=0.1", "no place");
    let each = GRPO.replace("group_size: 2", "group_size: 2, advantages: { kind: reinforce }");
    refused(&each, "objective.refill_rounds=1", "teach something");
    let mixture = "objective.loss={ kind: dpo, SETTING, losses: [{ weight: 1, loss: { kind: nca } }, { weight: 1, loss: { kind: sppo } }] }";
    refused(WRITTEN, &mixture.replace("SETTING", "label_smoothing: 0.1"), "label_smoothing");
    refused(WRITTEN, &mixture.replace("SETTING", "divergence: { kind: forward_kl }"), "divergence");
    refused(GRPO, "keep_best=held_out/accuracy", "evaluation.every_steps");
}

#[test]
fn a_value_out_of_its_range_is_refused() {
    for zero in
        ["prompts_per_step=0", "group_size=0", "group_size=1", "iterations=0", "sampling.max_completion_tokens=0"]
    {
        let dir = folder();
        let setting = format!("objective.{zero}");
        let error = read(dir.path(), &format!("steps: 4\nobjective: {GRPO}"), &[&setting]).unwrap_err().to_string();
        assert!(error.contains(zero.split('=').next().unwrap().rsplit('.').next().unwrap()), "{error}");
    }
    refused(GRPO, "objective.kl_in_reward=-1", "0 or more");
    refused(GRPO, "objective.advantages={ kind: per_reward, weights: { accuracy: .inf } }", "finite");
    for none in ["0", "-1", ".inf"] {
        refused(GRPO, &format!("rollout.memory_gb={none}"), "above 0 and finite");
    }
    refused(GRPO, "objective.advantages={ kind: per_reward, weights: {} }", "at least one term");
    refused(WRITTEN, "objective.rounds=5", "from 1 to the 4 steps");
    refused(WRITTEN, "objective.rounds=0", "from 1 to the 4 steps");
    refused(WRITTEN, "objective.length_desensitisation=1.5", "[0, 1]");
    refused(SAMPLED, "objective.pairs.group_size=1", "at least 2");
    refused(SAMPLED, "objective.pairs.margin=-1", "0 or more");
    let exo = "objective.loss={ kind: dpo, losses: [{ weight: 1, loss: { kind: sigmoid } }, { weight: 1, loss: { kind: exo } }] }";
    refused(WRITTEN, exo, "EXO");
    refused(WRITTEN, "objective.loss={ kind: dpo, losses: [{ weight: .nan, loss: { kind: sigmoid } }] }", "finite");
    refused(SFT, "evaluation.max_completion_tokens=0", "at least 1");
    refused(SFT, "reference={ kind: ema, decay: 1.5 }", "");
}

#[test]
fn a_weight_is_a_number_above_0() {
    for weight in ["0", ".nan", "-1", ".inf"] {
        let sources =
            format!("objective.sources=[{{ weight: {weight}, source: {{ kind: jsonl, path: train.jsonl }} }}]");
        let none = GRPO.replace(
            "train: { kind: jsonl, path: train.jsonl }",
            "sources: [{ source: { kind: jsonl, path: train.jsonl } }]",
        );
        refused(&none, &sources, "above 0 and finite");
        let document =
            format!("{{ weight: {weight}, source: {{ kind: jsonl, path: train.jsonl }}, text: a, target: b }}");
        refused(SFT, &format!("objective.documents=[{document}]"), "above 0 and finite");
    }
}

#[test]
fn a_recipe_has_one_objective_or_stages() {
    let dir = folder();
    let said = |text: &str| read(dir.path(), text, &[]).unwrap_err().to_string();
    let stages = format!("stages: [{{ steps: 1, objective: {SFT} }}]\n");
    assert!(said("steps: 3\n").contains("objective"));
    assert!(said(&format!("objective: {SFT}\n")).contains("steps"));
    assert!(said(&format!("{stages}objective: {SFT}\n")).contains("each of them"));
    assert!(said(&format!("{stages}steps: 3\n")).contains("each of them"));
    let late = format!("stages: [{{ steps: 1, objective: {SFT} }}, {{ steps: 0, objective: {SFT} }}]");
    assert!(said(&late).contains("stages.1.steps"), "{}", said(&late));
    let own = format!("stages: [{{ steps: 1, objective: {SFT}, optimizer: {{ learning_rate: -1 }} }}]");
    assert!(said(&own).contains("stages.0.optimizer"), "{}", said(&own));
    let idle = format!("stages: [{{ steps: 1, objective: {SFT}, reference: {{ kind: ema, decay: 0.5 }} }}]");
    assert!(said(&idle).contains("stages.0.reference"), "{}", said(&idle));
}

/// More than any machine has memory or anyone time for: none of it is begun.
#[test]
fn numbers_beyond_all_bounds_are_refused_where_they_stand() {
    for huge in ["65537000", "4294967298", "1000000000000", "9223372036854775807"] {
        for key in ["group_size", "prompts_per_step", "iterations", "refill_rounds", "sampling.max_completion_tokens"] {
            refused(GRPO, &format!("objective.{key}={huge}"), "must be at most");
        }
        let stage = format!("objective.sources=[{{ source: {{ kind: jsonl, path: train.jsonl }}, stage: {huge} }}]");
        let sources = GRPO.replace(
            "train: { kind: jsonl, path: train.jsonl }",
            "sources: [{ source: { kind: jsonl, path: train.jsonl } }]",
        );
        refused(&sources, &stage, "must be below");
        refused(SFT, &format!("objective.documents_per_step={huge}"), "must be at most");
        refused(SFT, &format!("evaluation.stage_beams={huge}"), "must be at most");
        refused(WRITTEN, &format!("objective.pairs_per_step={huge}"), "must be at most");
        refused(SAMPLED, &format!("objective.pairs.group_size={huge}"), "must be at most");
        refused(KTO, &format!("objective.answers_per_step={huge}"), "must be at most");
        refused(GRPO, &format!("lora={{ rank: {huge}, alpha: 8 }}"), "is not between 1 and");
        if huge.len() > 9 {
            refused(GRPO, &format!("steps={huge}"), "must be at most");
            refused(GRPO, &format!("evaluation.samples={huge}"), "must be at most");
            let scenes = format!("{{ kind: scenes, task: spatial, split: train, samples: {huge} }}");
            refused(GRPO, &format!("objective.train={scenes}"), "must be at most");
            refused(GRPO, &format!("evaluation.sets={{ held_out: {scenes} }}"), "must be at most");
        }
    }
    refused(
        GRPO,
        "objective={ kind: grpo, train: { kind: jsonl, path: train.jsonl }, prompts_per_step: 1000000, group_size: 60000 }",
        "completions a step",
    );
    for key in ["learning_rate", "weight_decay", "epsilon"] {
        refused(GRPO, &format!("optimizer.{key}=.inf"), "finite");
        refused(GRPO, &format!("optimizer.{key}=.nan"), "finite");
    }
}

#[test]
fn a_recipe_made_in_code_is_looked_at_too() {
    let dir = folder();
    let mut recipe = recipe(dir.path(), &format!("steps: 4\nobjective: {GRPO}"));
    recipe.steps = Some(0);
    let error = Trainer::new(recipe, options(&dir.path().join("run"))).unwrap_err().to_string();
    assert!(error.contains("`steps` must be at least 1"), "{error}");
}

#[test]
fn weights_of_half_precision_are_not_trained() {
    let dir = folder();
    let recipe = recipe(dir.path(), &format!("steps: 4\nobjective: {GRPO}"));
    let half = RunOptions { kind: tch::Kind::Half, ..options(&dir.path().join("run")) };
    let error = Trainer::new(recipe, half).unwrap_err().to_string();
    assert!(error.contains("f16 weights are not trained") && error.contains("bf16"), "{error}");
    assert!(!dir.path().join("run").exists());
}
