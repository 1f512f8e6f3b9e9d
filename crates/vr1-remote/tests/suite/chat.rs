//! A client against servers that answer, refuse, ramble, close and are busy.

use std::time::Duration;

use serde_json::{Value, json};
use vr1_data::Picture;
use vr1_remote::{Chat, ChatMessage, ChatPart, ChatRequest, Error, Finished, Format, Prefill, ServerConfig, Usage};

use crate::server::{self, Reply, Server};

const YES: &str = r#"{"choices":[{"message":{"content":"yes"},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":2}}"#;

fn words(text: &str) -> ChatRequest {
    ChatRequest::new(vec![ChatMessage::user(vec![ChatPart::Text(text.to_owned())])])
}

fn chat(server: &Server) -> Chat {
    Chat::unlimited(&server.url, "some-model").with_deadline(Duration::from_secs(20))
}

#[test]
fn what_is_asked_stands_in_the_body_pictures_in_their_places() {
    let server = Server::new(vec![Reply::Ok(YES)]);
    let picture = Picture::from(image::RgbImage::from_pixel(2, 3, image::Rgb([9, 8, 7])));
    let parts = vec![
        ChatPart::Text("First: ".to_owned()),
        ChatPart::Picture(picture.clone()),
        ChatPart::Text(" how many?".to_owned()),
    ];
    let request = ChatRequest {
        n: 3,
        temperature: Some(0.7),
        top_p: Some(0.95),
        top_k: Some(20),
        repetition_penalty: Some(1.05),
        max_tokens: Some(64),
        seed: Some(7),
        stop: vec!["</answer>".to_owned()],
        format: Some(Format::Schema(json!({"type": "object"}))),
        ..ChatRequest::new(vec![ChatMessage::system("Be brief."), ChatMessage::user(parts)])
    };
    let answer = chat(&server).with_key("sesame").ask(&request.with_prefill("<think>", Prefill::Continue)).unwrap();
    assert_eq!(answer.choices[0].text, "yes");
    assert_eq!(answer.choices[0].finish, Finished::Stop);
    assert_eq!(answer.usage, Some(Usage { prompt_tokens: 9, completion_tokens: 2 }));
    let asked = server.asked();
    assert!(asked[0].starts_with("POST /v1/chat/completions HTTP/1.1\r\n"), "{}", asked[0]);
    assert!(asked[0].to_lowercase().contains("authorization: bearer sesame"), "{}", asked[0]);
    let body = server::body(&asked[0]);
    let uri = body["messages"][1]["content"][1]["image_url"]["url"].as_str().unwrap();
    assert_eq!(uri, picture.file().unwrap().data_uri());
    assert!(uri.starts_with("data:image/png;base64,"), "{uri}");
    assert_eq!(
        body,
        json!({
            "model": "some-model",
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": [
                    {"type": "text", "text": "First: "},
                    {"type": "image_url", "image_url": {"url": uri}},
                    {"type": "text", "text": " how many?"},
                ]},
                {"role": "assistant", "content": "<think>"},
            ],
            "continue_final_message": true,
            "add_generation_prompt": false,
            "n": 3, "temperature": 0.7, "top_p": 0.95, "top_k": 20, "repetition_penalty": 1.05, "max_tokens": 64,
            "seed": 7, "stop": ["</answer>"],
            "response_format": {"type": "json_schema", "json_schema": {"name": "answer", "strict": true, "schema": {"type": "object"}}},
        })
    );
}

#[test]
fn what_is_not_said_is_left_to_the_server() {
    let server = Server::new(vec![Reply::Ok(YES), Reply::Ok(YES), Reply::Ok(YES)]);
    let chat = chat(&server);
    chat.ask(&words("Well?")).unwrap();
    chat.ask(&words("Well?").with_prefill("So", Prefill::Message)).unwrap();
    chat.ask(&words("Well?").with_prefill("So", Prefill::Prefix)).unwrap();
    let bodies: Vec<Value> = server.asked().iter().map(|asked| server::body(asked)).collect();
    let asked = json!({"role": "user", "content": "Well?"});
    let begun = json!({"role": "assistant", "content": "So"});
    let prefix = json!({"role": "assistant", "content": "So", "prefix": true});
    assert_eq!(bodies[0], json!({"model": "some-model", "messages": [asked]}));
    assert_eq!(bodies[1], json!({"model": "some-model", "messages": [asked, begun]}));
    assert_eq!(bodies[2], json!({"model": "some-model", "messages": [asked, prefix]}));
}

#[test]
fn a_server_that_is_busy_fails_or_closes_is_asked_again_until_it_answers_and_not_after() {
    let cut = "HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{\"choices\":[{\"mess";
    let replies = vec![
        Reply::Raw("HTTP/1.1 429 Too Many\r\nretry-after: 0\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"),
        Reply::Status("500 Oops", "{}"),
        Reply::Status("500 Oops", "{}"),
        Reply::Close,
        Reply::Raw(cut),
        Reply::Ok(YES),
        Reply::Ok(YES),
    ];
    let server = Server::new(replies);
    assert_eq!(chat(&server).ask(&words("Well?")).unwrap().choices[0].text, "yes");
    assert_eq!(server.asked().len(), 6, "what was answered is not asked again");
}

#[test]
fn what_a_server_refuses_is_told_in_its_own_words_and_not_asked_again() {
    let refusal = r#"{"error":{"message":"The model `other` does not exist.",
        "code":404}}"#;
    let server = Server::new(vec![Reply::Status("404 Not Found", refusal), Reply::Ok(YES)]);
    let error = chat(&server).ask(&words("Well?")).unwrap_err();
    let expected = format!(
        "{}/chat/completions: model `some-model`: status 404: {{\"error\":{{\"message\":\"The model `other` does not exist.\", \"code\":404}}}}",
        server.url
    );
    assert_eq!(error.to_string(), expected);
    assert!(!error.is_about_the_request());
    assert_eq!(server.asked().len(), 1);

    let server = Server::new(vec![Reply::Status("400 Bad Request", "too long")]);
    assert!(chat(&server).ask(&words("Well?")).unwrap_err().is_about_the_request());
}

#[test]
fn an_answer_without_words_is_no_answer_and_stays_one() {
    let told = |said: &'static str| {
        let server = Server::new(vec![Reply::Ok(said), Reply::Ok(YES)]);
        let error = chat(&server).ask(&words("Well?")).unwrap_err();
        assert_eq!(server.asked().len(), 1);
        error.to_string().replace(&server.url, "URL")
    };
    let silent = |said| format!("URL/chat/completions: model `some-model` should answer in words, and said {said}");
    assert_eq!(told(r#"{"choices":[]}"#), silent(r#"{"choices":[]}"#));
    assert_eq!(told(r#"{"error":"no such model"}"#), silent(r#"{"error":"no such model"}"#));
    let null = r#"{"choices":[{"message":{"content":null}}]}"#;
    assert_eq!(told(null), silent(null));
    let page = told("<html>Bad gateway</html>");
    let expected = "URL/chat/completions: model `some-model`: the server's answer is no JSON: expected value at line 1 column 1; \
                    it said \"<html>Bad gateway</html>\"";
    assert_eq!(page, expected);
}

#[test]
fn an_answer_that_was_cut_off_says_so() {
    let server = Server::new(vec![Reply::Ok(
        r#"{"choices":[{"message":{"content":"One and"},"finish_reason":"length"},{"message":{"content":"Two"},"finish_reason":"tool_calls"}]}"#,
    )]);
    let answer = chat(&server).ask(&ChatRequest { n: 2, ..words("Well?") }).unwrap();
    assert_eq!(answer.choices[0].finish, Finished::Length);
    assert_eq!(answer.choices[1].finish, Finished::Other("tool_calls".to_owned()));
    assert_eq!(answer.usage, None);
}

#[test]
fn what_is_tried_for_an_answer_ends_with_its_deadline() {
    let later = "HTTP/1.1 429 Too Many\r\nretry-after: 3600\r\ncontent-length: 4\r\n\r\nwait";
    let server = Server::new(vec![Reply::Raw(later)]);
    let error = chat(&server).ask(&words("Well?")).unwrap_err();
    assert!(matches!(error, Error::Status { status: 429, tries: 1, .. }), "nobody waits an hour: {error}");
    let server = Server::new((0..50).map(|_| Reply::Status("503 Later", "busy")).collect());
    let error = chat(&server).with_deadline(Duration::from_millis(900)).ask(&words("Well?")).unwrap_err();
    let Error::Status { status: 503, tries, .. } = error else { panic!("{error}") };
    assert!(tries > 1 && tries == server.asked().len(), "{tries}");
    // A server that never answers: each try is given up by itself.
    let server = Server::new(vec![Reply::Never, Reply::Never, Reply::Ok(YES)]);
    let config = ServerConfig { timeout_seconds: 0.2, ..ServerConfig::new(&server.url, "some-model") };
    assert_eq!(Chat::open(&config).unwrap().ask(&words("Well?")).unwrap().choices[0].text, "yes");
}

#[test]
fn no_more_are_asked_at_once_than_allowed() {
    let most = |at_once: usize| {
        let server = Server::counting(12, at_once, YES);
        let config = ServerConfig { at_once, ..ServerConfig::new(&server.url, "some-model") };
        let chat = Chat::open(&config).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..12 {
                let chat = chat.clone();
                scope.spawn(move || chat.ask(&words("Well?")).unwrap());
            }
        });
        server.most_at_once()
    };
    assert_eq!(most(3), 3);
    assert_eq!(most(1), 1);
}

#[test]
fn requests_go_out_as_far_apart_as_they_must() {
    let server = Server::new((0..4).map(|_| Reply::Ok(YES)).collect());
    let config = ServerConfig { requests_per_minute: 600.0, ..ServerConfig::new(&server.url, "some-model") };
    let chat = Chat::open(&config).unwrap();
    let begun = std::time::Instant::now();
    (0..4).for_each(|_| drop(chat.ask(&words("Well?")).unwrap()));
    // Three gaps of a tenth of a second: it can take longer, and never less.
    assert!(begun.elapsed() >= Duration::from_millis(300), "{:?}", begun.elapsed());
}

#[test]
fn settings_and_keys_that_are_not_there_are_named() {
    let told = |config: ServerConfig| Chat::open(&config).unwrap_err().to_string();
    let config = ServerConfig::new("http://localhost:1/v1", "m");
    let variable = Some("VR1_TEST_NO_SUCH_KEY".to_owned());
    assert_eq!(
        told(ServerConfig { key_env: variable, ..config.clone() }),
        "http://localhost:1/v1/chat/completions: its key should be in the environment variable `VR1_TEST_NO_SUCH_KEY`, which is not set"
    );
    assert_eq!(
        told(ServerConfig { deadline_seconds: 0.0, ..config.clone() }),
        "deadline_seconds is 0, and must be above 0, and at most 1e9"
    );
    assert_eq!(
        told(ServerConfig { url: "localhost".to_owned(), ..config.clone() }),
        "url is \"localhost\", and must be one that begins with http:// or https://"
    );
    assert!(told(ServerConfig { requests_per_minute: f64::NAN, ..config.clone() }).starts_with("requests_per_minute"));
    assert!(told(ServerConfig { name: String::new(), ..config }).starts_with("name is empty"));
    let chat = Chat::unlimited("http://localhost:1/v1", "m").with_key("sesame");
    assert!(!format!("{chat:?}").contains("sesame"));
    assert_eq!(format!("{:?}", Usage::default()), "Usage { prompt_tokens: 0, completion_tokens: 0 }");
}
