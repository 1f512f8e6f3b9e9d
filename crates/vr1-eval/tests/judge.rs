//! A judge against servers that answer, refuse, ramble and stay silent.
#![cfg(feature = "judge")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{JoinHandle, spawn};
use std::time::Duration;

use vr1_eval::Judge;
use vr1_reward::{Fields, Program, Registry, Reward, Rollout};

/// A server that answers one request with `status` and `body`, and gives the request back.
fn server(status: &'static str, body: &'static str) -> (String, JoinHandle<String>) {
    let (url, asked, answering) = held(status, body);
    answering.send(()).unwrap();
    (url, asked)
}

/// The same, which answers when it is told to. One that nobody tells answers after a minute, so that who waits for it fails
/// instead of waiting for ever.
fn held(status: &'static str, body: &'static str) -> (String, JoinHandle<String>, Sender<()>) {
    let (sender, told): (_, Receiver<()>) = channel();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1/", listener.local_addr().unwrap());
    let answer = spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let (mut request, mut part) = (Vec::new(), [0; 4096]);
        while !request.ends_with(b"}") {
            let count = stream.read(&mut part).unwrap_or(0);
            if count == 0 {
                break; // who asked has gone
            }
            request.extend_from_slice(&part[..count]);
        }
        let _ = told.recv_timeout(Duration::from_secs(60));
        let length = body.len();
        let head = format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n");
        let _ = stream.write_all(format!("{head}{body}").as_bytes()); // who asked may have gone
        String::from_utf8(request).unwrap()
    });
    (url, answer, sender)
}

const YES: &str = r#"{"choices":[{"message":{"role":"assistant","content":" 1.0\n"}}]}"#;

#[test]
fn a_judge_is_asked_in_a_program() {
    let (url, asked) = server("200 OK", YES);
    let mut registry = Registry::default();
    Judge::new(&url, "some-model").with_key("sesame").register(&mut registry);
    let program = Program::parse("terms: { right: 'judge(answer, solution)' }\ntotal: right", &registry).unwrap();
    let fields = Fields::new();
    let score = |completion| {
        let rollout =
            Rollout { prompt: "How many?", completion, solution: "3", tokens: 4, finished: true, fields: &fields };
        program.score(&rollout).unwrap()
    };
    assert_eq!(score("<answer>three</answer>"), 1.0);
    let asked = asked.join().unwrap();
    assert!(asked.starts_with("POST /v1/chat/completions HTTP/1.1\r\n"), "{asked}");
    assert!(asked.to_lowercase().contains("authorization: bearer sesame"), "{asked}");
    let body: serde_json::Value = serde_json::from_str(asked.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!((body["model"].as_str(), body["temperature"].as_f64()), (Some("some-model"), Some(0.0)));
    let words = body["messages"][1]["content"].as_str().unwrap();
    assert!(words.contains("Student's answer: three\nCorrect answer: 3\n"), "{words}");
    // Nobody is asked about an answer that is not there.
    assert_eq!(score("three"), 0.0);
}

#[test]
fn who_does_not_judge_is_named_with_what_it_said() {
    let verdict = |status, body| {
        let (url, asked) = server(status, body);
        let error = Judge::new(&url, "some-model").verdict("3", "3").unwrap_err().to_string();
        asked.join().unwrap();
        assert!(error.starts_with(&format!("{url}chat/completions: ")), "{error}");
        error
    };
    assert!(verdict("500 Oops", "{}").contains("500"));
    let rambles = r#"{"choices":[{"message":{"content":"The student is right."}}]}"#;
    assert!(verdict("200 OK", rambles).ends_with(r#"and said "The student is right.""#));
    assert!(verdict("200 OK", r#"{"choices":[{"message":{"content":"7"}}]}"#).ends_with(r#"and said "7""#));
    assert!(verdict("200 OK", r#"{"error":"no such model"}"#).ends_with(r#"and said {"error":"no such model"}"#));
    assert!(verdict("200 OK", "no JSON").contains("line 1 column 2"));
    let nobody = Judge::new("http://127.0.0.1:1/v1", "some-model").verdict("3", "3").unwrap_err().to_string();
    assert!(nobody.starts_with("http://127.0.0.1:1/v1/chat/completions: "), "{nobody}");
}

#[test]
fn a_judge_that_says_nothing_is_given_up() {
    // The server answers only once the judge has been given up: who waits for the answer gets it.
    let (url, _asked, answering) = held("200 OK", YES);
    let judge = Judge::new(&url, "some-model").with_timeout(Duration::from_millis(200));
    assert!(judge.verdict("3", "3").unwrap_err().to_string().contains("timeout"));
    drop(answering);
}
