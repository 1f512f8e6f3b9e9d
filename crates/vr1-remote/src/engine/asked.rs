//! What kinds of servers are asked, and how they say it.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use vr1_data::Picture;
use vr1_processor::{Conversation, Layout, TokenType, Voice};
use vr1_rollout::Finish;

use super::ServerKind;
use super::check::Checking;
use super::fleet::Heard;
use super::job::{Completion, Job};
use super::vocabulary::Vocabulary;
use crate::{ChatMessage, ChatPart, Error, Result};

/// Where vLLM takes ids beside what they stand for, if it was started to.
pub(crate) const TOKENS: &str = "/inference/v1/generate";

/// Where a job's completions are asked for, and how.
pub(crate) fn question(kind: ServerKind, job: &Job, vocabulary: &Vocabulary) -> Result<(&'static str, Value)> {
    let prompt = &job.request.prompt;
    Ok(match (kind, prompt.media().is_empty()) {
        (ServerKind::Vllm, true) => ("/v1/completions", completions(job, vocabulary)),
        (ServerKind::Vllm, false) => match prompt.pictures() {
            Some(pictures) => (TOKENS, tokens(job, pictures, vocabulary)?),
            None => ("/v1/chat/completions", chat(job, vocabulary)?),
        },
        (ServerKind::Sglang, _) => ("/generate", super::sglang::body(job, vocabulary)?),
        (ServerKind::Openai, _) => ("/v1/chat/completions", plain(job)?),
    })
}

/// What a server said to that: a completion for each that was asked for.
pub(crate) fn hear(kind: ServerKind, checking: &Checking<'_>) -> Result<Heard<Vec<Completion>>> {
    let heard = match kind {
        ServerKind::Vllm => vllm(checking),
        ServerKind::Sglang => super::sglang::hear(checking),
        ServerKind::Openai => openai(checking),
    };
    Ok(match heard? {
        Heard::BrokenOff => Heard::BrokenOff,
        // Where the likeliest token is taken, all completions are one.
        Heard::Answer(made) => {
            let wanted = checking.job.request.completions;
            Heard::Answer((0..wanted).filter_map(|i| made.get(i.min(made.len().saturating_sub(1))).cloned()).collect())
        }
    })
}

/// Whether a prompt can be asked for, before a server is.
pub(crate) fn check(kind: ServerKind, job: &Job) -> Result<()> {
    let prompt = &job.request.prompt;
    match kind {
        ServerKind::Vllm | ServerKind::Sglang if prompt.media().is_empty() => Ok(()),
        ServerKind::Vllm | ServerKind::Sglang if prompt.pictures().is_some() => Ok(()),
        _ => conversation(job).map(drop),
    }
}

/// The settings that vLLM's ways share; each is said, so that none comes from the checkpoint.
fn sampling(job: &Job, vocabulary: &Vocabulary) -> Map<String, Value> {
    let sampling = &job.request.sampling;
    let settings = json!({
        "n": job.different(),
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": if sampling.top_k == 0 { -1 } else { sampling.top_k },
        "min_p": sampling.min_p,
        "repetition_penalty": sampling.repetition_penalty,
        "max_tokens": sampling.max_completion_tokens,
        "seed": job.seed(0),
        "stop_token_ids": vocabulary.tokenizer.eos(),
        "logit_bias": vocabulary.never,
    });
    if let Value::Object(settings) = settings { settings } else { Map::new() }
}

/// The same for the ways that have them beside all else.
fn settings(job: &Job, vocabulary: &Vocabulary) -> Map<String, Value> {
    let mut settings = sampling(job, vocabulary);
    settings.insert("model".to_owned(), (*job.target.name).into());
    settings.insert("return_token_ids".to_owned(), true.into());
    settings.insert("return_tokens_as_token_ids".to_owned(), true.into());
    settings
}

/// Tokens in, tokens out.
fn completions(job: &Job, vocabulary: &Vocabulary) -> Value {
    let mut body = settings(job, vocabulary);
    body.insert("prompt".to_owned(), job.request.prompt.input_ids().into());
    body.insert("logprobs".to_owned(), 0.into());
    body.into()
}

/// Tokens and pictures in, tokens out.
fn tokens(job: &Job, pictures: &[Picture], vocabulary: &Vocabulary) -> Result<Value> {
    let part = |picture: &Picture| Ok(json!({"type": "image_url", "url": picture.file()?.data_uri()}));
    let mut sampling = sampling(job, vocabulary);
    sampling.insert("logprobs".to_owned(), 0.into());
    Ok(json!({
        "model": *job.target.name,
        "token_ids": placeheld(job, pictures)?,
        "content_parts": pictures.iter().map(part).collect::<Result<Vec<_>>>()?,
        "sampling_params": sampling,
        "return_token_ids": true,
    }))
}

/// A prompt's ids in which each picture is one placeholder, which the server makes as many of as there should be.
pub(crate) fn placeheld(job: &Job, pictures: &[Picture]) -> Result<Vec<i64>> {
    let prompt = &job.request.prompt;
    let shown = prompt.media();
    if shown.len() != pictures.len() || shown.iter().any(|span| span.kind != TokenType::Image) {
        let reason = format!("it shows {} pieces of media, made of {} pictures", shown.len(), pictures.len());
        return Err(Error::Prompt { sample: job.sample().to_owned(), reason });
    }
    let repeated = |place: usize| shown.iter().any(|span| span.range.start < place && place < span.range.end);
    let ids = prompt.input_ids().iter().enumerate().filter(|(place, _)| !repeated(*place)).map(|(_, id)| *id);
    Ok(ids.collect())
}

/// A conversation in, since the server cuts pictures itself; tokens out.
fn chat(job: &Job, vocabulary: &Vocabulary) -> Result<Value> {
    let mut body = settings(job, vocabulary);
    let conversation = conversation(job)?;
    body.insert("messages".to_owned(), messages(conversation, Exact::Pixels)?.into());
    body.insert("logprobs".to_owned(), true.into());
    body.insert("top_logprobs".to_owned(), 0.into());
    if !conversation.prefill.is_empty() {
        body.insert("continue_final_message".to_owned(), true.into());
        body.insert("add_generation_prompt".to_owned(), false.into());
    }
    Ok(body.into())
}

fn vllm(checking: &Checking<'_>) -> Result<Heard<Vec<Completion>>> {
    let said = checking.said;
    let choices = said["choices"].as_array().ok_or_else(|| checking.wrong("it has no `choices`"))?;
    if choices.iter().any(|choice| choice["finish_reason"] == "abort") {
        return Ok(Heard::BrokenOff);
    }
    if said["model"] != *checking.job.target.name {
        let wanted = &checking.job.target.name;
        return Err(checking.wrong(format!("it is of model {}, where `{wanted}` was asked", said["model"])));
    }
    checking.count(choices.len(), checking.job.different())?;
    let mut made: Vec<(u64, Completion)> = Vec::with_capacity(choices.len());
    for choice in choices {
        let prompt =
            if said["prompt_token_ids"].is_null() { &choice["prompt_token_ids"] } else { &said["prompt_token_ids"] };
        checking.prompt(prompt)?;
        let ids = checking.ids(&choice["token_ids"], "the completion's ids")?;
        let given = &choice["logprobs"];
        let logprobs = match (given["token_logprobs"].as_array(), given["content"].as_array()) {
            (Some(list), _) => checking.logprobs(list.iter())?,
            (_, Some(list)) => checking.logprobs(list.iter().map(|token| &token["logprob"]))?,
            _ => return Err(checking.wrong("a completion has no log-probabilities")),
        };
        let reason = choice["finish_reason"].as_str().unwrap_or_default();
        let index = choice["index"].as_u64().unwrap_or(made.len() as u64);
        made.push((index, checking.completion(ids, logprobs, reason)?));
    }
    made.sort_by_key(|(index, _)| *index);
    Ok(Heard::Answer(made.into_iter().map(|(_, completion)| completion).collect()))
}

/// What every server understands; what is not said is left to it.
fn plain(job: &Job) -> Result<Value> {
    let (sampling, conversation) = (&job.request.sampling, conversation(job)?);
    let mut body = json!({
        "model": *job.target.name,
        "messages": messages(conversation, Exact::File)?,
        "temperature": sampling.temperature,
        "max_tokens": sampling.max_completion_tokens,
        "seed": job.seed(0),
    });
    let mut say = |key: &str, said: bool, value: Value| {
        if said {
            body[key] = value;
        }
    };
    say("n", job.different() != 1, job.different().into());
    say("top_p", sampling.top_p != 1.0, sampling.top_p.into());
    say("top_k", sampling.top_k != 0, sampling.top_k.into());
    say("min_p", sampling.min_p != 0.0, sampling.min_p.into());
    say("repetition_penalty", sampling.repetition_penalty != 1.0, sampling.repetition_penalty.into());
    Ok(body)
}

/// Words, spelt by our tokenizer: good to be read, not to be learnt from.
fn openai(checking: &Checking<'_>) -> Result<Heard<Vec<Completion>>> {
    let choices = checking.said["choices"].as_array().ok_or_else(|| checking.wrong("it has no `choices`"))?;
    checking.count(choices.len(), checking.job.different())?;
    let mut made = Vec::with_capacity(choices.len());
    for choice in choices {
        let words = choice["message"]["content"].as_str();
        let words = words.ok_or_else(|| checking.wrong("a choice has no words"))?;
        let spelt = checking.tokenizer.encode_words(words, Voice::Model);
        let mut ids = spelt.map_err(|error| checking.wrong(error.to_string()))?;
        let finish = match choice["finish_reason"].as_str() {
            Some("abort") => return Ok(Heard::BrokenOff),
            Some("stop") => {
                ids.extend(checking.tokenizer.eos().first());
                Finish::Ended
            }
            _ => Finish::Length,
        };
        made.push(Completion { logprobs: vec![f32::NAN; ids.len()], ids, finish });
    }
    Ok(Heard::Answer(made))
}

/// How pictures travel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Exact {
    /// Decoded here, without loss: two decoders of JPEG need not agree.
    Pixels,
    /// As they are.
    File,
}

/// The conversation that a server is to make a prompt of.
pub(crate) fn conversation(job: &Job) -> Result<&Arc<Conversation>> {
    let cannot = |reason: &str| Error::Prompt { sample: job.sample().to_owned(), reason: reason.to_owned() };
    let conversation = job.request.prompt.conversation();
    let conversation = conversation.ok_or_else(|| {
        cannot("it was extended, cut, or shows something else than was read, and a server makes its prompts of whole conversations")
    })?;
    match conversation.layout {
        Layout::Chat => Ok(conversation),
        _ => {
            Err(cannot("it was made without the chat template (`layout: raw`), and a server makes its prompts with it"))
        }
    }
}

/// The messages of a conversation as servers take them, the prefill among them.
pub(crate) fn messages(conversation: &Conversation, exact: Exact) -> Result<Vec<Value>> {
    let mut messages = Vec::with_capacity(conversation.messages.len() + 1);
    for message in &conversation.messages {
        let mut message = ChatMessage::of(message)?;
        if exact == Exact::Pixels {
            for part in &mut message.parts {
                if let ChatPart::Picture(picture) = part {
                    *picture = lossless(picture)?;
                }
            }
        }
        messages.push(message.value()?);
    }
    if !conversation.prefill.is_empty() {
        messages.push(ChatMessage::assistant(&conversation.prefill).value()?);
    }
    Ok(messages)
}

/// The picture's pixels as they are seen here.
pub(crate) fn lossless(picture: &Picture) -> Result<Picture> {
    Ok(Picture::Pixels(Arc::new(picture.load()?.into_owned())))
}
