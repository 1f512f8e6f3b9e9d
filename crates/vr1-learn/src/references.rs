//! What a learner compares with.

use std::rc::Rc;

use vr1_nn::Derived;
use vr1_rollout::Group;
use vr1_torch::guarded;
use vr1_vlm::{Backbone, Batch};

use crate::cut::cut;
use crate::layers::Stage;
use crate::learner::Learner;
use crate::ranks::{bits, of_bits};
use crate::score::check;
use crate::{Error, Needs, Result, SequenceLogprobs};

impl Learner {
    /// Keeps the model as it is now as the reference: the model without its adapter where it has one, else a copy of what
    /// is trained. Losses that compare need it; nobody else pays for it. Every rank keeps it whole; those that [hold each a
    /// share](Self::is_apart) of the model call this together.
    ///
    /// # Errors
    /// If there is no room.
    pub fn keep_reference(&mut self) -> Result<()> {
        let begin = || guarded(|| self.config.reference.begin(self.model.as_ref()))?;
        let copies = self.config.reference.copies(self.model.as_ref());
        let reference = if copies { self.layers.whole(begin) } else { begin() };
        self.compared.set(reference?, false);
        Ok(())
    }

    /// Compares with the model as it is now, its adapter included, from here on: a new round.
    ///
    /// # Errors
    /// If there is no room.
    pub fn renew_reference(&mut self) -> Result<()> {
        let reference = self.layers.whole(|| Ok(guarded(|| self.model.derive(Derived::Copy))??))?;
        self.compared.set(reference, true);
        Ok(())
    }

    /// The reference where it is neither the model that the learner began with nor none: what a checkpoint must hold.
    pub fn moved_reference(&self) -> Option<&Rc<dyn Backbone>> {
        self.compared.moved()
    }

    /// Takes up a reference that had moved.
    pub fn set_moved_reference(&mut self, reference: Rc<dyn Backbone>) {
        self.compared.set(reference, true);
    }

    /// Compares with `reference` from here on.
    pub fn set_reference(&mut self, reference: Rc<dyn Backbone>) {
        self.compared.set(reference, false);
    }

    /// The reference, where one is kept.
    pub fn reference(&self) -> Option<&Rc<dyn Backbone>> {
        self.compared.reference()
    }

    /// The reference's log-probabilities of the trained tokens of `groups`, a list for each sequence in order.
    ///
    /// # Errors
    /// If no reference is kept, or a sequence does not fit the model.
    pub fn reference_logprobs(&mut self, groups: &[Group], needs: &Needs) -> Result<Vec<SequenceLogprobs>> {
        check(self.model.as_ref(), groups)?;
        let (layers, share) = (self.layers.clone(), self.share(groups, needs.coupling));
        let own = layers
            .together(|| guarded(|| self.own_reference_logprobs(&groups[share], needs)).map_err(Error::from).flatten());
        if self.world.is_alone() {
            return own;
        }
        let bits = own.map(|lists| lists.iter().map(|list| bits(list)).collect::<Vec<_>>());
        let told = self.world.all(bits.map(|lists| (lists, self.compared.known.take_fresh())))?;
        let mut all = Vec::new();
        for (lists, known) in told {
            all.extend(lists.into_iter().map(of_bits));
            self.compared.known.learn(known);
        }
        Ok(all)
    }

    fn own_reference_logprobs(&mut self, groups: &[Group], needs: &Needs) -> Result<Vec<SequenceLogprobs>> {
        let mut encoded = self.nothing_encoded();
        let mut all = Vec::new();
        for (number, pieces) in cut(groups, self.config.tokens_per_micro_batch, needs.coupling).into_iter().enumerate()
        {
            self.layers.at(number, Stage::Reference);
            let batch = Batch::new(&pieces)?;
            let (compared, unreachable) = (&mut self.compared, &self.unreachable);
            all.extend(
                self.times.of("reference", || compared.logprobs(&pieces, &batch, &mut encoded, unreachable, needs))?,
            );
        }
        Ok(all)
    }
}
