//! SGLang's own endpoint: `POST /generate`.

use serde_json::{Value, json};
use vr1_processor::{Part, Prompt};

use super::asked::{conversation, lossless, placeheld};
use super::check::Checking;
use super::fleet::Heard;
use super::job::{Completion, Job};
use super::vocabulary::Vocabulary;
use crate::{Error, Result};

/// The body that asks for all completions of a prompt: each has a seed of its own.
pub(crate) fn body(job: &Job, vocabulary: &Vocabulary) -> Result<Value> {
    let (sampling, count) = (&job.request.sampling, job.different());
    let settings = |completion: usize| {
        json!({
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "top_k": if sampling.top_k == 0 { -1 } else { sampling.top_k },
            "min_p": sampling.min_p,
            "repetition_penalty": sampling.repetition_penalty,
            "max_new_tokens": sampling.max_completion_tokens,
            "stop_token_ids": vocabulary.tokenizer.eos(),
            "logit_bias": vocabulary.never,
            "sampling_seed": job.seed(completion),
            "skip_special_tokens": false,
            "no_stop_trim": true,
        })
    };
    let mut body = json!({
        "sampling_params": (0..count).map(settings).collect::<Vec<_>>(),
        "return_logprob": true,
        "stream": false,
    });
    let prompt = &job.request.prompt;
    if prompt.media().is_empty() {
        body["input_ids"] = vec![prompt.input_ids(); count].into();
    } else {
        let uris = match prompt.pictures() {
            Some(pictures) => {
                body["input_ids"] = vec![placeheld(job, pictures)?; count].into();
                pictures.iter().map(|picture| Ok(picture.file()?.data_uri())).collect::<Result<_>>()?
            }
            None => {
                body["text"] = vec![prompt.text(); count].into();
                shown(job)?
            }
        };
        body["image_data"] = vec![uris; count].into();
        // Tokens of the text and of pictures are made there; it says which, asked from the first on.
        body["logprob_start_len"] = 0.into();
    }
    if job.target.adapter {
        body["lora_path"] = vec![&*job.target.name; count].into();
    }
    Ok(body)
}

/// The pictures of a conversation.
fn shown(job: &Job) -> Result<Vec<String>> {
    let parts = conversation(job)?.messages.iter().flat_map(|message| &message.parts);
    let uri = |part: &Part| match part {
        Part::Image(picture) => Some(lossless(picture).and_then(|picture| Ok(picture.file()?.data_uri()))),
        Part::Video(_) => Some(Err(Error::Unshowable { what: "a video" })),
        _ => None,
    };
    parts.filter_map(uri).collect()
}

pub(crate) fn hear(checking: &Checking<'_>) -> Result<Heard<Vec<Completion>>> {
    let job = checking.job;
    let list = match checking.said {
        Value::Array(list) => list.as_slice(),
        one => std::slice::from_ref(one),
    };
    let broken = |one: &Value| one["meta_info"]["finish_reason"]["type"] == "abort";
    if list.iter().any(broken) {
        return Ok(Heard::BrokenOff);
    }
    checking.count(list.len(), job.different())?;
    let mut made = Vec::with_capacity(list.len());
    for one in list {
        let meta = &one["meta_info"];
        let prompt = &job.request.prompt;
        if prompt.media().is_empty() {
            if meta["prompt_tokens"] != prompt.len() {
                let reason = format!("a prompt of {} tokens, where it has {}", meta["prompt_tokens"], prompt.len());
                return Err(checking.wrong(reason));
            }
        } else {
            checking.prompt(&prompt_ids(meta, prompt))?;
        }
        let ids = checking.ids(&one["output_ids"], "`output_ids`")?;
        let given = meta["output_token_logprobs"].as_array();
        let given = given.ok_or_else(|| checking.wrong("a completion has no `output_token_logprobs`"))?;
        if given.iter().zip(&ids).any(|(entry, id)| entry[1].as_i64() != Some(*id)) {
            return Err(checking.wrong("its log-probabilities are of other tokens than it gives"));
        }
        let logprobs = checking.logprobs(given.iter().map(|entry| &entry[0]))?;
        let reason = meta["finish_reason"]["type"].as_str().unwrap_or_default();
        made.push(checking.completion(ids, logprobs, reason)?);
    }
    Ok(Heard::Answer(made))
}

/// A prompt's ids as it says them. A picture's tokens are numbers of the picture there, beyond all ids, and 0 in what it says: how many they are is
/// what is left of them.
fn prompt_ids(meta: &Value, ours: &Prompt) -> Value {
    let mut ids: Vec<Value> =
        meta["input_token_logprobs"].as_array().into_iter().flatten().map(|entry| entry[1].clone()).collect();
    for place in ours.media().iter().flat_map(|span| span.range.clone()) {
        if let Some(id) = ids.get_mut(place).filter(|id| **id == 0) {
            *id = ours.input_ids()[place].into();
        }
    }
    ids.into()
}
