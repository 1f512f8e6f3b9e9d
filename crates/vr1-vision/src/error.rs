use std::path::PathBuf;

/// What can go wrong here; each message names the file, the place and the reason.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file is not JSON.
    #[error("{}: not valid JSON: {source}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
    /// A directory has no settings for images.
    #[error("{}: neither preprocessor_config.json nor an `image_processor` in processor_config.json", dir.display())]
    NoImageProcessor {
        /// The directory looked in.
        dir: PathBuf,
    },
    /// A setting of the image processor that has a wrong value or that is not implemented.
    #[error("{file}: `{key}`: {reason}")]
    Setting {
        /// The file, or where else the settings came from.
        file: String,
        /// The setting, with dots between levels.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An image without pixels, or a size without pixels.
    #[error("an image of {height} × {width} (height × width) has no pixels")]
    EmptyImage {
        /// Its height.
        height: u32,
        /// Its width.
        width: u32,
    },
    /// An image that is too long for its width, or too wide for its height.
    #[error("an image of {height} × {width} (height × width): one side is more than 200 times the other")]
    AspectRatio {
        /// Its height.
        height: u32,
        /// Its width.
        width: u32,
    },
    /// Bounds on the area that no size in whole patches meets.
    #[error(
        "an image of {height} × {width} (height × width) cannot be given sides that are multiples of {factor} with \
         {min_pixels} to {max_pixels} pixels"
    )]
    NoSize {
        /// The image's height.
        height: u32,
        /// The image's width.
        width: u32,
        /// What both sides must be multiples of.
        factor: u32,
        /// The least area.
        min_pixels: u64,
        /// The greatest area.
        max_pixels: u64,
    },
    /// The resizing library refused.
    #[error("cannot resize to {height} × {width} (height × width): {reason}")]
    Resize {
        /// The height wanted.
        height: u32,
        /// The width wanted.
        width: u32,
        /// What the library said.
        reason: String,
    },
    /// An image whose sides are not whole patches, where resizing is switched off.
    #[error("an image of {height} × {width} (height × width) is not made of whole {unit} × {unit} squares")]
    NotWholePatches {
        /// Its height.
        height: usize,
        /// Its width.
        width: usize,
        /// `patch_size * merge_size`.
        unit: usize,
    },
    /// A video of which the frames asked for cannot be taken.
    #[error("a video of {total} frame(s): {reason}")]
    Sampling {
        /// How many it has.
        total: usize,
        /// Why not.
        reason: String,
    },
    /// A video without frames.
    #[error("a video without frames")]
    NoFrames,
    /// A video whose frames differ in size.
    #[error("frame {frame} is {height} × {width}, the frames before it are {} × {}", expected[0], expected[1])]
    FrameSize {
        /// Which frame, from 0.
        frame: usize,
        /// Its height.
        height: u32,
        /// Its width.
        width: u32,
        /// Height and width of the first frame.
        expected: [usize; 2],
    },
}

/// This crate's result.
pub type Result<T> = std::result::Result<T, Error>;
