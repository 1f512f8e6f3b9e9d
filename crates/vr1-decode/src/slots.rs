//! `P` prompts, `G` completions of each, `B = P·G` rows, `V` vocabulary, `D` hidden.

use tch::{Device, Kind, Tensor};
use vr1_nn::{GrowingCache, Prefix};
use vr1_processor::Prompt;
use vr1_rollout::{Error, Request, Result, Sampling, uniform};
use vr1_torch::Graph;

use super::distribution::{penalised, pick, see, seen};
use super::local::{Drawn, LocalEngine};

/// After how many tokens the host looks whether all completions have ended. A GPU would wait for it; a CPU waits for nothing, and a step
/// too many costs.
fn tokens_a_look(device: Device) -> usize {
    if device.is_cuda() { 16 } else { 1 }
}

/// From how many tokens on a step is recorded: recording takes as long as some steps.
const WORTH_RECORDING: usize = 32;

/// The rows that are decoded side by side. All that a step reads and writes lies on the device, in tensors that keep their place: on a
/// GPU it is recorded once, and replayed without the host.
pub(crate) struct Slots<'a> {
    step: Step<'a>,
    graph: Option<Graph>,
    /// The requests, one a prompt, and how many completions each has.
    requests: &'a [&'a Request],
    group: usize,
    limit: usize,
    /// Tokens drawn.
    drawn: usize,
    /// Which rows have ended, among the first `looked` tokens.
    ended: Vec<bool>,
    looked: usize,
}

/// What a step works on.
struct Step<'a> {
    engine: &'a LocalEngine,
    sampling: &'a Sampling,
    prefix: Prefix,
    cache: GrowingCache,
    /// Hidden states behind each row's last token, `[B, D]`.
    last: Tensor,
    /// Which tokens a row has already, `[B, V]`, where they are penalised.
    seen: Option<Tensor>,
    /// Each row's last token, `[B]`.
    ids: Tensor,
    /// What was drawn and its log-probabilities, `[B, limit]`.
    tokens: Tensor,
    logprobs: Tensor,
    drawn_by: Tensor,
    /// The number of the next token, `[1]`.
    place: Tensor,
    /// The numbers that the tokens up to the next look are drawn by, `[B, tokens a look]`, and which is next, `[1]`.
    noise: Tensor,
    turn: Tensor,
}

impl Step<'_> {
    /// Draws a token for each row from what is behind its last, and writes down what it was.
    fn draw(&mut self) {
        let engine = self.engine;
        let logits = engine.logits(&self.last);
        // What is recorded is the model's own, without penalty, temperature or limits.
        let logprobs = logits.log_softmax(-1, Kind::Float);
        // Log-probabilities are logits too, but for a constant, which only a penalty can tell.
        let reachable = match &self.seen {
            Some(seen) => engine.reachable(&penalised(self.sampling, &logits, Some(seen))),
            None => engine.reachable(&logprobs),
        };
        let noise = self.noise.index_select(1, &self.turn).squeeze_dim(1);
        let (ids, drawn) = pick(self.sampling, &reachable, &noise);
        see(&mut self.seen, &ids);
        let scores = logprobs.gather(1, &ids.unsqueeze(1), false);
        let _ = self.tokens.index_copy_(1, &self.place, &ids.unsqueeze(1));
        let _ = self.logprobs.index_copy_(1, &self.place, &scores);
        let _ = self.drawn_by.index_copy_(1, &self.place, &drawn.unsqueeze(1));
        self.ids.copy_(&ids);
        let _ = self.place.g_add_scalar_(1);
        let _ = self.turn.g_add_scalar_(1);
    }

    /// Runs the model over the rows' last tokens.
    fn advance(&mut self) {
        let hidden = self.engine.model().step(&self.prefix, &mut self.cache, &self.ids);
        self.last.copy_(&hidden);
    }

    fn both(&mut self) {
        self.advance();
        self.draw();
    }
}

impl<'a> Slots<'a> {
    /// The completions of requests of one kind, each with `requests[0].completions`, before their first token.
    pub(crate) fn new(engine: &'a LocalEngine, requests: &'a [&'a Request]) -> Result<Self> {
        let first = requests[0]; // there is one
        let (group, sampling) = (first.completions, &first.sampling);
        let (device, limit) = (engine.model().device(), sampling.max_completion_tokens);
        let prompts: Vec<&Prompt> = requests.iter().map(|request| request.prompt.as_ref()).collect();
        let (hidden, prefix) = engine.model().prefill(&prompts).map_err(Error::engine)?;
        let rows = prompts.len() * group;
        let zeros = |size: &[i64], kind| Tensor::zeros(size, (kind, device));
        let whole = [rows as i64, limit as i64];
        let vocabulary = engine.model().lm_head().size()[0];
        let step = Step {
            engine,
            sampling,
            cache: GrowingCache::new(&prefix, group as i64, limit as i64),
            prefix,
            // Every completion's first token follows its prompt's last.
            last: hidden.repeat_interleave_self_int(group as i64, 0, None),
            seen: seen(sampling, &prompts, group, vocabulary, device),
            ids: zeros(&whole[..1], Kind::Int64),
            tokens: zeros(&whole, Kind::Int64),
            logprobs: zeros(&whole, Kind::Float),
            drawn_by: zeros(&whole, Kind::Float),
            place: zeros(&[1], Kind::Int64),
            noise: zeros(&[rows as i64, tokens_a_look(device) as i64], Kind::Double),
            turn: zeros(&[1], Kind::Int64),
        };
        Ok(Self { step, graph: None, requests, group, limit, drawn: 0, ended: vec![false; rows], looked: 0 })
    }

    /// What becomes of all rows, row by row. Behind a row's end stands what it would have gone on with.
    pub(crate) fn run(mut self) -> Result<Vec<Drawn>> {
        let look = tokens_a_look(self.step.ids.device());
        while self.drawn < self.limit {
            if self.drawn.is_multiple_of(look) {
                if self.all_ended()? {
                    break;
                }
                self.bring_noise(look);
            }
            self.next()?;
        }
        self.take()
    }

    /// One more token of every row.
    fn next(&mut self) -> Result<()> {
        let device = self.step.ids.device();
        match &self.graph {
            _ if self.drawn == 0 => self.step.draw(),
            Some(graph) => graph.replay().map_err(Error::engine)?,
            None if device.is_cuda() && self.limit >= WORTH_RECORDING => {
                self.graph = Some(Graph::record(device, || self.step.both()).map_err(Error::engine)?);
            }
            None => self.step.both(),
        }
        self.drawn += 1;
        Ok(())
    }

    /// The numbers for the tokens up to the next look.
    fn bring_noise(&mut self, look: usize) {
        let (seed, group, from) = (self.step.sampling.seed, self.group, self.drawn);
        let of_row = |row: usize| {
            let key = self.requests[row / group].key;
            (from..from + look).map(move |place| uniform(seed, key, row % group, place))
        };
        let numbers: Vec<f64> = (0..self.ended.len()).flat_map(of_row).collect();
        self.step.noise.copy_(&Tensor::from_slice(&numbers).view_as(&self.step.noise));
        let _ = self.step.turn.zero_();
    }

    fn all_ended(&mut self) -> Result<bool> {
        let new = self.drawn - self.looked;
        if new > 0 {
            let tokens = self.step.tokens.narrow(1, self.looked as i64, new as i64);
            let tokens = Vec::<i64>::try_from(&tokens.flatten(0, 1)).map_err(Error::engine)?;
            let eos = self.step.engine.tokenizer().eos();
            for (ended, tokens) in self.ended.iter_mut().zip(tokens.chunks(new)) {
                *ended |= tokens.iter().any(|id| eos.contains(id));
            }
            self.looked = self.drawn;
        }
        Ok(!self.ended.is_empty() && self.ended.iter().all(|&ended| ended))
    }

    fn take(self) -> Result<Vec<Drawn>> {
        let width = self.drawn;
        let part = |x: &Tensor| x.narrow(1, 0, width as i64).flatten(0, 1);
        let ids = Vec::<i64>::try_from(&part(&self.step.tokens)).map_err(Error::engine)?;
        let [scores, drawn] = [&self.step.logprobs, &self.step.drawn_by]
            .map(|list| Vec::<f32>::try_from(&part(list)).map_err(Error::engine));
        let (scores, drawn) = (scores?, drawn?);
        let row = |row: usize| {
            let span = row * width..(row + 1) * width;
            (ids[span.clone()].to_vec(), scores[span.clone()].to_vec(), drawn[span].to_vec())
        };
        Ok((0..self.ended.len()).map(row).collect())
    }
}
