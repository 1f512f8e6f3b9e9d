//! How fast an audit goes: `cargo bench -p vr1-processor --bench audit -- ROWS.jsonl CHECKPOINT…`, on one thread. A line of JSON for each
//! checkpoint: pictures a second whose headers are read (`glance`), whose tokens are counted from these with their words (`count`),
//! and rows that are read from their file and counted (`rows`).
//!
//! `audit.py` runs this and transformers in turn on the same files.

use std::hint::black_box;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use vr1_data::{Media, Picture, RowSource, Said, Sample, SampleSet};
use vr1_processor::{Layout, Processor};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let [rows, checkpoints @ ..] = arguments.as_slice() else { return Ok(()) };
    let source = RowSource::all(rows);
    let mut samples: Vec<Sample> = Vec::new();
    let mut fault = None;
    SampleSet::visit(&source, |place, row| {
        match row {
            Ok(sample) => samples.push(sample),
            Err(reason) => fault = Some(format!("{place}: {reason}")),
        }
        ControlFlow::Continue(())
    })?;
    if let Some(fault) = fault {
        return Err(fault.into());
    }
    let pictures: Vec<&Picture> = samples.iter().flat_map(|sample| &sample.media).filter_map(picture).collect();
    let glance = rate(pictures.len(), || {
        for picture in &pictures {
            black_box(picture.glance()?);
        }
        Ok(())
    })?;
    let counted = |processor: &Processor, sample: &Sample| {
        let sides = |picture: &Picture| picture.glance().map(|seen| (seen.width, seen.height));
        processor.count_said(sample, &Said::question(sample), Layout::Chat, "", &sides)
    };
    for checkpoint in checkpoints.iter().map(Path::new) {
        let processor = Processor::from_dir(checkpoint)?;
        let mut tokens = 0;
        let count = rate(pictures.len(), || {
            tokens = 0;
            for sample in &samples {
                tokens += counted(&processor, sample)?.media;
            }
            Ok(())
        })?;
        let rows = rate(pictures.len(), || {
            let mut fault = None;
            SampleSet::visit(&source, |_, row| {
                match row.map_err(|reason| reason.into()).and_then(|sample| Ok(counted(&processor, &sample)?)) {
                    Ok(count) => drop(black_box(count)),
                    Err(error) => fault = Some(error),
                }
                ControlFlow::Continue(())
            })?;
            fault.map_or(Ok(()), Err)
        })?;
        let name = checkpoint.file_name().unwrap_or_default().to_string_lossy();
        println!(
            r#"{{"name": "{name}", "glance": {glance:.0}, "count": {count:.0}, "rows": {rows:.0}, "tokens": {tokens}}}"#
        );
    }
    Ok(())
}

fn picture(media: &Media) -> Option<&Picture> {
    if let Media::Image(picture) = media { Some(picture) } else { None }
}

type Fault = Box<dyn std::error::Error>;

/// Items a second, the best of five times through.
fn rate(items: usize, mut work: impl FnMut() -> Result<(), Fault>) -> Result<f64, Fault> {
    let mut best = f64::INFINITY;
    for _ in 0..5 {
        let begun = Instant::now();
        work()?;
        best = best.min(begun.elapsed().as_secs_f64());
    }
    Ok(items as f64 / best)
}
