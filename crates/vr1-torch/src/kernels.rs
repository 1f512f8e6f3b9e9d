//! The kernels that are compiled at run time: which there are, which are in use, and what has been compiled.

use std::collections::HashMap;
use std::env;
use std::sync::{Mutex, OnceLock, PoisonError};

use tch::{Device, Kind, Tensor};

use crate::driver::{Function, Gpu};
use crate::nvrtc::Nvrtc;
use crate::{Error, Result};

/// A function that has a kernel of its own on a GPU, beside what libtorch's operators make of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kernel {
    /// [`add_rms_norm`](crate::add_rms_norm).
    AddRmsNorm,
    /// [`rotate_into_cache`](crate::rotate_into_cache).
    RotateIntoCache,
    /// [`group_attention`](crate::group_attention).
    GroupAttention,
    /// [`gated`](crate::gated).
    Gated,
    /// [`sample`](crate::sample).
    Sample,
    /// [`uniforms`](crate::uniforms).
    Uniforms,
    /// [`rotate`](crate::rotate).
    Rotate,
    /// [`silu_product`](crate::silu_product).
    SiluProduct,
    /// [`quick_gelu`](crate::quick_gelu).
    QuickGelu,
}

impl Kernel {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::AddRmsNorm,
        Self::RotateIntoCache,
        Self::GroupAttention,
        Self::Gated,
        Self::Sample,
        Self::Uniforms,
        Self::Rotate,
        Self::SiluProduct,
        Self::QuickGelu,
    ];

    /// Its name in `VR1_KERNELS`, that of the function.
    pub fn name(self) -> &'static str {
        match self {
            Self::AddRmsNorm => "add_rms_norm",
            Self::RotateIntoCache => "rotate_into_cache",
            Self::GroupAttention => "group_attention",
            Self::Gated => "gated",
            Self::Sample => "sample",
            Self::Uniforms => "uniforms",
            Self::Rotate => "rotate",
            Self::SiluProduct => "silu_product",
            Self::QuickGelu => "quick_gelu",
        }
    }

    /// What is compiled, and the functions in it that are launched.
    fn source(self) -> (String, &'static [&'static str]) {
        let (parts, names): (&[&str], &'static [&'static str]) = match self {
            Self::AddRmsNorm => (&[include_str!("kernels/add_rms_norm.cu")], &["add_rms_norm"]),
            Self::RotateIntoCache => (
                &[include_str!("kernels/turned.cuh"), include_str!("kernels/rotate_into_cache.cu")],
                &["rotate_into_cache"],
            ),
            Self::Rotate => (&[include_str!("kernels/turned.cuh"), include_str!("kernels/rotate.cu")], &["rotate"]),
            Self::SiluProduct => (&[include_str!("kernels/activations.cu")], &["silu_product", "silu_product_back"]),
            Self::QuickGelu => (&[include_str!("kernels/activations.cu")], &["quick_gelu", "quick_gelu_back"]),
            Self::GroupAttention => (
                &[include_str!("kernels/tensor_cores.cuh"), include_str!("kernels/group_attention.cu")],
                &["group_attention", "merged"],
            ),
            Self::Gated => (&[include_str!("kernels/gated.cu")], &["gated"]),
            Self::Sample => {
                (&[include_str!("kernels/uniforms.cuh"), include_str!("kernels/sample.cu")], &["stretches", "pick"])
            }
            Self::Uniforms => {
                (&[include_str!("kernels/uniforms.cuh"), include_str!("kernels/uniforms.cu")], &["uniforms"])
            }
        };
        (include_str!("kernels/numbers.cuh").to_owned() + &parts.concat(), names)
    }

    fn bit(self) -> u32 {
        1 << self as u32
    }

    /// The GPU on which this kernel is to do what `x` is for; nothing where libtorch's operators are to.
    ///
    /// # Errors
    /// If `VR1_KERNELS` names what is none, or CUDA's driver is not there.
    pub(crate) fn gpu(self, x: &Tensor) -> Result<Option<&'static Gpu>> {
        let Device::Cuda(index) = x.device() else { return Ok(None) };
        if left_out()? & self.bit() != 0 {
            return Ok(None);
        }
        let gpu = gpu(index)?;
        Ok((gpu.capability >= 80).then_some(gpu))
    }

    /// The functions of this kernel, compiled with `defines` at the first call for a GPU.
    ///
    /// # Errors
    /// If CUDA's compiler is not there, or fails.
    pub(crate) fn functions(self, gpu: &'static Gpu, defines: &[String]) -> Result<&'static [Function]> {
        type Compiled = HashMap<(usize, Kernel, Vec<String>), &'static [Function]>;
        static COMPILED: OnceLock<Mutex<Compiled>> = OnceLock::new();
        let key = (std::ptr::from_ref(gpu).addr(), self, defines.to_vec());
        let mut compiled = COMPILED.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(functions) = compiled.get(&key) {
            return Ok(functions);
        }
        let (source, names) = self.source();
        let cubin = Nvrtc::get()?.compile(self.name(), &source, gpu.capability, defines)?;
        let functions: &'static [Function] = gpu.load(&cubin, names)?.leak();
        compiled.insert(key, functions);
        Ok(functions)
    }
}

/// From now on leaves these kernels out, and no others, in the whole process: libtorch's operators do what they would have done.
///
/// At first what the environment's `VR1_KERNELS` says is left out: `off` for all, or names with commas between them.
///
/// # Example
/// ```
/// use vr1_torch::{Kernel, leave_out_kernels};
/// leave_out_kernels(&[Kernel::Sample, Kernel::Gated]);
/// leave_out_kernels(&[]); // all in use
/// ```
pub fn leave_out_kernels(kernels: &[Kernel]) {
    let bits = kernels.iter().fold(0, |bits, kernel| bits | kernel.bit());
    *LEFT_OUT.lock().unwrap_or_else(PoisonError::into_inner) = Some(Ok(bits));
}

/// The bits of the kernels that are left out, or what is wrong with how the environment says it; nothing before it was read.
static LEFT_OUT: Mutex<Option<Result<u32, String>>> = Mutex::new(None);

fn left_out() -> Result<u32> {
    let mut left_out = LEFT_OUT.lock().unwrap_or_else(PoisonError::into_inner);
    let read = || parse(&env::var("VR1_KERNELS").unwrap_or_default());
    left_out.get_or_insert_with(read).clone().map_err(Error::Kernels)
}

fn parse(names: &str) -> Result<u32, String> {
    let bit = |name: &str| match name {
        "off" => Ok(Kernel::ALL.iter().fold(0, |bits, kernel| bits | kernel.bit())),
        name => Kernel::ALL.iter().find(|kernel| kernel.name() == name).map(|kernel| kernel.bit()).ok_or_else(|| {
            let known = Kernel::ALL.map(Kernel::name).join(", ");
            format!("VR1_KERNELS leaves out {name:?}, which is neither `off` nor one of {known}")
        }),
    };
    names.split(',').map(str::trim).filter(|name| !name.is_empty()).try_fold(0, |bits, name| Ok(bits | bit(name)?))
}

pub(crate) fn gpu(index: usize) -> Result<&'static Gpu> {
    static GPUS: Mutex<Vec<Option<&'static Gpu>>> = Mutex::new(Vec::new());
    let mut gpus = GPUS.lock().unwrap_or_else(PoisonError::into_inner);
    if gpus.len() <= index {
        gpus.resize(index + 1, None);
    }
    match gpus[index] {
        Some(gpu) => Ok(gpu),
        None => {
            let gpu: &'static Gpu = Box::leak(Box::new(Gpu::new(index)?));
            gpus[index] = Some(gpu);
            Ok(gpu)
        }
    }
}

/// How kernels call a kind that they take.
pub(crate) fn kind_name(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::BFloat16 => Some("bf16"),
        Kind::Half => Some("f16"),
        Kind::Float => Some("f32"),
        _ => None,
    }
}

/// How many numbers of a kind sixteen bytes hold, which kernels load at a time.
pub(crate) fn pack(kind: Kind) -> i64 {
    if kind == Kind::Float { 4 } else { 8 }
}

/// Whether a tensor lies in one piece, and where sixteen bytes can be loaded.
pub(crate) fn in_packs(x: &Tensor) -> bool {
    x.is_contiguous() && x.data_ptr().addr().is_multiple_of(16)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    /// Each kernel with what it is compiled with for these kinds and head sizes.
    fn variants(kinds: &[&str], head_sizes: &[i64]) -> Vec<(Kernel, Vec<String>)> {
        let mut all = vec![(Kernel::Uniforms, vec![])];
        let mut add = |kernel, defines: String| all.push((kernel, defines.split(' ').map(str::to_owned).collect()));
        for t in kinds {
            add(Kernel::AddRmsNorm, format!("T={t} PER=1"));
            add(Kernel::AddRmsNorm, format!("T={t} PER=3"));
            for kernel in [Kernel::RotateIntoCache, Kernel::Rotate] {
                add(kernel, format!("T={t} C={t} W={t}"));
                add(kernel, format!("T={t} C=f32 W=f32"));
            }
            for kernel in [Kernel::SiluProduct, Kernel::QuickGelu] {
                add(kernel, format!("T={t}"));
            }
            for gate in 0..4 {
                add(Kernel::Gated, format!("T={t} GATE={gate}"));
            }
            for vec in [1, pack(if *t == "f32" { Kind::Float } else { Kind::Half })] {
                add(Kernel::Sample, format!("T={t} VEC={vec}"));
            }
            for d in head_sizes.iter().filter(|_| *t != "f32") {
                add(Kernel::GroupAttention, format!("T={t} D={d}"));
            }
        }
        all
    }

    #[test]
    fn every_kernel_compiles_for_every_architecture() {
        let nvrtc = match Nvrtc::get() {
            Ok(nvrtc) => nvrtc,
            Err(error) => return eprintln!("no compiler: kernels not compiled ({error})"),
        };
        // Every source for every architecture, and every kind and head size for one of them: attention takes seconds.
        let all: [(i32, &[&str], &[i64]); 3] =
            [(80, &["bf16"], &[64, 256]), (90, &["f16"], &[96, 128]), (100, &["bf16", "f32"], &[80])];
        for size in crate::split::HEAD_SIZES {
            assert!(all.iter().any(|(_, _, sizes)| sizes.contains(&size)), "{size}");
        }
        for (architecture, kinds, head_sizes) in all {
            for (kernel, defines) in variants(kinds, head_sizes) {
                let (source, names) = kernel.source();
                let cubin = nvrtc.compile(kernel.name(), &source, architecture, &defines).unwrap();
                for name in names {
                    // An ELF file has its symbols' names in it.
                    assert!(cubin.windows(name.len()).any(|bytes| bytes == name.as_bytes()), "{name}");
                }
            }
        }
    }

    #[test]
    fn a_source_that_is_wrong_is_told_with_its_line() {
        let Ok(nvrtc) = Nvrtc::get() else { return eprintln!("no compiler: nothing compiled") };
        let (source, _) = Kernel::Uniforms.source();
        let error = nvrtc.compile("uniforms", &(source + "\nint x = ;"), 90, &[]).unwrap_err().to_string();
        assert!(error.contains("uniforms") && error.contains("error: expected an expression"), "{error}");
    }

    #[test]
    fn names_are_left_out_and_unknown_ones_told() {
        assert_eq!(parse(""), Ok(0));
        assert_eq!(parse("gated, sample"), Ok(Kernel::Gated.bit() | Kernel::Sample.bit()));
        assert_eq!(parse("off"), Ok(0b1_1111_1111));
        assert!(parse("gate").unwrap_err().contains("\"gate\", which is neither `off` nor one of add_rms_norm, "));
    }
}
