//! Runs whose completions call tools.

use vr1_agent::{ToolEngine, Zoom};
use vr1_learn::World;
use vr1_processor::Processor;
use vr1_rollout::{Request, Scripted};

use super::*;

const GRPO: &str = "
steps: 2
objective:
  kind: grpo
  sources: [{ source: { kind: jsonl, path: train.jsonl } }]
  prompts_per_step: 2
  group_size: 4
  sampling: { max_completion_tokens: 200 }
rollout: { tools: { kinds: [zoom] } }
";

const CALL: &str = r#"<tool_call>{"name": "image_zoom_in_tool", "arguments": {"bbox_2d": [0, 0, 20, 20]}}</tool_call>"#;

/// A folder with questions about pictures.
fn pictures() -> tempfile::TempDir {
    let dir = folder();
    let row = |i: usize| {
        let shade = |x: u32, y: u32| image::Rgb([(i * 40) as u8, (5 * x) as u8, (5 * y) as u8]);
        image::RgbImage::from_fn(48, 48, shade).save(dir.path().join(format!("{i}.png"))).unwrap();
        let said = serde_json::json!([
            {"from": "human", "value": format!("<image>\nWhat is number {i}?")}, {"from": "gpt", "value": "blue"}]);
        serde_json::json!({"id": format!("{i}"), "image": format!("{i}.png"), "conversations": said}).to_string() + "\n"
    };
    std::fs::write(dir.path().join("train.jsonl"), (0..6).map(row).collect::<String>()).unwrap();
    dir
}

/// Half of the completions look closer, each at another part, and they are right.
fn looking() -> Box<ToolEngine> {
    let processor = std::sync::Arc::new(Processor::from_dir(&tiny()).unwrap());
    let said = |request: &Request, completion: usize| {
        let looked = request.prompt.text().contains("<tool_response>");
        Some(format!(
            "{}<|im_end|>",
            if looked {
                "there".to_owned()
            } else if completion.is_multiple_of(2) {
                CALL.replace("20, 20", &format!("{}, 32", 20 + completion))
            } else {
                "nowhere".to_owned()
            }
        ))
    };
    let engine = Box::new(Scripted::new(processor.tokenizer().clone(), said));
    Box::new(ToolEngine::new(engine, processor, vec![Box::new(Zoom)], 3, 1024))
}

const RIGHT: &str = "reward={ terms: { accuracy: \"contains(completion, 'there')\" }, total: accuracy }";

#[test]
fn what_tools_showed_is_seen_recorded_and_not_learnt() {
    let dir = pictures();
    let recipe = read(dir.path(), GRPO, &[RIGHT]).unwrap();
    let out = dir.path().join("run");
    let mut run = trainer(&recipe, &out);
    run.set_engine(looking()).unwrap();
    steps(&mut run, 2);
    let rows = read_metrics(&out.join("metrics.jsonl")).unwrap();
    assert!(rows.iter().all(|row| row.values["tool_calls"] == 0.5 && row.values["reward"] == 0.5), "{rows:?}");
    assert!(rows.iter().all(|row| row.values["grad_norm"] > 0.0), "{rows:?}");
    for line in vr1_run::lines(&out.join("rollouts/step-1.jsonl.zst")).unwrap() {
        let row: serde_json::Value = serde_json::from_slice(&line.unwrap()).unwrap();
        let (ids, drawn) = (row["ids"].as_array().unwrap().len(), row["drawn"].as_array().unwrap().len());
        let shown = row["observations"].as_array().map_or(0, |places| {
            assert_eq!(places.len(), 1);
            (places[0][1].as_u64().unwrap() - places[0][0].as_u64().unwrap()) as usize
        });
        assert_eq!((ids, row["tokens"].as_u64().unwrap() as usize), (drawn + shown, drawn));
        assert_eq!(shown > 0, row["total"] == 1.0, "{row}");
    }
    let error = Trainer::replay(&out, 1, &options(&dir.path().join("again"))).unwrap_err().to_string();
    assert!(error.contains("rollout.tools"), "{error}");
}

#[test]
fn ranks_learn_from_what_tools_showed_others() {
    let dir = pictures();
    // A rank of four has no prompt.
    let overrides = [RIGHT, PROPORTIONAL, "optimizer.learning_rate=0.1", "objective.prompts_per_step=3"];
    let recipe = read(dir.path(), GRPO, &overrides).unwrap();
    let run = |world: World| {
        let out = dir.path().join(world.size().to_string());
        let mut run = Trainer::new(recipe.clone(), RunOptions { world, ..options(&out) }).unwrap();
        let before = weights(run.model());
        run.set_engine(looking()).unwrap();
        steps(&mut run, 2);
        let held_out = run.evaluate().unwrap().unwrap();
        (before, weights(run.model()), held_out)
    };
    let (before, alone, held_out) = run(World::default());
    assert!(distance(&before, &alone) > 1e-4, "it learns");
    let tower = |weights: &BTreeMap<String, Tensor>| -> BTreeMap<String, Tensor> {
        let own = weights.iter().filter(|(name, _)| name.contains("visual"));
        own.map(|(name, tensor)| (name.clone(), tensor.shallow_clone())).collect()
    };
    assert!(distance(&tower(&before), &tower(&alone)) > 1e-4, "of what is shown, too");
    let sampled = |size: usize, step: u64| -> Vec<Vec<serde_json::Value>> {
        let text = rows_of(&dir.path().join(size.to_string()), step);
        let row = |line: &str| {
            let mut row: serde_json::Value = serde_json::from_str(line).unwrap();
            ["sample", "completion", "ids", "observations", "drawn", "total", "advantage", "version", "finished"]
                .map(|key| row[key].take())
                .to_vec()
        };
        text.lines().map(row).collect()
    };
    let measured = |size: usize| read_metrics(&dir.path().join(size.to_string()).join("metrics.jsonl")).unwrap();
    for size in [2, 4] {
        for (_, together, scores) in joined::ranks(size, run) {
            assert!(distance(&alone, &together) < 1e-6, "{size}: {}", distance(&alone, &together));
            assert_eq!(held_out, scores, "{size}");
        }
        (1..=2).for_each(|step| assert_eq!(sampled(1, step), sampled(size, step), "{size}"));
        for (one, all) in measured(1).iter().zip(measured(size)) {
            for name in ["tool_calls", "reward", "completion_length", "loss", "grad_norm"] {
                let [one, all] = [one, &all].map(|row| row.values[name]);
                assert!((one - all).abs() < 1e-5 * (1.0 + one.abs()), "{size}: {name}: {one} and {all}");
            }
        }
    }
}

#[test]
fn the_model_itself_samples_where_it_may_call() {
    let dir = pictures();
    let recipe = read(dir.path(), GRPO, &["objective.sampling.max_completion_tokens=8"]).unwrap();
    let mut run = trainer(&recipe, &dir.path().join("run"));
    steps(&mut run, 1);
    assert!(run.evaluate().unwrap().is_some());
}

#[test]
fn where_tools_cannot_be_is_said_before_anything_is_done() {
    let dir = pictures();
    for (set, reason) in [
        ("rollout.tools.kinds=[]", "rollout.tools.kinds: names no tool"),
        ("rollout.tools.kinds=[hammer]", "hammer"),
        ("rollout.tools.max_calls=0", "rollout.tools.max_calls: is 0, and must be 1 to 64"),
        ("prompt.layout=raw", "prompt.layout: tools answer in turns"),
        ("objective.grounding.every_steps=1", "objective.grounding: does not know"),
    ] {
        let error = read(dir.path(), GRPO, &[set]).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
}
