//! Servers that answer as SGLang does.

use super::pictures::{later, picture, shown};
use super::*;

/// SGLang's answer: the end token behind two others, each completion by its own; of the prompt's ids those that it was given or made, a
/// picture's as zeros.
fn generated(body: &Value, prompt: &Prompt) -> Value {
    let end = processor().tokenizer().eos()[0];
    let mut ids = prompt.input_ids().to_vec();
    for span in prompt.media() {
        ids[span.range.clone()].fill(0);
    }
    let of_prompt: Vec<Value> = ids.iter().map(|id| json!([null, id, null])).collect();
    let one = |index: usize| {
        json!({"text": "", "output_ids": [10 + index, 20, end], "meta_info": {
            "finish_reason": {"type": "stop", "matched": end}, "prompt_tokens": prompt.len(),
            "input_token_logprobs": if body["logprob_start_len"] == 0 { of_prompt.clone() } else { vec![] },
            "output_token_logprobs": [[-1.5, 10 + index, null], [-0.5, 20, null], [-0.25, end, null]]}})
    };
    (0..body["sampling_params"].as_array().unwrap().len()).map(one).collect()
}

fn serving(made: impl Fn(&Value) -> Value + Send + Sync + 'static) -> Server {
    Server::answering(move |path, body| match path {
        "/generate" => Some((OK, made(body).to_string())),
        path => looked_at(path),
    })
}

fn opened(server: &Server) -> ServerEngine {
    engine(EngineConfig { kind: ServerKind::Sglang, ..config(&[server]) })
}

fn asked(server: &Server) -> Value {
    assert_eq!(server.paths().last().unwrap(), "/generate");
    server::body(server.asked().last().unwrap())
}

#[test]
fn ids_go_in_and_out_and_each_completion_has_a_seed() {
    let server = serving(|body| generated(body, &words()));
    let mut engine = opened(&server);
    let sampling = Sampling { temperature: 0.5, ..drawn() };
    let groups = engine.generate(vec![request(3, sampling.clone())]).unwrap();
    for (index, sequence) in groups[0].sequences().iter().enumerate() {
        assert_eq!(sequence.ids()[..2], [10 + index as i64, 20]);
        let sampled = sequence.sampled().unwrap();
        assert_eq!((sampled.drawn.as_slice(), sampled.finish), ([-1.5, -0.5, -0.25].as_slice(), Finish::Ended));
        assert!(sampled.logprobs.iter().all(|logprob| logprob.is_nan()));
    }
    let body = asked(&server);
    assert_eq!(body["input_ids"], json!(vec![words().input_ids(); 3]));
    assert!(body["image_data"].is_null() && body["text"].is_null() && body["logprob_start_len"].is_null());
    let settings = body["sampling_params"].as_array().unwrap();
    assert_eq!((&settings[0]["temperature"], &settings[0]["max_new_tokens"]), (&json!(0.5), &json!(3)));
    let seeds: std::collections::BTreeSet<u64> =
        settings.iter().flat_map(|one| one["sampling_seed"].as_u64()).collect();
    assert_eq!(seeds.len(), 3);
    // What it says is before limits.
    assert!(engine.generate(vec![request(1, Sampling { top_k: 7, ..sampling })]).is_err());
}

#[test]
fn a_first_picture_goes_beside_the_text_and_its_tokens_come_back_as_zeros() {
    let server = serving(|body| generated(body, &prompt(shown())));
    let asking = Request::new(prompt(shown()), 2, drawn(), SampleKey::default());
    let groups = opened(&server).generate(vec![asking]).unwrap();
    assert_eq!(groups[0].sequences()[1].sampled().unwrap().drawn, [-1.5, -0.5, -0.25]);
    let (body, uri) = (asked(&server), picture().file().unwrap().data_uri());
    assert_eq!(body["text"], json!(vec![prompt(shown()).text(); 2]));
    assert_eq!(body["image_data"], json!(vec![vec![uri]; 2]));
    assert!(body["input_ids"].is_null());
}

#[test]
fn pictures_of_later_turns_go_beside_ids_in_which_each_is_one() {
    let server = serving(|body| generated(body, &later()));
    let groups = opened(&server).generate(vec![Request::new(later(), 1, drawn(), SampleKey::default())]).unwrap();
    assert_eq!(groups[0].sequences()[0].sampled().unwrap().drawn, [-1.5, -0.5, -0.25]);
    let (body, uri, prompt) = (asked(&server), picture().file().unwrap().data_uri(), later());
    assert_eq!(body["image_data"], json!([[uri, uri]]));
    let mut ids = prompt.input_ids().to_vec();
    for span in prompt.media().iter().rev() {
        ids.drain(span.range.start + 1..span.range.end);
    }
    assert_eq!(body["input_ids"], json!([ids]));
    assert!(body["text"].is_null());
}

#[test]
fn what_is_not_the_answer_to_what_was_asked_is_named() {
    let fault = |prompt: fn() -> Prompt, change: fn(&mut Value)| {
        let server = serving(move |body| {
            let mut said = generated(body, &prompt());
            change(&mut said[0]);
            said
        });
        let asking = Request::new(prompt(), 1, drawn(), SampleKey::default());
        opened(&server).generate(vec![asking]).unwrap_err().to_string()
    };
    let first = || prompt(shown());
    let cut = fault(first, |one| drop(one["meta_info"]["input_token_logprobs"].as_array_mut().unwrap().remove(7)));
    let lengths = format!("({} tokens where we have {})", first().len() - 1, first().len());
    assert!(cut.contains("sample `s`") && cut.contains(&lengths), "{cut}");
    let other = fault(first, |one| one["meta_info"]["input_token_logprobs"][1][1] = json!(77));
    assert!(other.contains("sample `s`") && other.contains("77"), "{other}");
    let longer = fault(words, |one| one["meta_info"]["prompt_tokens"] = json!(3));
    assert!(longer.contains("a prompt of 3 tokens"), "{longer}");
    let of_others = fault(words, |one| one["output_ids"][0] = json!(11));
    assert!(of_others.contains("of other tokens than it gives"), "{of_others}");
    let without = fault(words, |one| one["meta_info"]["output_token_logprobs"] = Value::Null);
    assert!(without.contains("no `output_token_logprobs`"), "{without}");
    let broken = fault(words, |one| one["meta_info"]["finish_reason"] = json!({"type": "abort"}));
    assert!(broken.contains("broken off (`finish_reason: \"abort\"`)"), "{broken}");
}

#[test]
fn whole_models_are_read_from_a_folder_and_adapters_loaded_by_a_new_name() {
    for (adapter, path) in [(false, "/update_weights_from_disk"), (true, "/load_lora_adapter")] {
        let server = Server::answering(move |at, body| match at {
            "/update_weights_from_disk" | "/load_lora_adapter" | "/unload_lora_adapter" => {
                Some((OK, json!({"success": true}).to_string()))
            }
            "/generate" => Some((OK, generated(body, &words()).to_string())),
            at => looked_at(at),
        });
        let mut engine = opened(&server);
        for version in [1, 2] {
            engine.load(&FakeWeights { version, adapter }).unwrap();
        }
        engine.generate(vec![request(1, drawn())]).unwrap();
        let pushed: Vec<Value> = server
            .asked()
            .iter()
            .zip(server.paths())
            .filter(|(_, at)| at == path)
            .map(|(text, _)| server::body(text))
            .collect();
        assert_eq!(pushed.len(), 2);
        let name = if adapter { "lora_name" } else { "weight_version" };
        assert_ne!(pushed[0][name], pushed[1][name]);
        assert_eq!(asked(&server)["lora_path"][0], if adapter { pushed[1][name].clone() } else { Value::Null });
        // It says with 200 that it did not.
        let refusing = Server::answering(move |at, _| match at == path {
            true => Some((OK, json!({"success": false, "message": "no such folder"}).to_string())),
            false => looked_at(at),
        });
        let error = opened(&refusing).load(&FakeWeights { version: 1, adapter }).unwrap_err().to_string();
        assert!(error.contains(path) && error.contains("no such folder"), "{error}");
    }
}
