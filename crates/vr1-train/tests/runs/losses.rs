//! Every loss of pairs by its name in a recipe.

use super::*;

const LOSSES: [&str; 16] = [
    "sigmoid",
    "sigmoid_norm",
    "hinge",
    "ipo",
    "exo",
    "nca",
    "robust",
    "bco",
    "sppo",
    "aot",
    "aot_unpaired",
    "apo_zero",
    "apo_down",
    "discopop",
    "chosen_nll",
    "chosen_nll_per_pair",
];

fn text(loss: &str) -> String {
    format!(
        "
steps: 2
objective:
  kind: dpo
  pairs_per_step: 3
  pairs:
    kind: written
    source: {{ kind: jsonl, path: train.jsonl }}
    chosen: '{{{{ solution }}}}'
    rejected: 'The answer is no {{{{ solution }}}}.'
  loss: {loss}"
    )
}

/// The second step's numbers, and its weights.
fn second(dir: &Path, loss: &str, rate: f64) -> (StepMetrics, BTreeMap<String, Tensor>) {
    let recipe = read(dir, &text(loss), &[&format!("optimizer.learning_rate={rate}")]).unwrap();
    let out = tempfile::tempdir().unwrap();
    let mut run = trainer(&recipe, &out.path().join("run"));
    let told = steps(&mut run, 2).remove(1);
    (told, weights(run.model()))
}

/// No two of these losses make the same weights, and each has a gradient.
fn all_differ(losses: &[String], rate: f64) {
    let dir = folder();
    let made: Vec<_> = losses.iter().map(|loss| second(dir.path(), loss, rate)).collect();
    for (i, (told, learnt)) in made.iter().enumerate() {
        let norm = told.get("grad_norm").unwrap();
        assert!(norm.is_finite() && norm > 0.0 && told.get("loss").unwrap().is_finite(), "{}: {told:?}", losses[i]);
        for (j, (_, other)) in made.iter().enumerate().take(i) {
            assert!(moved(learnt, other).is_some(), "{} and {} teach the same", losses[i], losses[j]);
        }
    }
}

#[test]
fn each_loss_of_pairs_is_a_name_in_a_recipe_and_teaches_something_of_its_own() {
    let loss = |name: &str| {
        let smoothing = if ["exo", "robust"].contains(&name) { 0.1 } else { 0.0 };
        format!("{{ kind: dpo, label_smoothing: {smoothing}, losses: [{{ weight: 1, loss: {{ kind: {name} }} }}] }}")
    };
    all_differ(&LOSSES.map(loss), 1e-3);
}

#[test]
fn mixtures_divergences_and_losses_without_a_reference_too() {
    let mixture = |weight: f64| {
        format!(
            "{{ kind: dpo, losses: [{{ weight: 0.8, loss: {{ kind: sigmoid }} }}, {{ weight: 0.2, loss: {{ kind: bco }} }}, \
             {{ weight: {weight}, loss: {{ kind: chosen_nll }} }}] }}"
        )
    };
    let diverging = |divergence: &str| format!("{{ kind: dpo, divergence: {divergence} }}");
    let free = |loss: &str| format!("{{ kind: reference_free, loss: {loss} }}");
    let losses = [
        "{ kind: dpo }".to_owned(),
        "{ kind: dpo, beta: 0.5 }".to_owned(),
        "{ kind: dpo, label_smoothing: 0.2 }".to_owned(),
        mixture(1.0),
        mixture(0.5),
        diverging("{ kind: forward_kl }"),
        diverging("{ kind: jensen_shannon }"),
        diverging("{ kind: alpha, alpha: 0.5 }"),
        free("{ kind: simpo }"),
        free("{ kind: simpo, gamma: 0.25 }"),
        free("{ kind: orpo }"),
        free("{ kind: cpo }"),
        free("{ kind: hinge }"),
        free("{ kind: ipo }"),
    ];
    // Small steps: the score of a divergence grows without bound.
    all_differ(&losses, 2e-5);
}

#[test]
fn tokens_beyond_the_shorter_answer_count_as_they_are_told_to() {
    let dir = folder();
    let with = |share: f64| {
        let recipe = recipe(dir.path(), &format!("{}\n  length_desensitisation: {share}", text("{ kind: dpo }")));
        let out = tempfile::tempdir().unwrap();
        let mut run = trainer(&recipe, &out.path().join("run"));
        steps(&mut run, 2);
        weights(run.model())
    };
    let (all, half, none) = (with(1.0), with(0.5), with(0.0));
    assert!(moved(&all, &half).is_some() && moved(&half, &none).is_some());
}

#[test]
fn losses_that_sort_the_pairs_take_a_step_whole_and_others_may_be_cut() {
    let dir = folder();
    let parts = |name: &str| {
        let loss = format!("{{ kind: dpo, losses: [{{ weight: 1, loss: {{ kind: {name} }} }}] }}");
        let recipe = read(dir.path(), &text(&loss), &["tokens_per_micro_batch=40"]).unwrap();
        let out = tempfile::tempdir().unwrap();
        steps(&mut trainer(&recipe, &out.path().join("run")), 1)[0].get("micro_batches").unwrap()
    };
    assert_eq!((parts("aot"), parts("aot_unpaired")), (1.0, 1.0));
    assert!(parts("sigmoid") > 1.0);
}
