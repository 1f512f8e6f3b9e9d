use serde::{Deserialize, Serialize};

/// Which sample of a run a sequence belongs to: what a token's randomness hangs on.
///
/// It counts; it is never a user's id, which may repeat, and whose spelling is nothing to draw numbers from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SampleKey {
    /// The data set: 0 trains, held-out sets follow.
    pub dataset: u32,
    /// How often the set had been gone through before.
    pub epoch: u32,
    /// The place in the set.
    pub index: u64,
}
