//! Event files are what TensorBoard reads: TFRecords of events. The checks here read them back by the format's own rules.

use std::{fs, path::Path};

use vr1_run::{EventWriter, StepMetrics};

/// The records of a file, checksums checked.
fn records(path: &Path) -> Vec<Vec<u8>> {
    let bytes = fs::read(path).unwrap();
    let mut rest = &bytes[..];
    let mut records = Vec::new();
    let check = |bytes: &[u8], sum: &[u8]| {
        let sum = u32::from_le_bytes(sum.try_into().unwrap()).wrapping_sub(0xa282_ead8).rotate_left(15);
        assert_eq!(sum, slow_crc32c(bytes));
    };
    while !rest.is_empty() {
        let length = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
        check(&rest[..8], &rest[8..12]);
        check(&rest[12..12 + length], &rest[12 + length..16 + length]);
        records.push(rest[12..12 + length].to_vec());
        rest = &rest[16 + length..];
    }
    records
}

/// Castagnoli's polynomial, bit by bit.
fn slow_crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 })
    })
}

fn files(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut files: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn the_checksum_is_the_published_one() {
    assert_eq!(slow_crc32c(b"123456789"), 0xe306_9283);
}

#[test]
fn a_step_is_one_record_with_its_scalars() {
    let folder = tempfile::tempdir().unwrap();
    let mut events = EventWriter::create(folder.path(), 1).unwrap();
    events.write(&StepMetrics::new(300).with("kl", 0.5)).unwrap();
    let files = files(folder.path());
    assert!(files[0].file_name().unwrap().to_str().unwrap().starts_with("events.out.tfevents."));
    let records = records(&files[0]);
    assert_eq!(records.len(), 3);
    // Each begins with field 1, a double: the wall time, which differs from run to run.
    assert!(records.iter().all(|record| record[0] == 0x09));
    assert_eq!(records[0][9..], [&[0x1a, 13][..], b"brain.Event:2"].concat());
    assert_eq!(records[1][9..], [0x10, 1, 0x3a, 2, 0x08, 1], "session start at step 1");
    // step = 300; summary { value { tag: "kl", simple_value: 0.5 } }
    let scalar = [&[0x0a, 2][..], b"kl", &[0x15, 0, 0, 0, 0x3f]].concat();
    let summary = [&[0x0a, scalar.len() as u8][..], &scalar].concat();
    assert_eq!(records[2][9..], [&[0x10, 0xac, 0x02, 0x2a, summary.len() as u8][..], &summary].concat());
}

#[test]
fn a_resumed_run_gets_a_file_of_its_own_that_sorts_last() {
    let folder = tempfile::tempdir().unwrap();
    drop(EventWriter::create(folder.path(), 1).unwrap());
    let first = files(folder.path());
    drop(EventWriter::create(folder.path(), 7).unwrap());
    let both = files(folder.path());
    assert_eq!((both.len(), &both[0]), (2, &first[0]));
    assert_eq!(records(&both[1])[1][9..], [0x10, 7, 0x3a, 2, 0x08, 1]);
}
