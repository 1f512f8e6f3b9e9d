//! Held-out samples: a batch at a time, and no verdict in silence.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};

use image::RgbImage;
use serde_json::json;
use vr1_data::{Dataset, Media, Picture, Sample};
use vr1_reward::Registry;

use super::*;

const SFT: &str = "
steps: 2
objective:
  kind: sft
  documents_per_step: 2
  documents: [{ source: { kind: jsonl, path: train.jsonl }, text: '{{ question }}', target: '{{ solution }}' }]
";

/// A set that counts how many of the samples that it gave somebody still holds, by their pictures.
struct Counted {
    given: Mutex<Vec<Weak<RgbImage>>>,
    most: AtomicUsize,
}

impl Dataset for Counted {
    fn name(&self) -> &str {
        "counted"
    }

    fn len(&self) -> usize {
        150
    }

    fn get(&self, index: usize) -> vr1_data::Result<Sample> {
        let pixels = Arc::new(RgbImage::new(48, 48));
        let mut given = self.given.lock().unwrap();
        given.retain(|picture| picture.strong_count() > 0);
        given.push(Arc::downgrade(&pixels));
        self.most.fetch_max(given.len(), Ordering::SeqCst);
        let media = vec![Media::Image(Picture::Pixels(pixels))];
        Ok(Sample { id: index.to_string(), media, question: "What?".into(), ..Sample::default() })
    }
}

#[test]
fn an_evaluation_holds_no_more_samples_than_a_batch() {
    let dir = folder();
    let overrides = ["evaluation.samples=0", "evaluation.max_completion_tokens=1"];
    let recipe = read(dir.path(), SFT, &overrides).unwrap();
    let mut run = trainer(&recipe, &dir.path().join("run"));
    let counted = Arc::new(Counted { given: Mutex::default(), most: AtomicUsize::new(0) });
    run.set_held_out("counted", counted.clone());
    let scores = run.evaluate().unwrap().unwrap();
    assert!(scores.contains_key("counted/completion_length") && scores.contains_key("held_out/completion_length"));
    let most = counted.most.load(Ordering::SeqCst);
    assert!((2..=64).contains(&most), "{most} of 150 at once");
}

#[test]
fn a_set_of_ones_own_is_evaluated_in_every_stage() {
    let dir = folder();
    let objective = SFT.replace("\n  ", "\n    ").replace("steps: 2\nobjective:", "");
    let stages = format!("stages:\n- steps: 1\n  objective:{objective}- steps: 1\n  objective:{objective}");
    let recipe = read(dir.path(), &stages, &["evaluation.max_completion_tokens=1"]).unwrap();
    let mut run = trainer(&recipe, &dir.path().join("run"));
    run.set_held_out("counted", Arc::new(Counted { given: Mutex::default(), most: AtomicUsize::new(0) }));
    steps(&mut run, 2);
    assert!(run.evaluate().unwrap().unwrap().contains_key("counted/accuracy"));
}

/// Scores of `count` held-out samples whose judge fails where it is told to.
fn scores(count: usize, fails: impl Fn(&str) -> bool + Send + Sync + 'static) -> BTreeMap<String, f64> {
    let dir = folder();
    let mut registry = Registry::default();
    registry.register("judge", move |args| match fails(args.text(0)?) {
        true => Err(vr1_reward::Error::verifier("judge", "the judge is asleep")),
        false => Ok(1.0),
    });
    let program = "reward={ terms: { accuracy: judge(solution), size: tokens }, total: accuracy + size }";
    let recipe = read(dir.path(), SFT, &[program, &format!("evaluation.samples={count}")]).unwrap();
    let options = RunOptions { registry, ..options(&dir.path().join("run")) };
    Trainer::new(recipe, options).unwrap().evaluate().unwrap().unwrap()
}

#[test]
fn an_answer_without_a_verdict_is_counted_and_neither_right_nor_wrong() {
    let sound = scores(4, |_| false);
    assert_eq!((sound.get("held_out/accuracy"), sound.get("held_out/missing")), (Some(&1.0), None));
    // Of four solutions one is blue.
    let some = scores(4, |solution| solution == "blue");
    assert_eq!((some.get("held_out/accuracy"), some.get("held_out/missing")), (Some(&1.0), Some(&1.0)));
    assert_eq!(some.get("accuracy"), Some(&1.0));
}

#[test]
fn where_nothing_has_a_verdict_there_is_no_accuracy() {
    let none = scores(4, |_| true);
    assert_eq!((none.get("held_out/accuracy"), none.get("accuracy")), (None, None), "{none:?}");
    assert_eq!(none.get("held_out/missing"), Some(&4.0));
}

#[test]
fn as_many_samples_are_used_as_asked_for_and_0_is_all() {
    let dir = folder();
    let all = |samples: usize| {
        let recipe = read(dir.path(), SFT, &[&format!("evaluation.samples={samples}")]).unwrap();
        let out = tempfile::tempdir().unwrap();
        let mut run = trainer(&recipe, &out.path().join("run"));
        let asked = Arc::new(AtomicUsize::new(0));
        let heard = asked.clone();
        let engine = vr1_rollout::Scripted::new(run.processor().tokenizer().clone(), move |_, _| {
            heard.fetch_add(1, Ordering::SeqCst);
            Some("red".to_owned())
        });
        run.set_engine(Box::new(engine)).unwrap();
        run.evaluate().unwrap().unwrap();
        asked.load(Ordering::SeqCst)
    };
    assert_eq!([all(0), all(1), all(3), all(100)], [4, 1, 3, 4]);
}

#[test]
fn held_out_pairs_say_how_often_the_better_answer_is_the_likelier() {
    let dir = folder();
    let row =
        |chosen: &str, rejected: &str| json!({"prompt": "Which?", "chosen": chosen, "rejected": rejected}).to_string();
    let sound = "The red circle is left of the blue square.";
    let noise = "qzx jj vv kk ww";
    let rows = [row(sound, noise), row(sound, noise), row(noise, sound), row(sound, noise)].join("\n");
    std::fs::write(dir.path().join("pairs.jsonl"), rows).unwrap();
    let recipe = read(
        dir.path(),
        SFT,
        &["evaluation.samples=0", "evaluation.preferences={ better: { kind: rows, path: pairs.jsonl } }"],
    );
    let scores = trainer(&recipe.unwrap(), &dir.path().join("run")).evaluate().unwrap().unwrap();
    assert_eq!(scores["better/preference_accuracy"], 0.75, "{scores:?}");
    assert!(scores["better/preference_margin"] > 0.0);
}

#[test]
fn a_set_may_be_asked_by_a_prompt_of_its_own() {
    let dir = folder();
    let sets =
        "evaluation.sets={ held_out: { kind: jsonl, path: test.jsonl }, brief: { kind: jsonl, path: test.jsonl } }";
    let own = "evaluation.prompts={ brief: { layout: raw, text: 'In a word: {{ question }}' } }";
    let recipe = read(dir.path(), SFT, &[sets, own]).unwrap();
    let mut run = trainer(&recipe, &dir.path().join("run"));
    let (asked, tokenizer) = (Arc::new(Mutex::new(Vec::new())), run.processor().tokenizer().clone());
    let heard = asked.clone();
    let engine = vr1_rollout::Scripted::new(tokenizer.clone(), move |request, _| {
        heard.lock().unwrap().push(tokenizer.decode(request.prompt.ids(), vr1_processor::Specials::Keep).unwrap());
        Some("red".to_owned())
    });
    run.set_engine(Box::new(engine)).unwrap();
    run.evaluate().unwrap().unwrap();
    let asked = asked.lock().unwrap();
    // By name: first two of `brief`, then two of `held_out`.
    let starts: Vec<bool> = asked.iter().map(|words| words.starts_with("In a word: What is")).collect();
    assert_eq!(starts, [true, true, false, false], "{asked:?}");

    let nobody = "evaluation.prompts={ nobody: { text: '{{ question }}' } }";
    let error = read(dir.path(), SFT, &[nobody]).unwrap_err().to_string();
    assert!(error.contains("evaluation.prompts") && error.contains("nobody"), "{error}");
}
