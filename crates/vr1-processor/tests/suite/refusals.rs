//! Requests that cannot become a prompt say which and why.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use image::RgbImage;
use vr1_data::{Picture, Sample, Video};
use vr1_processor::FrameSampling;
use vr1_processor::{Error, Layout, Message, Part, Processor, Prompt, PromptRequest, Role, Tokenizer};

fn checkpoint() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/checkpoint")
}

fn processor() -> Processor {
    Processor::from_dir(&checkpoint()).unwrap()
}

fn copy_of_checkpoint(dir: &mut tempfile::TempDir) -> PathBuf {
    for file in fs::read_dir(checkpoint()).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), dir.path().join(file.file_name())).unwrap();
    }
    dir.path().to_path_buf()
}

fn picture() -> Picture {
    RgbImage::new(28, 28).into()
}

fn video(frames: usize) -> Video {
    Video::Frames { frames: vec![picture(); frames], fps: None }
}

fn request<'a>(messages: &'a [Message], layout: Layout) -> PromptRequest<'a> {
    PromptRequest { sample: "s", messages, layout, prefill: "" }
}

/// About one picture of two tokens.
fn asked() -> Prompt {
    let wide = Picture::from(RgbImage::new(56, 28));
    processor().prompt(&request(&[Message::user([wide], "What is it?")], Layout::Chat)).unwrap()
}

#[test]
fn a_prompt_that_does_not_fit_is_an_error_with_its_name() {
    let prompt = asked();
    prompt.check_fits(prompt.len()).unwrap();
    let error = prompt.check_fits(prompt.len() - 1).unwrap_err().to_string();
    let (tokens, limit) = (prompt.len(), prompt.len() - 1);
    assert_eq!(error, format!("sample `s`: a prompt of {tokens} tokens (2 of them media) where {limit} fit"));
}

#[test]
fn a_sampled_media_token_is_refused() {
    let processor = processor();
    let prompt = asked();
    let pad = processor.tokenizer().image_pad().unwrap();
    let error = prompt.extend(&[5, pad], "x").unwrap_err();
    assert!(matches!(error, Error::MediaToken { place: 1, .. }), "{error}");
    let error = processor.next_turn(&prompt, &[pad], &request(&[], Layout::Chat)).unwrap_err();
    assert!(error.to_string().contains("is a media token"), "{error}");
}

#[test]
fn images_and_placeholders_are_counted() {
    let mut files = tempfile::tempdir().unwrap();
    let dir = copy_of_checkpoint(&mut files);
    // A template that shows the first image alone.
    fs::write(dir.join("chat_template.jinja"), "<|image_pad|>{{ messages[0].content[-1].text }}").unwrap();
    let processor = Processor::from_dir(&dir).unwrap();
    let two = [Message::user([picture(), picture()], "x")];
    let error = processor.prompt(&request(&two, Layout::Chat)).unwrap_err();
    assert_eq!(error.to_string(), "sample `s`: 1 image placeholder(s) in the rendered prompt for 2 image(s)");
    let none = [Message::text(Role::User, "x")];
    let error = processor.prompt(&request(&none, Layout::Chat)).unwrap_err();
    assert_eq!(error.to_string(), "sample `s`: 1 image placeholder(s) in the rendered prompt for 0 image(s)");
    let both = [Message { role: Role::User, parts: vec![picture().into(), video(2).into(), "x".into()] }];
    let error = processor.prompt(&request(&both, Layout::Chat)).unwrap_err();
    assert_eq!(error.to_string(), "sample `s`: 0 video placeholder(s) in the rendered prompt for 1 video(s)");
}

#[test]
fn an_image_without_settings_for_images_is_an_error() {
    let mut files = tempfile::tempdir().unwrap();
    let dir = copy_of_checkpoint(&mut files);
    fs::remove_file(dir.join("preprocessor_config.json")).unwrap();
    let processor = Processor::from_dir(&dir).unwrap();
    let with = [Message::user([picture()], "x")];
    let error = processor.prompt(&request(&with, Layout::Chat)).unwrap_err().to_string();
    assert!(error.starts_with("sample `s`: 1 image(s), but the checkpoint has no settings for images"), "{error}");
    let error = processor.prompt(&request(&[Message::user([video(2)], "x")], Layout::Chat)).unwrap_err().to_string();
    assert!(error.starts_with("sample `s`: 1 video(s), but the checkpoint has no settings for videos"), "{error}");
    processor.prompt(&request(&[Message::text(Role::User, "x")], Layout::Chat)).unwrap();
}

/// Gives a token another name.
fn rename(dir: &Path, token: &str, other: &str) {
    for file in ["tokenizer.json", "tokenizer_config.json"] {
        let text = fs::read_to_string(dir.join(file)).unwrap();
        fs::write(dir.join(file), text.replace(token, other)).unwrap();
    }
}

#[test]
fn a_tokenizer_without_the_image_token_is_refused_with_the_images() {
    let mut files = tempfile::tempdir().unwrap();
    let dir = copy_of_checkpoint(&mut files);
    rename(&dir, "<|image_pad|>", "<|picture|>");
    let error = Processor::from_dir(&dir).unwrap_err().to_string();
    assert!(error.contains("has no `<|image_pad|>`, which an image needs"), "{error}");
}

#[test]
fn a_tokenizer_without_the_video_token_is_refused_with_a_video_alone() {
    let mut files = tempfile::tempdir().unwrap();
    let dir = copy_of_checkpoint(&mut files);
    rename(&dir, "<|video_pad|>", "<|film|>");
    let processor = Processor::from_dir(&dir).unwrap();
    processor.prompt(&request(&[Message::user([picture()], "x")], Layout::Chat)).unwrap();
    let error = processor.prompt(&request(&[Message::user([video(2)], "x")], Layout::Chat)).unwrap_err().to_string();
    assert!(error.contains("has no `<|video_pad|>`, which a video needs"), "{error}");
}

#[test]
fn the_frames_that_are_asked_for_are_taken_and_a_broken_one_names_its_video() {
    let processor = processor().with_frame_sampling(FrameSampling::Count(4));
    let grid = |video: Video| {
        let messages = [Message::user([Part::from(picture()), video.into()], "x")];
        processor.prompt(&request(&messages, Layout::Chat)).map(|prompt| prompt.patches()[1].grid_thw)
    };
    assert_eq!(grid(video(9)).unwrap(), [2, 2, 2]);
    let error = grid(video(3)).unwrap_err().to_string();
    assert_eq!(error, "sample `s`: video 0: a video of 3 frame(s): 4 are asked for");
    let mut broken = video(4);
    if let Video::Frames { frames, .. } = &mut broken {
        frames[2] = Picture::File("/nowhere/2.png".into());
    }
    let error = grid(broken).unwrap_err().to_string();
    assert!(error.starts_with("sample `s`: video 0: /nowhere/2.png"), "{error}");
}

#[test]
fn a_broken_image_names_sample_and_place() {
    let processor = processor();
    let parts = [picture(), Picture::File("/nowhere/a.png".into())];
    let error = processor.prompt(&request(&[Message::user(parts, "x")], Layout::Chat)).unwrap_err().to_string();
    assert!(error.starts_with("sample `s`: image 1: /nowhere/a.png"), "{error}");
    let long = Arc::new(RgbImage::new(1, 500));
    let error = processor.prompt(&request(&[Message::user([Picture::Pixels(long)], "x")], Layout::Chat)).unwrap_err();
    assert!(error.to_string().contains("image 0: an image of 500 × 1"), "{error}");
}

#[test]
fn the_raw_layout_takes_one_message() {
    let two = [Message::text(Role::User, "a"), Message::text(Role::Assistant, "b")];
    let error = processor().prompt(&request(&two, Layout::Raw)).unwrap_err();
    assert_eq!(error.to_string(), "sample `s`: the raw layout takes one message, not 2");
}

#[test]
fn a_chat_without_a_template_is_an_error_and_raw_is_not() {
    let tokenizer = Tokenizer::from_dir(&checkpoint()).unwrap();
    let processor = Processor::new(tokenizer, None, None, Path::new("base")).unwrap();
    let one = [Message::text(Role::User, "a")];
    let error = processor.prompt(&request(&one, Layout::Chat)).unwrap_err().to_string();
    assert!(error.starts_with("base: no chat template"), "{error}");
    processor.prompt(&request(&one, Layout::Raw)).unwrap();
}

#[test]
fn a_text_of_many_megabytes_is_refused_by_its_length_with_its_sample() {
    let processor = processor();
    let sample = Sample { id: "a book".to_owned(), question: "word ".repeat(5 << 20), ..Sample::default() };
    let error = processor.sample(&sample, &sample.question, Layout::Chat, "").unwrap_err().to_string();
    assert!(error.starts_with("sample `a book`: a text of 262"), "{error}");
    assert!(error.ends_with("bytes, and at most 16777216 are tokenised"), "{error}");
}
