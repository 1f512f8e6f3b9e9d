use crate::{Error, Result};

/// Several sequences in one row; see [`pack`].
///
/// # Example
/// ```
/// use vr1_sft::{Pack, pack};
/// assert_eq!(pack(&[3, 5], 8)?, [Pack { sequences: vec![1, 0], tokens: 8 }]);
/// # Ok::<(), vr1_sft::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pack {
    /// Which sequences, in the order in which they stand in the row.
    pub sequences: Vec<usize>,
    /// How many tokens they have in all.
    pub tokens: usize,
}

/// Sequences packed into as few rows of `capacity` tokens as best-fit decreasing finds; none is cut.
///
/// ```text
/// longest first, each into the row with the least room that still holds it
/// ```
///
/// The rows are those of `bfd` packing in the field ([arXiv:2404.10830](https://arxiv.org/abs/2404.10830)); equals keep their order. Position ids must
/// start again at every sequence ([`packed_position_ids`]) and attention must not cross ([`packed_boundaries`]).
///
/// # Shapes
/// `lengths [N]` → rows, every sequence in exactly one of them.
///
/// # Errors
/// [`Error::TooLong`] names the first sequence that no row can hold; [`Error::Setting`] for a capacity of 0.
///
/// # Example
/// ```
/// let packs = vr1_sft::pack(&[3, 5, 2, 6], 8)?;
/// assert_eq!(packs.iter().map(|pack| pack.sequences.clone()).collect::<Vec<_>>(), [vec![3, 2], vec![1, 0]]);
/// # Ok::<(), vr1_sft::Error>(())
/// ```
pub fn pack(lengths: &[usize], capacity: usize) -> Result<Vec<Pack>> {
    if capacity == 0 {
        return Err(Error::Setting { field: "capacity", expected: "at least 1", got: 0.0 });
    }
    if let Some(sequence) = lengths.iter().position(|&length| length > capacity) {
        return Err(Error::TooLong { sequence, tokens: lengths[sequence], capacity });
    }
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|&sequence| std::cmp::Reverse(lengths[sequence]));
    let mut packs: Vec<Pack> = Vec::new();
    // Rows by the room that is left in them, oldest first among equals.
    let mut by_room = std::collections::BTreeSet::new();
    for sequence in order {
        let length = lengths[sequence];
        let row = match by_room.range((length, 0)..).next().copied() {
            Some((room, row)) => {
                by_room.remove(&(room, row));
                row
            }
            None => {
                packs.push(Pack { sequences: Vec::new(), tokens: 0 });
                packs.len() - 1
            }
        };
        packs[row].sequences.push(sequence);
        packs[row].tokens += length;
        by_room.insert((capacity - packs[row].tokens, row));
    }
    Ok(packs)
}

/// Position ids of a packed row: they start again at 0 with every sequence.
///
/// # Shapes
/// `lengths` of the row's sequences → `[Σ lengths]`.
///
/// # Example
/// ```
/// assert_eq!(vr1_sft::packed_position_ids(&[3, 2]), [0, 1, 2, 0, 1]);
/// ```
pub fn packed_position_ids(lengths: &[usize]) -> Vec<i64> {
    lengths.iter().flat_map(|&length| 0..length as i64).collect()
}

/// Where the sequences of a packed row begin and end, as attention kernels for packed rows want it.
///
/// # Shapes
/// `lengths [N]` → `[N + 1]`.
///
/// # Example
/// ```
/// assert_eq!(vr1_sft::packed_boundaries(&[3, 2]), [0, 3, 5]);
/// ```
pub fn packed_boundaries(lengths: &[usize]) -> Vec<i64> {
    let ends = lengths.iter().scan(0, |end, &length| {
        *end += length as i64;
        Some(*end)
    });
    std::iter::once(0).chain(ends).collect()
}

/// Labels of a packed row, in which the last token of a sequence does not predict the first of the next.
///
/// ```text
/// labels = the sequences' labels, one after the other, with −100 in place of the first label of each
/// ```
///
/// # Shapes
/// one slice of labels a sequence → `[Σ lengths]`, for [`Alignment::NextToken`](crate::Alignment::NextToken).
///
/// # Example
/// ```
/// assert_eq!(vr1_sft::packed_labels(&[&[7, 8], &[9, 5]]), [-100, 8, -100, 5]);
/// ```
pub fn packed_labels(labels: &[&[i64]]) -> Vec<i64> {
    let one = |labels: &&[i64]| {
        let mut labels = labels.to_vec();
        if let Some(first) = labels.first_mut() {
            *first = crate::IGNORED;
        }
        labels
    };
    labels.iter().flat_map(one).collect()
}
