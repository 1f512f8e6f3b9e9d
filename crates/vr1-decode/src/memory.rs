use tch::Device;

/// How much memory decoding may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Memory {
    /// A part of what the device has free when it begins.
    Free,
    /// So many bytes.
    Bytes(u64),
}

/// Where nobody says what is free.
const UNKNOWN: u64 = 4 << 30;

impl Memory {
    /// The most that may be taken on `device` now, in bytes.
    pub(crate) fn budget(self, device: Device) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes,
            // Prompts are run over beside what is held, and the rest of the machine lives too.
            Self::Free => match (vr1_torch::device_memory(device).map(|memory| memory.free), device.is_cuda()) {
                (Some(free), true) => free / 4 * 3,
                (Some(free), false) => free / 2,
                (None, _) => UNKNOWN,
            },
        }
    }
}
