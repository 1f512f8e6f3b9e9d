//! What of a conversation is learnt.
#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test

use std::path::Path;

use image::RgbImage;
use vr1_data::Picture;
use vr1_processor::{
    ChatTemplate, IGNORED, Layout, Mask, Message, Processor, PromptRequest, Role, Specials, Supervised, TokenType,
    Tokenizer,
};

fn checkpoint() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/checkpoint")
}

fn processor() -> Processor {
    Processor::from_dir(&checkpoint()).unwrap()
}

fn picture() -> Picture {
    RgbImage::new(60, 40).into()
}

fn two_turns() -> [Message; 4] {
    [
        Message::user([picture()], "How many?"),
        Message::text(Role::Assistant, "Three."),
        Message::user([picture()], "Sure?"),
        Message::text(Role::Assistant, "Yes <|im_end|> three."),
    ]
}

/// The runs of learnt tokens as text.
fn learnt(processor: &Processor, supervised: &Supervised) -> Vec<String> {
    let labels = &supervised.labels;
    assert_eq!(labels.len(), supervised.prompt.len());
    for (label, id) in labels.iter().zip(supervised.prompt.input_ids()) {
        assert!(*label == IGNORED || label == id, "a label is its own token");
    }
    labels
        .chunk_by(|a, b| (*a == IGNORED) == (*b == IGNORED))
        .filter(|run| run[0] != IGNORED)
        .map(|run| processor.tokenizer().decode(run, Specials::Keep).unwrap())
        .collect()
}

#[test]
fn every_answer_is_learnt_with_its_end_and_nothing_else() {
    let processor = processor();
    let supervised = processor.supervised("s", &two_turns(), Mask::Assistant).unwrap();
    assert_eq!(learnt(&processor, &supervised), ["Three.<|im_end|>", "Yes <|im_end|> three.<|im_end|>"]);
    let end = processor.tokenizer().id("<|im_end|>").unwrap();
    let ends = supervised.labels.iter().filter(|&&label| label == end).count();
    assert_eq!(ends, 3, "the one spelt in the answer is that token");
}

#[test]
fn before_an_answer_stand_the_ids_it_would_be_sampled_after() {
    let processor = processor();
    // An answer that begins with a line break would melt into the one before it, were the text cut anew.
    let turns = [Message::user([picture()], "How many?"), Message::text(Role::Assistant, "\n\nThree.")];
    let supervised = processor.supervised("s", &turns, Mask::Assistant).unwrap();
    let request = PromptRequest { sample: "s", messages: &turns[..1], layout: Layout::Chat, prefill: "" };
    let prompt = processor.prompt(&request).unwrap();
    assert_eq!(supervised.prompt.input_ids()[..prompt.len()], *prompt.input_ids());
    assert!(supervised.labels[..prompt.len()].iter().all(|&label| label == IGNORED));
    assert_ne!(supervised.labels[prompt.len()], IGNORED);
    assert_eq!(learnt(&processor, &supervised), ["\n\nThree.<|im_end|>"]);
}

#[test]
fn all_means_everything_but_media() {
    let processor = processor();
    let supervised = processor.supervised("s", &two_turns(), Mask::All).unwrap();
    for (label, kind) in supervised.labels.iter().zip(supervised.prompt.token_types()) {
        assert_eq!(*label == IGNORED, *kind == TokenType::Image);
    }
    assert_eq!(supervised.prompt.media().len(), 2);
}

#[test]
fn an_earlier_answer_shifts_no_later_label() {
    let processor = processor();
    let turns = two_turns();
    let short = processor.supervised("s", &turns[..2], Mask::Assistant).unwrap();
    let long = processor.supervised("s", &turns, Mask::Assistant).unwrap();
    assert_eq!(long.prompt.input_ids()[..short.prompt.len()], *short.prompt.input_ids());
    assert_eq!(long.labels[..short.labels.len()], short.labels);
}

#[test]
fn a_target_follows_its_prompt_and_ends() {
    let processor = processor();
    for layout in [Layout::Raw, Layout::Chat] {
        let messages = [Message::user([picture()], "User: How many?\nAssistant: ")];
        let request = PromptRequest { sample: "s", messages: &messages, layout, prefill: "<think>" };
        let prompt = processor.prompt(&request).unwrap();
        let supervised = processor.supervised_target(&request, " Three. </think>", Mask::Assistant).unwrap();
        assert_eq!(supervised.prompt.input_ids()[..prompt.len()], *prompt.input_ids());
        assert_eq!(learnt(&processor, &supervised), [" Three. </think><|im_end|>"]);
        assert_eq!(supervised.prompt.text(), format!("{} Three. </think><|im_end|>", prompt.text()));
        let positions = supervised.prompt.position_ids();
        assert_eq!(positions[0].last(), Some(&(supervised.prompt.next_position() - 1)));
        let all = processor.supervised_target(&request, " Three. </think>", Mask::All).unwrap();
        assert_eq!(all.labels.iter().filter(|&&label| label == IGNORED).count(), 2, "two media tokens");
    }
}

#[test]
fn a_conversation_without_answers_is_refused() {
    let error = processor().supervised("s", &two_turns()[..1], Mask::Assistant).unwrap_err();
    assert_eq!(error.to_string(), "sample `s`: no assistant's turn to learn from");
}

#[test]
fn a_template_that_rewrites_the_past_is_refused() {
    // It numbers turns from the end, so an answer changes what stands before it.
    let source = "{% for m in messages %}[{{ loop.revindex }}]{{ m.content[0].text }}<|im_end|>{% endfor %}";
    let template = ChatTemplate::new(source, &serde_json::Map::new(), "odd").unwrap();
    let tokenizer = Tokenizer::from_dir(&checkpoint()).unwrap();
    let processor = Processor::new(tokenizer, Some(template), None, Path::new("odd")).unwrap();
    let turns = [Message::text(Role::User, "a"), Message::text(Role::Assistant, "b")];
    let error = processor.supervised("s", &turns, Mask::Assistant).unwrap_err();
    assert!(error.to_string().starts_with("sample `s`: the chat template renders what is before turn 1"), "{error}");
}
