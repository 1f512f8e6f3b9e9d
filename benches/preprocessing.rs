//! Pictures to patches, pictures a second: `cargo bench --bench preprocessing -- [FOLDER]`.
//!
//! `preprocessing.py` runs this and transformers' image processor in turn on the same JPEG files. Threads are rayon's:
//! `RAYON_NUM_THREADS=2` for two. Without a folder there are pictures made up here.

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use rayon::prelude::*;
use vr1_data::Picture;
use vr1_processor::ImageProcessor;

fn main() -> Result<()> {
    let made = tempfile::tempdir()?;
    let folder = std::env::args().skip(1).find(|argument| !argument.starts_with("--"));
    let folder = folder.map_or_else(|| made_up(made.path()), |folder| Ok(PathBuf::from(folder)))?;
    let mut files = Vec::new();
    for entry in folder.read_dir().with_context(|| format!("cannot read {}", folder.display()))? {
        files.push(entry?.path());
    }
    files.sort();
    let processor = ImageProcessor::default();
    let from_file = |file: &PathBuf| -> Result<_> {
        let file = Picture::File(file.clone());
        let picture = file.load()?;
        Ok(processor.process(&picture)?)
    };
    let decode = |file: &PathBuf| -> Result<_> { Ok(Picture::File(file.clone()).load()?.into_owned()) };
    let whole = rate(&files, from_file)?;
    let decoding = rate(&files, decode)?;
    let pictures = files.iter().map(decode).collect::<Result<Vec<_>>>()?;
    let process = rate(&pictures, |picture| Ok(processor.process(picture)?))?;
    let threads = rayon::current_num_threads();
    println!(r#"{{"threads": {threads}, "whole": {whole:.2}, "decode": {decoding:.2}, "process": {process:.2}}}"#);
    Ok(())
}

/// Items a second, all of them once to warm up and once to measure.
fn rate<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> Result<R> + Sync) -> Result<f64> {
    let run = || items.par_iter().try_for_each(|item| work(item).map(|done| drop(black_box(done))));
    run()?;
    let start = Instant::now();
    run()?;
    Ok(items.len() as f64 / start.elapsed().as_secs_f64())
}

/// 16 JPEG files of 1280 × 960 pixels, slopes with edges.
fn made_up(folder: &Path) -> Result<PathBuf> {
    for seed in 0..16u32 {
        let level = |x: u32, y: u32| (x * (seed + 3) / 9 + y / 3 + ((x / 40 * 97) ^ (y / 56 * 61)) % 64) as u8;
        let rgb = |x, y| image::Rgb([level(x, y), level(y, x), level(x + y, seed)]);
        image::RgbImage::from_fn(1280, 960, rgb).save(folder.join(format!("{seed:02}.jpg")))?;
    }
    Ok(folder.to_path_buf())
}
