//! Every family against transformers, on random checkpoints in every form that they come in: fixtures/families/generate.py.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod checkpoints;

use checkpoints::{checkpoints, logprobs, processor, processor_with, slope, whole, worst};
use tch::{Device, Kind, Tensor};
use vr1_data::Picture;
use vr1_nn::GrowingCache;
use vr1_processor::ImageProcessor;
use vr1_processor::{Layout, Message, PromptRequest};
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
fn completions_of_a_shared_prompt_are_as_exact_in_bf16_as_the_whole() {
    for checkpoint in checkpoints() {
        let model = checkpoint.model(Kind::BFloat16);
        for (case, prompt) in &checkpoint.cases {
            let batch = model.embed(&[prompt]).unwrap();
            let (hidden, prefix) = model.prefill(&batch);
            let completion = Tensor::from_slice(&case.completion);
            let all_but_last = completion.narrow(0, 0, completion.size()[0] - 1).unsqueeze(0).repeat([2, 1]);
            let states = model.complete(&batch, &prefix, &all_but_last);
            let states = Tensor::cat(&[hidden.get(0).narrow(0, -1, 1), states.get(1)], 0);
            let found = logprobs(&model, &states, &case.completion);
            let error = worst(&found, &whole(&model, case, prompt)[case.prompt - 1..]);
            println!("{} {}: {error}; bf16 itself is {} off", checkpoint.name, case.name, case.bf16_error);
            assert!(error < 0.5 * case.bf16_error, "{} {}: {error}", checkpoint.name, case.name);
        }
    }
}

#[test]
fn padding_changes_no_logprob() {
    for checkpoint in checkpoints() {
        let model = checkpoint.model(Kind::Float);
        // Padded by the longest prompt, and by one that is longer still.
        let filler = checkpoint.cases[0].1.extend(&[40; 90], "").unwrap();
        let mut prompts = checkpoint.prompts();
        prompts.push(&filler);
        let (batch, _) = model.prefill(&model.embed(&prompts).unwrap());
        for (row, prompt) in prompts.iter().enumerate() {
            let length = prompt.len() as i64;
            let (alone, _) = model.prefill(&model.embed(&[prompt]).unwrap());
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
        let batch = model.embed(&checkpoint.prompts()).unwrap();
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
            let batch = model.embed(&[prompt]).unwrap();
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

#[test]
fn a_prompt_of_another_models_processor_is_refused() {
    let all = checkpoints();
    let [blind, seeing] = ["llama_1", "qwen2_vl_1"]
        .map(|name| all.iter().find(|checkpoint| checkpoint.name == name).unwrap().model(Kind::Float));
    let messages = [Message::user([Picture::from(slope(56, 56))], "What is it?")];
    let request = PromptRequest { sample: "s1", messages: &messages, layout: Layout::Chat, prefill: "" };
    let prompt = processor().prompt(&request).unwrap();
    assert!(seeing.embed(&[&prompt]).is_ok());
    let error = blind.embed(&[&prompt]).unwrap_err().to_string();
    assert!(error.contains("media (1) in `s1`, but no vision tower"), "{error}");

    let finer = processor_with(|images| ImageProcessor { patch_size: 7, ..images }).prompt(&request).unwrap();
    let error = seeing.embed(&[&finer]).unwrap_err().to_string();
    assert!(error.contains("patches of 294 values in `s1`, but 4 patches of 1176 values a token"), "{error}");
    let wider = processor_with(|images| ImageProcessor { merge_size: 4, ..images }).prompt(&request).unwrap();
    let error = seeing.embed(&[&wider]).unwrap_err().to_string();
    assert!(error.contains("1 tokens, 16 patches of 1176 values"), "{error}");

    let beyond = prompt.extend(&[1_000_000], "").unwrap();
    let error = seeing.embed(&[&beyond]).unwrap_err().to_string();
    assert!(error.contains("the id 1000000 in `s1`, but `vocab_size`"), "{error}");
}
