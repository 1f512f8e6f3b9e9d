//! How far bf16 is off, by every path, against what f32 makes of the same weights.
//!
//! Each bound is a ratio of two errors that this run finds on this machine, over many models: which kernels a machine has,
//! and in which order they sum, decides on any single number.

use std::sync::{Arc, LazyLock};

use tch::{Kind, Tensor};
use vr1_nn::GrowingCache;
use vr1_processor::Prompt;
use vr1_rollout::{Group, SampleKey, uniform};
use vr1_vlm::{Backbone, Model};

use crate::checkpoints::{checkpoints, group, logprobs, of_prompt, scored};

/// Models that each checkpoint's weights are varied to.
const VARIATIONS: usize = 4;

/// Half the distance from 1 to the next number in bf16: what rounding moves a number by, at most and relative to it.
const ROUNDING: f64 = 1.0 / 256.0;

/// Completions of unequal length after each prompt.
fn groups(prompts: &[&Prompt]) -> Vec<Group> {
    let one = |(index, prompt): (usize, &&Prompt)| {
        let id = |completion, position| {
            let key = SampleKey { index: index as u64, ..SampleKey::default() };
            (uniform(7, key, completion, position) * 300.0) as i64
        };
        let ids = [9, 2, 5, 12].into_iter().enumerate();
        let ids: Vec<Vec<i64>> = ids.map(|(i, length)| (0..length).map(|p| id(i, p)).collect()).collect();
        group(&Arc::new((*prompt).clone()), &ids.iter().map(Vec::as_slice).collect::<Vec<_>>())
    };
    prompts.iter().enumerate().map(one).collect()
}

/// Each completion of a group in one pass over prompt and completion.
fn whole(model: &Model, group: &Group) -> Vec<Vec<f32>> {
    let one = |tail: &Prompt| of_prompt(model, &group.prompt().followed_by(tail)).split_off(group.prompt().len() - 1);
    group.sequences().iter().map(|sequence| one(sequence.tail())).collect()
}

/// Each completion of a group token by token behind the prompt's cached keys and values.
fn cached(model: &Model, group: &Group) -> Vec<Vec<f32>> {
    let sequences = group.sequences();
    let longest = sequences.iter().map(|sequence| sequence.ids().len()).max().unwrap();
    let (hidden, prefix) = model.prefill(&[group.prompt()]).unwrap();
    let mut cache = GrowingCache::new(&prefix, sequences.len() as i64, longest as i64);
    let mut last = hidden.repeat([sequences.len() as i64, 1]);
    let mut found = vec![Vec::new(); sequences.len()];
    for position in 0..longest {
        let next: Vec<i64> = sequences.iter().map(|s| s.ids()[position.min(s.ids().len() - 1)]).collect();
        for (row, logprob) in logprobs(model, &last, &next).into_iter().enumerate() {
            found[row].extend((position < sequences[row].ids().len()).then_some(logprob));
        }
        last = model.step(&prefix, &mut cache, &Tensor::from_slice(&next));
    }
    found
}

/// Multiplies every number of a model by another one that is up to `by` from 1.
fn vary(model: &Model, by: f64) {
    for (_, tensor) in model.parameters().iter() {
        let factor = (tensor.rand_like() * 2.0 - 1.0) * by + 1.0;
        let _ = tensor.shallow_clone().g_mul_(&factor);
    }
}

fn rms(found: &[Vec<f32>], truth: &[Vec<f32>]) -> f64 {
    let (found, truth) = (found.concat(), truth.concat());
    assert_eq!(found.len(), truth.len());
    let squares = found.iter().zip(&truth).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>();
    (squares / truth.len() as f64).sqrt()
}

/// Errors in bf16 as a ratio, the geometric mean over all models.
struct Ratios {
    /// Of whole sequences, over the error that f32 makes once every weight was moved by a rounding at random.
    whole: f64,
    /// Of groups in one batch, over that of whole sequences.
    shared: f64,
    /// Of tokens one by one behind a cache, over that of whole sequences.
    cached: f64,
}

static RATIOS: LazyLock<Ratios> = LazyLock::new(|| {
    tch::manual_seed(1);
    let mut logs: Vec<[f64; 3]> = Vec::new();
    for checkpoint in checkpoints() {
        let groups = groups(&checkpoint.prompts());
        let all = |model: &Model, by: fn(&Model, &Group) -> Vec<Vec<f32>>| -> Vec<Vec<f32>> {
            groups.iter().flat_map(|group| by(model, group)).collect()
        };
        let [wide, moved] = [0, 1].map(|_| checkpoint.model(Kind::Float));
        let narrow = checkpoint.model(Kind::BFloat16);
        for _ in 0..VARIATIONS {
            vary(&wide, 0.2);
            narrow.parameters().copy_from(wide.parameters()).unwrap();
            wide.parameters().copy_from(narrow.parameters()).unwrap();
            moved.parameters().copy_from(wide.parameters()).unwrap();
            vary(&moved, ROUNDING);
            let truth = all(&wide, whole);
            let off = rms(&all(&narrow, whole), &truth);
            let together = scored(&narrow, &groups);
            let logs_of = [
                off / rms(&all(&moved, whole), &truth),
                rms(&together, &truth) / off,
                rms(&all(&narrow, cached), &truth) / off,
            ];
            println!("{}: {off:.4}, ratios {logs_of:.3?}", checkpoint.name);
            logs.push(logs_of.map(f64::ln));
        }
    }
    let mean = |i: usize| (logs.iter().map(|logs| logs[i]).sum::<f64>() / logs.len() as f64).exp();
    let ratios = Ratios { whole: mean(0), shared: mean(1), cached: mean(2) };
    println!("of {} models {:.3}, {:.3} and {:.3}", logs.len(), ratios.whole, ratios.shared, ratios.cached);
    ratios
});

/// Norms in bf16 would make it 1.33, angles of the rotary embedding in bf16 2.4.
#[test]
fn bf16_is_as_far_off_as_weights_that_are_rounded_once_more() {
    let ratio = RATIOS.whole;
    assert!((0.5..1.2).contains(&ratio), "{ratio:.3} times the error that moving every weight by a rounding makes");
}

#[test]
fn completions_of_a_shared_prompt_are_as_exact_in_bf16_as_the_whole() {
    let ratio = RATIOS.shared;
    assert!((0.5..1.2).contains(&ratio), "{ratio:.3} times the error of whole sequences");
}

#[test]
fn tokens_behind_a_cache_are_as_exact_in_bf16_as_the_whole() {
    let ratio = RATIOS.cached;
    assert!((0.5..1.2).contains(&ratio), "{ratio:.3} times the error of whole sequences");
}
