use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tch::{Cuda, Device};

/// Where time goes, by a clock that never goes back.
#[derive(Debug)]
pub(crate) struct Times {
    device: Device,
    parts: BTreeMap<&'static str, f64>,
}

impl Default for Times {
    fn default() -> Self {
        Self::new(Device::Cpu)
    }
}

impl Times {
    /// None yet, of work on `device`.
    pub(crate) fn new(device: Device) -> Self {
        Self { device, parts: BTreeMap::new() }
    }

    /// Does `work`, a part of what is timed; a GPU has done it then.
    pub(crate) fn of<T>(&mut self, part: &'static str, work: impl FnOnce() -> T) -> T {
        let begun = Instant::now();
        let made = work();
        if let Device::Cuda(index) = self.device {
            Cuda::synchronize(index as i64);
        }
        *self.parts.entry(part).or_default() += begun.elapsed().as_secs_f64();
        made
    }

    /// Counts time to a part.
    pub(crate) fn add(&mut self, part: &'static str, time: Duration) {
        if !time.is_zero() {
            *self.parts.entry(part).or_default() += time.as_secs_f64();
        }
    }

    /// The seconds of each part since this was last asked, by the name of their metric.
    pub(crate) fn take(&mut self) -> BTreeMap<String, f64> {
        let parts = std::mem::take(&mut self.parts);
        parts.into_iter().map(|(part, seconds)| (format!("seconds_{part}"), seconds)).collect()
    }
}
