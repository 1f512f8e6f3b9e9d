//! `B` seats, `V` vocabulary, `W` tokens from one look of the host to the next.

use tch::{Device, Kind, Tensor};
use vr1_nn::{GrowingCache, Prefix, Seat};
use vr1_rollout::{Error, Result, Sampling};
use vr1_torch::Graph;

use super::distribution::seen;
use super::sampler::{Numbers, Voice};
use super::seating::Seating;

/// After how many tokens the host looks which rows have ended. A GPU would wait for it; a CPU waits for nothing, and a token too many costs.
pub(crate) fn tokens_a_look(device: Device) -> usize {
    if device.is_cuda() { 16 } else { 1 }
}

/// From how many tokens on a step is recorded: recording takes as long as some steps.
const WORTH_RECORDING: usize = 32;

/// A completion on its way.
#[derive(Debug, Default)]
pub(crate) struct Row {
    /// What its randomness hangs on.
    pub(crate) stream: u64,
    /// Its number in its group.
    pub(crate) completion: usize,
    pub(crate) ids: Vec<i64>,
    /// Log-probabilities under the model, those drawn by, and entropies of the model's distribution.
    pub(crate) scores: [Vec<f32>; 3],
}

impl Row {
    pub(crate) fn push(&mut self, id: i64, scores: [f32; 3]) {
        self.ids.push(id);
        self.scores.iter_mut().zip(scores).for_each(|(list, score)| list.push(score));
    }
}

/// What a token of each row is: ids, and its three scores.
pub(crate) type Tokens = Vec<(i64, [f32; 3])>;

/// The rows that are decoded side by side. All that a step reads and writes lies on the device, in tensors that keep their place until rows
/// leave or enter: on a GPU it is recorded once, and replayed without the host.
#[derive(Debug)]
pub(crate) struct Slots {
    step: Step,
    graph: Option<Graph>,
    /// Steps until the longest row has no more room, when these were seated.
    left: usize,
}

/// What a step works on.
#[derive(Debug)]
struct Step {
    voice: Voice,
    sampling: Sampling,
    prefix: Prefix,
    cache: GrowingCache,
    /// Which tokens a row has already, `[B, V]`, where they are penalised.
    seen: Option<Tensor>,
    /// Each row's last token, `[B]`.
    ids: Tensor,
    /// What was drawn since the host looked, `[B, W]` and `[3, B, W]`.
    tokens: Tensor,
    scores: Tensor,
    /// How many these are, `[1]`.
    turn: Tensor,
    /// What they are drawn by.
    numbers: Numbers,
}

impl Step {
    /// Runs the model over the rows' last tokens, draws one more for each, and writes down what it was.
    fn take(&mut self) -> Result<()> {
        let hidden = self.voice.model.step(&self.prefix, &mut self.cache, &self.ids);
        let (ids, scores) = self.voice.draw(&self.sampling, &hidden, &self.numbers, &mut self.seen)?;
        let _ = self.tokens.index_copy_(1, &self.turn, &ids.unsqueeze(1));
        let _ = self.scores.index_copy_(2, &self.turn, &scores.unsqueeze(2));
        self.ids.copy_(&ids);
        let _ = self.turn.g_add_scalar_(1);
        let _ = self.numbers.positions.g_add_scalar_(1);
        Ok(())
    }

    /// The same, recorded.
    fn record(&mut self, device: Device) -> Result<Graph> {
        let mut taken = Ok(());
        let graph = Graph::record(device, || {
            if taken.is_ok() {
                taken = self.take();
            }
        });
        taken.and(graph.map_err(Error::engine))
    }
}

/// What these rows draw their next tokens by; a seat that is empty draws too.
pub(crate) fn numbers<'a>(rows: impl Iterator<Item = Option<&'a Row>>, device: Device) -> Numbers {
    let (states, positions): (Vec<i64>, Vec<i64>) =
        rows.map(|row| row.map_or((0, 0), |row| (row.stream.cast_signed(), row.ids.len() as i64))).unzip();
    let [states, positions] = [states, positions].map(|list| Tensor::from_slice(&list).to_device(device));
    Numbers { states, positions }
}

/// Who sits where.
#[derive(Debug)]
pub(crate) struct Seated<'a> {
    pub(crate) seating: &'a Seating,
    /// The rows, and the seat among those before that each comes from.
    pub(crate) rows: &'a [&'a Row],
    pub(crate) from: &'a [Option<usize>],
    /// The ids of each prompt.
    pub(crate) prompts: &'a [&'a [i64]],
}

impl Slots {
    /// Seats rows that have a token or more, some of whom sat in `before`, whose prompts `prefix` holds now. `limit` is the most tokens of a row.
    pub(crate) fn new(
        voice: &Voice,
        sampling: &Sampling,
        prefix: Prefix,
        before: Option<GrowingCache>,
        seated: &Seated<'_>,
    ) -> Self {
        let (device, look, limit) = (voice.device(), tokens_a_look(voice.device()), sampling.max_completion_tokens);
        let row = |seat: &Option<usize>| seat.map(|row| seated.rows[row]);
        // The last token of a row has no keys yet.
        let length = |row: &Row| row.ids.len() - 1;
        let seat = |seat: &Option<usize>| Seat {
            from: seat.and_then(|row| seated.from[row]),
            length: row(seat).map_or(0, length) as i64,
        };
        let seats: Vec<Seat> = seated.seating.rows.iter().map(seat).collect();
        let lengths = || seated.rows.iter().map(|row| row.ids.len());
        let (longest, shortest) = (lengths().max().unwrap_or(0), lengths().min().unwrap_or(0));
        let room = room(longest - 1 + look, limit, device);
        let cache = GrowingCache::seated(before, &prefix, &seated.seating.prompts, &seats, room as i64);
        let last: Vec<i64> =
            seated.seating.rows.iter().map(|seat| row(seat).map_or(0, |row| row.ids[row.ids.len() - 1])).collect();
        let zeros = |size: &[i64], kind| Tensor::zeros(size, (kind, device));
        let size = [seats.len() as i64, look as i64];
        let group = seats.len() / seated.seating.prompts.len().max(1);
        let words = (0..).zip(&seated.seating.rows).map(|(place, seat): (usize, _)| {
            let prompt = seated.prompts[seated.seating.prompts[place / group]];
            row(seat).map_or_else(|| prompt.to_vec(), |row| [prompt, &row.ids].concat())
        });
        let step = Step {
            seen: seen(sampling, words, voice.vocabulary(), device),
            voice: voice.clone(),
            sampling: sampling.clone(),
            prefix,
            cache,
            ids: Tensor::from_slice(&last).to_device(device),
            tokens: zeros(&size, Kind::Int64),
            scores: zeros(&[3, size[0], size[1]], Kind::Float),
            turn: zeros(&[1], Kind::Int64),
            numbers: numbers(seated.seating.rows.iter().map(row), device),
        };
        Self { step, graph: None, left: limit - shortest }
    }

    /// How many seats there are, empty ones among them.
    pub(crate) fn seats(&self) -> usize {
        self.step.ids.size()[0] as usize
    }

    /// Whether rows of so many tokens have room until the next look.
    pub(crate) fn has_room(&self, longest: usize) -> bool {
        longest - 1 + tokens_a_look(self.step.voice.device()) <= self.step.cache.room() as usize
    }

    /// What the prompts hold, and the rows.
    pub(crate) fn into_parts(self) -> (Prefix, GrowingCache) {
        (self.step.prefix, self.step.cache)
    }

    /// So many more tokens of each row, at most those of a look.
    pub(crate) fn advance(&mut self, count: usize) -> Result<Vec<Tokens>> {
        let device = self.step.voice.device();
        let _ = self.step.turn.zero_();
        for _ in 0..count {
            match &self.graph {
                Some(graph) => graph.replay().map_err(Error::engine)?,
                None if device.is_cuda() && self.left >= WORTH_RECORDING => {
                    self.graph = Some(self.step.record(device)?)
                }
                None => self.step.take()?,
            }
        }
        read(&self.step.tokens, &self.step.scores, count)
    }
}

/// The first `count` tokens of each row, from `[B, W]` and `[3, B, W]`.
pub(crate) fn read(tokens: &Tensor, scores: &Tensor, count: usize) -> Result<Vec<Tokens>> {
    let part = |x: &Tensor| x.narrow(-1, 0, count as i64).contiguous().view(-1);
    let ids = Vec::<i64>::try_from(&part(tokens)).map_err(Error::engine)?;
    let scores = Vec::<f32>::try_from(&part(scores)).map_err(Error::engine)?;
    let all = ids.len();
    let token = |place: usize| (ids[place], [0, 1, 2].map(|list| scores[list * all + place]));
    Ok((0..all / count).map(|row| (row * count..(row + 1) * count).map(token).collect()).collect())
}

/// The room of rows of `needed` tokens: in a few sizes, so that rows do not move often, and no more than `most` allows.
pub(crate) fn room(needed: usize, limit: usize, device: Device) -> usize {
    let least: usize = if device.is_cuda() { 256 } else { 64 };
    needed.next_power_of_two().max(least).min(most_room(limit, device)).max(needed)
}

/// The most room that a row takes.
pub(crate) fn most_room(limit: usize, device: Device) -> usize {
    limit + tokens_a_look(device)
}
