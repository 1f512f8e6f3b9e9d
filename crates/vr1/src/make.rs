use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;
use serde_json::json;
use vr1_agent::{EngineTeacher, ServerTeacher, Tally, Teacher};
use vr1_decode::LocalEngine;
use vr1_processor::{Layout, Processor};
use vr1_remote::Chat;
use vr1_train::{MakeRecipe, TeacherConfig};
use vr1_vlm::{Model, ModelConfig};

use crate::{check_weights, print, print_json, say};

#[derive(Args)]
pub(crate) struct Make {
    /// What is asked, of whom, which answers are kept, and what is written.
    #[arg(value_name = "RECIPE.yaml")]
    recipe: PathBuf,
    /// The file of rows instead of the recipe's, JSONL or parquet. Where its run was ended, it is gone on with.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Another value for a key of the recipe: `samples=10`, `model.url=http://localhost:8000/v1`.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Print what the first sample is asked to stdout, and ask nobody.
    #[arg(long)]
    dry_run: bool,
    /// Print what became of all answers to stdout as a line of JSON.
    #[arg(long)]
    json: bool,
    /// Show no progress.
    #[arg(long)]
    quiet: bool,
}

/// How often it is told how it goes.
const TOLD: Duration = Duration::from_secs(5);

impl Make {
    pub(crate) fn run(self) -> Result<()> {
        let mut recipe = MakeRecipe::load(&self.recipe, &self.set)?;
        if let Some(out) = &self.out {
            recipe.out.clone_from(out);
        }
        if self.dry_run {
            return print(&(recipe.first_prompt()? + "\n"));
        }
        let tally = match &recipe.model {
            TeacherConfig::Server(server) => {
                let at_once = if server.at_once == 0 { 64 } else { server.at_once };
                let mut teacher = ServerTeacher::new(Chat::open(server)?, at_once)?;
                self.make(&recipe, &mut teacher)?
            }
            TeacherConfig::Local { path, device, dtype, layout } => {
                self.local(&recipe, path, device, dtype, *layout)?
            }
        };
        if self.json {
            return print_json(&json!({
                "questions": tally.questions, "calls": tally.calls, "asked_now": tally.asked_now, "answers": tally.answers,
                "tokens": tally.tokens, "kept": tally.kept,
                "dropped": tally.dropped.0.iter().map(|(reason, (count, _))| (reason, count)).collect::<std::collections::BTreeMap<_, _>>(),
            }));
        }
        say(table(&tally));
        say(format_args!("{}", recipe.out.display()));
        Ok(())
    }

    fn local(&self, recipe: &MakeRecipe, path: &Path, device: &str, dtype: &str, layout: Layout) -> Result<Tally> {
        let (device, kind) = (vr1_torch::device(device)?, vr1::kind(dtype)?);
        let name = path.to_str().context("the model's path is no text")?;
        let dir = vr1_vlm::resolve(name)?;
        let processor = Processor::from_dir(&dir)?;
        let room = ModelConfig::from_dir(&dir)?.text.max_position_embeddings as usize;
        let model = Model::load(&dir, device, kind)?;
        model.fits(&processor)?;
        check_weights(&model, false)?;
        let mut engine = LocalEngine::new(Rc::new(model), processor.tokenizer().clone())?;
        let name = dir.file_name().map_or_else(|| name.to_owned(), |name| name.to_string_lossy().into_owned());
        let mut teacher = EngineTeacher::new(name, &mut engine, &processor, layout, room);
        self.make(recipe, &mut teacher)
    }

    fn make(&self, recipe: &MakeRecipe, teacher: &mut dyn Teacher) -> Result<Tally> {
        let shown = !self.quiet && std::io::stderr().is_terminal();
        let mut last = Instant::now();
        let mut told = |tally: &Tally| {
            if shown && last.elapsed() >= TOLD {
                last = Instant::now();
                let Tally { questions, calls, kept, .. } = tally;
                say(format_args!("{questions} questions done, {calls} calls answered, {kept} rows"));
            }
        };
        Ok(recipe.make(&vr1::registry()?, teacher, &mut told)?)
    }
}

/// What became of all that was asked.
fn table(tally: &Tally) -> String {
    let Tally { questions, calls, asked_now, answers, tokens, dropped, kept } = tally;
    let mut lines = vec![
        format!("{questions:>9}  questions asked"),
        format!("{calls:>9}  calls answered, {asked_now} of them now; {tokens} tokens"),
        format!("{answers:>9}  answers"),
    ];
    for (reason, (count, more)) in &dropped.0 {
        let more = more.as_ref().map_or_else(String::new, |more| format!(", the first: {}", brief(more)));
        lines.push(format!("{count:>9}  dropped: {reason}{more}"));
    }
    lines.push(format!("{kept:>9}  rows kept"));
    lines.join("\n")
}

/// The beginning of a text, on one line.
fn brief(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(160) {
        Some((end, _)) => format!("{} …", &line[..end]),
        None => line,
    }
}
