//! Bytes of tensors that a run holds, by phase: what `docs/src/memory.md` says in words.
//!
//! `D` the width of the residual stream, `F` of an MLP inside, `Q` queries, `K` keys and values, `V` the vocabulary, `P` parameters,
//! `E` the width of a vision tower.

use serde::Serialize;
use vr1_learn::OptimizerConfig;
use vr1_nn::Recompute;

use super::apart::Apart;
use super::batch::BatchSize;
use super::shape::{ModelShape, Share, TowerShape};

/// Tokens whose logits are held at once.
const HEAD_CHUNK: u64 = 1024;

/// Something that is held, and its bytes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Held {
    /// What it is.
    pub what: &'static str,
    /// How many bytes of it.
    pub bytes: u64,
}

/// What is held when a phase is fullest.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Phase {
    /// Which.
    pub name: &'static str,
    /// All that is held then, the largest of it that lasts first.
    pub held: Vec<Held>,
    /// Bytes that lie in the host's memory instead, where the device is another.
    pub on_host: u64,
}

impl Phase {
    /// Bytes of all of it.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.held.iter().map(|held| held.bytes).sum()
    }
}

/// What memory hangs on, beside the model.
#[derive(Debug, Clone)]
pub(crate) struct Setting<'a> {
    pub(crate) shape: &'a ModelShape,
    /// Bytes of a number of the model.
    pub(crate) wide: u64,
    pub(crate) optimizer: &'a OptimizerConfig,
    pub(crate) recompute: Recompute,
    /// Whether a copy of what is trained is compared with.
    pub(crate) reference: bool,
    /// Updates from one set of completions.
    pub(crate) iterations: u64,
    /// Whether host and device are one.
    pub(crate) on_cpu: bool,
    /// Whether this process samples, in training or in evaluation.
    pub(crate) samples: bool,
    /// The most bytes that decoding may take.
    pub(crate) decoding: u64,
    /// Processes that learn together.
    pub(crate) ranks: u64,
    /// What this one updates.
    pub(crate) own: Share,
    /// What it holds of parameters of layers that lie apart, where they do.
    pub(crate) apart: Option<Apart>,
}

impl Setting<'_> {
    pub(super) fn offloads(&self) -> bool {
        self.optimizer.offload && !self.on_cpu
    }

    pub(super) fn masters(&self) -> u64 {
        // An adapter is f32, as are the weights of a model of f32: those are their own masters.
        if self.wide == 4 || self.shape.adapter > 0 { 0 } else { 4 * self.own.trained }
    }

    pub(super) fn moments(&self) -> u64 {
        self.own.moments(self.optimizer.moments)
    }

    /// Bytes of a number that is trained.
    pub(super) fn trained_wide(&self) -> u64 {
        if self.shape.adapter > 0 { 4 } else { self.wide }
    }

    /// What is held all the time, and what of it on the host.
    fn resident(&self) -> (Vec<Held>, u64) {
        let (shape, moments) = (self.shape, self.moments());
        let mut held =
            vec![Held { what: "weights", bytes: self.weights() }, Held { what: "adapters", bytes: 4 * shape.adapter }];
        if self.samples {
            held.push(Held { what: "merged weights to sample from", bytes: self.wide * shape.adapted });
        }
        if self.reference && shape.adapter == 0 {
            held.push(Held { what: "reference", bytes: self.wide * shape.trained });
        }
        let optimizer = self.masters() + moments;
        if self.offloads() {
            return (held, optimizer);
        }
        held.push(Held { what: "f32 masters", bytes: self.masters() });
        held.push(Held { what: "moments", bytes: moments });
        (held, 0)
    }

    pub(super) fn phase(&self, name: &'static str, more: impl IntoIterator<Item = Held>) -> Phase {
        let (mut held, on_host) = self.resident();
        held.extend(more);
        held.retain(|held| held.bytes > 0);
        Phase { name, held, on_host }
    }

    /// Bytes that the two halves of a layer keep of a token for the backward pass.
    fn layer(&self) -> (u64, u64) {
        let ModelShape { hidden, inner, query, key_value, heads, adapts, .. } = *self.shape;
        let (wide, adapted) = (self.wide, self.shape.adapter > 0);
        // What goes into a matrix is kept where the matrix or its adapter learns.
        let into = |adapted_here: bool| u64::from(!adapted || adapted_here);
        let inputs = |numbers: u64, adapted_here: bool| match (adapted, self.wide) {
            // Adapters read numbers in f32, each its own.
            (true, 1..4) => 0,
            _ => into(adapted_here) * wide * numbers,
        };
        let attend =
            wide * (hidden + 2 * query + key_value) + 4 * heads + self.norm() + inputs(hidden, adapts.attention_in);
        let feed =
            wide * (hidden + 2 * inner) + self.norm() + inputs(hidden, adapts.mlp_in) + inputs(inner, adapts.mlp_out);
        let own = 4 * (adapts.ranks + if adapted && self.wide < 4 { adapts.inputs } else { 0 });
        (attend + own / 2, feed + own - own / 2)
    }

    /// Bytes that a norm keeps of a token beside what goes in.
    fn norm(&self) -> u64 {
        let hidden = self.shape.hidden;
        match (self.on_cpu, self.wide) {
            // A GPU has one kernel for it.
            (false, _) => 4,
            // It is computed in f32.
            (true, 1..4) => 4 + 4 * hidden + self.wide * hidden,
            (true, _) => 4 + u64::from(self.shape.norms_trained) * self.wide * hidden,
        }
    }

    /// Whether gradients go through the layers at all.
    fn through_layers(&self) -> bool {
        self.shape.language_trained || self.shape.tower.as_ref().is_some_and(|tower| tower.merger_trained)
    }

    /// Bytes that all layers keep of a micro-batch, and those that one makes again on the way back.
    fn layers(&self, batch: BatchSize) -> (u64, u64) {
        if !self.through_layers() {
            return (0, 0);
        }
        let shape = self.shape;
        let (attend, feed) = self.layer();
        let stream = self.wide * shape.hidden;
        let (kept, again) = match self.recompute {
            Recompute::None => (attend + feed, 0),
            Recompute::Layers => (stream, attend + feed),
            Recompute::Attention => (stream + feed, attend),
        };
        // What goes into the first needs no gradient where nothing before it learns.
        let before = shape.embedding_trained || shape.tower.as_ref().is_some_and(|tower| tower.merger_trained);
        let first = if before || self.recompute != Recompute::None { 0 } else { batch.tokens * stream };
        ((batch.tokens * kept * shape.layers).saturating_sub(first), batch.tokens * again)
    }

    /// The same of a tower's blocks, with its merger.
    fn tower(&self, batch: BatchSize) -> (u64, u64) {
        let Some(tower) = &self.shape.tower else { return (0, 0) };
        let TowerShape { width, inner, gates, blocks, pixels, trained, merger_trained } = *tower;
        // Four patches become a token: what is normed, and the inside of an MLP four times as wide.
        let merger = if merger_trained { self.wide * 4 * width } else { 0 };
        // A CPU keeps what its attention gave, and that laid out.
        let attend = self.wide * (if self.on_cpu { 9 } else { 8 }) * width + 16;
        let feed = self.wide * (2 * width + (1 + gates) * inner) + 16;
        let (stream, cut) = (self.wide * width, self.wide * pixels);
        let (kept, again) = match (trained, self.recompute) {
            (false, _) => (0, 0),
            (true, Recompute::None) => (cut + blocks * (attend + feed), 0),
            (true, Recompute::Layers) => (cut + blocks * stream, attend + feed),
            (true, Recompute::Attention) => (cut + blocks * (stream + feed), attend),
        };
        (batch.patches * (kept + merger), batch.patches * again)
    }

    /// Gradients are made of one of so many micro-batches.
    pub(crate) fn update(&self, batch: BatchSize, micro_batches: usize) -> Phase {
        let several = micro_batches > 1;
        let (shape, wide) = (self.shape, self.wide);
        let (layers, layer_again) = self.layers(batch);
        let (tower, tower_again) = self.tower(batch);
        let matrix = shape.vocabulary * shape.hidden;
        let chunk = batch.trained.min(HEAD_CHUNK) * shape.vocabulary;
        let [at_owner, leaving] = self.summed_at_once();
        let wide_later = if several { 4 } else { self.trained_wide() };
        let sums = match self.apart {
            Some(_) => at_owner + wide_later * self.summed_later(),
            None if several => 4 * shape.trained,
            None => 0,
        };
        let of_matrix = u64::from(shape.head_trained) * matrix;
        let out = wide * shape.hidden;
        let last = if self.through_layers() { batch.tokens * (out + self.norm()) } else { 0 } + batch.trained * out;
        // Gradients that are there, of so many numbers: one by one they leave for the sums where there are some.
        let made = |numbers: u64| if several || self.apart.is_some() { 0 } else { self.trained_wide() * numbers };
        let always = |layers: u64, more: &[(&'static str, u64)]| {
            let layer = self.layer_brought();
            let always = [
                ("sums of gradients", sums),
                ("kept of layers", layers),
                ("kept of the tower", tower),
                (layer.what, layer.bytes),
                ("gradients of a layer", leaving),
            ];
            always.iter().chain(more).map(|&(what, bytes)| Held { what, bytes }).collect::<Vec<_>>()
        };
        // What is inside a layer's MLP on its way back, the gradients of it, and what is made again.
        let inside = batch.tokens * wide * (2 * shape.inner + 2 * shape.hidden) + layer_again;
        let inside = if self.through_layers() { inside } else { 0 };
        let block = shape.tower.as_ref().filter(|tower| tower.trained).map_or(0, |tower| {
            batch.patches * wide * ((1 + tower.gates) * tower.inner / 2 + 2 * tower.width) + tower_again
        });
        let copy = if wide < 4 { wide * chunk } else { 0 };
        let (language, depth) = (shape.trained - shape.trained_beside, shape.layers.max(1));
        let others = shape.trained_layers - shape.trained_layers / depth;
        let embedding = u64::from(shape.embedding_trained) * wide * matrix;
        let going_in = if self.through_layers() { batch.tokens * out } else { 0 };
        let [reading, seeing] = self.pass(batch.tokens, batch.patches, batch.of_one);
        let compared = if self.reference { reading.max(seeing).max(8 * chunk) } else { 0 };
        let moments = [
            // The log-probabilities are made: logits of a chunk and their exponentials.
            always(layers, &[("last hidden states", last), ("logits", 8 * chunk)]),
            // The same of what is compared with, while what the model made is kept.
            always(layers, &[("last hidden states", last), ("the reference on its way", compared)]),
            // Gradients of the logits are made, which are computed again.
            always(
                layers,
                &[
                    ("last hidden states", last + batch.trained * out),
                    ("logits", 4 * chunk + copy),
                    ("gradient of the output matrix", 4 * of_matrix),
                ],
            ),
            // The last layer is on its way back, all others wait.
            always(layers, &[("a layer on the way back", inside), ("gradient of the output matrix", wide * of_matrix)]),
            // The first is, and the gradients of the others are there.
            always(
                layers / depth,
                &[("a layer on the way back", inside), ("gradients", made(others) + wide * of_matrix)],
            ),
            // All are, and the embedding's is made, beside that of the output matrix.
            always(
                0,
                &[
                    ("gradients", made(language).max(wide * of_matrix)),
                    ("gradient of the embedding", embedding),
                    ("gradients of what goes in", going_in),
                ],
            ),
            // The tower's last block is on its way back.
            always(0, &[("gradients", made(language)), ("a block of the tower on the way back", block)]),
        ];
        let sum = |held: &[Held]| held.iter().map(|held| held.bytes).sum::<u64>();
        self.phase("update", moments.into_iter().max_by_key(|held| sum(held)).unwrap_or_default())
    }

    /// Bytes of what is held all the time.
    pub(crate) fn always(&self) -> u64 {
        self.resident().0.iter().map(|held| held.bytes).sum()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use vr1_learn::Moments;
    use vr1_vlm::ModelConfig;

    use super::*;
    use crate::LoraRecipe;

    /// D 8, F 16, three layers, two heads of 4 over one of keys, 32 words.
    fn config() -> ModelConfig {
        let config = json!({
            "model_type": "qwen2", "vocab_size": 32, "hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 3,
            "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 64, "rms_norm_eps": 1e-6,
            "tie_word_embeddings": true, "rope_theta": 10000.0, "hidden_act": "silu",
        });
        let json = config.as_object().cloned().unwrap_or_default();
        ModelConfig::from_json(json, "config.json".as_ref()).expect("a config")
    }

    fn shape(lora: Option<&LoraRecipe>) -> ModelShape {
        ModelShape::of(config(), &[], lora).expect("a model")
    }

    fn setting<'a>(shape: &'a ModelShape, optimizer: &'a OptimizerConfig) -> Setting<'a> {
        Setting {
            shape,
            wide: 4,
            optimizer,
            recompute: Recompute::None,
            reference: false,
            iterations: 1,
            on_cpu: true,
            samples: true,
            decoding: u64::MAX,
            ranks: 1,
            own: shape.share(1),
            apart: None,
        }
    }

    #[test]
    fn a_small_model_has_the_numbers_that_one_counts_by_hand() {
        let (shape, optimizer) = (shape(None), OptimizerConfig::default());
        // The embedding; queries, keys and values with biases, what leads out, the MLP, two norms; the last norm.
        let layer = (8 * 8 + 8) + 2 * (8 * 4 + 4) + 8 * 8 + 3 * 8 * 16 + 2 * 8;
        assert_eq!(shape.parameters, 32 * 8 + 3 * layer + 8);
        assert_eq!((shape.trained, shape.trained_layers, shape.trained_beside), (shape.parameters, 3 * layer, 0));
        assert_eq!(shape.moments(Moments::F32), 8 * shape.parameters);
        // No parameter has 4,096 numbers: none is narrow.
        assert_eq!(shape.moments(Moments::Blockwise8bit), 8 * shape.parameters);
        let setting = setting(&shape, &optimizer);
        // Of a token: what goes into both norms and comes out of them, before and after their weights; queries, keys, values, what
        // attention gives; gate, up and their product; a number a head and two of the norms.
        let (attend, feed) = setting.layer();
        assert_eq!(attend + feed, 4 * (6 * 8 + 2 * 8 + 8 + 3 * 16 + 2 + 2));
        let batch = BatchSize { tokens: 10, trained: 6, patches: 0, of_one: 0, sequences: 2 };
        let phase = setting.update(batch, 1);
        let held = |what: &str| phase.held.iter().filter(|held| held.what == what).map(|held| held.bytes).sum::<u64>();
        assert_eq!(held("weights"), 4 * shape.parameters);
        assert_eq!(held("moments"), 8 * shape.parameters);
        // What is fullest here is the last layer on its way back, with what all three keep and the gradient of the output matrix: 17,824
        // bytes, and the first on its way back, with the gradients of the others, 12,768.
        assert_eq!(held("kept of layers"), 3 * 10 * (attend + feed));
        assert_eq!(held("a layer on the way back"), 10 * 4 * (2 * 16 + 2 * 8));
        assert_eq!(held("gradient of the output matrix"), 4 * 32 * 8);
        assert_eq!(held("gradients"), 0);
    }

    #[test]
    fn an_adapter_is_all_that_learns_and_its_matrices_are_held_again() {
        let lora: LoraRecipe = serde_json::from_value(json!({"rank": 2, "alpha": 4})).expect("a recipe");
        let (shape, optimizer) = (shape(Some(&lora)), OptimizerConfig::default());
        let sides = [(8, 8), (8, 4), (8, 4), (8, 8), (8, 16), (8, 16), (16, 8)];
        assert_eq!(shape.adapter, 3 * sides.iter().map(|(inputs, outputs)| 2 * (inputs + outputs)).sum::<u64>());
        assert_eq!(shape.adapted, 3 * sides.iter().map(|(inputs, outputs)| inputs * outputs).sum::<u64>());
        assert_eq!(shape.trained, shape.adapter);
        assert_eq!(shape.parameters, self::shape(None).parameters);
        // Norms learn nothing, and keep nothing of their own but a number; adapters keep what comes of their ranks.
        let (attend, feed) = setting(&shape, &optimizer).layer();
        assert_eq!(attend + feed, 4 * (4 * 8 + 2 * 8 + 8 + 3 * 16 + 2 + 2 + 7 * 2));
        // Merged for who samples: where servers do, nobody here.
        let here = setting(&shape, &optimizer);
        let elsewhere = Setting { samples: false, ..here.clone() };
        assert_eq!(here.always() - elsewhere.always(), 4 * shape.adapted);
    }

    #[test]
    fn rows_have_room_in_a_few_sizes() {
        let (shape, optimizer) = (shape(None), OptimizerConfig::default());
        let cpu = setting(&shape, &optimizer);
        let card = Setting { on_cpu: false, ..cpu.clone() };
        assert_eq!([1, 64, 65, 100, 512].map(|tokens| cpu.room(tokens)), [2, 64, 66, 101, 512]);
        assert_eq!([100, 256, 1024].map(|tokens| card.room(tokens)), [116, 272, 1040]);
    }
}
