//! The embedded model, from nothing.
//!
//! A Qwen2-VL of 1.5 million parameters (Wang et al., 2024, <https://arxiv.org/abs/2409.12191>) and its tokenizer are made
//! from random weights by imitation of texts about drawn scenes. The result is a *base*: it sees and knows the formats,
//! and mostly guesses when it is asked. The other examples start from it.
//!
//! ```text
//! cargo run --release --example pretrain_tiny            # half an hour on 2 cores
//! cargo run --release --example pretrain_tiny -- --recipe examples/pretrain_tiny_more.yaml --to examples/assets/tiny_more
//! ```

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Parser;
use serde_json::json;
use vr1::RunArgs;
use vr1_processor::{ChatTemplate, ImageProcessor, Processor, Tokenizer};
use vr1_run::{before_after_table, summary_rows};
use vr1_train::{ObjectiveConfig, Recipe, RunOptions, Trainer, words};
use vr1_vlm::{Backbone, Model, ModelConfig};

const RECIPE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/pretrain_tiny.yaml");
const VOCABULARY: usize = 900;
/// Frequencies go down from 1 to 0.0015 radians a position, and M-RoPE deals them out to time, height and width in
/// contiguous sections. Width gets nearly all: its first tell columns apart, its last hardly turn, and so let attention
/// find a word or a thing by what it is, wherever it stands.
const ROPE_THETA: f64 = 1000.0;
const MROPE_SECTION: [i64; 3] = [1, 2, 13];
/// 112 x 112 pixels are 14 x 14 patches of 8, and a grid of 7 x 7 tokens: fine enough that an object fills one or two.
const PATCH_SIZE: usize = 8;
/// What is subtracted from every pixel: the brightness behind the objects, so that where nothing is there is no signal.
const WALL: f64 = 0.9;
const DOCUMENTS_FOR_THE_TOKENIZER: usize = 20_000;

#[derive(Parser)]
struct Args {
    #[command(flatten)]
    run: RunArgs,
    /// What is imitated.
    #[arg(long, default_value = RECIPE)]
    recipe: PathBuf,
    /// Where the checkpoint is put when it is done.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/assets/tiny"))]
    to: PathBuf,
}

fn main() -> Result<()> {
    vr1::spin_briefly();
    let args = Args::parse();
    let recipe = args.run.recipe(&args.recipe)?;
    let options = args.run.options("pretrain_tiny")?;
    let (model, processor) = match recipe.model.as_str() {
        "random" => from_nothing(&recipe, &options)?,
        known => {
            let dir = Path::new(known);
            (Model::load(dir, options.device, options.kind)?, Processor::from_dir(dir)?)
        }
    };
    eprintln!("{} parameters, {} ids", model.parameters().count(), processor.tokenizer().vocab_size());

    let checkpoint = options.out.join(format!("checkpoints/step-{}", recipe.all_steps()));
    let summary = Trainer::with_model(recipe, model, processor, options)?.run()?;
    print!("{}", before_after_table("pretrain_tiny", &summary_rows(&summary)));
    let trained = Model::load(&checkpoint, tch::Device::Cpu, tch::Kind::Float)?;
    let processor = Processor::from_dir(&checkpoint)?;
    std::fs::create_dir_all(&args.to).with_context(|| args.to.display().to_string())?;
    trained.save(&args.to, tch::Kind::BFloat16)?;
    Ok(processor.save(&args.to)?)
}

fn from_nothing(recipe: &Recipe, options: &RunOptions) -> Result<(Model, Processor)> {
    let processor = processor(recipe)?;
    let config = ModelConfig::from_json(config(processor.tokenizer()), Path::new("config.json"))?;
    let model = Model::random(config, recipe.seed, options.device, options.kind)?;
    balance_the_residual_stream(&model);
    Ok((model, processor))
}

/// Words begin loud and layers quiet: embeddings five times their usual size, and what a layer adds to the residual
/// stream `1/√(2·layers)` of it, as in GPT-2. Otherwise a word is drowned in noise before anything is learnt, and copying
/// a name from the question comes several times later.
fn balance_the_residual_stream(model: &Model) {
    let quiet = (2.0 * model.config().text.num_hidden_layers as f64).sqrt().recip();
    let adds = [".o_proj.weight", ".down_proj.weight", ".attn.proj.weight", ".mlp.fc2.weight"];
    for (name, tensor) in model.parameters().iter() {
        let scale = match name {
            _ if name.ends_with("embed_tokens.weight") => 5.0,
            _ if adds.iter().any(|end| name.ends_with(end)) => quiet,
            _ => continue,
        };
        let _ = tch::no_grad(|| tensor.shallow_clone().g_mul_scalar_(scale));
    }
}

/// A tokenizer trained on the recipe's own documents, Qwen2-VL's chat template, and images of 48 × 48 to 112 × 112 pixels.
fn processor(recipe: &Recipe) -> Result<Processor> {
    let Some(ObjectiveConfig::Sft(sft)) = &recipe.objective else {
        bail!("pretraining is imitation: `objective.kind: sft`")
    };
    let texts = words(sft, recipe.seed, DOCUMENTS_FOR_THE_TOKENIZER)?;
    let tokenizer = Tokenizer::train(texts.into_iter(), VOCABULARY)?;
    let (min_pixels, max_pixels) = (48 * 48, 112 * 112);
    let patch_size = PATCH_SIZE;
    let images =
        ImageProcessor { min_pixels, max_pixels, patch_size, image_mean: [WALL; 3], ..ImageProcessor::default() };
    let template = ChatTemplate::new(ChatTemplate::QWEN2_VL, &serde_json::Map::new(), "pretrain_tiny")?;
    Ok(Processor::new(tokenizer, Some(template), Some(images), Path::new("pretrain_tiny"))?)
}

/// `config.json` with the keys of published Qwen2-VL checkpoints.
fn config(tokenizer: &Tokenizer) -> serde_json::Map<String, serde_json::Value> {
    let id = |token: &str| tokenizer.id(token);
    let json = json!({
        "architectures": ["Qwen2VLForConditionalGeneration"], "model_type": "qwen2_vl", "torch_dtype": "bfloat16",
        "vocab_size": tokenizer.vocab_size(), "hidden_size": 128, "intermediate_size": 384, "hidden_act": "silu",
        "num_hidden_layers": 5, "num_attention_heads": 4, "num_key_value_heads": 2,
        "max_position_embeddings": 1024, "rms_norm_eps": 1e-6, "tie_word_embeddings": true, "use_cache": true,
        "attention_dropout": 0.0, "initializer_range": 0.02, "rope_theta": ROPE_THETA,
        "rope_scaling": {"type": "mrope", "mrope_section": MROPE_SECTION},
        "bos_token_id": id("<|endoftext|>"), "eos_token_id": id("<|im_end|>"),
        "image_token_id": id("<|image_pad|>"), "video_token_id": id("<|video_pad|>"),
        "vision_start_token_id": id("<|vision_start|>"), "vision_end_token_id": id("<|vision_end|>"),
        "vision_token_id": id("<|vision_pad|>"),
        "vision_config": {
            "model_type": "qwen2_vl", "depth": 2, "embed_dim": 96, "hidden_size": 128, "mlp_ratio": 4, "num_heads": 3,
            "in_channels": 3, "in_chans": 3, "patch_size": PATCH_SIZE, "spatial_merge_size": 2,
            "spatial_patch_size": PATCH_SIZE,
            "temporal_patch_size": 2, "hidden_act": "quick_gelu"
        }
    });
    match json {
        serde_json::Value::Object(map) => map,
        _ => unreachable!("the macro was given an object"),
    }
}
