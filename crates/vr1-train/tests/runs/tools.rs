//! Runs whose completions call tools.

use vr1_agent::{ToolEngine, Zoom};
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
        picture(dir.path(), &format!("{i}.png"), [(i * 40) as u8, 90, 200]);
        let said = serde_json::json!([
            {"from": "human", "value": format!("<image>\nWhat is number {i}?")}, {"from": "gpt", "value": "blue"}]);
        serde_json::json!({"id": format!("{i}"), "image": format!("{i}.png"), "conversations": said}).to_string() + "\n"
    };
    std::fs::write(dir.path().join("train.jsonl"), (0..6).map(row).collect::<String>()).unwrap();
    dir
}

#[test]
fn what_tools_showed_is_seen_recorded_and_not_learnt() {
    let dir = pictures();
    let recipe =
        read(dir.path(), GRPO, &["reward={ terms: { accuracy: \"contains(completion, 'there')\" }, total: accuracy }"])
            .unwrap();
    let out = dir.path().join("run");
    let mut run = trainer(&recipe, &out);
    let (processor, max_tokens) = (std::sync::Arc::new(Processor::from_dir(&tiny()).unwrap()), 1024);
    // Half of the completions look closer, and they are right.
    let said = |request: &Request, completion: usize| {
        let looked = request.prompt.text().contains("<tool_response>");
        Some(format!(
            "{}<|im_end|>",
            if looked {
                "there"
            } else if completion.is_multiple_of(2) {
                CALL
            } else {
                "nowhere"
            }
        ))
    };
    let engine = Box::new(Scripted::new(processor.tokenizer().clone(), said));
    run.set_engine(Box::new(ToolEngine::new(engine, processor, vec![Box::new(Zoom)], 3, max_tokens))).unwrap();
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
