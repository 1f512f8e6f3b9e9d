use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::sync::Mutex;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use serde_json::json;
use vr1_run::{Arm, Interrupt, RunFolder, Sweep, Swept};

use crate::run::STOPPED_EARLY;
use crate::run_args::free_folder;

/// The arguments of a sweep.
#[derive(Debug, Clone, Args)]
pub struct SweepArgs {
    /// The sweep's folder; a new one under `runs/` where it is not given. Runs in it that are whole are not done again.
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Runs side by side, each on one thread; as many as the machine has cores where it is not given.
    #[arg(long)]
    pub jobs: Option<usize>,
    /// Other seeds than the sweep's.
    #[arg(long, value_delimiter = ',')]
    pub seeds: Vec<u64>,
    /// Another value for a key of every arm's recipe.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

/// One run of a sweep.
struct Task {
    arm: String,
    seed: u64,
    folder: PathBuf,
    command: Vec<OsString>,
}

/// Does the runs of the sweep in `path` that are not done, and tells what came of all of them. `program` is the command that a
/// run of an arm is, with the recipe that the arm names; the rest are arguments that every run takes.
///
/// Each run is a process of its own; what it says goes into `output.txt` in its folder. `sweep.json`, `sweep.md` and `curves.html` are
/// written beside them.
///
/// # Errors
/// If the sweep cannot be read, a run fails, or a run does not leave what is read from it.
pub fn sweep(
    path: &Path,
    args: &SweepArgs,
    program: impl Fn(Option<&Path>) -> Result<Vec<OsString>>,
) -> Result<ExitCode> {
    let started = Instant::now();
    let mut sweep = Sweep::read(path)?;
    if !args.seeds.is_empty() {
        sweep.seeds.clone_from(&args.seeds);
    }
    let name = path.file_stem().map_or_else(|| "sweep".into(), |stem| stem.to_string_lossy());
    let out = args.out.clone().unwrap_or_else(|| free_folder(&name));
    fs::create_dir_all(&out).with_context(|| out.display().to_string())?;
    let beside = path.parent().unwrap_or(Path::new("."));
    let mut tasks = VecDeque::new();
    for &seed in &sweep.seeds {
        for (name, arm) in &sweep.arms {
            let recipe = arm.recipe.as_ref().map(|recipe| beside.join(recipe));
            let folder = out.join(sweep.folder(name, seed));
            let command = command(program(recipe.as_deref())?, arm, args, seed, &folder)?;
            let task = Task { arm: name.clone(), seed, folder, command };
            if !task.is_done()? {
                tasks.push_back(task);
            }
        }
    }
    let jobs = match args.jobs {
        Some(0) => bail!("--jobs: at least 1"),
        Some(jobs) => jobs,
        None => std::thread::available_parallelism().map_or(1, usize::from),
    };
    eprintln!("{}: {} runs, {jobs} at a time", out.display(), tasks.len());
    if !all(tasks, jobs)? {
        eprintln!("stopped; the same command with `--out {}` goes on", out.display());
        return Ok(ExitCode::from(STOPPED_EARLY));
    }
    let swept = sweep.results(&out)?;
    write(&sweep, &swept, &out)?;
    draw(&sweep, &out)?;
    print!("{}", swept.told(&sweep));
    eprintln!("{:.0} s; see {}", started.elapsed().as_secs_f64(), out.join("sweep.md").display());
    Ok(ExitCode::SUCCESS)
}

fn command(mut command: Vec<OsString>, arm: &Arm, args: &SweepArgs, seed: u64, folder: &Path) -> Result<Vec<OsString>> {
    command.extend(arm.args.iter().map(OsString::from));
    for set in arm.overrides()?.iter().chain(&args.set) {
        command.extend(["--set".into(), OsString::from(set)]);
    }
    command.extend(["--seed".into(), seed.to_string().into(), "--out".into(), folder.into(), "--quiet".into()]);
    Ok(command)
}

/// The file in a run's folder that says by what command it was done.
const DONE: &str = "done.json";

impl Task {
    fn said(&self) -> String {
        let words: Vec<_> = self.command[1..].iter().map(|word| word.to_string_lossy()).collect();
        json!({ "arguments": words }).to_string()
    }

    /// Whether its run is whole already. Another run in its folder is an error.
    fn is_done(&self) -> Result<bool> {
        let path = self.folder.join(DONE);
        let Ok(said) = fs::read_to_string(&path) else { return Ok(false) };
        ensure!(said == self.said(), "{}: another run is there; give another `--out`", path.display());
        Ok(true)
    }

    fn run(&self) -> Result<ExitStatus> {
        fs::create_dir_all(&self.folder).with_context(|| self.folder.display().to_string())?;
        let path = self.output();
        let output =
            File::options().create(true).append(true).open(&path).with_context(|| path.display().to_string())?;
        let (program, arguments) = (&self.command[0], &self.command[1..]);
        let mut child = Command::new(program);
        child.args(arguments).stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        // Side by side, one thread each does more than several each.
        child.env("OMP_NUM_THREADS", "1").env("RAYON_NUM_THREADS", "1");
        child.status().with_context(|| program.to_string_lossy().into_owned())
    }

    fn output(&self) -> PathBuf {
        self.folder.join("output.txt")
    }

    /// The error that it said last, and where the rest is.
    fn last_words(&self) -> String {
        let said = fs::read_to_string(self.output()).unwrap_or_default();
        let last = |holds: &dyn Fn(&str) -> bool| said.lines().rev().find(|line| holds(line));
        let is_error = |line: &str| line.to_lowercase().starts_with("error");
        let words = last(&is_error).or_else(|| last(&|line| !line.trim().is_empty())).unwrap_or("it said nothing");
        format!("{} at seed {}: {words} ({})", self.arm, self.seed, self.output().display())
    }
}

/// Does all runs, `jobs` at a time; whether none was stopped. A run that fails keeps none of the others from being done.
fn all(tasks: VecDeque<Task>, jobs: usize) -> Result<bool> {
    let interrupt = Interrupt::install()?;
    let (total, begun) = (tasks.len(), Instant::now());
    let (queue, failed, done) = (Mutex::new(tasks), Mutex::new(Vec::new()), Mutex::new(0));
    let next = || queue.lock().map_or(None, |mut queue| queue.pop_front());
    let fail = |reason: String| failed.lock().map(|mut failed| failed.push(reason)).unwrap_or_default();
    let worker = || {
        while !interrupt.requested()
            && let Some(task) = next()
        {
            match task.run() {
                Ok(status) if status.success() => {
                    if let Err(error) = fs::write(task.folder.join(DONE), task.said()) {
                        fail(format!("{}: {error}", task.folder.display()));
                    }
                    if let Ok(mut done) = done.lock() {
                        *done += 1;
                        let seconds = begun.elapsed().as_secs();
                        let _ = writeln!(
                            std::io::stderr(),
                            "{done} of {total}: {} at seed {}, {seconds} s",
                            task.arm,
                            task.seed
                        );
                    }
                }
                Ok(status) if status.code() == Some(i32::from(STOPPED_EARLY)) => {}
                Ok(_) => fail(task.last_words()),
                Err(error) => fail(format!("{error:#}")),
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(worker);
        }
    });
    let failed = failed.into_inner().unwrap_or_default();
    ensure!(failed.is_empty(), "{} of {total} runs failed: {}", failed.len(), failed.join("; "));
    Ok(done.into_inner().is_ok_and(|done| done == total))
}

fn write(sweep: &Sweep, swept: &Swept, out: &Path) -> Result<()> {
    let json = serde_json::to_string_pretty(&json!({ "sweep": sweep, "result": swept }))?;
    for (name, text) in [("sweep.json", json), ("sweep.md", swept.markdown(sweep))] {
        let path = out.join(name);
        fs::write(&path, text).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

/// The curves of the arms over each other, where what an arm leaves is a run, and not several.
fn draw(sweep: &Sweep, out: &Path) -> Result<()> {
    let folders = |arm: &String| sweep.seeds.iter().map(|&seed| out.join(sweep.folder(arm, seed))).collect::<Vec<_>>();
    let runs: Vec<_> = sweep.arms.keys().flat_map(folders).filter(|run| RunFolder::holds_run(run)).collect();
    if !runs.is_empty() {
        vr1_run::compare(&runs)?.write_page(&out.join("curves.html"))?;
    }
    Ok(())
}
