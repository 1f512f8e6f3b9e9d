//! What a run's page holds.

use std::{collections::BTreeMap, fs};

use serde_json::{Value, json};
use vr1_run::{RunError, RunFolder, StageScores, StepMetrics, Summary, report};

use crate::fixture::{HOSTILE, Made, data, reported, scores, write};

fn steps(data: &Value) -> Vec<u64> {
    data["browse"]["steps"].as_array().unwrap().iter().map(|step| step["step"].as_u64().unwrap()).collect()
}

fn groups(data: &Value) -> Vec<&Value> {
    data["browse"]["steps"].as_array().unwrap().iter().flat_map(|step| step["groups"].as_array().unwrap()).collect()
}

#[test]
fn a_page_holds_scores_curves_rollouts_pairs_reward_and_recipe() {
    let (_folder, page) = reported(&Made::default());
    let data = data(&page);
    let run = &data["run"];
    assert_eq!(run["status"], "60 steps in 2 min 30 s");
    assert_eq!(run["scores"][0]["cells"], json!(["in_domain/accuracy", "20.0 %", "77.0 %", "+57.0 points"]));
    assert_eq!(run["reward"]["terms"][1], json!(["format", "format(completion, style='base')"]));
    assert!(run["recipe"].as_str().unwrap().contains("prompts_per_step: 8"));
    assert_eq!(steps(&data), [1, 5, 10, 15, 20, 25, 30, 35, 40, 45, 50, 55, 60]);
    assert_eq!(groups(&data).len(), 13 * 8);
    let group = groups(&data)[3];
    assert_eq!((&group["answers"][0]["total"], &group["answers"][1]["total"]), (&json!(0.5), &Value::Null));
    assert_eq!(group["answers"][1]["error"], "the judge gave no number");
    assert_eq!(group["judged"], 7, "the answer without a verdict is neither right nor wrong");
    // Five questions, three of which are asked again.
    assert_eq!(data["media"].as_object().unwrap().len(), 5);
    assert!(
        data["media"]
            .as_object()
            .unwrap()
            .values()
            .all(|one| one.as_str().unwrap().starts_with("data:image/jpeg;base64,/9j/"))
    );
    // By hand, of 40: at first 0, 5, …, 35 are right, at last all but 3, 10, 17, 24, 31 and 38; so 10 alone became wrong.
    assert_eq!(data["pairs"]["counts"], json!([27, 1, 7, 5]));
}

#[test]
fn every_metric_is_in_a_curve_with_what_it_says() {
    let (folder, page) = reported(&Made::default());
    let data = data(&page);
    let charts = data["run"]["charts"].as_array().unwrap();
    let series = || charts.iter().flat_map(|chart| chart["series"].as_array().unwrap());
    let names: Vec<&str> = series().map(|one| one["name"].as_str().unwrap()).collect();
    for name in Made::default().metrics(1).values.keys() {
        let phase = name.strip_prefix("seconds").map(|phase| phase.trim_start_matches('_'));
        match phase {
            Some("" | "collecting") => {}
            Some(phase) => assert!(names.contains(&phase), "{name}"),
            None => assert!(names.contains(&name.as_str()), "{name}"),
        }
    }
    assert!(series().all(|one| one["says"].as_str().is_some_and(|says| says.len() > 10)));
    // As the table of explanations has them, and not as the alphabet does.
    let of = |id: &str| charts.iter().find(|chart| chart["id"] == id).unwrap()["series"].as_array().unwrap();
    let names = |id: &str| of(id).iter().map(|one| one["name"].as_str().unwrap()).collect::<Vec<_>>();
    assert_eq!(names("reward"), ["reward", "rewards/accuracy", "rewards/format"]);
    assert_eq!(names("ratio"), ["ratio_min", "ratio_max", "sampler_ratio"]);
    // One of the user's own is shown too, and nothing is made up about it.
    let mut run = RunFolder::open(folder.path()).unwrap();
    run.append_metrics(&StepMetrics::new(61).with("my own", 3.0)).unwrap();
    let data = self::data(&report(folder.path()).unwrap());
    let other = data["run"]["charts"].as_array().unwrap().iter().find(|chart| chart["id"] == "other").unwrap();
    assert_eq!(other["series"][0], json!({"name": "my own", "dots": true, "points": [[61.0, 3.0]]}));
}

#[test]
fn a_page_of_stages_says_what_each_brought() {
    let folder = tempfile::tempdir().unwrap();
    let made = Made { finished: false, ..Made::default() };
    let run = made.write(folder.path());
    let stage = |name: &str, steps, accuracy| StageScores {
        name: name.into(),
        steps,
        scores: scores(&[("set/accuracy", accuracy)]),
    };
    let stages = vec![stage("imitation", 20, 0.41), stage("grpo", 40, 0.64)];
    let (before, after) = (scores(&[("set/accuracy", 0.31)]), scores(&[("set/accuracy", 0.64)]));
    run.write_summary(&Summary {
        before,
        after,
        stages,
        steps: 60,
        seconds: 1.0,
        stopped: Some("no better for 3 evaluations".into()),
        warnings: vec!["all groups were equal".into()],
    })
    .unwrap();
    let data = data(&report(folder.path()).unwrap());
    let expected = json!([
        ["stage", "steps", "set/accuracy"],
        ["before", "", "31.0 %"],
        ["imitation", "20", "41.0 %"],
        ["grpo", "40", "64.0 %"]
    ]);
    assert_eq!(data["run"]["stages"], expected);
    assert_eq!(data["run"]["status"], "60 steps in 1 s; no better for 3 evaluations");
    assert_eq!(data["run"]["warnings"], json!(["all groups were equal"]));
}

#[test]
fn text_of_a_run_stays_within_the_data() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("<b>&'name{{data}}");
    Made::default().write(&dir);
    let page = report(&dir).unwrap();
    let text = fs::read_to_string(&page).unwrap();
    assert_eq!(text.matches("</script").count(), 2, "the data's end and the script's");
    assert!(!text.contains("<img") && !text.contains("<b>") && !text.contains("<think>"));
    assert!(data(&page)["browse"].to_string().contains(&HOSTILE.replace('"', "\\\"")), "and yet it is all there");
}

#[test]
fn a_page_needs_no_network() {
    let (_folder, page) = reported(&Made::default());
    let text = fs::read_to_string(page).unwrap();
    let (shell, _) = text.split_once("id=\"data\">").unwrap();
    let (_, script) = text.rsplit_once("<script>").unwrap();
    // The name of SVG is a name, never fetched.
    let own = format!("{shell}{script}").replace("http://www.w3.org/2000/svg", "");
    for word in ["http:", "https:", "@import", "url(", "innerHTML", "src="] {
        assert!(!own.contains(word), "{word}");
    }
    assert!(shell.contains("default-src 'none'"), "and a browser would refuse one");
}

#[test]
fn an_interrupted_run_and_one_that_samples_nothing_have_a_page_too() {
    let folder = tempfile::tempdir().unwrap();
    Made { finished: false, ..Made::default() }.write(folder.path());
    let page = data(&report(folder.path()).unwrap());
    assert_eq!(
        page["run"]["status"],
        "not finished: 60 of 60 steps recorded, no scores on held-out samples after them yet"
    );
    assert_eq!((page["run"]["scores"].as_array().unwrap().len(), &page["pairs"]), (0, &Value::Null));
    // What was measured before the first step is known all the same.
    fs::write(folder.path().join("begun.json"), r#"{"origin": "recipe", "before": {"set/accuracy": 0.25}}"#).unwrap();
    let page = data(&report(folder.path()).unwrap());
    assert_eq!(page["run"]["scores"][0]["cells"], json!(["set/accuracy", "25.0 %", "-", "-"]));
    assert_eq!(page["run"]["finished"], false);
    let empty = folder.path().join("empty");
    RunFolder::create(&empty).unwrap().write_config(&BTreeMap::from([("steps", 1)])).unwrap();
    let page = data(&report(&empty).unwrap());
    assert_eq!(page["browse"]["told"], "This run recorded no rollouts.");
    assert_eq!(page["run"]["charts"], json!([]));
}

#[test]
fn rollouts_of_a_run_begun_before_they_were_compressed_are_shown() {
    let folder = tempfile::tempdir().unwrap();
    Made { finished: false, every: 100, ..Made::default() }.write(folder.path());
    let row = |sample: &str, total: f64| json!({"sample": sample, "prompt": "How many?", "completion": "3", "solution": "3", "tokens": 1, "finished": true, "total": total, "terms": {"accuracy": total}, "advantage": 0.1});
    let text: String = [row("a", 1.0), row("a", 0.0), row("b", 1.0)].iter().map(|row| format!("{row}\n")).collect();
    fs::write(folder.path().join("rollouts/step-2.jsonl"), text).unwrap();
    let page = data(&report(folder.path()).unwrap());
    assert_eq!(steps(&page), [1, 2]);
    let old = &page["browse"]["steps"][1]["groups"];
    assert_eq!(old.as_array().unwrap().len(), 2, "answers to one question are a group");
    assert_eq!(
        (&old[0]["right"], &old[0]["judged"], &old[0]["spread"], &old[1]["group"]),
        (&json!(1), &json!(2), &json!(1.0), &json!(1))
    );
}

#[test]
fn a_broken_line_is_named_with_its_file() {
    let (folder, _) = reported(&Made::default());
    let dir = folder.path();
    let fails = |path: &str, bytes: &[u8], expected: &str| {
        let path = dir.join(path);
        let whole = fs::read(&path).unwrap_or_default();
        fs::write(&path, bytes).unwrap();
        let error = report(dir).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        fs::write(&path, whole).unwrap();
    };
    let compressed = |text: &str| zstd::encode_all(text.as_bytes(), 3).unwrap();
    fails("rollouts/step-5.jsonl.zst", &compressed("{}\n{\"total\":\n"), "step-5.jsonl.zst:2: not a rollout: ");
    fails("rollouts/step-5.jsonl.zst", &compressed("[1]\n3\n"), "step-5.jsonl.zst:1: not a rollout: ");
    let whole = fs::read(dir.join("rollouts/step-5.jsonl.zst")).unwrap();
    fails("rollouts/step-5.jsonl.zst", &whole[..whole.len() / 2], "step-5.jsonl.zst:");
    fails(
        "evaluations/step-60.jsonl.zst",
        &compressed("{\"tokens\":-1}\n"),
        "evaluations/step-60.jsonl.zst:1: not a rollout: ",
    );
    fails("metrics.jsonl", b"{\"step\":1}\n{\"step\":}\n", "metrics.jsonl:2: not a row of metrics");
    fails("summary.json", b"{\n\"before\": 3}", "summary.json:2: not a summary");
    fails("config.yaml", b"a: 1\nb: [", "config.yaml:");
    report(dir).unwrap();
    assert!(matches!(report(&dir.join("rollouts")).unwrap_err(), RunError::NoRun(_)));
}

#[test]
fn the_page_of_a_huge_run_is_some_megabytes_and_says_what_it_leaves_out() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let mut run = RunFolder::create(dir).unwrap();
    run.write_config(&json!({"steps": 10_000, "system": "huge"})).unwrap();
    let made = Made { steps: 10_000, ..Made::default() };
    for step in 1..=10_000 {
        let spread = if step == 4_321 { 9.0 } else { 0.1 };
        run.append_metrics(&made.metrics(step).with("reward_std", spread)).unwrap();
    }
    fs::create_dir(dir.join("rollouts")).unwrap();
    // 50,000 of them, and what a long answer is.
    let words = "<b>so</b> & the circle <i>is</i> left of the box. ".repeat(300);
    for file in 0..500 {
        let row = |n: usize| json!({"group": n / 10, "sample": format!("{file}-{}", n / 10), "completion_index": n % 10, "completion": format!("{n} {words}"), "prompt": "?", "total": (n % 3) as f64, "terms": {"accuracy": (n % 2) as f64}});
        let step = 20 * file + 1;
        write(&dir.join(format!("rollouts/step-{step}.jsonl.zst")), &(0..100).map(row).collect::<Vec<_>>());
    }
    let page = report(dir).unwrap();
    let bytes = fs::metadata(&page).unwrap().len();
    assert!((1_000_000..6_000_000).contains(&bytes), "{bytes}");
    let data = data(&page);
    let shown = steps(&data);
    assert!(shown.contains(&1) && shown.contains(&9_981) && shown.len() <= 16, "{shown:?}");
    assert!(shown.contains(&4_321), "the step whose rewards differ most");
    let told = data["browse"]["told"].as_str().unwrap();
    assert!(told.contains("of 16 of 500 recorded steps") && told.contains("left out"), "{told}");
    let answer = &groups(&data)[0]["answers"][0]["text"];
    assert!(answer[0].as_str().unwrap().contains("letters left out") && answer[1].as_u64().unwrap() > 1000);
    let points = data["run"]["charts"][0]["series"][0]["points"].as_array().unwrap().len();
    assert!(points <= 400, "{points}");
}

#[test]
fn a_row_leads_to_no_file_but_a_thumbnail() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("run");
    Made { finished: false, steps: 1, ..Made::default() }.write(&dir);
    let jpeg = [&[0xff, 0xd8, 0xff][..], b"secret"].concat();
    let (secret, hash) = (folder.path().join("secret.jpg"), "a".repeat(64));
    fs::write(&secret, &jpeg).unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink(&secret, dir.join(format!("rollouts/media/{hash}.jpg"))).unwrap();
    let text = "b".repeat(64);
    fs::write(dir.join(format!("rollouts/media/{text}.jpg")), "no picture").unwrap();
    let paths = [
        "../../secret.jpg".to_owned(),
        secret.display().to_string(),
        format!("media/{hash}.jpg"),
        format!("media/{text}.jpg"),
        "media/../../../secret.jpg".into(),
    ];
    let row = |path: &String| json!({"sample": path, "prompt": path, "completion": "x", "media": [{"kind": "image", "width": 4, "height": 4, "thumbnail": path}]});
    write(&dir.join("rollouts/step-1.jsonl.zst"), &paths.iter().map(row).collect::<Vec<_>>());
    let data = data(&report(&dir).unwrap());
    assert_eq!(data["media"], json!({}));
    assert_eq!(groups(&data).len(), paths.len());
    assert!(groups(&data).iter().all(|group| group["asked"]["media"][0]["file"].is_null()));
}
