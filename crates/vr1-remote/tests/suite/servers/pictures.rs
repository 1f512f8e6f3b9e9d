//! Prompts that show pictures.

use super::*;

#[test]
fn pictures_go_as_their_pixels_in_the_conversation() {
    let server = Server::answering(|path, body| {
        let said = || {
            let prompt = prompt(shown());
            let mut said = completions(&json!({"n": 1, "model": body["model"], "prompt": prompt.input_ids()}));
            said["choices"][0]["logprobs"] =
                json!({"content": [{"logprob": -1.0}, {"logprob": -2.0}, {"logprob": -3.0}]});
            said["prompt_token_ids"] = said["choices"][0]["prompt_token_ids"].take();
            (OK, said.to_string())
        };
        looked_at(path).or_else(|| Some(said()))
    });
    let mut engine = engine(config(&[&server]));
    let asked = Request::new(prompt(shown()), 1, drawn(), SampleKey::default());
    let groups = engine.generate(vec![asked.clone()]).unwrap();
    assert_eq!(groups[0].sequences()[0].sampled().unwrap().drawn, [-1.0, -2.0, -3.0]);
    let body = server::body(server.asked().last().unwrap());
    let content = &body["messages"][0]["content"];
    assert_eq!(content[0]["image_url"]["url"], json!(picture().file().unwrap().data_uri()));
    assert_eq!(content[1]["text"], json!("Is it red?"));
    // What a prompt no longer says cannot be asked.
    let longer = Request { prompt: asked.prompt.extend(&[10], "+").unwrap().into(), ..asked };
    let error = engine.submit(longer).unwrap_err().to_string();
    assert!(error.contains("sample `s`: it cannot be put to a server: it was extended"), "{error}");
}

/// A prompt whose second turn shows a picture, behind a first that was sampled.
pub(super) fn later() -> Prompt {
    let message = [Message::user([picture()], "And now?")];
    let request = PromptRequest { sample: "s", messages: &message, layout: Layout::Chat, prefill: "" };
    processor().next_turn(&prompt(shown()), &[75, 76], &request).unwrap().with_pictures(vec![picture(), picture()])
}

#[test]
fn pictures_of_later_turns_go_beside_ids_in_which_each_is_one() {
    let server = Server::answering(|path, body| {
        let said = || {
            let mut said = completions(&json!({"n": 1, "model": body["model"], "prompt": later().input_ids()}));
            said["choices"][0]["logprobs"] = json!({"content": [
                {"token_id": 10, "logprob": -1.0}, {"token_id": 20, "logprob": -2.0}, {"token_id": 2, "logprob": -3.0}]});
            said["prompt_token_ids"] = said["choices"][0]["prompt_token_ids"].take();
            (OK, said.to_string())
        };
        looked_at(path).or_else(|| Some(said()))
    });
    let mut engine = engine(config(&[&server]));
    let asked = Request::new(later(), 1, drawn(), SampleKey::default());
    let groups = engine.generate(vec![asked.clone()]).unwrap();
    assert_eq!(groups[0].sequences()[0].sampled().unwrap().drawn, [-1.0, -2.0, -3.0]);
    assert_eq!(server.paths().last().unwrap(), "/inference/v1/generate");
    let body = server::body(server.asked().last().unwrap());
    let uri = picture().file().unwrap().data_uri();
    assert_eq!(body["content_parts"], json!(vec![json!({"type": "image_url", "url": uri}); 2]));
    let ids: Vec<i64> = serde_json::from_value(body["token_ids"].clone()).unwrap();
    let (pad, prompt) = (later().input_ids()[later().media()[0].range.start], later());
    let of_media: usize = prompt.media().iter().map(|span| span.range.len()).sum();
    assert_eq!(ids.iter().filter(|id| **id == pad).count(), 2);
    assert_eq!(ids.len(), prompt.len() - of_media + 2);
    assert_eq!((&body["sampling_params"]["max_tokens"], &body["sampling_params"]["logprobs"]), (&json!(3), &json!(0)));
    // As many pictures as there are media.
    let fewer = later().with_pictures(vec![picture()]);
    let error = engine.generate(vec![Request { prompt: fewer.into(), ..asked }]).unwrap_err().to_string();
    assert!(error.contains("2 pieces of media, made of 1 pictures"), "{error}");
}

#[test]
fn a_server_that_was_not_started_for_that_is_named_with_what_it_lacks() {
    let server = Server::answering(|path, body| match path {
        "/inference/v1/generate" => Some(("404 Not Found", json!({"detail": "Not Found"}).to_string())),
        path => well(path, body),
    });
    let error = engine(config(&[&server])).generate(vec![Request::new(later(), 1, drawn(), SampleKey::default())]);
    let error = error.unwrap_err().to_string();
    assert!(error.contains("--enable-scale-out") && error.contains("127.0.0.1"), "{error}");
}

pub(super) fn picture() -> Picture {
    Picture::from(image::RgbImage::from_fn(56, 56, |x, y| image::Rgb([x as u8, y as u8, 9])))
}

pub(super) fn shown() -> Message {
    Message::user([picture()], "Is it red?")
}
