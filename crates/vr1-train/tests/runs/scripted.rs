//! Steps whose completions are written beforehand: what is refilled, masked and corrected.

use std::cell::RefCell;
use std::rc::Rc;

use vr1_rollout::{Request, SampleKey, Scripted};

use super::*;

const END: &str = "<|im_end|>";

pub(crate) fn grpo(steps: u64, more: &str) -> String {
    format!(
        "
steps: {steps}
objective:
  kind: grpo
  train: {{ kind: jsonl, path: train.jsonl }}
  prompts_per_step: 4
  group_size: 2
  sampling: {{ max_completion_tokens: 8 }}
  loss: {{ beta: 0 }}
  {more}"
    )
}

/// What the reward is: a number that the completion says itself.
pub(crate) const SAID: [&str; 1] =
    ["reward={ terms: { accuracy: 'to_number(first(words(completion)))' }, total: accuracy }"];

/// A run of `recipe` whose completions are what `answer` says.
pub(crate) fn scripted(
    recipe: &Recipe,
    out: &Path,
    answer: impl FnMut(&Request, usize) -> Option<String> + 'static,
) -> Trainer {
    let mut run = trainer(recipe, out);
    let engine = Scripted::new(run.processor().tokenizer().clone(), answer);
    run.set_engine(Box::new(engine)).unwrap();
    run
}

/// The samples of a step's rollouts, one of each group.
fn asked(out: &Path, step: u64) -> Vec<String> {
    let text = rows_of(out, step);
    let sample =
        |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["sample"].as_str().unwrap().to_owned();
    text.lines().map(sample).step_by(2).collect()
}

#[test]
fn groups_of_equals_are_replaced_by_groups_that_teach() {
    let dir = folder();
    // Of every second sample both answers are equally good.
    let answer = |request: &Request, completion: usize| {
        let equal = request.key.index.is_multiple_of(2);
        Some(format!("{}{END}", if equal { 1 } else { completion }))
    };
    let shares = |rounds: u64| {
        let recipe = read(dir.path(), &grpo(1, &format!("refill_rounds: {rounds}")), &SAID).unwrap();
        let out = tempfile::tempdir().unwrap();
        let mut run = scripted(&recipe, &out.path().join("run"), answer);
        let told = steps(&mut run, 1).remove(0);
        (told.get("groups_of_equals").unwrap(), told.get("refill_rounds"), asked(&out.path().join("run"), 1))
    };
    let (none, some) = (shares(0), shares(8));
    assert!(none.0 > 0.0 && none.1.is_none(), "{none:?}");
    assert_eq!(some.0, 0.0, "{some:?}");
    assert!(some.1.unwrap() >= 1.0 && some.1.unwrap() < 8.0, "it stops when there are enough: {some:?}");
    // Those that taught are kept in their places.
    let kept = none.2.iter().zip(&some.2).filter(|(before, after)| before == after).count();
    assert_eq!(kept as f64, 4.0 * (1.0 - none.0));
}

#[test]
fn refilling_comes_to_an_end_where_nothing_teaches() {
    let dir = folder();
    let asked = Rc::new(RefCell::new(Vec::<SampleKey>::new()));
    let heard = asked.clone();
    let recipe = read(dir.path(), &grpo(1, "refill_rounds: 2"), &SAID).unwrap();
    let mut run = scripted(&recipe, &dir.path().join("run"), move |request, completion| {
        heard.borrow_mut().extend((completion == 0).then_some(request.key));
        Some(format!("1{END}"))
    });
    let begun = weights(run.model());
    let told = steps(&mut run, 1).remove(0);
    assert_eq!((told.get("refill_rounds"), told.get("groups_of_equals")), (Some(2.0), Some(1.0)));
    assert_eq!(asked.borrow().len(), 4 * 3, "the step's own and two rounds");
    let mut once = asked.borrow().clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), 12, "each asks after others");
    assert_eq!(moved(&begun, &weights(run.model())), None, "equal rewards teach nothing");
}

#[test]
fn a_group_whose_terms_differ_teaches_although_its_totals_do_not() {
    let dir = folder();
    let reward = "reward={ terms: { accuracy: 'to_number(words(completion)[0])', form: 'to_number(words(completion)[1])' }, total: accuracy + form }";
    let more = "refill_rounds: 1\n  advantages: { kind: per_reward, weights: { accuracy: 1, form: 2 } }";
    let recipe = read(dir.path(), &grpo(1, more), &[reward]).unwrap();
    let answer = |_: &Request, completion: usize| Some(format!("{} {}{END}", completion, 1 - completion));
    let mut run = scripted(&recipe, &dir.path().join("run"), answer);
    let begun = weights(run.model());
    let told = steps(&mut run, 1).remove(0);
    assert_eq!((told.get("refill_rounds"), told.get("groups_of_equals")), (Some(0.0), Some(1.0)));
    assert!(moved(&begun, &weights(run.model())).is_some());
}

#[test]
fn nothing_is_learnt_from_what_had_no_more_room_where_it_is_masked() {
    let dir = folder();
    // The second answer of each group does not come to an end.
    let learnt = |truncated: &str, rest: &'static str, reward: &str| {
        // Without a ratio: a script is more certain of its tokens than any model.
        let overrides = [SAID[0], PROPORTIONAL, "objective.loss.objective={ kind: reinforce }"];
        let recipe = read(dir.path(), &grpo(1, &format!("truncated: {truncated}")), &overrides).unwrap();
        let out = tempfile::tempdir().unwrap();
        let bad = reward.to_owned();
        let mut run = scripted(&recipe, &out.path().join("run"), move |_, completion| {
            Some(if completion == 0 { format!("1{END}") } else { format!("{bad} {rest}") })
        });
        steps(&mut run, 1);
        weights(run.model())
    };
    let begun = weights(trainer(&read(dir.path(), &grpo(1, ""), &[]).unwrap(), &dir.path().join("run")).model());
    let masked = learnt("masked", "red", "0");
    let step = distance(&begun, &masked);
    assert!(step > 0.0 && distance(&masked, &learnt("masked", "blue green", "0")) < 1e-3 * step);
    let trained = learnt("trained", "red", "0");
    assert!(distance(&trained, &learnt("trained", "blue green", "0")) > 0.1 * step);
    assert!(distance(&masked, &trained) > 0.1 * step);
    // It counts in its group: where it is the better one, what is learnt from goes the other way.
    assert!(distance(&masked, &learnt("masked", "red", "2")) > 1.5 * step);
}

#[test]
fn a_step_whose_answers_all_had_no_more_room_learns_nothing_and_the_run_goes_on() {
    let dir = folder();
    let recipe = read(dir.path(), &grpo(2, "truncated: masked"), &SAID).unwrap();
    let mut run = scripted(&recipe, &dir.path().join("run"), |_, completion| Some(format!("{completion} and on")));
    let begun = weights(run.model());
    let told = steps(&mut run, 2);
    assert!(told.iter().all(|row| row.get("idle") == Some(1.0) && row.get("finished") == Some(0.0)), "{told:?}");
    assert_eq!(moved(&begun, &weights(run.model())), None);
}

#[test]
fn what_the_sampler_thought_of_a_token_is_corrected_for_in_each_way() {
    let dir = folder();
    // A script is certain of its tokens, so the ratio of model to sampler is the model's own probability.
    let learnt = |loss: &str| {
        let recipe = read(dir.path(), &grpo(1, ""), &[SAID[0], &format!("objective.loss={loss}")]).unwrap();
        let out = tempfile::tempdir().unwrap();
        let answer = |_: &Request, completion: usize| Some(format!("{completion} red{END}"));
        let mut run = scripted(&recipe, &out.path().join("run"), answer);
        let told = steps(&mut run, 1).remove(0);
        (told, weights(run.model()))
    };
    let corrected =
        |kind: &str, bounds: &str| learnt(&format!("{{ beta: 0, sampler_correction: {{ kind: {kind}, {bounds} }} }}"));
    let made = [
        ("none", learnt("{ beta: 0 }")),
        ("token_truncate", corrected("token_truncate", "max: 0.01")),
        ("token_truncate from below", corrected("token_truncate", "min: 0.001, max: 3")),
        ("token_mask", corrected("token_mask", "max: 0.01")),
        ("sequence_truncate", corrected("sequence_truncate", "min: 1.0e-6, max: 3")),
        ("sequence_mask", corrected("sequence_mask", "min: 1.0e-9, max: 3")),
    ];
    for (i, (name, (told, learnt))) in made.iter().enumerate() {
        assert!(told.get("sampler_kl").unwrap() > 0.1, "{name}: {told:?}");
        for (other, (_, weights)) in &made[..i] {
            assert!(moved(weights, learnt).is_some(), "{name} teaches the same as {other}");
        }
    }
    let begun = weights(trainer(&read(dir.path(), &grpo(1, ""), &SAID).unwrap(), &dir.path().join("run")).model());
    let (_, nothing) = corrected("sequence_mask", "min: 0.999, max: 1");
    assert_eq!(moved(&begun, &nothing), None, "what is masked is not learnt from");
}
