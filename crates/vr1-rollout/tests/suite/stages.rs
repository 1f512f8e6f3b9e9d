//! Conversations in stages, over a script.

use std::cell::RefCell;

use vr1_data::{Media, Sample, Turn};
use vr1_processor::{Layout, Prompt, Specials};
use vr1_rollout::{Request, Sampling, Scripted, Search, answer_in_stages};

use crate::asked::{PROCESSOR, key, picture, tokenizer};

const STAGES: [(&str, &str); 3] =
    [("summary", "How will you go about it?"), ("reasoning", "Reason."), ("conclusion", "Answer.")];

const BEAM: Search = Search::Beam { beams: 2, length_penalty: 1.0 };

fn sample() -> Sample {
    let turn = |(name, prompt): (&str, &str)| Turn { name: name.into(), prompt: prompt.into(), answer: "4.".into() };
    let media = vec![Media::Image(picture())];
    Sample {
        id: "s-1".into(),
        media,
        question: "How many?".into(),
        turns: STAGES.map(turn).into(),
        ..Sample::default()
    }
}

/// What was asked, and what came of it.
fn staged(sample: &Sample, answers: [&str; 3]) -> (Vec<Request>, Vec<(String, String)>) {
    let asked = RefCell::new(Vec::new());
    let mut engine = Scripted::new(tokenizer(), |request: &Request, _| {
        asked.borrow_mut().push(request.clone());
        Some(answers[asked.borrow().len() - 1].to_owned())
    });
    let sampling = Sampling { max_completion_tokens: 12, seed: 5, ..Sampling::default() };
    let answers = answer_in_stages(&mut engine, &PROCESSOR, sample, key(7), (&sampling, BEAM)).unwrap();
    let answers = answers.into_iter().map(|stage| (stage.name, stage.answer.text().to_owned())).collect();
    (asked.into_inner(), answers)
}

fn spelt(prompt: &Prompt) -> String {
    PROCESSOR.tokenizer().decode(prompt.input_ids(), Specials::Keep).unwrap()
}

#[test]
fn each_turn_goes_behind_the_tokens_before_it_and_gets_an_answer() {
    // The second has no room to end by itself.
    let said =
        ["First count.<|im_end|>", "Two and two, and that is all there is of them here<|im_end|>", "4<|im_end|>"];
    let (asked, answers) = staged(&sample(), said);
    let names: Vec<&str> = answers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["summary", "reasoning", "conclusion"]);
    assert_eq!((answers[0].1.as_str(), answers[2].1.as_str()), ("First count.", "4"));

    let first = PROCESSOR.sample(&sample(), STAGES[0].1, Layout::Chat, "").unwrap();
    assert_eq!(asked[0].prompt.input_ids(), first.input_ids());
    let cut = &answers[1].1;
    assert!(said[1].starts_with(cut.as_str()) && !said[1].starts_with(&format!("{cut}<|im_end|>")), "{cut}");
    let turn = |words: &str| format!("<|im_end|>\n<|im_start|>user\n{words}<|im_end|>\n<|im_start|>assistant\n");
    let second = spelt(&first) + "First count." + &turn("Reason.");
    assert_eq!(spelt(&asked[1].prompt), second);
    assert_eq!(spelt(&asked[2].prompt), second + cut + &turn("Answer."));
    for (request, stage) in asked.iter().zip(0..) {
        assert_eq!(request.prompt.media(), first.media(), "they all see the picture");
        assert_eq!((request.prompt.sample(), request.key, request.completions), ("s-1", key(7), 1));
        assert_eq!((request.search, request.sampling.max_completion_tokens), (BEAM, 12));
        assert_eq!(request.sampling.seed, 5 + stage, "no stage draws the numbers of another");
    }
}

#[test]
fn what_the_sample_says_should_be_answered_is_not_looked_at() {
    let said = ["a<|im_end|>", "b<|im_end|>", "c<|im_end|>"];
    let mut other = sample();
    other.turns.iter_mut().for_each(|turn| turn.answer = "5.".into());
    let prompts = |sample: &Sample| staged(sample, said).0.iter().map(|r| spelt(&r.prompt)).collect::<Vec<_>>();
    assert_eq!(prompts(&sample()), prompts(&other));
}

#[test]
fn a_sample_without_turns_has_no_answers() {
    let (asked, answers) = staged(&Sample { turns: Vec::new(), ..sample() }, [""; 3]);
    assert!(asked.is_empty() && answers.is_empty());
}
