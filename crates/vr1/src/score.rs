use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use serde_json::json;
use vr1_reward::{Outcome, Program, Record, Registry, builtin_programs, format_program};

use crate::histogram::Histogram;
use crate::{print, print_json, say};

/// Rollouts are read and scored this many groups at a time.
const GROUPS_AT_ONCE: usize = 1024;

#[derive(Args)]
pub(crate) struct Score {
    /// A reward program: a YAML file, or the name of a built-in one.
    #[arg(long, value_name = "FILE.yaml|BUILTIN", required_unless_present = "list")]
    reward: Option<String>,
    /// Recorded rollouts, a JSON object a line: `completion`, and `prompt`, `solution`, `tokens`, `finished`, fields. Of a run also as they
    /// are, behind zstd.
    #[arg(long, value_name = "ROLLOUTS.jsonl", required_unless_present_any = ["check", "fmt", "list"])]
    input: Option<PathBuf>,
    /// How many rollouts in a row answer the same prompt, for rewards that compare them.
    #[arg(long, value_name = "G", default_value_t = 1)]
    group_size: usize,
    /// Print a line of JSON for each rollout to stdout: `{"total":…,"terms":{…}}`, or `{"error":"…"}`.
    #[arg(long)]
    json: bool,
    /// Run the program's own tests and look for completions that earn what they should not.
    #[arg(long)]
    check: bool,
    /// Print the program to stdout in the one way it is written; comments are not kept.
    #[arg(long)]
    fmt: bool,
    /// Print the built-in programs and the verifiers to stdout.
    #[arg(long)]
    list: bool,
}

impl Score {
    pub(crate) fn run(self) -> Result<()> {
        let registry = vr1::registry()?;
        if self.list {
            return if self.json { list_json(&registry) } else { list(&registry) };
        }
        // Clap asks for it.
        let Some(reward) = &self.reward else { bail!("--reward is missing") };
        if self.fmt {
            let (file, yaml) = source(reward)?;
            return print(&format_program(&file, &yaml)?);
        }
        let program = program(reward, &registry)?;
        if self.check {
            let report = program.check();
            say(&report);
            ensure!(report.passed(), "{reward}: the program fails its own tests");
        }
        self.input.as_ref().map_or(Ok(()), |input| self.score(&program, input))
    }

    fn score(&self, program: &Program, path: &Path) -> Result<()> {
        ensure!(self.group_size > 0, "--group-size is 0, and must be 1 or more");
        let mut out = BufWriter::new(io::stdout().lock());
        let mut tally = Tally::default();
        let mut lines = vr1_run::lines(path)?.zip(1_usize..);
        loop {
            let (mut numbers, mut records) = (Vec::new(), Vec::new());
            for (line, number) in lines.by_ref() {
                let line = line.with_context(|| path.display().to_string())?;
                if line.trim_ascii().is_empty() {
                    continue;
                }
                numbers.push(number);
                records.push(Record::parse_bytes(&line));
                if records.len() == GROUPS_AT_ONCE * self.group_size {
                    break;
                }
            }
            if records.is_empty() {
                break;
            }
            for (number, outcome) in numbers.into_iter().zip(program.score_records(&records, self.group_size)) {
                let outcome = outcome.map_err(|error| format!("{}:{number}: {error}", path.display()));
                if self.json {
                    let line = match &outcome {
                        Ok(outcome) => serde_json::to_string(outcome)?,
                        Err(error) => json!({ "error": error }).to_string(),
                    };
                    writeln!(out, "{line}").context("cannot write to stdout")?;
                }
                tally.add(number, outcome);
            }
        }
        out.flush().context("cannot write to stdout")?;
        if self.json { tally.finish() } else { tally.summary().finish() }
    }
}

/// Bad rows are told one by one up to this many, and by their number alone up to so many more.
const TOLD: usize = 10;
const NUMBERED: usize = 100;

/// What came of all rollouts together.
#[derive(Default)]
struct Tally {
    scored: usize,
    /// The lines that could not be scored.
    failed: Vec<usize>,
    first: Option<String>,
    /// Each term, the total last.
    terms: Vec<Histogram>,
}

impl Tally {
    fn add(&mut self, line: usize, outcome: std::result::Result<Outcome, String>) {
        match outcome {
            Ok(Outcome { total, terms, .. }) => {
                self.scored += 1;
                let values = terms.into_iter().chain([("total".to_owned(), total)]);
                for (i, (name, value)) in values.enumerate() {
                    if self.terms.len() == i {
                        self.terms.push(Histogram::new(name));
                    }
                    self.terms[i].add(value);
                }
            }
            Err(error) => {
                if self.failed.len() < TOLD {
                    say(&error);
                }
                self.failed.push(line);
                self.first.get_or_insert(error);
            }
        }
    }

    /// Says how each term is spread.
    fn summary(self) -> Self {
        self.terms.iter().for_each(say);
        self
    }

    fn finish(self) -> Result<()> {
        let rollouts = self.scored + self.failed.len();
        let Some(first) = self.first else {
            say(format_args!("{rollouts} rollouts scored"));
            return Ok(());
        };
        let numbers: Vec<String> = self.failed.iter().take(NUMBERED).map(usize::to_string).collect();
        let more = self.failed.len().saturating_sub(NUMBERED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let (failed, numbers) = (self.failed.len(), numbers.join(", "));
        bail!("{failed} of {rollouts} rollouts could not be scored, on line {numbers}{more}; the first: {first}")
    }
}

/// A program's name in errors, and its text: a file's, else a built-in program's.
fn source(reward: &str) -> Result<(String, String)> {
    let path = Path::new(reward);
    let builtin = builtin_programs().find(|(name, _)| *name == reward);
    match builtin {
        Some((name, yaml)) if !path.is_file() => Ok((format!("{name}.yaml"), yaml.to_owned())),
        _ => {
            let yaml = std::fs::read_to_string(path).with_context(|| reward.to_owned())?;
            Ok((reward.to_owned(), yaml))
        }
    }
}

pub(crate) fn program(reward: &str, registry: &Registry) -> Result<Program> {
    // A word that is no file is meant as a name, and the error tells the nearest.
    if !Path::new(reward).exists() && !reward.contains(['/', '.']) {
        return Ok(Program::builtin(reward, registry)?);
    }
    let (file, yaml) = source(reward)?;
    Ok(Program::parse_file(&file, &yaml, registry)?)
}

fn list(registry: &Registry) -> Result<()> {
    let programs: String = builtin_programs().map(|(name, _)| format!("  {name}\n")).collect();
    let verifiers: String = registry.iter().map(|(name, signature)| format!("  {name}: {}\n", signature.doc)).collect();
    print(&format!("programs:\n{programs}verifiers:\n{verifiers}"))
}

fn list_json(registry: &Registry) -> Result<()> {
    let programs: Vec<&str> = builtin_programs().map(|(name, _)| name).collect();
    let verifiers: serde_json::Map<_, _> =
        registry.iter().map(|(name, signature)| (name.to_owned(), signature.doc.into())).collect();
    print_json(&json!({ "programs": programs, "verifiers": verifiers }))
}
