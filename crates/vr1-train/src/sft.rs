//! `B` documents, `L` tokens of the longest, `N` labelled tokens of all, `D` hidden, `V` vocabulary.

use std::collections::BTreeMap;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use tch::{Kind, Tensor};
use vr1_processor::{IGNORED, Processor, Supervised};
use vr1_sft::{Alignment, Normalizer, SftConfig, sft_loss};
use vr1_vlm::Model;

use crate::document::Document;
use crate::{Error, Result};

/// Documents by stage, drawn at random but reproducibly.
pub(crate) struct Corpus {
    documents: Vec<Document>,
    seed: u64,
}

impl Corpus {
    pub(crate) fn new(documents: Vec<Document>, seed: u64) -> Result<Self> {
        if documents.is_empty() {
            return Err(Error::Setting { field: "documents", value: "empty".to_owned(), allowed: "at least one" });
        }
        Ok(Self { documents, seed })
    }

    /// How many stages there are.
    pub(crate) fn stages(&self) -> usize {
        self.documents.iter().map(|d| d.stage + 1).max().unwrap_or(1)
    }

    /// Which document and which of its samples stands at `slot` of `step`; a function of the seed and these alone.
    fn locate(&self, step: u64, slot: usize, stages: &[f64]) -> (usize, usize) {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream((step << 16) | slot as u64);
        let weight = |d: &Document| d.weight * stages.get(d.stage).copied().unwrap_or(0.0);
        let total: f64 = self.documents.iter().map(weight).sum();
        let mut left = rng.random::<f64>() * total;
        let mut chosen = 0;
        for (i, document) in self.documents.iter().enumerate().filter(|(_, d)| weight(d) > 0.0) {
            chosen = i;
            left -= weight(document);
            if left < 0.0 {
                break;
            }
        }
        (chosen, rng.random_range(0..self.documents[chosen].samples.len()))
    }

    /// The documents of `step`, with their labels; `stages` weighs the stages.
    pub(crate) fn batch(
        &self,
        step: u64,
        size: usize,
        stages: &[f64],
        processor: &Processor,
    ) -> Result<Vec<Supervised>> {
        (0..size)
            .into_par_iter()
            .map(|slot| {
                let (document, index) = self.locate(step, slot, stages);
                self.documents[document].supervised(index, processor)
            })
            .collect()
    }

    /// `count` documents' words, from all stages alike: what a tokenizer is trained on.
    pub(crate) fn words(&self, count: usize) -> Result<Vec<String>> {
        let stages = vec![1.0; self.stages()];
        let all = (0..count).into_par_iter().map(|slot| {
            let (document, index) = self.locate(u64::from(u32::MAX), slot, &stages);
            self.documents[document].words(index)
        });
        Ok(all.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
    }
}

/// The supervised loss of `documents`, with its gradient added to the parameters': what was measured. The gradient does
/// not depend on `micro_batch`, how many go through the model at once (0: all).
pub(crate) fn sft_step(model: &Model, documents: &[Supervised], micro_batch: usize) -> Result<BTreeMap<String, f64>> {
    let labelled = |d: &Supervised| d.labels.iter().skip(1).filter(|label| **label != IGNORED).count();
    let total = documents.iter().map(labelled).sum::<usize>() as f64;
    let (mut loss, mut right, mut tokens) = (0.0, 0.0, 0);
    // Side by side stand documents of about one length: padding is work that nobody asked for.
    let mut documents: Vec<&Supervised> = documents.iter().collect();
    documents.sort_by_key(|d| d.prompt.len());
    for part in documents.chunks(if micro_batch == 0 { documents.len().max(1) } else { micro_batch }) {
        let batch = model.embed(&part.iter().map(|d| &d.prompt).collect::<Vec<_>>())?;
        let (hidden, _) = model.prefill(&batch);
        let (places, labels) = predicting(part, hidden.size()[1] as usize);
        let [places, labels] = [places, labels].map(|list| Tensor::from_slice(&list).to_device(model.device()));
        let logits = model.logits(&hidden.flatten(0, 1).index_select(0, &places)).unsqueeze(0); // [1, N, V]
        let labels = labels.unsqueeze(0);
        let normalizer = Normalizer::Global(total);
        let config = SftConfig { alignment: Alignment::Aligned, normalizer, ..SftConfig::default() };
        let (part_loss, _) = sft_loss(&logits, &labels, &config)?;
        part_loss.backward();
        loss += part_loss.double_value(&[]);
        right += logits.argmax(-1, false).eq_tensor(&labels).sum(Kind::Float).double_value(&[]);
        tokens += part.iter().map(|d| d.prompt.len()).sum::<usize>();
    }
    let values = [("loss", loss), ("token_accuracy", right / total), ("tokens", tokens as f64)];
    Ok(values.map(|(name, value)| (name.to_owned(), value)).into())
}

/// Which hidden states, of documents padded on the left to `width`, predict a label, and the labels: place `i` predicts
/// label `i + 1`. Only these are turned into logits.
fn predicting(documents: &[&Supervised], width: usize) -> (Vec<i64>, Vec<i64>) {
    let (mut places, mut labels) = (Vec::new(), Vec::new());
    for (row, document) in documents.iter().enumerate() {
        let start = row * width + width - document.labels.len();
        for (i, &label) in document.labels.iter().enumerate().skip(1).filter(|(_, label)| **label != IGNORED) {
            places.push((start + i - 1) as i64);
            labels.push(label);
        }
    }
    (places, labels)
}
