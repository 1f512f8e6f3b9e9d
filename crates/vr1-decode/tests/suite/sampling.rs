//! Sampling from a random Qwen2-VL.

use std::rc::Rc;
use std::sync::Arc;

use tch::{Device, Kind, Tensor};
use vr1_decode::probabilities;
use vr1_processor::Prompt;
use vr1_rollout::{Finish, Group, Request, SampleKey, Sampling, Sequence};
use vr1_vlm::{Backbone, Model};

use crate::tiny::{Tiny, key, model};

/// Some of the vocabulary ends a completion, so that there are finished and unfinished ones, short and long.
fn tiny() -> Tiny {
    Tiny::ending_at(&(20..50).collect::<Vec<i64>>())
}

fn sampling() -> Sampling {
    Sampling { max_completion_tokens: 10, seed: 3, ..Sampling::default() }
}

fn ids(sequences: &[Sequence]) -> Vec<&[i64]> {
    sequences.iter().map(Sequence::ids).collect()
}

fn asked(prompt: &Arc<Prompt>, completions: usize, sampling: &Sampling, key: SampleKey) -> Request {
    Request::new(prompt.clone(), completions, sampling.clone(), key)
}

fn all(groups: &[Group]) -> impl Iterator<Item = &Sequence> {
    groups.iter().flat_map(Group::sequences)
}

#[test]
fn a_sequence_is_the_same_alone_in_any_batch_and_in_any_order() {
    let tiny = tiny();
    let together = tiny.generate(tiny.requests(4, &sampling()));
    let mut turned = tiny.requests(2, &sampling());
    turned.reverse();
    let turned = tiny.generate(turned);
    for (place, (group, request)) in together.iter().zip(tiny.requests(4, &sampling())).enumerate() {
        assert!(group.prompt().sample() == request.prompt.sample() && group.key() == request.key);
        assert_eq!(group.size(), 4);
        let name = request.prompt.sample().to_owned();
        let alone = tiny.generate(vec![request]);
        assert_eq!(ids(group.sequences()), ids(alone[0].sequences()), "{name}");
        assert_eq!(ids(&group.sequences()[..2]), ids(turned[2 - place].sequences()), "{name}");
        assert_ne!(group.sequences()[0].ids(), group.sequences()[1].ids(), "{name}");
        for (one, other) in group.sequences().iter().zip(alone[0].sequences()) {
            let [one, other] = [one, other].map(|sequence| sequence.sampled().unwrap());
            let near = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-4);
            assert!(near(&one.logprobs, &other.logprobs) && near(&one.drawn, &other.drawn), "{name}");
        }
    }
    let other = tiny.generate(tiny.requests(4, &Sampling { seed: 4, ..sampling() }));
    assert_ne!(ids(together[0].sequences()), ids(other[0].sequences()));
}

#[test]
fn randomness_hangs_on_the_key_and_not_on_the_name() {
    let tiny = tiny();
    let drawn = |name: &str, key: SampleKey| {
        let prompt = tiny.prompt(name, &[(56, 84)], "What colour is it?");
        let groups = tiny.generate(vec![asked(&prompt, 3, &sampling(), key)]);
        ids(groups[0].sequences()).concat()
    };
    let here = key(5);
    assert_eq!(drawn("a", here), drawn("b", here));
    for there in [SampleKey { epoch: 1, ..here }, SampleKey { dataset: 1, ..here }, key(6)] {
        assert_ne!(drawn("a", here), drawn("a", there), "{there:?}");
    }
    // Two samples of one id in one batch.
    let prompt = tiny.prompt("a", &[], "What is two and two?");
    let both = tiny.generate(vec![asked(&prompt, 3, &sampling(), here), asked(&prompt, 3, &sampling(), key(6))]);
    assert_ne!(ids(both[0].sequences()), ids(both[1].sequences()));
}

#[test]
fn recorded_logprobs_are_those_of_a_pass_without_a_cache() {
    let tiny = tiny();
    let hot = Sampling { temperature: 3.0, top_p: 0.9, repetition_penalty: 1.4, ..sampling() };
    for sampling in [sampling(), hot, Sampling::greedy(10)] {
        all(&tiny.generate(tiny.requests(3, &sampling))).for_each(|sequence| tiny.assert_recorded(sequence));
    }
}

#[test]
fn what_a_token_was_drawn_by_is_recorded_beside_it() {
    let tiny = tiny();
    let limits = Sampling { temperature: 1.7, top_k: 40, top_p: 0.95, min_p: 0.01, ..sampling() };
    for sampling in [
        sampling(),
        Sampling { temperature: 0.6, ..sampling() },
        Sampling { repetition_penalty: 1.8, ..sampling() },
        Sampling { repetition_penalty: 0.7, ..limits.clone() },
        limits,
    ] {
        let (mut tokens, mut apart) = (0, 0);
        for sequence in all(&tiny.generate(tiny.requests(3, &sampling))) {
            let ids = sequence.ids();
            let logits = tiny.uncached(sequence.prompt(), ids);
            let rows = logits.size()[1];
            let said = sequence.sampled().unwrap();
            let mut seen = Tensor::zeros([1, rows], (Kind::Bool, Device::Cpu));
            let mut see = |ids: &[i64]| {
                let _ = seen.index_fill_(1, &Tensor::from_slice(ids), 1);
                seen.copy()
            };
            let mut before = see(sequence.prompt().input_ids());
            for (i, &id) in ids.iter().enumerate() {
                let reachable = logits.narrow(0, i as i64, 1).index_fill(1, &tiny.media(), f64::NEG_INFINITY);
                let expected = probabilities(&sampling, &reachable, Some(&before)).unwrap();
                let expected = expected.double_value(&[0, id]).ln() as f32;
                let found = said.drawn[i];
                assert!((found - expected).abs() < 1e-3, "{sampling:?}, token {i}: {found} and not {expected}");
                tokens += 1;
                apart += usize::from((found - said.logprobs[i]).abs() > 1e-2);
                before = see(&[id]);
            }
        }
        // It is something else than what the model says, but for its plain distribution.
        let plain = sampling == self::sampling();
        assert!(tokens > 30 && if plain { apart < tokens } else { apart > tokens / 2 }, "{apart} of {tokens}");
    }
}

#[test]
fn what_is_taken_for_certain_was_drawn_with_certainty() {
    let tiny = tiny();
    for penalty in [1.0, 1.5] {
        let greedy = Sampling { repetition_penalty: penalty, ..Sampling::greedy(10) };
        for sequence in all(&tiny.generate(tiny.requests(2, &greedy))) {
            assert_eq!(sequence.sampled().unwrap().drawn, vec![0.0; sequence.ids().len()]);
        }
    }
}

#[test]
fn recorded_logprobs_are_the_models_own_though_media_tokens_are_out_of_reach() {
    let tiny = tiny();
    let prompt = tiny.prompt("text", &[], "What is two and two?");
    let request = |sampling| vec![asked(&prompt, 1, &sampling, key(0))];
    let first = tiny.generate(request(Sampling::greedy(1)))[0].sequences()[0].ids()[0];
    // From now on a picture's placeholder is as likely as the likeliest word.
    let pad = tiny.processor.tokenizer().image_pad().unwrap();
    tch::no_grad(|| tiny.model.lm_head().get(pad).copy_(&tiny.model.lm_head().get(first)));
    let groups = tiny.generate(request(Sampling::greedy(1)));
    let sequence = &groups[0].sequences()[0];
    assert_eq!(sequence.ids(), [first]);
    let said = sequence.sampled().unwrap().logprobs[0];
    assert!(said <= -std::f32::consts::LN_2, "{said}");
    tiny.assert_recorded(sequence);
    // What it was drawn by leaves the placeholder out.
    let cold = Sampling { temperature: 0.05, max_completion_tokens: 1, ..sampling() };
    let groups = tiny.generate(request(cold));
    let sequence = &groups[0].sequences()[0];
    assert_eq!(sequence.ids(), [first]);
    assert!(sequence.sampled().unwrap().drawn[0] > -0.5 && sequence.sampled().unwrap().logprobs[0] == said);
}

#[test]
fn media_tokens_are_never_sampled() {
    let tiny = Tiny::ending_at(&[0]);
    // So hot that every token is nearly as likely: 5 of 374 would be media tokens, 27 of 2048.
    let hot = Sampling { temperature: 1e4, max_completion_tokens: 64, ..sampling() };
    let media = tiny.processor.tokenizer().media_ids();
    assert_eq!(media.len(), 5);
    let groups = tiny.generate(vec![asked(&tiny.prompt("text", &[], "Anything?"), 32, &hot, key(0))]);
    let mut sampled = ids(groups[0].sequences()).concat();
    assert!(sampled.len() > 1024, "{}", sampled.len());
    assert!(sampled.iter().all(|id| !media.contains(id)));
    // Nor are they counted with what could have been drawn.
    let even = -(369f32.ln());
    assert!(all(&groups).flat_map(|s| &s.sampled().unwrap().drawn).all(|drawn| (drawn - even).abs() < 0.01));
    sampled.sort_unstable();
    sampled.dedup();
    assert!(sampled.len() > 300, "{} of 369", sampled.len());
}

#[test]
fn rows_beyond_the_tokenizer_are_never_sampled() {
    let mut tiny = Tiny::ending_at(&[0]);
    let mut config = tiny.model.config().clone();
    config.text.vocab_size = 1024; // 374 of them are spelt
    tiny.model = Rc::new(Model::random(config, 1, Device::Cpu, Kind::Float).unwrap());
    let hot = Sampling { temperature: 1e4, max_completion_tokens: 64, ..sampling() };
    let groups = tiny.generate(vec![asked(&tiny.prompt("text", &[], "Anything?"), 4, &hot, key(0))]);
    let sampled = ids(groups[0].sequences()).concat();
    assert!(sampled.len() > 128 && sampled.iter().all(|id| (0..374).contains(id)), "{sampled:?}");
}

#[test]
fn a_completion_ends_with_its_first_end_or_without_room() {
    let tiny = tiny();
    let groups = tiny.generate(tiny.requests(16, &Sampling { temperature: 2.0, ..sampling() }));
    let mut finished = 0;
    for sequence in all(&groups) {
        let (last, before) = sequence.ids().split_last().unwrap();
        assert!(before.iter().all(|id| !(20..50).contains(id)), "{:?}", sequence.ids());
        assert_eq!(sequence.finished(), (20..50).contains(last));
        assert!(sequence.finished() || sequence.ids().len() == 10);
        assert_eq!(sequence.sampled().unwrap().finish == Finish::Ended, sequence.finished());
        finished += usize::from(sequence.finished());
    }
    assert!(0 < finished && finished < 48, "{finished} of 48");
}

#[test]
fn the_likeliest_token_is_taken_where_nothing_else_may_be() {
    let tiny = tiny();
    let greedy = tiny.generate(tiny.requests(1, &Sampling::greedy(10)));
    let narrow = [
        Sampling { top_k: 1, ..sampling() },
        Sampling { top_p: 1e-6, ..sampling() },
        Sampling { min_p: 0.9999, ..sampling() },
        Sampling { temperature: 1e-3, ..sampling() },
    ];
    for sampling in narrow {
        for (group, greedy) in tiny.generate(tiny.requests(2, &sampling)).iter().zip(&greedy) {
            for sequence in group.sequences() {
                assert_eq!(sequence.ids(), greedy.sequences()[0].ids(), "{sampling:?}");
            }
        }
    }
}

/// For each token of 96 completions of 6: its probability, the sum of the likelier ones', how many those are, and the
/// likeliest one's; media tokens left out, at the temperature of `sampling`.
fn places(tiny: &Tiny, sampling: &Sampling) -> Vec<(f64, f64, usize, f64)> {
    let sampling = Sampling { max_completion_tokens: 6, ..sampling.clone() };
    let mut places = Vec::new();
    for sequence in all(&tiny.generate(tiny.requests(32, &sampling))) {
        let logits = tiny.uncached(sequence.prompt(), sequence.ids()).index_fill(-1, &tiny.media(), f64::NEG_INFINITY);
        let rows = (logits / sampling.temperature).softmax(-1, Kind::Double);
        for (row, &id) in sequence.ids().iter().enumerate() {
            let row = Vec::<f64>::try_from(rows.get(row as i64)).unwrap();
            let own = row[id as usize];
            let likelier: Vec<f64> = row.iter().copied().filter(|&p| p > own).collect();
            let most = row.iter().copied().fold(0.0, f64::max);
            places.push((own, likelier.iter().sum(), likelier.len(), most));
        }
    }
    places
}

#[test]
fn limits_leave_out_what_they_say_and_nothing_else() {
    let tiny = tiny();
    let free = Sampling { temperature: 3.0, ..sampling() };
    let (top_k, top_p, min_p) = (5, 0.5, 0.2);
    let outside_k = |p: &&(f64, f64, usize, f64)| p.2 >= top_k;
    let outside_p = |p: &&(f64, f64, usize, f64)| p.1 >= top_p + 1e-4;
    let outside_min = |p: &&(f64, f64, usize, f64)| p.0 < min_p * p.3 - 1e-4;

    let all = places(&tiny, &free);
    assert!(all.iter().filter(outside_k).count() > 20, "without limits there are tokens outside of each");
    assert!(all.iter().filter(outside_p).count() > 20);
    assert!(all.iter().filter(outside_min).count() > 20);

    let by_k = places(&tiny, &Sampling { top_k: top_k as i64, ..free.clone() });
    assert_eq!(by_k.iter().filter(outside_k).count(), 0);
    assert!(by_k.iter().any(|p| p.2 == top_k - 1), "the last of the five can be picked");
    let by_p = places(&tiny, &Sampling { top_p, ..free.clone() });
    assert_eq!(by_p.iter().filter(outside_p).count(), 0);
    assert!(by_p.iter().any(|p| p.1 < top_p && p.1 + p.0 > top_p), "the one that reaches the sum can be picked");
    let by_min = places(&tiny, &Sampling { min_p, ..free });
    assert_eq!(by_min.iter().filter(outside_min).count(), 0);
    assert!(by_min.iter().any(|p| p.0 < 2.0 * min_p * p.3), "one near the limit can be picked");
}

#[test]
fn tokens_are_as_frequent_as_they_are_likely() {
    let tiny = tiny();
    let prompt = tiny.prompt("one", &[(56, 84)], "What colour is it?");
    let one = Sampling { temperature: 1.5, max_completion_tokens: 1, ..sampling() };
    let draws = 4000;
    let groups = tiny.generate(vec![asked(&prompt, draws, &one, key(0))]);
    let mut counts = vec![0.0; tiny.processor.tokenizer().vocab_size()];
    groups[0].sequences().iter().for_each(|sequence| counts[sequence.ids()[0] as usize] += 1.0 / draws as f64);
    let logits = tiny.uncached(&prompt, &[0]).get(0).index_fill(-1, &tiny.media(), f64::NEG_INFINITY);
    let likely = Vec::<f64>::try_from((logits / 1.5).softmax(-1, Kind::Double)).unwrap();
    assert!(likely.iter().filter(|&&p| p > 0.02).count() > 3, "more than one token has a chance");
    for (id, (count, likely)) in counts.iter().zip(&likely).enumerate() {
        let spread = (likely * (1.0 - likely) / draws as f64).sqrt();
        assert!((count - likely).abs() < 5.0 * spread + 1e-3, "token {id}: {count} of 1, expected {likely}");
    }
}

#[test]
fn a_change_of_weights_in_place_is_seen_by_the_next_token() {
    let tiny = tiny();
    let mut engine = tiny.engine();
    let requests = || tiny.requests(2, &Sampling { temperature: 0.3, ..sampling() });
    let before = vr1_rollout::Engine::generate(&mut engine, requests()).unwrap();
    let fresh = model();
    tch::no_grad(|| tiny.model.lm_head().shallow_clone().copy_(&fresh.lm_head().flip([0])));
    let after = vr1_rollout::Engine::generate(&mut engine, requests()).unwrap();
    assert_ne!(ids(before[0].sequences()), ids(after[0].sequences()));
    all(&after).for_each(|sequence| tiny.assert_recorded(sequence));
}
