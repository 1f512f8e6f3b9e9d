use std::collections::HashMap;
use std::sync::Arc;

use vr1_processor::Prompt;
use vr1_rollout::{Group, SampleKey};

use super::draw::Drawn;
use super::rewards::Scored;
use crate::{Error, Result, Rollout};

/// The completions of a step that was taken before, and what rewards said of them: what answers instead of an engine and a
/// reward where the step is done again.
#[derive(Debug)]
pub(crate) struct Recorded {
    /// By sample; of one that was asked more than once in the step, in that order.
    groups: HashMap<SampleKey, Vec<Vec<Rollout>>>,
}

impl Recorded {
    pub(crate) fn new(rows: Vec<Rollout>) -> Self {
        let mut groups: HashMap<_, Vec<_>> = HashMap::new();
        for group in rows.chunk_by(|a, b| a.group == b.group) {
            groups.entry(group[0].key).or_default().push(group.to_vec());
        }
        Self { groups }
    }

    /// What was answered to `prompts` and said of it.
    pub(crate) fn completed(
        &mut self,
        drawn: &[Drawn],
        prompts: Vec<Prompt>,
        completions: usize,
    ) -> Result<(Vec<Group>, Vec<Scored>)> {
        let one = |(drawn, prompt): (&Drawn, Prompt)| {
            let wrong = |reason: &str| Error::Field { sample: drawn.sample.id.clone(), reason: reason.to_owned() };
            let rows = self.groups.get_mut(&drawn.key).filter(|groups| !groups.is_empty());
            let rows = rows.ok_or_else(|| wrong("it was not asked in the step that was recorded"))?.remove(0);
            if rows.len() != completions {
                return Err(wrong(&format!("{} completions are recorded of {completions}", rows.len())));
            }
            let prompt = Arc::new(prompt);
            let sequences = rows.iter().map(|row| row.sequence(&prompt)).collect::<Result<_>>()?;
            Ok((Group::new(drawn.key, sequences)?, rows.iter().map(Rollout::scored).collect()))
        };
        drawn.iter().zip(prompts).map(one).collect()
    }
}
