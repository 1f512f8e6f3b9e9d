//! Questions that are shown as pictures of text.

use super::*;

#[test]
fn a_drawn_question_is_shown_after_what_is_shown_and_the_answer_stays() {
    let sample = rendered(1.0, Sample { media: vec![picture()], ..asked("How many?") }).get(3).unwrap();
    assert_eq!((sample.question.as_str(), sample.solution.as_str()), ("Read it.", "4"));
    assert_eq!(shown(&sample, 0).dimensions(), (2, 2));
    assert_eq!(shown(&sample, 1), Typesetter::new(&plain(224, 14.0)).unwrap().draw("How many?", 7, 3).unwrap());
    assert_eq!(sample.fields["question_text"], "How many?");
    assert_eq!(sample.fields["rendered"], true);
    let text = |words: &str| SaidPart::Text(words.to_owned());
    assert_eq!(Said::question(&sample).parts, [SaidPart::Media(0), SaidPart::Media(1), text("Read it.")]);
}

#[test]
fn the_share_of_the_samples_is_drawn_and_the_others_stay_typed() {
    let half = rendered(0.5, asked("How many?"));
    let drawn = |index: &usize| half.get(*index).unwrap().fields["rendered"] == true;
    let count = (0..400).filter(drawn).count();
    assert!((150..=250).contains(&count), "{count}"); // 200, and 5 deviations of 10
    let typed = half.get((0..400).find(|index| !drawn(index)).unwrap()).unwrap();
    assert_eq!((typed.question.as_str(), typed.media.len()), ("How many?", 0));
    assert_eq!(typed.fields["question_text"], "How many?");
    let none = rendered(0.0, asked("How many?"));
    assert!((0..400).all(|index| none.get(index).unwrap().question == "How many?"));
    assert!((0..400).all(|index| rendered(1.0, asked("  ")).get(index).unwrap().question == "  "));
}

#[test]
fn a_drawn_question_says_where_pictures_stood_in_it() {
    let places = [7, 16].map(|at| Place { turn: 0, at }).to_vec();
    let media = vec![picture(), picture()];
    let sample = Sample { media, places, ..asked("First:  Second: ") };
    let sample = rendered(1.0, sample).get(0).unwrap();
    let expected =
        Typesetter::new(&plain(224, 14.0)).unwrap().draw("First: <image 1> Second: <image 2>", 7, 0).unwrap();
    assert_eq!(shown(&sample, 2), expected);
    let media = |index| SaidPart::Media(index);
    assert_eq!(Said::question(&sample).parts, [media(0), media(1), media(2), SaidPart::Text("Read it.".to_owned())]);
}

#[test]
fn later_turns_keep_what_they_show() {
    let turn = |prompt: &str| Turn { name: "t".to_owned(), prompt: prompt.to_owned(), answer: "a".to_owned() };
    let sample = Sample {
        media: vec![picture(), picture()],
        places: vec![Place { turn: 0, at: 3 }, Place { turn: 1, at: 2 }],
        turns: vec![turn("How many? Think."), turn("And here?")],
        ..asked("How many?")
    };
    let sample = rendered(1.0, sample).get(0).unwrap();
    let (media, text) = (|index| SaidPart::Media(index), |words: &str| SaidPart::Text(words.to_owned()));
    let turns = Said::turns(&sample, &[0, 1]);
    assert_eq!(turns[0].parts, [media(0), media(1), text("Read it. Think.")]);
    assert_eq!(turns[1].parts, [text("An"), media(2), text("d here?")]);
    assert_eq!(shown(&sample, 1).width(), 224);
}

#[test]
fn drawn_scenes_can_be_asked_in_letters() {
    let scenes = Scenes::new(Task::Staged, Split::Train, 7, 10);
    let typesetter = Typesetter::new(&plain(112, 10.0)).unwrap();
    let of: Arc<dyn Dataset> = Arc::new(scenes);
    let rendered = Rendered { of, typesetter, question: "Read it.".to_owned(), share: 1.0, seed: 7 };
    for index in 0..10 {
        let (typed, read) = (scenes.get(index).unwrap(), rendered.get(index).unwrap());
        assert_eq!(read.fields["question_text"], typed.question.as_str());
        assert_eq!(read.fields["question"], "Read it.");
        assert!(read.turns[0].prompt.starts_with("Read it."), "{}", read.turns[0].prompt);
        assert!(!read.turns[0].prompt.contains(&typed.question));
        assert_eq!(read.turns[1..], typed.turns[1..]);
    }
}

#[test]
fn a_sheet_to_look_at() {
    for (width, sizes) in [(112, [9.0, 12.0]), (448, [14.0, 24.0])] {
        let lettering = Lettering {
            width: Spread::one(width),
            font_size: Spread { least: sizes[0], most: sizes[1] },
            ..Lettering::default()
        };
        let typesetter = Typesetter::new(&lettering).unwrap();
        let texts = [LONG, "Which of these is true?\n(a) x² + y² = 1\n(b) ∠ABC = 90°\n(c) √2 ≤ 1.5"];
        let pictures: Vec<_> = (0..6).map(|i| typesetter.draw(texts[i % 2], 7, i).unwrap()).collect();
        let height = pictures.iter().map(RgbImage::height).max().unwrap();
        let mut sheet = RgbImage::from_pixel(3 * (width + 4), 2 * (height + 4), Rgb([255, 0, 255]));
        for (i, picture) in pictures.iter().enumerate() {
            let (x, y) = (i as i64 % 3 * i64::from(width + 4), i as i64 / 3 * i64::from(height + 4));
            image::imageops::replace(&mut sheet, picture, x, y);
        }
        let path = std::env::temp_dir().join(format!("vr1-lettering-{width}.png"));
        sheet.save(&path).unwrap();
        println!("{}", path.display());
    }
}
