//! Completions that call tools: what they become, and what the model is told of calls that go wrong.

use std::path::Path;
use std::sync::Arc;

use image::{Rgb, RgbImage};
use vr1_agent::{ToolEngine, Zoom};
use vr1_processor::{Layout, Message, Processor, Prompt, PromptRequest, Role};
use vr1_rollout::{Engine, Finish, Group, Request, SampleKey, Sampling, Scripted, Sequence};

const QUESTION: &str = "What is small?";
const CALL: &str = r#"<tool_call>{"name": "image_zoom_in_tool", "arguments": {"bbox_2d": [0, 0, 32, 64]}}</tool_call>"#;

fn processor() -> Arc<Processor> {
    Arc::new(Processor::from_dir(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/assets/tiny")).unwrap())
}

fn picture() -> Arc<RgbImage> {
    Arc::new(RgbImage::from_fn(64, 64, |x, _| if x < 32 { Rgb([200, 0, 0]) } else { Rgb([0, 0, 200]) }))
}

fn made(processor: &Processor, messages: &[Message], layout: Layout) -> Prompt {
    processor.prompt(&PromptRequest { sample: "s", messages, layout, prefill: "" }).unwrap()
}

fn asked(processor: &Processor) -> Prompt {
    made(processor, &[Message::user([picture()], QUESTION)], Layout::Chat)
}

/// What is said in turns, a list for each completion; the last is said again where there are more turns.
fn answered(turns: [&'static [&'static str]; 3], max_calls: usize, max_tokens: usize, tokens: usize) -> Group {
    let processor = processor();
    // What comes after a call is asked for alone, and by how often tools answered.
    let script = move |request: &Request, completion: usize| {
        let text = request.prompt.text();
        // An engine elsewhere is shown all pictures of a later turn, which is no conversation any more.
        let pictures = request.prompt.pictures().map_or(0, <[_]>::len);
        let shown = if request.prompt.conversation().is_some() { 0 } else { request.prompt.media().len() };
        assert_eq!(pictures, shown);
        let before = text.matches("<tool_response>").count();
        let of = if before == 0 { completion } else { turns.iter().position(|turns| turns.len() > 1).unwrap_or(0) };
        let said = turns[of][before.min(turns[of].len() - 1)];
        Some(format!("{said}<|im_end|>"))
    };
    let engine = Box::new(Scripted::new(processor.tokenizer().clone(), script));
    let mut engine = ToolEngine::new(engine, processor.clone(), vec![Box::new(Zoom)], max_calls, max_tokens);
    let sampling = Sampling { max_completion_tokens: tokens, ..Sampling::default() };
    engine.generate(vec![Request::new(asked(&processor), 3, sampling, SampleKey::default())]).unwrap().remove(0)
}

/// What tools returned, a piece a call.
fn observations(sequence: &Sequence) -> usize {
    sequence.trained().chunk_by(|a, b| a == b).filter(|run| !run[0]).count()
}

#[test]
fn a_call_is_answered_by_a_picture_that_is_seen_and_not_learnt() {
    let group = answered([&["none"], &[CALL, "<answer>a cat</answer>"], &["red"]], 3, 1024, 256);
    let processor = processor();
    let [none, called, red] = group.sequences() else { panic!("{} completions", group.sequences().len()) };
    assert_eq!([none, red].map(|sequence| (sequence.text(), observations(sequence))), [("none", 0), ("red", 0)]);
    assert!([none, called, red].iter().all(|sequence| Arc::ptr_eq(sequence.prompt(), group.prompt())));
    assert!(called.text().starts_with(CALL) && called.text().ends_with("<answer>a cat</answer>"), "{}", called.text());
    assert_eq!((observations(called), called.tail().media().len()), (1, 1));
    let sampled = called.sampled().unwrap();
    assert_eq!((sampled.drawn.len(), sampled.finish), (called.trained_tokens(), Finish::Ended));
    // Tokens, pictures and positions are those of the conversation that it is.
    let zoomed = {
        let left = RgbImage::from_pixel(32, 64, Rgb([200, 0, 0]));
        Message {
            role: Role::User,
            parts: vec!["<tool_response>\n".into(), Arc::new(left).into(), "\n</tool_response>".into()],
        }
    };
    let messages = [Message::user([picture()], QUESTION), Message::text(Role::Assistant, CALL), zoomed];
    let (whole, expected) = (called.prompt().followed_by(called.tail()), made(&processor, &messages, Layout::Chat));
    let (before, _) = whole.split(expected.len()).unwrap();
    assert_eq!(before.input_ids(), expected.input_ids());
    assert_eq!(before.position_ids(), expected.position_ids());
    assert_eq!(before.patches(), expected.patches());
}

#[test]
fn a_call_that_goes_wrong_is_told_why_and_costs_a_call() {
    for (call, why) in [
        (r#"<tool_call>{"name": "search", "arguments": {}}</tool_call>"#, "error: there is no tool `search`"),
        (r#"<tool_call>{"name": </tool_call>"#, "error: the call cannot be read: "),
        (
            r#"<tool_call>{"name": "image_zoom_in_tool", "arguments": {"bbox_2d": [9, 9, 1, 1]}}</tool_call>"#,
            "error: `bbox_2d` has nothing of the picture",
        ),
    ] {
        let turns: &'static [&'static str] = Box::leak(Box::new([call, "well"]));
        let group = answered([turns, &["a"], &["b"]], 1, 1024, 256);
        let first = &group.sequences()[0];
        assert!(first.text().contains(why) && first.text().ends_with("well"), "{}", first.text());
        assert_eq!(first.tail().media().len(), 0);
    }
}

#[test]
fn a_part_that_cannot_be_shown_is_told_too() {
    let processor = processor();
    let wide = Arc::new(RgbImage::new(1000, 1000));
    let prompt = made(&processor, &[Message::user([wide], QUESTION)], Layout::Chat);
    let script = |request: &Request, _| {
        let call =
            r#"<tool_call>{"name": "image_zoom_in_tool", "arguments": {"bbox_2d": [0, 0, 0.1, 999]}}</tool_call>"#;
        Some(format!("{}<|im_end|>", if request.prompt.text().contains("<tool_response>") { "well" } else { call }))
    };
    let engine = Box::new(Scripted::new(processor.tokenizer().clone(), script));
    let mut engine = ToolEngine::new(engine, processor, vec![Box::new(Zoom)], 1, 1024);
    let group = engine.generate(vec![Request::new(prompt, 1, Sampling::default(), SampleKey::default())]).unwrap();
    let made = &group[0].sequences()[0];
    assert!(made.text().contains("error: ") && made.text().ends_with("well"), "{}", made.text());
    assert_eq!(made.tail().media().len(), 0);
}

#[test]
fn calls_tokens_and_room_come_to_an_end() {
    let endless: [&[&str]; 3] = [&[CALL, CALL], &["a"], &["b"]];
    for max_calls in 1..4 {
        let group = answered(endless, max_calls, 1024, 1000);
        assert_eq!(observations(&group.sequences()[0]), max_calls);
        assert_eq!(group.sequences()[0].tail().media().len(), max_calls);
    }
    let free = answered(endless, 1, 1024, 1000);
    let [prompt, turn] = [free.prompt().len(), answered(endless, 0, 1024, 1000).sequences()[0].ids().len()];
    // What is said is counted over all turns.
    let short = answered(endless, 3, 1024, turn + 3);
    assert_eq!((short.sequences()[0].trained_tokens(), observations(&short.sequences()[0])), (turn + 3, 1));
    assert_eq!(short.sequences()[0].sampled().unwrap().finish, Finish::Length);
    // Where what a tool returned leaves no room, the turn is the last.
    let tight = answered(endless, 3, prompt + turn + 4, 1000);
    assert_eq!(observations(&tight.sequences()[0]), 0);
}

#[test]
fn what_has_no_turns_has_no_tools() {
    let processor = processor();
    let raw = made(&processor, &[Message::user([picture()], QUESTION)], Layout::Raw);
    let engine = Box::new(Scripted::new(processor.tokenizer().clone(), |_, _| Some(String::new())));
    let mut engine = ToolEngine::new(engine, processor, vec![Box::new(Zoom)], 3, 1024);
    let error = engine.submit(Request::new(raw, 1, Sampling::default(), SampleKey::default())).unwrap_err().to_string();
    assert!(error.contains("the chat template"), "{error}");
}
