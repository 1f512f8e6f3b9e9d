//! Whether answers come of what is shown.

use super::*;

/// A step of the embedded model, which was taught to look, on scenes.
fn step_on(source: &str, grounding: &str) -> (StepMetrics, BTreeMap<String, Tensor>) {
    let dir = folder();
    let text = format!(
        "
steps: 1
objective:
  kind: grpo
  train: {source}
  prompts_per_step: 4
  group_size: 4
  sampling: {{ max_completion_tokens: 24 }}
  loss: {{ beta: 0 }}
  {grounding}"
    );
    let reward = "reward={ terms: { accuracy: 'exact(answer, solution)' }, total: accuracy }";
    let prompt = "prompt={ layout: raw, text: '{{ question }}', prefill: '<answer>' }";
    let recipe = read(dir.path(), &text, &[reward, prompt]).unwrap();
    let mut run = trainer(&recipe, &dir.path().join("run"));
    let told = steps(&mut run, 1).remove(0);
    (told, weights(run.model()))
}

const SCENES: &str = "{ kind: scenes, task: spatial, split: train }";
const LOOKS: &str = "grounding: { every_steps: 1, prompts: 4 }";

#[test]
fn answers_of_a_model_that_looks_are_likelier_with_their_own_picture() {
    let (told, looked) = step_on(SCENES, LOOKS);
    for name in ["grounding/logprob_blank", "grounding/logprob_swapped"] {
        assert!(told.get(name).unwrap() > 0.0, "{name}: {told:?}");
    }
    for name in ["grounding/reward_blank", "grounding/reward_swapped"] {
        assert!((-1.0..=1.0).contains(&told.get(name).unwrap()), "{name}: {told:?}");
    }
    let (never, unlooked) = step_on(SCENES, "");
    assert!(!never.values.keys().any(|name| name.starts_with("grounding")), "{never:?}");
    assert_eq!(moved(&looked, &unlooked), None, "looking changes nothing of what is learnt");
}

#[test]
fn where_nothing_is_shown_there_is_nothing_to_come_of_it() {
    let (told, _) = step_on("{ kind: jsonl, path: train.jsonl }", LOOKS);
    assert!(!told.values.keys().any(|name| name.starts_with("grounding")), "{told:?}");
}
