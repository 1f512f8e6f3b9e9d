#![doc = include_str!("../README.md")]

mod adamw;
mod attend;
mod attention;
mod device;
mod gradient;
mod graph;
mod groups;
mod linear;
mod mapped;
mod message;
mod rotation;
mod silu_product;

pub use adamw::{AdamWStep, fused_adamw};
pub use attend::{Spans, attend, attend_spans, merge_attention};
pub use attention::shared_prefix_attention;
pub use device::device;
pub use gradient::{gradients_collected, put_gradient, take_gradient};
pub use graph::Graph;
pub use groups::Groups;
pub use linear::linear;
pub use mapped::MappedFile;
pub use rotation::rotate;
pub use silu_product::silu_product;

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
    #[error("fused AdamW wants as many {what} as parameters: {found} against {expected}")]
    Count {
        /// Which list.
        what: &'static str,
        /// How many parameters there are.
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
    /// Spans of keys that are none.
    #[error("attend_spans: {0}")]
    Spans(String),
    /// A linear layer does not fit what it reads.
    #[error("linear: x {x}, weight {weight}, bias {bias}")]
    Linear {
        /// Kind, shape and device of what it reads.
        x: String,
        /// Those of its weight.
        weight: String,
        /// Those of its bias.
        bias: String,
    },
    /// Heads and what they are rotated by do not fit together.
    #[error("rotate: {reason} (x {x}, cos {cos}, sin {sin})")]
    Rotation {
        /// What does not fit.
        reason: String,
        /// Kind, shape and device of the heads.
        x: String,
        /// Those of the cosines.
        cos: String,
        /// Those of the sines.
        sin: String,
    },
    /// What gates and what is gated are not alike.
    #[error("silu_product: gate {gate}, up {up}")]
    Gate {
        /// Kind, shape and device of what gates.
        gate: String,
        /// Those of what is gated.
        up: String,
    },
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
    /// libtorch threw an exception.
    #[error("libtorch: {0}")]
    Torch(String),
    /// libtorch refused an operation.
    #[error("libtorch: {0}")]
    Tch(#[from] tch::TchError),
    /// A file could not be opened or mapped.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: std::path::PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
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
