//! An engine over servers that answer as vLLM does, and over others that are broken, busy, gone or lie.

mod broadcast;
mod pictures;
mod push;
mod sglang;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use vr1_data::Picture;
use vr1_processor::{Layout, Message, Processor, Prompt, PromptRequest, Role};
use vr1_remote::{EngineConfig, Purpose, Push, ServerEngine, ServerKind};
use vr1_rollout::{Engine, Finish, Landed, Request, SampleKey, Sampling, Version, Weights};

use crate::server::{self, Server};

const OK: &str = "200 OK";

fn processor() -> Processor {
    Processor::from_dir(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/assets/tiny")).unwrap()
}

fn prompt(message: Message) -> Prompt {
    let request = PromptRequest { sample: "s", messages: &[message], layout: Layout::Chat, prefill: "" };
    processor().prompt(&request).unwrap()
}

fn words() -> Prompt {
    prompt(Message::text(Role::User, "Is it red?"))
}

fn request(completions: usize, sampling: Sampling) -> Request {
    Request::new(words(), completions, sampling, SampleKey::default())
}

fn drawn() -> Sampling {
    Sampling { max_completion_tokens: 3, ..Sampling::default() }
}

/// What a server that is well has at the paths by which it is looked at.
fn looked_at(path: &str) -> Option<(&'static str, String)> {
    let said = match path {
        "/v1/models" => json!({"data": [{"id": "tiny", "max_model_len": 1024}]}),
        "/server_info?config_format=json" => {
            json!({"vllm_config": {"model_config": {"logprobs_mode": "processed_logprobs"}}})
        }
        "/health" => json!({}),
        _ => return None,
    };
    Some((OK, said.to_string()))
}

/// vLLM's answer to a completions request: the end token behind two others, each choice by its own.
fn completions(body: &Value) -> Value {
    let end = processor().tokenizer().eos()[0];
    let choice = |index: u64| {
        json!({"index": index, "text": "", "finish_reason": "stop", "prompt_token_ids": body["prompt"],
               "token_ids": [10 + index, 20, end],
               "logprobs": {"token_logprobs": [-1.5, -9999.0, -0.25]}})
    };
    let choices: Vec<Value> = (0..body["n"].as_u64().unwrap()).map(choice).collect();
    json!({"model": body["model"], "choices": choices})
}

fn well(path: &str, body: &Value) -> Option<(&'static str, String)> {
    looked_at(path).or_else(|| Some((OK, completions(body).to_string())))
}

fn config(servers: &[&Server]) -> EngineConfig {
    let urls = servers.iter().map(|server| server.url.clone()).collect();
    EngineConfig { in_flight: 4, retries: 1, ..EngineConfig::new(ServerKind::Vllm, urls, "tiny") }
}

fn engine(config: EngineConfig) -> ServerEngine {
    ServerEngine::open(config, processor().tokenizer().clone(), 789, Purpose::Training).unwrap()
}

/// The error of one request to a server that answers the first completions request of it so.
fn told(answer: impl Fn(&Value) -> Option<(&'static str, String)> + Send + Sync + 'static) -> (String, usize) {
    let server = Server::answering(move |path, body| looked_at(path).or_else(|| answer(body)));
    let error = engine(config(&[&server])).generate(vec![request(2, drawn())]).unwrap_err().to_string();
    let asked = server.paths().iter().filter(|path| *path == "/v1/completions").count();
    (error.replace(&server.url.replace("/v1", ""), "URL"), asked)
}

/// Weights that are a file.
struct FakeWeights {
    version: u64,
    adapter: bool,
}

impl Weights for FakeWeights {
    fn version(&self) -> Version {
        Version(self.version)
    }

    fn write(&self, dir: &Path) -> vr1_rollout::Result<()> {
        std::fs::write(dir.join("config.json"), "{}").map_err(vr1_rollout::Error::engine)
    }

    fn write_adapter(&self, dir: &Path) -> vr1_rollout::Result<bool> {
        if self.adapter {
            std::fs::write(dir.join("adapter_config.json"), "{}").map_err(vr1_rollout::Error::engine)?;
        }
        Ok(self.adapter)
    }

    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
}

#[test]
fn tokens_go_in_and_come_out_with_what_they_were_drawn_by() {
    let server = Server::answering(well);
    let mut engine = engine(config(&[&server]));
    let key = SampleKey { dataset: 0, epoch: 1, index: 7 };
    let requests = vec![request(3, drawn()), Request { key, ..request(3, drawn()) }];
    let groups = engine.generate(requests.clone()).unwrap();
    let (first, end) = (&groups[0].sequences()[1], processor().tokenizer().eos()[0]);
    assert_eq!(first.ids(), [11, 20, end]);
    let sampled = first.sampled().unwrap();
    assert_eq!(sampled.drawn, [-1.5, f32::NEG_INFINITY, -0.25]);
    assert!(
        sampled.logprobs.iter().all(|own| own.is_nan()),
        "ids that are never sampled were left out of what it says"
    );
    assert_eq!((sampled.finish, sampled.version), (Finish::Ended, Version(0)));
    assert_eq!(groups[1].key(), key);
    engine.generate(requests).unwrap();
    let bodies: Vec<Value> = server
        .asked()
        .iter()
        .filter(|asked| asked.contains("/v1/completions"))
        .map(|asked| server::body(asked))
        .collect();
    assert_eq!(bodies[0]["prompt"], json!(words().input_ids()));
    let count = |of: &str| bodies.iter().map(|body| body[of].to_string()).collect::<std::collections::BTreeSet<_>>();
    assert_eq!(count("seed").len(), 2, "what is asked again has the same seed, and another sample another");
    assert_eq!((&bodies[0]["n"], &bodies[0]["top_k"], &bodies[0]["logprobs"]), (&json!(3), &json!(-1), &json!(0)));
    let pad = processor().tokenizer().image_pad().unwrap().to_string();
    assert_eq!(bodies[0]["logit_bias"][pad], json!(-100.0), "what stands for pixels is not sampled");
}

#[test]
fn the_likeliest_is_asked_for_once_however_many_are_wanted() {
    let server = Server::answering(well);
    let groups = engine(config(&[&server])).generate(vec![request(3, Sampling::greedy(3))]).unwrap();
    let sequences = groups[0].sequences();
    assert_eq!(sequences.len(), 3);
    assert!(sequences.iter().all(|sequence| sequence.ids() == sequences[0].ids()));
    assert_eq!(sequences[0].sampled().unwrap().drawn, [0.0; 3]);
    assert_eq!(server::body(server.asked().last().unwrap())["n"], json!(1));
}

/// What a server changes in an answer.
type Lie = fn(&mut Value);

#[test]
fn what_is_no_answer_says_what_is_wrong_with_it() {
    let changed = |change: fn(&mut Value)| {
        told(move |body| {
            let mut said = completions(body);
            change(&mut said);
            Some((OK, said.to_string()))
        })
    };
    let (error, asked) = changed(|said| said["choices"][1]["prompt_token_ids"][2] = json!(5));
    assert!(error.starts_with("URL: sample `s`: its prompt is another than ours from token 2 on"), "{error}");
    let ours = words().input_ids()[2];
    assert!(error.contains(", 5, ") && error.contains(&format!(", {ours}, ")), "both are shown: {error}");
    assert_eq!(asked, 1, "an answer stays what it is");
    let cases: [(Lie, &str); 9] = [
        (|said| said["choices"][0]["finish_reason"] = json!("abort"), "the answer was broken off"),
        (|said| said["choices"][0]["token_ids"] = json!([1, 2]), "3 log-probabilities for 2 tokens"),
        (|said| said["choices"][0]["logprobs"]["token_logprobs"][1] = json!(0.5), "of token 1 is 0.5, which is none"),
        (|said| said["choices"][0]["logprobs"]["token_logprobs"][1] = Value::Null, "of token 1 is null, which is none"),
        (|said| said["choices"][0]["token_ids"] = Value::Null, "should be a list of token ids, and are null"),
        (|said| said["model"] = json!("other"), "it is of model \"other\", where `tiny` was asked"),
        (|said| drop(said["choices"].as_array_mut().unwrap().pop()), "1 completions, where 2 were asked for"),
        (
            |said| said["choices"][0]["token_ids"][2] = json!(11),
            "it stopped at token 11, and an answer ends with one of",
        ),
        (
            |said| {
                said["choices"][0]["finish_reason"] = json!("length");
                said["choices"][0]["token_ids"] = json!([1, 2]);
                said["choices"][0]["logprobs"]["token_logprobs"] = json!([-1.0, -1.0]);
            },
            "it left off at 2 tokens of 3",
        ),
    ];
    for (change, expected) in cases {
        let (error, _) = changed(change);
        assert!(error.starts_with("URL: ") && error.contains(expected), "{expected}: {error}");
    }
    let (error, _) = told(|_| Some((OK, "<html>".to_owned())));
    assert!(error.contains("URL/v1/completions: model `tiny`: the server's answer is no JSON"), "{error}");
    let (error, asked) = told(|_| {
        let said = json!({"error": {"message": "EngineCore encountered an issue. See stack trace", "code": 500}});
        Some(("500 Internal Server Error", said.to_string()))
    });
    assert!(error.contains("status 500") && error.contains("EngineCore encountered an issue"), "{error}");
    assert_eq!(asked, 1, "it does not come back");
}

#[test]
fn who_is_busy_or_breaks_off_is_asked_again() {
    let count = AtomicUsize::new(0);
    let server = Server::answering(move |path, body| {
        looked_at(path).or_else(|| match count.fetch_add(1, Ordering::SeqCst) {
            0 => Some(("429 Too Many Requests", "{}".to_owned())),
            1 => {
                let mut said = completions(body);
                said["choices"][0]["finish_reason"] = json!("abort");
                Some((OK, said.to_string()))
            }
            2 => None,
            _ => Some((OK, completions(body).to_string())),
        })
    });
    let mut engine = engine(EngineConfig { retries: 3, ..config(&[&server]) });
    assert_eq!(engine.generate(vec![request(2, drawn())]).unwrap()[0].size(), 2);
    let asked: Vec<String> = server.asked().into_iter().filter(|asked| asked.contains("/v1/completions")).collect();
    assert_eq!(asked.len(), 4);
    assert!(asked.iter().all(|one| server::body(one) == server::body(&asked[0])), "the same, with the same seed");
}

#[test]
fn a_server_that_is_gone_is_left_and_the_others_answer_for_it() {
    let (gone, other) =
        (Server::answering(|path, _| looked_at(path).filter(|_| path != "/health")), Server::answering(well));
    let mut engine = engine(config(&[&gone, &other]));
    let groups = engine.generate((0..8).map(|_| request(2, drawn())).collect()).unwrap();
    assert_eq!(groups.len(), 8);
    let warnings = engine.take_warnings();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    let name = gone.url.trim_end_matches("/v1");
    assert!(warnings[0].starts_with(name) && warnings[0].contains("it is asked no more"), "{warnings:?}");
    let before = gone.asked().len();
    engine.generate((0..8).map(|_| request(2, drawn())).collect()).unwrap();
    assert_eq!(gone.asked().len(), before);
    // Where it is the only one, that ends it.
    let alone = Server::answering(|path, _| looked_at(path).filter(|_| path != "/health"));
    let error = self::engine(config(&[&alone])).generate(vec![request(2, drawn())]).unwrap_err().to_string();
    assert!(error.starts_with(alone.url.trim_end_matches("/v1")), "{error}");
}

#[test]
fn another_model_is_found_before_anything_is_asked() {
    let server = Server::answering(well);
    let open =
        |config| ServerEngine::open(config, processor().tokenizer().clone(), 789, Purpose::Training).unwrap_err();
    let error = open(EngineConfig { model: "large".to_owned(), ..config(&[&server]) }).to_string();
    assert!(error.ends_with(": it holds no model `large`, but tiny"), "{error}");
    let error = open(EngineConfig { kind: ServerKind::Openai, ..config(&[&server]) }).to_string();
    assert!(error.contains("`openai` takes no weights"), "{error}");
    assert!(open(EngineConfig { urls: vec![], ..config(&[]) }).to_string().starts_with("urls is 0"));
    let twice = open(config(&[&server, &server])).to_string();
    assert!(twice.contains("must be there once"), "{twice}");
}

#[test]
fn what_tokens_are_drawn_by_is_known_or_nothing_is_learnt() {
    let raw = |path: &str, body: &Value| match path {
        "/server_info?config_format=json" => Some(("404 Not Found", "{}".to_owned())),
        _ => well(path, body),
    };
    let server = Server::answering(raw);
    let warm = Sampling { temperature: 0.7, ..drawn() };
    // What a server says before it leaves anything out is the model's own.
    let own = Server::answering(|path, body| match path {
        "/server_info?config_format=json" => {
            let info = json!({"vllm_config": {"model_config": {"logprobs_mode": "raw_logprobs"}}});
            Some(("200 OK", info.to_string()))
        }
        _ => well(path, body),
    });
    let groups = engine(config(&[&own])).generate(vec![request(1, drawn())]).unwrap();
    assert_eq!(groups[0].sequences()[0].sampled().unwrap().logprobs, [-1.5, f32::NEG_INFINITY, -0.25]);
    let mut engine = engine(config(&[&server]));
    assert_eq!(engine.generate(vec![request(1, drawn())]).unwrap().len(), 1);
    let error = engine.submit(request(1, warm.clone())).unwrap_err().to_string();
    assert!(error.contains("--logprobs-mode processed_logprobs"), "{error}");
    let read = ServerEngine::open(config(&[&server]), processor().tokenizer().clone(), 789, Purpose::Reading);
    let groups = read.unwrap().generate(vec![request(1, warm)]).unwrap();
    assert!(groups[0].sequences()[0].sampled().unwrap().drawn.iter().all(|drawn| drawn.is_nan()));
}

#[test]
fn words_of_a_server_that_gives_no_tokens_can_be_read() {
    let server = Server::answering(|_, _| {
        let said = json!({"choices": [{"message": {"content": "no"}, "finish_reason": "stop"}]});
        Some((OK, said.to_string()))
    });
    let config = EngineConfig { kind: ServerKind::Openai, ..config(&[&server]) };
    let mut engine = ServerEngine::open(config, processor().tokenizer().clone(), 789, Purpose::Reading).unwrap();
    let groups = engine.generate(vec![request(1, drawn())]).unwrap();
    let sequence = &groups[0].sequences()[0];
    assert_eq!(sequence.text(), "no");
    assert!(sequence.finished() && sequence.sampled().unwrap().drawn.iter().all(|drawn| drawn.is_nan()));
    assert!(
        engine.load(&FakeWeights { version: 1, adapter: false }).unwrap_err().to_string().contains("takes no weights")
    );
}
