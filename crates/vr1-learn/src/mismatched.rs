//! What KTO compares with: the likelihood of answers to other prompts.

use std::rc::Rc;

use vr1_rollout::{Group, Sequence};
use vr1_torch::guarded;
use vr1_vlm::{Backbone, Batch, Features};

use crate::cut::cut;
use crate::features::Encoded;
use crate::layers::Stage;
use crate::learner::Learner;
use crate::score::{lists, score};
use crate::{Error, Needs, Result};

impl Learner {
    /// KTO's estimate of how far the model is from the reference: over each prompt with the answer of the one before it.
    pub(crate) fn mismatched_kl(&self, groups: &[Group], encoded: &mut Encoded, needs: &Needs) -> Result<f64> {
        if let [group] = groups {
            let reason = "its step has no other prompt, whose answers it could be compared with".to_owned();
            return Err(Error::Sequence { sample: group.prompt().sample().into(), reason });
        }
        let mut swapped = Vec::with_capacity(groups.len());
        for (i, group) in groups.iter().enumerate() {
            let other = &groups[(i + groups.len() - 1) % groups.len()].sequences()[0];
            let (tail, trained) = (other.tail().clone(), other.trained().to_vec());
            let sequence = Sequence::new(group.prompt().clone(), tail, trained, String::new())?;
            swapped.push(Group::new(group.key(), vec![sequence])?);
        }
        let own = &swapped[self.share(&swapped, needs.coupling)];
        let gaps = self.layers.together(|| guarded(|| self.gaps(own, encoded, needs)).map_err(Error::from).flatten());
        // As bits, for what other ranks are told has no NaN.
        let bits = gaps.map(|gaps| gaps.into_iter().map(f64::to_bits).collect::<Vec<_>>());
        let gaps: Vec<f64> = self.world.all(bits)?.concat().into_iter().map(f64::from_bits).collect();
        Ok((gaps.iter().sum::<f64>() / gaps.len().max(1) as f64).max(0.0))
    }

    /// How much likelier the model finds each sequence than the reference does.
    fn gaps(&self, groups: &[Group], encoded: &mut Encoded, needs: &Needs) -> Result<Vec<f64>> {
        let reference = self.compared.wanted()?.as_ref();
        let mut gaps = Vec::new();
        for (number, pieces) in cut(groups, self.config.tokens_per_micro_batch, needs.coupling).into_iter().enumerate()
        {
            self.layers.at(number, Stage::Model);
            let batch = Batch::new(&pieces)?;
            let sums = |model: &dyn Backbone, features: &[Rc<Features>]| -> Result<Vec<f64>> {
                let said = score(model, &batch, features, &self.unreachable, needs)?;
                let lists = lists(&said.logprobs, &batch.lengths)?;
                Ok(lists.iter().map(|list| list.iter().map(|&x| f64::from(x)).sum()).collect())
            };
            let (own, others) = tch::no_grad(|| -> Result<_> {
                let own = sums(self.model.as_ref(), &encoded.of_model(self.model.as_ref(), &batch)?)?;
                self.layers.at(number, Stage::Reference);
                Ok((own, sums(reference, &encoded.of_reference(reference, &batch)?)?))
            })?;
            gaps.extend(own.iter().zip(others).map(|(own, other)| own - other));
        }
        Ok(gaps)
    }
}
