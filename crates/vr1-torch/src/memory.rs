use std::ffi::c_char;
use std::fs;

use tch::Device;

use crate::message::check;

/// What a device's memory holds, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(C)]
pub struct DeviceMemory {
    /// What could be taken now; of a GPU also what libtorch keeps and does not use.
    pub free: u64,
    /// All of it.
    pub total: u64,
    /// What this process has taken; of a GPU what its tensors take.
    pub used: u64,
    /// The most that it had taken at a time.
    pub peak: u64,
}

unsafe extern "C" {
    fn vr1_cuda_memory(device: i64, memory: *mut DeviceMemory) -> *mut c_char;
}

/// What the memory of `device` holds; nothing where nobody says so. Of the CPU it is what Linux tells.
///
/// # Example
/// ```
/// let memory = vr1_torch::device_memory(tch::Device::Cpu);
/// assert!(memory.is_none_or(|memory| memory.used <= memory.peak && memory.free <= memory.total));
/// ```
pub fn device_memory(device: Device) -> Option<DeviceMemory> {
    match device {
        Device::Cpu => {
            of_linux(&fs::read_to_string("/proc/meminfo").ok()?, &fs::read_to_string("/proc/self/status").ok()?)
        }
        Device::Cuda(index) => {
            crate::device(&format!("cuda:{index}")).ok()?;
            let mut memory = DeviceMemory::default();
            // SAFETY: CUDA is there, and the shim writes the four numbers, whose layout is C's.
            check(unsafe { vr1_cuda_memory(index as i64, &mut memory) }).ok()?;
            Some(memory)
        }
        _ => None,
    }
}

/// From the texts of `/proc/meminfo` and `/proc/self/status`.
fn of_linux(machine: &str, process: &str) -> Option<DeviceMemory> {
    let bytes = |text: &str, name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
    };
    Some(DeviceMemory {
        free: bytes(machine, "MemAvailable")?,
        total: bytes(machine, "MemTotal")?,
        used: bytes(process, "VmRSS")?,
        peak: bytes(process, "VmHWM")?,
    })
}

#[cfg(test)]
mod tests {
    use tch::{Kind, Tensor};

    use super::*;

    #[test]
    fn linux_says_it_in_kilobytes() {
        let machine = "MemTotal:       16384 kB\nMemFree:  1 kB\nMemAvailable:    8192 kB\n";
        let process = "VmPeak:\t 99 kB\nVmHWM:\t     512 kB\nVmRSS:\t     256 kB\n";
        let expected = DeviceMemory { free: 8 << 20, total: 16 << 20, used: 256 << 10, peak: 512 << 10 };
        assert_eq!(of_linux(machine, process), Some(expected));
        assert_eq!(of_linux("MemTotal: 1 kB", process), None);
        assert_eq!(of_linux(&machine.replace("8192", "many"), process), None);
    }

    /// Where there is no GPU, this says so and passes.
    #[test]
    fn a_gpus_memory_is_less_by_a_tensor() {
        let device = match crate::device("cuda") {
            Ok(device) => device,
            Err(error) => return println!("skipped: {error}"),
        };
        let mib = 64 << 20;
        let tensor = Tensor::zeros([mib], (Kind::Uint8, device));
        let with = device_memory(device).unwrap_or_default();
        drop(tensor);
        let without = device_memory(device).unwrap_or_default();
        assert!(with.used >= mib as u64 && without.used + mib as u64 <= with.used, "{with:?} {without:?}");
        assert!(without.peak >= with.used && without.free >= mib as u64 && without.free <= without.total);
    }
}
