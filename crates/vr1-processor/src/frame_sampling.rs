use crate::{Budget, Error, Result, VideoProcessor};

/// Frames a second of a video that does not say, as transformers supposes.
pub(crate) const DEFAULT_FPS: f64 = 24.0;

/// Which frames of a video are taken.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub enum FrameSampling {
    /// Every one.
    #[default]
    All,
    /// This many a second, evenly, within the bounds of the [`VideoProcessor`].
    PerSecond(f64),
    /// This many in all, evenly.
    Count(usize),
}

impl FrameSampling {
    /// The frames to take of `total`: `n` of them, as the [`Budget`] says.
    ///
    /// `n` is the number asked for, rounded to whole temporal patches; by time it is `total / fps · rate`, at least
    /// `min_frames` and at most `max_frames`, rounded down to whole temporal patches. With [`Budget::Clip`] it is cut to a whole
    /// number alone, and a video that does not say has 24 a second.
    pub(crate) fn indices(self, total: usize, fps: Option<f64>, settings: &VideoProcessor) -> Result<Vec<usize>> {
        let refused = |reason: String| Err(Error::Sampling { total, reason });
        if settings.budget == Budget::Clip {
            let count = match self {
                Self::All => return Ok((0..total).collect()),
                Self::Count(count) => count,
                Self::PerSecond(rate) => {
                    let wanted = (total as f64 / fps.unwrap_or(DEFAULT_FPS) * rate) as usize;
                    wanted.max(settings.min_frames).min(settings.max_frames).min(total)
                }
            };
            return match count {
                0 => refused("not one frame can be taken".into()),
                count if count > total => refused(format!("{count} are asked for")),
                count => Ok(from_end_to_end(total, count)),
            };
        }
        let patch = settings.frames.temporal_patch_size;
        let whole = |frames: f64| frames as usize / patch * patch;
        let count = match (self, fps) {
            (Self::All, _) => return Ok((0..total).collect()),
            (Self::Count(count), _) => (count as f64 / patch as f64).round_ties_even() as usize * patch,
            (Self::PerSecond(rate), Some(fps)) => {
                let most = whole(settings.max_frames.min(total) as f64) as f64;
                let wanted = (total as f64 / fps * rate).max(settings.min_frames as f64);
                whole(wanted.min(most).min(total as f64))
            }
            (Self::PerSecond(rate), None) => {
                return refused(format!("{rate} a second are asked for, and how many it has a second is not known"));
            }
        };
        match count {
            0 => refused(format!("not one patch of {patch} frames can be taken")),
            count if count > total => refused(format!("{count} are asked for")),
            count => Ok(evenly(total, count)),
        }
    }
}

/// `numpy.linspace(0, total - 1, count).round()`.
fn from_end_to_end(total: usize, count: usize) -> Vec<usize> {
    let step = (total - 1) as f64 / (count.max(2) - 1) as f64;
    let place =
        |i: usize| if i > 0 && i == count - 1 { total - 1 } else { (i as f64 * step).round_ties_even() as usize };
    (0..count).map(place).collect()
}

/// `torch.arange(0, total, total / count).int()`, in which each place is rounded to `f32` before it is cut; a place that
/// this puts behind the last frame, where transformers fails, is left out.
fn evenly(total: usize, count: usize) -> Vec<usize> {
    let step = total as f64 / count as f64;
    let len = (total as f64 / step).ceil() as usize;
    (0..len).map(|i| (i as f64 * step) as f32 as usize).filter(|&index| index < total).collect()
}
