use vr1_rollout::Group;
use vr1_vlm::{Batch, Piece};

use crate::features::Encoded;
use crate::score::{SequenceLogprobs, check, lists, score};
use crate::{Learner, Needs, Reach, Result};

impl Learner {
    /// The log-probabilities of all trained tokens of `groups` under the model as it is now, a list for each sequence in order, without
    /// gradient: at temperature 1 over what can be sampled, as an engine draws without limits. Ranks that hold each a share of the model
    /// ask this while its parameters are [gathered](Self::gather_parameters), or [together](Self::together).
    ///
    /// # Errors
    /// If a sequence does not fit the model.
    pub fn logprobs(&self, groups: &[Group]) -> Result<Vec<SequenceLogprobs>> {
        if groups.is_empty() {
            return Ok(Vec::new());
        }
        let (model, needs) = (self.model.as_ref(), Needs { reach: Reach::Sampled, ..Needs::default() });
        check(model, groups)?;
        let pieces: Vec<Piece<'_>> = groups.iter().map(Piece::whole).collect();
        let batch = Batch::new(&pieces)?;
        let said = tch::no_grad(|| {
            let features = Encoded::default().of_reference(model, &batch)?;
            score(model, &batch, &features, &self.unreachable, &needs)
        })?;
        lists(&said.logprobs, &batch.lengths)
    }
}
