//! Groups of sequences in one batch, against each sequence alone in one pass.

use std::sync::Arc;

use tch::{Kind, Tensor};
use vr1_data::Picture;
use vr1_nn::Recompute;
use vr1_processor::{IGNORED, Layout, Message, Processor, Prompt, PromptRequest, Role, Supervised, TokenType};
use vr1_rollout::{Group, SampleKey, Sequence};
use vr1_vlm::{Backbone, Batch, Model, Piece};

use crate::checkpoints::{Checkpoint, checkpoints, group, of_prompt, picked, processor, scored, slope, worst};

/// The trained tokens' log-probabilities of a sequence, from one pass over it as a single prompt.
fn alone(model: &Model, sequence: &Sequence) -> Vec<f32> {
    let all = of_prompt(model, &sequence.prompt().followed_by(sequence.tail()));
    let own = &all[sequence.prompt().len() - 1..];
    own.iter().zip(sequence.trained()).filter(|(_, trained)| **trained).map(|(logprob, _)| *logprob).collect()
}

fn assert_each_alone(model: &Model, groups: &[Group], what: &str) {
    let sequences: Vec<&Sequence> = groups.iter().flat_map(Group::sequences).collect();
    let found = scored(model, groups);
    assert_eq!(found.len(), sequences.len());
    for (row, (found, sequence)) in found.iter().zip(sequences).enumerate() {
        let error = worst(found, &alone(model, sequence));
        assert!(error < 1e-4, "{what}, row {row}: {error}");
    }
}

fn shown(processor: &Processor, sizes: &[(u32, u32)], words: &str) -> Prompt {
    let pictures = sizes.iter().map(|&(h, w)| Picture::from(slope(h, w)));
    let messages = [Message::user(pictures, words)];
    let request = PromptRequest { sample: "shown", messages: &messages, layout: Layout::Chat, prefill: "" };
    processor.prompt(&request).unwrap()
}

/// Groups of unequal sizes, their completions of unequal lengths: of one token too, which needs no more than the prompt.
fn unequal(checkpoint: &Checkpoint) -> Vec<Group> {
    let completions: [&[&[i64]]; 3] = [
        &[&[17, 60, 3], &[99], &[45, 200, 311, 5, 6, 7, 8, 9], &[1, 2], &[60]],
        &[&[17, 60, 3, 99, 45, 200, 311]],
        &[&[7], &[99, 98, 97, 96]],
    ];
    let prompts = checkpoint.prompts().into_iter().cycle();
    prompts.zip(completions).map(|(prompt, completions)| group(&Arc::new(prompt.clone()), completions)).collect()
}

#[test]
fn groups_of_any_size_in_one_batch_are_each_sequence_alone() {
    for checkpoint in checkpoints() {
        let model = checkpoint.model(Kind::Float);
        let mut groups = unequal(&checkpoint);
        assert_each_alone(&model, &groups, &checkpoint.name);
        groups.reverse();
        assert_each_alone(&model, &groups, &checkpoint.name);
        for group in groups {
            assert_each_alone(&model, &[group], &checkpoint.name);
        }
    }
}

#[test]
fn parts_of_a_group_are_the_group() {
    let all = checkpoints();
    let checkpoint = all.iter().find(|checkpoint| checkpoint.sees()).unwrap();
    let model = checkpoint.model(Kind::Float);
    let groups = unequal(checkpoint);
    let whole = scored(&model, &groups[..1]).concat();
    let mut parts = Vec::new();
    for range in [0..2, 2..3, 3..5] {
        let piece = Piece { group: &groups[0], sequences: range };
        let batch = Batch::new(std::slice::from_ref(&piece)).unwrap();
        assert_eq!(batch.input_ids.len(), piece.tokens());
        parts.extend(Vec::<f32>::try_from(picked(&model, &batch)).unwrap());
    }
    assert!(worst(&parts, &whole) < 1e-4);
}

#[test]
fn a_batch_holds_a_prompt_once_and_no_token_that_predicts_nothing() {
    let processor = processor();
    let prompt = Arc::new(shown(&processor, &[(56, 84)], "What colour is it?"));
    let answered = |ids: &[i64], trained: Vec<bool>| {
        let tail = prompt.tail(ids, "").unwrap();
        Sequence::new(prompt.clone(), tail, trained, String::new()).unwrap()
    };
    let sequences = vec![
        answered(&[5, 6, 7], vec![true; 3]),
        answered(&[8], vec![true]),
        answered(&[9, 10, 11, 12], vec![false, true, false, false]),
        answered(&[13, 14], vec![false; 2]),
        // What a tool shows behind the last trained token is not looked at.
        answered(&[15, 16], vec![true; 2]).followed_by(&shown(&processor, &[(28, 28)], "Seen."), ""),
    ];
    let group = Group::new(SampleKey::default(), sequences).unwrap();
    let piece = Piece::whole(&group);
    let batch = Batch::new(std::slice::from_ref(&piece)).unwrap();
    assert_eq!(batch.input_ids, [prompt.input_ids(), &[5, 6, 9, 15]].concat());
    assert_eq!(batch.input_ids.len(), piece.tokens());
    assert_eq!(batch.media.len(), 1);
    assert_eq!(batch.groups.iter().collect::<Vec<_>>(), [(prompt.len() as i64, &[2i64, 1, 1][..])]);
    assert_eq!(batch.targets, [5, 6, 7, 8, 10, 15, 16]);
    assert_eq!(batch.lengths, [3, 1, 1, 0, 2]);
    let last = prompt.len() as i64 - 1;
    assert_eq!(batch.places, [last, last + 1, last + 2, last, last + 3, last, last + 4]);
    for row in &batch.position_ids {
        assert_eq!(row[prompt.len()..], [0, 1, 0, 0].map(|own| prompt.next_position() + own));
    }
}

#[test]
fn what_is_not_trained_on_is_seen_all_the_same() {
    for checkpoint in checkpoints() {
        let model = checkpoint.model(Kind::Float);
        let prompt = Arc::new(checkpoint.prompts()[0].clone());
        let marked = |ids: &[i64], trained: [bool; 5]| {
            let tail = prompt.tail(ids, "").unwrap();
            Sequence::new(prompt.clone(), tail, trained.into(), String::new()).unwrap()
        };
        let some = [false, true, false, false, true];
        let sequences = vec![
            marked(&[17, 60, 3, 99, 45], [true; 5]),
            marked(&[17, 60, 3, 99, 45], some),
            marked(&[17, 60, 4, 99, 45], some),
        ];
        let groups = [Group::new(SampleKey::default(), sequences).unwrap()];
        assert_each_alone(&model, &groups, &checkpoint.name);
        let [all, of_it, other] = <[Vec<f32>; 3]>::try_from(scored(&model, &groups)).unwrap();
        assert!(worst(&of_it, &[all[1], all[4]]) < 1e-5);
        assert!((other[0] - of_it[0]).abs() < 1e-5 && (other[1] - of_it[1]).abs() > 1e-3, "{}", checkpoint.name);
    }
}

/// A question about a picture, an answer, a further question about others, and an answer to that.
fn conversation() -> [Message; 4] {
    let pictures = |sizes: &[(u32, u32)]| sizes.iter().map(|&(h, w)| Picture::from(slope(h, w))).collect::<Vec<_>>();
    [
        Message::user(pictures(&[(84, 112)]), "What colour is it?"),
        Message::text(Role::Assistant, "Red."),
        Message::user(pictures(&[(140, 56), (56, 84)]), "And which of these is the larger one?"),
        Message::text(Role::Assistant, "The first of both."),
    ]
}

#[test]
fn pictures_behind_the_prompt_are_those_of_the_whole() {
    let [question, _, further, _] = conversation();
    fn request(messages: &[Message]) -> PromptRequest<'_> {
        PromptRequest { sample: "s", messages, layout: Layout::Chat, prefill: "" }
    }
    for checkpoint in checkpoints().into_iter().filter(Checkpoint::sees) {
        let processor = &checkpoint.processor;
        let model = checkpoint.model(Kind::Float);
        let asked = Arc::new(processor.prompt(&request(std::slice::from_ref(&question))).unwrap());
        // The model answers, is shown more, and answers again; the answers are trained on.
        let turns = |first: &[i64], shown: &[Message], second: &[i64]| {
            let whole = processor.next_turn(&asked, first, &request(shown)).unwrap().extend(second, "").unwrap();
            let tail = whole.split(asked.len()).unwrap().1;
            let answer = |place: usize| place < first.len() || place >= tail.len() - second.len();
            let trained = (0..tail.len()).map(answer).collect();
            Sequence::new(asked.clone(), tail, trained, String::new()).unwrap()
        };
        let smaller = [Message::user([Picture::from(slope(28, 28))], "Or this one?")];
        let sequences = vec![
            turns(&[17, 60, 3], std::slice::from_ref(&further), &[99, 45]),
            turns(&[5], &smaller, &[7, 8, 9, 10]),
            turns(&[17, 60], &smaller, &[99]),
        ];
        let [two, one, again] = [0, 1, 2].map(|place: usize| sequences[place].tail().media().len());
        assert!(two > one && one > 0 && one == again);
        // One who is shown more, beside one whose only token follows the prompt.
        let beside = vec![turns(&[5], &smaller, &[7, 8]), group(&asked, &[&[9]]).sequences()[0].clone()];
        let of = |sequences| Group::new(SampleKey::default(), sequences).unwrap();
        let groups = [group(&asked, &[&[1, 2, 3]]), of(sequences), of(beside)];
        assert_each_alone(&model, &groups, &checkpoint.name);
        // Seen is seen: with another picture in its tail a sequence is another.
        let other = [Message::user([Picture::from(slope(56, 28))], "Or this one?")];
        let seen = |shown: &[Message]| {
            let group = Group::new(SampleKey::default(), vec![turns(&[5], shown, &[7, 8])]).unwrap();
            scored(&model, &[group]).concat()
        };
        let (one, another) = (seen(&smaller), seen(&other));
        // Where tokens that are shown nothing look at everything, they look at what comes later too.
        let ahead = !model.config().text.cross_attention_layers.is_empty();
        let moved = |token: usize| (one[token] - another[token]).abs();
        assert!((ahead || moved(0) < 1e-5) && moved(1) > 1e-3, "{}", checkpoint.name);
    }
}

#[test]
fn a_document_is_the_whole_whatever_of_it_is_learnt() {
    for checkpoint in checkpoints() {
        let processor = &checkpoint.processor;
        let model = checkpoint.model(Kind::Float);
        let words = [Message::text(Role::User, "Two?"), Message::text(Role::Assistant, "Four.")];
        let shown = conversation();
        let turns: &[Message] = if checkpoint.sees() { &shown } else { &words };
        let Supervised { prompt, labels } = processor.supervised("s", turns, vr1_processor::Mask::Assistant).unwrap();
        let expected = of_prompt(&model, &prompt);
        let text = |place: usize| prompt.token_types()[place] == TokenType::Text;
        let answers = |place: usize| labels[place] != IGNORED;
        let patterns: [&dyn Fn(usize) -> bool; 4] =
            [&answers, &text, &|place| text(place) && place % 3 == 1, &|place| place + 1 == prompt.len()];
        for (pattern, learnt) in patterns.iter().enumerate() {
            let label = |(place, id): (usize, &i64)| if learnt(place) { *id } else { IGNORED };
            let labels: Vec<i64> = prompt.input_ids().iter().enumerate().map(label).collect();
            let document = Sequence::document(&Supervised { prompt: prompt.clone(), labels }).unwrap();
            let group = Group::new(SampleKey::default(), vec![document]).unwrap();
            let expected: Vec<f32> =
                (1..prompt.len()).filter(|&place| learnt(place)).map(|place| expected[place - 1]).collect();
            assert!(!expected.is_empty());
            let error = worst(&scored(&model, &[group]).concat(), &expected);
            assert!(error < 1e-4, "{} pattern {pattern}: {error}", checkpoint.name);
        }
    }
}

/// The gradient of every parameter under `loss`, by name; it is taken away from them.
fn gradients(trained: &[(String, Tensor)], loss: &Tensor) -> Vec<Tensor> {
    loss.backward();
    let take = |(_, parameter): &(String, Tensor)| {
        let gradient = parameter.grad().copy();
        parameter.shallow_clone().zero_grad();
        gradient
    };
    trained.iter().map(take).collect()
}

#[test]
fn a_shared_prompt_gets_the_gradients_of_all_its_completions() {
    for checkpoint in checkpoints() {
        let processor = &checkpoint.processor;
        let model = checkpoint.model(Kind::Float);
        let trained = model.train(&[]).unwrap();
        let mut groups = unequal(&checkpoint);
        if checkpoint.sees() {
            // And one that is shown a picture behind its prompt.
            let prompt = Arc::new(checkpoint.cases[1].1.clone());
            let tail = prompt.tail(&[17, 60], "").unwrap().followed_by(&shown(processor, &[(28, 56)], "Sure?"));
            let tail = tail.followed_by(&prompt.tail(&[99, 45], "").unwrap());
            let answer = |place: usize| place < 2 || place >= tail.len() - 2;
            let trained = (0..tail.len()).map(answer).collect();
            let sequence = Sequence::new(prompt, tail, trained, String::new()).unwrap();
            groups.push(Group::new(SampleKey::default(), vec![sequence]).unwrap());
        }
        // Each token weighs something else.
        let weights = |tokens: usize, from: usize| {
            Tensor::from_slice(&(from..from + tokens).map(|i| 1.0 + (i % 5) as f32).collect::<Vec<_>>())
        };
        let batch = Batch::new(&groups.iter().map(Piece::whole).collect::<Vec<_>>()).unwrap();
        let loss = picked(&model, &batch).dot(&weights(batch.targets.len(), 0));
        let shared = gradients(&trained, &loss);

        let (mut loss, mut from) = (Tensor::from(0.0f32), 0);
        for sequence in groups.iter().flat_map(Group::sequences) {
            let whole = Arc::new(sequence.prompt().followed_by(sequence.tail()));
            let mut batch = Batch::new(&[Piece::whole(&group(&whole, &[&[]]))]).unwrap();
            let places = sequence.trained().iter().enumerate().filter(|(_, trained)| **trained);
            let places = places.map(|(i, _)| sequence.prompt().len() + i - 1);
            batch.places = places.clone().map(|place| place as i64).collect();
            batch.targets = places.map(|place| whole.input_ids()[place + 1]).collect();
            loss += picked(&model, &batch).dot(&weights(batch.targets.len(), from));
            from += batch.targets.len();
        }
        let alone = gradients(&trained, &loss);

        // Of what changes nothing, as the bias of keys without positions, there is the rounding alone.
        let greatest = |gradient: &Tensor| gradient.abs().max().double_value(&[]);
        let rounding = 1e-5 * alone.iter().map(greatest).fold(0.0, f64::max);
        for ((name, _), (found, expected)) in trained.iter().zip(shared.iter().zip(&alone)) {
            let (scale, error) = (greatest(expected), greatest(&(found - expected)));
            assert!(scale > 0.0 && error < 1e-3 * scale + rounding, "{} {name}: {error} of {scale}", checkpoint.name);
        }
    }
}

#[test]
fn features_that_are_not_as_many_as_the_media_are_refused() {
    let all = checkpoints();
    let checkpoint = all.iter().find(|checkpoint| checkpoint.sees()).unwrap();
    let model = checkpoint.model(Kind::Float);
    let group = group(&Arc::new(checkpoint.cases[2].1.clone()), &[&[5, 6]]);
    let batch = Batch::new(&[Piece::whole(&group)]).unwrap();
    let features = model.encode(&[batch.media[0].patches.clone()], Recompute::None).unwrap();
    let error = model.score(&batch, &[&features[0]]).unwrap_err().to_string();
    let shown = format!("{} picture(s) or video(s) in the batch", batch.media.len());
    assert!(batch.media.len() > 1 && error.contains(&shown) && error.contains("features of 1"), "{error}");
}

#[test]
fn features_of_pictures_encoded_together_are_those_of_each_alone() {
    for checkpoint in checkpoints().into_iter().filter(Checkpoint::sees) {
        let model = checkpoint.model(Kind::Float);
        let patches: Vec<_> = checkpoint.prompts().iter().flat_map(|prompt| prompt.patches().to_vec()).collect();
        assert!(patches.len() >= 3);
        for (together, patches) in model.encode(&patches, Recompute::None).unwrap().iter().zip(&patches) {
            let alone = model.encode(std::slice::from_ref(patches), Recompute::None).unwrap();
            assert_eq!(together.iter().count(), alone[0].iter().count());
            for (together, alone) in together.iter().zip(alone[0].iter()) {
                assert_eq!(together.size(), alone.size());
                assert!(together.allclose(alone, 1e-4, 1e-4, false), "{}", checkpoint.name);
            }
        }
    }
}

#[test]
fn a_batch_of_nothing_is_refused() {
    assert_eq!(Batch::new(&[]).unwrap_err().to_string(), "a batch of no sequences");
    let model = checkpoints()[0].model(Kind::Float);
    assert_eq!(model.prefill(&[]).unwrap_err().to_string(), "a batch of no prompts");
}

#[test]
fn the_gradient_is_the_same_whatever_is_recomputed() {
    for checkpoint in checkpoints() {
        let model = checkpoint.model(Kind::Double);
        let trained = model.train(&[]).unwrap();
        let groups = unequal(&checkpoint);
        let by = |recompute| {
            let batch =
                Batch { recompute, ..Batch::new(&groups.iter().map(Piece::whole).collect::<Vec<_>>()).unwrap() };
            let media: Vec<_> = batch.media.iter().map(|media| media.patches.clone()).collect();
            let features = model.encode(&media, recompute).unwrap();
            let hidden = model.score(&batch, &features.iter().collect::<Vec<_>>()).unwrap();
            gradients(&trained, &model.logits(&hidden).square().mean(Kind::Double))
        };
        let kept = by(Recompute::None);
        // Of what changes nothing, as the bias of keys without positions, there is the rounding alone.
        let greatest = |gradient: &Tensor| gradient.abs().max().double_value(&[]);
        let rounding = 1e-12 * kept.iter().map(greatest).fold(0.0, f64::max);
        for recompute in [Recompute::Layers, Recompute::Attention] {
            for ((name, _), (found, expected)) in trained.iter().zip(by(recompute).iter().zip(&kept)) {
                let (scale, error) = (greatest(expected), greatest(&(found - expected)));
                // Sums of the same numbers, in another order.
                assert!(
                    error <= 1e-10 * scale + rounding,
                    "{} {recompute:?} {name}: {error} of {scale}",
                    checkpoint.name
                );
            }
        }
    }
}
