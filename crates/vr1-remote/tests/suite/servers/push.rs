//! Weights that are handed over.

use super::*;

/// A server with adapters, as vLLM keeps them.
fn adapting() -> (Server, Arc<std::sync::Mutex<Vec<String>>>) {
    let loaded = Arc::new(std::sync::Mutex::new(vec!["tiny".to_owned()]));
    let has = loaded.clone();
    let server = Server::answering(move |path, body| {
        let mut loaded = has.lock().unwrap();
        let name = body["lora_name"].as_str().unwrap_or_default().to_owned();
        match path {
            "/v1/models" => {
                let data: Vec<Value> = loaded.iter().map(|id| json!({"id": id, "max_model_len": 1024})).collect();
                Some((OK, json!({"data": data}).to_string()))
            }
            "/v1/load_lora_adapter" => {
                let there = Path::new(body["lora_path"].as_str().unwrap()).join("adapter_config.json").exists();
                if !there {
                    return Some(("404 Not Found", r#"{"error":{"message":"No adapter found"}}"#.to_owned()));
                }
                loaded.push(name);
                Some((OK, "Success".to_owned()))
            }
            "/v1/unload_lora_adapter" => {
                loaded.retain(|other| *other != name);
                Some((OK, "Success".to_owned()))
            }
            "/v1/completions" if !loaded.iter().any(|one| body["model"] == **one) => {
                Some(("404 Not Found", r#"{"error":{"message":"The model does not exist."}}"#.to_owned()))
            }
            _ => well(path, body),
        }
    });
    (server, loaded)
}

#[test]
fn an_adapter_goes_under_a_new_name_each_time_and_the_old_one_goes_when_nobody_asks_it() {
    let (server, loaded) = adapting();
    let mut engine = engine(config(&[&server]));
    engine.load(&FakeWeights { version: 1, adapter: true }).unwrap();
    let first = loaded.lock().unwrap()[1].clone();
    assert!(first.ends_with("-v1"), "{first}");
    let ticket = engine.submit(request(2, drawn())).unwrap();
    engine.load(&FakeWeights { version: 2, adapter: true }).unwrap();
    engine.submit(request(2, drawn())).unwrap();
    let mut versions = vec![];
    while versions.len() < 2 {
        let done = engine.poll().unwrap();
        versions
            .extend(done.iter().map(|(t, group)| (*t == ticket, group.sequences()[0].sampled().unwrap().version.0)));
    }
    versions.sort_unstable();
    assert_eq!(versions, [(false, 2), (true, 1)], "each has the version that it was asked of");
    let names = loaded.lock().unwrap().clone();
    assert_eq!(names.len(), 2, "{names:?}");
    assert!(names[1].ends_with("-v2"), "{names:?}");
    let error = engine.load(&FakeWeights { version: 1, adapter: true }).unwrap_err().to_string();
    assert_eq!(error, "weights of version 1 for servers that have version 2: a version never goes backwards");
    drop(engine);
    assert_eq!(loaded.lock().unwrap().clone(), ["tiny"]);
}

#[test]
fn a_whole_model_is_reloaded_between_a_pause_and_its_end_and_every_cache_is_dropped() {
    let tag = std::sync::Mutex::new(Value::Null);
    let server = Server::answering(move |path, body| match path {
        "/update_weight_version" => {
            *tag.lock().unwrap() = body["new_version"].clone();
            Some((OK, "{}".to_owned()))
        }
        "/weight_info" => Some((OK, json!({"weight_version": *tag.lock().unwrap()}).to_string())),
        "/v1/completions" => well(path, body),
        _ => looked_at(path).or_else(|| Some((OK, "{}".to_owned()))),
    });
    let mut engine = engine(config(&[&server]));
    let before = server.paths().len();
    assert_eq!(engine.load(&FakeWeights { version: 3, adapter: false }).unwrap(), Version(3));
    let paths = server.paths();
    let expected = [
        "/pause?mode=keep",
        "/collective_rpc",
        "/reset_prefix_cache",
        "/reset_mm_cache",
        "/reset_encoder_cache",
        "/update_weight_version",
        "/resume",
        "/weight_info",
    ];
    assert_eq!(paths[before..], expected);
    let groups = engine.generate(vec![request(1, drawn())]).unwrap();
    assert_eq!(groups[0].sequences()[0].sampled().unwrap().version, Version(3));
}

#[test]
fn weights_that_a_server_does_not_take_are_an_error_and_it_goes_on() {
    let server = Server::answering(|path, body| match path {
        "/collective_rpc" => Some(("500 Internal Server Error", r#"{"error":"no method vr1_reload"}"#.to_owned())),
        "/v1/completions" => well(path, body),
        _ => looked_at(path).or_else(|| Some((OK, "{}".to_owned()))),
    });
    let mut engine = engine(EngineConfig { push: Push::Full, ..config(&[&server]) });
    let error = engine.load(&FakeWeights { version: 4, adapter: true }).unwrap_err().to_string();
    assert!(error.contains("/collective_rpc: it did not take the weights of version 4: status 500"), "{error}");
    assert!(error.contains("--worker-extension-cls vr1_extension.Reload"), "{error}");
    assert_eq!(server.paths().last().unwrap(), "/resume");
    let groups = engine.generate(vec![request(1, drawn())]).unwrap();
    assert_eq!(groups[0].sequences()[0].sampled().unwrap().version, Version(0), "it keeps those that it has");
}

#[test]
fn a_probe_asks_every_server() {
    let servers = [Server::answering(well), Server::answering(well)];
    let mut engine = engine(config(&[&servers[0], &servers[1]]));
    let answers = engine.probe(&request(1, drawn())).unwrap();
    assert_eq!(answers.len(), 2);
    assert!(servers.iter().all(|server| server.paths().contains(&"/v1/completions".to_owned())));
}

#[test]
fn who_follows_asks_none_that_did_not_take_the_weights() {
    let (took, kept) = (Server::answering(well), Server::answering(well));
    let mut engine = engine(config(&[&took, &kept]));
    let landed = |server: &Server, version| Landed {
        version: Version(version),
        name: "tiny".to_owned(),
        adapter: false,
        copies: vec![server.url.trim_end_matches("/v1").to_owned()],
    };
    assert_eq!(engine.landed(), None);
    assert_eq!(engine.follow(&landed(&took, 3)).unwrap(), Version(3));
    let groups = engine.generate((0..4).map(|_| request(1, drawn())).collect()).unwrap();
    assert!(groups.iter().all(|group| group.sequences()[0].sampled().unwrap().version == Version(3)));
    assert!(!kept.paths().iter().any(|path| path == "/v1/completions"), "{:?}", kept.paths());
    assert!(engine.take_warnings().iter().any(|told| told.contains("did not take the weights")));
    let error = engine.follow(&landed(&kept, 4)).unwrap_err().to_string();
    assert!(error.contains("no server left to ask"), "{error}");
}
