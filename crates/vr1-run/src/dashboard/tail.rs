//! The rows of a `metrics.jsonl` that grows: each is read once.

use std::{
    fs::{File, Metadata},
    io::{ErrorKind, Read, Seek, SeekFrom},
    path::PathBuf,
};

use crate::{metrics::StepMetrics, run_error::RunError};

/// What was read of the file so far.
#[derive(Debug)]
pub(crate) struct Tail {
    path: PathBuf,
    rows: Vec<StepMetrics>,
    /// The bytes and lines that `rows` are.
    read: u64,
    lines: usize,
    /// Which file that was: a run that goes on from a checkpoint puts another in its place.
    file: Option<u64>,
}

impl Tail {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, rows: Vec::new(), read: 0, lines: 0, file: None }
    }

    /// All rows that are whole by now.
    ///
    /// # Errors
    /// The file cannot be read, or a line of it is no row.
    pub(crate) fn rows(&mut self) -> Result<&[StepMetrics], RunError> {
        let mut file = match File::open(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.forget(None);
                return Ok(&self.rows);
            }
            file => file.map_err(RunError::io("read", &self.path))?,
        };
        let found = file.metadata().map_err(RunError::io("read", &self.path))?;
        if self.file != Some(identity(&found)) || found.len() < self.read {
            self.forget(Some(identity(&found)));
        }
        let mut text = Vec::new();
        let read = file.seek(SeekFrom::Start(self.read)).and_then(|_| file.read_to_end(&mut text));
        read.map_err(RunError::io("read", &self.path))?;
        // The last line may be half written.
        let whole = text.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
        for line in text[..whole].split_inclusive(|&byte| byte == b'\n') {
            let row = serde_json::from_slice(line).map_err(|error| RunError::Broken {
                path: self.path.clone(),
                line: self.lines + 1,
                reason: format!("not a row of metrics: {error}"),
            })?;
            self.rows.push(row);
            self.lines += 1;
            self.read += line.len() as u64;
        }
        Ok(&self.rows)
    }

    fn forget(&mut self, file: Option<u64>) {
        (self.rows, self.read, self.lines, self.file) = (Vec::new(), 0, 0, file);
    }
}

#[cfg(unix)]
fn identity(file: &Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(file)
}

#[cfg(not(unix))]
fn identity(_: &Metadata) -> u64 {
    0
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write};

    use super::*;

    #[test]
    fn rows_come_as_they_are_written_and_a_file_put_in_its_place_is_read_anew() -> Result<(), Box<dyn std::error::Error>>
    {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("metrics.jsonl");
        let mut tail = Tail::new(path.clone());
        let steps = |tail: &mut Tail| tail.rows().map(|rows| rows.iter().map(|row| row.step).collect::<Vec<_>>());
        assert!(steps(&mut tail)?.is_empty());
        let mut file = File::create(&path)?;
        file.write_all(b"{\"step\":1}\n{\"step\":2}\n{\"st")?;
        assert_eq!(steps(&mut tail)?, [1, 2]);
        file.write_all(b"ep\":3}\n")?;
        assert_eq!(steps(&mut tail)?, [1, 2, 3]);
        let aside = folder.path().join("aside");
        fs::write(&aside, "{\"step\":1}\n{\"step\":7}\n{\"step\":8}\n{\"step\":9}\n")?;
        fs::rename(&aside, &path)?;
        assert_eq!(steps(&mut tail)?, [1, 7, 8, 9]);
        fs::OpenOptions::new().append(true).open(&path)?.write_all(b"no\n")?;
        assert!(steps(&mut tail).is_err_and(|error| error.to_string().contains("metrics.jsonl:5: ")));
        Ok(())
    }
}
