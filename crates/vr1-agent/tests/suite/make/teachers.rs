//! What is asked: an engine, and a server.

use super::*;
use crate::server;

#[test]
fn an_engine_answers_as_a_server_does_and_a_prompt_that_does_not_fit_is_one_call() {
    let tokenizer = Tokenizer::train(["q0 q1 how many are there"].map(String::from).into_iter(), 290).unwrap();
    let processor = Processor::new(tokenizer.clone(), None, None, "test".as_ref()).unwrap();
    struct Words;
    impl Wording for Words {
        fn ask(&self, sample: &Sample) -> Result<Prompted, Box<dyn Error + Send + Sync>> {
            let messages = vec![Message::text(Role::User, sample.question.as_str())];
            Ok(Prompted { messages, prefill: "So".to_owned() })
        }
        fn judged(&self, _: &Sample) -> Result<Option<String>, Box<dyn Error + Send + Sync>> {
            Ok(None)
        }
        fn grade(&self, _: &Sample, _: &str) -> Result<Vec<Message>, Box<dyn Error + Send + Sync>> {
            Ok(vec![])
        }
        fn same(&self, _: &Sample) -> Result<String, Box<dyn Error + Send + Sync>> {
            Ok(String::new())
        }
    }
    let mut samples = Questions::new(3);
    samples.0[1].question = "how many ".repeat(100);
    let mut engine = Scripted::new(tokenizer, |request, i| Some(format!(" {} {i}<|im_end|>", request.prompt.text())));
    let mut teacher = EngineTeacher::new("tiny", &mut engine, &processor, Layout::Raw, 300);
    let (rows, tally) = rows(&making(&Words, 2), &samples, &mut teacher);
    let (count, why) = reason(&tally, "a call that failed");
    assert!(count == 2 && why.unwrap().contains("s1"), "{why:?}");
    let ids: Vec<&str> = rows.iter().map(|row| row.sample.id.as_str()).collect();
    let cut = reason(&tally, "cut off").0;
    assert_eq!(ids.len() + cut, 4, "{tally:?}");
    for (_, text) in completions(&rows) {
        assert!(text.starts_with("So q"), "{text}");
    }
}

const ANSWER: &str = r#"{"choices":[{"message":{"content":"three"},"finish_reason":"stop"},{"message":{"content":"thr"},"finish_reason":"length"}],"usage":{"prompt_tokens":9,"completion_tokens":8}}"#;

#[test]
fn a_server_is_shown_pictures_and_told_of_the_beginning_and_what_it_refuses_is_one_call() {
    let server = server::Server::new(vec![
        server::Reply::Ok(ANSWER),
        server::Reply::Status("400 Bad Request", "this picture is too large"),
        server::Reply::Ok(ANSWER),
    ]);
    let config = ServerConfig { at_once: 1, ..ServerConfig::new(&server.url, "some-model") };
    let mut teacher = ServerTeacher::new(Chat::open(&config).unwrap(), 1).unwrap();
    assert_eq!((teacher.name(), teacher.at_once()), ("some-model", 2));
    let wording = Plain("Let me see:");
    let sampling = Sampling { temperature: 0.5, top_k: 20, max_completion_tokens: 30, ..Sampling::default() };
    let (rows, tally) = rows(&Making { sampling, ..making(&wording, 2) }, &Questions::new(3), &mut teacher);
    assert_eq!(completions(&rows).len(), 2);
    assert_eq!(rows[0].sample.fields["completion"], "Let me see:three");
    assert_eq!(reason(&tally, "cut off").0, 2);
    let (count, why) = reason(&tally, "a call that failed");
    assert!(count == 2 && why.unwrap().ends_with("status 400: this picture is too large"), "{why:?}");
    let body = server::body(&server.asked()[0]);
    let content = &body["messages"][0]["content"];
    assert!(content[0]["image_url"]["url"].as_str().unwrap().starts_with("data:image/png;base64,"), "{content}");
    assert_eq!(content[1], json!({"type": "text", "text": "q0"}));
    assert_eq!(body["messages"][1], json!({"role": "assistant", "content": "Let me see:"}));
    assert_eq!(body["continue_final_message"], true);
    assert_eq!((&body["n"], &body["temperature"], &body["top_k"]), (&json!(2), &json!(0.5), &json!(20)));
    assert_eq!((&body["max_tokens"], body.get("top_p")), (&json!(30), None));
}

#[test]
fn a_server_that_is_gone_ends_the_run_with_what_it_answered_kept() {
    let one = r#"{"choices":[{"message":{"content":"three"},"finish_reason":"stop"}]}"#;
    let server =
        server::Server::new(vec![server::Reply::Ok(one), server::Reply::Status("401 Unauthorized", "who are you?")]);
    let config = ServerConfig { at_once: 1, ..ServerConfig::new(&server.url, "some-model") };
    let mut teacher = ServerTeacher::new(Chat::open(&config).unwrap(), 1).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("answers.jsonl");
    let wording = Plain("");
    let error = run(&making(&wording, 1), &Questions::new(2), &mut teacher, &path).unwrap_err().to_string();
    assert!(error.starts_with("sample `s1`: http://") && error.ends_with("status 401: who are you?"), "{error}");
    let mut again = Script::new(|call: &Call| Ok(vec![said(&format!("{} again", last(call)))]));
    let (rows, tally) = run(&making(&wording, 1), &Questions::new(2), &mut again, &path).unwrap();
    assert_eq!(completions(&rows).into_iter().map(|(_, text)| text).collect::<Vec<_>>(), ["three", "q1 again"]);
    assert_eq!(tally.asked_now, 1);
}
