//! Pages: a run's report, the same live, and runs beside each other.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;

use super::*;

const RECIPE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/visualthinker_sat.yaml");
const SHORT: [&str; 14] = [
    "--model",
    TINY,
    "--set",
    "objective.prompts_per_step=2",
    "--set",
    "objective.group_size=2",
    "--set",
    "objective.sampling.max_completion_tokens=8",
    "--set",
    "evaluation.samples=2",
    "--set",
    "evaluation.max_completion_tokens=8",
    "--set",
    "evaluation.every_steps=1",
];

fn train(out: &Path, more: &[&str]) -> Output {
    vr1(&[&["train", RECIPE, "--out", out.to_str().unwrap()], &SHORT[..], more].concat())
}

/// The JSON within a page.
fn data(page: &Path) -> Value {
    let text = fs::read_to_string(page).unwrap();
    let (_, rest) = text.split_once("id=\"data\">").unwrap();
    serde_json::from_str(rest.split_once("</script>").unwrap().0).unwrap()
}

#[test]
fn every_metric_of_a_run_is_explained_on_its_page() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    assert!(train(&out, &["--set", "steps=2"]).status.success());
    let page = data(&out.join("report.html"));
    let charts = page["run"]["charts"].as_array().unwrap();
    let series = || charts.iter().flat_map(|chart| chart["series"].as_array().unwrap());
    assert!(series().count() > 30);
    for one in series() {
        assert!(one["says"].is_string(), "{} has no line in vr1-run's table of explanations", one["name"]);
    }
    assert_eq!(page["run"]["reward"]["total"], "accuracy + format");
    assert_eq!(page["browse"]["steps"][0]["groups"].as_array().unwrap().len(), 2);
    assert_eq!(page["browse"]["steps"][0]["groups"][0]["answers"].as_array().unwrap().len(), 2);
}

#[test]
fn a_dashboard_whose_port_is_taken_is_an_error_before_anything_is_done() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let output = train(&out, &["--set", "steps=1", "--dashboard", &address]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains(&format!("error: cannot listen at {address}: ")), "{said}");
    assert!(!out.exists());
    assert!(!train(&out, &["--dashboard-token", "12345678"]).status.success(), "a token of what?");
}

#[test]
fn a_run_is_seen_while_it_trains_and_told_where() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let begun = Command::new(env!("CARGO_BIN_EXE_vr1"))
        .args(["train", RECIPE, "--out", out.to_str().unwrap(), "--dashboard", "0", "--set", "steps=100000"])
        .args(SHORT)
        .env("HF_HUB_OFFLINE", "1")
        .stderr(Stdio::piped())
        .spawn();
    let mut run = begun.unwrap();
    let mut said = BufReader::new(run.stderr.take().unwrap()).lines().map(Result::unwrap);
    let place = said.find_map(|line| Some(line.strip_prefix("dashboard: http://")?.trim_end_matches('/').to_owned()));
    let place = place.expect("it says where");
    // It says more than a pipe holds.
    let rest = std::thread::spawn(move || said.last());
    let get = |path: &str| {
        let mut stream = TcpStream::connect(&place).unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {place}\r\n\r\n").as_bytes()).unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        reply.split_once("\r\n\r\n").unwrap().1.to_owned()
    };
    assert!(get("/").contains("<!doctype html>"));
    let now = || serde_json::from_str::<Value>(&get("/api/run")).unwrap();
    let mut seen = now();
    while seen["run"]["step"].as_u64().is_none_or(|step| step < 2) {
        std::thread::sleep(std::time::Duration::from_millis(100));
        seen = now();
        assert!(run.try_wait().unwrap().is_none(), "the run goes on");
    }
    assert_eq!((&seen["run"]["of"], &seen["run"]["finished"]), (&json!(100_000), &json!(false)));
    let step = seen["recorded"][0].as_u64().unwrap();
    let rollouts: Value = serde_json::from_str(&get(&format!("/api/rollouts?step={step}"))).unwrap();
    assert_eq!(rollouts["groups"].as_array().unwrap().len(), 2);
    assert!(Command::new("kill").arg(run.id().to_string()).status().unwrap().success());
    assert_eq!(run.wait().unwrap().code(), Some(75), "it ended as one that was asked to stop");
    rest.join().unwrap();
    assert!(TcpStream::connect(&place).is_err());
}

#[test]
fn runs_are_compared_as_text_as_json_and_as_a_page() {
    let folder = tempfile::tempdir().unwrap();
    let out = |name: &str| folder.path().join(name);
    for (name, more) in
        [("one", ["--seed", "1"]), ("two", ["--seed", "2"]), ("slow", ["--set", "optimizer.learning_rate=1e-6"])]
    {
        assert!(train(&out(name), &[&["--set", "steps=1"], &more[..]].concat()).status.success());
    }
    let (one, two, slow, page) = (out("one"), out("two"), out("slow"), out("compared.html"));
    let [one, two, slow, page] = [&one, &two, &slow, &page].map(|path| path.to_str().unwrap());
    let output = vr1(&["compare", one, two, slow, "--out", page]);
    assert!(output.status.success());
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(told.contains("learning_rate 0.0002 (2 runs)") && told.contains(" ± "), "{told}");
    assert!(told.lines().any(|line| line.starts_with("optimizer.learning_rate")), "{told}");
    assert_eq!(data(Path::new(page))["kind"], "compare");
    let found = lines(&["compare", one, two, slow, "--json"]);
    assert_eq!(found[0]["groups"][0]["runs"], json!([0, 1]));
    assert_eq!(found[0]["differences"], json!([{"key": "optimizer.learning_rate", "values": ["0.0002", "1e-6"]}]));
    assert_eq!(vr1(&["compare", one]).status.code(), Some(2), "one run is compared with nothing");
    assert_eq!(vr1(&["compare", one, folder.path().to_str().unwrap()]).status.code(), Some(1), "no run is there");
}
