//! `vr1 make`: the committed recipes against a server that follows a script, and on the embedded model.

use std::process::Stdio;
use std::time::Duration;

use vr1_data::{Media, RowSource, SampleSet};

use super::*;
use crate::server::{Serving, body};

const MAKE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/make");

/// A recipe with its model behind a server.
fn served(recipe: &str, serving: &Serving, out: &Path, more: &[&str]) -> Output {
    let model = format!(
        "model={{\"kind\":\"server\",\"url\":\"{}\",\"name\":\"some-model\",\"at_once\":4,\"deadline_seconds\":20}}",
        serving.url
    );
    let recipe = format!("{MAKE}/{recipe}");
    let made = ["make", &recipe, "--set", &model, "--out", out.to_str().unwrap(), "--json"];
    vr1(&[&made[..], more].concat())
}

fn told(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn words(asked: &Value) -> String {
    let message = |message: &Value| match &message["content"] {
        Value::Array(parts) => parts.iter().filter_map(|part| part["text"].as_str()).collect(),
        content => content.as_str().unwrap_or_default().to_owned(),
    };
    asked["messages"].as_array().unwrap().iter().map(message).collect::<Vec<String>>().join("\n")
}

fn pictures(asked: &Value) -> usize {
    asked.to_string().matches("data:image/").count()
}

fn rows(path: &Path) -> SampleSet {
    SampleSet::of(&RowSource::all(path)).unwrap()
}

/// How many things are listed in a caption, which ends each with a place.
fn solution_of(samples: &SampleSet, index: usize) -> String {
    samples.get(index).unwrap().solution
}

#[test]
fn traces_of_a_teacher_that_is_told_of_scenes_become_rows_of_pictures() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("traces.parquet");
    // It answers 3 to everything: some are right.
    let serving = Serving::new(|asked| {
        assert_eq!(pictures(asked), 0);
        assert!(words(asked).starts_with("Answer the question according to scene description.\n\n"));
        let said = "<think>\nThe scene description has three.\n</think>\n\nSo:\n**The answer is: ** 3";
        json!({"choices": [{"message": {"content": said}, "finish_reason": "stop"}]})
    });
    let told = told(&served("r1v_traces.yaml", &serving, &out, &["--set", "samples=24"]));
    let (kept, wrong) = (told["kept"].as_u64().unwrap(), told["dropped"]["a reward below 1"].as_u64().unwrap());
    assert!(kept > 0 && kept + wrong == 24, "{told}");
    let samples = rows(&out);
    assert_eq!(samples.len() as u64, kept);
    for index in 0..samples.len() {
        let sample = samples.get(index).unwrap();
        assert_eq!(solution_of(&samples, index), "3");
        assert_eq!(sample.fields["thinking"], "<think>The image has three.</think>");
        let Media::Image(picture) = &sample.media[0] else { panic!("a picture") };
        assert_eq!(picture.dimensions().unwrap(), (112, 112));
        assert_eq!(sample.fields["made"]["model"], "some-model");
        assert_eq!(sample.fields["made"]["source"], sample.id);
        assert_eq!(sample.fields["made"]["recipe"].as_str().unwrap().len(), 16);
    }
}

#[test]
fn questions_are_rewritten_and_kept_where_their_answers_can_be_verified() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("rewritten.jsonl");
    let serving = Serving::new(|asked| {
        assert_eq!(pictures(asked), 1);
        let words = words(asked);
        assert!(words.contains("Your task is to rewrite the question in such a way"), "{words}");
        let question = words.split("Original Question: ").nth(1).unwrap().lines().next().unwrap().to_owned();
        let (thought, answer) = match question.len() % 3 {
            0 => ("I look.", "2"),
            1 => ("I look.", "well, some of them"),
            _ => ("", "B"),
        };
        let said = format!("Question: Count: {question}\nAnswer: <think>{thought}</think>\n<answer>{answer}</answer>");
        json!({"choices": [{"message": {"content": said}, "finish_reason": "stop"}]})
    });
    let told = told(&served("open_r1_multimodal_rewrite.yaml", &serving, &out, &["--set", "samples=16"]));
    let text = fs::read_to_string(&out).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(!lines.is_empty() && lines.len() < 16, "{told}");
    assert_eq!(told["kept"], lines.len());
    for line in &lines {
        assert_eq!(line["solution"], "<think>I look.</think>\n\n<answer>2</answer>");
        assert_eq!(
            line["problem"],
            format!("Count: {}", line["original_question"].as_str().unwrap().lines().next().unwrap())
        );
        assert!(folder.path().join(line["image"].as_str().unwrap()).is_file());
    }
    assert_eq!(solution_of(&rows(&out), 0), "2");
}

#[test]
fn captions_go_into_the_mouth_of_a_model_that_thinks() {
    let folder = tempfile::tempdir().unwrap();
    let (captions, thoughts) = (folder.path().join("captions.jsonl"), folder.path().join("thoughts.parquet"));
    let seeing = Serving::new(|asked| {
        assert_eq!(pictures(asked), 1);
        json!({"choices": [{"message": {"content": " Three things. \n"}, "finish_reason": "stop"}]})
    });
    told(&served("r1_vision_caption.yaml", &seeing, &captions, &["--set", "samples=12"]));
    let source = format!("source={{\"kind\":\"rows\",\"path\":{captions:?}}}");
    let prefills = [
        (None, "<think>\nHmm, to solve this problem, let's first take a look at the image. Three things.\n\nNow"),
        (
            Some("ask.prefill=\"<think>\\n嗯，为了回答这个问题，让我先看一下图片。{{ caption }}\\n\\n首先\""),
            "<think>\n嗯，为了回答这个问题，让我先看一下图片。Three things.\n\n首先",
        ),
    ];
    for (set, prefill) in prefills {
        let thinking = Serving::new(move |asked| {
            assert_eq!(pictures(asked), 0);
            let last = asked["messages"].as_array().unwrap().last().unwrap();
            assert_eq!(*last, json!({"role": "assistant", "content": prefill}));
            assert_eq!(asked["continue_final_message"], true);
            json!({"choices": [{"message": {"content": ", I count three.\n</think>\n\nThere are 3."}, "finish_reason": "stop"}]})
        });
        let _ = fs::remove_dir_all(folder.path().join("thoughts.parquet.made"));
        let mut more = vec!["--set", &source];
        more.extend(set.iter().flat_map(|set| ["--set", set]));
        let told = told(&served("r1_vision_thought.yaml", &thinking, &thoughts, &more));
        let samples = rows(&thoughts);
        assert_eq!(told["kept"], samples.len());
        assert!(samples.len() < 12);
        let sample = samples.get(0).unwrap();
        let begun = prefill.strip_prefix("<think>\n").unwrap();
        assert_eq!(sample.fields["thought"], format!("{begun}, I count three."));
        assert_eq!((sample.solution.as_str(), sample.media.len()), ("3", 1));
    }
}

#[test]
fn paths_are_drawn_step_by_step_graded_together_and_the_best_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("paths.jsonl");
    let serving = Serving::new(|asked| {
        let words = words(asked);
        let turns = asked["messages"].as_array().unwrap().len();
        let said = match (words.contains("Grade each path"), turns) {
            (true, _) => {
                let count = words.matches("\nPath ").count();
                format!("{:?}", (0..count).map(|i| 10 + 10 * i).collect::<Vec<_>>())
            }
            (_, 4) => json!({"title": "Look", "content": "there", "next_action": "continue"}).to_string(),
            (_, 6) => json!({"title": "Decide", "content": "so", "next_action": "final_answer"}).to_string(),
            // The first choice, which is right half of the time.
            _ => json!({"title": "FINAL ANSWER", "content": "A"}).to_string(),
        };
        json!({"choices": [{"message": {"content": said}, "finish_reason": "stop"}]})
    });
    let told = told(&served(
        "insight_v_paths.yaml",
        &serving,
        &out,
        &["--set", "samples=4", "--set", "completions=2", "--set", "keep.at_least=0"],
    ));
    assert_eq!((&told["questions"], &told["kept"]), (&json!(4), &json!(4)));
    assert_eq!(told["calls"], 4 * (2 * 3 + 1));
    assert_eq!(told["dropped"]["another of its question was chosen"], 4);
    let samples = rows(&out);
    for index in 0..4 {
        let sample = samples.get(index).unwrap();
        assert_eq!(sample.fields["score"], 20.0);
        assert_eq!(sample.fields["steps"][1]["title"], "Decide");
        assert_eq!(sample.solution, "<thoughts>\nLook: there\nDecide: so\n</thoughts>");
        assert_eq!(sample.fields["made"]["attempt"], 1);
    }
}

#[test]
fn a_run_that_is_killed_goes_on_and_its_file_is_that_of_one_that_was_not() {
    let folder = tempfile::tempdir().unwrap();
    // What is said depends on what is asked; so that the file of a run without an end in it can be had too.
    let answer = |asked: &Value| {
        let said = format!("**The answer is: ** {}", words(asked).len() % 5);
        json!({"choices": [{"message": {"content": format!("Well.\n{said}")}, "finish_reason": "stop"}]})
    };
    let more = ["--set", "samples=16", "--set", "keep.at_least=0"];
    let whole = folder.path().join("whole.jsonl");
    told(&served("r1v_traces.yaml", &Serving::new(answer), &whole, &more));

    let out = folder.path().join("killed.jsonl");
    let slow = Serving::gated(answer, 5);
    let model = format!(
        "model={{\"kind\":\"server\",\"url\":\"{}\",\"name\":\"some-model\",\"at_once\":4,\"deadline_seconds\":20}}",
        slow.url
    );
    let recipe = format!("{MAKE}/r1v_traces.yaml");
    let mut process = Command::new(env!("CARGO_BIN_EXE_vr1"))
        .args(["make", &recipe, "--set", &model, "--out", out.to_str().unwrap()])
        .args(more)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // Five are answered, and no more while it lives.
    let journal = folder.path().join("killed.jsonl.made/answers.jsonl");
    let answered = || {
        let text = fs::read_to_string(&journal).unwrap_or_default();
        text.lines().filter(|line| line.contains("\"answers 1\"")).count()
    };
    for _ in 0..6000 {
        if answered() >= 5 {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    process.kill().unwrap();
    process.wait().unwrap();
    assert_eq!(answered(), 5);
    assert!(!out.exists());
    let again = Serving::new(answer);
    let told = told(&served("r1v_traces.yaml", &again, &out, &more));
    assert_eq!((&told["calls"], &told["asked_now"]), (&json!(16), &json!(11)));
    assert_eq!(again.asked().len(), 11);
    assert_eq!(fs::read(&out).unwrap(), fs::read(&whole).unwrap());

    // Another recipe is not gone on with, and says by what it is another.
    let other = served("r1v_traces.yaml", &again, &out, &[&more[..], &["--set", "sampling.temperature=0.9"]].concat());
    let said = String::from_utf8(other.stderr).unwrap();
    assert!(!other.status.success());
    assert!(
        said.contains(
            "recipe.json: the answers here are of another recipe: `sampling.temperature` is 0.9 now and was 0.6"
        ),
        "{said}"
    );
}

#[test]
fn the_embedded_model_makes_rows_by_every_recipe() {
    let folder = tempfile::tempdir().unwrap();
    let model = format!("model={{\"kind\":\"local\",\"path\":{TINY:?}}}");
    let captions = folder.path().join("r1_vision_caption.yaml.jsonl");
    let source = format!("source={{\"kind\":\"rows\",\"path\":{captions:?}}}");
    let names = [
        "r1v_traces.yaml",
        "open_r1_multimodal_rewrite.yaml",
        "r1_vision_caption.yaml",
        "r1_vision_thought.yaml",
        "insight_v_paths.yaml",
    ];
    for name in names {
        let (recipe, out) = (format!("{MAKE}/{name}"), folder.path().join(format!("{name}.jsonl")));
        let short = ["--set", "samples=3", "--set", "sampling.max_completion_tokens=24"];
        let from: &[&str] = if name == "r1_vision_thought.yaml" { &["--set", &source] } else { &[] };
        let made = ["make", &recipe, "--set", &model, "--out", out.to_str().unwrap(), "--json"];
        // Greedy, the base ends some of its captions.
        let greedy = ["--set", "sampling.temperature=0"];
        let output = vr1(&[&made[..], &short, &greedy, from].concat());
        if name == "r1_vision_thought.yaml" && !captions.metadata().is_ok_and(|file| file.len() > 0) {
            assert!(!output.status.success());
            continue;
        }
        let told = told(&output);
        assert!(told["questions"].as_u64() > Some(0), "{name}: {told}");
        let dropped: u64 = told["dropped"].as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum();
        assert!(told["kept"].as_u64().unwrap() + dropped > 0, "{name}: {told}");
    }
}

#[test]
fn the_first_prompt_is_printed_and_nobody_asked() {
    let recipe = format!("{MAKE}/insight_v_paths.yaml");
    let output = vr1(&["make", &recipe, "--dry-run"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("[system]\nYou are an expert AI assistant"), "{text}");
    assert!(text.contains("[user]\n[what `") && text.contains("` shows]"), "{text}");
}

#[test]
fn recipes_that_are_wrong_are_told_by_place_key_and_reason() {
    let recipe = format!("{MAKE}/r1v_traces.yaml");
    let fault = |set: &str| {
        let output = vr1(&["make", &recipe, "--set", set, "--dry-run"]);
        assert!(!output.status.success(), "{set}");
        String::from_utf8(output.stderr).unwrap()
    };
    let faults = [
        ("completion=3", "completion: unknown key, did you mean `completions`?"),
        ("completions=0", "completions: is 0, and must be from 1 to 65536"),
        ("samples=0", "samples: "),
        ("keep.choose=longest", "keep.choose: "),
        ("read.question=x", "read.question: is a name that answers have already"),
        ("read.thought=\"(\"", "read: `thought`: no pattern: "),
        ("filter=[{of: found}]", "filter: `found`: either `matches` or `lacks`, one of the two"),
        ("deduplicate=rows", "\"rows\" is neither `question` nor `answer` nor a template"),
        ("out=rows.csv", "must end in .jsonl or .parquet"),
        ("row={}", "row: must have a column"),
        ("row.id=\"{{ id\"", "row: the text \"{{ id\" is no template"),
        ("model.url=localhost", "model: url is \"localhost\""),
        ("model.kind=serve", "model.kind: "),
        ("sampling.seed=3", "sampling.seed: is the recipe's own, `seed`"),
        ("sampling.top_p=2", "sampling: top_p is 2"),
    ];
    for (set, expected) in faults {
        let said = fault(set);
        assert!(said.contains(expected), "{set}: {said}");
    }
    // What no sample has is told with the sample, before anybody is asked.
    let said = fault("ask.text=\"{{ nothing }}\"");
    assert!(said.contains("undefined value") && said.contains("the sample has question, solution, "), "{said}");
    let endless = fault("source={kind: scenes, task: counting, split: train}");
    assert!(endless.contains("samples: must be a number: what is drawn has no end"), "{endless}");
}

#[test]
fn a_server_that_does_not_know_the_model_ends_the_run_in_its_own_words() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("rows.jsonl");
    let serving = Serving::refusing("404 Not Found", "The model `some-model` does not exist.");
    let output = served("r1v_traces.yaml", &serving, &out, &["--set", "samples=3"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    let expected = format!(
        "{}/chat/completions: model `some-model`: status 404: The model `some-model` does not exist.",
        serving.url
    );
    assert!(said.contains(&expected), "{said}");
    assert!(!out.exists());
    assert!(body(&serving.asked()[0])["messages"].is_array());
}
