//! What may follow a prompt, and which of it is trained on.

use vr1_processor::{IGNORED, Layout, Mask, Message, Prompt, PromptRequest, Role, Supervised, TokenType};
use vr1_rollout::{Error, Finish, Sampled, Sequence, Version};

use crate::asked::{PROCESSOR, asked, completion, empty, picture, prompt, sampled, tokenizer};

fn conversation() -> [Message; 4] {
    [
        Message::user([picture()], "How many?"),
        Message::text(Role::Assistant, "Three."),
        Message::user([picture()], "Sure?"),
        Message::text(Role::Assistant, "Yes, three."),
    ]
}

fn reason(error: Error) -> String {
    let Error::Sequence { sample, reason } = error else { panic!("{error}") };
    assert_eq!(sample, "s");
    reason
}

#[test]
fn every_token_of_a_completion_is_trained_on_and_what_the_engine_said_stays() {
    let prompt = prompt("s");
    let made = completion(&prompt, &[7, 8, 9]);
    assert_eq!((made.ids(), made.trained(), made.trained_tokens()), (&[7, 8, 9][..], &[true; 3][..], 3));
    assert_eq!((made.text(), made.sampled(), made.finished()), ("said", Some(&sampled(3)), true));
    assert_eq!(made.tail().position_ids()[0], [0, 1, 2], "positions count from the prompt's end");
    assert!(std::sync::Arc::ptr_eq(made.prompt(), &prompt));
    let cut = Sampled { finish: Finish::Length, ..sampled(1) };
    assert!(!Sequence::completion(prompt, &[7], String::new(), cut).unwrap().finished());
}

#[test]
fn an_engine_samples_the_tokens_that_are_trained_on_and_no_others() {
    let prompt = prompt("s");
    let turns = |sampled| {
        let tail = prompt.tail(&[7, 8, 9], "said").unwrap();
        let marks = vec![true, false, true];
        Sequence::new(prompt.clone(), tail, marks, "said".into()).unwrap().with_sampled(sampled)
    };
    let made = turns(sampled(2)).unwrap();
    assert_eq!(
        (made.ids(), made.trained(), made.sampled()),
        (&[7, 8, 9][..], &[true, false, true][..], Some(&sampled(2)))
    );
    assert_eq!(reason(turns(sampled(3)).unwrap_err()), "3 and 3 log-probabilities for 2 sampled tokens");
}

#[test]
fn what_cannot_be_a_sequence_says_why() {
    let prompt = prompt("s");
    let pad = tokenizer().image_pad().unwrap();
    let said = |ids: &[i64], sampled| Sequence::completion(prompt.clone(), ids, String::new(), sampled).unwrap_err();
    assert_eq!(reason(said(&[7, 8], sampled(1))), "1 and 1 log-probabilities for 2 sampled tokens");
    let short = Sampled { drawn: vec![0.0; 3], ..sampled(2) };
    assert_eq!(reason(said(&[7, 8], short)), "2 and 3 log-probabilities for 2 sampled tokens");
    let short = Sampled { entropies: vec![0.0], ..sampled(2) };
    assert_eq!(reason(said(&[7, 8], short)), "1 entropies for 2 sampled tokens");
    let error = said(&[7, pad], sampled(2));
    assert!(matches!(error, Error::Processor(vr1_processor::Error::MediaToken { place: 1, .. })), "{error}");

    let tail = || prompt.tail(&[7, 8], "").unwrap();
    let made = |prompt, tail, trained| Sequence::new(prompt, tail, trained, String::new());
    assert_eq!(reason(made(prompt.clone(), tail(), vec![true]).unwrap_err()), "1 marks for 2 tokens");
    let nothing = made(empty("s").into(), tail(), vec![true; 2]).unwrap_err();
    assert!(reason(nothing).starts_with("a prompt without a token"));

    let shown = asked("s", &conversation()[..1]);
    let span = shown.media()[0].range.clone();
    let mut trained = vec![true; shown.len()];
    let error = made(prompt.clone(), shown.clone(), trained.clone()).unwrap_err();
    assert_eq!(reason(error), format!("tokens {span:?} stand for media and cannot be trained on"));
    trained[span].fill(false);
    assert!(made(prompt.clone(), shown, trained).is_ok());
}

/// Whether a sequence is all of a document until its last learnt token, and trains on what is labelled alone.
fn assert_document(supervised: &Supervised, found: &Sequence) {
    let Supervised { prompt, labels } = supervised;
    let whole = found.prompt().followed_by(found.tail());
    let last = labels.iter().rposition(|&label| label != IGNORED).unwrap();
    assert_eq!(whole.input_ids(), &prompt.input_ids()[..=last]);
    for (row, all) in whole.position_ids().iter().zip(prompt.position_ids()) {
        assert_eq!(row[..], all[..=last]);
    }
    let shown: Vec<_> = prompt.media().iter().filter(|span| span.range.end <= last).cloned().collect();
    assert_eq!(whole.media(), shown);
    assert_eq!(whole.patches(), &prompt.patches()[..shown.len()]);
    let marks = [vec![false; found.prompt().len()], found.trained().to_vec()].concat();
    // The first token follows nothing.
    let learnt: Vec<bool> =
        labels[..=last].iter().enumerate().map(|(place, &label)| place > 0 && label != IGNORED).collect();
    assert_eq!(marks, learnt);
    assert!(found.trained()[0] && *found.trained().last().unwrap(), "nothing to run over before or behind");
    assert!(found.sampled().is_none() && found.finished());
}

#[test]
fn a_document_trains_on_its_labels_through_all_turns_and_pictures() {
    let conversation = conversation();
    for (turns, mask) in [(2, Mask::Assistant), (4, Mask::Assistant), (2, Mask::All), (4, Mask::All)] {
        let supervised = PROCESSOR.supervised("s", &conversation[..turns], mask).unwrap();
        let document = Sequence::document(&supervised).unwrap();
        assert_document(&supervised, &document);
        if mask == Mask::Assistant {
            let asked = asked("s", &conversation[..1]);
            assert_eq!(document.prompt().input_ids(), asked.input_ids(), "the prompt it would be sampled after");
        }
        let shown = document.tail().token_types().iter().filter(|&&kind| kind == TokenType::Image).count();
        assert_eq!(shown, if mask == Mask::All { turns } else { turns - 2 }, "tokens of pictures behind the prompt");
    }
    let request = PromptRequest { sample: "s", messages: &conversation[..1], layout: Layout::Chat, prefill: "So" };
    let target = PROCESSOR.supervised_target(&request, " three.", Mask::Assistant).unwrap();
    assert_document(&target, &Sequence::document(&target).unwrap());
}

/// A document of words with these tokens learnt.
fn labelled(prompt: Prompt, learnt: impl Fn(usize) -> bool) -> Supervised {
    let label = |(place, &id): (usize, &i64)| if learnt(place) { id } else { IGNORED };
    Supervised { labels: prompt.input_ids().iter().enumerate().map(label).collect(), prompt }
}

#[test]
fn a_document_may_be_learnt_in_any_places() {
    let words = || asked("s", &[Message::text(Role::User, "How many?")]);
    for step in 1..5 {
        for first in 0..words().len() - step {
            let supervised = labelled(words(), |place| place >= first && (place - first).is_multiple_of(step));
            assert_document(&supervised, &Sequence::document(&supervised).unwrap());
        }
    }
}

#[test]
fn what_cannot_be_a_document_says_why() {
    let shown = || asked("s", &conversation()[..1]);
    let fails = |supervised: &Supervised| reason(Sequence::document(supervised).unwrap_err());
    assert_eq!(fails(&labelled(shown(), |_| false)), "not one of its tokens is to be learnt");
    // The first token follows nothing.
    assert_eq!(fails(&labelled(shown(), |place| place == 0)), "not one of its tokens is to be learnt");
    let span = shown().media()[0].range.clone();
    assert!(span.len() > 1);
    for place in span {
        let said = fails(&labelled(shown(), |at| at == place));
        assert!(said.contains("picture") || said.contains("media"), "{place}: {said}");
    }
    let short = Supervised { labels: vec![5; 3], ..labelled(shown(), |_| true) };
    assert_eq!(fails(&short), format!("3 labels for {} tokens", shown().len()));
    let mut strange = labelled(shown(), |place| place < 3);
    strange.labels[2] += 1;
    assert_eq!(fails(&strange), format!("the label {} at 2 is not the token there", strange.labels[2]));
}

#[test]
fn what_is_shown_behind_a_completion_is_not_trained_on() {
    let prompt = prompt("s");
    let shown = asked("s", &conversation()[..1]);
    let made = completion(&prompt, &[7, 8, 9]).followed_by(&shown, " and");
    assert_eq!(made.ids(), [&[7, 8, 9][..], shown.input_ids()].concat());
    assert_eq!(made.trained(), [vec![true; 3], vec![false; shown.len()]].concat());
    assert_eq!((made.trained_tokens(), made.sampled().unwrap().logprobs.len()), (3, 3));
    assert_eq!(made.tail().media()[0].range.start, shown.media()[0].range.start + 3);
    assert_eq!(made.tail().next_position(), 3 + shown.next_position());
}

#[test]
fn a_sequence_moves_behind_the_same_prompt_only() {
    let (here, there) = (prompt("s"), prompt("s"));
    let moved = completion(&here, &[7]).with_prompt(&there).unwrap();
    assert!(std::sync::Arc::ptr_eq(moved.prompt(), &there));
    assert_eq!((moved.ids(), moved.sampled().unwrap().version), (&[7][..], Version(3)));
    let picture = |grey| {
        let pixels = image::RgbImage::from_pixel(56, 28, image::Rgb([grey; 3]));
        let messages = [Message::user([vr1_data::Picture::from(pixels)], "How many?")];
        std::sync::Arc::new(asked("s", &messages))
    };
    assert!(completion(&picture(9), &[7]).with_prompt(&picture(9)).is_ok());
    for (from, to) in [(picture(9), picture(10)), (picture(9), prompt("s")), (prompt("s"), picture(9))] {
        let error = completion(&from, &[7]).with_prompt(&to).unwrap_err();
        assert_eq!(reason(error), "the prompts of one group differ");
    }
}
