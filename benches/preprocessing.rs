//! Pictures to patches: `cargo bench --bench preprocessing -- FOLDER CHECKPOINT…`, the JPEG files in a folder by the processors of
//! checkpoint directories. A line of JSON each: pictures a second, and milliseconds of processors a picture.
//!
//! `preprocessing.py` runs this and transformers' image processors in turn on the same files. Threads are rayon's:
//! `RAYON_NUM_THREADS=2` for two. With neither there are pictures made up here, and Qwen2-VL's processor.

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use rayon::prelude::*;
use vr1_data::Picture;
use vr1_processor::{ImageProcessor, Layout, Message, Processor, PromptRequest};

/// That of the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What makes patches of a picture.
enum By {
    /// That of a checkpoint, with a prompt around them.
    Checkpoint(Box<Processor>),
    Images(ImageProcessor),
}

impl By {
    fn process(&self, picture: &Picture) -> Result<()> {
        match self {
            Self::Images(images) => drop(black_box(images.process(&*picture.load()?)?)),
            Self::Checkpoint(processor) => {
                let messages = [Message::user([picture.clone()], "What is it?")];
                let request = PromptRequest { sample: "one", messages: &messages, layout: Layout::Chat, prefill: "" };
                drop(black_box(processor.prompt(&request)?));
            }
        }
        Ok(())
    }
}

fn main() -> Result<()> {
    let made = tempfile::tempdir()?;
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    let folder = arguments.next().map_or_else(|| made_up(made.path()), |folder| Ok(PathBuf::from(folder)))?;
    let checkpoints: Vec<String> = arguments.collect();
    let mut files = Vec::new();
    for entry in folder.read_dir().with_context(|| format!("cannot read {}", folder.display()))? {
        files.push(Picture::File(entry?.path()));
    }
    let decoded = files.iter().map(|file| Ok(Picture::from(file.load()?.into_owned()))).collect::<Result<Vec<_>>>()?;
    let decode = rate(&files, |file| {
        black_box(file.load()?);
        Ok(())
    })?;
    let tell = |name: &str, by: &By| -> Result<()> {
        let whole = rate(&files, |file| by.process(file))?;
        let process = rate(&decoded, |picture| by.process(picture))?;
        let [whole, decode, process] =
            [whole, decode, process].map(|[a_second, busy]| format!("[{a_second:.2}, {busy:.3}]"));
        println!(r#"{{"name": "{name}", "whole": {whole}, "decode": {decode}, "process": {process}}}"#);
        Ok(())
    };
    if checkpoints.is_empty() {
        return tell("qwen2_vl", &By::Images(ImageProcessor::default()));
    }
    for checkpoint in checkpoints.iter().map(Path::new) {
        let name = checkpoint.file_name().unwrap_or_default().to_string_lossy();
        tell(&name, &By::Checkpoint(Box::new(Processor::from_dir(checkpoint)?)))?;
    }
    Ok(())
}

/// Items a second, and milliseconds of processors an item; all of them once to warm up and once to measure.
fn rate<T: Sync>(items: &[T], work: impl Fn(&T) -> Result<()> + Sync) -> Result<[f64; 2]> {
    let run = || items.par_iter().try_for_each(&work);
    run()?;
    let (start, busy) = (Instant::now(), busy()?);
    run()?;
    let count = items.len() as f64;
    Ok([count / start.elapsed().as_secs_f64(), (self::busy()? - busy) / count])
}

/// Milliseconds that this process has had processors for, where the system tells.
fn busy() -> Result<f64> {
    let Ok(told) = std::fs::read_to_string("/proc/self/stat") else { return Ok(f64::NAN) };
    // Behind the name, which is in brackets, in hundredths of a second: the process's own and the system's for it.
    let (_, fields) = told.rsplit_once(')').context("no name in /proc/self/stat")?;
    let ticks = |field: usize| fields.split_whitespace().nth(field).and_then(|ticks| ticks.parse::<f64>().ok());
    Ok(ticks(11).zip(ticks(12)).map_or(f64::NAN, |(own, system)| (own + system) * 10.0))
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
