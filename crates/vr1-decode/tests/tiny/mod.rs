//! The random Qwen2-VL that transformers wrote for vr1-vlm's tests, with its tokenizer.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use image::RgbImage;
use tch::{Device, Kind, Tensor};
use vr1_data::Picture;
use vr1_processor::{Layout, Message, Processor, Prompt, PromptRequest};
use vr1_rollout::LocalEngine;
use vr1_vlm::Model;

pub(crate) struct Tiny {
    pub(crate) model: Model,
    pub(crate) processor: Processor,
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../vr1-vlm/tests/fixtures")
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
        let model = Model::load(&fixtures().join("model"), Device::Cpu, Kind::Float).unwrap();
        Self { model, processor: Processor::from_dir(dir.path()).unwrap() }
    }

    pub(crate) fn engine(&self) -> LocalEngine<'_> {
        LocalEngine::new(&self.model, self.processor.tokenizer())
    }

    /// A question after pictures of these heights and widths.
    pub(crate) fn prompt(&self, name: &str, sizes: &[(u32, u32)], words: &str) -> Prompt {
        let pictures = sizes.iter().map(|&(height, width)| Picture::Pixels(Arc::new(slope(height, width))));
        let messages = [Message::user(pictures, words)];
        let request = PromptRequest { sample: name, messages: &messages, layout: Layout::Chat, prefill: "" };
        self.processor.prompt(&request).unwrap()
    }

    /// Prompts with no, one and two pictures, all of different lengths.
    pub(crate) fn prompts(&self) -> Vec<Prompt> {
        vec![
            self.prompt("text", &[], "What is two and two?"),
            self.prompt("one", &[(56, 84)], "What colour is it?"),
            self.prompt("two", &[(84, 56), (56, 56)], "Which of them is the larger one of both?"),
        ]
    }

    /// Log-probabilities `[T, V]` before each of `ids`, in one pass over prompt and completion without any cache.
    pub(crate) fn uncached(&self, prompt: &Prompt, ids: &[i64]) -> Tensor {
        let whole = prompt.extend(ids, "").unwrap();
        let (hidden, _) = self.model.prefill(&self.model.embed(&[&whole]).unwrap());
        let hidden = hidden.squeeze_dim(0).narrow(0, prompt.len() as i64 - 1, ids.len() as i64);
        self.model.logits(&hidden).log_softmax(-1, Kind::Float)
    }

    /// Recorded log-probabilities are those of the uncached pass.
    pub(crate) fn assert_recorded(&self, prompt: &Prompt, ids: &[i64], recorded: &[f32]) {
        assert_eq!(ids.len(), recorded.len());
        let expected = self.uncached(prompt, ids).gather(1, &Tensor::from_slice(ids).unsqueeze(1), false);
        let expected = Vec::<f32>::try_from(expected.squeeze_dim(1)).unwrap();
        for (i, (found, expected)) in recorded.iter().zip(&expected).enumerate() {
            assert!((found - expected).abs() < 1e-4, "{}, token {i}: {found}, uncached {expected}", prompt.sample());
        }
    }
}

pub(crate) fn slope(height: u32, width: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        image::Rgb([0, 1, 2].map(|c| ((x * 255 / (width - 1) + y * 255 / (height - 1) + c * 85) / 3) as u8))
    })
}
