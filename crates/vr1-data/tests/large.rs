//! Sets that are larger than the memory that reading them may take.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test may stop at the first thing that is not as it should be")]

use std::fs::File;
use std::io::{BufWriter, Write};

use tempfile::TempDir;
use vr1_data::{Portion, RowSource, SampleSet, Side};

/// The most memory that this process has held so far, in MiB.
fn most_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

/// The bytes that this process has read so far.
fn bytes_read() -> u64 {
    let io = std::fs::read_to_string("/proc/self/io").unwrap();
    io.lines().next().unwrap().split_whitespace().nth(1).unwrap().parse().unwrap()
}

const MIB: usize = 1 << 20;

/// 400 rows of 1 MiB; the last has no answer.
fn lines(path: &std::path::Path) {
    let mut file = BufWriter::new(File::create(path).unwrap());
    let padding = "x".repeat(MIB);
    for row in 0..400 {
        let answer = if row == 399 { "null".to_owned() } else { row.to_string() };
        writeln!(file, "{{\"question\": \"{}\", \"answer\": {answer}, \"padding\": \"{padding}\"}}", row % 7).unwrap();
    }
    file.flush().unwrap();
}

/// 20 row groups of 32 pictures of 1 MiB, which take little room: all bytes but the first are alike. The last has no answer.
#[cfg(feature = "parquet")]
fn table(path: &std::path::Path) {
    use std::sync::Arc;

    use arrow_array::{ArrayRef, BinaryArray, Int64Array, RecordBatch, StringArray};
    use parquet::arrow::ArrowWriter;
    use parquet::basic::{Compression, ZstdLevel};
    use parquet::file::properties::WriterProperties;

    let mut picture = include_bytes!("fixtures/published/messages/a.png").to_vec();
    picture.resize(MIB, 0);
    let settings = WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::default()));
    let settings = settings.set_dictionary_enabled(false).set_max_row_group_row_count(Some(32)).build();
    let mut writer = None;
    for group in 0..20 {
        let rows = group * 32..group * 32 + 32;
        let answers: Vec<_> = rows.clone().map(|row| (row != 639).then_some(row)).collect();
        let questions: Vec<_> = rows.clone().map(|row| (row % 7).to_string()).collect();
        let columns: [(&str, ArrayRef); 3] = [
            ("question", Arc::new(StringArray::from(questions))),
            ("answer", Arc::new(Int64Array::from(answers))),
            ("image", Arc::new(BinaryArray::from(vec![&picture[..]; 32]))),
        ];
        let batch = RecordBatch::try_from_iter_with_nullable(columns.map(|(name, c)| (name, c, true))).unwrap();
        let file = || File::create(path).unwrap();
        let writer =
            writer.get_or_insert_with(|| ArrowWriter::try_new(file(), batch.schema(), Some(settings.clone())).unwrap());
        writer.write(&batch).unwrap();
    }
    writer.unwrap().close().unwrap();
}

/// One test, for both look at what the whole process does.
#[test]
fn memory_stays_flat_and_rows_behind_the_first_256_mib_are_checked_when_they_are_asked_for() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("rows.jsonl");
    lines(&path);
    let before = most_memory();
    let set = SampleSet::open(&path, dir.path()).unwrap();
    assert_eq!(set.len(), 400);
    assert_eq!(set.get(398).unwrap().solution, "398");
    assert!(set.get(399).unwrap_err().to_string().contains("rows.jsonl:400: question: without an answer"));
    let read = bytes_read();
    set.get(17).unwrap();
    assert!(bytes_read() - read < 2 * MIB as u64, "one row is read");
    let by = Some("question".to_owned());
    let part = |side| {
        let split = Some(Portion { side, train_share: 0.5, by: by.clone() });
        SampleSet::of(&RowSource { split, ..RowSource::all(&path) }).unwrap()
    };
    let (train, test) = (part(Side::Train), part(Side::Test));
    assert_eq!(train.len() + test.len(), 400);
    let grown = most_memory() - before;
    assert!(grown < 24, "400 MiB of lines took {grown} MiB");

    #[cfg(feature = "parquet")]
    {
        let path = dir.path().join("rows.parquet");
        table(&path);
        let before = most_memory();
        let set = SampleSet::open(&path, dir.path()).unwrap();
        assert_eq!(set.len(), 640);
        assert_eq!(set.get(638).unwrap().solution, "638");
        let error = set.get(639).unwrap_err().to_string();
        assert!(error.contains("rows.parquet:640: row 32 of row group 19: question: without an answer"), "{error}");
        let grown = most_memory() - before;
        assert!(grown < 200, "640 MiB of pictures took {grown} MiB");
    }
}
