//! Weights that are given tensor by tensor: what servers are asked. A script receives no tensors; what carries them is tested where tensors are.

use std::ops::Range;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use vr1_rollout::{Broadcast, Carrier, Meeting, Part};

use super::*;

/// Whether the others ever come.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Others {
    Come,
    Never,
}

/// The runs of tensors that were given.
type Lots = Arc<Mutex<Vec<Range<usize>>>>;

/// Weights of two tensors, the first of which is as large as what an SGLang takes at a time.
struct Given {
    version: u64,
    others: Others,
    /// Where each group was to meet, and the tensors that it was given.
    meetings: Mutex<Vec<(Meeting, Lots)>>,
}

impl Given {
    fn new(others: Others) -> Self {
        Self { version: 7, others, meetings: Mutex::default() }
    }

    fn ranks(&self) -> Vec<usize> {
        self.meetings.lock().unwrap().iter().map(|(meeting, _)| meeting.ranks).collect()
    }
}

impl Weights for Given {
    fn version(&self) -> Version {
        Version(self.version)
    }

    fn write(&self, _: &Path) -> vr1_rollout::Result<()> {
        panic!("nothing is written")
    }

    fn broadcast<'a>(&'a self, meeting: &Meeting) -> vr1_rollout::Result<Box<dyn Broadcast + 'a>> {
        let given = Arc::default();
        self.meetings.lock().unwrap().push((meeting.clone(), Arc::clone(&given)));
        let part =
            |name: &str, dtype, shape: &[i64], bytes| Part { name: name.to_owned(), dtype, shape: shape.into(), bytes };
        let parts = vec![part("a.weight", "bfloat16", &[2, 3], 512 << 20), part("b.weight", "float32", &[4], 16)];
        Ok(Box::new(Giving { meeting: meeting.clone(), others: self.others, parts, given }))
    }

    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
}

#[derive(Debug)]
struct Giving {
    meeting: Meeting,
    others: Others,
    parts: Vec<Part>,
    given: Lots,
}

impl Broadcast for Giving {
    fn port(&self) -> u16 {
        4321
    }

    fn carrier(&self) -> Carrier {
        self.meeting.carrier.unwrap_or(Carrier::Gloo)
    }

    fn parts(&self) -> &[Part] {
        &self.parts
    }

    fn meet(&mut self) -> vr1_rollout::Result<()> {
        let end = Instant::now() + self.meeting.deadline;
        if self.others == Others::Come {
            return Ok(());
        }
        loop {
            if self.meeting.stopped.load(Ordering::SeqCst) {
                return Err(vr1_rollout::Error::engine("given up"));
            }
            if Instant::now() > end {
                return Err(vr1_rollout::Error::engine("not all ranks came"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn give(&mut self, parts: Range<usize>) -> vr1_rollout::Result<()> {
        self.given.lock().unwrap().push(parts);
        Ok(())
    }
}

/// A vLLM of so many workers, one of whose answers is another.
fn vllm(
    workers: usize,
    other: impl Fn(&str, &Value) -> Option<(&'static str, String)> + Send + Sync + 'static,
) -> Server {
    let tag = Mutex::new(Value::Null);
    Server::answering(move |path, body| {
        if let Some(other) = other(path, body) {
            return Some(other);
        }
        match path {
            "/get_world_size" => Some((OK, json!({"world_size": workers}).to_string())),
            "/update_weight_version" => {
                *tag.lock().unwrap() = body["new_version"].clone();
                Some((OK, "{}".to_owned()))
            }
            "/weight_info" => Some((OK, json!({"weight_version": *tag.lock().unwrap()}).to_string())),
            "/v1/completions" => well(path, body),
            _ => looked_at(path).or_else(|| Some((OK, json!({"success": true}).to_string()))),
        }
    })
}

fn sglang(other: impl Fn(&str, &Value) -> Option<(&'static str, String)> + Send + Sync + 'static) -> Server {
    vllm(0, move |path, body| {
        let info = || Some((OK, json!({"tp_size": 2, "pp_size": 1}).to_string()));
        other(path, body).or_else(|| if path == "/server_info" { info() } else { None })
    })
}

fn broadcasting(kind: ServerKind, servers: &[&Server]) -> ServerEngine {
    engine(EngineConfig { kind, push: Push::Broadcast, deadline_seconds: 0.5, ..config(servers) })
}

/// The bodies that a server was sent at a path.
fn bodies(server: &Server, path: &str) -> Vec<Value> {
    let asked = server.asked();
    asked.iter().zip(server.paths()).filter(|(_, at)| at == path).map(|(text, _)| server::body(text)).collect()
}

#[test]
fn workers_of_all_servers_join_one_group_behind_each_other_and_take_the_tensors() {
    let servers = [vllm(1, |_, _| None), vllm(2, |_, _| None)];
    let mut engine = broadcasting(ServerKind::Vllm, &[&servers[0], &servers[1]]);
    let (before, weights) = (servers[0].paths().len(), Given::new(Others::Come));
    assert_eq!(engine.load(&weights).unwrap(), Version(7));
    let meetings = weights.meetings.lock().unwrap();
    let [(meeting, given)] = meetings.as_slice() else { panic!("{meetings:?}") };
    assert_eq!((meeting.host.as_str(), meeting.ranks), ("127.0.0.1", 4));
    assert_eq!(*given.lock().unwrap(), [0..1, 1..2]);
    for (server, offset) in servers.iter().zip([1, 2]) {
        let calls = bodies(server, "/collective_rpc");
        let join = json!({"address": "127.0.0.1", "port": 4321, "offset": offset, "ranks": 4, "group": meeting.group,
                          "backend": "gloo", "seconds": 0.5});
        assert_eq!(calls[0], json!({"method": "vr1_join", "kwargs": join}));
        let lists =
            json!({"names": ["a.weight", "b.weight"], "dtypes": ["bfloat16", "float32"], "shapes": [[2, 3], [4]]});
        assert_eq!(calls[1], json!({"method": "vr1_receive", "kwargs": lists}));
    }
    let expected = [
        "/get_world_size",
        "/pause?mode=keep",
        "/collective_rpc",
        "/collective_rpc",
        "/reset_prefix_cache",
        "/reset_mm_cache",
        "/reset_encoder_cache",
        "/update_weight_version",
        "/resume",
        "/weight_info",
    ];
    assert_eq!(servers[0].paths()[before..], expected);
    let groups = engine.generate(vec![request(1, drawn())]).unwrap();
    assert_eq!(groups[0].sequences()[0].sampled().unwrap().version, Version(7));
}

#[test]
fn an_sglang_takes_a_bounded_lot_at_a_time_and_is_told_the_version_with_the_last() {
    // One that knows the beginning and the end of an update, and an older one.
    for older in [false, true] {
        let server = sglang(move |path, _| match path {
            "/begin_weight_update" if older => Some(("404 Not Found", "{}".to_owned())),
            "/server_info" if older => Some(("404 Not Found", "{}".to_owned())),
            "/get_server_info" => Some((OK, json!({"tp_size": 2}).to_string())),
            _ => None,
        });
        let mut engine = broadcasting(ServerKind::Sglang, &[&server]);
        let weights = Given::new(Others::Come);
        engine.load(&weights).unwrap();
        let group = weights.meetings.lock().unwrap()[0].0.group.clone();
        let join = json!({"master_address": "127.0.0.1", "master_port": 4321, "rank_offset": 1, "world_size": 3,
                          "group_name": group, "backend": "gloo"});
        assert_eq!(bodies(&server, "/init_weights_update_group"), [join]);
        let lots = [
            json!({"names": ["a.weight"], "dtypes": ["bfloat16"], "shapes": [[2, 3]], "group_name": group, "flush_cache": false}),
            json!({"names": ["b.weight"], "dtypes": ["float32"], "shapes": [[4]], "group_name": group, "flush_cache": true,
                   "weight_version": "vr1-v7"}),
        ];
        assert_eq!(bodies(&server, "/update_weights_from_distributed"), lots);
        assert_eq!(bodies(&server, "/end_weight_update").len(), usize::from(!older));
        assert_eq!(bodies(&server, "/destroy_weights_update_group"), [json!({"group_name": group})]);
    }
}

#[test]
fn a_server_that_cannot_says_what_it_lacks_and_goes_on() {
    let told = |kind, server: &Server| {
        let begun = Instant::now();
        let error = broadcasting(kind, &[server]).load(&Given::new(Others::Never)).unwrap_err().to_string();
        // The reason ends the wait for others.
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        assert!(error.starts_with(server.url.trim_end_matches("/v1")), "{error}");
        error
    };
    let missing =
        |at: &'static str| move |path: &str, _: &Value| (path == at).then(|| ("404 Not Found", "{}".to_owned()));
    let error = told(ServerKind::Vllm, &vllm(1, missing("/get_world_size")));
    assert!(error.contains("/get_world_size: it did not take the weights of version 7: status 404"), "{error}");
    assert!(error.contains("VLLM_SERVER_DEV_MODE=1"), "{error}");
    let broken =
        vllm(1, |path, _| (path == "/collective_rpc").then(|| ("500 Internal Server Error", "no vr1_join".to_owned())));
    let error = told(ServerKind::Vllm, &broken);
    assert!(
        error.contains("status 500: no vr1_join (vLLM joins and takes tensors with `--worker-extension-cls"),
        "{error}"
    );
    assert_eq!(broken.paths().last().unwrap(), "/resume");
    let error = told(ServerKind::Vllm, &vllm(0, |_, _| None));
    assert!(error.contains("`world_size` should be 1 or more"), "{error}");
    let error = told(ServerKind::Sglang, &sglang(missing("/init_weights_update_group")));
    assert!(error.contains("an SGLang without it takes whole models from a folder alone"), "{error}");
    let refusing = |at: &'static str| {
        let said = || json!({"success": false, "message": "no such group"}).to_string();
        sglang(move |path, _| (path == at).then(|| (OK, said())))
    };
    let error = told(ServerKind::Sglang, &refusing("/init_weights_update_group"));
    assert!(
        error.contains("/init_weights_update_group: it did not take") && error.contains("no such group"),
        "{error}"
    );
    let server = refusing("/update_weights_from_distributed");
    let error = told(ServerKind::Sglang, &server);
    assert!(
        error.contains("/update_weights_from_distributed: it did not take") && error.contains("no such group"),
        "{error}"
    );
    assert_eq!(server.paths().last().unwrap(), "/destroy_weights_update_group");
    let piped =
        sglang(|path, _| (path == "/server_info").then(|| (OK, json!({"tp_size": 2, "pp_size": 2}).to_string())));
    assert!(told(ServerKind::Sglang, &piped).contains("pp_size"));
}

#[test]
fn one_that_fails_is_left_and_the_others_are_given_all_again_in_a_new_group() {
    let bad = vllm(1, |path, _| (path == "/collective_rpc").then(|| ("500 Internal Server Error", "{}".to_owned())));
    let good = vllm(2, |_, _| None);
    let mut engine = broadcasting(ServerKind::Vllm, &[&bad, &good]);
    let weights = Given::new(Others::Come);
    engine.load(&weights).unwrap();
    assert_eq!(weights.ranks(), [4, 3]);
    let names: Vec<String> =
        weights.meetings.lock().unwrap().iter().map(|(meeting, _)| meeting.group.clone()).collect();
    assert_ne!(names[0], names[1]);
    let warnings = engine.take_warnings();
    assert!(warnings.len() == 1 && warnings[0].contains("it did not take the weights of version 7"), "{warnings:?}");
    // One that is gone is not even counted.
    let gone = vllm(1, |path, _| (path == "/get_world_size").then(|| ("502 Bad Gateway", "{}".to_owned())));
    let mut engine = broadcasting(ServerKind::Vllm, &[&gone, &good]);
    let weights = Given::new(Others::Come);
    engine.load(&weights).unwrap();
    assert_eq!(weights.ranks(), [3]);
    assert_eq!(engine.landed().unwrap().copies, [good.url.trim_end_matches("/v1")]);
}

#[test]
fn one_that_says_nothing_is_named() {
    let asleep = || {
        vllm(1, |path, _| {
            if path == "/collective_rpc" {
                std::thread::sleep(Duration::from_secs(60)); // the test is over before
            }
            None
        })
    };
    let alone = asleep();
    let error = broadcasting(ServerKind::Vllm, &[&alone]).load(&Given::new(Others::Never)).unwrap_err().to_string();
    assert!(error.starts_with(&format!("{}/collective_rpc", alone.url.trim_end_matches("/v1"))), "{error}");
    assert!(error.contains("it did not take the weights of version 7: timeout"), "{error}");
}

#[test]
fn servers_on_other_machines_must_be_told_where_this_one_is() {
    let near = vec!["http://127.0.0.1:1/v1".to_owned(), "http://[::1]:2".to_owned(), "https://localhost:3".to_owned()];
    let of =
        |urls: Vec<String>| EngineConfig { push: Push::Broadcast, ..EngineConfig::new(ServerKind::Vllm, urls, "tiny") };
    of(near.clone()).validate().unwrap();
    let far = of([near, vec!["http://node-1:8000".to_owned()]].concat());
    let error = far.validate().unwrap_err().to_string();
    assert!(error.starts_with("broadcast_address is not set, and must be set where"), "{error}");
    EngineConfig { broadcast_address: Some("10.0.0.1".to_owned()), ..far.clone() }.validate().unwrap();
    EngineConfig { push: Push::Full, ..far }.validate().unwrap();
}
