//! Conversations in stages with a random Qwen2-VL.

use std::sync::Arc;

use vr1_data::{Media, Picture, Sample, Turn};
use vr1_rollout::{Request, Sampling, Search, StageAnswer, answer_in_stages};

use crate::tiny::{Tiny, key, slope};

const BEAM: Search = Search::Beam { beams: 2, length_penalty: 1.0 };

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

fn answers(tiny: &Tiny, sample: &Sample, sampling: &Sampling, search: Search) -> Vec<StageAnswer> {
    answer_in_stages(&mut tiny.engine(), &tiny.processor, sample, key(2), (sampling, search)).unwrap()
}

#[test]
fn an_answer_is_what_is_found_after_all_before_it() {
    // The second vocabulary's answers often end by themselves, the first's never do.
    for eos in [vec![0], (20..120).collect::<Vec<i64>>()] {
        let tiny = Tiny::ending_at(&eos);
        let drawn = Sampling { max_completion_tokens: 5, seed: 4, ..Sampling::default() };
        for (sampling, search) in [(Sampling::greedy(5), BEAM), (drawn, Search::Draw)] {
            let answers = answers(&tiny, &sample(), &sampling, search);
            assert_eq!(answers.len(), 3);
            for (stage, StageAnswer { name, answer }) in (0..).zip(&answers) {
                tiny.assert_recorded(answer);
                let sampling = Sampling { seed: sampling.seed + stage, ..sampling.clone() };
                let request = Request { search, ..Request::new(answer.prompt().clone(), 1, sampling, key(2)) };
                assert_eq!(tiny.generate(vec![request])[0].sequences()[0].ids(), answer.ids(), "{name}");
            }
            for pair in answers.windows(2) {
                let so_far = [pair[0].answer.prompt().input_ids(), pair[0].answer.ids()].concat();
                assert_eq!(pair[1].answer.prompt().input_ids()[..so_far.len()], so_far);
                assert_eq!(pair[1].answer.prompt().media(), pair[0].answer.prompt().media());
            }
        }
    }
}

#[test]
fn a_later_answer_depends_on_the_earlier_turns() {
    let tiny = Tiny::ending_at(&[0]);
    let whole = answers(&tiny, &sample(), &Sampling::greedy(5), BEAM);
    let mut short = sample();
    short.turns.remove(0);
    let short = answers(&tiny, &short, &Sampling::greedy(5), BEAM);
    assert_ne!(whole[2].answer.ids(), short[1].answer.ids());
}
