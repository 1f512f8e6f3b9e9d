use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;

use vr1_remote::{Chat, ChatMessage, ChatRequest, Finished};
use vr1_rollout::Ticket;

use super::{Call, Failure, Replied, Reply, Teacher};
use crate::{Error, Result};

/// Rows are made with a model behind a server, which so many threads ask at a time.
#[derive(Debug)]
pub struct ServerTeacher {
    chat: Chat,
    at_once: usize,
    /// Gone when this is, which ends the threads.
    calls: mpsc::Sender<(Ticket, Call)>,
    replied: mpsc::Receiver<Replied>,
    submitted: u64,
    under_way: usize,
}

impl ServerTeacher {
    /// The model that `chat` asks, by `at_once` threads, at least one.
    ///
    /// # Errors
    /// If a thread cannot be had.
    pub fn new(chat: Chat, at_once: usize) -> std::io::Result<Self> {
        let ((calls, waiting), (done, replied)) = (mpsc::channel(), mpsc::channel());
        let waiting: Arc<Mutex<mpsc::Receiver<(Ticket, Call)>>> = Arc::new(Mutex::new(waiting));
        let at_once = at_once.max(1);
        for _ in 0..at_once {
            let (chat, waiting, done) = (chat.clone(), waiting.clone(), done.clone());
            thread::Builder::new().name("vr1-make".to_owned()).spawn(move || {
                loop {
                    // One waits for a call, the others for their turn to.
                    let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok((ticket, call)) = next else { return };
                    if done.send((ticket, ask(&chat, &call))).is_err() {
                        return;
                    }
                }
            })?;
        }
        Ok(Self { chat, at_once, calls, replied, submitted: 0, under_way: 0 })
    }
}

impl Teacher for ServerTeacher {
    fn name(&self) -> &str {
        self.chat.model()
    }

    /// Twice as many as are asked at a time, so that nobody waits for a question to be made.
    fn at_once(&self) -> usize {
        2 * self.at_once
    }

    fn submit(&mut self, call: Call) -> Result<Ticket> {
        let ticket = Ticket(self.submitted);
        let sample = call.sample.clone();
        let gone = |_| Error::Teacher { sample, reason: "the threads that ask have ended".to_owned() };
        self.calls.send((ticket, call)).map_err(gone)?;
        self.submitted += 1;
        self.under_way += 1;
        Ok(ticket)
    }

    fn poll(&mut self) -> Result<Vec<Replied>> {
        if self.under_way == 0 {
            return Ok(vec![]);
        }
        let gone = |_| Error::Teacher { sample: String::new(), reason: "the threads that ask have ended".to_owned() };
        let mut done = vec![self.replied.recv().map_err(gone)?];
        done.extend(self.replied.try_iter());
        self.under_way -= done.len();
        Ok(done)
    }
}

fn ask(chat: &Chat, call: &Call) -> Result<Vec<Reply>, Failure> {
    let messages = call.messages.iter().map(ChatMessage::of).collect::<Result<_, _>>();
    let messages = messages.map_err(|error| Failure::Call(error.to_string()))?;
    let sampling = &call.sampling;
    let limited = |value: f64, none: f64| (value != none).then_some(value);
    let request = ChatRequest {
        n: call.count,
        temperature: Some(sampling.temperature),
        top_p: limited(sampling.top_p, 1.0),
        top_k: (sampling.top_k > 0).then_some(sampling.top_k),
        min_p: limited(sampling.min_p, 0.0),
        repetition_penalty: limited(sampling.repetition_penalty, 1.0),
        max_tokens: Some(sampling.max_completion_tokens),
        seed: Some(sampling.seed),
        ..ChatRequest::new(messages)
    };
    let answer = chat.ask(&request.with_prefill(&call.prefill, chat.prefill())).map_err(|error| {
        let reason = error.to_string();
        if error.is_about_the_request() { Failure::Call(reason) } else { Failure::Model(reason) }
    })?;
    // What several took together is shared out by their lengths.
    let letters: usize = answer.choices.iter().map(|choice| choice.text.len()).sum();
    let tokens = answer.usage.map_or(0, |usage| usage.completion_tokens as usize);
    let share = |length: usize| (tokens * length).checked_div(letters).unwrap_or_default();
    let reply = |choice: vr1_remote::Choice| Reply {
        tokens: share(choice.text.len()),
        cut: !matches!(choice.finish, Finished::Stop),
        text: choice.text,
    };
    Ok(answer.choices.into_iter().map(reply).collect())
}
