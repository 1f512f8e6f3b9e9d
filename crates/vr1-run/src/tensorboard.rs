//! Scalars for TensorBoard. An event file is a row of TFRecords (length, checksum, bytes, checksum), each holding an
//! `Event` message in protocol-buffer encoding. Three kinds of message with five fields are all that scalars need, so
//! they are written here; the crates that know the whole schema bring a protobuf runtime and an image codec with them.

use std::{
    fs::{self, File, OpenOptions},
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use crate::{metrics::StepMetrics, run_error::RunError};

/// Writes the scalars of a run where `tensorboard --logdir` finds them.
///
/// # Example
/// ```
/// use vr1_run::{EventWriter, StepMetrics};
/// # let folder = tempfile::tempdir().unwrap();
/// let mut events = EventWriter::create(folder.path(), 1)?;
/// events.write(&StepMetrics::new(1).with("reward", 0.25))?;
/// # Ok::<(), vr1_run::RunError>(())
/// ```
#[derive(Debug)]
pub struct EventWriter {
    path: PathBuf,
    file: File,
}

impl EventWriter {
    /// Starts a new event file in `dir`. Of older files there, TensorBoard then leaves out what they say of
    /// `first_step` and later: that is how a resumed run takes the place of what it does again.
    ///
    /// # Errors
    /// The folder or file cannot be written.
    pub fn create(dir: &Path, first_step: u64) -> Result<Self, RunError> {
        fs::create_dir_all(dir).map_err(RunError::io("create the folder", dir))?;
        let (path, file) = loop {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            // TensorBoard reads the files of a folder in the order of their names.
            let name = format!("events.out.tfevents.{:010}.{:09}.vr1", now.as_secs(), now.subsec_nanos());
            let path = dir.join(name);
            match OpenOptions::new().append(true).create_new(true).open(&path) {
                Ok(file) => break (path, file),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(RunError::io("write", path)(error)),
            }
        };
        let mut writer = Self { path, file };
        writer.record(|event| event.bytes(FILE_VERSION, b"brain.Event:2"))?;
        writer.record(|event| {
            event.integer(STEP, first_step);
            let mut session = Message::default();
            session.integer(SESSION_STATUS, SESSION_START);
            event.bytes(SESSION_LOG, &session.0);
        })?;
        Ok(writer)
    }

    /// Writes the numbers of a step, all in one record.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&mut self, metrics: &StepMetrics) -> Result<(), RunError> {
        self.record(|event| {
            event.integer(STEP, metrics.step);
            let mut summary = Message::default();
            for (tag, &value) in &metrics.values {
                let mut scalar = Message::default();
                scalar.bytes(VALUE_TAG, tag.as_bytes());
                scalar.float(VALUE_SIMPLE, value as f32);
                summary.bytes(SUMMARY_VALUE, &scalar.0);
            }
            event.bytes(SUMMARY, &summary.0);
        })
    }

    fn record(&mut self, fill: impl FnOnce(&mut Message)) -> Result<(), RunError> {
        let mut event = Message::default();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        event.double(WALL_TIME, now.as_secs_f64());
        fill(&mut event);
        let length = (event.0.len() as u64).to_le_bytes();
        let record = [&length[..], &masked(&length), &event.0, &masked(&event.0)].concat();
        self.file.write_all(&record).map_err(RunError::io("write", &self.path))
    }
}

// Field numbers of tensorflow's event.proto and summary.proto.
const WALL_TIME: u64 = 1;
const STEP: u64 = 2;
const FILE_VERSION: u64 = 3;
const SUMMARY: u64 = 5;
const SESSION_LOG: u64 = 7;
const SESSION_STATUS: u64 = 1;
const SESSION_START: u64 = 1;
const SUMMARY_VALUE: u64 = 1;
const VALUE_TAG: u64 = 1;
const VALUE_SIMPLE: u64 = 2;

/// A protocol-buffer message: fields one after another, each led by `number << 3 | wire type`.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn integer(&mut self, field: u64, value: u64) {
        self.varint(field << 3);
        self.varint(value);
    }

    fn double(&mut self, field: u64, value: f64) {
        self.varint(field << 3 | 1);
        self.0.extend(value.to_le_bytes());
    }

    fn bytes(&mut self, field: u64, value: &[u8]) {
        self.varint(field << 3 | 2);
        self.varint(value.len() as u64);
        self.0.extend(value);
    }

    fn float(&mut self, field: u64, value: f32) {
        self.varint(field << 3 | 5);
        self.0.extend(value.to_le_bytes());
    }
}

/// TFRecord's checksum: CRC-32C turned by 15 bits plus a constant, so that it may itself be checksummed.
fn masked(bytes: &[u8]) -> [u8; 4] {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}
