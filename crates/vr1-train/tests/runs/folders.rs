//! Where the files that a recipe names are looked for, and where rows show what they show.

use super::*;

#[test]
fn images_stand_relative_to_the_recipes_folder_as_paths_do() {
    let dir = folder();
    std::fs::create_dir(dir.path().join("pictures")).unwrap();
    for name in ["pairs.jsonl", "judged.jsonl"] {
        std::fs::write(dir.path().join(name), "").unwrap();
    }
    let source = "{ kind: jsonl, path: train.jsonl, images: pictures }";
    let objectives = [
        format!("{{ kind: grpo, train: {source}, prompts_per_step: 2, group_size: 2 }}"),
        format!("{{ kind: grpo, sources: [{{ source: {source} }}], prompts_per_step: 2, group_size: 2 }}"),
        format!("{{ kind: sft, documents_per_step: 2, documents: [{{ source: {source}, text: 'a', target: 'b' }}] }}"),
        format!(
            "{{ kind: dpo, pairs_per_step: 2, pairs: {{ kind: written, source: {source}, chosen: 'a', rejected: 'b' }} }}"
        ),
        format!("{{ kind: dpo, pairs_per_step: 2, pairs: {{ kind: sampled, train: {source}, group_size: 2 }} }}"),
        "{ kind: dpo, pairs_per_step: 2, pairs: { kind: rows, path: pairs.jsonl, images: pictures } }".to_owned(),
        "{ kind: kto, path: judged.jsonl, images: pictures, answers_per_step: 2 }".to_owned(),
    ];
    for objective in objectives {
        let set = format!("evaluation.sets.held_out={source}");
        for text in [
            format!("steps: 1\nobjective: {objective}"),
            format!("stages: [{{ name: only, steps: 1, objective: {objective} }}]"),
        ] {
            let recipe = format!("{:?}", read(dir.path(), &text, &[&set]).unwrap());
            let resolved = format!("{:?}", dir.path().join("pictures"));
            assert_eq!(recipe.matches("/pictures").count(), 2, "{recipe}");
            assert_eq!(recipe.matches(&resolved).count(), 2, "{objective}: {recipe}");
        }
    }
}

#[test]
fn a_picture_is_asked_about_where_its_marker_stands() {
    let dir = folder();
    picture(dir.path(), "a.png", [200, 0, 0]);
    picture(dir.path(), "b.png", [0, 0, 200]);
    let said = |value: &str| serde_json::json!([{"from": "human", "value": value}, {"from": "gpt", "value": "red"}]);
    let row = serde_json::json!({"image": ["a.png", "b.png"], "conversations": said("First: <image> Second: <image>")});
    std::fs::write(dir.path().join("train.jsonl"), row.to_string()).unwrap();
    std::fs::write(dir.path().join("test.jsonl"), row.to_string()).unwrap();
    let text = "
steps: 1
objective: { kind: grpo, train: { kind: jsonl, path: train.jsonl }, prompts_per_step: 1, group_size: 2, sampling: { max_completion_tokens: 3 } }
";
    let recipe = read(dir.path(), text, &["prompt.text='Look. {{ question | trim }} Which is red?'"]).unwrap();
    let out = dir.path().join("run");
    trainer(&recipe, &out).step().unwrap();
    let told = rows_of(&out, 1);
    let told: serde_json::Value = serde_json::from_str(told.lines().next().unwrap()).unwrap();
    let shown = "<|vision_start|><|image_pad|><|vision_end|>";
    let expected = format!("Look. First: {shown} Second: {shown} Which is red?");
    assert!(told["prompt"].as_str().unwrap().contains(&expected), "{told}");
}
