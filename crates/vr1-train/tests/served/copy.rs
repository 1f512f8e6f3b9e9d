//! A server in vLLM's words, whose copy of the model the engine of this process samples from.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::spawn;
use std::time::Duration;

use base64::Engine as _;
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};
use vr1_data::Picture;
use vr1_decode::LocalEngine;
use vr1_nn::Adapter;
use vr1_processor::{Layout, Message, Part, Processor, PromptRequest, Role, Voice};
use vr1_rollout::{Engine, Finish, Request, SampleKey, Sampling, Sequence, stream};
use vr1_torch::{self as torch, Broadcast, Member, Stop, Store};
use vr1_vlm::Model;

use super::tiny;

/// What is wrong with a server.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Lies {
    None,
    /// It says that it took weights, and did not.
    KeepsWeights,
    /// Its log-probabilities are a little less.
    Logprobs,
    /// It is gone after so many answers.
    DiesAfter(usize),
}

/// Which completions call a tool.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Calls {
    Never,
    EverySecond,
}

pub(crate) struct Copy {
    pub(crate) url: String,
    pushes: Arc<AtomicUsize>,
}

type Asked = (String, Value, mpsc::Sender<(u16, Value)>);

/// What completions that call a tool say: `SIDE` is how much of the picture they look at.
const CALL: &str =
    r#"<tool_call>{"name": "image_zoom_in_tool", "arguments": {"bbox_2d": [0, 0, SIDE, 32]}}</tool_call>"#;

impl Copy {
    pub(crate) fn new(lies: Lies) -> Self {
        Self::serving(lies, Calls::Never)
    }

    /// One that, of every second completion of a prompt, has a tool called, and one word said of what that shows.
    #[allow(dead_code, reason = "the program's own tests ask it")]
    pub(crate) fn calling() -> Self {
        Self::serving(Lies::None, Calls::EverySecond)
    }

    fn serving(lies: Lies, calls: Calls) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (asks, asked) = mpsc::channel::<Asked>();
        let pushes = Arc::new(AtomicUsize::new(0));
        let (counted, answered, gone) = (pushes.clone(), AtomicUsize::new(0), Arc::new(AtomicBool::new(false)));
        let left = gone.clone();
        // Tensors stay on one thread.
        spawn(move || {
            let mut holder = Holder::new(lies, calls, counted);
            for (path, body, reply) in asked {
                if let Lies::DiesAfter(count) = lies
                    && path.contains("completions")
                    && answered.fetch_add(1, Ordering::SeqCst) >= count
                {
                    left.store(true, Ordering::SeqCst);
                    continue;
                }
                let _ = reply.send(holder.answer(&path, &body));
            }
        });
        spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                let (asks, gone) = (asks.clone(), gone.clone());
                spawn(move || {
                    let Some((path, body)) = request(&mut stream) else { return };
                    if gone.load(Ordering::SeqCst) {
                        return;
                    }
                    let (reply, said) = mpsc::channel();
                    let _ = asks.send((path, body, reply));
                    let Ok((status, said)) = said.recv() else { return };
                    let said = said.to_string();
                    let head = format!(
                        "HTTP/1.1 {status} Said\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
                        said.len()
                    );
                    let _ = stream.write_all((head + &said).as_bytes());
                });
            }
        });
        Self { url, pushes }
    }

    /// How often weights were handed to it.
    pub(crate) fn pushes(&self) -> usize {
        self.pushes.load(Ordering::SeqCst)
    }
}

struct Holder {
    lies: Lies,
    calls: Calls,
    pushes: Arc<AtomicUsize>,
    processor: Processor,
    /// Engines by the names that models have, and adapters.
    engines: HashMap<String, LocalEngine>,
    tag: Value,
    group: Option<Receiving>,
}

/// A copy's part in a group to which weights are broadcast.
struct Receiving {
    group: Broadcast,
    _store: Store,
}

impl Receiving {
    fn join(body: &Value) -> Self {
        let number = |key: &str| body[key].as_u64().unwrap() as usize;
        let soon = Duration::from_secs_f64(body["seconds"].as_f64().unwrap());
        let (address, port) = (body["address"].as_str().unwrap(), number("port") as u16);
        let store = Store::open(address, port, torch::Holder::Elsewhere, "", soon).unwrap();
        let (name, carrier) = (body["group"].as_str().unwrap(), torch::Carrier::Gloo);
        let member = Member { name, carrier, own: "", rank: number("offset"), size: number("ranks"), timeout: soon };
        Self { group: Broadcast::join(&store, &member, &Stop::new()).unwrap(), _store: store }
    }

    /// What comes, as a folder like the model's.
    fn folder(self, body: &Value) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for entry in std::fs::read_dir(tiny()).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_file() {
                std::fs::copy(entry.path(), dir.path().join(entry.file_name())).unwrap();
            }
        }
        let of = |key: &str| body[key].as_array().unwrap().clone();
        let mut tensors = Vec::new();
        for ((name, dtype), shape) in of("names").iter().zip(of("dtypes")).zip(of("shapes")) {
            assert_eq!(dtype, "float32");
            let shape: Vec<i64> = serde_json::from_value(shape).unwrap();
            let tensor = Tensor::zeros(&shape, (Kind::Float, Device::Cpu));
            self.group.from_first(&tensor).unwrap();
            tensors.push((name.as_str().unwrap().to_owned(), tensor));
        }
        Tensor::write_safetensors(&tensors, dir.path().join("model.safetensors")).unwrap();
        dir
    }
}

impl Holder {
    fn new(lies: Lies, calls: Calls, pushes: Arc<AtomicUsize>) -> Self {
        let processor = Processor::from_dir(&tiny()).unwrap();
        let engines = HashMap::from([("tiny".to_owned(), engine(&tiny(), None, &processor))]);
        Self { lies, calls, pushes, processor, engines, tag: Value::Null, group: None }
    }

    fn answer(&mut self, path: &str, body: &Value) -> (u16, Value) {
        let said = match path {
            "/v1/models" => {
                let ids: Vec<Value> = self.engines.keys().map(|id| json!({"id": id, "max_model_len": 1024})).collect();
                json!({"data": ids})
            }
            "/server_info?config_format=json" => {
                json!({"vllm_config": {"model_config": {"logprobs_mode": "processed_logprobs"}}})
            }
            "/v1/load_lora_adapter" => {
                self.pushes.fetch_add(1, Ordering::SeqCst);
                let name = body["lora_name"].as_str().unwrap().to_owned();
                let dir = Path::new(body["lora_path"].as_str().unwrap());
                let dir = if self.lies == Lies::KeepsWeights { None } else { Some(dir) };
                let made = engine(&tiny(), dir, &self.processor);
                self.engines.insert(name, made);
                json!("Success")
            }
            "/v1/unload_lora_adapter" => {
                self.engines.remove(body["lora_name"].as_str().unwrap());
                json!("Success")
            }
            "/get_world_size" => json!({"world_size": 1}),
            "/collective_rpc" if body["method"] == "vr1_join" => {
                self.group = Some(Receiving::join(&body["kwargs"]));
                json!({"results": ["ok"]})
            }
            "/collective_rpc" if body["method"] == "vr1_receive" => {
                self.pushes.fetch_add(1, Ordering::SeqCst);
                let dir = self.group.take().unwrap().folder(&body["kwargs"]);
                if self.lies != Lies::KeepsWeights {
                    self.engines.insert("tiny".to_owned(), engine(dir.path(), None, &self.processor));
                }
                json!({"results": ["ok"]})
            }
            "/collective_rpc" => {
                self.pushes.fetch_add(1, Ordering::SeqCst);
                if self.lies != Lies::KeepsWeights {
                    let dir = Path::new(body["args"][0].as_str().unwrap());
                    self.engines.insert("tiny".to_owned(), engine(dir, None, &self.processor));
                }
                json!({"results": ["ok"]})
            }
            "/update_weight_version" => {
                self.tag = body["new_version"].clone();
                json!({"success": true})
            }
            "/weight_info" => json!({"weight_version": self.tag}),
            "/v1/completions" | "/v1/chat/completions" => return self.complete(body),
            "/inference/v1/generate" => self.look_at(body),
            _ => json!({}),
        };
        (200, said)
    }

    fn complete(&mut self, body: &Value) -> (u16, Value) {
        let name = body["model"].as_str().unwrap();
        let Some(engine) = self.engines.get_mut(name) else {
            return (404, json!({"error": {"message": format!("The model `{name}` does not exist.")}}));
        };
        let messages: Vec<Message> = body["messages"].as_array().unwrap().iter().map(message).collect();
        let request = PromptRequest { sample: "served", messages: &messages, layout: Layout::Chat, prefill: "" };
        let prompt = self.processor.prompt(&request).unwrap();
        let number = |key: &str| body[key].as_f64().unwrap();
        let (key, seed) = drawn_with(body["seed"].as_u64().unwrap());
        let sampling = Sampling {
            temperature: number("temperature"),
            max_completion_tokens: body["max_tokens"].as_u64().unwrap() as usize,
            seed,
            ..Sampling::default()
        };
        let request = Request::new(prompt, body["n"].as_u64().unwrap() as usize, sampling, key);
        let group = engine.generate(vec![request]).unwrap().remove(0);
        let less = if self.lies == Lies::Logprobs { 0.01 } else { 0.0 };
        let choice = |(index, sequence): (usize, &Sequence)| {
            if self.calls == Calls::EverySecond && group.size() > 1 && index.is_multiple_of(2) {
                return self.says(index, &CALL.replace("SIDE", &(16 + 8 * index).to_string()));
            }
            let sampled = sequence.sampled().unwrap();
            let said = if number("temperature") == 0.0 { &sampled.logprobs } else { &sampled.drawn };
            let content: Vec<Value> = said.iter().map(|logprob| json!({"logprob": logprob - less})).collect();
            let reason = if sampled.finish == Finish::Ended { "stop" } else { "length" };
            json!({"index": index, "token_ids": sequence.ids(), "finish_reason": reason, "logprobs": {"content": content}})
        };
        let choices: Vec<Value> = group.sequences().iter().enumerate().map(choice).collect();
        (200, json!({"model": name, "prompt_token_ids": group.prompt().input_ids(), "choices": choices}))
    }

    /// A choice of these words, each token of which was drawn with one chance in two.
    fn says(&self, index: usize, words: &str) -> Value {
        let tokenizer = self.processor.tokenizer();
        let mut ids = tokenizer.encode_words(words, Voice::Model).unwrap();
        ids.extend(tokenizer.eos().first());
        let content = vec![json!({"logprob": -0.7}); ids.len()];
        json!({"index": index, "token_ids": ids, "finish_reason": "stop", "logprobs": {"content": content}})
    }

    /// What is said of a picture that a tool has shown: the prompt is ids, with a placeholder for each picture.
    fn look_at(&self, body: &Value) -> Value {
        let shown = body["content_parts"].as_array().unwrap().iter().map(|part| {
            let message = Message::user([picture(part["url"].as_str().unwrap())], "");
            let (messages, layout) = ([message], Layout::Chat);
            let request = PromptRequest { sample: "shown", messages: &messages, layout, prefill: "" };
            self.processor.prompt(&request).unwrap().media()[0].range.len()
        });
        let (mut shown, pad) = (shown.collect::<Vec<_>>().into_iter(), self.processor.tokenizer().image_pad().unwrap());
        let ids = body["token_ids"].as_array().unwrap().iter().map(|id| id.as_i64().unwrap());
        let whole = ids.flat_map(|id| vec![id; if id == pad { shown.next().unwrap() } else { 1 }]);
        json!({"model": body["model"], "prompt_token_ids": whole.collect::<Vec<_>>(), "choices": [self.says(0, "there")]})
    }
}

/// What a seed on the wire was made of: the runs here have one seed and few samples.
fn drawn_with(wire: u64) -> (SampleKey, u64) {
    for seed in [42, 0] {
        for dataset in [0, 1 << 16] {
            for epoch in 0..8 {
                for index in 0..16 {
                    let key = SampleKey { dataset, epoch, index };
                    if stream(seed, key, 0) >> 2 == wire {
                        return (key, seed);
                    }
                }
            }
        }
    }
    panic!("a seed that no sample here has: {wire}")
}

fn engine(dir: &Path, adapter: Option<&Path>, processor: &Processor) -> LocalEngine {
    let model = Model::load(dir, Device::Cpu, Kind::Float).unwrap();
    let model = match adapter {
        Some(dir) => model.with_adapter(Adapter::open(dir).unwrap()).unwrap(),
        None => model,
    };
    LocalEngine::new(Rc::new(model), processor.tokenizer().clone()).unwrap()
}

/// A message as it came over the wire.
fn message(said: &Value) -> Message {
    let role = if said["role"] == "assistant" { Role::Assistant } else { Role::User };
    let part = |part: &Value| match part["type"].as_str().unwrap() {
        "text" => Part::Text(part["text"].as_str().unwrap().to_owned()),
        _ => Part::Image(picture(part["image_url"]["url"].as_str().unwrap())),
    };
    match &said["content"] {
        Value::String(words) => Message::text(role, words.clone()),
        parts => Message { role, parts: parts.as_array().unwrap().iter().map(part).collect() },
    }
}

/// The picture of a data URI.
fn picture(uri: &str) -> Picture {
    let bytes = base64::engine::general_purpose::STANDARD.decode(uri.split_once(',').unwrap().1).unwrap();
    Picture::from(image::load_from_memory(&bytes).unwrap().into_rgb8())
}

/// The path and the JSON of a request.
fn request(stream: &mut TcpStream) -> Option<(String, Value)> {
    let (mut bytes, mut part) = (Vec::new(), [0; 65536]);
    loop {
        if let Some(head) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let text = String::from_utf8_lossy(&bytes[..head]).into_owned();
            let length = text.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
            });
            if bytes.len() - head - 4 >= length.unwrap_or(0) {
                let path = text.split(' ').nth(1)?.to_owned();
                return Some((path, serde_json::from_slice(&bytes[head + 4..]).unwrap_or_default()));
            }
        }
        match stream.read(&mut part).ok()? {
            0 => return None,
            count => bytes.extend_from_slice(&part[..count]),
        }
    }
}
