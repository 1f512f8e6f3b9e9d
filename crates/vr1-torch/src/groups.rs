use std::ffi::c_char;
use std::fmt;
use std::ptr::{self, NonNull};
use std::sync::Arc;

use crate::message::check;
use crate::{Error, Result};

/// Tokens that lie side by side without padding, group after group, each group as `[prefix | suffix 1 | … | suffix G]`.
///
/// A prompt and its completions are a group, and so is a document alone: a prefix without suffixes. Clones share what is
/// worked out once for each device: where the kernels of [`shared_prefix_attention`](crate::shared_prefix_attention) find
/// which tokens.
///
/// # Example
/// ```
/// // A prompt of 5 tokens with completions of 2 and 3, then a document of 4.
/// let groups = vr1_torch::Groups::new([(5, vec![2, 3]), (4, vec![])])?;
/// assert_eq!(groups.tokens(), 14);
/// # Ok::<(), vr1_torch::Error>(())
/// ```
#[derive(Clone)]
pub struct Groups {
    lengths: Arc<Vec<(i64, Vec<i64>)>>,
    tokens: i64,
    plan: Arc<Plan>,
}

impl Groups {
    /// Groups of these lengths, in order: the prefix and its suffixes.
    ///
    /// # Errors
    /// If a length is not positive, or their sum is no `i64`.
    pub fn new(groups: impl IntoIterator<Item = (i64, Vec<i64>)>) -> Result<Self> {
        let lengths: Vec<_> = groups.into_iter().collect();
        let (mut prefixes, mut counts, mut suffixes) = (Vec::new(), Vec::new(), Vec::new());
        let mut tokens = 0i64;
        for (group, (prefix, own)) in lengths.iter().enumerate() {
            for (part, &length) in std::iter::once(prefix).chain(own).enumerate() {
                let sum = tokens.checked_add(length).filter(|_| length > 0);
                tokens = sum.ok_or(Error::GroupLength { group, part, length })?;
            }
            prefixes.push(*prefix);
            counts.push(own.len() as i64);
            suffixes.extend_from_slice(own);
        }
        let plan = Arc::new(Plan::new(&prefixes, &counts, &suffixes)?);
        Ok(Self { lengths: Arc::new(lengths), tokens, plan })
    }

    /// How many tokens the groups have together.
    pub fn tokens(&self) -> i64 {
        self.tokens
    }

    /// The length of each group's prefix and of its suffixes.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (i64, &[i64])> {
        self.lengths.iter().map(|(prefix, suffixes)| (*prefix, suffixes.as_slice()))
    }

    /// The plan, for C++; valid as long as `self`.
    pub(crate) fn plan(&self) -> *mut CPlan {
        self.plan.0.as_ptr()
    }
}

impl fmt::Debug for Groups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Groups").field(&self.lengths).finish()
    }
}

impl PartialEq for Groups {
    fn eq(&self, other: &Self) -> bool {
        self.lengths == other.lengths
    }
}

impl Eq for Groups {}

/// `vr1::Plan` of `attention_plan.h`.
#[repr(C)]
pub(crate) struct CPlan {
    _private: [u8; 0],
}

struct Plan(NonNull<CPlan>);

// SAFETY: a plan is counted atomically, its lengths never change, and what it works out later stands behind a mutex.
unsafe impl Send for Plan {}
// SAFETY: as above.
unsafe impl Sync for Plan {}

impl Plan {
    fn new(prefixes: &[i64], counts: &[i64], suffixes: &[i64]) -> Result<Self> {
        let mut plan = ptr::null_mut();
        // SAFETY: there are as many counts as prefixes, and as many suffixes as the counts' sum.
        check(unsafe {
            vr1_groups_new(prefixes.as_ptr(), counts.as_ptr(), prefixes.len(), suffixes.as_ptr(), &mut plan)
        })?;
        NonNull::new(plan).map(Self).ok_or_else(|| Error::Torch("no plan for groups".to_owned()))
    }
}

impl Drop for Plan {
    fn drop(&mut self) {
        // SAFETY: this is the one reference that `vr1_groups_new` gave out.
        unsafe { vr1_groups_drop(self.0.as_ptr()) }
    }
}

unsafe extern "C" {
    fn vr1_groups_new(
        prefixes: *const i64,
        counts: *const i64,
        groups: usize,
        suffixes: *const i64,
        plan: *mut *mut CPlan,
    ) -> *mut c_char;
    fn vr1_groups_drop(plan: *mut CPlan);
}
