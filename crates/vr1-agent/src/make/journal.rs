use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Reply;
use crate::{Error, Result};

/// Every answer that was had, a line each, in a file that one run at a time writes. Of a line only where it begins is held.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    /// Where the line of a call is, by question and name.
    lines: HashMap<(u64, String), u64>,
    end: u64,
}

#[derive(Serialize, Deserialize)]
struct Line {
    question: u64,
    call: String,
    /// What was asked, in short.
    asked: String,
    replies: Vec<Reply>,
}

impl Journal {
    /// Opens or begins a journal. A line that was being written when its run ended is cut away.
    ///
    /// # Errors
    /// If the file cannot be read or written, another run has it open, or a line of it is none of a journal.
    pub fn open(path: &Path) -> Result<Self> {
        let io = |error: std::io::Error| fault(path, error.to_string());
        let file = OpenOptions::new().read(true).append(true).create(true).open(path).map_err(io)?;
        if file.try_lock().is_err() {
            return Err(fault(path, "another run is writing here".to_owned()));
        }
        let (mut lines, mut end) = (HashMap::new(), 0);
        let (mut reader, mut text, mut number) = (BufReader::new(&file), Vec::new(), 0);
        loop {
            text.clear();
            let read = reader.read_until(b'\n', &mut text).map_err(io)?;
            if read == 0 || !text.ends_with(b"\n") {
                break;
            }
            number += 1;
            let line: Line =
                serde_json::from_slice(&text).map_err(|error| fault(path, format!("line {number}: {error}")))?;
            lines.insert((line.question, line.call), end);
            end += read as u64;
        }
        drop(reader);
        file.set_len(end).map_err(io)?;
        Ok(Self { path: path.to_owned(), file, lines, end })
    }

    /// How many answers it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// What a call was answered, where it was.
    pub(crate) fn find(&self, question: u64, call: &str, asked: &str) -> Result<Option<Vec<Reply>>> {
        let Some(&at) = self.lines.get(&(question, call.to_owned())) else { return Ok(None) };
        let mut text = String::new();
        let read = (&self.file).seek(SeekFrom::Start(at)).and_then(|_| {
            // A line at a time; a reader over the file takes more than it gives, which does no harm here.
            BufReader::new(&self.file).read_line(&mut text)
        });
        read.map_err(|error| fault(&self.path, error.to_string()))?;
        let line: Line = serde_json::from_str(&text).map_err(|error| fault(&self.path, error.to_string()))?;
        if line.asked != asked {
            let reason = format!(
                "question {question} was another when `{call}` was answered: the samples, or what they show, have changed; \
                 make rows of them elsewhere, or remove the folder"
            );
            return Err(fault(&self.path, reason));
        }
        Ok(Some(line.replies))
    }

    /// Writes down what a call was answered.
    pub(crate) fn add(&mut self, question: u64, call: &str, asked: &str, replies: &[Reply]) -> Result<()> {
        let line = Line { question, call: call.to_owned(), asked: asked.to_owned(), replies: replies.to_vec() };
        let mut text = serde_json::to_vec(&line).unwrap_or_default(); // texts and numbers always are JSON
        text.push(b'\n');
        self.file.write_all(&text).map_err(|error| fault(&self.path, error.to_string()))?;
        self.lines.insert((question, line.call), self.end);
        self.end += text.len() as u64;
        Ok(())
    }
}

fn fault(path: &Path, reason: String) -> Error {
    Error::Journal { path: path.to_owned(), reason }
}
