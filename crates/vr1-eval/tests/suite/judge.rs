//! A judge against servers that answer, refuse, ramble and stay silent.
#![cfg(feature = "judge")]

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
    assert!(verdict("400 Oops", "{}").contains("400"));
    let rambles = r#"{"choices":[{"message":{"content":"The student is right."}}]}"#;
    assert!(verdict("200 OK", rambles).ends_with(r#"and said "The student is right.""#));
    assert!(verdict("200 OK", r#"{"choices":[{"message":{"content":"7"}}]}"#).ends_with(r#"and said "7""#));
    assert!(verdict("200 OK", r#"{"error":"no such model"}"#).ends_with(r#"and said {"error":"no such model"}"#));
    assert!(verdict("200 OK", "no JSON").contains("line 1 column 2"));
    let nobody = Judge::new("http://127.0.0.1:1/v1", "some-model").with_timeout(Duration::from_millis(600));
    let nobody = nobody.verdict("3", "3").unwrap_err().to_string();
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

/// A server that answers its requests, one a connection, by what `answers` says: a status with headers, or nothing, and then it closes.
fn scripted(answers: Vec<Option<&'static str>>) -> (String, JoinHandle<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    let serving = spawn(move || {
        let mut served = 0;
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            whole_request(&mut stream);
            served += 1;
            let Some(head) = answer else { continue };
            let length = YES.len();
            let _ = stream.write_all(
                format!("HTTP/1.1 {head}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{YES}").as_bytes(),
            );
        }
        served
    });
    (url, serving)
}

fn whole_request(stream: &mut std::net::TcpStream) {
    let (mut request, mut part) = (Vec::new(), [0; 4096]);
    while !request.ends_with(b"}") {
        match stream.read(&mut part).unwrap_or(0) {
            0 => break,
            count => request.extend_from_slice(&part[..count]),
        }
    }
}

#[test]
fn a_server_that_is_busy_fails_or_closes_is_asked_again() {
    let answers = vec![Some("429 Too Many\r\nretry-after: 0"), None, Some("503 Later"), Some("200 OK")];
    let (url, serving) = scripted(answers);
    assert_eq!(Judge::new(&url, "some-model").verdict("3", "3").unwrap(), 1.0);
    assert_eq!(serving.join().unwrap(), 4);
    // What it refuses it refuses: nothing is gained by asking again.
    let (url, serving) = scripted(vec![Some("401 Who are you")]);
    assert!(Judge::new(&url, "some-model").verdict("3", "3").unwrap_err().to_string().contains("401"));
    assert_eq!(serving.join().unwrap(), 1);
}

#[test]
fn what_is_tried_for_an_answer_ends_with_its_deadline() {
    let (url, _serving) = scripted(vec![Some("503 Later"); 50]);
    let judge = Judge::new(&url, "some-model").with_timeout(Duration::from_millis(900));
    assert!(judge.verdict("3", "3").unwrap_err().to_string().contains("503"));
    let (url, _serving) = scripted(vec![Some("429 Too Many\r\nretry-after: 3600")]);
    assert!(
        Judge::new(&url, "some-model").verdict("3", "3").unwrap_err().to_string().contains("429"),
        "nobody waits an hour"
    );
}

#[test]
fn answers_of_a_group_are_judged_side_by_side_and_an_error_names_the_term() {
    // It answers none before six have asked.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    spawn(move || {
        let mut asking: Vec<_> = (0..6).map(|_| listener.accept().unwrap().0).collect();
        for (number, stream) in asking.iter_mut().enumerate() {
            whole_request(stream);
            let status = if number == 5 { "400 Bad" } else { "200 OK" };
            let length = YES.len();
            let head = format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{YES}");
            let _ = stream.write_all(head.as_bytes());
        }
    });
    let mut registry = Registry::default();
    Judge::new(&url, "some-model").register(&mut registry);
    let program = Program::parse("terms: { right: 'judge(answer, solution)' }\ntotal: right", &registry).unwrap();
    let fields = Fields::new();
    let completion = "<answer>three</answer>";
    let rollout =
        Rollout { prompt: "How many?", completion, solution: "3", tokens: 4, finished: true, fields: &fields };
    let outcomes = program.with_waiting_at_once(6).outcomes(&[rollout; 6]);
    let (good, bad): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    assert_eq!((good.len(), bad.len()), (5, 1));
    let error = bad[0].as_ref().unwrap_err().to_string();
    assert!(error.starts_with("`right`: verifier `judge`: ") && error.contains("400"), "{error}");
}
