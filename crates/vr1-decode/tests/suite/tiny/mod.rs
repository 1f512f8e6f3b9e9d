//! The random Qwen2-VL that transformers wrote for vr1-vlm's tests, with its tokenizer.

pub(crate) mod watched;

use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use image::RgbImage;
use tch::{Device, Kind, Tensor};
use vr1_data::Picture;
use vr1_decode::LocalEngine;
use vr1_processor::{Layout, Message, Processor, Prompt, PromptRequest};
use vr1_rollout::{Engine, Group, Request, SampleKey, Sampling, Sequence};
use vr1_vlm::{Backbone, Batch, Model, Piece};

pub(crate) struct Tiny {
    pub(crate) model: Rc<Model>,
    pub(crate) processor: Processor,
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../vr1-vlm/tests/fixtures")
}

pub(crate) fn model() -> Model {
    Model::load(&fixtures().join("model"), Device::Cpu, Kind::Float).unwrap()
}

pub(crate) fn key(index: u64) -> SampleKey {
    SampleKey { index, ..SampleKey::default() }
}

impl Tiny {
    /// Completions end at any of these ids, as `generation_config.json` says.
    pub(crate) fn ending_at(eos: &[i64]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for file in fs::read_dir(fixtures().join("../../../vr1-processor/tests/fixtures/checkpoint")).unwrap() {
            let file = file.unwrap();
            fs::copy(file.path(), dir.path().join(file.file_name())).unwrap();
        }
        let config = serde_json::json!({ "eos_token_id": eos });
        fs::write(dir.path().join("generation_config.json"), config.to_string()).unwrap();
        Self { model: Rc::new(model()), processor: Processor::from_dir(dir.path()).unwrap() }
    }

    pub(crate) fn engine(&self) -> LocalEngine {
        LocalEngine::new(self.model.clone(), self.processor.tokenizer().clone()).unwrap()
    }

    /// A question after pictures of these heights and widths.
    pub(crate) fn prompt(&self, name: &str, sizes: &[(u32, u32)], words: &str) -> Arc<Prompt> {
        let pictures = sizes.iter().map(|&(height, width)| Picture::Pixels(Arc::new(slope(height, width))));
        let messages = [Message::user(pictures, words)];
        let request = PromptRequest { sample: name, messages: &messages, layout: Layout::Chat, prefill: "" };
        self.processor.prompt(&request).unwrap().into()
    }

    /// Prompts with no, one and two pictures, all of different lengths.
    pub(crate) fn prompts(&self) -> Vec<Arc<Prompt>> {
        vec![
            self.prompt("text", &[], "What is two and two?"),
            self.prompt("one", &[(56, 84)], "What colour is it?"),
            self.prompt("two", &[(84, 56), (56, 56)], "Which of them is the larger one of both?"),
        ]
    }

    /// Requests for all of these prompts, whose places are their keys.
    pub(crate) fn requests(&self, completions: usize, sampling: &Sampling) -> Vec<Request> {
        let request = |(prompt, index)| Request::new(prompt, completions, sampling.clone(), key(index));
        self.prompts().into_iter().zip(0..).map(request).collect()
    }

    pub(crate) fn generate(&self, requests: Vec<Request>) -> Vec<Group> {
        self.engine().generate(requests).unwrap()
    }

    /// Logits `[T, V]` before each of `ids`, in one pass over prompt and completion without any cache.
    pub(crate) fn uncached(&self, prompt: &Prompt, ids: &[i64]) -> Tensor {
        uncached(self.model.as_ref(), prompt, ids)
    }

    /// Ids that are never sampled: media tokens.
    pub(crate) fn media(&self) -> Tensor {
        Tensor::from_slice(&self.processor.tokenizer().media_ids())
    }

    /// What is recorded is the model's own.
    pub(crate) fn assert_recorded(&self, sequence: &Sequence) {
        assert_recorded(self.model.as_ref(), sequence);
    }
}

pub(crate) fn uncached(model: &dyn Backbone, prompt: &Prompt, ids: &[i64]) -> Tensor {
    let whole = Arc::new(prompt.extend(ids, "").unwrap());
    let bare = Sequence::new(whole.clone(), whole.tail(&[], "").unwrap(), Vec::new(), String::new()).unwrap();
    let group = Group::new(SampleKey::default(), vec![bare]).unwrap();
    let mut batch = Batch::new(&[Piece::whole(&group)]).unwrap();
    batch.places = (0..ids.len()).map(|i| (prompt.len() - 1 + i) as i64).collect();
    let features = model.encode(prompt.patches(), vr1_nn::Recompute::None).unwrap();
    model.logits(&model.score(&batch, &features.iter().collect::<Vec<_>>()).unwrap())
}

/// Recorded log-probabilities are those of the uncached pass.
pub(crate) fn assert_recorded(model: &dyn Backbone, sequence: &Sequence) {
    let (ids, recorded) = (sequence.ids(), &sequence.sampled().unwrap().logprobs);
    assert_eq!(ids.len(), recorded.len());
    let logprobs = uncached(model, sequence.prompt(), ids).log_softmax(-1, Kind::Float);
    let entropies = -(logprobs.exp() * &logprobs).sum_dim_intlist([-1i64].as_slice(), false, Kind::Float);
    let entropies = Vec::<f32>::try_from(entropies).unwrap();
    let expected = logprobs.gather(1, &Tensor::from_slice(ids).unsqueeze(1), false);
    let expected = Vec::<f32>::try_from(expected.squeeze_dim(1)).unwrap();
    for (i, (found, expected)) in recorded.iter().zip(&expected).enumerate() {
        let sample = sequence.prompt().sample();
        assert!((found - expected).abs() < 1e-4, "{sample}, token {i}: {found}, uncached {expected}");
    }
    let recorded = &sequence.sampled().unwrap().entropies;
    assert_eq!(recorded.len(), ids.len());
    for (i, (found, expected)) in recorded.iter().zip(&entropies).enumerate() {
        assert!((found - expected).abs() < 1e-3, "token {i}: an entropy of {found}, uncached {expected}");
    }
}

pub(crate) fn slope(height: u32, width: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        image::Rgb([0, 1, 2].map(|c| ((x * 255 / (width - 1) + y * 255 / (height - 1) + c * 85) / 3) as u8))
    })
}
