//! `B` completions of all groups, `T` the longest, `N` sampled tokens of all, `D` hidden.

use tch::{Kind, Tensor};
use vr1_ops::chunked_logprobs;
use vr1_rollout::Group;
use vr1_vlm::Model;

use crate::Result;

/// Tokens whose logits are held at once.
const CHUNK: i64 = 4096;

/// The log-probabilities of groups of completions.
#[derive(Debug)]
pub struct GroupLogprobs {
    /// Of each sampled token, `[B, T]`, zero where there is none.
    pub logprobs: Tensor,
    /// The entropy of the distribution that each token was sampled from, in nats, `[B, T]`.
    pub entropy: Tensor,
    /// 1 where there is a token, `[B, T]`.
    pub completion_mask: Tensor,
}

/// Something that says how likely completions are, with gradients to its parameters.
pub trait Policy {
    /// The log-probabilities of all completions of `groups`, in order.
    ///
    /// # Errors
    /// If the groups differ in size or libtorch refuses an operation.
    fn logprobs(&self, groups: &[Group]) -> Result<GroupLogprobs>;
}

/// A model in this process as a policy: each prompt goes through the model once and its completions share it.
#[derive(Debug, Clone, Copy)]
pub struct ModelPolicy<'a> {
    /// The model.
    pub model: &'a Model,
    /// What logits are divided by, as in sampling.
    pub temperature: f64,
}

impl Policy for ModelPolicy<'_> {
    fn logprobs(&self, groups: &[Group]) -> Result<GroupLogprobs> {
        let device = self.model.device();
        let completions: Vec<&[i64]> = groups.iter().flat_map(|g| &g.completions).map(|c| c.ids.as_slice()).collect();
        let rows = completions.len() as i64;
        let longest = completions.iter().map(|ids| ids.len()).max().unwrap_or(0);
        let (mut ids, mut mask) = (vec![0i64; completions.len() * longest], vec![0i64; completions.len() * longest]);
        for (row, completion) in completions.iter().enumerate() {
            ids[row * longest..][..completion.len()].copy_from_slice(completion);
            mask[row * longest..][..completion.len()].fill(1);
        }
        let shape = [rows, longest as i64];
        let ids = Tensor::from_slice(&ids).view(shape).to_device(device);
        let completion_mask = Tensor::from_slice(&mask).view(shape).to_device(device);

        let batch = self.model.embed(&groups.iter().map(|g| &g.prompt).collect::<Vec<_>>())?;
        let (hidden, prefix) = self.model.prefill(&batch);
        // A completion's first token follows the prompt's last; token t follows token t − 1.
        let group_size = rows / groups.len().max(1) as i64;
        let first = hidden.narrow(1, -1, 1).repeat_interleave_self_int(group_size, 0, None);
        let hidden = if longest > 1 {
            let rest = self.model.complete(&batch, &prefix, &ids.narrow(1, 0, longest as i64 - 1));
            Tensor::cat(&[first, rest], 1)
        } else {
            first
        };
        let places = completion_mask.flatten(0, 1).nonzero().squeeze_dim(1); // [N]
        let picked = hidden.flatten(0, 1).index_select(0, &places); // [N, D]
        let targets = ids.flatten(0, 1).index_select(0, &places);
        let (logprobs, entropy) = chunked_logprobs(&picked, self.model.lm_head(), &targets, self.temperature, CHUNK)?;
        let scatter = |values: &Tensor| {
            let flat = Tensor::zeros([rows * longest as i64], (Kind::Float, device));
            flat.index_copy(0, &places, &values.to_kind(Kind::Float)).view(shape)
        };
        Ok(GroupLogprobs { logprobs: scatter(&logprobs), entropy: scatter(&entropy), completion_mask })
    }
}
