//! The rows of a file, JSON objects one a line or in one list, found again by where they begin.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::faults::{cut, fault};
use crate::rows::Row;
use crate::survey::Survey;
use crate::unreadable::{is_begun, no_text, over_lines};
use crate::{Error, Fields, Result};

/// Where the rows of a file are; what they say stays in the file.
#[derive(Debug, Clone)]
pub(crate) struct TextRows {
    path: PathBuf,
    name: String,
    form: Form,
    spans: Vec<Span>,
}

#[derive(Debug, Clone, Copy)]
enum Form {
    Lines,
    List,
}

/// 24 bytes, which is what a row takes in memory.
#[derive(Debug, Clone, Copy)]
struct Span {
    offset: u64,
    length: u32,
    line: u32,   // of its beginning, from 1
    column: u32, // bytes of that line before it
}

impl TextRows {
    /// Goes through a file once, row by row, and shows each row to the survey, read where it wants to look into it.
    ///
    /// # Errors
    /// When the file cannot be read, or is something else whole; what is wrong with its rows the survey notes.
    pub(crate) fn open(path: &Path, name: String, survey: &mut Survey<'_>) -> Result<Self> {
        let io = |e| Error::io(path, e);
        let mut text = Text::open(path).map_err(io)?;
        if let Some(what) = no_text(text.bytes.fill_buf().map_err(io)?) {
            return Err(Error::Rows { faults: vec![format!("{}: {what}", path.display())] });
        }
        let list = text.skip_blank().map_err(io)? == Some(b'[');
        if list {
            text.next().map_err(io)?;
        }
        let form = if list { Form::List } else { Form::Lines };
        let mut rows = Self { path: path.to_owned(), name, form, spans: vec![] };
        let mut bytes = vec![];
        loop {
            match text.skip_blank().map_err(io)? {
                None if !list => break,
                Some(b']') if list && rows.spans.is_empty() => {
                    text.next().map_err(io)?;
                    break;
                }
                _ => {}
            }
            let (offset, line, column) = (text.offset, text.line, text.column);
            let wanted = survey.reads();
            let into = wanted.then_some(&mut bytes);
            let end = match list {
                true => text.element(into),
                false => text.line(into).map(|ended| ended.then_some(b'\n')),
            };
            let end = end.map_err(io)?;
            let length = text.offset - u64::from(end.is_some()) - offset;
            let Some(span) = Span::new(offset, length, line, column) else {
                return Err(Error::Rows { faults: vec![fault(path, line, "a row of more than 4 GiB")] });
            };
            rows.spans.push(span);
            let index = rows.spans.len() - 1;
            let noted = match wanted {
                true => survey.row(&rows.name, index, rows.parse(index, &bytes), length),
                false => survey.unread(&rows.name, index).map(drop),
            };
            match noted {
                Err(reason) => {
                    let whole = rows.no_rows(span, &bytes)?;
                    survey.faults.note(path, line, &rows.named(index, whole.as_ref().unwrap_or(&reason)));
                    if whole.is_some() {
                        return Err(std::mem::take(&mut survey.faults).into_error());
                    }
                }
                Ok(()) if list && end.is_none() => survey.faults.note(path, text.line, "the list has no end"),
                Ok(()) => {}
            }
            if list && end != Some(b',') {
                break;
            }
        }
        if text.skip_blank().map_err(io)?.is_some() {
            survey.faults.note(path, text.line, "text after the end of the list");
        }
        Ok(rows)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn len(&self) -> usize {
        self.spans.len()
    }

    /// Reads the row at `index`, one of [`len`](Self::len), and makes of it what `parse` says.
    ///
    /// # Errors
    /// When the file cannot be read any more, or `parse` refuses the row.
    pub(crate) fn read<T>(&self, index: usize, parse: impl FnOnce(Row) -> Result<T, String>) -> Result<T> {
        let span = self.spans[index];
        let mut bytes = vec![0; span.length as usize];
        File::open(&self.path)
            .and_then(|mut file| file.seek(SeekFrom::Start(span.offset)).and_then(|_| file.read_exact(&mut bytes)))
            .map_err(|e| Error::io(&self.path, e))?;
        let row = self.parse(index, &bytes).and_then(parse);
        let line = span.line as usize;
        row.map_err(|reason| Error::Rows { faults: vec![fault(&self.path, line, &self.named(index, &reason))] })
    }

    /// Goes through all rows in order, until it is told to stop.
    ///
    /// # Errors
    /// When the file cannot be read any more.
    pub(crate) fn visit(
        &self,
        to: &mut dyn FnMut(usize, String, Result<Row, String>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>> {
        let io = |e| Error::io(&self.path, e);
        let mut file = BufReader::new(File::open(&self.path).map_err(io)?);
        let (mut at, mut bytes) = (0, vec![]);
        for (index, span) in self.spans.iter().enumerate() {
            file.seek_relative(span.offset as i64 - at as i64).map_err(io)?;
            bytes.resize(span.length as usize, 0);
            file.read_exact(&mut bytes).map_err(io)?;
            at = span.offset + u64::from(span.length);
            if to(index, self.place(index), self.parse(index, &bytes)).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// File and row, as errors tell them.
    fn place(&self, index: usize) -> String {
        let at = fault(&self.path, self.spans[index].line as usize, &self.named(index, ""));
        at.trim_end_matches([':', ' ']).to_owned()
    }

    /// What is wrong with the whole file, if it is not the row alone.
    fn no_rows(&self, span: Span, bytes: &[u8]) -> Result<Option<String>> {
        if let Err(e) = std::str::from_utf8(bytes) {
            let at = e.valid_up_to() + 1;
            return Ok(Some(format!("not a JSON object: not UTF-8 from byte {at} of it on; save the file as UTF-8")));
        }
        if matches!(self.form, Form::List) || !is_begun(bytes) {
            return Ok(None);
        }
        let file = File::open(&self.path).and_then(|mut file| file.seek(SeekFrom::Start(span.offset)).map(|_| file));
        Ok(over_lines(BufReader::new(file.map_err(|e| Error::io(&self.path, e))?)).map(str::to_owned))
    }

    /// In a list the line may hold every row, so that a fault gives the row's number too.
    fn named(&self, index: usize, reason: &str) -> String {
        match self.form {
            Form::Lines => reason.to_owned(),
            Form::List => format!("row {}: {reason}", index + 1),
        }
    }

    fn parse(&self, index: usize, bytes: &[u8]) -> Result<Row, String> {
        let span = self.spans[index];
        let fields: Fields = serde_json::from_slice(bytes).map_err(|e| {
            let (said, own) = (e.to_string(), format!(" at line {} column {}", e.line(), e.column()));
            let said = cut(said.strip_suffix(&own).unwrap_or(&said), 160);
            let (line, before) = (e.line().saturating_sub(1), if e.line() > 1 { 0 } else { span.column as usize });
            format!("not a JSON object: {said} at line {} column {}", span.line as usize + line, before + e.column())
        })?;
        let id = match (fields.get("id"), self.form) {
            (Some(Value::String(id)), _) => id.clone(),
            (Some(Value::Number(id)), _) => id.to_string(),
            (_, Form::Lines) => format!("{}:{}", self.name, span.line),
            (_, Form::List) => format!("{}:{}", self.name, index + 1),
        };
        Ok(Row { id, at: self.place(index), fields })
    }
}

impl Span {
    /// None of a row that is too long; places in a file of so many lines that a number has no room are its last.
    fn new(offset: u64, length: u64, line: usize, column: usize) -> Option<Self> {
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Some(Self { offset, length: u32::try_from(length).ok()?, line: number(line), column: number(column) })
    }
}

/// A file's bytes in order, and where they stand.
struct Text {
    bytes: BufReader<File>,
    offset: u64,
    line: usize,
    column: usize,
}

impl Text {
    /// Behind a byte-order mark, if there is one.
    fn open(path: &Path) -> std::io::Result<Self> {
        let mut text = Self { bytes: BufReader::new(File::open(path)?), offset: 0, line: 1, column: 0 };
        if text.bytes.fill_buf()?.starts_with(b"\xef\xbb\xbf") {
            text.bytes.consume(3);
            text.offset = 3;
        }
        Ok(text)
    }

    fn peek(&mut self) -> std::io::Result<Option<u8>> {
        Ok(self.bytes.fill_buf()?.first().copied())
    }

    fn next(&mut self) -> std::io::Result<Option<u8>> {
        let byte = self.peek()?;
        if let Some(byte) = byte {
            self.bytes.consume(1);
            self.offset += 1;
            (self.line, self.column) = if byte == b'\n' { (self.line + 1, 0) } else { (self.line, self.column + 1) };
        }
        Ok(byte)
    }

    /// Passes over white space and looks at what follows.
    fn skip_blank(&mut self) -> std::io::Result<Option<u8>> {
        while self.peek()?.is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.next()?;
        }
        self.peek()
    }

    /// The rest of the line, and whether a line end followed it: behind a line that is passed over, the file's end hides it.
    fn line(&mut self, into: Option<&mut Vec<u8>>) -> std::io::Result<bool> {
        let (count, ended) = match into {
            Some(into) => {
                into.clear();
                let count = self.bytes.read_until(b'\n', into)?;
                (count, into.pop_if(|last| *last == b'\n').is_some())
            }
            None => (self.bytes.skip_until(b'\n')?, !self.bytes.fill_buf()?.is_empty()),
        };
        self.offset += count as u64;
        (self.line, self.column) = if ended { (self.line + 1, 0) } else { (self.line, self.column + count) };
        Ok(ended)
    }

    /// An element of a list, and the comma or the bracket that ended it.
    fn element(&mut self, mut into: Option<&mut Vec<u8>>) -> std::io::Result<Option<u8>> {
        into.iter_mut().for_each(|into| into.clear());
        let (mut depth, mut quoted, mut escaped) = (0usize, false, false);
        loop {
            let next = self.next()?;
            let Some(byte) = next else { return Ok(None) };
            match byte {
                _ if escaped => escaped = false,
                b'\\' if quoted => escaped = true,
                b'"' => quoted = !quoted,
                _ if quoted => {}
                b',' | b']' if depth == 0 => return Ok(next),
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth = depth.saturating_sub(1),
                _ => {}
            }
            into.iter_mut().for_each(|into| into.push(byte));
        }
    }
}
