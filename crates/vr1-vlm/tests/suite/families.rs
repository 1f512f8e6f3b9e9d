//! Every family against transformers, on random checkpoints in every form that they come in: fixtures/families/generate.py.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use tch::{Device, Kind, Tensor};
use vr1_data::Picture;
use vr1_nn::GrowingCache;
use vr1_processor::{ImageProcessor, Layout, Message, PromptRequest};
use vr1_vlm::{Backbone, Batch, Error, Model, ModelConfig, Piece};

use crate::checkpoints::{
    checkpoints, group, logprobs, picked, processor, processor_with, slope, states, whole, worst,
};

#[test]
fn every_family_has_a_checkpoint() {
    let unknown = serde_json::json!({ "model_type": "gpt2" });
    let error = ModelConfig::from_json(unknown.as_object().unwrap().clone(), Path::new("config.json")).unwrap_err();
    let error = error.to_string();
    let (_, known) = error.split_once("\"gpt2\" is not one of ").unwrap();
    let shown: Vec<String> =
        checkpoints().iter().map(|checkpoint| checkpoint.name.rsplit_once('_').unwrap().0.to_owned()).collect();
    let missing: Vec<&str> = known.split(", ").filter(|family| !shown.iter().any(|name| name == family)).collect();
    assert!(missing.is_empty(), "no checkpoint of {missing:?}");
}

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

/// Of every parameter, tied or not, and none of what a prompt does not touch.
#[test]
fn gradients_are_those_of_transformers() {
    for checkpoint in checkpoints() {
        let model = checkpoint.model(Kind::Float);
        let trained = model.train(&[]).unwrap();
        for (case, prompt) in &checkpoint.cases {
            let group = group(&Arc::new(prompt.clone()), &[&case.completion]);
            let loss = -picked(&model, &Batch::new(&[Piece::whole(&group)]).unwrap()).mean(Kind::Float);
            loss.backward();
            // Of what changes nothing, as the bias of keys without positions, both sides have the rounding alone.
            let rounding = 1e-6 * case.gradients.values().map(|[norm, _]| *norm).fold(0.0, f64::max);
            // What nothing is computed with is not trained.
            let names: BTreeSet<String> =
                trained.iter().map(|(own, _)| model.parameters().names().today(own)).collect();
            let idle = case.gradients.iter().filter(|(name, _)| !names.contains(*name));
            idle.for_each(|(name, [norm, _])| assert_eq!(*norm, 0.0, "{} {name}", checkpoint.name));
            for (own, parameter) in &trained {
                let name = model.parameters().names().today(own);
                let [norm, product] = case.gradients[&name];
                let gradient = parameter.grad();
                if !gradient.defined() {
                    assert!(norm == 0.0, "{} {} {name}: no gradient", checkpoint.name, case.name);
                    continue;
                }
                let gradient = gradient.to_kind(Kind::Double).flatten(0, -1);
                let cosines = Tensor::arange(gradient.size()[0], (Kind::Double, Device::Cpu)).cos();
                let found = [gradient.norm().double_value(&[]), gradient.dot(&cosines).double_value(&[])];
                let error = (found[0] - norm).abs().max((found[1] - product).abs());
                assert!(
                    error <= 1e-4 * norm + rounding,
                    "{} {} {name}: {found:?}, {norm}, {product}",
                    checkpoint.name,
                    case.name
                );
                parameter.shallow_clone().zero_grad();
            }
        }
    }
}

#[test]
fn prompts_beside_each_other_and_in_chunks_are_each_alone() {
    for checkpoint in checkpoints() {
        let model = checkpoint.model(Kind::Float);
        // Beside one that is longer still; chunks begin and end within pictures.
        let filler = checkpoint.cases[0].1.extend(&[40; 90], "").unwrap();
        let mut prompts = checkpoint.prompts();
        prompts.push(&filler);
        let logprobs = |hidden: &Tensor| model.logits(hidden).log_softmax(-1, Kind::Float);
        for chunk in [4096, 50, 7] {
            let (together, prefix) = model.prefill_in_chunks(&prompts, chunk).unwrap();
            assert_eq!(together.size()[0], prompts.len() as i64);
            assert_eq!(prefix.layers[0].key.size()[0], prompts.iter().map(|prompt| prompt.len() as i64).sum::<i64>());
            for (row, prompt) in prompts.iter().enumerate() {
                let (alone, _) = model.prefill(&[prompt]).unwrap();
                let uncached = states(&model, prompt).narrow(0, prompt.len() as i64 - 1, 1);
                let found = together.get(row as i64).unsqueeze(0);
                for expected in [alone, uncached] {
                    let error = (logprobs(&found) - logprobs(&expected)).abs().max().double_value(&[]);
                    assert!(error < 1e-4, "{} row {row}, chunks of {chunk}: {error}", checkpoint.name);
                }
            }
        }
    }
}

#[test]
fn decoding_with_a_cache_changes_no_logprob() {
    for checkpoint in checkpoints() {
        let model = checkpoint.model(Kind::Float);
        let (mut last, prefix) = model.prefill(&checkpoint.prompts()).unwrap();
        let mut cache = GrowingCache::new(&prefix, 1, 16);
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
            last = model.step(&prefix, &mut cache, &Tensor::from_slice(&next));
        }
    }
}

/// Where two tokens are equally likely but for rounding, either may be first.
#[test]
fn sixty_four_greedy_tokens_are_those_of_transformers() {
    for checkpoint in checkpoints() {
        let tokenizer = checkpoint.processor.tokenizer();
        let model = checkpoint.model(Kind::Float);
        let said = |id: &i64| *id < model.lm_head().size()[0];
        let media: Vec<i64> = tokenizer.media_ids().into_iter().filter(said).collect();
        let (media, eos) = (Tensor::from_slice(&media), tokenizer.eos());
        for (case, prompt) in &checkpoint.cases {
            let (mut last, prefix) = model.prefill(&[prompt]).unwrap();
            let mut cache = GrowingCache::new(&prefix, 1, 64);
            let (end, before) = case.greedy.split_last().unwrap();
            assert!(case.greedy.len() == 64 || eos.contains(end));
            assert!(!before.iter().any(|id| eos.contains(id)));
            for (position, &id) in case.greedy.iter().enumerate() {
                let logits = model.logits(&last).index_fill(-1, &media, f64::NEG_INFINITY);
                let behind = logits.max().double_value(&[]) - logits.double_value(&[0, id]);
                assert!(behind < 1e-3, "{} {} token {position}: {behind}", checkpoint.name, case.name);
                last = model.step(&prefix, &mut cache, &Tensor::from_slice(&[id]));
            }
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
        assert_eq!(again.parameters().iter().count(), model.parameters().iter().count());
        for (name, tensor) in model.parameters().iter() {
            assert!(again.parameters().get(name).unwrap().equal(tensor), "{} {name}", checkpoint.name);
        }
        let (case, prompt) = checkpoint.cases.last().unwrap();
        let error = worst(&whole(&again, case, prompt), &whole(&model, case, prompt));
        assert!(error < 1e-4, "{}: {error}", checkpoint.name);
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
    let refused = |model: &Model, prompt: &_| {
        let error = Backbone::check(model, prompt).unwrap_err().to_string();
        assert_eq!(model.prefill(&[prompt]).unwrap_err().to_string(), error, "whoever did not ask is told too");
        error
    };
    assert!(Backbone::check(&seeing, &prompt).is_ok());
    let error = refused(&blind, &prompt);
    assert!(error.contains("media (1) in `s1`, but no vision tower"), "{error}");
    let error = blind.encode(prompt.patches(), vr1_nn::Recompute::None).unwrap_err();
    assert!(matches!(error, Error::Misfit { .. }) && error.to_string().contains("no vision tower"), "{error}");
    assert!(blind.encode(&[], vr1_nn::Recompute::None).unwrap().is_empty());

    let finer = processor_with(|images| ImageProcessor { patch_size: 7, ..images }).prompt(&request).unwrap();
    let error = refused(&seeing, &finer);
    assert!(error.contains("patches of 294 values in `s1`, but 4 patches of 1176 values a token"), "{error}");
    let wider = processor_with(|images| ImageProcessor { merge_size: 4, ..images }).prompt(&request).unwrap();
    let error = refused(&seeing, &wider);
    assert!(error.contains("1 tokens, 16 patches of 1176 values"), "{error}");

    let error = refused(&seeing, &prompt.extend(&[1_000_000], "").unwrap());
    assert!(error.contains("the id 1000000 in `s1`, but `vocab_size`"), "{error}");
}
