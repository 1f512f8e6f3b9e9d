//! `N` tokens of a batch, `M` trained ones, `P` prompts, `B` rows of decoding, `D` hidden, `V`
//! vocabulary.

use std::fmt::Debug;
use std::rc::Rc;
use std::sync::Arc;

use tch::{Device, Kind, Tensor};
use vr1_nn::{Derived, GrowingCache, Parameters, Prefix, Recompute, linear};
use vr1_processor::{Patches, Prompt};

use crate::{Batch, Features, Result};

/// A model as training and decoding see it; which family it is, nobody else need know.
///
/// [`Model`](crate::Model) is one, made of a checkpoint directory. Its parameters are tensors shared by all who hold it:
/// what an optimizer changes in place is what the next token is sampled with.
pub trait Backbone: Debug {
    /// The parameters by name.
    fn parameters(&self) -> &Parameters;

    /// The parameters that training moves, by name, which from here on collect gradients; without what `freeze` names.
    ///
    /// # Errors
    /// If an entry of `freeze` names nothing.
    fn train(&self, freeze: &[String]) -> Result<Vec<(String, Tensor)>>;

    /// The word that settings such as `freeze` have for the part of the model that the parameter `name` is in.
    fn part(&self, name: &str) -> Option<&'static str> {
        let _ = name;
        None
    }

    /// The output matrix, `[V, D]`.
    fn lm_head(&self) -> &Tensor;

    /// The device the parameters are on.
    fn device(&self) -> Device;

    /// The kind of number they are.
    fn kind(&self) -> Kind;

    /// The longest sequence, in tokens.
    fn max_tokens(&self) -> usize;

    /// Bytes of the keys and values of one token.
    fn key_value_bytes(&self) -> usize;

    /// The most bytes that are held of a prompt while its completions are sampled: its tokens' keys and values, and those of what is
    /// looked at beside them.
    fn prompt_bytes(&self, prompt: &Prompt) -> usize {
        self.key_value_bytes().saturating_mul(prompt.len())
    }

    /// How many experts a token goes through in a layer that has some; 0 where there are none.
    fn experts_of_a_token(&self) -> i64 {
        0
    }

    /// Checks that a prompt, or what follows one, is made as this model wants it.
    ///
    /// # Errors
    /// If it is not: an id beyond the vocabulary, or pictures cut otherwise.
    fn check(&self, prompt: &Prompt) -> Result<()>;

    /// Encodes pictures and videos, all in one pass: the features of each. Blocks keep for the backward pass what
    /// `recompute` says.
    ///
    /// # Errors
    /// If the model takes none.
    fn encode(&self, media: &[Arc<Patches>], recompute: Recompute) -> Result<Vec<Features>>;

    /// Runs over a batch, with the features of its media in order: the hidden states that predict the trained tokens,
    /// `[M, D]`.
    ///
    /// # Errors
    /// If there are not as many features as the batch has media.
    fn score(&self, batch: &Batch, features: &[&Features]) -> Result<Tensor>;

    /// Runs over prompts, which lie side by side without padding: the hidden state of each one's last token, `[P, D]`, and the
    /// keys and values that its completions share.
    ///
    /// # Errors
    /// As [`check`](Self::check), and if there is no prompt.
    fn prefill(&self, prompts: &[&Prompt]) -> Result<(Tensor, Prefix)>;

    /// Runs over one more token of each row of `cache`, `[B]`: hidden states `[B, D]`.
    fn step(&self, prefix: &Prefix, cache: &mut GrowingCache, ids: &Tensor) -> Tensor;

    /// Hidden states `[…, D]` to logits `[…, V]`.
    fn logits(&self, hidden: &Tensor) -> Tensor {
        linear(hidden, self.lm_head(), None)
    }

    /// A model made of this one's parameters: one that stays as it is, one without the adapter, one with it merged.
    ///
    /// # Errors
    /// If libtorch has no room for it.
    fn derive(&self, derived: Derived) -> Result<Rc<dyn Backbone>>;

    /// Writes the model's files in Hugging Face layout into `dir`, the weights as `kind`, an adapter merged into them.
    ///
    /// # Errors
    /// If a file cannot be written.
    fn save(&self, dir: &std::path::Path, kind: Kind) -> Result<()>;

    /// Writes the adapter in PEFT's layout into `dir`; `base` is the directory or Hub id of the model that it adapts.
    ///
    /// # Errors
    /// If the model has no adapter, or a file cannot be written.
    fn save_adapter(&self, dir: &std::path::Path, base: Option<&str>) -> Result<()>;
}
