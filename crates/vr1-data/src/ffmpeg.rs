//! Video files by the machine's own `ffmpeg`: one pass that counts frames, one that hands over the pixels.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread::JoinHandle;

use image::RgbImage;

use crate::picture::check_pixels;
use crate::video::check_video;
use crate::{Clip, Error, Result};

/// How many frames the first video stream of a file has, and how many a second on average.
///
/// Frames are counted by decoding them: containers lie, and some packets show nothing.
pub(crate) fn clip(path: &Path) -> Result<Clip> {
    let mut run = Run::start(path, &["-f", "framecrc"])?;
    let (mut seconds_per_tick, mut frames, mut first, mut last) = (None, 0u32, None, None);
    let mut line = String::new();
    while run.stdout.read_line(&mut line).map_err(|e| Error::io(path, e))? > 0 {
        if let Some(base) = line.strip_prefix("#tb 0: ") {
            seconds_per_tick = ratio(base.trim());
        } else if !line.starts_with('#') {
            // stream, decoding time, time of showing, duration, bytes, checksum
            let time = line.split(',').nth(2).and_then(|time| time.trim().parse::<i64>().ok());
            first = first.or(time);
            last = time.or(last);
            frames += 1;
        }
        line.clear();
    }
    run.finish(path)?;
    let span = first.zip(last).map(|(first, last)| (last - first) as f64);
    let fps = span.zip(seconds_per_tick).map(|(span, tick)| match frames {
        1 => 1.0 / tick,
        _ => f64::from(frames - 1) / (span * tick),
    });
    Ok(Clip { frames: frames as usize, fps: fps.filter(|fps| fps.is_finite() && *fps > 0.0) })
}

/// The frames at `indices`, which rise, of the first video stream of a file, turned upright.
pub(crate) fn frames(path: &Path, indices: &[usize]) -> Result<Vec<RgbImage>> {
    let Some(&end) = indices.last() else { return Ok(Vec::new()) };
    let mut run = Run::start(path, &["-c:v", "ppm", "-f", "image2pipe"])?;
    let mut frames = Vec::with_capacity(indices.len());
    let mut wanted = indices.iter().peekable();
    for index in 0..=end {
        let Some((width, height)) = header(&mut run.stdout).map_err(|e| Error::io(path, e))? else {
            run.finish(path)?;
            let reason = format!("it has {index} frame(s) that can be decoded, and number {end} is asked for");
            return Err(Error::Video { path: path.to_owned(), reason });
        };
        if index == 0 {
            check_pixels(path, width, height)?;
            check_video(path, indices.len(), width, height)?;
        }
        let mut pixels = vec![0; width as usize * height as usize * 3];
        run.stdout.read_exact(&mut pixels).map_err(|e| Error::io(path, e))?;
        // A list may name a frame twice.
        while wanted.next_if_eq(&&index).is_some() {
            frames.extend(RgbImage::from_raw(width, height, pixels.clone()));
        }
    }
    Ok(frames)
}

/// Width and height of the next PPM picture, of which the samples follow; nothing at the end of the stream.
fn header(stream: &mut impl BufRead) -> std::io::Result<Option<(u32, u32)>> {
    let mut words = Vec::new();
    while words.len() < 4 {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        words.extend(line.split_whitespace().map(str::to_owned));
    }
    let number = |word: &String| word.parse().ok().filter(|&n: &u32| n > 0);
    match (words[0].as_str(), number(&words[1]), number(&words[2]), words[3].as_str()) {
        ("P6", Some(width), Some(height), "255") => Ok(Some((width, height))),
        _ => Err(std::io::Error::other(format!("ffmpeg wrote {words:?} where a PPM header is expected"))),
    }
}

/// `3/2` as 1.5.
fn ratio(text: &str) -> Option<f64> {
    let (above, below) = text.split_once('/')?;
    Some(above.parse::<f64>().ok()? / below.parse::<f64>().ok()?)
}

/// A running ffmpeg; it ends with this value.
struct Run {
    child: Child,
    stdout: BufReader<ChildStdout>,
    complaints: Option<JoinHandle<String>>,
}

impl Run {
    /// Starts it on a file, and on nothing but files: a playlist cannot make it open a network connection.
    fn start(path: &Path, output: &[&str]) -> Result<Self> {
        let fault = |reason: String| Error::Video { path: path.to_owned(), reason };
        let mut file = OsString::from("file:");
        file.push(path);
        let child = Command::new("ffmpeg")
            .args(["-nostdin", "-v", "error", "-protocol_whitelist", "file", "-i"])
            .arg(file)
            .args(["-map", "0:v:0", "-fps_mode", "passthrough"])
            .args(output)
            .arg("-")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = child.map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => fault(
                "a video file is decoded by `ffmpeg`, which is not on PATH; install it, or give a folder of frames"
                    .into(),
            ),
            _ => fault(format!("ffmpeg does not start: {e}")),
        })?;
        let (Some(stdout), Some(mut stderr)) = (child.stdout.take(), child.stderr.take()) else {
            unreachable!("both were asked for as pipes")
        };
        let complaints = std::thread::spawn(move || {
            let mut said = Vec::new();
            let _ = stderr.read_to_end(&mut said);
            String::from_utf8_lossy(&said).into_owned()
        });
        Ok(Self { child, stdout: BufReader::with_capacity(1 << 20, stdout), complaints: Some(complaints) })
    }

    /// Waits for the end; what ffmpeg complained of is an error where it failed.
    fn finish(mut self, path: &Path) -> Result<()> {
        let status = self.child.wait().map_err(|e| Error::io(path, e))?;
        let said = self.complaints.take().and_then(|thread| thread.join().ok()).unwrap_or_default();
        if status.success() {
            return Ok(());
        }
        let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it did not say why");
        Err(Error::Video { path: path.to_owned(), reason: format!("ffmpeg cannot decode it: {}", last.trim()) })
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // Both are no-ops where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
