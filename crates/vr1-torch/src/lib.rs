#![doc = include_str!("../README.md")]

mod adamw;
mod allocated;
mod attend;
mod attention;
mod beside;
mod blockwise;
mod broadcast;
mod decode_layer;
mod device;
mod draw;
mod driver;
mod expert_products;
mod foreach;
mod gated;
mod gradient;
mod graph;
mod group_attention;
mod groups;
mod guard;
mod kernels;
mod library;
mod linear;
mod mapped;
mod memory;
mod message;
mod norm;
mod nvrtc;
mod own;
mod process_group;
mod quick_gelu;
mod recompute;
mod rotate;
mod rotation;
mod rows;
mod sample;
mod segments;
mod silu_product;
mod split;
mod storage;
mod sums;
mod trial;
mod uniforms;

pub use adamw::{AdamWStep, fused_adamw};
pub use allocated::{Allocated, allocated, limited};
pub use attend::{Sees, attend, merge_attention};
pub use attention::shared_prefix_attention;
pub use beside::beside;
pub use blockwise::{Blockwise, blockwise_adamw};
pub use broadcast::{Broadcast, Carrier, Member, Stop};
pub use decode_layer::{DecoderLayer, Product, Seen, decode_layer};
pub use device::{device, gpu_uuid};
pub use expert_products::expert_products;
pub use foreach::{foreach_copy, foreach_norm, foreach_scale, foreach_shift};
pub use gated::{Gate, gated};
pub use gradient::{gradients_collected, put_gradient, take_gradient};
pub use graph::Graph;
pub use group_attention::{OwnKeys, SharedKeys, group_attention};
pub use groups::Groups;
pub use guard::{granted, guarded};
pub use kernels::{Kernel, leave_out_kernels};
pub use linear::linear;
pub use mapped::MappedFile;
pub use memory::{DeviceMemory, device_memory};
pub use norm::add_rms_norm;
pub use process_group::{Holder, ProcessGroup, Store};
pub use quick_gelu::quick_gelu;
pub use recompute::{Passed, recomputed, recomputed_with, recomputed_with_end};
pub use rotate::rotate_into_cache;
pub use rotation::rotate;
pub use sample::{Draw, Drawn, sample};
pub use segments::{SegmentEnds, segment_attention};
pub use silu_product::silu_product;
pub use storage::Storage;
pub use sums::GradientSums;
pub use trial::kernel_faults;
pub use uniforms::uniforms;

/// What can go wrong at the border to libtorch and the operating system.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A device name that is neither `cpu` nor `cuda` nor `cuda:N`.
    #[error("unknown device {0:?}: expected `cpu`, `cuda` or `cuda:N`")]
    UnknownDevice(String),
    /// CUDA was asked for and cannot be used; the reason says which part is missing.
    #[error("device {device} cannot be used: {reason}")]
    NoCuda {
        /// The device as it was asked for.
        device: String,
        /// What is missing.
        reason: String,
    },
    /// Lists of tensors that must be of one length are not.
    #[error("a list of {found} {what} beside one of {expected}")]
    Count {
        /// Which list.
        what: &'static str,
        /// How many tensors the other list holds.
        expected: usize,
        /// How many the list holds.
        found: usize,
    },
    /// A group has a prefix or a suffix that is none.
    #[error("groups[{group}]: {} has {length} tokens, of which there must be at least 1 and all groups together an i64", part_name(*part))]
    GroupLength {
        /// Which group.
        group: usize,
        /// Which part of it: 0 is the prefix, from 1 on they are suffixes.
        part: usize,
        /// How many tokens it is said to have.
        length: i64,
    },
    /// Tensors of an attention do not fit together.
    #[error("{function}: {reason} (query {query}, key {key}, value {value})")]
    Attention {
        /// The function that was called.
        function: &'static str,
        /// What does not fit.
        reason: String,
        /// Kind, shape and device of the queries.
        query: String,
        /// Those of the keys.
        key: String,
        /// Those of the values.
        value: String,
    },
    /// Two parts of an attention are not over the same queries.
    #[error("attention parts cannot be merged: outputs [B, T, H, d] with log-sum-exps [B, H, T], {a} and {b}")]
    Parts {
        /// Kinds, shapes and devices of the one part.
        a: String,
        /// Those of the other.
        b: String,
    },
    /// Tensors or numbers do not fit what a function does.
    #[error("{function}: {reason}")]
    Unfit {
        /// The function that was called.
        function: &'static str,
        /// What does not fit.
        reason: String,
    },
    /// A kernel could not be compiled or launched.
    #[error("kernels: {0}; VR1_KERNELS=off does without them")]
    Kernels(String),
    /// A gradient is not of its tensor's shape, kind or device.
    #[error("gradient {gradient} of a tensor {tensor}")]
    Gradient {
        /// Kind, shape and device of the gradient.
        gradient: String,
        /// Those of the tensor.
        tensor: String,
    },
    /// A tensor and the bytes that it is to be read from differ in size.
    #[error("{found} bytes where the tensor takes {expected}")]
    Bytes {
        /// What the tensor takes.
        expected: usize,
        /// What is there.
        found: usize,
    },
    /// An operation found no memory for a tensor.
    #[error("{device} is out of memory: {wanted} more were asked for")]
    OutOfMemory {
        /// Whose memory; of a GPU also how much it has, and how much of it is free.
        device: String,
        /// How much was asked for.
        wanted: String,
    },
    /// The store that processes find each other by cannot be reached or held.
    #[error("the store at {host}:{port}: {reason}")]
    Store {
        /// The machine that holds it.
        host: String,
        /// Its port.
        port: u16,
        /// What is wrong.
        reason: String,
    },
    /// What is done before and after a layer runs failed.
    #[error("{0}")]
    Layer(String),
    /// libtorch threw an exception.
    #[error("libtorch: {0}")]
    Torch(String),
    /// libtorch refused an operation.
    #[error("libtorch: {0}")]
    Tch(tch::TchError),
    /// A file could not be opened or mapped.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: std::path::PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
}

impl From<tch::TchError> for Error {
    fn from(error: tch::TchError) -> Self {
        match error {
            tch::TchError::Torch(text) => Self::thrown(&text),
            error => Self::Tch(error),
        }
    }
}

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

fn part_name(part: usize) -> String {
    if part == 0 { "the prefix".to_owned() } else { format!("suffix {}", part - 1) }
}

/// A tensor as errors name it, `Float [2, 3] on Cpu`.
fn described(tensor: &tch::Tensor) -> String {
    format!("{:?} {:?} on {:?}", tensor.kind(), tensor.size(), tensor.device())
}

fn unfit(function: &'static str, reason: String) -> Error {
    Error::Unfit { function, reason }
}
