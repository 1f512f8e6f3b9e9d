use std::sync::OnceLock;

use tch::{Cuda, Device};

use crate::driver::Driver;
use crate::{Error, Result};

/// The device that `spec` names: `cpu`, `cuda` (the first GPU) or `cuda:N`.
///
/// libtorch looks for a GPU once: ask for one here before anything of tch that looks, as `tch::manual_seed` does.
///
/// # Errors
/// If the name is unknown, or it names a GPU that this machine or this libtorch does not have, or that was looked for before this was
/// called; the error says which.
///
/// # Example
/// ```
/// assert_eq!(vr1_torch::device("cpu")?, tch::Device::Cpu);
/// assert!(vr1_torch::device("gpu").unwrap_err().to_string().contains("expected `cpu`, `cuda` or `cuda:N`"));
/// # Ok::<(), vr1_torch::Error>(())
/// ```
pub fn device(spec: &str) -> Result<Device> {
    let unknown = || Error::UnknownDevice(spec.to_owned());
    let index = match spec.split_once(':') {
        None if spec == "cpu" => return Ok(Device::Cpu),
        None if spec == "cuda" => 0,
        Some(("cuda", index)) => index.parse::<usize>().map_err(|_| unknown())?,
        _ => return Err(unknown()),
    };
    let no_cuda = |reason: String| Error::NoCuda { device: spec.to_owned(), reason };
    load_cuda().as_ref().map_err(|reason| no_cuda(reason.clone()))?;
    if !Cuda::is_available() {
        return Err(no_cuda(match Driver::devices() {
            // Whether there is a GPU is looked up once, by the first who asks.
            Ok(1..) => "libtorch was asked for a GPU before its CUDA part was loaded (`tch::manual_seed` asks): \
                        call `vr1_torch::device` before anything of tch"
                .to_owned(),
            Ok(0) => "the driver finds no GPU; use `cpu`".to_owned(),
            Err(reason) => format!("{reason}; use `cpu`"),
        }));
    }
    let count = usize::try_from(Cuda::device_count()).unwrap_or(0);
    if index >= count {
        return Err(no_cuda(format!("this machine has {count} CUDA device(s), numbered from 0")));
    }
    Ok(Device::Cuda(index))
}

/// Which GPU of all that there are a device is, by its UUID; none for what is no GPU.
///
/// # Errors
/// If CUDA's driver does not know it.
///
/// # Example
/// ```
/// assert_eq!(vr1_torch::gpu_uuid(tch::Device::Cpu)?, None);
/// # Ok::<(), vr1_torch::Error>(())
/// ```
pub fn gpu_uuid(device: Device) -> Result<Option<u128>> {
    match device {
        Device::Cuda(index) => Driver::uuid(index).map(Some),
        _ => Ok(None),
    }
}

/// Loads `libtorch_cuda`, once, and keeps it for the life of the process.
fn load_cuda() -> &'static Result<(), String> {
    static LOADED: OnceLock<Result<(), String>> = OnceLock::new();
    LOADED.get_or_init(|| {
        // SAFETY: running the initialisers of libtorch's own CUDA library is what linking against it would have done.
        match unsafe { libloading::Library::new("libtorch_cuda.so") } {
            Ok(library) => {
                std::mem::forget(library);
                Ok(())
            }
            Err(error) => Err(format!("this libtorch has no CUDA part ({error}); use `cpu`")),
        }
    })
}
