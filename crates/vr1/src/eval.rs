use std::io::IsTerminal;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use tch::Device;
use vr1_decode::LocalEngine;
use vr1_eval::{Answering, Ask, Benchmark, BoxUnits, Estimate, EvalConfig, Extraction, Summary, Turns, evaluate};
use vr1_nn::Adapter;
use vr1_processor::{FrameSampling, Layout, Processor};
use vr1_remote::{EngineConfig, Purpose, ServerEngine};
use vr1_reward::Program;
use vr1_rollout::{Engine, GenerationConfig, Sampling, Search};
use vr1_vlm::{Backbone, Model, ModelConfig};

use crate::{check_weights, print_json, say};

#[derive(Args)]
pub(crate) struct Eval {
    /// A model directory or a Hub id.
    #[arg(long, value_name = "DIR|HUB_ID", required_unless_present = "list")]
    model: Option<String>,
    /// A LoRA adapter in PEFT's layout.
    #[arg(long, value_name = "DIR")]
    adapter: Option<PathBuf>,
    /// The benchmark; `--list` names them.
    #[arg(long, value_name = "NAME", required_unless_present = "list")]
    benchmark: Option<String>,
    /// Its files: the folder that it is published as, or one file.
    #[arg(long, value_name = "PATH", required_unless_present = "list")]
    data: Option<PathBuf>,
    /// The folder that paths of pictures are relative to, where it is not the benchmark's own.
    #[arg(long, value_name = "DIR")]
    images: Option<PathBuf>,
    /// How answers are found: `robust` (the last `<answer>`, an answer phrase or a box, what the text settles on), `published`
    /// (the benchmark's own rule), or a reward program, a built-in one such as `vlm_r1` or a YAML file.
    #[arg(long, value_name = "RULE", default_value = "robust")]
    extraction: String,
    /// Words instead of the benchmark's: `{question}` stands for the question with its options.
    #[arg(long, value_name = "TEXT")]
    prompt: Option<String>,
    /// Take the words as they are, without the chat template.
    #[arg(long)]
    raw: bool,
    /// Ask in the turns of a question's stages, where it has some, as LlamaV-o1 does.
    #[arg(long)]
    staged: bool,
    /// What boxes are written in; by default `thousandths` of a `qwen2_vl` or `qwen3_vl` and otherwise pixels as `seen`.
    #[arg(long, value_enum)]
    boxes: Option<Boxes>,
    /// Ask only so many questions, drawn by a fixed seed; 0 asks all.
    #[arg(long, value_name = "N", default_value_t = 0)]
    samples: usize,
    /// Let the model behind `VR1_JUDGE_URL` and `VR1_JUDGE_MODEL` judge, where the benchmark asks a language model.
    #[arg(long)]
    judge: bool,
    /// The longest answer, in tokens; by default the benchmark's own.
    #[arg(long, value_name = "N")]
    max_new_tokens: Option<usize>,
    /// Divides the logits; 0 picks the most likely token.
    #[arg(long, value_name = "T", default_value_t = 0.0)]
    temperature: f64,
    /// Search with this many beams.
    #[arg(long, value_name = "K", default_value_t = 1)]
    num_beams: usize,
    /// Take this many frames of a video in all.
    #[arg(long, value_name = "N")]
    num_frames: Option<usize>,
    /// Of the random numbers.
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
    /// How many questions are answered side by side.
    #[arg(long, value_name = "N", default_value_t = 64)]
    batch: usize,
    /// A folder for the answers, a line each, and the summary; an evaluation that was interrupted there goes on.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// `cpu`, `cuda` or `cuda:N`.
    #[arg(long, default_value = "cpu")]
    device: String,
    /// The kind of number that parameters are: `f32`, `bf16` or `f16`.
    #[arg(long, default_value = "f32")]
    dtype: String,
    /// Ask a model that servers hold, as a YAML file describes them; `--model` is then what makes prompts and spells ids.
    #[arg(long, value_name = "FILE", conflicts_with = "adapter")]
    engine: Option<PathBuf>,
    /// Print the summary to stdout as a line of JSON.
    #[arg(long)]
    json: bool,
    /// Name the benchmarks.
    #[arg(long)]
    list: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Boxes {
    /// Pixels of the picture as the model saw it, resized.
    Seen,
    /// Pixels of the picture as it is.
    Original,
    /// Thousandths of its width and height.
    Thousandths,
}

impl Eval {
    pub(crate) fn run(self) -> Result<()> {
        if self.list {
            return self.list();
        }
        // Clap asks for all three.
        let (Some(model), Some(benchmark), Some(data)) = (&self.model, &self.benchmark, &self.data) else {
            anyhow::bail!("--model, --benchmark and --data are missing")
        };
        ensure!(self.num_beams > 0, "--num-beams is 0, and must be 1 or more");
        let benchmark = Benchmark::named(benchmark)?;
        let (extraction, reward) = self.rule()?;
        let judge = if self.judge { Some(vr1::judge()?) } else { None };
        // The cheap parts first, so that a fault shows before weights are read.
        let questions = benchmark.open(data, self.images.as_deref())?;
        let dir = vr1_vlm::resolve(model)?;
        let mut config = self.config(benchmark, extraction)?;
        config.sampling = GenerationConfig::from_dir(&dir)?.over(config.sampling);
        config.sampling.validate()?;
        let described = ModelConfig::from_dir(&dir)?;
        config.boxes = self.boxes.map_or_else(|| BoxUnits::of_checkpoint(&dir), |boxes| Ok(boxes.into()))?;
        let mut processor = Processor::from_dir(&dir)?;
        if let Some(count) = self.num_frames {
            processor = processor.with_frame_sampling(FrameSampling::Count(count));
        }
        let room =
            (described.text.max_position_embeddings as usize).saturating_sub(config.sampling.max_completion_tokens);
        ensure!(room > 0, "--max-new-tokens: the model takes {} in all", described.text.max_position_embeddings);
        config.max_prompt_tokens = Some(room);
        let rows = described.text.vocab_size;
        let (mut engine, model) = self.engine(&dir, &processor, rows)?;
        let name = model + &self.adapter.as_ref().map_or_else(String::new, |a| format!(" + {}", a.display()));
        let mut who = Answering {
            engine: engine.as_mut(),
            processor: &processor,
            model: &name,
            judge: judge.as_ref().map(|judge| judge as &dyn Ask),
            reward: reward.as_ref(),
        };
        let shown = std::io::stderr().is_terminal();
        let mut told = |done: usize, all: usize| {
            if shown {
                say(format_args!("{done} of {all} answered"));
            }
            ControlFlow::Continue(())
        };
        let summary = evaluate(&questions, &mut who, &config, self.out.as_deref(), &mut told)?
            .context("an evaluation that nothing stops comes to its end")?;
        if self.json { print_json(&summary) } else { tell(&summary) }
    }

    fn list(&self) -> Result<()> {
        if self.json {
            let all = Benchmark::all().map(|benchmark| (benchmark.name().to_owned(), benchmark.about().into()));
            return print_json(&all.collect::<serde_json::Map<_, _>>());
        }
        let lines = Benchmark::all().map(|benchmark| format!("{}: {}\n", benchmark.name(), benchmark.about()));
        crate::print(&lines.collect::<String>())
    }

    fn rule(&self) -> Result<(Extraction, Option<Program>)> {
        Ok(match self.extraction.as_str() {
            "robust" => (Extraction::Robust, None),
            "published" => (Extraction::Published, None),
            reward => {
                let context = || "--extraction is neither `robust` nor `published` nor a reward program";
                (Extraction::Robust, Some(crate::score::program(reward, &vr1::registry()?).with_context(context)?))
            }
        })
    }

    fn config(&self, benchmark: Benchmark, extraction: Extraction) -> Result<EvalConfig> {
        let question = |prompt: &String| prompt.contains("{question}");
        ensure!(self.prompt.as_ref().is_none_or(question), "--prompt: {{question}} does not stand in it");
        let max_completion_tokens = self.max_new_tokens.unwrap_or_else(|| benchmark.max_completion_tokens());
        let sampling =
            Sampling { temperature: self.temperature, max_completion_tokens, seed: self.seed, ..Sampling::default() };
        Ok(EvalConfig {
            extraction,
            prompt: self.prompt.clone(),
            layout: if self.raw { Layout::Raw } else { Layout::Chat },
            turns: if self.staged { Turns::Staged } else { Turns::One },
            samples: self.samples,
            sampling,
            search: match self.num_beams {
                1 => Search::Draw,
                beams => Search::Beam { beams, length_penalty: 1.0 },
            },
            batch: self.batch,
            ..EvalConfig::default()
        })
    }

    /// What answers, and its name.
    fn engine(&self, dir: &Path, processor: &Processor, rows: i64) -> Result<(Box<dyn Engine>, String)> {
        let tokenizer = processor.tokenizer().clone();
        let Some(file) = &self.engine else {
            return Ok((Box::new(LocalEngine::new(self.load(dir, processor)?, tokenizer)?), dir.display().to_string()));
        };
        let servers: EngineConfig = vr1_run::load(file, &[])?;
        let name = format!("{} at {}", servers.model, servers.urls.join(", "));
        Ok((Box::new(ServerEngine::open(servers, tokenizer, rows, Purpose::Reading)?), name))
    }

    fn load(&self, dir: &Path, processor: &Processor) -> Result<Rc<dyn Backbone>> {
        let device: Device = vr1_torch::device(&self.device)?;
        let mut model = Model::load(dir, device, vr1::kind(&self.dtype)?)?;
        model.fits(processor)?;
        if let Some(adapter) = &self.adapter {
            model = model.with_adapter(Adapter::open(adapter)?)?;
        }
        check_weights(&model, false)?;
        Ok(Rc::new(model))
    }
}

impl From<Boxes> for BoxUnits {
    fn from(boxes: Boxes) -> Self {
        match boxes {
            Boxes::Seen => Self::Seen,
            Boxes::Original => Self::Original,
            Boxes::Thousandths => Self::Thousandths,
        }
    }
}

/// Says the summary to the person who waits.
fn tell(summary: &Summary) -> Result<()> {
    let line = |name: &str, estimate: &Estimate| {
        format!(
            "  {name}: {:.1} % [{:.1}, {:.1}] of {}",
            100.0 * estimate.value,
            100.0 * estimate.low,
            100.0 * estimate.high,
            estimate.count
        )
    };
    say(format_args!("{}: {} of {} questions", summary.benchmark, summary.count, summary.of));
    summary.metrics.iter().for_each(|(name, estimate)| say(line(name, estimate)));
    for (by, parts) in &summary.groups {
        say(format_args!("by {by}:"));
        for (name, metrics) in parts {
            if let Some(estimate) = metrics.get(&summary.headline).or_else(|| metrics.get("accuracy")) {
                say(line(name, estimate));
            }
        }
    }
    let length = summary.completion_length;
    say(format_args!("{} unread, {} cut off; {length:.0} tokens an answer", summary.unread, summary.truncated));
    if let Some(why) = &summary.why_missing {
        say(format_args!("{} have no verdict and count for nothing; {why}", summary.missing));
    }
    Ok(())
}
