//! Prompts cut in pieces, joined again, and put behind others.

use std::path::Path;
use std::sync::{Arc, LazyLock};

use image::RgbImage;
use proptest::prelude::*;
use vr1_data::{Picture, Video};
use vr1_processor::{Error, Layout, Message, Part, Processor, Prompt, PromptRequest, Role, Tail, TokenType};

static PROCESSOR: LazyLock<Processor> = LazyLock::new(|| {
    Processor::from_dir(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/checkpoint")).unwrap()
});

/// What a message may hold; sides in squares of patches.
#[derive(Debug, Clone)]
enum Shown {
    Words(&'static str),
    Image(u32, u32),
    Video(usize, u32, u32),
}

impl Shown {
    fn part(&self) -> Part {
        let picture = |h: &u32, w: &u32| Picture::from(RgbImage::new(28 * w, 28 * h));
        match self {
            Self::Words(words) => (*words).into(),
            Self::Image(h, w) => picture(h, w).into(),
            Self::Video(frames, h, w) => Video::Frames { frames: vec![picture(h, w); *frames], fps: None }.into(),
        }
    }
}

fn shown() -> impl Strategy<Value = Vec<Shown>> {
    let one = prop_oneof![
        prop::sample::select(vec!["", "Two?", " Which of them is larger, the left or the right one?\n"])
            .prop_map(Shown::Words),
        (1u32..4, 1u32..3).prop_map(|(h, w)| Shown::Image(h, w)),
        (1usize..10, 1u32..3, 1u32..3).prop_map(|(frames, h, w)| Shown::Video(frames, h, w)),
    ];
    prop::collection::vec(one, 1..5)
}

fn prompt(shown: &[Shown]) -> Prompt {
    let messages = [Message { role: Role::User, parts: shown.iter().map(Shown::part).collect() }];
    PROCESSOR.prompt(&PromptRequest { sample: "s", messages: &messages, layout: Layout::Chat, prefill: "So" }).unwrap()
}

/// Everything that a prompt says but its words; of patches, which they are.
fn content(prompt: &Prompt) -> impl PartialEq + std::fmt::Debug + use<> {
    let patches: Vec<_> = prompt.patches().iter().map(Arc::as_ptr).collect();
    let (ids, types, media) = (prompt.input_ids().to_vec(), prompt.token_types().to_vec(), prompt.media().to_vec());
    (prompt.sample().to_owned(), ids, types, media, patches, prompt.position_ids().clone(), prompt.next_position())
}

/// Positions by their law, from the spans alone: text counts on, media count in lines and columns, and what is behind
/// them begins at their longer side.
fn assert_positions(prompt: &Prompt) {
    let (mut next, mut place) = (0, 0);
    let at = |place: usize| [0, 1, 2].map(|row| prompt.position_ids()[row][place]);
    for span in prompt.media().iter().map(Some).chain([None]) {
        let end = span.map_or(prompt.len(), |span| span.range.start);
        for place in place..end {
            assert_eq!(at(place), [next; 3], "the text at {place}");
            next += 1;
        }
        let Some(span) = span else { break };
        let [_, h, w] = span.grid;
        for (index, place) in span.range.clone().enumerate() {
            let offsets = [index / (h * w), index / w % h, index % w];
            assert_eq!(at(place), offsets.map(|offset| next + offset as i64), "the media at {place}");
        }
        next += h.max(w) as i64;
        place = span.range.end;
    }
    assert_eq!(prompt.next_position(), next);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_prompt_cut_anywhere_and_joined_again_is_itself(shown in shown()) {
        let whole = prompt(&shown);
        assert_positions(&whole);
        for place in 0..=whole.len() {
            let inside = whole.media().iter().any(|span| span.range.start < place && place < span.range.end);
            let Some((first, second)) = whole.split(place) else {
                prop_assert!(inside, "no cut at {place}");
                continue;
            };
            prop_assert!(!inside, "a cut inside of media at {place}");
            prop_assert_eq!((first.len(), second.len()), (place, whole.len() - place));
            // Each is a prompt of its own, with positions from 0.
            assert_positions(&first);
            assert_positions(&second);
            let joined = first.followed_by(&second);
            prop_assert_eq!(content(&joined), content(&whole));
            prop_assert_eq!(joined.text(), whole.text());
            let told = serde_json::to_vec(&Tail::of(&second)).unwrap();
            let heard = first.tail_of(serde_json::from_slice(&told).unwrap(), second.patches().to_vec()).unwrap();
            prop_assert_eq!(content(&heard), content(&second));
            prop_assert_eq!(heard.text(), second.text());
        }
        prop_assert!(whole.split(whole.len() + 1).is_none());
    }

    #[test]
    fn three_pieces_join_in_either_order_and_behind_any_other_prompt(shown in shown(), before in shown(), cuts in any::<[u16; 2]>()) {
        let whole = prompt(&shown);
        let places: Vec<usize> = (0..=whole.len()).filter(|&place| whole.split(place).is_some()).collect();
        let mut cuts = cuts.map(|cut| places[usize::from(cut) % places.len()]);
        cuts.sort_unstable();
        let (front, c) = whole.split(cuts[1]).unwrap();
        let (a, b) = front.split(cuts[0]).unwrap();
        prop_assert_eq!(content(&a.followed_by(&b).followed_by(&c)), content(&whole));
        prop_assert_eq!(content(&a.followed_by(&b.followed_by(&c))), content(&whole));

        let before = prompt(&before);
        let longer = before.followed_by(&b);
        assert_positions(&longer);
        prop_assert_eq!(longer.len(), before.len() + b.len());
        prop_assert_eq!(longer.media().len(), before.media().len() + b.media().len());
        let kinds = |p: &Prompt| p.token_types().iter().filter(|&&kind| kind != TokenType::Text).count();
        prop_assert_eq!(longer.media().iter().map(|span| span.range.len()).sum::<usize>(), kinds(&longer));
    }

    #[test]
    fn a_tail_is_what_extending_adds(shown in shown(), ids in prop::collection::vec(0i64..300, 0..20)) {
        let whole = prompt(&shown);
        let tail = whole.tail(&ids, " so it is").unwrap();
        let extended = whole.extend(&ids, " so it is").unwrap();
        let joined = whole.followed_by(&tail);
        prop_assert_eq!(content(&joined), content(&extended));
        prop_assert_eq!(joined.text(), extended.text());
        prop_assert_eq!(content(&tail), content(&extended.split(whole.len()).unwrap().1));
        prop_assert_eq!(tail.text(), " so it is");
        assert_positions(&tail);
    }
}

#[test]
fn a_tail_has_no_media_token() {
    let whole = prompt(&[Shown::Words("Two?")]);
    for pad in PROCESSOR.tokenizer().media_ids() {
        let error = whole.tail(&[5, pad, 6], "").unwrap_err();
        assert!(matches!(error, Error::MediaToken { place: 1, id, .. } if id == pad), "{error}");
    }
}

#[test]
fn positions_in_seconds_stay_what_they_are() {
    let dir = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/checkpoint")).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), dir.path().join(file.file_name())).unwrap();
    }
    let config = r#"{ "model_type": "qwen2_5_vl", "vision_config": { "tokens_per_second": 3 } }"#;
    std::fs::write(dir.path().join("config.json"), config).unwrap();
    let frames = vec![Picture::from(RgbImage::new(28, 28)); 6];
    let messages = [Message::user([Video::Frames { frames, fps: Some(1.0) }], "What moves?")];
    let request = PromptRequest { sample: "s", messages: &messages, layout: Layout::Chat, prefill: "" };
    let whole = Processor::from_dir(dir.path()).unwrap().prompt(&request).unwrap();
    let span = whole.media()[0].range.clone();
    let (first, second) = whole.split(span.start).unwrap();
    // A patch is two seconds of three positions each; what follows begins behind one line and column all the same.
    assert_eq!(second.position_ids()[0][..4], [0, 6, 12, 1]);
    assert_eq!(content(&first.followed_by(&second)), content(&whole));
}

#[test]
fn a_tail_whose_parts_do_not_belong_together_is_refused() {
    let (asked, whole) = (prompt(&[Shown::Words("Two?")]), prompt(&[Shown::Image(2, 2), Shown::Image(1, 1)]));
    let (tail, patches) = (Tail::of(&whole), whole.patches().to_vec());
    let reason = |tail: &Tail, shown: usize| asked.tail_of(tail.clone(), patches[..shown].to_vec()).unwrap_err();
    let said = reason(&tail, 1).to_string();
    assert!(said.contains("sample `s`: what follows it shows 1 pieces of media of 2"), "{said}");
    let mut short = tail.clone();
    short.position_ids[1].pop();
    assert!(reason(&short, 2).to_string().contains("not as many positions"));
    let mut crossed = tail.clone();
    crossed.media.reverse();
    assert!(reason(&crossed, 2).to_string().contains("do not stand in order"));
    let mut beyond = tail.clone();
    beyond.media[1].range.end = tail.input_ids.len() + 1;
    assert!(reason(&beyond, 2).to_string().contains("do not stand in order"));
}
