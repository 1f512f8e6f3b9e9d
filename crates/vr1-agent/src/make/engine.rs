use std::fmt;

use vr1_processor::{Layout, Processor, PromptRequest};
use vr1_rollout::{Engine, Request, SampleKey, Ticket};

use super::{Call, Failure, Replied, Reply, Teacher};
use crate::Result;

/// Calls that cannot be made have tickets of their own, from the last number down.
const FAILED: u64 = u64::MAX;

/// Rows are made with a model that an engine samples from.
pub struct EngineTeacher<'a> {
    name: String,
    engine: &'a mut dyn Engine,
    processor: &'a Processor,
    layout: Layout,
    /// How many tokens a prompt and its completion may have together.
    room: usize,
    failed: Vec<Replied>,
    failures: u64,
}

impl<'a> EngineTeacher<'a> {
    /// The model `name` that `engine` samples from, whose prompts `processor` makes; with its completion a prompt may have `room` tokens.
    pub fn new(
        name: impl Into<String>,
        engine: &'a mut dyn Engine,
        processor: &'a Processor,
        layout: Layout,
        room: usize,
    ) -> Self {
        Self { name: name.into(), engine, processor, layout, room, failed: vec![], failures: 0 }
    }

    fn request(&self, call: &Call) -> Result<Request> {
        let Call { sample, messages, prefill, .. } = call;
        let prompt = self.processor.prompt(&PromptRequest { sample, messages, layout: self.layout, prefill })?;
        prompt.check_fits(self.room.saturating_sub(call.sampling.max_completion_tokens))?;
        let key = SampleKey { index: call.question, ..SampleKey::default() };
        Ok(Request::new(prompt, call.count, call.sampling.clone(), key))
    }
}

impl fmt::Debug for EngineTeacher<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineTeacher").field("name", &self.name).field("layout", &self.layout).finish_non_exhaustive()
    }
}

impl Teacher for EngineTeacher<'_> {
    fn name(&self) -> &str {
        &self.name
    }

    fn at_once(&self) -> usize {
        64
    }

    fn submit(&mut self, call: Call) -> Result<Ticket> {
        match self.request(&call) {
            Ok(request) => Ok(self.engine.submit(request)?),
            Err(error) => {
                let ticket = Ticket(FAILED - self.failures);
                self.failures += 1;
                self.failed.push((ticket, Err(Failure::Call(error.to_string()))));
                Ok(ticket)
            }
        }
    }

    fn poll(&mut self) -> Result<Vec<Replied>> {
        if !self.failed.is_empty() {
            return Ok(std::mem::take(&mut self.failed));
        }
        let group = |(ticket, group): (Ticket, vr1_rollout::Group)| {
            let reply = |sequence: &vr1_rollout::Sequence| Reply {
                text: sequence.text().to_owned(),
                cut: !sequence.finished(),
                tokens: sequence.ids().len(),
            };
            (ticket, Ok(group.sequences().iter().map(reply).collect()))
        };
        Ok(self.engine.poll()?.into_iter().map(group).collect())
    }
}
