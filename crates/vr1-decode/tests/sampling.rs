//! Sampling from a random Qwen2-VL.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "each test takes what it needs of it")]
mod tiny;

use tch::{Device, Kind, Tensor};
use tiny::Tiny;
use vr1_processor::Prompt;
use vr1_rollout::{Completion, Group, RolloutEngine, Sampling};
use vr1_vlm::Model;

/// Some of the vocabulary ends a completion, so that there are finished and unfinished ones, short and long.
fn tiny() -> Tiny {
    Tiny::ending_at(&(20..50).collect::<Vec<i64>>())
}

fn sampling() -> Sampling {
    Sampling { max_completion_tokens: 10, seed: 3, ..Sampling::default() }
}

fn generate(tiny: &Tiny, prompts: Vec<Prompt>, group_size: usize, sampling: &Sampling) -> Vec<Group> {
    tiny.engine().generate(prompts, group_size, sampling).unwrap()
}

fn ids(completions: &[Completion]) -> Vec<&[i64]> {
    completions.iter().map(|completion| completion.ids.as_slice()).collect()
}

#[test]
fn a_completion_does_not_depend_on_what_else_is_in_the_batch() {
    let tiny = tiny();
    let together = generate(&tiny, tiny.prompts(), 4, &sampling());
    let mut turned = tiny.prompts();
    turned.reverse();
    let turned = generate(&tiny, turned, 2, &sampling());
    for (place, (group, prompt)) in together.iter().zip(tiny.prompts()).enumerate() {
        assert_eq!(group.prompt.sample(), prompt.sample());
        assert_eq!(group.completions.len(), 4);
        let name = prompt.sample().to_owned();
        let alone = generate(&tiny, vec![prompt], 4, &sampling());
        assert_eq!(ids(&group.completions), ids(&alone[0].completions), "{name}");
        assert_eq!(ids(&group.completions[..2]), ids(&turned[2 - place].completions), "{name}");
        assert_ne!(group.completions[0].ids, group.completions[1].ids, "{name}");
    }
    let other = generate(&tiny, tiny.prompts(), 4, &Sampling { seed: 4, ..sampling() });
    assert_ne!(ids(&together[0].completions), ids(&other[0].completions));
}

#[test]
fn recorded_logprobs_are_those_of_a_pass_without_a_cache() {
    let tiny = tiny();
    let hot = Sampling { temperature: 3.0, top_k: 0, top_p: 0.9, ..sampling() };
    for sampling in [sampling(), hot, Sampling::greedy(10)] {
        for group in generate(&tiny, tiny.prompts(), 3, &sampling) {
            for completion in &group.completions {
                tiny.assert_recorded(&group.prompt, &completion.ids, &completion.logprobs);
            }
        }
    }
}

#[test]
fn recorded_logprobs_are_the_models_own_though_media_tokens_are_out_of_reach() {
    let tiny = tiny();
    let prompt = tiny.prompt("text", &[], "What is two and two?");
    let first = generate(&tiny, vec![prompt.clone()], 1, &Sampling::greedy(1))[0].completions[0].ids[0];
    // From now on a picture's placeholder is as likely as the likeliest word.
    let pad = tiny.processor.tokenizer().image_pad().unwrap();
    tch::no_grad(|| tiny.model.lm_head().get(pad).copy_(&tiny.model.lm_head().get(first)));
    let completion = &generate(&tiny, vec![prompt.clone()], 1, &Sampling::greedy(1))[0].completions[0];
    assert_eq!(completion.ids, [first]);
    assert!(completion.logprobs[0] <= -std::f32::consts::LN_2, "{}", completion.logprobs[0]);
    tiny.assert_recorded(&prompt, &completion.ids, &completion.logprobs);
}

#[test]
fn media_tokens_are_never_sampled() {
    let tiny = Tiny::ending_at(&[0]);
    // So hot that every token is nearly as likely: 5 of 374 would be media tokens, 27 of 2048.
    let hot = Sampling { temperature: 1e4, top_k: 0, max_completion_tokens: 64, ..sampling() };
    let groups = generate(&tiny, vec![tiny.prompt("text", &[], "Anything?")], 32, &hot);
    let media = tiny.processor.tokenizer().media_ids();
    assert_eq!(media.len(), 5);
    let sampled: Vec<i64> = groups[0].completions.iter().flat_map(|c| c.ids.clone()).collect();
    assert!(sampled.len() > 1024, "{}", sampled.len());
    assert!(sampled.iter().all(|id| !media.contains(id)));
    let mut distinct = sampled;
    distinct.sort_unstable();
    distinct.dedup();
    assert!(distinct.len() > 300, "{} of 369", distinct.len());
}

#[test]
fn rows_beyond_the_tokenizer_are_never_sampled() {
    let mut tiny = Tiny::ending_at(&[0]);
    let mut config = tiny.model.config().clone();
    config.text.vocab_size = 1024; // 374 of them are spelt
    tiny.model = Model::random(config, 1, Device::Cpu, Kind::Float).unwrap();
    let hot = Sampling { temperature: 1e4, top_k: 0, max_completion_tokens: 64, ..sampling() };
    let groups = generate(&tiny, vec![tiny.prompt("text", &[], "Anything?")], 4, &hot);
    let sampled: Vec<i64> = groups[0].completions.iter().flat_map(|c| c.ids.clone()).collect();
    assert!(sampled.len() > 128 && sampled.iter().all(|id| (0..374).contains(id)), "{sampled:?}");
}

#[test]
fn a_completion_ends_with_its_first_end_or_without_room() {
    let tiny = tiny();
    let groups = generate(&tiny, tiny.prompts(), 16, &Sampling { temperature: 2.0, ..sampling() });
    let all: Vec<&Completion> = groups.iter().flat_map(|group| &group.completions).collect();
    for completion in &all {
        let (last, before) = completion.ids.split_last().unwrap();
        assert!(before.iter().all(|id| !(20..50).contains(id)), "{:?}", completion.ids);
        assert_eq!(completion.finished, (20..50).contains(last));
        assert!(completion.finished || completion.ids.len() == 10);
    }
    let finished = all.iter().filter(|completion| completion.finished).count();
    assert!(0 < finished && finished < all.len(), "{finished} of {}", all.len());
}

#[test]
fn the_likeliest_token_is_taken_where_nothing_else_may_be() {
    let tiny = tiny();
    let greedy = generate(&tiny, tiny.prompts(), 1, &Sampling::greedy(10));
    let narrow = [
        Sampling { top_k: 1, ..sampling() },
        Sampling { top_k: 0, top_p: 1e-6, ..sampling() },
        Sampling { top_k: 0, min_p: 0.9999, ..sampling() },
        Sampling { temperature: 1e-3, ..sampling() },
    ];
    for sampling in narrow {
        let sampled = generate(&tiny, tiny.prompts(), 2, &sampling);
        for (group, greedy) in sampled.iter().zip(&greedy) {
            for completion in &group.completions {
                assert_eq!(completion.ids, greedy.completions[0].ids, "{sampling:?}");
            }
        }
    }
}

/// For each token of 64 completions of 6: its probability, the sum of the likelier ones', how many those are, and the
/// likeliest one's; media tokens left out, at the temperature of `sampling`.
fn places(tiny: &Tiny, sampling: &Sampling) -> Vec<(f64, f64, usize, f64)> {
    let media = Tensor::from_slice(&tiny.processor.tokenizer().media_ids());
    let sampling = Sampling { max_completion_tokens: 6, ..sampling.clone() };
    let groups = generate(tiny, tiny.prompts(), 32, &sampling);
    let mut places = Vec::new();
    for group in &groups {
        for completion in &group.completions {
            let logprobs = tiny.uncached(&group.prompt, &completion.ids).index_fill(-1, &media, f64::NEG_INFINITY);
            let rows = (logprobs / sampling.temperature).softmax(-1, Kind::Double);
            for (row, &id) in completion.ids.iter().enumerate() {
                let row = Vec::<f64>::try_from(rows.get(row as i64)).unwrap();
                let own = row[id as usize];
                let likelier: Vec<f64> = row.iter().copied().filter(|&p| p > own).collect();
                let most = row.iter().copied().fold(0.0, f64::max);
                places.push((own, likelier.iter().sum(), likelier.len(), most));
            }
        }
    }
    places
}

#[test]
fn limits_leave_out_what_they_say_and_nothing_else() {
    let tiny = tiny();
    let free = Sampling { temperature: 3.0, top_k: 0, ..sampling() };
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
    let one = Sampling { temperature: 1.5, top_k: 0, max_completion_tokens: 1, ..sampling() };
    let draws = 4000;
    let groups = generate(&tiny, vec![prompt.clone()], draws, &one);
    let mut counts = vec![0.0; tiny.processor.tokenizer().vocab_size()];
    groups[0].completions.iter().for_each(|completion| counts[completion.ids[0] as usize] += 1.0 / draws as f64);
    let media = Tensor::from_slice(&tiny.processor.tokenizer().media_ids());
    let logprobs = tiny.uncached(&prompt, &[0]).get(0).index_fill(-1, &media, f64::NEG_INFINITY);
    let likely = Vec::<f64>::try_from((logprobs / 1.5).softmax(-1, Kind::Double)).unwrap();
    assert!(likely.iter().filter(|&&p| p > 0.02).count() > 3, "more than one token has a chance");
    for (id, (count, likely)) in counts.iter().zip(&likely).enumerate() {
        let spread = (likely * (1.0 - likely) / draws as f64).sqrt();
        assert!((count - likely).abs() < 5.0 * spread + 1e-3, "token {id}: {count} of 1, expected {likely}");
    }
}

#[test]
fn nothing_is_sampled_where_nothing_is_asked_for() {
    let tiny = tiny();
    assert!(generate(&tiny, vec![], 4, &sampling()).is_empty());
    let groups = generate(&tiny, tiny.prompts(), 0, &sampling());
    assert_eq!(groups.iter().map(|group| group.completions.len()).collect::<Vec<_>>(), [0, 0, 0]);
}

#[test]
fn a_setting_out_of_range_names_itself() {
    let wrong = [
        ("temperature", Sampling { temperature: -1.0, ..sampling() }),
        ("temperature", Sampling { temperature: f64::NAN, ..sampling() }),
        ("top_k", Sampling { top_k: -1, ..sampling() }),
        ("top_p", Sampling { top_p: 0.0, ..sampling() }),
        ("top_p", Sampling { top_p: 1.5, ..sampling() }),
        ("min_p", Sampling { min_p: 1.0, ..sampling() }),
        ("max_completion_tokens", Sampling { max_completion_tokens: 0, ..sampling() }),
    ];
    let tiny = tiny();
    for (field, sampling) in wrong {
        let error = tiny.engine().generate(tiny.prompts(), 1, &sampling).unwrap_err().to_string();
        assert!(error.starts_with(&format!("sampling: {field} is ")), "{error}");
    }
}
