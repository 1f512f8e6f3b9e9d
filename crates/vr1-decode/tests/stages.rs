//! Conversations in stages with a random Qwen2-VL.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "each test takes what it needs of it")]
mod tiny;

use std::sync::Arc;

use tiny::{Tiny, slope};
use vr1_data::{Media, Picture, Sample, Turn};
use vr1_processor::{Layout, Message, PromptRequest, Role};
use vr1_rollout::{Beam, Sampling, answer_in_stages, beam_search};

const STAGES: [(&str, &str); 3] = [
    ("summary", "What colour is it? Summarize how you will approach the problem."),
    ("reasoning", "Generate step by step reasoning."),
    ("conclusion", "Please provide the answer."),
];

fn sample() -> Sample {
    let turn = |(name, prompt): (&str, &str)| Turn { name: name.into(), prompt: prompt.into(), answer: "Red.".into() };
    Sample {
        id: "s-1".into(),
        media: vec![Media::Image(Picture::Pixels(Arc::new(slope(56, 84))))],
        question: "What colour is it?".into(),
        turns: STAGES.map(turn).into(),
        ..Sample::default()
    }
}

#[test]
fn each_turn_goes_behind_the_tokens_before_it_and_gets_an_answer() {
    // The second vocabulary's answers often end by themselves, the first's never do.
    for eos in [vec![0], (20..120).collect::<Vec<i64>>()] {
        let tiny = Tiny::ending_at(&eos);
        let beam = Beam { beams: 2, sampling: Sampling::greedy(5), ..Beam::default() };
        let sample = sample();
        let answers = answer_in_stages(&tiny.engine(), &tiny.processor, &sample, &beam).unwrap();
        let names: Vec<&str> = answers.iter().map(|answer| answer.name.as_str()).collect();
        assert_eq!(names, ["summary", "reasoning", "conclusion"]);

        // The conversation again, turn by turn: the tokens so far stand unchanged before each question.
        let mut prompt = tiny.processor.sample(&sample, STAGES[0].1, Layout::Chat, "").unwrap();
        for (stage, answer) in answers.iter().enumerate() {
            assert!(!answer.completion.ids.is_empty());
            assert_eq!(beam_search(&tiny.engine(), &prompt, &beam).unwrap(), answer.completion, "{}", answer.name);
            let Some((_, words)) = STAGES.get(stage + 1) else { break };
            let messages = [Message::text(Role::User, *words)];
            let request = PromptRequest { sample: "s-1", messages: &messages, layout: Layout::Chat, prefill: "" };
            let next = tiny.processor.next_turn(&prompt, &answer.completion.ids, &request).unwrap();
            let so_far = [prompt.input_ids(), &answer.completion.ids].concat();
            assert_eq!(&next.input_ids()[..so_far.len()], so_far, "{}", answer.name);
            assert!(next.text().ends_with(&format!("<|im_start|>user\n{words}<|im_end|>\n<|im_start|>assistant\n")));
            assert_eq!(next.media(), prompt.media());
            prompt = next;
        }
    }
}

#[test]
fn a_later_answer_depends_on_the_earlier_turns() {
    let tiny = Tiny::ending_at(&[0]);
    let beam = Beam { beams: 2, sampling: Sampling::greedy(5), ..Beam::default() };
    let whole = answer_in_stages(&tiny.engine(), &tiny.processor, &sample(), &beam).unwrap();
    let mut short = sample();
    short.turns.remove(0);
    let short = answer_in_stages(&tiny.engine(), &tiny.processor, &short, &beam).unwrap();
    assert_ne!(whole[2].completion.ids, short[1].completion.ids);
    // What the sample says should be answered is not looked at.
    let mut other = sample();
    other.turns.iter_mut().for_each(|turn| turn.answer = "Blue.".into());
    assert_eq!(whole, answer_in_stages(&tiny.engine(), &tiny.processor, &other, &beam).unwrap());
}

#[test]
fn a_sample_without_turns_has_no_answers() {
    let tiny = Tiny::ending_at(&[0]);
    let none = Sample { turns: Vec::new(), ..sample() };
    assert!(answer_in_stages(&tiny.engine(), &tiny.processor, &none, &Beam::default()).unwrap().is_empty());
}
