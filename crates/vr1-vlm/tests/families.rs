//! Every family against transformers, on random checkpoints in every form that they come in: fixtures/families/generate.py.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod checkpoints;

use checkpoints::{checkpoints, logprobs, processor, whole, worst};
use tch::{Device, Kind, Tensor};
use vr1_nn::GrowingCache;
use vr1_vlm::Model;

#[test]
fn logprobs_are_those_of_transformers() {
    for checkpoint in checkpoints() {
        let model = checkpoint.model(Kind::Float);
        for (case, prompt) in &checkpoint.cases {
            let error = worst(&whole(&model, case, prompt), &case.logprobs);
            println!("{} {}: {error:e}", checkpoint.name, case.name);
            assert!(error < 1e-3, "{} {}: {error}", checkpoint.name, case.name);
        }
    }
}

#[test]
fn bf16_is_no_further_from_f32_than_in_transformers() {
    // A single case may round unluckily on either side; over all of a family's cases that evens out.
    let (mut ours, mut theirs) = (0.0, 0.0);
    for checkpoint in checkpoints() {
        let model = checkpoint.model(Kind::BFloat16);
        for (case, prompt) in &checkpoint.cases {
            let error = worst(&whole(&model, case, prompt), &case.logprobs);
            println!("{} {}: {error} here, {} in transformers", checkpoint.name, case.name, case.bf16_error);
            assert!(error < 2.0 * case.bf16_error, "{} {}: {error}", checkpoint.name, case.name);
            ours += error;
            theirs += case.bf16_error;
        }
    }
    println!("in all {ours} here, {theirs} in transformers");
    assert!(ours < 1.1 * theirs, "{ours} here, {theirs} in transformers");
}

#[test]
fn padding_changes_no_logprob() {
    for checkpoint in checkpoints() {
        let model = checkpoint.model(Kind::Float);
        // Padded by the longest prompt, and by one that is longer still.
        let filler = checkpoint.cases[0].1.extend(&[40; 90], "").unwrap();
        let mut prompts = checkpoint.prompts();
        prompts.push(&filler);
        let (batch, _) = model.prefill(&model.embed(&prompts));
        for (row, prompt) in prompts.iter().enumerate() {
            let length = prompt.len() as i64;
            let (alone, _) = model.prefill(&model.embed(&[prompt]));
            let states = batch.get(row as i64).narrow(0, -length, length);
            let logits = |hidden: &Tensor| model.logits(hidden).log_softmax(-1, Kind::Float);
            let error = (logits(&states) - logits(&alone.squeeze_dim(0))).abs().max().double_value(&[]);
            assert!(error < 1e-4, "{} row {row}: {error}", checkpoint.name);
        }
    }
}

#[test]
fn decoding_with_a_cache_changes_no_logprob() {
    for checkpoint in checkpoints() {
        let model = checkpoint.model(Kind::Float);
        let batch = model.embed(&checkpoint.prompts());
        let (hidden, prefix) = model.prefill(&batch);
        let mut cache = GrowingCache::new(&prefix, 1, 16);
        let mut last = hidden.select(1, -1);
        let uncached: Vec<Vec<f32>> =
            checkpoint.cases.iter().map(|(case, prompt)| whole(&model, case, prompt)).collect();
        for position in 0..checkpoint.cases[0].0.completion.len() {
            let next: Vec<i64> = checkpoint.cases.iter().map(|(case, _)| case.completion[position]).collect();
            let expected: Vec<f32> = checkpoint
                .cases
                .iter()
                .zip(&uncached)
                .map(|((case, _), logprobs)| logprobs[case.prompt - 1 + position])
                .collect();
            let error = worst(&logprobs(&model, &last, &next), &expected);
            assert!(error < 1e-4, "{} token {position}: {error}", checkpoint.name);
            last = model.step(&batch, &prefix, &mut cache, &Tensor::from_slice(&next));
        }
    }
}

#[test]
fn sixty_four_greedy_tokens_are_those_of_transformers() {
    let processor = processor();
    let media = Tensor::from_slice(&processor.tokenizer().media_ids());
    for checkpoint in checkpoints() {
        let model = checkpoint.model(Kind::Float);
        for (case, prompt) in &checkpoint.cases {
            let batch = model.embed(&[prompt]);
            let (hidden, prefix) = model.prefill(&batch);
            let mut cache = GrowingCache::new(&prefix, 1, 64);
            let (mut last, mut ids) = (hidden.select(1, -1), Vec::new());
            while ids.len() < 64 && !ids.last().is_some_and(|id| processor.tokenizer().eos().contains(id)) {
                let id = model.logits(&last).index_fill(-1, &media, f64::NEG_INFINITY).argmax(-1, false);
                ids.push(id.int64_value(&[0]));
                last = model.step(&batch, &prefix, &mut cache, &id);
            }
            assert_eq!(ids, case.greedy, "{} {}", checkpoint.name, case.name);
        }
    }
}

#[test]
fn what_is_saved_is_the_same_model() {
    for checkpoint in checkpoints() {
        let model = checkpoint.model(Kind::Float);
        let dir = tempfile::tempdir().unwrap();
        model.save(dir.path(), Kind::Float).unwrap();
        let again = Model::load(dir.path(), Device::Cpu, Kind::Float).unwrap();
        let (case, prompt) = checkpoint.cases.last().unwrap();
        assert_eq!(whole(&again, case, prompt), whole(&model, case, prompt), "{}", checkpoint.name);
    }
}
