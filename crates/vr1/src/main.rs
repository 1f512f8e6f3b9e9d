//! The program `vr1`: training, sampling, scoring and reports from the command line.
//!
//! What a machine reads goes to stdout; everything else goes to stderr, faults as `error: …` with every cause. The exit
//! status is 0 only where the command did what it was asked, 75 where a run was stopped early and can be gone on with.

mod audit;
mod compare;
mod eval;
mod export;
mod generate;
mod histogram;
mod import;
mod logprobs;
mod make;
mod plan;
mod question;
mod replay;
mod report;
mod rescore;
mod score;
mod simulate;
mod sweeps;
mod train;

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// Pictures take and give back megabytes each; this one keeps them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Reinforcement learning for vision-language models.
#[derive(Parser)]
#[command(name = "vr1", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Train as a recipe says; its run folder gets checkpoints, metrics, a summary and a report.
    Train(train::Train),
    /// Run several recipes at several seeds, and say by how much they differ and whether what was claimed holds.
    Sweep(sweeps::Sweeps),
    /// Turn a configuration of TRL, VLM-R1, R1-V or EasyR1 into a recipe, and say what differs.
    Import(import::Import),
    /// Complete a prompt of words and images.
    Generate(generate::Generate),
    /// Say how likely a completion is, token by token.
    Logprobs(logprobs::Logprobs),
    /// Make rows with a model, as a recipe says: asked, read, judged, filtered, chosen from.
    Make(make::Make),
    /// Ask a model the questions of a published benchmark, or of a file, and say how well it answers.
    Eval(eval::Eval),
    /// Write a model as a Hugging Face directory, a LoRA adapter merged into it.
    Export(export::Export),
    /// Score recorded rollouts with a reward program, or check, format or list such programs.
    Score(score::Score),
    /// Look at data before anything is learnt from it: tokens, faults, copies, leaks.
    Audit(audit::Audit),
    /// Say what a recipe would take, before any weights are loaded: memory by phase, tokens, time, and what to change where it does not fit.
    Plan(plan::Plans),
    /// Count what servers that sample and a trainer that waits for them come to, by a clock that is only counted.
    Simulate(simulate::Simulate),
    /// Write a run's report: one self-contained HTML page; or serve it.
    Report(report::Report),
    /// Put runs beside each other: scores, what differs in their recipes, and their curves.
    Compare(compare::Compare),
    /// Do a step of a run again from what is recorded of it, and say whether it is the same bit for bit.
    Replay(replay::Replay),
    /// Score a run's recorded rollouts by another reward program, and say what it would have taught instead.
    Rescore(rescore::Rescore),
}

impl Command {
    fn run(self) -> Result<ExitCode> {
        match self {
            Self::Train(train) => return train.run(),
            Self::Sweep(sweep) => return sweep.run(),
            Self::Import(import) => import.run(),
            Self::Generate(generate) => generate.run(),
            Self::Logprobs(logprobs) => logprobs.run(),
            Self::Make(make) => make.run(),
            Self::Eval(eval) => eval.run(),
            Self::Export(export) => export.run(),
            Self::Score(score) => score.run(),
            Self::Audit(audit) => audit.run(),
            Self::Plan(plan) => plan.run(),
            Self::Simulate(simulate) => simulate.run(),
            Self::Report(report) => report.run(),
            Self::Compare(compare) => compare.run(),
            Self::Replay(replay) => replay.run(),
            Self::Rescore(rescore) => rescore.run(),
        }?;
        Ok(ExitCode::SUCCESS)
    }
}

fn main() -> ExitCode {
    vr1::spin_briefly();
    let filter = EnvFilter::builder().with_default_directive(LevelFilter::WARN.into()).from_env_lossy();
    tracing_subscriber::fmt().with_writer(io::stderr).with_env_filter(filter).init();
    match Cli::parse().command.run() {
        Ok(code) => code,
        Err(error) => {
            say(format_args!("error: {}", causes(&error)));
            ExitCode::FAILURE
        }
    }
}

/// An error and its causes on one line; a cause that the message before it repeats already is left out.
fn causes(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

/// Writes a line to stderr. Where nobody listens there, that is no reason to stop.
fn say(line: impl std::fmt::Display) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Says where weights are not finite, or refuses them.
fn check_weights(model: &dyn vr1_vlm::Backbone, refuse: bool) -> Result<()> {
    match model.parameters().check_finite() {
        Err(error) if !refuse => say(format_args!("warning: {error}; what the model says is worth nothing")),
        checked => checked?,
    }
    Ok(())
}

/// Writes to stdout at once.
fn print(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("cannot write to stdout")
}

/// Writes a value to stdout as a line of JSON.
fn print_json(value: &impl serde::Serialize) -> Result<()> {
    print(&(serde_json::to_string(value)? + "\n"))
}
