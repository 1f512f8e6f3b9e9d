//! Checkpoints as they come from other programs: a small model, with its files changed as these change them, has the
//! numbers that transformers and peft give for it (tests/fixtures/field/generate.py), or is refused by what is wrong.

mod folder;

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use folder::{Form, Step, copy, fixtures, of_case, with};
use image::{Rgb, RgbImage};
use safetensors::SafeTensors;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tch::{Device, Kind, Tensor};
use vr1_data::Picture;
use vr1_nn::Adapter;
use vr1_processor::{Layout, Message, Part, Processor, PromptRequest, Voice};
use vr1_rollout::{Group, SampleKey, Sequence};
use vr1_vlm::{Backbone, Batch, Model, ModelConfig, Piece};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    id: String,
    kind: String,
    why: String,
    want: Want,
    /// A refusal names one of these.
    names: Vec<String>,
    gone: Vec<String>,
    steps: Vec<Step>,
    form: Form,
    /// Of " 3" after "How many?", alone and behind a picture.
    numbers: Option<[f64; 2]>,
    /// Words and their ids.
    prompt: Option<(String, Vec<i64>)>,
    /// The ids of "How many?" in the chat template.
    chat: Option<Vec<i64>>,
}

#[derive(Deserialize, Clone, Copy, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Want {
    Load,
    Refuse,
    Either,
}

fn cases() -> Vec<Case> {
    serde_json::from_str(&fs::read_to_string(fixtures().join("expected.json")).unwrap()).unwrap()
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

/// As the generator draws it: too large for the settings, so that it is made smaller.
fn picture() -> Picture {
    let level = |x: u32, y: u32, c: u32| (x * 255 / 111 + y * 255 / 83 + c * 85) / 3;
    Picture::Pixels(Arc::new(RgbImage::from_fn(112, 84, |x, y| Rgb([0, 1, 2].map(|c| level(x, y, c) as u8)))))
}

fn numbers(dir: &Path, adapter: Option<&Path>) -> vr1_vlm::Result<[f64; 2]> {
    let (processor, mut model) = (Processor::from_dir(dir)?, Model::load(dir, Device::Cpu, Kind::Float)?);
    if let Some(adapter) = adapter {
        model = model.with_adapter(Adapter::open(adapter)?)?;
    }
    let answer = processor.tokenizer().encode_words(" 3", Voice::Model)?;
    let number = |media: Vec<Part>| -> vr1_vlm::Result<f64> {
        let messages = [Message::user(media, "How many?")];
        let request = PromptRequest { sample: "s", messages: &messages, layout: Layout::Raw, prefill: "" };
        let prompt = Arc::new(processor.prompt(&request)?);
        let tail = prompt.tail(&answer, " 3")?;
        let sequence = Sequence::new(prompt, tail, vec![true; answer.len()], String::new()).unwrap();
        let group = Group::new(SampleKey::default(), vec![sequence]).unwrap();
        let batch = Batch::new(&[Piece::whole(&group)])?;
        let shown: Vec<_> = batch.media.iter().map(|media| media.patches.clone()).collect();
        let features = model.encode(&shown, vr1_nn::Recompute::None)?;
        let logits = model.logits(&model.score(&batch, &features.iter().collect::<Vec<_>>())?);
        let picked =
            logits.log_softmax(-1, Kind::Float).gather(1, &Tensor::from_slice(&batch.targets).unsqueeze(1), false);
        Ok(picked.sum(Kind::Double).double_value(&[]))
    };
    Ok([number(Vec::new())?, number(vec![picture().into()])?])
}

fn ids(dir: &Path, layout: Layout, words: &str) -> vr1_vlm::Result<Vec<i64>> {
    let messages = [Message::user(Vec::<Part>::new(), words)];
    let request = PromptRequest { sample: "s", messages: &messages, layout, prefill: "" };
    Ok(Processor::from_dir(dir)?.prompt(&request)?.input_ids().to_vec())
}

fn near(found: &[f64; 2], wanted: &[f64; 2]) -> bool {
    found.iter().zip(wanted).all(|(found, wanted)| (found - wanted).abs() < 5e-3)
}

/// What is wrong with a case, if anything is.
fn fault(case: &Case) -> Option<String> {
    let own = fixtures().join(&case.id);
    let (dir, adapter) = if case.id.starts_with('L') {
        (copy(), Some(own.as_path()))
    } else {
        (of_case(&case.id, &case.gone, &case.steps, case.form), None)
    };
    match (numbers(dir.path(), adapter), case.want) {
        (Ok(found), Want::Refuse) => return Some(format!("{found:?}, but is to be refused")),
        (Ok(found), _) if !near(&found, &case.numbers.unwrap()) => {
            return Some(format!("{found:?} for {:?}", case.numbers.unwrap()));
        }
        (Err(error), Want::Load) => return Some(error.to_string()),
        (Err(error), _) => {
            let error = error.to_string();
            let named = case.names.iter().any(|name| error.contains(name.as_str()));
            return (!named || error.len() > 4000)
                .then(|| format!("names none of {:?}, or is long: {error}", case.names));
        }
        (Ok(_), _) => {}
    }
    let asked = case.prompt.iter().map(|(words, ids)| (Layout::Raw, words.as_str(), ids));
    for (layout, words, wanted) in asked.chain(case.chat.iter().map(|ids| (Layout::Chat, "How many?", ids))) {
        match ids(dir.path(), layout, words) {
            Ok(found) if found == *wanted => {}
            other => return Some(format!("{words:?}: {other:?} for {wanted:?}")),
        }
    }
    None
}

#[test]
fn every_case_has_the_numbers_of_transformers_and_peft_or_is_refused_by_what_is_wrong() {
    let cases = cases();
    assert_eq!(cases.len(), 33, "cases");
    let wrong: Vec<String> = cases
        .iter()
        .filter_map(|case| fault(case).map(|fault| format!("{} ({}): {}: {fault}", case.id, case.kind, case.why)))
        .collect();
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

#[test]
fn what_other_programs_leave_out_or_put_in_changes_no_number() {
    let vision = |keys: &'static [&'static str]| {
        with("config.json", |config| {
            let vision = config["vision_config"].as_object_mut().unwrap();
            keys.iter().for_each(|key| drop(vision.remove(*key)));
        })
    };
    let cases = [
        ("no channels", vision(&["in_channels", "in_chans"])),
        ("no activation", with("config.json", |config| drop(config.remove("hidden_act")))),
        (
            "a leftover of quantisation",
            with("config.json", |config| {
                config.insert("quantization_config".into(), json!({ "quant_method": "awq" }));
            }),
        ),
        (
            "ids that are none",
            with("generation_config.json", |config| {
                config.extend(json!({ "eos_token_id": [362, -1], "pad_token_id": -1 }).as_object().unwrap().clone());
            }),
        ),
        ("computed frequencies", renamed(str::to_owned)),
        ("a wrapper of parallel training", renamed(|name| format!("module.{name}"))),
        ("two wrappers", renamed(|name| format!("module._orig_mod.{name}"))),
        ("a wrapper called model", renamed(|name| format!("model.{name}"))),
    ];
    let wanted = self::cases()[0].numbers.unwrap();
    let mut wrong = Vec::new();
    for (why, dir) in &cases {
        match numbers(dir.path(), None) {
            Ok(found) if near(&found, &wanted) => {}
            Ok(found) => wrong.push(format!("{why}: {found:?} for {wanted:?}")),
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
        // Heads of 16: the class's sections do not fill them.
        (with("config.json", |config| drop(config.remove("rope_scaling"))), "`mrope_section`"),
        (with("config.json", |config| drop(config.remove("tie_word_embeddings"))), "missing: lm_head.weight"),
    ];
    for (dir, expected) in cases {
        let error = numbers(dir.path(), None).unwrap_err().to_string();
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
    assert_eq!(config.vision.unwrap().cut().map(|cut| cut.merge), Some(2), "a tower as its class has it");
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
