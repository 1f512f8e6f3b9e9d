//! Pictures and videos that cannot be shown.

use super::*;

#[test]
fn a_picture_that_cannot_be_decoded_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let png = folder.path().join("whole.png");
    image::RgbImage::from_fn(60, 40, |x, y| image::Rgb([x as u8, y as u8, (x * y) as u8])).save(&png).unwrap();
    let bytes = fs::read(&png).unwrap();
    let cut = written(folder.path(), "cut.png", &bytes[..bytes.len() / 2]);
    let words = written(folder.path(), "words.png", "this is no picture");
    let empty = written(folder.path(), "empty.png", "");
    let absent = folder.path().join("absent.png");
    for path in [&cut, &words, &empty, &absent] {
        let path = path.to_str().unwrap();
        says(&generate(Path::new(TINY), &["--image", png.to_str().unwrap(), "--image", path]), &[path, "image 1"]);
    }
}

#[test]
fn a_picture_of_one_pixel_is_enlarged_and_one_too_narrow_is_refused_as_in_transformers() {
    let folder = tempfile::tempdir().unwrap();
    let [one, strip] = [(1, 1), (1, 300)].map(|(width, height)| {
        let path = folder.path().join(format!("{width}x{height}.png"));
        image::RgbImage::new(width, height).save(&path).unwrap();
        path.to_str().unwrap().to_owned()
    });
    let arguments =
        ["generate", "--model", TINY, "--prompt", "What?", "--max-new-tokens", "2", "--json", "--image", &one];
    let output = vr1().args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(!answer["completions"][0]["ids"].as_array().unwrap().is_empty());

    says(&generate(Path::new(TINY), &["--image", &strip]), &["image 0", "300 × 1", "200 times"]);
}

#[test]
fn a_video_that_cannot_be_used_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (empty, clip) = (folder.path().join("empty"), folder.path().join("clip"));
    [&empty, &clip].iter().for_each(|dir| fs::create_dir(dir).unwrap());
    image::RgbImage::new(40, 30).save(clip.join("1.png")).unwrap();
    image::RgbImage::new(40, 30).save(clip.join("2.png")).unwrap();
    let ask =
        |path: &Path, more: &[&str]| generate(Path::new(TINY), &[&["--video", path.to_str().unwrap()], more].concat());
    says(&ask(&empty, &[]), &[empty.to_str().unwrap(), "a folder without frames"]);
    says(&ask(&folder.path().join("absent"), &[]), &["absent", "No such file"]);
    says(&ask(&clip, &["--num-frames", "4"]), &["video 0: a video of 2 frame(s): 4 are asked for"]);
    says(&ask(&clip, &["--fps", "1"]), &["video 0: ", "how many it has a second is not known"]);
    says(&ask(&clip, &["--fps", "0"]), &["--fps is 0.0, and must be above 0"]);
    says(&ask(&clip, &["--frame-rate=-2"]), &["--frame-rate is -2.0, and must be above 0"]);
    let cut = written(&clip, "3.png", "no picture");
    says(&ask(&clip, &[]), &["video 0: ", cut.to_str().unwrap(), "not a readable image"]);
    image::RgbImage::new(41, 30).save(&cut).unwrap();
    says(&ask(&clip, &[]), &["video 0: frame 2 is 30 × 41, the frames before it are 30 × 40"]);
}

#[test]
fn a_prompt_that_its_media_do_not_fit_or_that_is_too_long_is_never_cut() {
    let folder = tempfile::tempdir().unwrap();
    let picture = folder.path().join("picture.png");
    image::RgbImage::new(60, 40).save(&picture).unwrap();
    let shown = ["--image", picture.to_str().unwrap()];
    let model = model(folder.path());
    // Weights are not read for a prompt that cannot be used.
    fs::remove_file(model.join("model.safetensors")).unwrap();
    says(&generate(&model, &[]), &["model.safetensors"]);
    let many = "word ".repeat(4000);
    let said = refusal(["generate", "--model", model.to_str().unwrap(), "--prompt", &many]);
    says(&said, &["sample `--prompt`: a prompt of ", "(0 of them media) where "]);

    let template = model.join("chat_template.jinja");
    fs::write(&template, "{{ messages[0].content[-1].text }}").unwrap();
    says(&generate(&model, &shown), &["0 image placeholder(s) in the rendered prompt for 1 image(s)"]);
    fs::write(&template, "<|image_pad|><|image_pad|>{{ messages[0].content[-1].text }}").unwrap();
    says(&generate(&model, &shown), &["2 image placeholder(s) in the rendered prompt for 1 image(s)"]);

    for file in ["tokenizer.json", "tokenizer_config.json"].map(|name| model.join(name)) {
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, text.replace("<|image_pad|>", "<|picture|>")).unwrap();
    }
    says(&generate(&model, &shown), &["tokenizer.json", "has no `<|image_pad|>`, which an image needs"]);
}
