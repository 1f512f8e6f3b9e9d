//! A run's folder. Whatever stands in it under its final name is whole: a file or checkpoint is written aside and
//! renamed, so that a kill at any moment leaves the one before it or the new one, never half of either.

use std::{
    error::Error,
    fs::{self, File, OpenOptions, TryLockError},
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
};

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    checksums::{seal, verify},
    disk::{encode, entries, make, remove, rename, steps_in, sync, write_aside},
    metrics::{StepMetrics, Summary, read_metrics},
    rollouts::steps_of_rows,
    run_error::RunError,
};

/// A run's folder, held for writing: `config.yaml`, `metrics.jsonl`, `summary.json`, `rollouts/step-N.jsonl.zst` and
/// `checkpoints/step-N/`. One process at a time holds it.
///
/// # Example
/// ```
/// use vr1_run::{RunFolder, StepMetrics};
/// # let folder = tempfile::tempdir().unwrap();
/// # let dir = folder.path().join("run");
/// let mut run = RunFolder::create(&dir)?;
/// run.write_config(&std::collections::BTreeMap::from([("steps", 2)]))?;
/// run.append_metrics(&StepMetrics::new(1).with("reward", 0.25))?;
/// run.checkpoint(1, |aside| std::fs::write(aside.join("model.safetensors"), [0; 8]))?;
/// assert_eq!(run.latest_checkpoint()?, Some((1, dir.join("checkpoints/step-1"))));
/// # Ok::<(), vr1_run::RunError>(())
/// ```
#[derive(Debug)]
pub struct RunFolder {
    pub(crate) dir: PathBuf,
    metrics: File,
    /// Locked for as long as the folder is held; the system unlocks it whatever way the process ends.
    lock: File,
}

/// The step and folder of a checkpoint, and what is wrong with each later one.
pub type WholeCheckpoint = (Option<(u64, PathBuf)>, Vec<RunError>);

impl RunFolder {
    /// Makes a folder for a new run.
    ///
    /// # Errors
    /// The folder holds a run already, is a file, lies under one, cannot be written, or is held by another process.
    pub fn create(dir: &Path) -> Result<Self, RunError> {
        if let Some(file) = dir.ancestors().find(|path| path.is_file()) {
            return Err(RunError::NotAFolder(file.to_owned()));
        }
        if dir.join(CONFIG).exists() || dir.join(CHECKPOINTS).exists() {
            return Err(RunError::Occupied(dir.to_owned()));
        }
        fs::create_dir_all(dir).map_err(RunError::io("create the folder", dir))?;
        let run = Self::hold(dir)?;
        run.metrics.set_len(0).map_err(RunError::io("write", dir.join(METRICS)))?;
        Ok(run)
    }

    /// Whether `dir` is the folder of a run that was begun.
    #[must_use]
    pub fn holds_run(dir: &Path) -> bool {
        dir.join(CONFIG).is_file()
    }

    /// Takes up a run again. What a kill left aside is cleared away first.
    ///
    /// # Errors
    /// The folder holds no run, cannot be written, or is held by another process.
    pub fn open(dir: &Path) -> Result<Self, RunError> {
        if dir.is_file() {
            return Err(RunError::NotAFolder(dir.to_owned()));
        }
        if !Self::holds_run(dir) {
            return Err(RunError::NoRun(dir.to_owned()));
        }
        let run = Self::hold(dir)?;
        run.recover()?;
        Ok(run)
    }

    fn hold(dir: &Path) -> Result<Self, RunError> {
        let open = |path: PathBuf| {
            let file = OpenOptions::new().create(true).append(true).open(&path);
            file.map_err(RunError::io("write", path))
        };
        let lock = open(dir.join(LOCK))?;
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) => return Err(RunError::InUse(dir.to_owned())),
            // A file system without locks is no reason not to train.
            Ok(()) | Err(TryLockError::Error(_)) => {}
        }
        Ok(Self { metrics: open(dir.join(METRICS))?, dir: dir.to_owned(), lock })
    }

    /// Checks that the folder that is held is still the one of that name: what is written into one that was removed, or into another that
    /// has taken its place, is lost or worse.
    pub(crate) fn check_there(&self) -> Result<(), RunError> {
        let (path, lock) = (self.dir.join(LOCK), &self.lock);
        let same = |found: fs::Metadata| Ok(identity(&found) == identity(&lock.metadata()?));
        match fs::metadata(&path).and_then(same) {
            Ok(true) => Ok(()),
            Ok(false) => Err(RunError::Gone(self.dir.clone())),
            Err(error) if error.kind() == ErrorKind::NotFound => Err(RunError::Gone(self.dir.clone())),
            Err(error) => Err(RunError::io("read", path)(error)),
        }
    }

    /// The reason why something was not written: that the folder is gone, where it is.
    pub(crate) fn or_gone(&self, error: RunError) -> RunError {
        self.check_there().err().unwrap_or(error)
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// Where its `config.yaml` stands, or will once it is [written](Self::write_config).
    #[must_use]
    pub fn config_path(&self) -> PathBuf {
        self.dir.join(CONFIG)
    }

    /// Writes `config.yaml`: the recipe as it was understood, every default filled in.
    ///
    /// # Errors
    /// The value has no YAML form, or the file cannot be written.
    pub fn write_config(&self, config: &impl Serialize) -> Result<(), RunError> {
        let path = self.config_path();
        let text = serde_yaml::to_string(config).map_err(encode(&path))?;
        write_aside(&path, text.as_bytes())
    }

    /// Adds a line to `metrics.jsonl`, in one write.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn append_metrics(&mut self, metrics: &StepMetrics) -> Result<(), RunError> {
        self.check_there()?;
        let path = self.dir.join(METRICS);
        let mut line = serde_json::to_vec(metrics).map_err(encode(&path))?;
        line.push(b'\n');
        self.metrics.write_all(&line).map_err(RunError::io("write", path))
    }

    /// Writes `summary.json`.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_summary(&self, summary: &Summary) -> Result<(), RunError> {
        self.write_json(SUMMARY, summary)
    }

    /// What `summary.json` says, where the run has come to one.
    ///
    /// # Errors
    /// The file cannot be read, or is no summary.
    pub fn summary(&self) -> Result<Option<Summary>, RunError> {
        read_json(&self.dir.join(SUMMARY))
    }

    /// Writes `begun.json`: what is known of a run before its first step.
    ///
    /// # Errors
    /// The value has no JSON form, or the file cannot be written.
    pub fn write_beginning(&self, beginning: &impl Serialize) -> Result<(), RunError> {
        self.write_json(BEGUN, beginning)
    }

    /// What `begun.json` says, where it was written.
    ///
    /// # Errors
    /// The file cannot be read, or does not say what is asked.
    pub fn beginning<T: DeserializeOwned>(&self) -> Result<Option<T>, RunError> {
        Self::beginning_of(&self.dir)
    }

    /// The same of a run that is not held.
    ///
    /// # Errors
    /// As [`beginning`](Self::beginning).
    pub fn beginning_of<T: DeserializeOwned>(dir: &Path) -> Result<Option<T>, RunError> {
        read_json(&dir.join(BEGUN))
    }

    fn write_json(&self, name: &str, value: &impl Serialize) -> Result<(), RunError> {
        self.check_there()?;
        let path = self.dir.join(name);
        let text = serde_json::to_vec_pretty(value).map_err(encode(&path))?;
        write_aside(&path, &text).map_err(|error| self.or_gone(error))
    }

    /// Makes `checkpoints/step-N`: `write` fills a folder aside, which gets the [`checksums`](verify) of all its files, is
    /// brought to disk and then takes its name. A checkpoint of the same step is replaced; should `write` fail, everything is
    /// as it was.
    ///
    /// # Errors
    /// What `write` said, or the folder cannot be made or renamed.
    pub fn checkpoint<E: Into<Box<dyn Error + Send + Sync>>>(
        &self,
        step: u64,
        write: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<PathBuf, RunError> {
        self.check_there()?;
        self.write_checkpoint(step, write).map_err(|error| self.or_gone(error))
    }

    fn write_checkpoint<E: Into<Box<dyn Error + Send + Sync>>>(
        &self,
        step: u64,
        write: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<PathBuf, RunError> {
        let all = self.dir.join(CHECKPOINTS);
        let path = all.join(format!("step-{step}"));
        let (aside, old) = (all.join(format!(".step-{step}.tmp")), all.join(format!(".step-{step}.old")));
        make(&all)?;
        remove(&aside)?;
        make(&aside)?;
        if let Err(error) = write(&aside) {
            remove(&aside)?;
            return Err(RunError::Checkpoint { path, source: error.into() });
        }
        seal(&aside)?;
        sync(&aside).map_err(RunError::io("bring to disk", &aside))?;
        if path.exists() {
            remove(&old)?;
            rename(&path, &old)?;
        }
        rename(&aside, &path)?;
        remove(&old)?;
        Ok(path)
    }

    /// The checkpoints by step, the latest last.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn checkpoints(&self) -> Result<Vec<(u64, PathBuf)>, RunError> {
        steps_in(&self.dir.join(CHECKPOINTS), "")
    }

    /// The latest checkpoint.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn latest_checkpoint(&self) -> Result<Option<(u64, PathBuf)>, RunError> {
        Ok(self.checkpoints()?.pop())
    }

    /// The checkpoint to resume from: the latest that is whole, or that of the step that is asked for. Beside it, what is
    /// wrong with each later one.
    ///
    /// # Errors
    /// The folder cannot be read, there are checkpoints and none is whole, or the one asked for is absent or not whole.
    pub fn whole_checkpoint(&self, step: Option<u64>) -> Result<WholeCheckpoint, RunError> {
        let mut checkpoints = self.checkpoints()?;
        if let Some(step) = step {
            let path = Self::checkpoint_of(&self.dir, step);
            checkpoints.retain(|(found, _)| *found == step);
            if checkpoints.is_empty() {
                return Err(RunError::Damaged { path, reason: "there is no such checkpoint".to_owned() });
            }
        }
        let mut damaged = Vec::new();
        while let Some((step, path)) = checkpoints.pop() {
            match verify(&path) {
                Ok(()) => return Ok((Some((step, path)), damaged)),
                Err(error @ RunError::Damaged { .. }) => damaged.push(error),
                Err(error) => return Err(error),
            }
        }
        if damaged.is_empty() { Ok((None, damaged)) } else { Err(damaged.swap_remove(0)) }
    }

    /// Where the checkpoint of `step` of the run `dir` stands, if there is one.
    #[must_use]
    pub fn checkpoint_of(dir: &Path, step: u64) -> PathBuf {
        dir.join(CHECKPOINTS).join(format!("step-{step}"))
    }

    /// The latest checkpoint of the run `dir`, which is not held, from which step `step` is still to come and which is whole.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn checkpoint_before(dir: &Path, step: u64) -> Result<Option<(u64, PathBuf)>, RunError> {
        let mut checkpoints = steps_in(&dir.join(CHECKPOINTS), "")?;
        checkpoints.retain(|(found, path)| *found < step && verify(path).is_ok());
        Ok(checkpoints.pop())
    }

    /// Removes all checkpoints but the latest `keep_last` and that of step `keep_best`; the last one is never removed,
    /// and a best step that has no checkpoint keeps nothing.
    ///
    /// # Errors
    /// The folder cannot be read, or a checkpoint cannot be removed; those still there are whole.
    pub fn prune_checkpoints(&self, keep_last: usize, keep_best: Option<u64>) -> Result<(), RunError> {
        let checkpoints = self.checkpoints()?;
        let older = &checkpoints[..checkpoints.len().saturating_sub(keep_last.max(1))];
        for (step, path) in older.iter().filter(|(step, _)| Some(*step) != keep_best) {
            // Under its name it is whole until it is gone.
            let aside = path.with_file_name(format!(".step-{step}.tmp"));
            remove(&aside)?;
            rename(path, &aside)?;
            remove(&aside)?;
        }
        Ok(())
    }

    /// Forgets metrics, rollouts and answers after `step`: a run resumed from a checkpoint takes those steps again.
    ///
    /// # Errors
    /// The metrics cannot be read, or a file cannot be written or removed.
    pub fn rewind(&mut self, step: u64) -> Result<(), RunError> {
        let path = self.dir.join(METRICS);
        let mut text = Vec::new();
        for row in read_metrics(&path)?.iter().filter(|row| row.step <= step) {
            serde_json::to_writer(&mut text, row).map_err(encode(&path))?;
            text.push(b'\n');
        }
        write_aside(&path, &text)?;
        self.metrics = OpenOptions::new().append(true).open(&path).map_err(RunError::io("write", &path))?;
        let written = [steps_of_rows(&self.dir.join(ROLLOUTS))?, steps_of_rows(&self.dir.join(ANSWERS))?].concat();
        let benchmarks = steps_in(&self.dir.join(ANSWERS), "")?;
        let later = written.into_iter().chain(benchmarks).filter(|(later, _)| *later > step);
        later.into_iter().try_for_each(|(_, path)| remove(&path))
    }

    /// Puts in order what a kill left behind: aside files go, a checkpoint caught between two names gets its own back,
    /// and a torn last line of the metrics is cut off.
    fn recover(&self) -> Result<(), RunError> {
        let shown = format!("{ROLLOUTS}/{SHOWN}");
        for folder in ["", ROLLOUTS, &shown, ANSWERS, CHECKPOINTS].map(|name| self.dir.join(name)) {
            for (name, path) in entries(&folder)? {
                if let Some(whole) = name.strip_prefix('.').and_then(|name| name.strip_suffix(".old")) {
                    let whole = folder.join(whole);
                    if whole.exists() { remove(&path)? } else { rename(&path, &whole)? }
                } else if name.starts_with('.') && name.ends_with(".tmp") {
                    remove(&path)?;
                }
            }
        }
        let path = self.dir.join(METRICS);
        let bytes = fs::read(&path).map_err(RunError::io("read", &path))?;
        let whole = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
        self.metrics.set_len(whole as u64).map_err(RunError::io("write", path))
    }
}

/// What tells one file from another, whatever they are called.
#[cfg(unix)]
fn identity(file: &fs::Metadata) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt;
    (file.dev(), file.ino())
}

/// Where the system does not say, a file of that name is the one.
#[cfg(not(unix))]
fn identity(_: &fs::Metadata) -> (u64, u64) {
    (0, 0)
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, RunError> {
    let text = match fs::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        text => text.map_err(RunError::io("read", path))?,
    };
    let broken = |error: serde_json::Error| RunError::Broken {
        path: path.to_owned(),
        line: error.line(),
        reason: error.to_string(),
    };
    serde_json::from_slice(&text).map(Some).map_err(broken)
}

pub(crate) const CONFIG: &str = "config.yaml";
pub(crate) const METRICS: &str = "metrics.jsonl";
pub(crate) const BEGUN: &str = "begun.json";
pub(crate) const SUMMARY: &str = "summary.json";
pub(crate) const ROLLOUTS: &str = "rollouts";
pub(crate) const ANSWERS: &str = "evaluations";
pub(crate) const SHOWN: &str = "media";
const CHECKPOINTS: &str = "checkpoints";
const LOCK: &str = ".lock";
