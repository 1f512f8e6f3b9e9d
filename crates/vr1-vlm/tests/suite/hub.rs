//! Models by directory and by Hub id, in a cache laid out as the Hub's clients lay it out, and from a Hub of our own.
#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::thread;

use vr1_data::{Hub, Network};
use vr1_vlm::resolve_from;

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

fn hub(cache: &Path, network: Network) -> Hub {
    // Port 9 discards: nothing answers there.
    Hub { cache: cache.into(), network, endpoint: Some("http://127.0.0.1:9".into()), token: None }
}

/// A cached model with these files, each a link into `blobs/` as the clients make them.
fn cached(cache: &Path, files: &[(&str, &str)]) -> PathBuf {
    let folder = cache.join("models--owner--tiny");
    let snapshot = folder.join("snapshots").join(COMMIT);
    for sub in ["refs", "blobs"] {
        fs::create_dir_all(folder.join(sub)).unwrap();
    }
    fs::create_dir_all(&snapshot).unwrap();
    fs::write(folder.join("refs/main"), COMMIT).unwrap();
    for (name, text) in files {
        fs::write(folder.join("blobs").join(name), text).unwrap();
        std::os::unix::fs::symlink(Path::new("../../blobs").join(name), snapshot.join(name)).unwrap();
    }
    snapshot
}

const WHOLE: [(&str, &str); 3] = [("config.json", "{}"), ("tokenizer.json", "{}"), ("model.safetensors", "x")];

#[test]
fn a_directory_is_itself() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    assert_eq!(resolve_from(&hub(Path::new("/nowhere"), Network::Offline), path).unwrap(), dir.path());
}

#[test]
fn a_whole_snapshot_is_taken_without_asking_the_hub() {
    let cache = tempfile::tempdir().unwrap();
    let snapshot = cached(cache.path(), &WHOLE);
    for network in [Network::Offline, Network::Allowed] {
        assert_eq!(resolve_from(&hub(cache.path(), network), "owner/tiny").unwrap(), snapshot);
        assert_eq!(resolve_from(&hub(cache.path(), network), &format!("owner/tiny@{COMMIT}")).unwrap(), snapshot);
    }
}

#[test]
fn what_the_cache_lacks_is_named_with_its_place() {
    let cache = tempfile::tempdir().unwrap();
    let offline = hub(cache.path(), Network::Offline);
    let error = resolve_from(&offline, "owner/tiny").unwrap_err().to_string();
    assert!(error.contains("model `owner/tiny`: nothing of it in the cache"), "{error}");
    assert!(error.contains(&format!("{}/models--owner--tiny", cache.path().display())), "{error}");
    assert!(error.ends_with("HF_HUB_OFFLINE forbids fetching it"), "{error}");

    let index =
        r#"{"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors", "c": "model-2.safetensors"}}"#;
    let snapshot = cached(
        cache.path(),
        &[
            ("config.json", r#"{"vision_config": {}}"#),
            ("model.safetensors.index.json", index),
            ("model-1.safetensors", "x"),
        ],
    );
    let error = resolve_from(&offline, "owner/tiny").unwrap_err().to_string();
    let lacks = "lacks tokenizer.json, preprocessor_config.json or processor_config.json, model-2.safetensors";
    assert!(error.contains(&format!("{} {lacks}", snapshot.display())), "{error}");

    let error = resolve_from(&hub(cache.path(), Network::Allowed), "owner/tiny").unwrap_err().to_string();
    assert!(error.contains(lacks) && error.contains("fetching it failed: "), "{error}");
}

#[test]
fn a_revision_that_is_not_there_is_not_another() {
    let cache = tempfile::tempdir().unwrap();
    cached(cache.path(), &WHOLE);
    let error = resolve_from(&hub(cache.path(), Network::Offline), "owner/tiny@v2").unwrap_err().to_string();
    assert!(error.contains("model `owner/tiny@v2`: nothing of it in the cache"), "{error}");
}

#[test]
fn what_can_be_neither_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let offline = hub(dir.path(), Network::Offline);
    for name in ["./runs/last", "/nowhere/at/all", "a/b/c", "", "owner/na me", "../up", "owner/..", "@main"] {
        let error = resolve_from(&offline, name).unwrap_err().to_string();
        assert!(error.ends_with("there is no such directory, and it is not a Hub id (OWNER/NAME)"), "{error}");
    }
    let file = dir.path().join("model.safetensors");
    fs::write(&file, "x").unwrap();
    let error = resolve_from(&offline, file.to_str().unwrap()).unwrap_err().to_string();
    assert!(error.ends_with("it is a file; a model is a directory or a Hub id"), "{error}");
}

/// A Hub of one model: answers what the client asks of `/api/models/…` and `/resolve/main/…`.
fn serve(files: &'static [(&'static str, &'static str)]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut request = String::new();
            reader.read_line(&mut request).unwrap();
            let mut header = String::new();
            let mut from = 0;
            let mut to = usize::MAX;
            while reader.read_line(&mut header).unwrap() > 2 {
                if let Some(range) = header.to_lowercase().trim().strip_prefix("range: bytes=") {
                    let (a, b) = range.split_once('-').unwrap();
                    (from, to) = (a.parse().unwrap(), b.parse().unwrap_or(usize::MAX));
                }
                header.clear();
            }
            let path = request.split(' ').nth(1).unwrap();
            let (body, name, total) = if path.starts_with("/api/models/owner/tiny") {
                let siblings: Vec<_> = files.iter().map(|(name, _)| serde_json::json!({ "rfilename": name })).collect();
                (serde_json::json!({ "sha": COMMIT, "siblings": siblings }).to_string(), "info", 0)
            } else {
                match files.iter().find(|(name, _)| path.ends_with(&format!("/resolve/main/{name}"))) {
                    Some((name, text)) => (text[from..text.len().min(to.saturating_add(1))].into(), *name, text.len()),
                    None => {
                        stream
                            .write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                            .unwrap();
                        continue;
                    }
                }
            };
            let head = format!(
                "HTTP/1.1 206 Partial Content\r\ncontent-type: application/json\r\ncontent-length: {}\r\netag: \"{name}-tag\"\r\n\
                 x-repo-commit: {COMMIT}\r\ncontent-range: bytes 0-0/{total}\r\nconnection: close\r\n\r\n",
                body.len()
            );
            stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes())).unwrap();
        }
    });
    address
}

#[test]
fn a_model_comes_from_the_hub_once_and_then_from_the_cache() {
    let cache = tempfile::tempdir().unwrap();
    let address = serve(&[
        ("README.md", "not needed"),
        ("chat_template.jinja", "{{ messages }}"),
        ("config.json", "{}"),
        ("model.safetensors", "weights"),
        ("original/model.safetensors", "not needed"),
        ("pytorch_model.bin", "never"),
        ("tokenizer.json", "{\"version\": \"1.0\"}"),
    ]);
    let online = Hub { endpoint: Some(address), ..hub(cache.path(), Network::Allowed) };
    let snapshot = resolve_from(&online, "owner/tiny").unwrap();
    assert_eq!(fs::read_to_string(snapshot.join("model.safetensors")).unwrap(), "weights");
    assert_eq!(fs::read_to_string(snapshot.join("tokenizer.json")).unwrap(), "{\"version\": \"1.0\"}");
    let mut names: Vec<_> =
        fs::read_dir(&snapshot).unwrap().map(|f| f.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, ["chat_template.jinja", "config.json", "model.safetensors", "tokenizer.json"]);
    assert_eq!(resolve_from(&hub(cache.path(), Network::Offline), "owner/tiny").unwrap(), snapshot);
}

#[test]
fn a_model_without_safetensors_says_what_is_missing() {
    let cache = tempfile::tempdir().unwrap();
    let address = serve(&[("config.json", "{}"), ("tokenizer.json", "{}"), ("pytorch_model.bin", "never")]);
    let online = Hub { endpoint: Some(address), ..hub(cache.path(), Network::Allowed) };
    let error = resolve_from(&online, "owner/tiny").unwrap_err().to_string();
    assert!(
        error.contains("lacks model.safetensors or model.safetensors.index.json after fetching what the Hub has"),
        "{error}"
    );
}
