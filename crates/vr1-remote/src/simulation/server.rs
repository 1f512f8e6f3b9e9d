use std::collections::VecDeque;

use super::Simulation;

/// A request for the completions of a prompt, and how many tokens each will have.
pub(super) struct Ask {
    pub(super) step: usize,
    pub(super) tokens: Vec<f64>,
}

/// A prompt at a server.
struct Prompt {
    step: usize,
    /// Seconds of reading it that are left.
    reading: f64,
    /// Completions that have no row yet.
    waiting: Vec<f64>,
    /// Completions that are not done.
    left: usize,
}

/// A completion that is decoded: its prompt's number, and the tokens that are left and that were drawn.
struct Row {
    prompt: u64,
    tokens: f64,
    drawn: f64,
}

/// What a server did while some time passed.
#[derive(Default)]
pub(super) struct Passed {
    /// Tokens that were drawn.
    pub(super) tokens: f64,
    /// Rows that drew them.
    pub(super) rows: usize,
    /// Tokens of completions that were not done, on average.
    pub(super) held: f64,
}

/// One server's rows and what waits for them.
#[derive(Default)]
pub(super) struct Server {
    prompts: VecDeque<(u64, Prompt)>,
    rows: Vec<Row>,
    taken: u64,
}

/// Less than this of a token is rounding.
const NOTHING: f64 = 1e-9;

impl Server {
    /// Requests that it was handed and that are not done.
    pub(super) fn requests(&self) -> usize {
        self.prompts.len()
    }

    pub(super) fn take(&mut self, ask: Ask, prefill_seconds: f64) {
        let Ask { step, tokens: waiting } = ask;
        let left = waiting.len();
        self.prompts.push_back((self.taken, Prompt { step, reading: prefill_seconds, waiting, left }));
        self.taken += 1;
    }

    /// Gives rows to completions whose prompts were read, as long as there are some, in the order of asking.
    pub(super) fn fill(&mut self, rows: usize) {
        for (number, prompt) in &mut self.prompts {
            if prompt.reading > 0.0 {
                break;
            }
            while self.rows.len() < rows
                && let Some(tokens) = prompt.waiting.pop()
            {
                self.rows.push(Row { prompt: *number, tokens, drawn: 0.0 });
            }
        }
        // A prompt is read only once there is a row for it.
    }

    /// The prompt that is being read: the first that was not, where a row is free for it.
    fn reading(&mut self, rows: usize) -> Option<&mut Prompt> {
        let room = self.rows.len() < rows;
        self.prompts.iter_mut().map(|(_, prompt)| prompt).find(|prompt| prompt.reading > 0.0).filter(|_| room)
    }

    pub(super) fn is_busy(&self) -> bool {
        !self.prompts.is_empty()
    }

    /// Seconds of a token with the rows that there are.
    fn token_seconds(&self, of: &Simulation) -> f64 {
        of.token_seconds + of.row_seconds * self.rows.len() as f64
    }

    /// Seconds until a prompt is read or a completion is done.
    pub(super) fn next(&self, of: &Simulation) -> f64 {
        let unread = self.prompts.iter().map(|(_, prompt)| prompt.reading).find(|reading| *reading > 0.0);
        if let Some(reading) = unread.filter(|_| self.rows.len() < of.rows) {
            return reading;
        }
        let shortest = self.rows.iter().map(|row| row.tokens).fold(f64::INFINITY, f64::min);
        shortest * self.token_seconds(of)
    }

    /// Lets so many seconds pass, none beyond what is next. `done` hears of the step of each request that is done.
    pub(super) fn advance(&mut self, seconds: f64, of: &Simulation, mut done: impl FnMut(usize)) -> Passed {
        let held = self.rows.iter().map(|row| row.drawn).sum::<f64>();
        if let Some(prompt) = self.reading(of.rows) {
            prompt.reading -= seconds;
            if prompt.reading < NOTHING {
                prompt.reading = 0.0;
            }
            return Passed { held, ..Passed::default() };
        }
        let (drawn, rows) = (seconds / self.token_seconds(of), self.rows.len());
        for row in &mut self.rows {
            row.tokens -= drawn;
            row.drawn += drawn;
        }
        let prompts = &mut self.prompts;
        self.rows.retain(|row| {
            if row.tokens > NOTHING {
                return true;
            }
            if let Some((_, prompt)) = prompts.iter_mut().find(|(number, _)| *number == row.prompt) {
                prompt.left -= 1;
            }
            false
        });
        prompts.retain(|(_, prompt)| {
            if prompt.left == 0 {
                done(prompt.step);
            }
            prompt.left > 0
        });
        let tokens = drawn * rows as f64;
        Passed { tokens, rows, held: held + tokens / 2.0 }
    }
}
