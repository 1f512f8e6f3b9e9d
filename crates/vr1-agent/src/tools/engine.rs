use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use vr1_data::Picture;
use vr1_processor::{Layout, Message, Part, Processor, Prompt, PromptRequest, Role, Specials};
use vr1_rollout::{Engine, Error, Group, Landed, Request, Result, Search, Sequence, Ticket, Version, Weights, stream};

use super::call::Ends;
use super::{Observation, Seen, Tool};

/// An engine whose completions may call tools: what a tool returns, words or pictures, is shown in a turn of its own, and the model goes on.
///
/// A completion is then one [`Sequence`] of several turns. What the model said is trained on, what it was shown is not. A turn that ends with
/// `<tool_call>{"name": …, "arguments": {…}}</tool_call>`, as Qwen's chat templates write it, is a call; what it returns is a user's turn
/// `<tool_response>…</tool_response>`, the words of which are text whatever they spell. A call that cannot be read, of a tool that is not there or
/// that the tool refuses is answered by why. That the tools are there is for the prompt to say.
///
/// [`max_completion_tokens`](vr1_rollout::Sampling) counts what the model says in all turns together. How a turn is drawn follows from the
/// request's seed, the completion and how many calls came before, and does not depend on what else is under way.
pub struct ToolEngine {
    engine: Box<dyn Engine>,
    processor: Arc<Processor>,
    tools: Vec<Box<dyn Tool>>,
    max_calls: usize,
    max_tokens: usize,
    /// What was asked of the engine beneath, by its tickets.
    under_way: HashMap<Ticket, Turn>,
    /// Groups that wait for some of their completions, by their first ticket.
    groups: HashMap<Ticket, Waiting>,
}

#[derive(Debug)]
enum Turn {
    First,
    Further { group: Ticket, completion: usize, so_far: Sequence, calls: usize, seen: Vec<Seen> },
}

#[derive(Debug)]
struct Waiting {
    request: Request,
    done: Vec<Option<Sequence>>,
}

impl ToolEngine {
    /// Completions of `engine` that may make `max_calls` calls each; prompt and completion have at most `max_tokens` tokens, the model's room.
    pub fn new(
        engine: Box<dyn Engine>,
        processor: Arc<Processor>,
        tools: Vec<Box<dyn Tool>>,
        max_calls: usize,
        max_tokens: usize,
    ) -> Self {
        let (under_way, groups) = (HashMap::new(), HashMap::new());
        Self { engine, processor, tools, max_calls, max_tokens, under_way, groups }
    }

    /// Takes what completion `completion` of `group` has come to: it goes on, or is done.
    fn take(
        &mut self,
        group: Ticket,
        completion: usize,
        so_far: Sequence,
        calls: usize,
        seen: Vec<Seen>,
    ) -> Result<()> {
        if let Some((request, so_far, seen)) = self.continued(group, completion, &so_far, calls, seen)? {
            let ticket = self.engine.submit(request)?;
            self.under_way.insert(ticket, Turn::Further { group, completion, so_far, calls: calls + 1, seen });
        } else if let Some(place) = self.groups.get_mut(&group).and_then(|waiting| waiting.done.get_mut(completion)) {
            *place = Some(so_far);
        }
        Ok(())
    }

    /// The next turn's request, the completion with what its call returned, and all that was shown; nothing where it is over.
    fn continued(
        &self,
        group: Ticket,
        completion: usize,
        so_far: &Sequence,
        calls: usize,
        mut seen: Vec<Seen>,
    ) -> Result<Option<(Request, Sequence, Vec<Seen>)>> {
        let Some(Waiting { request, .. }) = self.groups.get(&group) else { return Ok(None) };
        let left = request.sampling.max_completion_tokens.saturating_sub(so_far.trained_tokens());
        if calls == self.max_calls || left == 0 || !so_far.finished() {
            return Ok(None);
        }
        let tokenizer = self.processor.tokenizer();
        // The last turn: what was sampled since something was shown.
        let turn = so_far.trained().iter().rposition(|trained| !trained).map_or(0, |place| place + 1);
        let said = tokenizer.decode(&so_far.ids()[turn..], Specials::Keep)?;
        let end = tokenizer.eos().iter().filter_map(|id| tokenizer.token(*id)).find(|end| said.ends_with(end.as_str()));
        let said = end.and_then(|end| said.strip_suffix(end.as_str())).unwrap_or(&said);
        let returned = match Ends::of(said) {
            Ends::Otherwise => return Ok(None),
            Ends::Broken(reason) => told(reason),
            Ends::Call { name, arguments } => match self.tools.iter().find(|tool| tool.name() == name) {
                Some(tool) => tool.call(&arguments, &seen).unwrap_or_else(told),
                None => told(format!("there is no tool `{name}`")),
            },
        };
        // A picture that the model cannot be shown, such as one a pixel wide, is the call's fault and not the step's.
        let more = returned.pictures.iter().map(|picture| self.seen(picture.clone())).collect::<Result<Vec<_>>>();
        let (returned, more) = match more {
            Ok(more) => (returned, more),
            Err(error) => (told(error.to_string()), Vec::new()),
        };
        let whole = so_far.prompt().followed_by(so_far.tail());
        let (before, sampled) = whole.split(request.prompt.len() + turn).ok_or_else(|| torn(&request.prompt))?;
        let shown = [Message { role: Role::User, parts: parts(&returned) }];
        let sample = request.prompt.sample();
        let further = PromptRequest { sample, messages: &shown, layout: Layout::Chat, prefill: "" };
        let next = self.processor.next_turn(&before, sampled.input_ids(), &further)?;
        if next.len() >= self.max_tokens {
            return Ok(None);
        }
        let (_, observation) = next.split(whole.len()).ok_or_else(|| torn(&request.prompt))?;
        let text = tokenizer.decode(observation.input_ids(), Specials::Skip)?;
        seen.extend(more);
        let next = next.with_pictures(seen.iter().map(|seen| Picture::Pixels(seen.pixels.clone())).collect());
        let mut sampling = request.sampling.clone();
        sampling.max_completion_tokens = left.min(self.max_tokens - next.len());
        sampling.seed = stream(sampling.seed.wrapping_add(calls as u64 + 1), request.key, completion);
        let request = Request::new(next, 1, sampling, request.key);
        Ok(Some((request, so_far.clone().followed_by(&observation, &text), seen)))
    }

    /// A picture and how large the model sees it.
    fn seen(&self, pixels: Arc<image::RgbImage>) -> Result<Seen> {
        let (width, height) = pixels.dimensions();
        let size = match self.processor.images() {
            Some(images) => {
                let (height, width) = images.resized(height, width)?;
                (width, height)
            }
            None => (width, height),
        };
        Ok(Seen { pixels, size })
    }

    /// What a prompt shows.
    fn shown(&self, prompt: &Prompt) -> Result<Vec<Seen>> {
        let conversation = prompt.conversation().filter(|conversation| conversation.layout == Layout::Chat);
        let conversation = conversation.ok_or_else(|| {
            Error::engine(format!(
                "sample {}: tools answer in turns, and want a prompt that was made with the chat template",
                prompt.sample()
            ))
        })?;
        let pictures = conversation.messages.iter().flat_map(Message::images);
        let one = |picture: &Picture| self.seen(Arc::new(picture.load().map_err(Error::engine)?.into_owned()));
        pictures.map(one).collect()
    }

    /// Waits until groups are whole; nothing where nothing is under way.
    fn advance(&mut self) -> Result<Vec<(Ticket, Group)>> {
        loop {
            let more = self.engine.poll()?;
            if more.is_empty() {
                return Ok(Vec::new());
            }
            for (ticket, group) in more {
                match self.under_way.remove(&ticket) {
                    Some(Turn::First) => {
                        let seen = self.shown(group.prompt())?;
                        for (completion, sequence) in group.sequences().iter().enumerate() {
                            self.take(ticket, completion, sequence.clone(), 0, seen.clone())?;
                        }
                    }
                    Some(Turn::Further { group: first, completion, so_far, calls, seen }) => {
                        let so_far = so_far.then(&group.sequences()[0])?;
                        self.take(first, completion, so_far, calls, seen)?;
                    }
                    None => {}
                }
            }
            let whole = self.whole()?;
            if !whole.is_empty() {
                return Ok(whole);
            }
        }
    }

    /// Groups that have all their completions.
    fn whole(&mut self) -> Result<Vec<(Ticket, Group)>> {
        let done: Vec<Ticket> = self
            .groups
            .iter()
            .filter(|(_, waiting)| waiting.done.iter().all(Option::is_some))
            .map(|(ticket, _)| *ticket)
            .collect();
        let one = |ticket: Ticket| {
            let waiting = self.groups.remove(&ticket)?;
            Some(
                Group::new(waiting.request.key, waiting.done.into_iter().flatten().collect())
                    .map(|group| (ticket, group)),
            )
        };
        done.into_iter().filter_map(one).collect()
    }
}

fn told(reason: String) -> Observation {
    Observation { text: format!("error: {reason}"), ..Observation::default() }
}

fn torn(prompt: &Prompt) -> Error {
    Error::engine(format!("sample {}: a turn ends within a picture", prompt.sample()))
}

/// What a tool returned, as Qwen's templates write it.
fn parts(returned: &Observation) -> Vec<Part> {
    let mut parts = vec![Part::from("<tool_response>\n")];
    parts.extend(returned.pictures.iter().cloned().map(Part::from));
    parts.push(Part::Text(format!("{}\n</tool_response>", returned.text)));
    parts
}

impl fmt::Debug for ToolEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToolEngine")
            .field("tools", &self.tools)
            .field("max_calls", &self.max_calls)
            .finish_non_exhaustive()
    }
}

impl Engine for ToolEngine {
    fn submit(&mut self, request: Request) -> Result<Ticket> {
        if request.search != Search::Draw {
            return Err(Error::engine("beams and tools do not go together: a beam has no turns"));
        }
        self.shown(&request.prompt)?;
        let ticket = self.engine.submit(request.clone())?;
        self.under_way.insert(ticket, Turn::First);
        self.groups.insert(ticket, Waiting { done: vec![None; request.completions], request });
        Ok(ticket)
    }

    fn poll(&mut self) -> Result<Vec<(Ticket, Group)>> {
        let whole = self.advance();
        if whole.is_err() {
            self.under_way.clear();
            self.groups.clear();
        }
        whole
    }

    fn load(&mut self, weights: &dyn Weights) -> Result<Version> {
        self.engine.load(weights)
    }

    fn take_seconds(&mut self) -> Vec<(&'static str, f64)> {
        self.engine.take_seconds()
    }

    fn landed(&self) -> Option<Landed> {
        self.engine.landed()
    }

    fn follow(&mut self, landed: &Landed) -> Result<Version> {
        self.engine.follow(landed)
    }

    fn tolerance(&self) -> Option<f64> {
        self.engine.tolerance()
    }

    fn probe(&mut self, request: &Request) -> Result<Vec<(String, Sequence)>> {
        self.engine.probe(request)
    }

    fn take_warnings(&mut self) -> Vec<String> {
        self.engine.take_warnings()
    }
}
