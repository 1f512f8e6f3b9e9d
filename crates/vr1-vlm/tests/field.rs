//! Checkpoints as they come from other programs: the embedded model, with its files changed as these change them, has the
//! numbers that transformers gives for it (tests/fixtures/field/generate.py), or is refused by what is wrong.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use image::{Rgb, RgbImage};
use safetensors::SafeTensors;
use serde_json::{Map, Value, json};
use tch::{Device, Kind, Tensor};
use vr1_data::Picture;
use vr1_nn::Adapter;
use vr1_processor::{Layout, Message, Part, Processor, PromptRequest, Voice};
use vr1_rollout::{Group, SampleKey, Sequence};
use vr1_vlm::{Backbone, Batch, Model, ModelConfig, Piece};

/// What transformers gives for " 3" after "How many?", alone and behind a red picture.
const WANTED: [f64; 2] = [-17.60343, -19.28024];

fn tiny() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/assets/tiny")
}

fn copy() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(tiny()).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, dir.path().join(path.file_name().unwrap())).unwrap();
    }
    dir
}

/// A copy with one of its JSON files changed.
fn with(file: &str, edit: impl FnOnce(&mut Map<String, Value>)) -> tempfile::TempDir {
    let dir = copy();
    let path = dir.path().join(file);
    let mut json = fs::read_to_string(&path).map_or(Map::new(), |text| serde_json::from_str(&text).unwrap());
    edit(&mut json);
    fs::write(path, Value::Object(json).to_string()).unwrap();
    dir
}

/// A copy whose tensors have other names, and one that is computed.
fn renamed(name: impl Fn(&str) -> String) -> tempfile::TempDir {
    let dir = copy();
    let path = dir.path().join("model.safetensors");
    let bytes = fs::read(&path).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let mut views: Vec<_> = tensors.tensors().into_iter().map(|(own, view)| (name(&own), view)).collect();
    let (_, scale) = views.iter().find(|(name, _)| name.ends_with("model.norm.weight")).unwrap().clone();
    views.push((name("visual.rotary_pos_emb.inv_freq"), scale.clone()));
    views.push((name("model.layers.0.self_attn.rotary_emb.original_inv_freq"), scale));
    safetensors::serialize_to_file(views, Some(HashMap::from([("format".into(), "pt".into())])), &path).unwrap();
    dir
}

fn numbers(dir: &Path) -> vr1_vlm::Result<[f64; 2]> {
    let (processor, model) = (Processor::from_dir(dir)?, Model::load(dir, Device::Cpu, Kind::Float)?);
    let answer = processor.tokenizer().encode_words(" 3", Voice::Model)?;
    let red = Picture::Pixels(Arc::new(RgbImage::from_pixel(64, 48, Rgb([200, 30, 30]))));
    let number = |media: Vec<Part>| -> vr1_vlm::Result<f64> {
        let messages = [Message::user(media, "How many?")];
        let request = PromptRequest { sample: "s", messages: &messages, layout: Layout::Raw, prefill: "" };
        let prompt = Arc::new(processor.prompt(&request)?);
        let tail = prompt.tail(&answer, " 3")?;
        let sequence = Sequence::new(prompt, tail, vec![true; answer.len()], String::new()).unwrap();
        let group = Group::new(SampleKey::default(), vec![sequence]).unwrap();
        let batch = Batch::new(&[Piece::whole(&group)])?;
        let shown: Vec<_> = batch.media.iter().map(|media| media.patches.clone()).collect();
        let features = model.encode(&shown)?;
        let logits = model.logits(&model.score(&batch, &features.iter().collect::<Vec<_>>())?);
        let picked =
            logits.log_softmax(-1, Kind::Float).gather(1, &Tensor::from_slice(&batch.targets).unsqueeze(1), false);
        Ok(picked.sum(Kind::Double).double_value(&[]))
    };
    Ok([number(Vec::new())?, number(vec![red.into()])?])
}

#[test]
fn what_other_programs_leave_out_or_put_in_changes_no_number() {
    let vision = |keys: &'static [&'static str]| {
        with("config.json", |config| {
            let vision = config["vision_config"].as_object_mut().unwrap();
            keys.iter().for_each(|key| drop(vision.remove(*key)));
        })
    };
    let rope = |scaling: Value| with("config.json", |config| drop(config.insert("rope_scaling".into(), scaling)));
    let cases = [
        ("as it is", copy()),
        ("saved by 4.45 to 4.51", vision(&["mlp_ratio", "spatial_merge_size", "temporal_patch_size", "hidden_act"])),
        ("no channels", vision(&["in_channels", "in_chans"])),
        ("no activation", with("config.json", |config| drop(config.remove("hidden_act")))),
        (
            "a type of scaling rewritten",
            rope(json!({ "type": "default", "rope_type": "default", "mrope_section": [1, 2, 13] })),
        ),
        ("no type of scaling", rope(json!({ "mrope_section": [1, 2, 13] }))),
        (
            "today's keys of rotary positions in a flat file",
            with("config.json", |config| {
                config.remove("rope_scaling");
                let theta = config.remove("rope_theta");
                let parameters = json!({ "rope_type": "default", "rope_theta": theta, "mrope_section": [1, 2, 13] });
                config.insert("rope_parameters".into(), parameters);
            }),
        ),
        (
            "a leftover of quantisation",
            with("config.json", |config| {
                config.insert("quantization_config".into(), json!({ "quant_method": "awq" }));
            }),
        ),
        (
            "ids that are none",
            with("generation_config.json", |config| {
                config.extend(json!({ "eos_token_id": [777, -1], "pad_token_id": -1 }).as_object().unwrap().clone());
            }),
        ),
        ("computed frequencies", renamed(str::to_owned)),
        ("a wrapper of parallel training", renamed(|name| format!("module.{name}"))),
        ("two wrappers", renamed(|name| format!("module._orig_mod.{name}"))),
        ("a wrapper called model", renamed(|name| format!("model.{name}"))),
    ];
    let mut wrong = Vec::new();
    for (why, dir) in &cases {
        match numbers(dir.path()) {
            Ok(found) if found.iter().zip(WANTED).all(|(found, wanted)| (found - wanted).abs() < 5e-3) => {}
            Ok(found) => wrong.push(format!("{why}: {found:?} for {WANTED:?}")),
            Err(error) => wrong.push(format!("{why}: {error}")),
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

#[test]
fn what_cannot_be_read_as_it_is_meant_is_refused_by_its_name() {
    let quantized = |config: Value| {
        let dir = renamed(|name| name.replace("0.mlp.down_proj.weight", "0.mlp.down_proj.qweight"));
        let path = dir.path().join("config.json");
        let mut json: Map<String, Value> = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        json.insert("quantization_config".into(), config);
        fs::write(path, Value::Object(json).to_string()).unwrap();
        dir
    };
    let cases = [
        (
            quantized(json!({ "quant_method": "awq", "bits": 4 })),
            "`quantization_config`: the weights are quantised (awq)",
        ),
        (quantized(json!({ "load_in_4bit": true })), "quantised (bitsandbytes)"),
        (quantized(json!({ "quant_method": "gptq" })), "quantised (gptq)"),
        // Heads of 32: the class's sections do not fill them.
        (with("config.json", |config| drop(config.remove("rope_scaling"))), "`mrope_section`"),
        (with("config.json", |config| drop(config.remove("tie_word_embeddings"))), "missing: lm_head.weight"),
    ];
    for (dir, expected) in cases {
        let error = numbers(dir.path()).unwrap_err().to_string();
        assert!(
            error.contains(expected) && error.contains(&dir.path().display().to_string()) || error.contains("`mrope"),
            "{error}"
        );
        assert!(error.contains(expected), "{expected}: {error}");
    }
}

#[test]
fn a_nested_config_leaves_out_what_its_class_has_whatever_stands_outside() {
    let nested = json!({
        "model_type": "qwen2_vl", "hidden_size": 7, "num_key_value_heads": 1,
        "text_config": { "num_attention_heads": 28, "hidden_size": 3584, "num_key_value_heads": 4 },
    });
    let config = ModelConfig::from_json(nested.as_object().unwrap().clone(), Path::new("config.json")).unwrap();
    assert_eq!((config.text.vocab_size, config.text.num_hidden_layers, config.text.heads.key_value), (152_064, 80, 4));
    assert_eq!(config.vision.unwrap().cut().merge, 2, "a tower as its class has it");
}

#[test]
fn an_adapter_that_changed_its_base_is_refused_and_others_are_not() {
    let adapter = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/adapters/names");
    let open = |init: Value| {
        let dir = tempfile::tempdir().unwrap();
        fs::copy(adapter.join("adapter_model.safetensors"), dir.path().join("adapter_model.safetensors")).unwrap();
        let text = fs::read_to_string(adapter.join("adapter_config.json")).unwrap();
        let mut json: Map<String, Value> = serde_json::from_str(&text).unwrap();
        json.insert("init_lora_weights".into(), init);
        fs::write(dir.path().join("adapter_config.json"), Value::Object(json).to_string()).unwrap();
        Adapter::open(dir.path()).map(drop)
    };
    for kept in [
        json!(true),
        json!(false),
        json!(null),
        json!("gaussian"),
        json!("Gaussian"),
        json!("eva"),
        json!("orthogonal"),
    ] {
        open(kept).unwrap();
    }
    for changed in ["pissa", "pissa_niter_16", "olora", "OLoRA", "corda", "loftq", "lora_ga", "of tomorrow"] {
        let error = open(changed.into()).unwrap_err().to_string();
        assert!(error.contains("adapter_config.json: `init_lora_weights`: \"") && error.contains(changed), "{error}");
    }
}
