/// What can be wrong with the tensors handed to an operation of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A tensor has another number of dimensions than the operation is defined for.
    #[error("`{name}` must have {expected} dimension(s), but its shape is {got:?}")]
    Rank {
        /// The argument's name.
        name: &'static str,
        /// How many dimensions it should have.
        expected: usize,
        /// The shape it has.
        got: Vec<i64>,
    },
    /// A tensor has neither a shape nor a kind, as the gradient of what got none.
    #[error("`{name}` is undefined")]
    Undefined {
        /// The argument's name.
        name: &'static str,
    },
    /// A tensor's shape is not the one that its neighbours call for.
    #[error("`{name}` must have shape {expected:?} to go with `{with}`, but its shape is {got:?}")]
    Shape {
        /// The argument's name.
        name: &'static str,
        /// The argument that fixes the expected shape.
        with: &'static str,
        /// The expected shape.
        expected: Vec<i64>,
        /// The shape it has.
        got: Vec<i64>,
    },
    /// A tensor's element type is not of the right family.
    #[error("`{name}` must hold {expected}, but its kind is {got:?}")]
    Kind {
        /// The argument's name.
        name: &'static str,
        /// The family of kinds that is accepted.
        expected: &'static str,
        /// The kind it has.
        got: tch::Kind,
    },
    /// Two tensors lie on different devices.
    #[error("`{name}` lies on {got:?}, but `{with}` lies on {expected:?}")]
    Device {
        /// The argument's name.
        name: &'static str,
        /// The argument that fixes the device.
        with: &'static str,
        /// The expected device.
        expected: tch::Device,
        /// The device it lies on.
        got: tch::Device,
    },
    /// A token id is no row of the vocabulary.
    #[error("`{name}` holds the id {id}, outside a vocabulary of {vocab}")]
    TokenOutOfRange {
        /// The argument's name.
        name: &'static str,
        /// The smallest or the largest id found.
        id: i64,
        /// The number of rows of the vocabulary.
        vocab: i64,
    },
    /// A token that cannot be sampled is asked about: its log-probability is −∞.
    #[error("`{name}` holds the id {id}, which `unreachable` says is never sampled: its log-probability is −∞")]
    Unreachable {
        /// The argument's name.
        name: &'static str,
        /// The id.
        id: i64,
    },
    /// A mask selects nothing, so that a mean over it does not exist.
    #[error("`{name}` selects no position: a mean over nothing does not exist")]
    EmptyMask {
        /// The mask's name.
        name: &'static str,
    },
    /// A number given as a setting is outside its range.
    #[error("`{name}` must be {expected}, but it is {got}")]
    Setting {
        /// The setting's name.
        name: &'static str,
        /// The range that is allowed.
        expected: &'static str,
        /// The value given.
        got: f64,
    },
    /// libtorch refused an operation.
    #[error("libtorch: {0}")]
    Torch(#[from] tch::TchError),
}

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;
